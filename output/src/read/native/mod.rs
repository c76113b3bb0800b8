//! Native records → events.
//!
//! Records of an event share node, time and serial; records of several events may alternate. As for auparse, an event is whole
//! when its `PROCTITLE` or `EOE` was read, when its type stands alone, or when records come that are two seconds younger. Unlike
//! for auparse, a `PROCTITLE` waits for its call: a kernel whose queue was full sends what it could not send once more, after
//! the rest (`kauditd_send_queue` in `kernel/audit.c`).

mod event;
mod line;
mod part;
mod value;

use std::collections::VecDeque;
use std::ops::Range;

use super::sieve::Sieve;
use super::{Entry, Problem};
use line::{Header, Line};

/// Events that are being put together, at most: a log without ends of events must not fill the memory.
const PENDING: usize = 512;
/// Age at which an event is whole: auditd's `end_of_event_timeout`, in nanoseconds.
const WHOLE_AFTER: u64 = 2_000_000_000;

/// Puts events together. Lines are kept as they are until it is known that their event may be wanted.
pub(super) struct Assembler {
    /// In the order in which they began.
    pending: VecDeque<Pending>,
    /// Time of the last record. Not that of the youngest: auditd stamps its own records when it writes them, and those of the
    /// kernel that waited for it come after.
    last: u64,
    /// Where wanted events begin.
    begin: Range<u64>,
    /// A wanted event began with a record that begins none.
    headless: bool,
    /// Buffers of events that are done.
    spare: Vec<Pending>,
}

#[derive(Default)]
struct Pending {
    node: Vec<u8>,
    stamp: Vec<u8>,
    time: u64,
    /// Where in the log it began.
    start: u64,
    /// The lines, one behind the other, and where each ends.
    lines: Vec<u8>,
    ends: Vec<usize>,
    /// Whether its last record was read, and the one that tells the call.
    ended: bool,
    has_call: bool,
    whole: bool,
    headless: bool,
}

impl Default for Assembler {
    fn default() -> Self {
        Self::beginning_in(0..u64::MAX)
    }
}

impl Assembler {
    /// Of events that begin elsewhere nothing is told.
    pub(super) fn beginning_in(begin: Range<u64>) -> Self {
        Self { pending: VecDeque::new(), last: 0, begin, headless: false, spare: Vec::new() }
    }

    /// Takes a record that stands at an offset, which only has to grow.
    pub(super) fn line(&mut self, line: &[u8], offset: u64) -> Result<(), Problem> {
        let header = Header::split(line).ok_or(Problem::Native)?;
        let same = |event: &&mut Pending| !event.whole && event.stamp == header.stamp && event.node == header.node;
        let known = self.pending.iter_mut().rev().find(same);
        match known {
            Some(event) if !header.stands_alone() => {
                self.last = event.time;
                event.take(line, &header);
                return Ok(());
            }
            _ => {}
        }
        let (time, _) = header.moment().ok_or(Problem::Native)?;
        self.last = time;
        if !header.is_end() {
            let event = self.spare.pop().unwrap_or_default();
            self.pending.push_back(event.begin(line, &header, time, offset));
        }
        Ok(())
    }

    /// The oldest event that is whole and may be wanted.
    pub(super) fn ready(&mut self, sieve: &Sieve) -> Option<Entry> {
        loop {
            let oldest = self.pending.front()?;
            let age = self.last.saturating_sub(oldest.time);
            if !oldest.whole && age < WHOLE_AFTER && self.pending.len() <= PENDING {
                return None;
            }
            if let Some(entry) = self.take(sieve) {
                return Some(entry);
            }
        }
    }

    /// The oldest event that may be wanted, when no record follows.
    pub(super) fn rest(&mut self, sieve: &Sieve) -> Option<Entry> {
        while !self.pending.is_empty() {
            if let Some(entry) = self.take(sieve) {
                return Some(entry);
            }
        }
        None
    }

    /// The same, of those that are whole.
    pub(super) fn rest_whole(&mut self, sieve: &Sieve) -> Option<Entry> {
        self.pending.retain(|event| event.whole);
        self.rest(sieve)
    }

    /// Whether an event that begins where wanted ones do is not whole yet.
    pub(super) fn waits(&self) -> bool {
        self.pending.iter().any(|event| self.begin.contains(&event.start))
    }

    /// Whether an event that may be wanted began with a record that begins none: its first ones were not seen.
    pub(super) fn headless(&self) -> bool {
        self.headless
    }

    fn take(&mut self, sieve: &Sieve) -> Option<Entry> {
        let event = self.pending.pop_front()?;
        let wanted = self.begin.contains(&event.start) && sieve.passes_native(&event.lines, event.time);
        let entry = if wanted { event.entry() } else { None };
        self.headless |= wanted && event.headless;
        self.spare.push(event);
        entry
    }
}

impl Pending {
    fn begin(mut self, line: &[u8], header: &Header<'_>, time: u64, start: u64) -> Self {
        self.node.clear();
        self.stamp.clear();
        self.lines.clear();
        self.ends.clear();
        self.node.extend_from_slice(header.node);
        self.stamp.extend_from_slice(header.stamp);
        (self.time, self.start) = (time, start);
        (self.ended, self.has_call) = (false, false);
        (self.whole, self.headless) = (header.stands_alone(), header.continues());
        self.take(line, header);
        self
    }

    fn take(&mut self, line: &[u8], header: &Header<'_>) {
        self.ended |= header.ends_event();
        self.has_call |= header.is_call();
        self.whole |= header.is_end() || (self.ended && self.has_call);
        if !header.is_end() {
            self.lines.extend_from_slice(line);
            self.ends.push(self.lines.len());
        }
    }

    fn entry(&self) -> Option<Entry> {
        let mut start = 0;
        let lines =
            self.ends.iter().filter_map(|end| Line::parse(&self.lines[std::mem::replace(&mut start, *end)..*end]));
        event::entry(lines.collect())
    }
}
