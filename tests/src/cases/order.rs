//! Which rule decides, and what it puts into the record.

use std::fs::{self, File};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::harness::Case;
use crate::place::Place;
use crate::session::Test;

pub const CASES: &[Case] = &[
    Case::new(
        "never_before_always",
        "-a never,exit -F arch=b64 -S openat -F path={dir}/f -F auid={auid}
         -a always,exit -F arch=b64 -S openat -F path={dir}/f -k {key}",
        never_first,
    )
    .prepared(files),
    Case::new(
        "never_after_always",
        "-a always,exit -F arch=b64 -S openat -F path={dir}/f -k {key}
         -a never,exit -F arch=b64 -S openat -F path={dir}/f",
        never_last,
    )
    .prepared(files),
    Case::new(
        "first_rule_that_matches_decides",
        "-a always,exit -F arch=b64 -S openat -F path={dir}/f -F perm=w -k {key} -k first
         -w {dir}/f -p rw -k {key} -k second
         -w {dir}/f -p rwxa -k {key} -k third",
        first_match,
    )
    .prepared(files),
    Case::new(
        "outcome_decides_between_rules",
        "-a always,exit -F arch=b64 -S openat -F path={dir}/private -F success=0 -k {key} -k failed
         -a always,exit -F arch=b64 -S openat -F path={dir}/private -k {key} -k worked",
        outcome,
    )
    .prepared(files),
    Case::new("never_in_a_tree", "-a never,exit -F dir={dir}/d/in\n-w {dir}/d -p w -k {key}", never_tree)
        .prepared(files),
    Case::new("several_keys", "-w {dir}/f -p w -k {key} -k second -k third", several_keys).prepared(files),
    Case::new(
        "prepended_rule",
        "-w {dir}/f -p w -k last\n-A always,exit -F path={dir}/f -F perm=w -k {key}",
        prepended,
    )
    .prepared(files),
];

fn files(place: &Place) -> Result<()> {
    place.file("f")?;
    place.file_with_mode("private", 0o600)?;
    place.directory("d/in")?;
    place.file("d/f")?;
    place.file("d/in/f").map(drop)
}

fn never_first(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    test.child(|| Ok(File::open(&file).map(drop)?))?;
    test.silence("what a rule above exempts")?;
    File::open(&file)?;
    test.exactly::<1>().map(drop)
}

fn never_last(test: &mut Test<'_>) -> Result<()> {
    File::open(test.path("f"))?;
    test.exactly::<1>().map(drop)
}

fn first_match(test: &mut Test<'_>) -> Result<()> {
    let file = test.path("f");
    File::options().write(true).open(&file)?;
    File::open(&file)?;
    fs::set_permissions(&file, fs::metadata(&file)?.permissions())?;
    let events = test.exactly::<3>()?;
    let numbers: Vec<_> = events.iter().filter_map(|event| event.get("rule_number").as_u64()).collect();
    for (event, which) in events.iter().zip(["first", "second", "third"]) {
        event.is(&json!({"keys": [test.place.name, which]}))?;
        ensure!(event.text("rule")?.contains(which), "not the {which} rule: {event}");
    }
    ensure!(numbers[0] + 1 == numbers[1] && numbers[1] + 1 == numbers[2], "rules are numbered {numbers:?}");
    Ok(())
}

fn outcome(test: &mut Test<'_>) -> Result<()> {
    let private = test.path("private");
    test.user(|| {
        ensure!(File::open(&private).is_err(), "an ordinary user may read it");
        Ok(())
    })?;
    File::open(&private)?;
    let [failed, worked] = test.exactly()?;
    failed.is(&json!({"keys": [test.place.name, "failed"], "success": false}))?;
    worked.is(&json!({"keys": [test.place.name, "worked"], "success": true}))
}

fn never_tree(test: &mut Test<'_>) -> Result<()> {
    File::options().write(true).open(test.path("d/in/f"))?;
    test.silence("what a rule above exempts")?;
    File::options().write(true).open(test.path("d/f"))?;
    test.exactly::<1>().map(drop)
}

fn several_keys(test: &mut Test<'_>) -> Result<()> {
    File::options().write(true).open(test.path("f"))?;
    let [event] = test.exactly()?;
    event.is(&json!({"keys": ["several_keys", "second", "third"]}))
}

fn prepended(test: &mut Test<'_>) -> Result<()> {
    File::options().write(true).open(test.path("f"))?;
    let [event] = test.exactly()?;
    // -A puts it before all others of the whole file.
    event.is(&json!({"rule_number": 1}))
}
