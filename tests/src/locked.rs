//! A locked daemon, which nobody ends before the guest does: what is tried against it, and what must hold after each attempt.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::cases::auditctl;
use crate::child;
use crate::daemon::wait_for;
use crate::event::Event;
use crate::place::Place;
use crate::session::{Session, lost};

/// Key of records of what a guard refused.
pub const KEY: &str = "auditd-bpf-guard";
/// A file in its place whose writers are recorded.
pub const WATCHED: &str = "watched";
/// One that the user's own rule refuses to write.
pub const REFUSED: &str = "refused";
/// A directory of files that are recorded as they come.
pub const MANY: &str = "many";
/// Key of changes of the clock.
pub const CLOCK: &str = "clock";
/// Where its log is: a file system with little room.
const DISK: &str = "/var/log/guarded";
const ROOM: &str = "size=16m";

const RULES: &str = "-a deny,exit -F arch=b64 -S openat -F path={dir}/refused -F perm=w -F errno=EBUSY -k refused\n\
                     -a always,exit -F arch=b64 -S openat -F dir={dir}/many -F perm=w -k many\n\
                     -a always,exit -F arch=b64 -S settimeofday,clock_settime,adjtimex,clock_adjtime -k clock";
/// Made by auditctl while it runs: no file has it.
const RULE_OF_AUDITCTL: &str = "-a always,exit -F arch=b64 -S openat -F path={dir}/watched -F perm=w -k watched";
/// Under emulation the daemon takes its time.
const TIME: Duration = Duration::from_secs(120);

/// What root tries; where it fails with another error than that of a refusal, that is said.
pub type Attempt = (&'static str, fn(&Target) -> io::Result<()>);

/// What he would silence.
#[derive(Clone)]
pub struct Target {
    pub log: PathBuf,
    pub daemon: Pid,
    pub keeper: Pid,
}

impl Target {
    /// Where the log is.
    pub fn directory(&self) -> &Path {
        self.log.parent().unwrap_or(Path::new("/"))
    }

    /// A path on the log's file system that is not guarded.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory().with_file_name(name)
    }

    /// kill(2).
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.daemon, signal)?)
    }
}

/// The daemon, and who acts against it.
pub struct Locked {
    pub session: Session,
    pub place: Place,
    pub target: Target,
}

impl Locked {
    /// Starts a daemon that guards all that it can, and locks it.
    pub fn start(place: Place) -> Result<Self> {
        [WATCHED, REFUSED].into_iter().try_for_each(|name| place.file(name).map(drop))?;
        place.directory(MANY)?;
        fs::create_dir_all(DISK)?;
        mount(Some("log"), DISK, Some("tmpfs"), MsFlags::empty(), Some(ROOM)).context("cannot mount a tmpfs")?;
        let log = Path::new(DISK).join("log/audit.json");
        // Attached beforehand, which takes longer under emulation than auditctl waits.
        let protect = "protect = [\"logs\", \"config\", \"process\", \"bpf\"]";
        let config = configuration(protect, "ring_buffer_bytes = 1048576\n", &log);
        let session = Session::start_with(place.name, &place.rules(RULES), &config, &log)?;
        let target = Target { log, daemon: session.daemon()?, keeper: session.pid() };
        let mut locked = Self { session, place, target };
        auditctl(locked.place.rules(RULE_OF_AUDITCTL).trim_end())?.ended_with(0)?;
        locked.holds().context("before it is locked")?;
        auditctl("-e 2")?.ended_with(0)?;
        Ok(locked)
    }

    /// The user's rules refuse and record as ever, and the daemon lives.
    pub fn holds(&mut self) -> Result<()> {
        self.session.settle()?;
        let before = self.session.records().len();
        child::run(|| self.acts())?;
        self.session.settle()?;
        self.session.check_alive()?;
        let of_key = |key| self.session.records()[before..].iter().filter(move |event| event.has_key(key));
        for (key, expected) in [
            (REFUSED, json!({"verdict": "deny", "success": false, "errno": "EBUSY"})),
            (WATCHED, json!({"verdict": "allow", "success": true})),
        ] {
            let [record] = of_key(key).collect::<Vec<_>>()[..] else {
                bail!("{} records of the key {key} instead of one", of_key(key).count());
            };
            record.is(&expected)?;
        }
        Ok(())
    }

