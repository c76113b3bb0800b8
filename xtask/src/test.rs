//! `cargo xtask test`: everything that CI checks, from formatting to guests on every supported kernel.

use std::io::{BufRead, BufReader};
use std::iter::Sum;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::guest_tests::{GuestTests, Job, Suite};
use crate::results::Results;
use crate::vm::packages;
use crate::workspace::Workspace;
use crate::{cmd, ebpf, setup};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the guests out
    #[arg(long, conflicts_with_all = ["all", "kernel"])]
    quick: bool,
    /// Every case on every kernel; else all run on 6.12, and on the others those in which the kernel has a part
    #[arg(long)]
    all: bool,
    /// Every case on this kernel; may be given more than once
    #[arg(long, value_name = "V", conflicts_with = "all")]
    kernel: Vec<String>,
}

/// Kernels that must work, newest first: its modules take longest.
pub const SUPPORTED: [&str; 3] = ["7.3", "6.12", "6.1"];
/// The one on which all suites run, those too that depend little on the kernel.
const USUAL: &str = "6.12";
/// A kernel without task storage, which doctor and the daemon must refuse by name.
const REFUSED: &str = "5.10";
/// `cargo xtask test`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::new(if args.quick { 4 } else { 6 });
    report.check("formatting", || cmd::run(workspace.cargo("fmt").args(["--all", "--check"])));
    report.check("eBPF object", || ebpf::build(workspace).map(drop));
    let mut clippy = workspace.cargo("clippy");
    clippy.args(["--all-targets", "--", "-D", "warnings"]);
    report.check("clippy", || cmd::run(&mut clippy));
    let mut units = Outcome::default();
    report.check("unit and doc tests", || unit_tests(workspace, &mut units));
    if args.quick {
        eprintln!("guest tests left out (--quick)");
        return Ok(report.close(&[units]));
    }
    let jobs = jobs(args);
    let mut guest_tests = None;
    report.check("building for the guests", || {
        guest_tests = Some(GuestTests::prepare(workspace, &jobs)?);
        Ok(())
    });
    let mut cases = Outcome::default();
    if let Some(guest_tests) = guest_tests {
        report.check("guest tests", || {
            cases = guest_tests.run_all(&jobs)?;
            Ok(())
        });
    }
    Ok(report.close(&[units, cases]))
}

/// The guests to boot, those that take longest first.
fn jobs(args: &Args) -> Vec<Job<'_>> {
    let job = |version, suite| Job { version, suite };
    let whole: Vec<&str> = if args.all {
        SUPPORTED.into_iter().chain([REFUSED]).collect()
    } else {
        args.kernel.iter().map(String::as_str).collect()
    };
    if !whole.is_empty() {
        return whole
            .into_iter()
            .flat_map(|version| suites(version).iter().map(move |suite| job(version, *suite)))
            .collect();
    }
    let usual = [Suite::Run, Suite::Packages, Suite::Compliance, Suite::Observe, Suite::Pathless];
    let others = SUPPORTED.into_iter().filter(|version| *version != USUAL).map(|version| job(version, Suite::Kernel));
    let usual = usual.into_iter().map(|suite| job(USUAL, suite));
    usual.chain(others).chain([job(REFUSED, Suite::Refused)]).collect()
}

/// All for a kernel.
fn suites(version: &str) -> &'static [Suite] {
    const EACH: &[Suite] = &[Suite::Run, Suite::Observe, Suite::Compliance, Suite::Pathless, Suite::Packages];
    if version.starts_with(REFUSED) { &[Suite::Refused] } else { EACH }
}

/// Steps done and those that failed.
struct Report {
    step: usize,
    steps: usize,
    failed: Vec<&'static str>,
}

impl Report {
    fn new(steps: usize) -> Self {
        Self { step: 0, steps, failed: Vec::new() }
    }

    /// Runs a step; a failure is noted and the next one runs all the same, so that one run shows all there is to mend.
    fn check(&mut self, what: &'static str, work: impl FnOnce() -> Result<()>) {
        self.step += 1;
        if let Err(error) = cmd::step(&format!("[{}/{}] {what}", self.step, self.steps), work) {
            eprintln!("error: {error:#}");
            self.failed.push(what);
        }
    }

