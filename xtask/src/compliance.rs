//! `cargo xtask compliance`: what comes of the same rules and acts under the kernel's own audit and under auditd-bpf, written to
//! `docs/compliance.md`. `cargo xtask test` runs the same guest on one kernel, `--all` on each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::guest_tests::{GuestTests, Job, Suite};
use crate::test::SUPPORTED;
use crate::workspace::Workspace;

/// Options of `cargo xtask compliance`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this kernel; may be given more than once. The document then keeps what is known of the others
    #[arg(long, value_name = "V")]
    kernel: Vec<String>,
    /// Write the document from the last results, without a run
    #[arg(long)]
    no_run: bool,
}

const HEAD: &str = "\
# Compliance with the kernel's audit

Written by `cargo xtask compliance`: each case loads the same rules into the kernel's own audit with Debian's auditd and into
auditd-bpf, acts once under both, and compares the two native logs event by event and field by field. How: \
[testing.md](testing.md#compliance).

";

/// Cases that a difference names, at most; of more, their number is told.
const NAMED: usize = 8;

/// Where results of a kernel lie.
pub fn results(workspace: &Workspace, version: &str) -> PathBuf {
    workspace.root.join("target/compliance").join(version)
}

/// `cargo xtask compliance`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut failed = 0;
    if !args.no_run {
        let only: Vec<_> = args.kernel.iter().map(String::as_str).collect();
        let versions = if only.is_empty() { SUPPORTED.to_vec() } else { only };
        let jobs: Vec<_> = versions.into_iter().map(|version| Job { version, suite: Suite::Compliance }).collect();
        let tally = GuestTests::prepare(workspace, &jobs)?.run_all(&jobs)?.tally;
        println!("{tally}");
        failed = tally.failed;
    }
    let mut kernels = Vec::new();
    for version in SUPPORTED.iter().rev() {
        let file = results(workspace, version).join("compliance.json");
        if let Ok(text) = fs::read_to_string(&file) {
            kernels.push(serde_json::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?);
        }
    }
    for reason in unseen(&kernels) {
        eprintln!("note: no kernel shows this difference any more, take it out of the table: {reason}");
    }
    let document = workspace.root.join("docs/compliance.md");
    fs::write(&document, render(&kernels)).with_context(|| format!("cannot write {}", document.display()))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Differences to be mended that no kernel shows: then they are.
fn unseen(kernels: &[Value]) -> BTreeSet<&str> {
    let of = |kernel: &'_ Value| -> BTreeSet<String> {
        kernel["unseen"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|reason| Some(reason.as_str()?.to_owned()))
            .collect()
    };
    let all: Vec<_> = kernels.iter().map(of).collect();
    let first = kernels.first().and_then(|kernel| kernel["unseen"].as_array()).into_iter().flatten();
    first.filter_map(Value::as_str).filter(|reason| all.iter().all(|unseen| unseen.contains(*reason))).collect()
}

/// The document.
fn render(kernels: &[Value]) -> String {
    let mut text = HEAD.to_owned();
    let mut rows: BTreeMap<&str, BTreeMap<usize, &Value>> = BTreeMap::new();
    let mut known: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (number, kernel) in kernels.iter().enumerate() {
        for case in kernel["cases"].as_array().into_iter().flatten() {
            let name = case["case"].as_str().unwrap_or_default();
            rows.entry(name).or_default().insert(number, case);
            for difference in case["known"].as_array().into_iter().flatten() {
                let word = |key: &str| difference[key].as_str().unwrap_or_default();
                known.entry((word("standing"), word("reason"))).or_default().insert(name);
            }
        }
    }
    summary(&mut text, kernels);
    for (standing, title) in [("meant", "Differences that are meant"), ("open", "Differences to be mended")] {
        let _ = writeln!(text, "\n## {title}\n\n| difference | cases |\n|---|---|");
        for ((_, reason), cases) in known.iter().filter(|((of, _), _)| *of == standing) {
            let names: Vec<_> = cases.iter().copied().collect();
            let names = if names.len() > NAMED { names.len().to_string() } else { names.join(", ") };
            let _ = writeln!(text, "| {reason} | {names} |");
        }
    }
    text += "\nNothing else differs.\n";
    text += "\n## Cases\n\nEvents equal, and those missing (-) or extra (+); fields equal of all.\n\n| case |";
    for kernel in kernels {
        let _ = write!(text, " {} |", release(kernel));
    }
    text += "\n|---|";
    text += &"---|".repeat(kernels.len());
    text.push('\n');
    for (name, row) in rows {
        let _ = write!(text, "| {name} |");
        for number in 0..kernels.len() {
            let _ = write!(text, " {} |", row.get(&number).map(|case| cell(case)).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

fn summary(text: &mut String, kernels: &[Value]) {
    text.push_str("| kernel | cases | events of the kernel | equal | missing | extra | fields | equal |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for kernel in kernels {
        let sum = |name: &str| -> u64 {
            kernel["cases"].as_array().into_iter().flatten().filter_map(|case| case[name].as_u64()).sum()
        };
        let cases = kernel["cases"].as_array().map_or(0, Vec::len);
        let _ = write!(text, "| {} | {cases} |", release(kernel));
        for name in ["kernel", "equal", "missing", "extra", "fields", "fields_equal"] {
            let _ = write!(text, " {} |", sum(name));
        }
        text.push('\n');
    }
}

fn release(kernel: &Value) -> &str {
    kernel["kernel"].as_str().unwrap_or_default()
}

fn cell(case: &Value) -> String {
    let number = |name: &str| case[name].as_u64().unwrap_or_default();
    let mut text = number("equal").to_string();
    for (sign, name) in [(" -", "missing"), (" +", "extra")] {
        if number(name) > 0 {
            let _ = write!(text, "{sign}{}", number(name));
        }
    }
    let _ = write!(text, ", {}/{}", number("fields_equal"), number("fields"));
    text
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_kernel_shows_is_mended() {
        let kernels = [json!({"unseen": ["no PER", "no FD_PAIR"]}), json!({"unseen": ["no FD_PAIR"]})];
        assert_eq!(unseen(&kernels).into_iter().collect::<Vec<_>>(), ["no FD_PAIR"]);
        assert!(unseen(&[]).is_empty());
    }

    #[test]
    fn document_tells_each_case_of_each_kernel() {
        let case = |equal: u64, missing: u64| {
            json!({"case": "open", "kernel": equal + missing, "ours": equal, "equal": equal, "missing": missing, "extra": 0,
                   "fields": 40, "fields_equal": 39, "known": [{"standing": "meant", "reason": "names are absolute"}]})
        };
        let text = render(&[
            json!({"kernel": "6.1.0", "cases": [case(3, 0)]}),
            json!({"kernel": "6.12.1", "cases": [case(2, 1)]}),
        ]);
        assert!(text.contains("| case | 6.1.0 | 6.12.1 |"), "{text}");
        assert!(text.contains("| open | 3, 39/40 | 2 -1, 39/40 |"), "{text}");
        assert!(text.contains("| names are absolute | open |"), "{text}");
        assert!(text.contains("| 6.12.1 | 1 | 3 | 2 | 1 | 0 | 40 | 39 |"), "{text}");
    }
}
