//! The same rules and the same acts under the kernel's own audit with auditd and under auditd-bpf, at the same time, compared
//! event by event. The kernel is right, but for what [`differences`] lists.
//!
//! | what | where |
//! |---|---|
//! | a rule text and acts | [`case`], `cases/` |
//! | which cases share a rule set | [`sets`] |
//! | both audits, from start to logs | [`kernel`], [`ours`] |
//! | which event is which, field by field | [`compare`], [`fields`] |
//! | where auditd-bpf differs, and why | [`differences`] |
//! | what is told | [`report`] |

mod case;
mod cases;
mod compare;
mod differences;
mod fields;
mod kernel;
mod ours;
mod report;
mod sets;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use output::event::{Body, SyscallEvent};
use output::read::Reader;

use crate::child;
use crate::place::{BASE, Place};
use case::Case;
use report::Report;
use sets::Set;

/// Where the kernel's release names the row of differences and results.
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// Both logs and the results, for the host.
const OUT: &str = "/out";
/// Opening it ends the acts of a set: when its event is in a log, all earlier ones are.
const FENCE: &str = "fence";

/// Runs the cases whose name contains one of `only`, or all.
pub fn run(only: &[String]) -> ExitCode {
    match compare_all(only) {
        Ok(report) => report.close(),
        Err(error) => {
            println!("FAILED compliance: {error:#}\n0 passed, 1 failed, 0 skipped");
            ExitCode::FAILURE
        }
    }
}

/// Prints the names of all cases.
pub fn list() {
    for case in sets::all().iter().flat_map(|set| &set.cases) {
        println!("{} (compliance)", case.name);
    }
}

fn compare_all(only: &[String]) -> Result<Report> {
    mount(Some("srv"), BASE, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).context("cannot mount a tmpfs")?;
    let mut report = Report::new(fs::read_to_string(RELEASE).context("cannot read the kernel's release")?.trim());
    let mut number = 0;
    for mut set in sets::all() {
        set.cases.retain(|case| only.is_empty() || only.iter().any(|part| case.name.contains(part.as_str())));
        if !set.cases.is_empty() {
            compare_set(&set, number, &mut report).with_context(|| format!("set {}", set.name))?;
        }
        number += set.cases.len();
    }
    for log in [kernel::LOG, ours::LOG] {
        keep(Path::new(log));
    }
    report.keep(Path::new(OUT))?;
    Ok(report)
}

/// Loads the rules of a set into both, acts, and compares. Its cases have numbers from `first`.
fn compare_set(set: &Set, first: usize, report: &mut Report) -> Result<()> {
    let mut prepared = Vec::new();
    for (number, case) in set.cases.iter().copied().enumerate() {
        let place = Place::create(case.name, first + number)?;
        (case.prepare)(&place).with_context(|| format!("cannot prepare {}", case.name))?;
        prepared.push((case, place));
    }
    let (fence, fence_key) = (Path::new(BASE).join(FENCE), format!("{FENCE}-{}", set.name));
    File::create(&fence).context("cannot create the fence")?;
    let mut rules = format!("-a always,exit -F arch=b64 -S openat -F path={} -k {fence_key}\n", fence.display());
    for (case, place) in &prepared {
        rules += &case.rules(place)?;
    }
    let ours = ours::Ours::start(&rules)?;
    let own = ours.pid()?;
    let kernel = kernel::KernelAudit::start(&rules)?;
    let acted: Vec<_> = prepared.iter().map(|(case, place)| act(case, place)).collect();
    child::run(|| File::open(&fence).map(drop).context("cannot open the fence"))?;
    let logs = (kernel.finish(&fence_key), ours.finish(&fence_key));
    let of_cases = |log: Vec<u8>| by_case(&log, &prepared, own, set.has);
    let (mut theirs, mut ours) = (of_cases(logs.0?)?, of_cases(logs.1?)?);
    for ((case, _), acted) in prepared.iter().zip(acted) {
        let theirs = theirs.remove(case.name).unwrap_or_default();
        let ours = ours.remove(case.name).unwrap_or_default();
        report.case(case, acted, &theirs, &ours);
    }
    Ok(())
}

/// Runs a case's acts in a child with its login uid.
fn act(case: &Case, place: &Place) -> Result<()> {
    child::run(|| {
        child::set_login_uid(place.auid)?;
        std::env::set_current_dir("/")?;
        (case.act)(place)
    })
    .map(drop)
}

/// The events of each case, in the order of the log. Left out is what the daemon itself does, which it never records: it looks
/// at what is watched.
fn by_case(
    log: &[u8],
    prepared: &[(&Case, Place)],
    own: u32,
    has: fn(&SyscallEvent, &Place) -> bool,
) -> Result<BTreeMap<&'static str, Vec<SyscallEvent>>> {
    let mut events: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in Reader::new(log) {
        let entry = entry.context("a log does not read")?;
        let Body::Syscall(call) = entry.event.body else { continue };
        if call.pid == own {
            continue;
        }
        if let Some((case, _)) = prepared.iter().find(|(_, place)| has(&call, place)) {
            events.entry(case.name).or_default().push(*call);
        }
    }
    Ok(events)
}

/// Copies a log to where the host finds it, if the host asked for it.
fn keep(log: &Path) {
    if let (true, Some(name)) = (Path::new(OUT).is_dir(), log.file_name()) {
        // For people who look for the reason of a failure; the result does not depend on it.
        let _ = fs::copy(log, Path::new(OUT).join(name));
    }
}