    /// Says at the end what is to be known of a long output.
    fn close(&self, outcomes: &[Outcome]) -> ExitCode {
        outcomes.iter().flat_map(|outcome| &outcome.remarks).for_each(|remark| println!("{remark}"));
        let mut cases: Tally = outcomes.iter().map(|outcome| outcome.tally).sum();
        if !self.failed.is_empty() {
            eprintln!("failed: {}", self.failed.join(", "));
        }
        // The closing line must not look well when a step failed before any case could.
        if cases.failed == 0 {
            cases.failed = self.failed.len() as u64;
        }
        println!("{cases}");
        if cases.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What came of tests.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many of each kind.
    pub tally: Tally,
    /// Lines on those that failed or were skipped.
    pub remarks: Vec<String>,
}

impl Sum for Outcome {
    fn sum<I: Iterator<Item = Self>>(outcomes: I) -> Self {
        outcomes.fold(Self::default(), |mut sum, more| {
            sum.tally = [sum.tally, more.tally].into_iter().sum();
            sum.remarks.extend(more.remarks);
            sum
        })
    }
}

/// Counts of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub(crate) passed: u64,
    /// Cases that failed.
    pub failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// From the closing line of guest-tests; `None` for any other.
    pub fn from_closing_line(line: &str) -> Option<Self> {
        let mut counts = [0; 3];
        let mut parts = line.trim().split(", ");
        for (count, word) in counts.iter_mut().zip(["passed", "failed", "skipped"]) {
            let (number, named) = parts.next()?.split_once(' ')?;
            *count = (named == word).then(|| number.parse().ok())??;
        }
        let [passed, failed, skipped] = counts;
        parts.next().is_none().then_some(Self { passed, failed, skipped })
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, more| Self {
            passed: sum.passed + more.passed,
            failed: sum.failed + more.failed,
            skipped: sum.skipped + more.skipped,
        })
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

fn unit_tests(workspace: &Workspace, outcome: &mut Outcome) -> Result<()> {
    let mut command = workspace.cargo("test");
    // What passing tests print says which of them skipped.
    command.args(["--no-fail-fast", "--", "--show-output"]).stdout(Stdio::piped());
    match packages::peers(workspace) {
        Ok(tree) => drop(command.env("AUDIT_PEERS", tree)),
        Err(error) => eprintln!("warning: no servers from Debian, the tests with them will skip: {error:#}"),
    }
    if let Err(error) = packages::audit(workspace) {
        eprintln!("warning: no ausearch and no aureport from Debian, the tests with them will skip: {error:#}");
    }
    if let Err(error) = setup::laurel(workspace) {
        eprintln!("warning: no LAUREL, its test will skip: {error:#}");
    }
    if let Err(error) = setup::judges(workspace) {
        eprintln!("warning: no Chromium or nothing from PyPI, tests with them will skip: {error:#}");
    }
    let mut child = command.spawn().with_context(|| format!("cannot run {}", cmd::shown(&command)))?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut results = Results::default();
    for line in BufReader::new(output).lines() {
        if let Some(line) = results.line(&line.context("cannot read from cargo test")?) {
            println!("{line}");
        }
    }
    *outcome = results.outcome;
    let status = child.wait().context("cannot wait for cargo test")?;
    anyhow::ensure!(status.success(), "cargo test failed ({status})");
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn closing_line_is_understood_and_nothing_else() {
        let tally = Tally { passed: 31, failed: 0, skipped: 2 };
        assert_eq!(Tally::from_closing_line("31 passed, 0 failed, 2 skipped\r\n"), Some(tally));
        assert_eq!(tally.to_string(), "31 passed, 0 failed, 2 skipped");
        assert_eq!(Tally::from_closing_line("31 passed, 0 failed"), None);
        assert_eq!(Tally::from_closing_line("ok 31 passed, 0 failed, 2 skipped"), None);
    }
}
