//! `cargo xtask test`: everything that CI checks, from formatting to guests on every supported kernel.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::iter::Sum;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::results::Results;
use crate::vm::{End, Guest, Kernel, packages};
use crate::workspace::Workspace;
use crate::{build, cmd, compliance, ebpf, setup};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the guests out
    #[arg(long)]
    quick: bool,
    /// Only this kernel; may be given more than once [default: 5.10, 6.1, 6.12 and 7.3]
    #[arg(long, value_name = "V")]
    kernel: Vec<String>,
}

/// Kernels that must work, newest first: its modules take longest.
pub const SUPPORTED: [&str; 3] = ["7.3", "6.12", "6.1"];
/// A kernel without task storage, which doctor and the daemon must refuse by name.
const REFUSED: &str = "5.10";
/// Guests at once: each keeps about one processor busy.
const PARALLEL: usize = 2;
const GUEST_TIME: Duration = Duration::from_secs(3000);
/// Room for the disk-full cases.
const SCRATCH_MB: u64 = 64;

/// `cargo xtask test`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::new(if args.quick { 4 } else { 6 });
    report.check("formatting", || cmd::run(workspace.cargo("fmt").args(["--all", "--check"])));
    report.check("eBPF object", || ebpf::build(workspace).map(drop));
    let mut clippy = workspace.cargo("clippy");
    clippy.args(["--all-targets", "--", "-D", "warnings"]);
    report.check("clippy", || cmd::run(&mut clippy));
    let mut units = Tally::default();
    report.check("unit and doc tests", || unit_tests(workspace, &mut units));
    if args.quick {
        eprintln!("guest tests left out (--quick); the count is that of unit and doc tests");
        return Ok(report.close(units));
    }
    let mut guest_tests = None;
    report.check("building for the guests", || {
        guest_tests = Some(GuestTests::prepare(workspace)?);
        Ok(())
    });
    let mut cases = Tally::default();
    if let Some(guest_tests) = guest_tests {
        report.check("guest tests", || {
            let jobs: Vec<_> = kernels(args).into_iter().flat_map(Job::all).collect();
            cases = guest_tests.run_all(&jobs)?;
            Ok(())
        });
    }
    Ok(report.close(cases))
}

fn kernels(args: &Args) -> Vec<&str> {
    if args.kernel.is_empty() {
        return SUPPORTED.into_iter().chain([REFUSED]).collect();
    }
    args.kernel.iter().map(String::as_str).collect()
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

    fn close(&self, mut cases: Tally) -> ExitCode {
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

/// Counts of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub(crate) passed: u64,
    /// Cases that failed.
    pub failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// From the closing line of guest-tests.
    fn from_closing_line(line: &str) -> Option<Self> {
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

fn unit_tests(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
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
    *tally = results.tally;
    let status = child.wait().context("cannot wait for cargo test")?;
    anyhow::ensure!(status.success(), "cargo test failed ({status})");
    Ok(())
}

/// What a guest is booted for.
#[derive(Clone, Copy)]
pub enum Suite {
    /// Cases of the daemon.
    Run,
    /// Cases about rules, with bpf not among the kernel's security modules.
    Observe,
    /// Cases of a kernel that must be refused.
    Refused,
    /// The same acts under the kernel's own audit, compared.
    Compliance,
}

impl Suite {
    /// guest-tests' word for it.
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Observe => "observe",
            Self::Refused => "refused",
            Self::Compliance => "compliance",
        }
    }
}

/// One guest.
#[derive(Clone, Copy)]
pub struct Job<'v> {
    /// Its kernel.
    pub version: &'v str,
    /// What it is booted for.
    pub suite: Suite,
}

impl<'v> Job<'v> {
    /// All for a kernel.
    fn all(version: &'v str) -> Vec<Self> {
        let suites: &[_] = if version.starts_with(REFUSED) {
            &[Suite::Refused]
        } else {
            &[Suite::Run, Suite::Observe, Suite::Compliance]
        };
        suites.iter().map(|suite| Self { version, suite: *suite }).collect()
    }
}

/// What every guest gets.
pub struct GuestTests<'w> {
    workspace: &'w Workspace,
    rsyslog: Option<packages::Unpacked>,
    audit: packages::Unpacked,
}

impl<'w> GuestTests<'w> {
    /// Builds and fetches it.
    pub fn prepare(workspace: &'w Workspace) -> Result<Self> {
        setup::guest_tools()?;
        build::debug(workspace, &["auditd-bpf", "guest-tests"])?;
        // Without it the cases that need it skip by themselves; here is why.
        let rsyslog = packages::rsyslog(workspace)
            .inspect_err(|error| eprintln!("warning: no rsyslog for the guests, its cases will skip: {error:#}"));
        let audit = packages::audit(workspace).context("no auditd to compare with")?;
        Ok(Self { workspace, rsyslog: rsyslog.ok(), audit })
    }

