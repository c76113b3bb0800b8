//! More than the daemon can take, and a daemon that cannot act: the kernel goes on to refuse, and every event is in the log or
//! counted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::objects::tell;
use crate::cases::crash::fill;
use crate::child;
use crate::daemon::{PROGRAM, run, wait_for};
use crate::harness::Against;
use crate::locked::{Locked, MANY, REFUSED};
use crate::sys::CGROUPS;

pub const FULL_DISK: Against = Against::new("locked_disk_is_filled", full_disk);
pub const FLOOD: Against = Against::new("locked_flood_is_accounted_for", flood);
pub const FORKS: Against = Against::new("locked_ten_thousand_forks_are_accounted_for", forks);
pub const FREEZER: Against = Against::new("locked_daemon_is_frozen", freezer);
pub const VERIFIED: Against = Against::new("locked_log_verifies", verified);

const TIME: Duration = Duration::from_secs(60);
const PROCESSES: u32 = 4;
/// An act in so many is one that is refused.
const REFUSED_EACH: u32 = 25;

/// So many processes, all at once: each does so many acts, refused ones among them. Returns how many events that should make.
fn many(locked: &Locked, name: &str, each: u32, act: impl Fn(&str) -> Result<()> + Copy) -> Result<u64> {
    child::all_at_once(PROCESSES, |process| {
        for number in 0..each {
            act(&format!("{name}-{process}-{number}"))?;
            if number % REFUSED_EACH == 0 {
                locked.is_refused()?;
            }
        }
        Ok(())
    })?;
    Ok(events_of(each))
}

/// What so many acts of each process make.
fn events_of(each: u32) -> u64 {
    u64::from(PROCESSES * (each + each.div_ceil(REFUSED_EACH)))
}

fn full_disk(locked: &mut Locked) -> Result<()> {
    locked.session.settle()?;
    let before = locked.session.records().len();
    let said = locked.session.said().matches("No space left").count();
    let filler = fill(locked.target.beside("").as_path())?;
    let made = many(locked, "full", 250, |name| locked.make(name))?;
    wait_for("the daemon to find the disk full", TIME, || {
        Ok((locked.session.said().matches("No space left").count() > said).then_some(()))
    })?;
    locked.is_refused()?;
    fs::remove_file(filler)?;
    let lost = locked.accounts_for(made + 1, before)?;
    ensure!(lost == 0, "{lost} events were lost though they fit into the queue");
    Ok(())
}

fn flood(locked: &mut Locked) -> Result<()> {
    locked.session.settle()?;
    let before = locked.session.records().len();
    let made = many(locked, "flood", 1250, |name| locked.make(name))?;
    let lost = locked.accounts_for(made, before)?;
    println!("    {made} events, {lost} of them lost and counted");
    Ok(())
}

/// Each act is one of a process of its own, which a shell forks: it is small, where this process holds all records.
fn forks(locked: &mut Locked) -> Result<()> {
    const EACH: u32 = 2500;
    locked.session.settle()?;
    let before = locked.session.records().len();
    let script = format!(
        "n=0; while [ $n -lt {EACH} ]; do (: >{many}/fork-$0-$n) || exit 1
         if [ $((n % {REFUSED_EACH})) = 0 ] && (: >{refused}) 2>/dev/null; then exit 2; fi
         n=$((n + 1)); done",
        many = locked.place.path(MANY).display(),
        refused = locked.place.path(REFUSED).display(),
    );
    let shells = (0..PROCESSES).map(|shell| Command::new("sh").args(["-c", &script, &shell.to_string()]).spawn());
    for shell in shells.collect::<Vec<_>>() {
        let status = shell?.wait()?;
        ensure!(
            status.success(),
            "a shell ended with {status}: 1 for an act that failed, 2 for one that was not refused"
        );
    }
    let made = events_of(EACH);
    let lost = locked.accounts_for(made, before)?;
    println!("    {made} events, {lost} of them lost and counted");
    Ok(())
}

/// While it is frozen no more than the ring buffer holds is kept. The rest is counted.
fn freezer(locked: &mut Locked) -> Result<()> {
    let (group, daemon) = (Path::new(CGROUPS).join("adversary"), locked.target.daemon.to_string());
    fs::create_dir_all(&group).context("no control groups")?;
    tell(group.join("cgroup.procs"), &daemon)?;
    for (name, each, loses) in [("frozen", 25, false), ("frozen-long", 1500, true)] {
        locked.session.settle()?;
        let before = locked.session.records().len();
        tell(group.join("cgroup.freeze"), "1")?;
        let made = wait_for("it to be frozen", TIME, || {
            Ok(fs::read_to_string(group.join("cgroup.events"))?.contains("frozen 1").then_some(()))
        })
        .and_then(|()| many(locked, name, each, |name| locked.make(name)));
        tell(group.join("cgroup.freeze"), "0")?;
        let made = made?;
        let lost = locked.accounts_for(made, before)?;
        ensure!((lost > 0) == loses, "{name}: {lost} lost of {made}");
    }
    tell(Path::new(CGROUPS).join("cgroup.procs"), &daemon)?;
    fs::remove_dir(group).context("cannot remove its group")
}

/// Nothing in the logs was removed, reordered or edited by all this.
fn verified(locked: &mut Locked) -> Result<()> {
    run(Command::new(PROGRAM).arg("verify").arg(locked.target.directory()))?.ended_with(0).map(drop)
}
