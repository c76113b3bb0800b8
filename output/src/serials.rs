//! Serial numbers of events.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out serials, unique within a run. They start at 2^31, apart from the kernel's own, so that records of both
/// can share a log. Gaps are normal: an event that a sink makes (its losses) takes a number that the others never see.
#[derive(Debug)]
pub struct Serials(AtomicU64);

impl Serials {
    /// The first serial of a run.
    pub const FIRST: u64 = 1 << 31;

    /// Starts at [`Self::FIRST`].
    pub const fn new() -> Self {
        Self(AtomicU64::new(Self::FIRST))
    }

    /// The next serial.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Default for Serials {
    fn default() -> Self {
        Self::new()
    }
}
