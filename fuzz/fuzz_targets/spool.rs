#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| output::spool::checks::any_segment(input));
