//! A guarded daemon, and root who would silence it. Last of all: a locked daemon does not end before the guest does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::control::auditctl;
use super::{keeper, persistence};
use crate::child;
use crate::daemon::{PROGRAM, wait_for};
use crate::event::Event;
use crate::harness::Alone;
use crate::place::Place;
use crate::session::Session;
use crate::sys::{self, Arg};

pub const CASES: &[Alone] = &[Alone::new("guard_is_lifted_by_auditctl", lifted), LOCKED];
/// What another kernel may do otherwise.
pub const OF_KERNEL: &[Alone] = &[LOCKED];
const LOCKED: Alone = Alone::new("guard_locked_is_not_lifted", locked);

const KEY: &str = "auditd-bpf-guard";

const ROTATION_TIME: Duration = Duration::from_secs(60);

/// What root tries; where it fails with another error than EPERM, that is said.
type Attempt = (&'static str, fn(&Target) -> io::Result<()>);

#[derive(Clone)]
pub struct Target {
    pub log: PathBuf,
    pub daemon: Pid,
    pub keeper: Pid,
}

impl Target {
    fn directory(&self) -> &Path {
        self.log.parent().unwrap_or(Path::new("/"))
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.daemon, signal)?)
    }
}

/// On logs, configuration and program.
const ON_FILES: &[Attempt] = &[
    ("appending to the log", |target| File::options().append(true).open(&target.log).map(drop)),
    ("emptying the log", |target| File::options().write(true).truncate(true).open(&target.log).map(drop)),
    ("truncating the log", |target| Ok(nix::unistd::truncate(&target.log, 0)?)),
    ("removing the log", |target| fs::remove_file(&target.log)),
    ("renaming the log", |target| fs::rename(&target.log, "/var/log/stolen")),
    ("renaming the directory of the log", |target| {
        fs::rename(target.directory(), target.directory().with_extension("x"))
    }),
    ("replacing the log", |target| {
        fs::write("/var/log/forged", "")?;
        fs::rename("/var/log/forged", &target.log)
    }),
    ("a file beside the log", |target| File::create(target.directory().join("forged")).map(drop)),
    ("changing the log's mode", |target| {
        fs::set_permissions(&target.log, std::os::unix::fs::PermissionsExt::from_mode(0o666))
    }),
    ("mounting over the log", |target| {
        Ok(mount(Some("none"), target.directory(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
    }),
    ("a file in /etc/audit", |_| fs::write("/etc/audit/forged.rules", "-D\n")),
    ("moving /etc/audit", |_| fs::rename("/etc/audit", "/etc/audit.x")),
    ("mounting over /etc/audit", |_| {
        Ok(mount(Some("/tmp"), "/etc/audit", None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
    }),
    ("removing the program", |_| fs::remove_file(PROGRAM)),
    ("replacing the program", |_| {
        fs::write("/usr/bin/forged", "")?;
        fs::rename("/usr/bin/forged", PROGRAM)
    }),
];

/// On the daemon's process, or its keeper's.
const ON_PROCESS: &[Attempt] = &[
    ("SIGTERM", |target| target.signal(Signal::SIGTERM)),
    ("SIGKILL", |target| target.signal(Signal::SIGKILL)),
    ("SIGSTOP", |target| target.signal(Signal::SIGSTOP)),
    ("a signal to a thread", |target| {
        let pid = i64::from(target.daemon.as_raw());
        let mut arguments = [Arg::Number(pid), Arg::Number(pid), Arg::Number(i64::from(libc::SIGKILL))];
        sys::call(libc::SYS_tgkill, &mut arguments).map(drop)
    }),
    ("tracing", |target| Ok(ptrace::seize(target.daemon, ptrace::Options::empty())?)),
    ("a limit on its files", |target| limit_files(target.daemon, &[0; 16])),
    ("its priority", |target| {
        let pid = Arg::Number(i64::from(target.daemon.as_raw()));
        sys::call(libc::SYS_setpriority, &mut [Arg::Number(0), pid, Arg::Number(19)]).map(drop)
    }),
    ("its scheduling", |target| {
        let pid = Arg::Number(i64::from(target.daemon.as_raw()));
        let priority = [0; 4];
        sys::call(libc::SYS_sched_setscheduler, &mut [pid, Arg::Number(5), Arg::Bytes(&priority)]).map(drop)
    }),
    ("whether the kernel ends it first", |target| {
        File::options().write(true).open(format!("/proc/{}/oom_score_adj", target.daemon)).map(drop)
    }),
    ("writing to its memory", |target| {
        File::options().write(true).open(format!("/proc/{}/mem", target.daemon)).map(drop)
    }),
];

/// What it may write from now on, at most (`RLIMIT_FSIZE`): more would end it.
fn limit_files(daemon: Pid, limit: &[u8; 16]) -> io::Result<()> {
    let (pid, resource) = (i64::from(daemon.as_raw()), i64::from(libc::RLIMIT_FSIZE));
    let mut arguments = [Arg::Number(pid), Arg::Number(resource), Arg::Bytes(limit), Arg::Number(0)];
    sys::call(libc::SYS_prlimit64, &mut arguments).map(drop)
}

/// On programs, maps and links.
const ON_BPF: &[Attempt] = &[
    ("a program by id", |_| bpf_by_id(13)),
    ("a map by id", |_| bpf_by_id(14)),
    ("a link by id", |_| bpf_by_id(30)),
    ("what is pinned", |_| first_pin().and_then(|pin| sys::bpf_pinned(&pin)).map(drop)),
    ("removing a pin", |_| first_pin().and_then(fs::remove_file)),
    ("renaming a pin", |_| first_pin().and_then(|pin| fs::rename(&pin, pin.with_file_name("stolen")))),
    ("mounting over the pins", |_| {
        Ok(mount(Some("none"), persistence::PINS, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
    }),
    ("unmounting the BPF file system", |_| Ok(umount2("/sys/fs/bpf", MntFlags::MNT_DETACH)?)),
];

fn first_pin() -> io::Result<PathBuf> {
    let pins = keeper::pinned().map_err(io::Error::other)?;
    pins.into_iter().next().ok_or_else(|| io::Error::other("nothing is pinned"))
}

/// bpf(2) with a command that asks for a descriptor by id: what it asks for, and the first that there is.
fn bpf_by_id(command: i64) -> io::Result<()> {
    let mut id = [0; 128];
    id[..4].copy_from_slice(&1u32.to_ne_bytes());
    sys::call(libc::SYS_bpf, &mut [Arg::Number(command), Arg::Bytes(&id), Arg::Number(16)]).map(drop)
}

fn start(place: &Place, protect: &str) -> Result<(Session, Target)> {
    let log = PathBuf::from(format!("/var/log/guarded-{}/audit.json", place.name));
    let config = format!(
        "{protect}\n[kernel]\nuser_messages = \"off\"\n[[output]]\ntype = \"file\"\nformat = \"json\"\npath = \"{}\"\nflush_ms = 20\n",
        log.display()
    );
    let session = Session::start_with(place.name, &place.rules("-w {dir}/f -p w -k {key}"), &config, &log)?;
    let target = Target { log, daemon: session.daemon()?, keeper: session.pid() };
    Ok((session, target))
}

fn all_is_refused(session: &mut Session, target: &Target, attempts: &[&[Attempt]]) -> Result<()> {
    let before = session.records().len();
    let attempts = attempts.concat();
    for (what, attempt) in &attempts {
        child::run(|| match attempt(target) {
            Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => Ok(()),
            other => anyhow::bail!("{what}: {other:?}"),
        })
        .with_context(|| (*what).to_owned())?;
    }
    session.settle()?;
    let records: Vec<&Event> = session.records()[before..].iter().filter(|event| event.has_key(KEY)).collect();
    for record in &records {
        record.is(&json!({"verdict": "deny", "action": "deny", "success": false, "errno": "EPERM"}))?;
    }
    ensure!(records.len() == attempts.len(), "{} records of {} attempts", records.len(), attempts.len());
    ensure!(!auditctl("-l")?.stdout.contains(KEY), "the guard is listed");
    Ok(())
}

/// Everything else goes on: reading, asking, events of the user's own rules.
fn all_else_works(session: &mut Session, place: &Place, target: &Target) -> Result<()> {
    child::run(|| {
        File::open(&target.log).context("reading the log")?;
        kill(target.daemon, None).context("asking whether it lives")?;
        fs::read_link(format!("/proc/{}/exe", target.daemon)).context("looking at its program")?;
        fs::write(place.path("f"), "x").context("a watched file")?;
        fs::write("/var/log/other", "x").context("another log")?;
        mount(Some("none"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>).context("mounting elsewhere")?;
        umount("/mnt").context("unmounting")?;
        Ok(())
    })?;
    session.settle()?;
    ensure!(session.records().iter().any(|event| event.has_key(place.name)), "the watched file is not in the log");
    Ok(())
}

fn lifted(place: &Place) -> Result<()> {
    place.file("f")?;
    fs::create_dir_all("/mnt")?;
    let (mut session, target) = start(place, "protect = [\"process\"]")?;
    all_is_refused(&mut session, &target, &[ON_PROCESS])?;
    all_is_refused(&mut session, &Target { daemon: target.keeper, ..target.clone() }, &[ON_PROCESS])?;
    all_else_works(&mut session, place, &target)?;
    auditctl("--signal stop")?.ended_with(0)?;
    let records = session.ended_and_read()?;
    ensure!(records.iter().any(|event| event.get("type") == "DAEMON_END"), "no DAEMON_END");
    fs::remove_file(&target.log).context("what is lifted is lifted")
}

fn locked(place: &Place) -> Result<()> {
    place.file("f")?;
    persistence::prepare(place)?;
    // Attached beforehand, which takes longer under emulation than auditctl waits.
    let (mut session, mut target) = start(place, "protect = [\"logs\", \"config\", \"process\", \"bpf\"]")?;
    for rule in ["-a deny,exit -F path={dir}/refused -F perm=w", "-a always,exit -S openat -F dir={dir}/d -F perm=w"] {
        auditctl(place.rules(rule).trim_end())?.ended_with(0)?;
    }
    auditctl("-e 2")?.ended_with(0)?;
    holds(&mut session, place, &target)?;
    target.daemon = keeper::locked_replaced(&mut session, place, &target).context("a daemon in its place")?;
    holds(&mut session, place, &target).context("with a daemon in its place")?;
    // Rotation by the daemon goes on.
    session.signal(Signal::SIGUSR1)?;
    let directory = target.directory();
    wait_for("a segment", ROTATION_TIME, || Ok((fs::read_dir(directory)?.count() > 2).then_some(())))?;
    keeper::locked_orphaned(&session, place, &target)
}

/// Nobody lifts the guard.
fn holds(session: &mut Session, place: &Place, target: &Target) -> Result<()> {
    all_is_refused(session, target, &[ON_FILES, ON_PROCESS, ON_BPF])?;
    all_else_works(session, place, target)?;
    let stop = auditctl("--signal stop")?;
    ensure!(stop.status != Some(0), "auditctl stopped it");
    Ok(())
}
