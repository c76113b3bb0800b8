//! Guests that run `guest-tests`, some at once.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::life_cycle::{PHASES, Phase, System};
use crate::test::{Outcome, Tally};
use crate::vm::{End, Guest, Kernel, packages};
use crate::workspace::Workspace;
use crate::{build, cmd, compliance, package, setup};

/// Guests at once: each keeps about one processor busy.
const PARALLEL: usize = 2;
const GUEST_TIME: Duration = Duration::from_secs(3000);
/// The verifier alone takes hundreds of megabytes for a large program, and files of cases lie in memory.
const MEMORY: &str = "2G";
/// Room for the disk-full cases.
const SCRATCH_MB: u64 = 64;
/// Exit status of what SIGKILL ended.
const KILLED: u8 = 128 + 9;
/// Lines of a failure that are said once more at the end.
const REPEATED_LINES: usize = 12;

/// What a guest is booted for.
#[derive(Clone, Copy)]
pub enum Suite {
    /// Cases of the daemon.
    Run,
    /// Cases about rules, with bpf not among the kernel's security modules.
    Observe,
    /// Cases about files, as without CONFIG_SECURITY_PATH.
    Pathless,
    /// Cases of a kernel that must be refused.
    Refused,
    /// The same acts under the kernel's own audit, compared.
    Compliance,
    /// Cases of the daemon in which the kernel has a part.
    Kernel,
    /// What becomes of the packages on a system with systemd.
    Packages,
}

impl Suite {
    /// Its word, guest-tests' too.
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Observe => "observe",
            Self::Pathless => "pathless",
            Self::Refused => "refused",
            Self::Compliance => "compliance",
            Self::Kernel => "kernel",
            Self::Packages => "packages",
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

/// What every guest gets.
pub struct GuestTests<'w> {
    workspace: &'w Workspace,
    rsyslog: Option<packages::Unpacked>,
    debuggers: Option<packages::Unpacked>,
    audit: packages::Unpacked,
    /// Where [`Suite::Packages`] is among the jobs; why there is none, if it could not be made.
    system: Option<Result<System>>,
}

