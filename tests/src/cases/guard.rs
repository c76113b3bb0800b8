//! A guarded daemon, and root who would silence it: before it is locked, and behind `-e 2` (more of that in `adversary`).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::control::auditctl;
use super::{keeper, persistence};
use crate::child;
use crate::daemon::{PROGRAM, wait_for};
use crate::event::Event;
use crate::harness::{Against, Alone};
use crate::locked::{Attempt, Locked, Target, WATCHED, all_is_refused, configuration};
use crate::place::Place;
use crate::session::Session;
use crate::sys::{self, Arg};

pub const CASES: &[Alone] = &[Alone::new("guard_is_lifted_by_auditctl", lifted)];
pub const LOCKED: Against = Against::new("guard_locked_is_not_lifted", locked);

const ROTATION_TIME: Duration = Duration::from_secs(60);

/// On logs, configuration and program.
const ON_FILES: &[Attempt] = &[
    ("appending to the log", |target| File::options().append(true).open(&target.log).map(drop)),
    ("emptying the log", |target| File::options().write(true).truncate(true).open(&target.log).map(drop)),
    ("truncating the log", |target| Ok(nix::unistd::truncate(&target.log, 0)?)),
    ("removing the log", |target| fs::remove_file(&target.log)),
    ("renaming the log", |target| fs::rename(&target.log, target.beside("stolen"))),
    ("renaming the directory of the log", |target| {
        fs::rename(target.directory(), target.directory().with_extension("x"))
    }),
    ("replacing the log", |target| {
        fs::write(target.beside("forged"), "")?;
        fs::rename(target.beside("forged"), &target.log)
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
    ("mounting over the BPF file system", |_| {
        Ok(mount(Some("none"), "/sys/fs/bpf", Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
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

/// Everything else goes on: reading, asking, events of the user's own rules.
fn all_else_works(session: &mut Session, watched: &Path, target: &Target) -> Result<()> {
    let before = session.records().len();
    child::run(|| {
        File::open(&target.log).context("reading the log")?;
        kill(target.daemon, None).context("asking whether it lives")?;
        fs::read_link(format!("/proc/{}/exe", target.daemon)).context("looking at its program")?;
        fs::read(format!("/proc/{}/maps", target.daemon)).context("looking at what it has mapped")?;
        fs::read(format!("/proc/{}/environ", target.daemon)).context("looking at its environment")?;
        fs::write(watched, "x").context("a watched file")?;
        fs::write("/var/log/other", "x").context("another log")?;
        mount(Some("none"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>).context("mounting elsewhere")?;
        umount("/mnt").context("unmounting")?;
        Ok(())
    })?;
    session.settle()?;
    let watched = watched.to_string_lossy();
    let is_watched = |event: &Event| event.get("paths").to_string().contains(&*watched);
    ensure!(session.records()[before..].iter().any(is_watched), "the watched file is not in the log");
    Ok(())
}

fn lifted(place: &Place) -> Result<()> {
    let watched = place.file("f")?;
    fs::create_dir_all("/mnt")?;
    let log = PathBuf::from(format!("/var/log/guarded-{}/audit.json", place.name));
    let config = configuration("protect = [\"process\"]", "", &log);
    let mut session = Session::start_with(place.name, &place.rules("-w {dir}/f -p w -k {key}"), &config, &log)?;
    let target = Target { log, daemon: session.daemon()?, keeper: session.pid() };
    all_is_refused(&mut session, &target, &[ON_PROCESS])?;
    all_is_refused(&mut session, &Target { daemon: target.keeper, ..target.clone() }, &[ON_PROCESS])?;
    all_else_works(&mut session, &watched, &target)?;
    auditctl("--signal stop")?.ended_with(0)?;
    let records = session.ended_and_read()?;
    ensure!(records.iter().any(|event| event.get("type") == "DAEMON_END"), "no DAEMON_END");
    fs::remove_file(&target.log).context("what is lifted is lifted")
}

fn locked(locked: &mut Locked) -> Result<()> {
    holds(locked)?;
    let target = &locked.target;
    // Rotation by the daemon goes on.
    locked.session.signal(Signal::SIGUSR1)?;
    let place = target.directory();
    wait_for("a segment", ROTATION_TIME, || Ok((fs::read_dir(place)?.count() > 2).then_some(())))
}

/// Nobody lifts the guard.
pub fn holds(locked: &mut Locked) -> Result<()> {
    let (watched, target) = (locked.place.path(WATCHED), locked.target.clone());
    all_is_refused(&mut locked.session, &target, &[ON_FILES, ON_PROCESS, ON_BPF])?;
    all_else_works(&mut locked.session, &watched, &target)?;
    let stop = auditctl("--signal stop")?;
    ensure!(stop.status != Some(0), "auditctl stopped it");
    Ok(())
}
