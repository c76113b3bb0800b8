//! A guarded daemon that is killed, which root does by its cgroup: what it refused stays refused, and its keeper starts another.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::control::auditctl;
use super::crash::{act, count};
use super::guard;
use super::persistence::{PINS, TIME, is_gone, is_refused, prepare, taken_over};
use crate::daemon::{PROGRAM, run, serving, wait_for};
use crate::harness::{Against, Alone};
use crate::locked::{Locked, configuration};
use crate::log::Log;
use crate::place::Place;
use crate::session::{Session, is_loss, private_file};
use crate::sys::{self, BpfObjects, CGROUPS, count_bpf};

/// What another kernel may do otherwise.
pub const OF_KERNEL: &[Alone] = &[REPLACED];
const REPLACED: Alone = Alone::new("guard_outlives_a_killed_daemon", replaced);
pub const CASES: &[Alone] = &[
    REPLACED,
    Alone::new("guard_is_lifted_for_rules_that_stay", persistent),
    Alone::new("guard_outlives_a_killed_keeper", alone),
    Alone::new("guard_without_daemons_ends_by_release_unless_bpf_is_guarded", released),
    Alone::new("keeper_that_is_killed_takes_an_unguarded_daemon_along", along),
    Alone::new("keeper_hands_on_what_it_is_asked", asked),
    Alone::new("keeper_ends_as_its_daemon_does", fails),
];

/// Of the locked daemon.
pub const LOCKED_REPLACED: Against = Against::new("locked_daemon_is_replaced", locked_replaced);
/// Last of all.
pub const LOCKED_ORPHANED: Against = Against::last("locked_rules_outlive_both", locked_orphaned);

const RULES: &str = "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}\n\
                     -a deny,exit -F path={dir}/refused -F perm=w -k {key}";

fn log_of(place: &Place) -> PathBuf {
    PathBuf::from(format!("/var/log/kept-{}/audit.json", place.name))
}

fn config(place: &Place, settings: &str) -> String {
    configuration(settings, "", &log_of(place))
}

fn start(place: &Place, settings: &str) -> Result<Session> {
    Session::start_with(place.name, &place.rules(RULES), &config(place, settings), &log_of(place))
}

/// Kills processes as a service manager does, by a cgroup of their own: a guard is not asked.
pub fn kill_by_cgroup(name: &str, pids: &[Pid]) -> Result<()> {
    let own = Path::new(CGROUPS).join(name);
    fs::create_dir_all(&own)?;
    for pid in pids {
        fs::write(own.join("cgroup.procs"), pid.to_string()).with_context(|| format!("moving {pid}"))?;
    }
    fs::write(own.join("cgroup.kill"), "1").context("cgroup.kill")
}

/// Until another daemon than this one answers.
pub fn successor(before: Pid) -> Result<Pid> {
    wait_for("another daemon", TIME, || Ok(serving().ok().filter(|pid| *pid != before)))
}

fn is_forbidden<T>(what: &str, done: io::Result<T>) -> Result<()> {
    match done {
        Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => Ok(()),
        Err(error) => Err(error).with_context(|| what.to_owned()),
        Ok(_) => anyhow::bail!("{what} was done"),
    }
}

fn children(of: Pid) -> Result<Vec<Pid>> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).context("the keeper's children")?;
    listed.split_whitespace().map(|pid| Ok(Pid::from_raw(pid.parse()?))).collect()
}