    /// Boots them all, some at once.
    pub fn run_all(&self, jobs: &[Job<'_>]) -> Result<Tally> {
        // Downloads before the first boot: two at once would only wait for each other.
        let kernels = jobs.iter().map(|job| Kernel::find(self.workspace, job.version));
        let kernels = kernels.collect::<Result<Vec<_>>>()?;
        let waiting: Mutex<VecDeque<_>> = Mutex::new(jobs.iter().zip(kernels).collect());
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let done = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..PARALLEL {
                scope.spawn(|| {
                    while let Some((job, kernel)) = next() {
                        let tally = self.run_one(*job, kernel);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(tally);
                    }
                });
            }
        });
        Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().sum())
    }

    /// One guest; a guest that breaks counts as a failed case.
    fn run_one(&self, job: Job<'_>, kernel: Kernel) -> Tally {
        let (start, version) = (Instant::now(), job.version);
        let mut guest = Guest::new(kernel).timeout(GUEST_TIME).scratch(SCRATCH_MB);
        for name in ["auditd-bpf", "guest-tests"] {
            guest = guest.add(self.binary(name), format!("/usr/bin/{name}"));
        }
        if let Some(rsyslog) = &self.rsyslog {
            guest = rsyslog.add_to(guest);
        }
        let results = compliance::results(self.workspace, version).join("compliance.json");
        if let Suite::Compliance = job.suite {
            // Those of an earlier run must not pass for this one's.
            let _ = fs::remove_file(&results);
            guest = self.audit.add_to(guest).append("audit=1").out(compliance::results(self.workspace, version));
        }
        if let Suite::Observe = job.suite {
            guest = guest.lsm("lockdown,landlock,yama");
        }
        let command = ["guest-tests", job.suite.name()];
        let mut cases = Lines::new(version);
        let mut end = guest.run(&command, &mut cases, Lines::new(version));
        if matches!(&end, Ok(End::Died(_))) && !cases.any {
            // Kernels panic at times while they boot under emulation (seen: 7.3 in sched_clock_cpu), before any of ours runs.
            println!("[{version}] the guest went down before the first case: once more");
            end = guest.run(&command, &mut cases, Lines::new(version));
        }
        let mut tally = cases.tally.unwrap_or_default();
        let trouble = match end {
            Ok(End::Exited(0)) if matches!(job.suite, Suite::Compliance) && !results.exists() => {
                Some("the results did not come out of the guest".to_owned())
            }
            Ok(End::Exited(0)) if cases.tally.is_some() => None,
            Ok(End::Exited(_)) if tally.failed > 0 => None,
            Ok(End::Exited(status)) => Some(format!("guest-tests ended with status {status} and no count of failures")),
            Ok(End::TimedOut) => Some(format!("not done after {}", cmd::duration(GUEST_TIME))),
            Ok(End::Died(why)) => Some(format!("the guest went down\n{why}")),
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(trouble) = trouble {
            tally.failed += 1;
            println!("[{version}] FAILED {trouble}");
        }
        println!("[{version}] {}: {tally}, {}", job.suite.name(), cmd::duration(start.elapsed()));
        tally
    }

    fn binary(&self, name: &str) -> PathBuf {
        self.workspace.binary("debug", name)
    }
}

/// Prints a guest's lines as they come, marked with its kernel, and remembers the closing one.
struct Lines {
    prefix: String,
    partial: Vec<u8>,
    /// Whether anything came.
    any: bool,
    tally: Option<Tally>,
}

impl Lines {
    fn new(version: &str) -> Self {
        Self { prefix: format!("[{version}] "), partial: Vec::new(), any: false, tally: None }
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let line = String::from_utf8_lossy(line);
        if let Some(tally) = Tally::from_closing_line(&line) {
            self.tally = Some(tally);
            return Ok(());
        }
        writeln!(io::stdout(), "{}{}", self.prefix, line.trim_end())
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.any |= !bytes.is_empty();
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = self.partial.drain(..=end).collect();
            self.line(&line)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
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

    #[test]
    fn guest_s_output_is_cut_into_lines() {
        let mut lines = Lines::new("6.12");
        lines.write_all(b"ok file_wa").unwrap();
        lines.write_all(b"tch\n1 passed, 0 failed, 0 skip").unwrap();
        assert_eq!(lines.tally, None);
        lines.write_all(b"ped\n").unwrap();
        assert_eq!(lines.tally, Some(Tally { passed: 1, failed: 0, skipped: 0 }));
    }
}
