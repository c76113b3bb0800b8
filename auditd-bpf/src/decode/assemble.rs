//! Samples → the parts of one event.
//!
//! An event longer than one sample comes as chunks and a last sample. A chunk waits for that last sample; it never comes for
//! a call whose rules turned out not to match, and the next call of the task makes that known.

use std::collections::HashMap;

use auditd_bpf_common::wire::{EventHeader, incomplete};

/// Calls that may wait at a time.
pub const MAX_PENDING: usize = 1024;
/// Bytes that may wait. One exec has at most 6 MiB of arguments.
pub const MAX_BYTES: usize = 16 << 20;

/// The payload of one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whether what stood before it in the event is lost.
    pub after_gap: bool,
    /// Its sections.
    pub payload: Vec<u8>,
}

/// What the assembler did with chunks that never became part of an event, and which events missed some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssemblyCounters {
    /// Calls whose chunks were dropped because their rules did not match in the end: nothing is missing.
    pub discarded: u64,
    /// Calls whose chunks were dropped because too many waited. Most will have been such as above.
    pub evicted: u64,
    /// Events with parts that the kernel side could not send; it counts them too.
    pub missing_chunks: u64,
    /// Events with parts that the kernel side did send: they were dropped here because too many waited.
    pub assembler_full: u64,
}

/// Chunks that wait for the end of their call.
#[derive(Debug, Default)]
pub struct Assembler {
    pending: HashMap<u32, Pending>,
    bytes: usize,
    /// Counts samples: the age of what waits.
    now: u64,
    counters: AssemblyCounters,
}

#[derive(Debug)]
struct Pending {
    start: u64,
    /// Number of the chunk that comes next if none is lost.
    next: u32,
    parts: Vec<Part>,
    bytes: usize,
    touched: u64,
}

impl Assembler {
    /// Keeps a chunk.
    pub fn chunk(&mut self, header: &EventHeader, payload: &[u8]) {
        self.now += 1;
        let mut call = self.take(header).unwrap_or(Pending {
            start: header.start,
            next: 0,
            parts: Vec::new(),
            bytes: 0,
            touched: 0,
        });
        call.parts.push(Part { after_gap: call.next != header.chunk, payload: payload.to_vec() });
        call.next = header.chunk.saturating_add(1);
        // An empty chunk takes room too.
        call.bytes += size_of::<Part>() + payload.len();
        call.touched = self.now;
        self.bytes += call.bytes;
        self.pending.insert(header.tid, call);
        while self.pending.len() > MAX_PENDING || self.bytes > MAX_BYTES {
            self.evict_oldest();
        }
    }

    /// The earlier parts of the event that ends with this header, and whether its last sample follows a gap.
    pub fn finish(&mut self, header: &EventHeader) -> (Vec<Part>, bool) {
        self.now += 1;
        let (parts, next) = self.take(header).map_or((Vec::new(), 0), |call| (call.parts, call.next));
        let gap_at_end = next != header.chunk;
        if gap_at_end || parts.iter().any(|part| part.after_gap) {
            // The kernel side says where it failed to send a chunk; otherwise the chunks got lost here.
            if header.incomplete & incomplete::CHUNK != 0 {
                self.counters.missing_chunks += 1;
            } else {
                self.counters.assembler_full += 1;
            }
        }
        (parts, gap_at_end)
    }

    /// What became of chunks.
    pub fn counters(&self) -> AssemblyCounters {
        self.counters
    }

    /// Takes the call that a sample belongs to, if parts of it wait. Forgets what another call of the same task left.
    fn take(&mut self, header: &EventHeader) -> Option<Pending> {
        if let Some(call) = self.remove(header.tid) {
            if call.start == header.start && call.next <= header.chunk {
                return Some(call);
            }
            self.counters.discarded += 1;
        }
        if header.chunk == 0 {
            return None;
        }
        // An exec by a thread that is not the leader gives it the leader's tid in the middle of the call.
        // Two that began in the same nanosecond cannot be told apart.
        let continued = |call: &Pending| call.start == header.start && call.next == header.chunk;
        let mut tids = self.pending.iter().filter(|(_, call)| continued(call)).map(|(tid, _)| *tid);
        let tid = tids.next().filter(|_| tids.next().is_none())?;
        self.remove(tid)
    }

    fn remove(&mut self, tid: u32) -> Option<Pending> {
        let call = self.pending.remove(&tid)?;
        self.bytes -= call.bytes;
        Some(call)
    }