impl<'w> GuestTests<'w> {
    /// Builds and fetches it.
    pub fn prepare(workspace: &'w Workspace, jobs: &[Job<'_>]) -> Result<Self> {
        setup::guest_tools()?;
        build::debug(workspace, &["auditd-bpf", "guest-tests"])?;
        // Without it the cases that need it skip by themselves; here is why.
        let rsyslog = packages::rsyslog(workspace)
            .inspect_err(|error| eprintln!("warning: no rsyslog for the guests, its cases will skip: {error:#}"));
        let debuggers = packages::debuggers(workspace).inspect_err(|error| {
            eprintln!("warning: no gdb and bpftool for the guests, their cases will skip: {error:#}");
        });
        let audit = packages::audit(workspace).context("no auditd to compare with")?;
        let tries_packages = jobs.iter().any(|job| matches!(job.suite, Suite::Packages));
        let system = tries_packages.then(|| system_with_packages(workspace));
        Ok(Self { workspace, rsyslog: rsyslog.ok(), debuggers: debuggers.ok(), audit, system })
    }

    /// Boots them all, some at once.
    pub fn run_all(&self, jobs: &[Job<'_>]) -> Result<Outcome> {
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
                        let outcome = self.run_one(*job, kernel);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    }
                });
            }
        });
        Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().sum())
    }

    fn run_one(&self, job: Job<'_>, kernel: Kernel) -> Outcome {
        let start = Instant::now();
        let outcome = match job.suite {
            Suite::Packages => self.life_cycle(job, &kernel),
            _ => self.cases(job, kernel),
        };
        let took = cmd::duration(start.elapsed());
        println!("[{}] {}: {}, {took}", job.version, job.suite.name(), outcome.tally);
        outcome
    }

    /// Cases of guest-tests.
    fn cases(&self, job: Job<'_>, kernel: Kernel) -> Outcome {
        let mut guest = Guest::new(kernel).timeout(GUEST_TIME).memory(MEMORY).scratch(SCRATCH_MB);
        for name in ["auditd-bpf", "guest-tests"] {
            guest = guest.add(self.binary(name), format!("/usr/bin/{name}"));
        }
        if let Some(rsyslog) = &self.rsyslog {
            guest = rsyslog.add_to(guest);
        }
        if let (Suite::Run, Some(debuggers)) = (job.suite, &self.debuggers) {
            guest = debuggers.add_to(guest);
        }
        let results = compliance::results(self.workspace, job.version).join("compliance.json");
        if let Suite::Compliance = job.suite {
            // Those of an earlier run must not pass for this one's.
            let _ = fs::remove_file(&results);
            guest = self.audit.add_to(guest).append("audit=1").out(compliance::results(self.workspace, job.version));
        }
        if let Suite::Observe = job.suite {
            guest = guest.lsm("lockdown,landlock,yama");
        }
        let ran = run(&guest, job, &["guest-tests", job.suite.name()]);
        let trouble = match &ran.end {
            Ok(End::Exited(0)) if matches!(job.suite, Suite::Compliance) && !results.exists() => {
                Some("the results did not come out of the guest".to_owned())
            }
            Ok(End::Exited(KILLED)) => Some("guest-tests was killed: is the guest out of memory?".to_owned()),
            Ok(End::Exited(status)) if ran.cases.tally.is_none() => {
                Some(format!("guest-tests ended with status {status} and no count of failures"))
            }
            _ => ran.trouble(),
        };
        ran.outcome(job, trouble)
    }

    /// Cases of the packages, phase by phase on one system.
    fn life_cycle(&self, job: Job<'_>, kernel: &Kernel) -> Outcome {
        let phase = |system: &System, phase: &Phase| {
            let ran = run(&system.guest(kernel.clone(), phase).timeout(GUEST_TIME), job, &phase.command());
            let trouble = ran.trouble().map(|trouble| format!("{}: {trouble}", phase.name));
            ran.outcome(job, trouble)
        };
        match &self.system {
            None => Outcome::default(),
            Some(Ok(system)) => PHASES.iter().map(|of| phase(system, of)).sum(),
            Some(Err(error)) => failure(job, &format!("{error:#}")),
        }
    }

    fn binary(&self, name: &str) -> PathBuf {
        self.workspace.binary("debug", name)
    }
}

/// Packages of the program that is tested, and a system to try them on.
fn system_with_packages(workspace: &Workspace) -> Result<System> {
    setup::life_cycle_tools()?;
    setup::packagers(workspace)?;
    System::prepare(workspace, &package::build_for_trial(workspace)?)
}

/// Runs a command in a guest.
fn run(guest: &Guest, job: Job<'_>, command: &[&str]) -> Ran {
    let mut cases = Lines::new(job.version);
    let mut end = guest.run(command, &mut cases, Lines::new(job.version));
    if matches!(&end, Ok(End::Died(_))) && !cases.any {
        // Kernels panic at times while they boot under emulation (seen: 7.3 in sched_clock_cpu), before any of ours runs.
        println!("[{}] the guest went down before the first case: once more", job.version);
        end = guest.run(command, &mut cases, Lines::new(job.version));
    }
    Ran { end, cases }
}

/// A job that failed as a whole: one more case.
fn failure(job: Job<'_>, trouble: &str) -> Outcome {
    let line = format!("[{}] FAILED {}: {trouble}", job.version, job.suite.name());
    println!("{line}");
    Outcome { tally: Tally { failed: 1, ..Tally::default() }, remarks: vec![line] }
}

/// A guest that is done.
struct Ran {
    end: Result<End>,
    cases: Lines,
}

