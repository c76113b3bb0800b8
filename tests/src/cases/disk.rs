//! auditd's actions on a disk that fills: carried out in order, with nothing lost before, and every loss counted.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::crash::{act, count, fill, small_disk, start_with};
use crate::daemon::{self, wait_for};
use crate::event::Event;
use crate::harness::Alone;
use crate::place::Place;
use crate::session::{Session, file_output, is_loss, lost};

pub const CASES: &[Alone] = &[
    Alone::new("disk_space_actions_come_in_order", in_order),
    Alone::new("low_space_leads_to_single_user_mode", single),
];

const TIME: Duration = Duration::from_secs(60);
const INIT: &str = "/usr/sbin/init";
const DEV_LOG: &str = "/dev/log";

/// What came to `/dev/log`.
struct Syslog {
    socket: UnixDatagram,
    lines: Vec<String>,
}

impl Syslog {
    fn listen() -> Result<Self> {
        match fs::remove_file(DEV_LOG) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context("cannot remove /dev/log"),
            _ => {}
        }
        let socket = UnixDatagram::bind(DEV_LOG).context("cannot listen at /dev/log")?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, lines: Vec::new() })
    }

    fn read(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.lines.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        &self.lines
    }

    fn has(&mut self, text: &str) -> bool {
        self.read().iter().any(|line| line.contains(text))
    }

    fn wait(&mut self, text: &str) -> Result<()> {
        wait_for("a line of syslog", TIME, || Ok(self.has(text).then_some(())))
            .with_context(|| format!("`{text}` is not in {:#?}", self.lines))
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        let _ = fs::remove_file(DEV_LOG);
    }
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("cannot set a mode")
}

/// Takes so much room.
fn take(path: &Path, bytes: usize) -> Result<()> {
    File::create(path)?.write_all(&vec![1; bytes]).context("cannot take room")
}

/// The first output of `auditd-bpf status --json`.
fn output() -> Result<Value> {
    Ok(daemon::status()?["outputs"][0].clone())
}

fn wait_suspended() -> Result<()> {
    wait_for("the output to be suspended", TIME, || Ok((output()?["suspended"] == true).then_some(())))
}

fn wait_lost(at_least: usize) -> Result<u64> {
    wait_for("the losses to be counted", TIME, || {
        let lost = output()?["lost"]["suspended"].as_u64().unwrap_or(0);
        Ok((lost >= at_least as u64).then_some(lost))
    })
}

fn mark(path: &Path) -> Result<String> {
    wait_for("the program to leave its mark", TIME, || match fs::read_to_string(path) {
        Ok(text) if text.ends_with('\n') => Ok(Some(text)),
        _ => Ok(None),
    })
}

fn resumed(session: &Session) -> usize {
    session.records().iter().filter(|event| event.get("type") == "DAEMON_RESUME").count()
}

const FULL: usize = 2000;

fn in_order(place: &Place) -> Result<()> {
    let mut syslog = Syslog::listen()?;
    let (disk, log) = small_disk(place, "4m")?;
    let (program, marked) = (place.path("tidy"), place.path("mark"));
    script(&program, &format!("echo tidied >> {}", marked.display()))?;
    let keys = format!(
        "space_left = '75%'\nspace_left_action = 'syslog'\nadmin_space_left = 2\nadmin_space_left_action = 'exec {}'\n\
         disk_full_action = 'suspend'\n",
        program.display()
    );
    let mut session = start_with(place, &(file_output(&log) + &keys), &log)?;
    act(place, "before", 50)?;
    session.settle()?;
    ensure!(syslog.read().is_empty() && !marked.exists(), "an action without need: {:?}", syslog.lines);

    take(&disk.join("a"), 3 << 19)?;
    act(place, "low", 50)?;
    session.settle()?;
    syslog.wait("low on disk space")?;
    ensure!(!marked.exists() && output()?["suspended"] == false, "acted too early");

    take(&disk.join("b"), 1 << 20)?;
    act(place, "very-low", 50)?;
    ensure!(mark(&marked)? == "tidied\n", "the program was run more than once");
    wait_suspended()?;
    act(place, "unseen", 50)?;
    let lost = wait_lost(50)?;
    fs::remove_file(disk.join("a"))?;
    fs::remove_file(disk.join("b"))?;
    session.signal(Signal::SIGUSR2)?;
    session.settle()?;
    ensure!(resumed(&session) == 1, "no DAEMON_RESUME record");
    act(place, "after", 50)?;
    session.settle()?;
    told(session.records(), lost)?;

    let filler = fill(&disk)?;
    act(place, "full", FULL)?;
    wait_suspended()?;
    syslog.wait("suspending logging due to no space left on logging partition")?;
    wait_lost(usize::try_from(lost)? + 1)?;
    fs::remove_file(filler)?;
    session.signal(Signal::SIGUSR2)?;
    session.settle()?;
    let events = session.stop_and_read()?;
    sums(&events)
}

/// Nothing was lost but what the log tells, and nothing before a suspension.
fn sums(events: &[Event]) -> Result<()> {
    for prefix in ["before", "low", "after"] {
        let found = count(events, prefix);
        ensure!(found == 50, "{found} of 50 events {prefix}");
    }
    let lost = lost(events);
    let acts = 50 * 5 + FULL as u64;
    let found: usize =
        ["before", "low", "very-low", "unseen", "after", "full"].iter().map(|prefix| count(events, prefix)).sum();
    ensure!(found as u64 + lost == acts, "{found} events and {lost} lost of {acts}");
    let causes = events.iter().filter(|event| is_loss(event)).map(|event| &event.get("losses")[0]["cause"]);
    for cause in causes {
        ensure!(cause == "suspended", "lost by {cause}");
    }
    Ok(())
}

fn told(events: &[Event], expected: u64) -> Result<()> {
    let lost = lost(events);
    ensure!(lost == expected, "the log tells of {lost} lost events, the status of {expected}");
    Ok(())
}

/// Puts what was there back.
struct Init {
    aside: Option<PathBuf>,
}

impl Init {
    fn replace(text: &str) -> Result<Self> {
        let aside = PathBuf::from(format!("{INIT}.aside"));
        // A guest need not have one.
        let moved = Self { aside: fs::rename(INIT, &aside).is_ok().then_some(aside) };
        script(Path::new(INIT), text)?;
        Ok(moved)
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = match &self.aside {
            Some(aside) => fs::rename(aside, INIT),
            None => fs::remove_file(INIT),
        };
    }
}

fn single(place: &Place) -> Result<()> {
    let mut syslog = Syslog::listen()?;
    let (_, log) = small_disk(place, "4m")?;
    let marked = place.path("mark");
    let _init = Init::replace(&format!("echo \"$@\" >> {}", marked.display()))?;
    let keys = "space_left = 4\nspace_left_action = 'single'\n";
    let mut session = start_with(place, &(file_output(&log) + keys), &log)?;
    act(place, "low", 10)?;
    session.settle()?;
    ensure!(mark(&marked)? == "1\n", "init was asked for something else");
    syslog.wait("changing the system to single user mode")?;
    ensure!(count(&session.stop_and_read()?, "low") == 10, "events were lost");
    Ok(())
}
