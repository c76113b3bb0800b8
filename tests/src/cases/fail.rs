//! Acts that cannot be recorded or decided about: refused by rules that fail closed, let through and counted by others.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat, mknodat};

use super::crash::{count, fill, small_disk};
use crate::daemon::wait_for;
use crate::event::Event;
use crate::harness::Alone;
use crate::place::Place;
use crate::session::{Session, file_output, is_loss, kernel_and_file_output, own_log};

/// What another kernel may do otherwise.
pub const OF_KERNEL: &[Alone] = &[STANDING_STILL, DEEP];
const STANDING_STILL: Alone = Alone::new("fail_closed_refuses_what_has_no_room", standing_still);
const DEEP: Alone = Alone::new("fail_closed_refuses_what_lies_too_deep", too_deep);

pub const CASES: &[Alone] =
    &[STANDING_STILL, DEEP, Alone::new("failure_2_refuses_what_a_full_disk_would_lose", full_disk)];

const SMALL_RING: &str = "ring_buffer_bytes = 262144\n";
const TIME: Duration = Duration::from_secs(60);

/// How many of so many files d/PREFIX-0 and so on could be made, the others being refused.
fn made(place: &Place, directory: &str, prefix: &str, tries: usize) -> Result<usize> {
    let mut made = 0;
    for number in 0..tries {
        let path = place.path(format!("{directory}/{prefix}-{number}"));
        match File::create_new(&path) {
            Ok(_) => made += 1,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                ensure!(!path.exists(), "it was refused, and is there");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(made)
}

/// How many events were lost, by one cause and by all others.
fn lost_by(events: &[Event], cause: &str) -> (usize, u64) {
    let losses = events.iter().filter(|event| is_loss(event)).filter_map(|event| event.get("losses").as_array());
    let (of_cause, others): (Vec<_>, Vec<_>) = losses.flatten().partition(|loss| loss["cause"] == cause);
    let sum = |losses: Vec<&serde_json::Value>| losses.iter().filter_map(|loss| loss["count"].as_u64()).sum::<u64>();
    (sum(of_cause) as usize, sum(others))
}

/// Each act is in the log, or was refused and counted.
fn adds_up(events: &[Event], tries: usize, made: usize) -> Result<()> {
    let (refused, lost) = lost_by(events, "refused_unrecorded");
    ensure!(made < tries, "all {tries} found room");
    ensure!(
        (count(events, "closed"), refused, lost) == (made, tries - made, 0),
        "{} events of {made} acts; {refused} of {} refused; {lost} lost",
        count(events, "closed"),
        tries - made
    );
    Ok(())
}

/// A daemon that does not take its events.
fn standing_still(place: &Place) -> Result<()> {
    const TRIES: usize = 1500;
    ["d", "e"].into_iter().try_for_each(|name| place.directory(name).map(drop))?;
    let rules = "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -F fail=closed -k {key}\n\
                 -a always,exit -F arch=b64 -S openat -F dir={dir}/e -F perm=w -k {key}";
    let log = own_log(place.name);
    let config = kernel_and_file_output(SMALL_RING, &log);
    let mut session = Session::start_with(place.name, &place.rules(rules), &config, &log)?;
    session.signal(Signal::SIGSTOP)?;
    let closed = made(place, "d", "closed", TRIES);
    let open = made(place, "e", "open", 10);
    session.signal(Signal::SIGCONT)?;
    let (closed, open) = (closed?, open?);
    ensure!(open == 10, "{open} of 10 acts of the other rule were let through");
    session.settle()?;
    ensure!(made(place, "d", "after", 1)? == 1, "there is room again, and it is refused");
    let events = session.stop_and_read()?;
    ensure!(count(&events, "after") == 1 && count(&events, "open") == 10, "what was let through is not in the log");
    adds_up(&events, TRIES, closed)
}

/// With `-f 2` all rules that record do: what a log cannot take stays in the ring buffer, until that is full.
fn full_disk(place: &Place) -> Result<()> {
    const TRIES: usize = 2000;
    place.directory("d")?;
    let (disk, log) = small_disk(place, "512k")?;
    let config = kernel_and_file_output(SMALL_RING, &log).replace("queue = 100000", "queue = 200\nflush_events = 50");
    let rules = "-f 2\n-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}";
    let session = Session::start_with(place.name, &place.rules(rules), &config, &log)?;
    let filler = fill(&disk)?;
    let made = made(place, "d", "closed", TRIES)?;
    fs::remove_file(filler)?;
    wait_for("the daemon to write again", TIME, || Ok(session.said().contains("writing again").then_some(())))?;
    let mut refused_later = 0;
    wait_for("room in the ring buffer", TIME, || {
        let is_refused = File::create(place.path("d/free")).is_err();
        refused_later += usize::from(is_refused);
        Ok((!is_refused).then_some(()))
    })?;
    adds_up(&session.stop_and_read()?, TRIES + refused_later, made)
}

/// Deeper than is looked for the trees that it lies in: the rule that fails open is passed by, and told of.
fn too_deep(place: &Place) -> Result<()> {
    const LEVELS: usize = 4200;
    let rules = "-a deny,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}\n\
                 -a deny,exit -F arch=b64 -S mknodat -F dir={dir}/d -F fail=open -k {key}";
    let at = deep(&place.directory("d")?, LEVELS)?;
    let log = own_log(place.name);
    let session = Session::start_with(place.name, &place.rules(rules), &file_output(&log), &log)?;
    let mode = Mode::S_IRUSR;
    match openat(&at, "closed", OFlag::O_CREAT | OFlag::O_WRONLY, mode) {
        Err(nix::errno::Errno::EPERM) => {}
        other => bail!("fail=closed: {other:?}"),
    }
    mknodat(&at, "open", SFlag::S_IFIFO, mode, 0).context("fail=open")?;
    ensure!(fstatat(&at, "closed", AtFlags::empty()).is_err(), "it was refused, and is there");
    let events = session.stop_and_read()?;
    let (refused, lost) = lost_by(&events, "refused_undecided");
    ensure!((refused, lost) == (1, 0), "{refused} counted as refused, {lost} as lost");
    Ok(())
}

/// The lowest of so many directories, one in the other.
fn deep(top: &Path, levels: usize) -> Result<std::os::fd::OwnedFd> {
    let mut at = openat(AT_FDCWD, top, OFlag::O_DIRECTORY, Mode::empty())?;
    for _ in 0..levels {
        mkdirat(&at, "x", Mode::S_IRWXU)?;
        at = openat(&at, "x", OFlag::O_DIRECTORY, Mode::empty())?;
    }
    Ok(at)
}