    /// What is refused, and what is watched.
    pub fn acts(&self) -> Result<()> {
        self.is_refused()?;
        OpenOptions::new().write(true).open(self.place.path(WATCHED)).map(drop).context("the watched file")
    }

    /// The user's own rule refuses.
    pub fn is_refused(&self) -> Result<()> {
        let refused = OpenOptions::new().write(true).open(self.place.path(REFUSED));
        match refused {
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => Ok(()),
            other => bail!("what is refused is not: {other:?}"),
        }
    }

    /// All this is refused and recorded.
    pub fn refuses(&mut self, attempts: &[Attempt]) -> Result<()> {
        all_is_refused(&mut self.session, &self.target, &[attempts])
    }

    /// Makes a file whose coming is recorded.
    pub fn make(&self, name: &str) -> Result<()> {
        File::create_new(self.place.path(MANY).join(name)).map(drop).context("cannot make a file")
    }

    /// So many acts were recorded or counted as lost since there were `before` records. Returns how many were lost.
    pub fn accounts_for(&mut self, made: u64, before: usize) -> Result<u64> {
        let session = &mut self.session;
        let mut sum = || {
            let new = &session.read()?[before..];
            let come = new.iter().filter(|event| event.has_key(MANY) || event.has_key(REFUSED)).count();
            Ok::<_, anyhow::Error>((come as u64, lost(new)))
        };
        let complete = wait_for("all to be in the log, or counted", TIME, || {
            let (come, lost) = sum()?;
            Ok((come + lost >= made).then_some(()))
        });
        let (come, lost) = sum()?;
        complete.with_context(|| format!("{come} events and {lost} lost of {made}"))?;
        self.session.settle()?;
        ensure!(come + lost == made, "{come} events and {lost} lost of {made}");
        Ok(lost)
    }
}

/// Configuration of a daemon that may guard something. `settings`: lines before its tables; `kernel`: more lines of that table.
pub fn configuration(settings: &str, kernel: &str, log: &Path) -> String {
    format!(
        "{settings}\n[kernel]\nuser_messages = \"off\"\n{kernel}[[output]]\ntype = \"file\"\nformat = \"json\"\n\
         path = \"{}\"\nflush_ms = 20\nqueue = 100000\n",
        log.display()
    )
}

/// All this is refused and recorded, as acts that a guard refuses.
pub fn all_is_refused(session: &mut Session, target: &Target, attempts: &[&[Attempt]]) -> Result<()> {
    session.settle()?;
    let before = session.records().len();
    let attempts = attempts.concat();
    let mut unlike = Vec::new();
    for (what, attempt) in &attempts {
        let tried = child::run(|| match attempt(target) {
            // Of an open that asks whether the process may be traced the kernel tells the latter.
            Err(error) if [Some(libc::EPERM), Some(libc::EACCES)].contains(&error.raw_os_error()) => Ok(()),
            other => bail!("{other:?}"),
        });
        if let Err(error) = tried {
            unlike.push(format!("{what}: {error:#}"));
        }
    }
    ensure!(unlike.is_empty(), "not refused: {}", unlike.join("; "));
    session.settle()?;
    let records: Vec<&Event> = session.records()[before..].iter().filter(|event| event.has_key(KEY)).collect();
    for record in &records {
        record.is(&json!({"verdict": "deny", "action": "deny", "success": false}))?;
    }
    let list = || records.iter().map(|event| format!("\n{event}")).collect::<String>();
    ensure!(records.len() == attempts.len(), "{} records of {} attempts{}", records.len(), attempts.len(), list());
    ensure!(!auditctl("-l")?.stdout.contains(KEY), "the guard is listed");
    Ok(())
}
