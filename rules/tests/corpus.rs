//! What fuzzing found interesting, without a fuzzer: see `fuzz/` and docs/testing.md.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/checks.rs"]
mod checks;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let inputs: Vec<_> = entries.collect();
    assert!(inputs.len() > 10, "{} inputs", inputs.len());
    inputs
}

#[test]
fn rule_files_hold_what_must_hold() {
    corpus("rule_file").iter().for_each(|text| checks::rule_file(text));
}

#[test]
fn command_lines_hold_what_must_hold() {
    corpus("command_line").iter().for_each(|arguments| checks::command_line(arguments));
}
