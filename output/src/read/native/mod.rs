//! Native records → events.
//!
//! Records of an event share node, time and serial; records of several events may alternate. As for auparse, an event is whole
//! when its `PROCTITLE` or `EOE` was read, when its type stands alone, or when records come that are two seconds younger. Unlike
//! for auparse, a `PROCTITLE` waits for its call: a kernel whose queue was full sends what it could not send once more, after
//! the rest (`kauditd_send_queue` in `kernel/audit.c`).

mod event;
mod line;
mod part;
mod records;
mod value;

use std::collections::VecDeque;
use std::ops::Range;

use super::Problem;
use super::sieve::Sieve;
use line::Header;

pub(crate) use records::RawRecord;
pub use records::Records;

/// Events that are being put together, at most: a log without ends of events must not fill the memory.
const PENDING: usize = 512;
/// Age at which an event is whole: auditd's `end_of_event_timeout`, in nanoseconds.
const WHOLE_AFTER: u64 = 2_000_000_000;

/// Puts events together. Lines are kept as they are until it is known that their event may be wanted.
pub(super) struct Assembler {
    /// In the order in which they began.
    pending: VecDeque<Records>,
    /// Time of the last record. Not that of the youngest: auditd stamps its own records when it writes them, and those of the
    /// kernel that waited for it come after.
    last: u64,
    /// Where wanted events begin.
    begin: Range<u64>,
    /// Events that are done, for their buffers.
    spare: Vec<Records>,
}

impl Default for Assembler {
    fn default() -> Self {
        Self { pending: VecDeque::new(), last: 0, begin: 0..u64::MAX, spare: Vec::new() }
    }
}

impl Assembler {
    /// Forgets what was. Of events that begin elsewhere nothing will be told.
    pub(super) fn begin_in(&mut self, begin: Range<u64>) {
        self.spare.extend(self.pending.drain(..));
        (self.begin, self.last) = (begin, 0);
    }

    /// Takes a record that stands at an offset, which only has to grow.
    pub(super) fn line(&mut self, line: &[u8], offset: u64) -> Result<(), Problem> {
        let header = Header::split(line).ok_or(Problem::Native)?;
        let same = |event: &&mut Records| !event.whole && event.stamp == header.stamp && event.node == header.node;
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
            let mut event = self.spare.pop().unwrap_or_default();
            event.begin(line, &header, time, offset);
            self.pending.push_back(event);
        }
        Ok(())
    }

    /// The oldest event that is whole and may be wanted.
    pub(super) fn ready(&mut self, sieve: &Sieve) -> Option<Records> {
        loop {
            let oldest = self.pending.front()?;
            let age = self.last.saturating_sub(oldest.time);
            if !oldest.whole && age < WHOLE_AFTER && self.pending.len() <= PENDING {
                return None;
            }
            if let Some(event) = self.take(sieve) {
                return Some(event);
            }
        }
    }

    /// The oldest event that may be wanted, when no record follows.
    pub(super) fn rest(&mut self, sieve: &Sieve) -> Option<Records> {
        while !self.pending.is_empty() {
            if let Some(event) = self.take(sieve) {
                return Some(event);
            }
        }
        None
    }

    /// The same, of those that are whole.
    pub(super) fn rest_whole(&mut self, sieve: &Sieve) -> Option<Records> {
        self.pending.retain(|event| event.whole);
        self.rest(sieve)
    }

    /// Whether an event that begins where wanted ones do is not whole yet.
    pub(super) fn waits(&self) -> bool {
        self.pending.iter().any(|event| self.begin.contains(&event.start))
    }

    /// An event that was handed out is done.
    pub(super) fn give_back(&mut self, event: Records) {
        self.spare.push(event);
    }

    fn take(&mut self, sieve: &Sieve) -> Option<Records> {
        let event = self.pending.pop_front()?;
        if !self.begin.contains(&event.start) || !sieve.passes_native(event.text(), event.time) {
            self.spare.push(event);
            return None;
        }
        Some(event)
    }
}
