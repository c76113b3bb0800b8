//! What became of the events, per sink. For every sink and at any moment: pushed = written + lost + pending.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::bounds::Bounds;

/// Why a sink lost an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The queue was full: the sink was slower than the events, or could not write for a while.
    QueueFull,
    /// Longer than the sink's transport takes in one piece.
    TooLong,
    /// Still waiting when the pipeline was closed and its patience ended, or when a sink that could not write was replaced.
    Shutdown,
    /// The spool was full: the server was away for longer than it lasts.
    SpoolFull,
    /// The disk gave back other bytes than were written to the spool.
    SpoolDamaged,
    /// The plugin ended more often than it may be started again.
    PluginGone,
    /// An action of its configuration said that no more was to be written until SIGUSR2.
    Suspended,
    /// The server answered that it will never take it.
    Refused,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::TooLong,
        Self::Shutdown,
        Self::SpoolFull,
        Self::SpoolDamaged,
        Self::PluginGone,
        Self::Suspended,
        Self::Refused,
    ];

    /// The cause's name in records and in `auditctl -s`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLong => "too_long",
            Self::Shutdown => "shutdown",
            Self::SpoolFull => "spool_full",
            Self::SpoolDamaged => "spool_damaged",
            Self::PluginGone => "plugin_gone",
            Self::Suspended => "suspended",
            Self::Refused => "refused",
        }
    }
}

/// How long a flush took, at most.
const FLUSH_TIMES: Bounds<6> = Bounds([
    ("1ms", Duration::from_millis(1)),
    ("10ms", Duration::from_millis(10)),
    ("100ms", Duration::from_millis(100)),
    ("1s", Duration::from_secs(1)),
    ("10s", Duration::from_secs(10)),
    ("longer", Duration::MAX),
]);

