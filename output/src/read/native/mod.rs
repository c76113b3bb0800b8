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

use super::{Entry, Problem};
use line::Line;

/// Events that are being put together, at most: a log without ends of events must not fill the memory.
const PENDING: usize = 512;
/// Age at which an event is whole: auditd's `end_of_event_timeout`, in nanoseconds.
const WHOLE_AFTER: u64 = 2_000_000_000;

/// Puts events together.
#[derive(Default)]
pub(super) struct Assembler {
    /// In the order in which they began.
    pending: VecDeque<Pending>,
    /// Time of the last record. Not that of the youngest: auditd stamps its own records when it writes them, and those of the
    /// kernel that waited for it come after.
    last: u64,
}

struct Pending {
    records: Vec<Line>,
    /// Whether its last record was read.
    ended: bool,
    whole: bool,
}

impl Pending {
    fn begun(line: Line) -> Self {
        let mut event = Self { records: Vec::new(), ended: false, whole: line.stands_alone() };
        event.take(line);
        event
    }

    fn take(&mut self, line: Line) {
        self.ended |= line.ends_event();
        self.whole |= line.is_end();
        if !line.is_end() {
            self.records.push(line);
        }
        self.whole |= self.ended && self.records.iter().any(Line::is_call);
    }
}

impl Assembler {
    /// Takes a record.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        let line = Line::parse(line).ok_or(Problem::Native)?;
        self.last = line.time;
        if line.stands_alone() {
            self.pending.push_back(Pending::begun(line));
            return Ok(());
        }
        let known = self.pending.iter_mut().rev().find(|event| !event.whole && event.records[0].same_event(&line));
        match known {
            Some(event) => event.take(line),
            None if line.is_end() => {}
            None => self.pending.push_back(Pending::begun(line)),
        }
        Ok(())
    }

    /// The oldest event, if it is whole.
    pub(super) fn ready(&mut self) -> Option<Entry> {
        let oldest = self.pending.front()?;
        let age = self.last.saturating_sub(oldest.records[0].time);
        let ready = oldest.whole || age >= WHOLE_AFTER || self.pending.len() > PENDING;
        if ready { self.rest() } else { None }
    }

    /// The oldest event, when no record follows.
    pub(super) fn rest(&mut self) -> Option<Entry> {
        self.pending.pop_front().and_then(|event| event::entry(event.records))
    }
}
