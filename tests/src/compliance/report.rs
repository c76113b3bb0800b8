//! What came of it: a line for each case, and all figures as JSON.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use output::event::SyscallEvent;
use serde_json::{Value, json};

use super::case::Case;
use super::compare::compare;
use super::differences::{EXTRA, KNOWN, Known, MISSING, Standing};

/// Lines that tell why a case failed, at most.
const LINES: usize = 40;

/// Results of all cases.
pub struct Report {
    kernel: String,
    rows: Vec<Value>,
    failed: usize,
    /// Reasons of differences that there were.
    seen: BTreeSet<&'static str>,
}

impl Report {
    /// An empty report of a kernel.
    pub fn new(kernel: &str) -> Self {
        Self { kernel: kernel.to_owned(), rows: Vec::new(), failed: 0, seen: BTreeSet::new() }
    }

    /// Compares and tells one case.
    pub fn case(&mut self, case: &Case, acted: Result<()>, kernel: &[SyscallEvent], ours: &[SyscallEvent]) {
        let comparison = compare(kernel, ours);
        let mut why: Vec<String> = acted.err().map(|error| format!("the acts failed: {error:#}")).into_iter().collect();
        if kernel.is_empty() != case.silent {
            why.push(format!("the kernel has {} events", kernel.len()));
        }
        let (mut known, mut unequal) = (BTreeSet::new(), BTreeSet::new());
        let told = |known: &Known| (known.standing.name(), known.reason);
        let missing = comparison.missing.iter().map(|event| (MISSING, event, Known::of_missing(case.name, event)));
        let extra = comparison.extra.iter().map(|event| (EXTRA, event, Known::of_extra(case.name, event)));
        for (sign, event, covered) in missing.chain(extra) {
            match covered {
                Some(covered) => drop(known.insert(told(covered))),
                None => why.push(format!("{sign} {event}")),
            }
        }
        for difference in &comparison.differences {
            let covered = Known::of_field(case.name, difference);
            known.extend(covered.map(told));
            if covered.is_none_or(|known| known.standing == Standing::Open) {
                unequal.insert(difference.pair);
            }
            if covered.is_some() {
                continue;
            }
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
            let (theirs, ours) = (value(&difference.kernel), value(&difference.ours));
            why.push(format!("{}: {} is {theirs}, ours {ours}", difference.call, difference.field));
        }
        self.seen.extend(known.iter().map(|(_, reason)| *reason));
        self.rows.push(json!({
            "case": case.name,
            "kernel": kernel.len(),
            "ours": ours.len(),
            "equal": comparison.pairs - unequal.len(),
            "missing": comparison.missing.len(),
            "extra": comparison.extra.len(),
            "fields": comparison.fields,
            "fields_equal": comparison.equal_fields,
            "known": known.iter().map(|(standing, reason)| json!({"standing": standing, "reason": reason})).collect::<Value>(),
        }));
        if why.is_empty() {
            println!("ok {}: {} events, {} fields", case.name, kernel.len(), comparison.fields);
            return;
        }
        self.failed += 1;
        let left_out = why.len().saturating_sub(LINES);
        why.truncate(LINES);
        if left_out > 0 {
            why.push(format!("and {left_out} more"));
        }
        println!("FAILED {}: {}", case.name, why.join("\n    "));
    }

    /// Writes the figures to where the host finds them.
    pub fn keep(&self, dir: &Path) -> Result<()> {
        let unseen = KNOWN.iter().filter(|known| known.standing == Standing::Open && !self.seen.contains(known.reason));
        let unseen: BTreeSet<_> = unseen.map(|known| known.reason).collect();
        let figures = json!({"kernel": self.kernel, "cases": self.rows, "unseen": unseen});
        fs::write(dir.join("compliance.json"), format!("{figures:#}\n")).context("cannot write the figures")
    }

    /// Counts.
    pub fn close(&self) -> ExitCode {
        println!("{} passed, {} failed, 0 skipped", self.rows.len() - self.failed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
