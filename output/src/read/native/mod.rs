//! Native records → events.
//!
//! Records of an event share node, time and serial; records of several events may alternate. As for auparse, an event is whole
//! when its `PROCTITLE` or `EOE` was read, when its type stands alone, or when records come that are two seconds younger.

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
    whole: bool,
}

impl Assembler {
    /// Takes a record.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        let line = Line::parse(line).ok_or(Problem::Native)?;
        self.last = line.time;
        if line.stands_alone() {
            self.pending.push_back(Pending { records: vec![line], whole: true });
            return Ok(());
        }
        let ends = line.ends_event();
        let known = self.pending.iter_mut().rev().find(|event| !event.whole && event.records[0].same_event(&line));
        match known {
            Some(event) => {
                event.whole = ends;
                if !line.is_end() {
                    event.records.push(line);
                }
            }
            None if line.is_end() => {}
            None => self.pending.push_back(Pending { records: vec![line], whole: ends }),
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
