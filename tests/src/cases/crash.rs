//! Ends of the daemon, and disks that are full: what was written stays readable, and nothing is lost in silence.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};

use crate::daemon::wait_for;
use crate::event::Event;
use crate::harness::Alone;
use crate::log;
use crate::place::Place;
use crate::session::{Session, file_output, is_loss, lost, own_log};
use crate::sys::{BpfObjects, count_bpf};

pub const CASES: &[Alone] = &[
    Alone::new("killed_daemon_leaves_a_readable_log", killed),
    Alone::new("torn_log_is_repaired", torn),
    Alone::new("sigterm_drains_and_detaches", drained),
    Alone::new("moved_log_is_opened_anew", moved),
    Alone::new("full_disk_delays", full_disk),
    Alone::new("full_disk_loses_only_what_no_queue_holds", full_queue),
];

const RULES: &str = "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}";

fn start(place: &Place, log: &Path) -> Result<Session> {
    start_with(place, &file_output(log), log)
}

pub(super) fn start_with(place: &Place, config: &str, log: &Path) -> Result<Session> {
    place.directory("d")?;
    Session::start_with(place.name, &place.rules(RULES), config, log)
}

/// Creates files d/PREFIX-0 and so on.
pub(super) fn act(place: &Place, prefix: &str, count: usize) -> Result<()> {
    for number in 0..count {
        File::create_new(place.path(format!("d/{prefix}-{number}")))?;
    }
    Ok(())
}

/// How many events of such creations there are.
pub(super) fn count(events: &[Event], prefix: &str) -> usize {
    let created = events.iter().flat_map(|event| event.paths_of("CREATE"));
    created.filter(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with(&format!("{prefix}-")))).count()
}

