//! A running daemon with its log, and what a case sees of it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

use crate::child;
use crate::daemon::{self, Daemon, wait_for};
use crate::event::Event;
use crate::log::Log;
use crate::place::{BASE, Place};

/// Reading it ends a case: when its event is in the log, all earlier ones are.
const FENCE: &str = "fence";
/// Until what was done is in a log, at most.
pub const EVENT_TIME: Duration = Duration::from_secs(90);
/// Clocks are compared across the kernel, the daemon and this program.
const CLOCK_SLACK: TimeDelta = TimeDelta::seconds(1);

/// A daemon on some rules.
pub struct Session {
    daemon: Daemon,
    rules: PathBuf,
    log: Log,
    fences: Fences,
}

/// Openings of the fence.
#[derive(Default)]
struct Fences {
    expected: usize,
    come: usize,
    /// Records looked at.
    seen: usize,
}

impl Fences {
    fn count(&mut self, records: &[Event]) {
        self.come += records[self.seen..].iter().filter(|event| event.has_key(FENCE)).count();
        self.seen = records.len();
    }
}

impl Session {
    /// Starts a daemon that writes to a file of its own.
    pub fn start(name: &str, rules: &str) -> Result<Self> {
        let log = own_log(name);
        Self::start_with(name, rules, &file_output(&log), &log)
    }

    /// Starts a daemon with this configuration, which writes JSON to `log`.
    pub fn start_with(name: &str, rules: &str, config: &str, log: &Path) -> Result<Self> {
        let fence = Path::new(BASE).join(FENCE);
        File::create(&fence).with_context(|| format!("cannot create {}", fence.display()))?;
        // First: the first rule that matches decides. One call only: to attach to each takes time.
        let rules = format!("-a always,exit -F arch=b64 -S openat -F path={BASE}/{FENCE} -k {FENCE}\n{rules}");
        let (config, rules) = (private_file(name, "toml", config)?, private_file(name, "rules", &rules)?);
        let daemon = Daemon::start(&config, &rules)?;
        let mut log = Log::new(log);
        log.read()?;
        let mut fences = Fences::default();
        fences.count(&log.records);
        fences.expected = fences.come;
        Ok(Self { daemon, rules, log, fences })
    }

    /// Waits until everything done so far is in the log.
    pub fn settle(&mut self) -> Result<()> {
        // In a child, so that no thread or open file of this process matters.
        child::run(|| File::open(Path::new(BASE).join(FENCE)).map(drop).context("cannot open the fence"))?;
        let (log, daemon, fences) = (&mut self.log, &mut self.daemon, &mut self.fences);
        fences.expected += 1;
        wait_for("the events", EVENT_TIME, || {
            log.read()?;
            fences.count(&log.records);
            ensure!(
                fences.come <= fences.expected,
                "{} events for {} openings of the fence",
                fences.come,
                fences.expected
            );
            if fences.come < fences.expected {
                daemon.check_alive()?;
            }
            Ok((fences.come == fences.expected).then_some(()))
        })
        .with_context(|| format!("the daemon said:\n{}", tail(&daemon.said())))
    }

    /// All records so far.
    pub fn records(&self) -> &[Event] {
        &self.log.records
    }

    /// All that is in the log by now.
    pub fn read(&mut self) -> Result<&[Event]> {
        self.log.read()?;
        Ok(&self.log.records)
    }

    /// Fails if the daemon has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.daemon.check_alive()
    }

    /// What the daemon wrote to its standard error.
    pub fn said(&self) -> String {
        self.daemon.said()
    }

    /// The process that was started: the daemon's, or its keeper's where it may guard something.
    pub fn pid(&self) -> Pid {
        self.daemon.pid()
    }

    /// The daemon itself.
    pub fn daemon(&self) -> Result<Pid> {
        daemon::serving()
    }

    /// The file with its rules.
    pub fn rules(&self) -> &Path {
        &self.rules
    }

    /// Has it read its rules again.
    pub fn reload(&self) -> Result<()> {
        self.signal(Signal::SIGHUP)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.daemon.signal(signal)
    }

    /// Ends the daemon with SIGTERM.
    pub fn stop(self) -> Result<()> {
        self.daemon.stop().map(drop)
    }

    /// Ends the daemon with SIGTERM, and reads what it wrote to the very end.
    pub fn stop_and_read(mut self) -> Result<Vec<Event>> {
        self.daemon.stop()?;
        self.log.read()?;
        Ok(self.log.records)
    }

    /// Waits for the daemon to end by itself, and reads what it wrote to the very end.
    pub fn ended_and_read(mut self) -> Result<Vec<Event>> {
        self.daemon.ended()?;
        self.log.read()?;
        Ok(self.log.records)
    }

    /// Ends the daemon with SIGKILL.
    pub fn kill(self) -> Result<()> {
        self.daemon.kill()
    }
}

