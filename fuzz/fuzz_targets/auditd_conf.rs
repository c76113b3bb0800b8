#![no_main]

#[path = "../conf_checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::auditd_conf(input));
