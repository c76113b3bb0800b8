//! Rules that refuse: the act does not happen, the caller sees the errno, the record tells, and the same act next door works.

mod act;
mod attempt;
mod capability;
mod destination;
mod evasion;
mod field;
mod narrow;
mod order;
mod ring;
mod socket;
mod system;
mod task;
mod variant;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::event::Event;
use crate::harness::Case;
use crate::place::Place;
use crate::session::Test;
use crate::sys;

/// Cases that share a daemon.
pub const FAMILIES: &[&[Case]] = &[
    act::CASES,
    order::CASES,
    evasion::CASES,
    evasion::OVERLAY,
    destination::CASES,
    socket::CASES,
    task::CASES,
    task::SILENT,
    system::CASES,
    system::CHANGED,
    variant::CASES,
    variant::SINCE_6_2,
    variant::CHROOT,
    field::CASES,
    field::IN_CGROUP,
    capability::CASES,
    ring::CASES,
    verdict::CASES,
    verdict::ERRNOS,
    narrow::ON_FILES,
    narrow::ON_OTHERS,
];

/// Those of them that are about files.
pub const OF_FILES: &[&[Case]] =
    &[act::CASES, order::CASES, evasion::CASES, evasion::OVERLAY, variant::CASES, variant::SINCE_6_2];

/// The act failed as it should.
fn refused<T>(result: io::Result<T>, errno: Errno) -> Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(errno as i32) => Ok(()),
        Err(error) => bail!("it failed otherwise: {error}"),
        Ok(_) => bail!("it was not refused"),
    }
}

/// What a refused event is like.
fn verdict(hook: &str, errno: Errno) -> Value {
    json!({"verdict": "deny", "action": "deny", "hook": hook, "exit": -(errno as i32), "success": false})
}

/// A directory that a rule is about, and one beside it that is like it.
fn two_directories(place: &Place) -> Result<()> {
    for name in ["d", "free"] {
        place.directory(Path::new(name).join("sub"))?;
        place.file(Path::new(name).join("f"))?;
        place.program(Path::new(name).join("program"))?;
    }
    Ok(())
}

/// Everything in a directory: names, and of each the attributes, and what stat(2) says but for times of reading.
fn snapshot(directory: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut seen = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let status = fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
        if status.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
        let content = if status.is_file() && status.size() < 4096 { fs::read(&path)? } else { Vec::new() };
        let (ids, times) = ((status.uid(), status.gid()), (status.mtime(), status.mtime_nsec()));
        let attributes = sys::attributes(&path)?;
        let text = format!(
            "{} {:o} {ids:?} {} {} {times:?} {attributes:?} {content:?}",
            status.ino(),
            status.mode(),
            status.nlink(),
            status.size()
        );
        seen.insert(path, text);
    }
    Ok(seen)
}

/// Runs an act in `d`, where it must be refused and change nothing, and in `free`, where it must work and be silent. Returns the
/// record.
fn refused_in_one(test: &mut Test<'_>, hook: &str, act: fn(&Path) -> io::Result<()>) -> Result<Event> {
    let (watched, free) = (test.path("d"), test.path("free"));
    let before = snapshot(&watched)?;
    test.silence("looking at it")?;
    test.child(|| refused(act(&watched), Errno::EPERM))?;
    let [event] = test.exactly()?;
    event.is(&verdict(hook, Errno::EPERM))?;
    let after = snapshot(&watched)?;
    ensure!(before == after, "something happened: {before:#?} became {after:#?}");
    test.child(|| act(&free).context("the act next door"))?;
    test.silence("the act next door")?;
    Ok(event)
}

/// The same of one call.
fn refused_by_call(test: &mut Test<'_>, call: &str, hook: &str, act: fn(&Path) -> io::Result<()>) -> Result<()> {
    refused_in_one(test, hook, act)?.is(&json!({"syscall": call, "auid": test.place.auid}))
}
