//! Runs cases and reports one line for each.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::locked::Locked;
use crate::place::{BASE, Place};
use crate::session::{Session, Test};

/// Cases that belong together.
pub enum Suite {
    /// They share one daemon, whose rules are those of all cases of all families: to start one takes longer than most cases.
    Shared(&'static str, &'static [&'static [Case]]),
    /// Each starts what it needs.
    Alone(&'static [Alone]),
    /// They act against one locked daemon, which lives until the guest ends: the last suite.
    Locked(&'static [Against]),
}

/// A case with rules in a shared daemon.
pub struct Case {
    name: &'static str,
    rules: &'static str,
    prepare: fn(&Place) -> Result<()>,
    possible: fn() -> Result<()>,
    run: fn(&mut Test<'_>) -> Result<()>,
}

impl Case {
    /// A case; in its rules, `{dir}` stands for its directory, `{key}` for its key, `{auid}` for its children's login uid.
    pub const fn new(name: &'static str, rules: &'static str, run: fn(&mut Test<'_>) -> Result<()>) -> Self {
        Self { name, rules, prepare: |_| Ok(()), possible: || Ok(()), run }
    }

    /// What must be there before the daemon starts.
    #[must_use]
    pub const fn prepared(mut self, prepare: fn(&Place) -> Result<()>) -> Self {
        self.prepare = prepare;
        self
    }

    /// What may [skip] it: then its rules are not loaded either.
    #[must_use]
    pub const fn only_where(mut self, possible: fn() -> Result<()>) -> Self {
        self.possible = possible;
        self
    }
}

/// A case on its own.
pub struct Alone {
    name: &'static str,
    run: fn(&Place) -> Result<()>,
}

impl Alone {
    /// A case.
    pub const fn new(name: &'static str, run: fn(&Place) -> Result<()>) -> Self {
        Self { name, run }
    }
}

/// A case against the locked daemon.
pub struct Against {
    name: &'static str,
    run: fn(&mut Locked) -> Result<()>,
    afterwards: fn(&mut Locked) -> Result<()>,
}

impl Against {
    /// A case after which all must be as before it.
    pub const fn new(name: &'static str, run: fn(&mut Locked) -> Result<()>) -> Self {
        Self { name, run, afterwards: Locked::holds }
    }

    /// The last case, which no daemon outlives.
    pub const fn last(name: &'static str, run: fn(&mut Locked) -> Result<()>) -> Self {
        Self { name, run, afterwards: |_| Ok(()) }
    }
}

/// The case cannot run in this guest.
#[derive(Debug)]
struct Skip(String);

impl Display for Skip {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Leaves the case, with a reason that is the guest's and not the daemon's.
pub fn skip<T>(why: impl Into<String>) -> Result<T> {
    Err(Skip(why.into()).into())
}

/// Runs the cases whose name contains one of `only`, or all.
pub fn run(suites: &[Suite], only: &[String]) -> ExitCode {
    let mut report = Report::default();
    if let Err(error) = mount(Some("srv"), BASE, Some("tmpfs"), MsFlags::empty(), Some("mode=755")) {
        report.case("guest", Duration::ZERO, Err(anyhow::Error::new(error).context("cannot mount a tmpfs on /srv")));
        return report.close();
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    for suite in suites {
        match suite {
            Suite::Shared(name, families) => {
                let cases: Vec<_> = families.iter().copied().flatten().filter(|case| wanted(case.name)).collect();
                if !cases.is_empty() {
                    shared(&mut report, name, &cases);
                }
            }
            Suite::Alone(cases) => {
                for case in cases.iter().filter(|case| wanted(case.name)) {
                    alone(&mut report, case);
                }
            }
            Suite::Locked(cases) => {
                let cases: Vec<_> = cases.iter().filter(|case| wanted(case.name)).collect();
                if !cases.is_empty() {
                    locked(&mut report, &cases);
                }
            }
        }
    }
    report.close()
}

/// Prints the names of all cases.
pub fn list(sets: &[&[Suite]]) -> ExitCode {
    for suite in sets.iter().copied().flatten() {
        match suite {
            Suite::Shared(suite, families) => {
                families.iter().copied().flatten().for_each(|case| println!("{} ({suite})", case.name));
            }
            Suite::Alone(cases) => cases.iter().for_each(|case| println!("{}", case.name)),
            Suite::Locked(cases) => cases.iter().for_each(|case| println!("{} (locked)", case.name)),
        }
    }
    ExitCode::SUCCESS
}

fn shared(report: &mut Report, suite: &str, cases: &[&Case]) {
    let start = Instant::now();
    let cases: Vec<_> = cases.iter().filter(|case| is_possible(report, case)).collect();
    let prepared = cases.iter().map(|case| {
        let place = report.place(case.name)?;
        guarded(|| (case.prepare)(&place)).with_context(|| format!("cannot prepare {}", case.name))?;
        Ok((**case, place))
    });
    let session = prepared.collect::<Result<Vec<_>>>().and_then(|prepared| {
        let rules: String = prepared.iter().map(|(case, place)| place.rules(case.rules)).collect();
        Ok((Session::start(suite, &rules)?, prepared))
    });
    let (mut session, prepared) = match session {
        Ok(session) => session,
        Err(error) => {
            report.case(&format!("{suite}: start"), start.elapsed(), Err(error));
            for case in cases {
                report.case(case.name, Duration::ZERO, Err(anyhow::anyhow!("its daemon did not start")));
            }
            return;
        }
    };
    report.case(&format!("{suite}: start"), start.elapsed(), Ok(()));
    for (case, place) in prepared {
        let start = Instant::now();
        let result = guarded(|| (case.run)(&mut Test::new(&mut session, place)?));
        report.case(case.name, start.elapsed(), result);
    }
    let start = Instant::now();
    let stopped = session.stop();
    report.case(&format!("{suite}: stop"), start.elapsed(), stopped);
}

/// Reports a case that cannot run here.
fn is_possible(report: &mut Report, case: &Case) -> bool {
    let start = Instant::now();
    let possible = guarded(case.possible);
    let is_possible = possible.is_ok();
    if !is_possible {
        report.case(case.name, start.elapsed(), possible);
    }
    is_possible
}

fn alone(report: &mut Report, case: &Alone) {
    let start = Instant::now();
    let result = report.place(case.name).and_then(|place| guarded(|| (case.run)(&place)));
    report.case(case.name, start.elapsed(), result);
}

fn locked(report: &mut Report, cases: &[&Against]) {
    let start = Instant::now();
    let mut locked = match report.place("locked").and_then(|place| guarded(|| Locked::start(place))) {
        Ok(locked) => locked,
        Err(error) => {
            report.case("locked: start", start.elapsed(), Err(error));
            for case in cases {
                report.case(case.name, Duration::ZERO, Err(anyhow::anyhow!("its daemon did not start")));
            }
            return;
        }
    };
    report.case("locked: start", start.elapsed(), Ok(()));
    for case in cases {
        let start = Instant::now();
        let result = guarded(|| (case.run)(&mut locked).and_then(|()| (case.afterwards)(&mut locked)));
        report.case(case.name, start.elapsed(), result);
    }
}

/// A case that panics has failed, and the next one runs.
fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(anyhow::anyhow!("panicked: see standard error")))
}

#[derive(Default)]
struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
    places: Cell<usize>,
}

impl Report {
    fn place(&self, name: &'static str) -> Result<Place> {
        let number = self.places.get();
        self.places.set(number + 1);
        Place::create(name, number)
    }

    fn case(&mut self, name: &str, took: Duration, result: Result<()>) {
        say(&self.line(name, took, result));
    }

    /// Counts a case and words its line.
    fn line(&mut self, name: &str, took: Duration, result: Result<()>) -> String {
        match result {
            Ok(()) => {
                self.passed += 1;
                format!("ok {name} ({} ms)", took.as_millis())
            }
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(why) => {
                    self.skipped += 1;
                    format!("SKIP {name}: {why}")
                }
                None => {
                    self.failed += 1;
                    format!("FAILED {name}: {}", indented(&format!("{error:#}")))
                }
            },
        }
    }

    fn close(self) -> ExitCode {
        say(&format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped));
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Whole lines at once: the guest's output is read while it grows.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Nobody is left to be told when the output is gone.
    let _ = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
}

/// Further lines cannot be taken for those of other cases.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn skips_and_panics_are_told_from_failures() {
        let mut report = Report::default();
        assert_eq!(report.line("a", Duration::from_millis(5), Ok(())), "ok a (5 ms)");
        assert_eq!(report.line("b", Duration::ZERO, skip("no such thing")), "SKIP b: no such thing");
        let skipped_inside = skip("no such thing").context("while looking");
        assert_eq!(report.line("c", Duration::ZERO, skipped_inside), "SKIP c: no such thing");
        let panicked = guarded(|| panic!("on purpose"));
        assert_eq!(report.line("d", Duration::ZERO, panicked), "FAILED d: panicked: see standard error");
        let long = Err(anyhow::anyhow!("one\ntwo\n"));
        assert_eq!(report.line("e", Duration::ZERO, long), "FAILED e: one\n    two");
        assert_eq!((report.passed, report.failed, report.skipped), (1, 2, 2));
    }
}
