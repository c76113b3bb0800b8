//! What `cargo test -- --show-output` prints.

use crate::test::{Outcome, Tally};

/// Adds up the results of all test programs. Tests that lack something print a line that begins with `SKIP` and pass: they
/// count as skipped.
#[derive(Debug, Default)]
pub struct Results {
    /// So far; its remarks are the tests that failed or skipped, and what the former said.
    pub outcome: Outcome,
    /// Skipped tests of the program that runs.
    skipped: u64,
    place: Place,
}

#[derive(Debug, Default)]
enum Place {
    /// Among lines for people.
    #[default]
    Outside,
    /// In what passing tests printed.
    Passing,
    /// In what this one did.
    Of(String),
    /// In what failing tests printed.
    Failing,
}

impl Results {
    /// Takes a line. Returns what is to be seen of it.
    pub fn line(&mut self, line: &str) -> Option<String> {
        if let Some(tally) = from_result_line(line) {
            let skipped = std::mem::take(&mut self.skipped);
            let tally =
                Tally { passed: tally.passed.saturating_sub(skipped), skipped: tally.skipped + skipped, ..tally };
            self.outcome.tally = [self.outcome.tally, tally].into_iter().sum();
            self.place = Place::Outside;
        }
        match line {
            "successes:" => self.place = Place::Passing,
            "failures:" => self.place = Place::Failing,
            _ => {}
        }
        match self.place {
            Place::Outside => return Some(line.to_owned()),
            Place::Failing => {
                self.outcome.remarks.push(line.to_owned());
                return Some(line.to_owned());
            }
            Place::Passing | Place::Of(_) => {}
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.place = Place::Of(name.to_owned());
        } else if let Place::Of(name) = &self.place
            && line.starts_with("SKIP")
        {
            let shown = format!("test {name}: {line}");
            self.skipped += 1;
            self.place = Place::Passing;
            self.outcome.remarks.push(shown.clone());
            return Some(shown);
        }
        None
    }
}

/// From cargo's: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn from_result_line(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<u64> {
        let before = counts.split([';', '.']).find_map(|part| part.trim().strip_suffix(word))?;
        before.trim().parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn cargo_s_results_are_added_up() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        let tally = from_result_line(line).unwrap();
        assert_eq!([tally, tally].into_iter().sum::<Tally>(), Tally { passed: 6, failed: 4, skipped: 2 });
    }

    #[test]
    fn tests_that_skip_are_no_passes() {
        let run = "running 4 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\nSKIP: no tool\nSKIP: no \
                   other\n\n---- b stdout ----\nwords\n\nsuccesses:\n    a\n    b\n\nfailures:\n\n---- c stdout ----\nSKIP: but it \
                   failed\n\ntest result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n";
        let mut results = Results::default();
        let shown: Vec<_> = run.lines().chain(run.lines()).filter_map(|line| results.line(line)).collect();
        assert_eq!(results.outcome.tally, Tally { passed: 2, failed: 2, skipped: 4 });
        let remarks = ["test a: SKIP: no tool", "failures:", "", "---- c stdout ----", "SKIP: but it failed", ""];
        assert_eq!(results.outcome.remarks, [remarks, remarks].concat());
        assert!(shown.contains(&"test a: SKIP: no tool".to_owned()), "{shown:?}");
        assert!(!shown.contains(&"words".to_owned()) && shown.contains(&"SKIP: but it failed".to_owned()));
    }
}