/// What the system's own zcat reads. It takes an empty file for a broken one.
fn zcat(path: &Path) -> Result<Vec<Event>> {
    if fs::metadata(path).with_context(|| format!("no {}", path.display()))?.len() == 0 {
        return Ok(Vec::new());
    }
    // Its output may be larger than a pipe holds.
    let output = Command::new("zcat").arg(path).output().context("cannot run zcat")?;
    ensure!(output.status.success(), "zcat fails: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("the log is not UTF-8")?;
    text.split_inclusive('\n').map(log::record).collect()
}

fn killed(place: &Place) -> Result<()> {
    let log = own_log(place.name);
    let mut session = start(place, &log)?;
    act(place, "before", 100)?;
    session.settle()?;
    act(place, "during", 100)?;
    session.kill()?;
    let left = zcat(&log)?;
    ensure!(count(&left, "before") == 100, "{} of 100 flushed events are left", count(&left, "before"));
    ensure!(count(&left, "during") <= 100, "events were doubled");
    let length = fs::metadata(&log)?.len();
    let mut session = start(place, &log)?;
    act(place, "after", 100)?;
    session.settle()?;
    session.stop()?;
    ensure!(fs::metadata(&log)?.len() > length, "the log did not grow");
    let all = zcat(&log)?;
    ensure!(count(&all, "before") == 100, "events from before the crash are gone");
    // Those that the daemon had not taken waited for the next one; what it had taken and not written is gone with it.
    let during = count(&left, "during")..=100;
    ensure!(during.contains(&count(&all, "during")), "{} of {during:?} events of the crash", count(&all, "during"));
    ensure!(count(&all, "after") == 100, "{} of 100 events after the restart", count(&all, "after"));
    Ok(())
}

fn torn(place: &Place) -> Result<()> {
    let log = own_log(place.name);
    let mut session = start(place, &log)?;
    act(place, "before", 10)?;
    session.settle()?;
    session.stop()?;
    // What is there once more, but for its end: a write that a crash cut short.
    let whole = fs::read(&log)?;
    OpenOptions::new().append(true).open(&log)?.write_all(&whole[..whole.len() - 24])?;
    let mut session = start(place, &log)?;
    act(place, "after", 10)?;
    session.settle()?;
    let said = session.said();
    session.stop()?;
    ensure!(said.contains("half a record"), "the daemon does not tell of the tear:\n{said}");
    let aside = log.with_extension("gz.torn-1");
    ensure!(aside.exists(), "the torn end is not at {}", aside.display());
    let events = zcat(&log)?;
    ensure!(count(&events, "after") == 10, "{} of 10 events after the tear", count(&events, "after"));
    ensure!(count(&events, "before") >= 10, "events from before the tear are gone");
    Ok(())
}

fn drained(place: &Place) -> Result<()> {
    let objects = || Ok::<_, anyhow::Error>((count_bpf(BpfObjects::Programs)?, count_bpf(BpfObjects::Links)?));
    let before = objects()?;
    let log = own_log(place.name);
    let session = start(place, &log)?;
    let during = objects()?;
    ensure!(during.0 > before.0 && during.1 > before.1, "nothing is attached: {before:?}, then {during:?}");
    act(place, "last", 500)?;
    let events = session.stop_and_read()?;
    ensure!(count(&events, "last") == 500, "{} of 500 events from just before SIGTERM", count(&events, "last"));
    // The kernel frees programs a moment after the last reference to them is gone.
    wait_for("the programs to go", Duration::from_secs(30), || Ok((objects()? == before).then_some(())))
        .with_context(|| format!("programs and links were {before:?}, are {:?}", objects()))?;
    act(place, "late", 10)?;
    ensure!(count(&zcat(&log)?, "late") == 0, "events without a daemon");
    Ok(())
}

fn moved(place: &Place) -> Result<()> {
    let (log, aside) = (own_log(place.name), PathBuf::from("/var/log/audit/moved.json.gz"));
    let session = start(place, &log)?;
    act(place, "old", 10)?;
    wait_for("the first events", Duration::from_secs(60), || Ok((count(&zcat(&log)?, "old") == 10).then_some(())))?;
    fs::rename(&log, &aside)?;
    act(place, "new", 10)?;
    let found = || Ok((log.exists() && count(&zcat(&log)?, "new") == 10).then_some(()));
    wait_for("the events in a new file", Duration::from_secs(60), found)?;
    session.stop()?;
    ensure!(count(&zcat(&aside)?, "old") == 10 && count(&zcat(&log)?, "old") == 0, "events are not where they belong");
    Ok(())
}

/// A file system with room for a log that is short, and a log in it.
pub(super) fn small_disk(place: &Place, size: &str) -> Result<(PathBuf, PathBuf)> {
    let disk = place.directory("small")?;
    let size = format!("size={size}");
    mount(Some("small"), &disk, Some("tmpfs"), MsFlags::empty(), Some(&*size)).context("cannot mount a tmpfs")?;
    let log = disk.join("audit.json.gz");
    Ok((disk, log))
}

/// Takes all room. Returns what holds it.
pub(super) fn fill(disk: &Path) -> Result<PathBuf> {
    let path = disk.join("filler");
    let mut file = File::create(&path)?;
    let block = [0u8; 4096];
    let error = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    ensure!(error.raw_os_error() == Some(libc::ENOSPC), "the disk does not fill: {error}");
    Ok(path)
}

fn told_of_full_disk(session: &Session) -> Result<()> {
    wait_for("the daemon to tell of the full disk", Duration::from_secs(60), || {
        // Not of the digest beside the log, which may find the disk full first.
        let about_log = |line: &str| line.contains("cannot write the log;") && line.contains("audit.json.gz");
        Ok(session.said().lines().any(|line| about_log(line) && line.contains("No space left")).then_some(()))
    })
    .with_context(|| format!("it said:\n{}", session.said()))
}

/// More than fits into what is left of a page.
const MANY: usize = 2000;

fn full_disk(place: &Place) -> Result<()> {
    let (disk, log) = small_disk(place, "512k")?;
    let mut session = start(place, &log)?;
    act(place, "before", 100)?;
    session.settle()?;
    let filler = fill(&disk)?;
    act(place, "full", MANY)?;
    told_of_full_disk(&session)?;
    ensure!(count(&zcat(&log)?, "before") == 100, "what was written before is not readable");
    fs::remove_file(filler)?;
    session.settle()?;
    session.stop()?;
    let events = zcat(&log)?;
    ensure!(count(&events, "before") == 100, "what was written before is gone");
    ensure!(count(&events, "full") == MANY, "{} of {MANY} events of the full disk", count(&events, "full"));
    ensure!(!events.iter().any(|event| event.get("type") == "LOST"), "a loss that was none");
    Ok(())
}

fn full_queue(place: &Place) -> Result<()> {
    let (disk, log) = small_disk(place, "512k")?;
    let config = file_output(&log).replace("queue = 100000", "queue = 200\nflush_events = 50");
    let mut session = start_with(place, &config, &log)?;
    act(place, "before", 100)?;
    session.settle()?;
    let filler = fill(&disk)?;
    act(place, "full", MANY)?;
    told_of_full_disk(&session)?;
    fs::remove_file(filler)?;
    // Not the fence: its event may be among the lost. Nor at once: what the daemon has to say of its end would be.
    wait_for("the daemon to write again", Duration::from_secs(60), || {
        Ok(session.said().contains("writing again").then_some(()))
    })?;
    let events = session.stop_and_read()?;
    ensure!(count(&events, "before") == 100, "what was written before is gone");
    let lost = lost(&events);
    let written = count(&events, "full");
    ensure!(lost > 0 && written < MANY, "a queue of 200 held {written} events");
    // A record of the daemon itself may be among the lost; but whatever took a serial is in the log, or counted.
    let serials = || events.iter().filter_map(|event| event.get("serial").as_u64());
    let (first, last) = (serials().min().unwrap_or(0), serials().max().unwrap_or(0));
    ensure!(
        last - first + 1 == events.len() as u64 + lost && written as u64 + lost >= MANY as u64,
        "serials {first} to {last}: {} records, {written} of them of {MANY} events, and {lost} lost",
        events.len()
    );
    let stays = zcat(&log)?.len();
    ensure!(stays == events.len(), "zcat reads {stays} records instead of {}", events.len());
    let causes = events.iter().filter(|event| is_loss(event)).map(|event| &event.get("losses")[0]["cause"]);
    for cause in causes {
        ensure!(cause == "queue_full", "lost by {cause}");
    }
    Ok(())
}