/// One case's view of a session.
pub struct Test<'a> {
    session: &'a mut Session,
    /// Its directory and names.
    pub place: Place,
    /// Records before this one are not its own, or were looked at.
    seen: usize,
    since: DateTime<Utc>,
}

impl<'a> Test<'a> {
    /// Begins a case.
    pub fn new(session: &'a mut Session, place: Place) -> Result<Self> {
        session.log.read()?;
        let seen = session.log.records.len();
        Ok(Self { session, place, seen, since: Utc::now() })
    }

    /// A path in the case's directory.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.place.path(inside)
    }

    /// Runs an act in a child whose login uid is the case's. Returns the child's pid.
    pub fn child(&self, act: impl FnOnce() -> Result<()>) -> Result<u32> {
        let auid = self.place.auid;
        child::run(|| child::set_login_uid(auid).and_then(|()| act()))
    }

    /// The same as uid and gid 1000.
    pub fn user(&self, act: impl FnOnce() -> Result<()>) -> Result<u32> {
        let auid = self.place.auid;
        child::run(|| {
            child::become_user()?;
            child::set_login_uid(auid)?;
            act()
        })
    }

    /// The events of the case's key since the last call, when all have come. Each is checked for what holds for all.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        self.session.settle()?;
        let new = &self.session.log.records[self.seen..];
        if let Some(lost) = new.iter().find(|event| is_loss(event)) {
            bail!("events were lost: {lost}");
        }
        let events: Vec<_> = new.iter().filter(|event| event.has_key(self.place.name)).cloned().collect();
        self.seen = self.session.log.records.len();
        events.iter().try_for_each(|event| self.check(event))?;
        Ok(events)
    }

    /// The events, of which there must be N.
    pub fn exactly<const N: usize>(&mut self) -> Result<[Event; N]> {
        let events = self.events()?;
        events.try_into().map_err(|events: Vec<Event>| {
            let list: String = events.iter().map(|event| format!("\n{event}")).collect();
            anyhow::anyhow!("{} events instead of {N}{list}", events.len())
        })
    }

    /// No event came of the acts since the last call.
    pub fn silence(&mut self, acts: &str) -> Result<()> {
        self.exactly::<0>().map(drop).with_context(|| format!("{acts} must be silent"))
    }

    fn check(&self, event: &Event) -> Result<()> {
        let kind = if event.get("uring_op_number").is_null() { "SYSCALL" } else { "URINGOP" };
        event.is(&json!({"type": kind, "node": "guest", "incomplete": null}))?;
        match event.text("action")? {
            "always" => event.is(&json!({"verdict": "allow"}))?,
            action => ensure!(["deny", "kill"].contains(&action), "an action that records nothing: {event}"),
        }
        let time: DateTime<Utc> = event.text("time")?.parse().context("time is none")?;
        ensure!(
            time > self.since - CLOCK_SLACK && time < Utc::now() + CLOCK_SLACK,
            "the time is wrong (the case began at {}): {event}",
            self.since
        );
        let exit = event.get("exit").as_i64().with_context(|| format!("no exit in {event}"))?;
        let failed = (-4095..0).contains(&exit);
        event.is(&json!({"success": !failed}))?;
        ensure!(event.get("errno").is_string() == failed, "errno does not go with exit: {event}");
        Ok(())
    }
}

/// A log that no other case writes.
pub fn own_log(name: &str) -> PathBuf {
    PathBuf::from(format!("/var/log/audit/{}.json.gz", name.replace(' ', "-")))
}

/// Configuration of an output that is flushed at once and holds a lot. Only one daemon at a time could be the kernel's.
pub fn file_output(path: &Path) -> String {
    kernel_and_file_output("", path)
}

/// The same, with `settings` of the `[kernel]` table before: lines.
pub fn kernel_and_file_output(settings: &str, path: &Path) -> String {
    format!(
        "protect_locked = []\n[kernel]\nuser_messages = \"off\"\n{settings}[[output]]\ntype = \"file\"\nformat = \"json\"\npath = \"{}\"\ncompression = \"gzip\"\nflush_ms = 20\nqueue = 100000\n",
        path.display()
    )
}

/// Writes a file that only root can read.
pub fn private_file(name: &str, extension: &str, content: &str) -> Result<PathBuf> {
    let dir = Path::new("/etc/audit/guest-tests");
    fs::create_dir_all(dir).context("cannot create a directory for configuration")?;
    let path = dir.join(format!("{}.{extension}", name.replace(' ', "-")));
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).context("cannot set a mode")?;
    Ok(path)
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    const LINES: usize = 20;
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Whether a record tells of a loss.
pub fn is_loss(event: &Event) -> bool {
    event.get("type") == "LOST"
}

/// Events that were lost, for whatever cause, as the log tells.
pub fn lost(events: &[Event]) -> u64 {
    events.iter().filter(|event| is_loss(event)).filter_map(|event| event.get("lost").as_u64()).sum()
}
