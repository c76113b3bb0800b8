//! What must hold for any segment file. The fuzz target `spool` looks for one for which it does not; the tests run the corpus.

use super::segment::{self, Contents};

/// Takes numbers off the front of an input; missing bytes are 0.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u64 {
        let mut number = [0; 8];
        let taken = self.bytes(bytes);
        number[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(number)
    }

    fn short(&mut self, bytes: usize) -> usize {
        usize::try_from(self.number(bytes)).unwrap_or_default()
    }
}

/// Records with right checksums and any numbers, records of which bytes are missing, and bytes that are none, as the input has it.
fn file(mut input: Input<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    while !input.0.is_empty() {
        let kind = input.short(1);
        if kind.is_multiple_of(4) {
            let count = input.short(1);
            file.extend_from_slice(input.bytes(count));
            continue;
        }
        // Most files count up from a small number.
        let sequence = input.number(if kind % 4 == 1 { 8 } else { 1 });
        let (events, length) = (u32::try_from(input.number(kind / 4 % 5)).unwrap_or_default(), input.short(1));
        let record = segment::encode(sequence, events, input.bytes(length)).unwrap_or_default();
        let missing = if kind % 4 == 3 { input.short(1) } else { 0 };
        file.extend_from_slice(&record[..record.len().saturating_sub(missing)]);
    }
    file
}

/// Whatever the input, a segment reads to the same end again, and what is appended there is found.
pub fn any_segment(input: &[u8]) {
    let mut input = Input(input);
    let (first, least) = (input.number(1), input.number(1));
    let file = file(input);
    let contents = segment::survey(&file, first, least);
    let (mut at, mut from, mut own) = (0, first, 0_u64);
    while let Some((record, end)) = segment::next(&file, at, from) {
        assert!(record.sequence >= from && end >= at + segment::HEADER + record.payload.len());
        own = own.saturating_add(if record.sequence >= least { record.events.into() } else { 0 });
        (at, from) = (end, record.sequence.saturating_add(1));
    }
    assert_eq!((contents.whole, contents.next), (at, from));
    assert!(contents.events >= own, "{contents:?}: {own} events were read");
    let whole = &file[..contents.whole];
    assert_eq!(segment::survey(whole, first, least), contents);
    if contents.next == u64::MAX || contents.events == u64::MAX {
        return;
    }
    let appended = [whole, &segment::encode(contents.next, 1, b"appended").unwrap_or_default()].concat();
    let counted = u64::from(contents.next >= least);
    let expected = Contents { next: contents.next + 1, events: contents.events + counted, whole: appended.len() };
    assert_eq!(segment::survey(&appended, first, least), expected);
}