/// A snapshot of one sink's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkCounters {
    /// Which sink, for example `file:/var/log/audit/audit.json.gz`.
    pub sink: String,
    /// Events that its filter kept away; they count nowhere else.
    pub filtered: u64,
    /// Events pushed.
    pub pushed: u64,
    /// Events that the destination took: the file, the server's socket.
    pub written: u64,
    /// Events lost, by cause.
    pub lost: [(&'static str, u64); Cause::ALL.len()],
    /// Bytes that the destination took, compressed where it is.
    pub bytes: u64,
    /// Attempts to write or connect that failed; each was tried again.
    pub errors: u64,
    /// Bytes of torn tails that were set aside.
    pub torn_bytes: u64,
    /// Events in the spool, some of them perhaps sent but not acknowledged. They are pending, and survive the pipeline.
    pub spooled: u64,
    /// Length of the spool.
    pub spool_bytes: u64,
    /// Flushes of what had gathered: to a file and, by `fsync`, its disk; to a server until it acknowledged. By how long that
    /// took: up to the time given, and longer than the one before.
    pub flushes: [(&'static str, u64); 6],
    /// How long they took together.
    pub flush_micros: u64,
    /// Whether the destination takes nothing at the moment.
    pub stalled: bool,
    /// Whether it takes nothing until SIGUSR2.
    pub suspended: bool,
}

impl SinkCounters {
    /// The bounds of [`Self::flushes`] in seconds.
    #[must_use]
    pub fn flush_bounds() -> [(&'static str, f64); 6] {
        FLUSH_TIMES.in_seconds()
    }

    /// Events lost, for whatever cause.
    pub fn lost_total(&self) -> u64 {
        self.lost.iter().map(|(_, count)| count).sum()
    }

    /// Events that wait in the queue, in an unfinished member or in the spool.
    pub fn pending(&self) -> u64 {
        self.pushed.saturating_sub(self.written + self.lost_total())
    }
}

/// The live counters of one sink, and which of its losses its stream does not tell yet.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    filtered: AtomicU64,
    pushed: AtomicU64,
    written: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    torn_bytes: AtomicU64,
    spooled: AtomicU64,
    spool_bytes: AtomicU64,
    flushes: [AtomicU64; 6],
    flush_micros: AtomicU64,
    stalled: AtomicBool,
    suspended: AtomicBool,
    lost: [AtomicU64; Cause::ALL.len()],
    unreported: [AtomicU64; Cause::ALL.len()],
}

impl Meter {
    pub(crate) fn filtered(&self) {
        self.filtered.fetch_add(1, Relaxed);
    }

    pub(crate) fn pushed(&self) {
        self.pushed.fetch_add(1, Relaxed);
    }

    /// The destination took `bytes` that stand for `events`.
    pub(crate) fn wrote(&self, events: u64, bytes: usize) {
        self.written.fetch_add(events, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// What had gathered was handed on, in so much time.
    pub(crate) fn flushed(&self, took: Duration) {
        self.flushes[FLUSH_TIMES.position(took)].fetch_add(1, Relaxed);
        self.flush_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn tore(&self, bytes: u64) {
        self.torn_bytes.fetch_add(bytes, Relaxed);
    }

    /// So many events are in the spool that was opened. Those of an earlier run count as pushed now.
    pub(crate) fn took_over(&self, events: u64) {
        let known = self.spooled.load(Relaxed);
        self.pushed.fetch_add(events.saturating_sub(known), Relaxed);
    }

    pub(crate) fn set_spooled(&self, events: u64, bytes: u64) {
        self.spooled.store(events, Relaxed);
        self.spool_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Relaxed);
    }

    pub(crate) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Relaxed);
    }

    /// Counts a loss; [`Self::report_later`] puts it into the stream.
    pub(crate) fn lose(&self, cause: Cause, events: u64) {
        self.lost[cause as usize].fetch_add(events, Relaxed);
    }

    /// Counts a loss in the middle of the stream, which is to tell it.
    pub(crate) fn give_up(&self, cause: Cause, events: u64) {
        self.lose(cause, events);
        self.report_later(cause, events);
    }

    pub(crate) fn report_later(&self, cause: Cause, events: u64) {
        self.unreported[cause as usize].fetch_add(events, Relaxed);
    }

    /// Whether there are losses that the stream has yet to tell.
    pub(crate) fn has_unreported(&self) -> bool {
        self.unreported.iter().any(|count| count.load(Relaxed) != 0)
    }

    /// Takes the losses that the stream has yet to tell.
    pub(crate) fn take_unreported(&self) -> impl Iterator<Item = (Cause, u64)> {
        let counts = Cause::ALL.into_iter().zip(&self.unreported);
        // Asked for every record: a load is cheaper than a swap.
        counts.filter(|(_, count)| count.load(Relaxed) != 0).map(|(cause, count)| (cause, count.swap(0, Relaxed)))
    }

    pub(crate) fn snapshot(&self, sink: &str) -> SinkCounters {
        // The outcomes are read before what was pushed, so that a concurrent push never makes them exceed it.
        let written = self.written.load(Relaxed);
        let lost = Cause::ALL.map(|cause| (cause.name(), self.lost[cause as usize].load(Relaxed)));
        SinkCounters {
            sink: sink.to_owned(),
            filtered: self.filtered.load(Relaxed),
            pushed: self.pushed.load(Relaxed),
            written,
            lost,
            bytes: self.bytes.load(Relaxed),
            errors: self.errors.load(Relaxed),
            torn_bytes: self.torn_bytes.load(Relaxed),
            spooled: self.spooled.load(Relaxed),
            spool_bytes: self.spool_bytes.load(Relaxed),
            flushes: FLUSH_TIMES.named(std::array::from_fn(|index| self.flushes[index].load(Relaxed))),
            flush_micros: self.flush_micros.load(Relaxed),
            stalled: self.stalled.load(Relaxed),
            suspended: self.suspended.load(Relaxed),
        }
    }
}
