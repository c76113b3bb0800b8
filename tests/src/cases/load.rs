//! Many events at once: none lost, none doubled, none cut.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::child;
use crate::harness::{Case, skip};
use crate::place::Place;
use crate::session::Test;

pub const CASES: &[Case] = &[FIVE_THOUSAND, FAILURES, LONG_NAMES];
/// In mode observe none are lost either, where the kernel does not preempt.
pub const OBSERVED: &[Case] =
    &[FIVE_THOUSAND.only_where(none_is_left_out), FAILURES, LONG_NAMES.only_where(none_is_left_out)];

const FIVE_THOUSAND: Case =
    Case::new("five_thousand_events_of_four_processes", "-w {dir}/d -p w -k {key}", five_thousand).prepared(directory);
const FAILURES: Case = Case::new(
    "failures_of_four_processes",
    "-a always,exit -F arch=b64 -S openat -F exit=-ENOENT -F auid={auid} -k {key}",
    failures,
);
const LONG_NAMES: Case =
    Case::new("long_names_of_four_processes", "-w {dir}/d -p w -k {key}", long_names).prepared(directory);

/// Skips a case about objects where the programs that see them may be left out: they are counted then (`docs/modes.md`).
fn none_is_left_out() -> Result<()> {
    /// Debian's kernels preempt from here on.
    const PREEMPTS_FROM: u32 = 7;
    let release = crate::sys::kernel_release()?;
    let major = release.split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major >= PREEMPTS_FROM) {
        return skip(format!("on {release}, which preempts, programs of mode observe may be left out"));
    }
    Ok(())
}

const PROCESSES: u32 = 4;

fn directory(place: &Place) -> Result<()> {
    place.directory("d").map(drop)
}

/// Runs the act with the numbers of each process, all processes at once. Returns their pids.
fn in_parallel(each: u32, auid: u32, act: impl Fn(u32, u32) -> Result<()> + Copy) -> Result<Vec<u32>> {
    child::all_at_once(PROCESSES, |process| {
        child::set_login_uid(auid)?;
        (0..each).try_for_each(|number| act(process, number))
    })
}

/// Fails unless each name has exactly one event.
fn once_each(seen: impl Iterator<Item = String>, expected: impl Iterator<Item = String>) -> Result<()> {
    let mut counts: BTreeMap<String, i64> = expected.map(|name| (name, -1)).collect();
    for name in seen {
        *counts.entry(name).or_default() += 1;
    }
    let (lost, more): (Vec<_>, Vec<_>) =
        counts.iter().filter(|(_, count)| **count != 0).partition(|(_, count)| **count < 0);
    ensure!(
        lost.is_empty() && more.is_empty(),
        "{} lost (first {:?}), {} doubled or unexpected (first {:?})",
        lost.len(),
        lost.first(),
        more.len(),
        more.first()
    );
    Ok(())
}

fn name(process: u32, number: u32) -> String {
    format!("{process}-{number}")
}

fn names(each: u32) -> impl Iterator<Item = String> {
    (0..PROCESSES).flat_map(move |process| (0..each).map(move |number| name(process, number)))
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn five_thousand(test: &mut Test<'_>) -> Result<()> {
    const EACH: u32 = 1250;
    let directory = test.path("d");
    let create = |process, number| Ok(File::create_new(directory.join(name(process, number))).map(drop)?);
    let pids = in_parallel(EACH, test.place.auid, create)?;
    let events = test.events()?;
    once_each(events.iter().flat_map(|event| event.paths_of("CREATE")).map(file_name), names(EACH))?;
    for event in &events {
        let created = event.paths_of("CREATE").first().map(|path| file_name(path)).context("nothing was created")?;
        let process: usize = created.split('-').next().unwrap_or_default().parse()?;
        event.is(&json!({"syscall": "openat", "success": true, "pid": pids[process]}))?;
    }
    let serials: Vec<_> = events.iter().filter_map(|event| event.get("serial").as_u64()).collect();
    ensure!(serials.is_sorted_by(|a, b| a < b), "serials do not ascend");
    Ok(())
}

fn failures(test: &mut Test<'_>) -> Result<()> {
    const EACH: u32 = 250;
    let directory = test.path("absent");
    let open = |process, number| {
        ensure!(File::open(directory.join(name(process, number))).is_err(), "it is there");
        Ok(())
    };
    in_parallel(EACH, test.place.auid, open)?;
    let events = test.events()?;
    once_each(events.iter().flat_map(|event| event.paths_of("UNKNOWN")).map(file_name), names(EACH))
}

fn long_names(test: &mut Test<'_>) -> Result<()> {
    const EACH: u32 = 50;
    // Long enough that an event does not fit into one sample of the ring buffer.
    let base = test.path("d");
    let deep = |process: u32| (0..12).fold(base.clone(), |path, _| path.join(format!("{process}").repeat(200)));
    for process in 0..PROCESSES {
        fs::create_dir_all(deep(process))?;
    }
    test.events()?;
    let create = |process, number| Ok(File::create_new(deep(process).join(name(process, number))).map(drop)?);
    in_parallel(EACH, test.place.auid, create)?;
    let events = test.events()?;
    let created = events.iter().flat_map(|event| event.paths_of("CREATE")).map(str::to_owned);
    let expected = (0..PROCESSES).flat_map(|process| {
        let directory = deep(process);
        (0..EACH).map(move |number| directory.join(name(process, number)).to_string_lossy().into_owned())
    });
    once_each(created, expected)
}
