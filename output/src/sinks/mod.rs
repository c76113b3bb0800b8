//! Where records end up.

pub(crate) mod backoff;
mod blueprint;
mod file;
#[cfg(feature = "kafka")]
mod kafka;
mod member;
mod message;
mod nats;
pub(crate) mod network;
#[cfg(feature = "otlp")]
mod otlp;
mod plugin;
mod spooled;
mod stdout;
mod syslog;
mod torn;

use std::time::Instant;

use crate::record::Record;

pub(crate) use blueprint::{Blueprint, blueprints};
pub use file::{LogSegment, segments};

/// A destination. Its worker calls it, from one thread; it reports what got there, and its failed attempts, to its
/// [`Meter`].
///
/// It never sleeps. When its destination fails it keeps what it was given, and asks by [`Self::stalled_until`] for a
/// later [`Self::retry`]; until that succeeds nothing else is called but [`Self::close`].
pub(crate) trait Sink: Send {
    /// Takes a record that stands for `events` pushed events (1, or 0 for one that the pipeline made). What can never get
    /// there is given up by [`Meter::give_up`].
    fn write(&mut self, record: &Record<'_>, events: u64);

    /// Hands on all that was taken.
    fn flush(&mut self);

    /// When to call [`Self::flush`], at the latest.
    fn due(&self) -> Option<Instant>;

    /// Set while the destination takes nothing: when to try again.
    fn stalled_until(&self) -> Option<Instant>;

    /// Tries again.
    fn retry(&mut self);

    /// Its queue is full: events were lost.
    fn overflowed(&mut self) {}

    /// Whether an action of its configuration says that nothing is to be written until [`Self::resume`]. What it was given
    /// before, it keeps.
    fn suspended(&self) -> bool {
        false
    }

    /// Goes on: what was wrong is mended, or is found to be wrong once more.
    fn resume(&mut self) {}

    /// The end is near: no action is carried out any more, and what was suspended goes on.
    fn last_attempt(&mut self) {}

    /// Ends the current segment, where there are segments.
    fn rotate(&mut self) {}

    /// The configuration was read anew, and says of this sink what it said before.
    fn reread(&mut self) {}

    /// A segment that ended since this was last asked.
    fn rotated(&mut self) -> Option<Rotated> {
        None
    }

    /// Makes sure that what was written stays. Returns how many events were taken and never got there.
    fn close(&mut self) -> u64;

    /// The same, where another sink goes on in its place: what is on disk to be sent may wait for that.
    fn let_go(&mut self) -> u64 {
        self.close()
    }
}

/// A segment that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Its name now.
    pub(crate) segment: String,
    /// Its records.
    pub(crate) records: u64,
    /// Digest of its sidecar, if it has one: who knows it can tell whether the log up to there was changed.
    pub(crate) chain: Option<String>,
    /// Old segments that were removed.
    pub(crate) removed: usize,
}