impl Ran {
    /// What went wrong besides cases that failed.
    fn trouble(&self) -> Option<String> {
        match &self.end {
            Ok(End::Exited(0)) => None,
            Ok(End::Exited(_)) if self.cases.failed() > 0 => None,
            Ok(End::Exited(status)) => Some(format!("it ended with status {status}, and no case failed")),
            Ok(End::TimedOut) => Some(format!("not done after {}", cmd::duration(GUEST_TIME))),
            Ok(End::Died(why)) => Some(format!("the guest went down\n{why}")),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    /// What came of it; trouble counts as a failed case.
    fn outcome(self, job: Job<'_>, trouble: Option<String>) -> Outcome {
        let trouble = trouble.map(|trouble| failure(job, &trouble));
        [self.cases.outcome()].into_iter().chain(trouble).sum()
    }
}

/// Prints a guest's lines as they come, marked with its kernel, and remembers what it said of failures and of the end.
struct Lines<W = io::Stdout> {
    out: W,
    prefix: String,
    partial: Vec<u8>,
    /// Whether anything came.
    any: bool,
    /// Cases that were told of so far.
    told: Tally,
    /// What the closing line said.
    tally: Option<Tally>,
    remarks: Vec<String>,
    /// How many more lines of the latest failure are remarked.
    of_failure: usize,
}

impl Lines {
    fn new(version: &str) -> Self {
        Self::to(io::stdout(), version)
    }
}

impl<W: Write> Lines<W> {
    fn to(out: W, version: &str) -> Self {
        let prefix = format!("[{version}] ");
        let (told, tally) = (Tally::default(), None);
        Self { out, prefix, partial: Vec::new(), any: false, told, tally, remarks: Vec::new(), of_failure: 0 }
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let line = String::from_utf8_lossy(line);
        if let Some(tally) = Tally::from_closing_line(&line) {
            self.tally = Some(tally);
            return Ok(());
        }
        let line = line.trim_end();
        self.remark(line);
        writeln!(self.out, "{}{line}", self.prefix)
    }

    fn remark(&mut self, line: &str) {
        self.of_failure = if line.starts_with("FAILED ") {
            REPEATED_LINES
        } else if line.starts_with("SKIP ") {
            1
        } else if line.starts_with(' ') {
            self.of_failure
        } else {
            0
        };
        let count = match line.split_once(' ') {
            Some(("ok", _)) => Some(&mut self.told.passed),
            Some(("FAILED", _)) => Some(&mut self.told.failed),
            Some(("SKIP", _)) => Some(&mut self.told.skipped),
            _ => None,
        };
        count.into_iter().for_each(|count| *count += 1);
        if self.of_failure > 0 {
            self.of_failure -= 1;
            self.remarks.push(format!("{}{line}", self.prefix));
        }
    }

    /// Cases that failed, as far as is known.
    fn failed(&self) -> u64 {
        self.tally.unwrap_or(self.told).failed
    }

    /// What came of the cases; where the closing line is missing, of those that were told of.
    fn outcome(self) -> Outcome {
        Outcome { tally: self.tally.unwrap_or(self.told), remarks: self.remarks }
    }
}

impl<W: Write> Write for Lines<W> {
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
        self.out.flush()
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn guest_s_output_is_cut_into_lines() {
        let mut lines = Lines::to(io::sink(), "6.12");
        lines.write_all(b"ok file_wa").unwrap();
        lines.write_all(b"tch\n1 passed, 0 failed, 0 skip").unwrap();
        assert_eq!(lines.tally, None);
        lines.write_all(b"ped\n").unwrap();
        assert_eq!(lines.tally, Some(Tally { passed: 1, failed: 0, skipped: 0 }));
    }

    #[test]
    fn failures_are_remembered_whole_and_cases_are_counted_without_a_closing_line() {
        let mut lines = Lines::to(io::sink(), "6.12");
        lines
            .write_all(b"ok a (1 ms)\nFAILED b: one\n    two\nSKIP c: no disk\n    no\nok d (2 ms)\n    no\n")
            .unwrap();
        let outcome = lines.outcome();
        assert_eq!(outcome.remarks, ["[6.12] FAILED b: one", "[6.12]     two", "[6.12] SKIP c: no disk"]);
        assert_eq!(outcome.tally, Tally { passed: 2, failed: 1, skipped: 1 });
    }
}
