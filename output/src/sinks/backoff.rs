//! When to try again.

use std::time::{Duration, Instant};

/// Time after the first failure.
const FIRST: Duration = Duration::from_millis(100);
/// Longest time between attempts.
const LONGEST: Duration = Duration::from_secs(5);

/// How long after a failure the next one still belongs to the same trouble, whatever succeeded in between.
const SETTLED: Duration = Duration::from_secs(15);

/// Doubles the time between attempts while they fail.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last_failure: Option<Instant>,
    until: Option<Instant>,
}

impl Backoff {
    /// Counts a failed attempt. Returns whether the one before had succeeded: that one is worth a warning.
    pub(crate) fn failed(&mut self) -> bool {
        let now = Instant::now();
        if self.last_failure.is_none_or(|last| now.saturating_duration_since(last) > SETTLED) {
            self.failures = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
        self.until.replace(now + wait).is_none()
    }

    /// Who was asked wants no attempt before that.
    pub(crate) fn wait_until(&mut self, earliest: Instant) {
        self.until = self.until.max(Some(earliest));
    }

    /// An attempt succeeded. Returns whether a failure preceded it.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.until.take().is_some()
    }

    /// When to try again, after a failure.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }
}
