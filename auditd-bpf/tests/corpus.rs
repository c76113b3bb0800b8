//! What fuzzing found interesting, without a fuzzer: see `fuzz/` and docs/testing.md.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/conf_checks.rs"]
mod checks;

#[test]
fn configurations_of_auditd_hold_what_must_hold() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/auditd_conf");
    let entries = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let inputs: Vec<_> = entries.collect();
    assert!(inputs.len() > 10, "{} inputs", inputs.len());
    inputs.iter().for_each(|text| checks::auditd_conf(text));
}