    fn evict_oldest(&mut self) {
        let oldest = self.pending.iter().min_by_key(|(_, call)| call.touched).map(|(tid, _)| *tid);
        if oldest.and_then(|tid| self.remove(tid)).is_some() {
            self.counters.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_samples::event_header;
    use super::*;

    fn header(tid: u32, start: u64, chunk: u32) -> EventHeader {
        EventHeader { tid, start, chunk, ..event_header() }
    }

    fn part(after_gap: bool, payload: &[u8]) -> Part {
        Part { after_gap, payload: payload.to_vec() }
    }

    #[test]
    fn chunks_wait_for_their_event_and_calls_do_not_mix() {
        let mut assembler = Assembler::default();
        assembler.chunk(&header(1, 10, 0), b"a");
        assembler.chunk(&header(2, 10, 0), b"x");
        assembler.chunk(&header(1, 10, 1), b"b");
        assert_eq!(assembler.finish(&header(1, 10, 2)), (vec![part(false, b"a"), part(false, b"b")], false));
        assert_eq!(assembler.finish(&header(2, 10, 1)), (vec![part(false, b"x")], false));
        assert_eq!(assembler.counters(), AssemblyCounters::default());
        assert_eq!((assembler.pending.len(), assembler.bytes), (0, 0));
    }

    #[test]
    fn chunks_of_a_call_that_matched_nothing_are_no_loss() {
        let mut assembler = Assembler::default();
        assembler.chunk(&header(1, 10, 0), b"old");
        assembler.chunk(&header(1, 20, 0), b"new");
        assert_eq!(assembler.finish(&header(1, 20, 1)), (vec![part(false, b"new")], false));
        assembler.chunk(&header(1, 30, 0), b"old");
        assert_eq!(assembler.finish(&header(1, 40, 0)), (vec![], false));
        assert_eq!(assembler.counters(), AssemblyCounters { discarded: 2, ..Default::default() });
        assert_eq!((assembler.pending.len(), assembler.bytes), (0, 0));
    }

    #[test]
    fn a_missing_number_is_a_gap_where_it_is() {
        let mut assembler = Assembler::default();
        assembler.chunk(&header(1, 10, 0), b"a");
        assembler.chunk(&header(1, 10, 2), b"c");
        let end = EventHeader { incomplete: incomplete::CHUNK, ..header(1, 10, 4) };
        assert_eq!(assembler.finish(&end), (vec![part(false, b"a"), part(true, b"c")], true));
        assert_eq!(assembler.counters().missing_chunks, 1);
    }

    #[test]
    fn a_chunk_seen_twice_is_not_joined_twice() {
        let mut assembler = Assembler::default();
        assembler.chunk(&header(1, 10, 0), b"a");
        assembler.chunk(&header(1, 10, 0), b"a");
        assert_eq!(assembler.finish(&header(1, 10, 1)), (vec![part(false, b"a")], false));
    }

    #[test]
    fn a_thread_that_becomes_the_leader_keeps_its_event() {
        let mut assembler = Assembler::default();
        assembler.chunk(&header(902, 10, 0), b"path");
        assembler.chunk(&header(900, 10, 1), b"argv");
        assert_eq!(assembler.finish(&header(900, 10, 2)), (vec![part(false, b"path"), part(false, b"argv")], false));
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_goes_first() {
        let mut assembler = Assembler::default();
        for tid in 0..=MAX_PENDING as u32 {
            assembler.chunk(&header(tid, u64::from(tid), 0), b"x");
        }
        assert_eq!(assembler.pending.len(), MAX_PENDING);
        assert_eq!(assembler.finish(&header(1, 1, 1)).0.len(), 1);
        assert_eq!(assembler.counters().assembler_full, 0, "nothing known to be missing yet");
        assert_eq!(assembler.finish(&header(0, 0, 1)), (vec![], true));
        assert_eq!((assembler.counters().evicted, assembler.counters().assembler_full), (1, 1));
    }

    #[test]
    fn bytes_that_wait_are_bounded_even_in_one_call() {
        let mut assembler = Assembler::default();
        for chunk in 0..40 {
            assembler.chunk(&header(1, 10, chunk), &vec![0; 1 << 20]);
            assert!(assembler.bytes <= MAX_BYTES);
        }
        assembler.chunk(&header(2, 10, 0), b"small");
        assert_eq!(assembler.finish(&header(2, 10, 1)).0.len(), 1);
        assert!(assembler.counters().evicted > 0);
    }
}