/// All that is pinned.
pub fn pinned() -> Result<Vec<PathBuf>> {
    let mut directories = vec![PathBuf::from(PINS)];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { directories.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    Ok(found)
}

fn replaced(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let mut session = start(place, "protect = [\"logs\", \"process\"]")?;
    let (keeper, first) = (session.pid(), session.daemon()?);
    ensure!(keeper != first, "the daemon has no keeper");
    act(place, "before", 10)?;
    session.settle()?;
    kill_by_cgroup("first", &[first])?;
    let appends = || OpenOptions::new().append(true).open(log_of(place)).map(drop);
    ensure!(is_refused(place)?, "the rule is not in force once the daemon is killed");
    is_forbidden("writing to the log without a daemon", appends())?;
    // Long before its own rules are in force.
    let begun = wait_for("the next daemon", TIME, || Ok(children(keeper)?.into_iter().find(|pid| *pid != first)))?;
    is_forbidden("killing one that starts", kill(begun, Signal::SIGKILL).map_err(io::Error::from))?;
    is_forbidden("tracing one that starts", ptrace::seize(begun, ptrace::Options::empty()).map_err(io::Error::from))?;
    act(place, "alone", 100)?;
    let second = successor(first)?;
    ensure!(second == begun, "{second} serves, and {begun} was started");
    ensure!(is_refused(place)?, "the rule is not in force with another daemon");
    is_forbidden("writing to the log", appends())?;
    for pid in [keeper, second] {
        is_forbidden("killing", kill(pid, Signal::SIGKILL).map_err(io::Error::from))?;
    }
    act(place, "after", 10)?;
    taken_over(&mut session, 1)?;
    ensure!(session.pid() == keeper && serving()? == second, "the processes are others");
    auditctl("--signal stop")?.ended_with(0)?;
    let said = session.said();
    let records = session.ended_and_read()?;
    for (prefix, number) in [("before", 10), ("alone", 100), ("after", 10)] {
        let come = count(&records, prefix);
        ensure!(come == number, "{come} of {number} events {prefix}\n{said}");
    }
    ensure!(!records.iter().any(is_loss), "a LOST record, though nothing is");
    ensure!(records.iter().any(|event| event.get("type") == "DAEMON_END"), "no DAEMON_END");
    appends().context("what is lifted is lifted")?;
    is_gone(links)
}

/// A daemon that ends in order leaves what its next may take over: rules, and no guard.
fn persistent(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let session = start(place, "persist = true\nprotect = [\"logs\"]")?;
    session.stop()?;
    ensure!(is_refused(place)?, "the rules are not in force once the daemon has ended");
    OpenOptions::new().append(true).open(log_of(place)).context("what is guarded ends with the daemon")?;
    act(place, "waiting", 10)?;
    let mut session = start(place, "protect = [\"logs\"]")?;
    taken_over(&mut session, 1)?;
    let come = count(session.records(), "waiting");
    ensure!(come == 10, "{come} of 10 events from between two daemons");
    session.stop()?;
    is_gone(links)
}

/// The keeper alone is killed: a daemon that guards something goes on, and may be ended as before.
fn alone(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let session = start(place, "protect = [\"logs\", \"process\"]")?;
    let (keeper, daemon) = (session.pid(), session.daemon()?);
    kill_by_cgroup("keeper", &[keeper])?;
    wait_for("the daemon to notice", TIME, || Ok(session.said().contains("the keeper was killed").then_some(())))?;
    ensure!(serving()? == daemon, "the daemon did not go on");
    let appends = || OpenOptions::new().append(true).open(log_of(place)).map(drop);
    is_forbidden("writing to the log", appends())?;
    is_forbidden("killing", kill(daemon, Signal::SIGKILL).map_err(io::Error::from))?;
    act(place, "after", 10)?;
    auditctl("--signal stop")?.ended_with(0)?;
    appends().context("what is lifted is lifted")?;
    let mut log = Log::new(&log_of(place));
    log.read()?;
    let come = count(&log.records, "after");
    ensure!(come == 10, "{come} of 10 events after the keeper was killed");
    is_gone(links)
}

/// Daemon and keeper are killed, and what is pinned was not guarded: behind `-e 2` it is, see [`locked_orphaned`].
fn released(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let session = start(place, "protect = [\"logs\"]")?;
    let rules = session.rules().to_path_buf();
    kill_by_cgroup("both", &[session.pid(), session.daemon()?])?;
    session.kill()?;
    let config = private_file(place.name, "toml", &config(place, "protect = [\"logs\"]"))?;
    let mut daemon = Command::new(PROGRAM);
    daemon.arg("daemon").arg("--config").arg(&config).arg("--rules").arg(rules);
    ensure!(is_refused(place)?, "the rule is not in force without a daemon");
    run(&mut daemon)?.ended_with(1)?.said(&["killed together with its keeper", "`auditd-bpf release` ends it"])?;
    ensure!(is_refused(place)?, "a daemon that did not start took the rule out of force");
    is_forbidden("removing the log", fs::remove_file(log_of(place)))?;
    run(Command::new(PROGRAM).arg("release").arg("--config").arg(&config))?.ended_with(0)?;
    ensure!(!is_refused(place)?, "the rule is in force after its release");
    fs::remove_file(log_of(place)).context("what is released is released")?;
    is_gone(links)
}

/// Where nothing is guarded, whoever kills the process that he started has killed the daemon, which leaves its rules in force.
fn along(place: &Place) -> Result<()> {
    prepare(place)?;
    let links = count_bpf(BpfObjects::Links)?;
    let session = start(place, "")?;
    let daemon = session.daemon()?;
    ensure!(session.pid() != daemon, "the daemon has no keeper");
    session.kill()?;
    // What has ended and was not waited for yet has no command line.
    let ended = || fs::read(format!("/proc/{daemon}/cmdline")).map_or(true, |line| line.is_empty());
    wait_for("the daemon to end", TIME, || Ok(ended().then_some(())))?;
    ensure!(is_refused(place)?, "the rule is not in force without a daemon");
    act(place, "alone", 10)?;
    let mut session = start(place, "")?;
    taken_over(&mut session, 1)?;
    let come = count(session.records(), "alone");
    ensure!(come == 10, "{come} of 10 events without a daemon");
    session.stop()?;
    is_gone(links)
}

/// What the keeper is sent reaches the daemon, and the log says who sent it.
fn asked(place: &Place) -> Result<()> {
    prepare(place)?;
    let mut session = start(place, "")?;
    ensure!(session.pid() != session.daemon()?, "the daemon has no keeper");
    session.reload()?;
    let own = std::process::id();
    wait_for("the record of the reload", TIME, || {
        session.settle()?;
        let mut records = session.records().iter();
        Ok(records.any(|event| event.get("op") == "reconfigure" && event.get("pid") == own).then_some(()))
    })?;
    let records = session.stop_and_read()?;
    let end = records.iter().find(|event| event.get("type") == "DAEMON_END").context("no DAEMON_END")?;
    ensure!(end.get("pid") == own, "somebody else ended it: {end}");
    Ok(())
}

/// A daemon that cannot start is not started again, and tells the same as without a keeper.
fn fails(place: &Place) -> Result<()> {
    let rules = private_file(place.name, "rules", "-w /none/of/it -p z")?;
    let config = private_file(place.name, "toml", &config(place, ""))?;
    let mut command = Command::new(PROGRAM);
    run(command.arg("daemon").arg("--config").arg(config).arg("--rules").arg(rules))?.ended_with(6)?;
    Ok(())
}

/// A locked daemon is killed: another goes on with what was in force.
fn locked_replaced(locked: &mut Locked) -> Result<()> {
    const MADE: usize = 100;
    locked.session.settle()?;
    let (rules, before) = (auditctl("-l")?.stdout, locked.session.records().len());
    kill_by_cgroup("locked", &[locked.target.daemon])?;
    locked.acts()?;
    is_forbidden("emptying the log", OpenOptions::new().write(true).truncate(true).open(&locked.target.log))?;
    for number in 0..MADE {
        locked.make(&format!("alone-{number}"))?;
    }
    locked.target.daemon = successor(locked.target.daemon)?;
    ensure!(auditctl("-s")?.stdout.contains("enabled 2"), "the daemon is not locked");
    let now = auditctl("-l")?.stdout;
    ensure!(now == rules, "other rules are in force:\n{now}instead of\n{rules}");
    taken_over(&mut locked.session, 1)?;
    let since = &locked.session.records()[before..];
    let come = count(since, "alone");
    ensure!(come == MADE, "{come} of {MADE} events while there was no daemon");
    ensure!(!since.iter().any(is_loss), "a LOST record, though nothing is");
    guard::holds(locked)
}

/// The daemon and its keeper are killed: rules and guard stay, and nobody takes them out of force.
fn locked_orphaned(locked: &mut Locked) -> Result<()> {
    let all = pinned()?;
    ensure!(!all.is_empty(), "nothing is pinned");
    kill_by_cgroup("all", &[locked.target.keeper, locked.target.daemon])?;
    wait_for("both to end", Duration::from_secs(60), || Ok(serving().is_err().then_some(())))?;
    let holds = || -> Result<()> {
        locked.is_refused()?;
        is_forbidden("appending to the log", OpenOptions::new().append(true).open(&locked.target.log))?;
        is_forbidden("removing the log", fs::remove_file(&locked.target.log))?;
        for path in &all {
            is_forbidden("removing what is pinned", fs::remove_file(path))?;
            is_forbidden("asking for what is pinned", sys::bpf_pinned(path))?;
        }
        ensure!(pinned()?.len() == all.len(), "pins are gone");
        Ok(())
    };
    holds().context("without a daemon")?;
    let daemon = run(Command::new(PROGRAM).arg("daemon").arg("--rules").arg(locked.session.rules()))?;
    daemon.ended_with(1)?.said(&["killed together with its keeper", "until the machine reboots"])?;
    run(Command::new(PROGRAM).arg("release"))?.ended_with(1)?.said(&["guards what it left", "reboots"])?;
    holds().context("after another daemon, and `release`")
}
