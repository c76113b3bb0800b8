//! What fuzzing found interesting, without a fuzzer: see `fuzz/` and docs/testing.md.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/log_checks.rs"]
mod checks;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let inputs: Vec<_> = entries.collect();
    assert!(inputs.len() > 10, "{} inputs", inputs.len());
    inputs
}

#[test]
fn native_logs_hold_what_must_hold() {
    corpus("native_log").iter().for_each(|log| checks::native_log(log));
}

#[test]
fn json_logs_hold_what_must_hold() {
    corpus("json_log").iter().for_each(|log| checks::json_log(log));
}
