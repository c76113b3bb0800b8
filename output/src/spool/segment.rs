//! One segment file: records one after the other, each with its own checksum.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | [`MAGIC`] |
//! | 4 | length of the payload |
//! | 8 | sequence number |
//! | 4 | events that it stands for |
//! | 4 | CRC-32 of the 16 bytes before and the payload |
//! | ... | payload |
//!
//! Numbers are little endian. The magic has bytes that are in no UTF-8 text, so no record of text looks like a header: where
//! bytes are damaged, the next magic with a fitting checksum is where reading goes on.

/// Begins a record.
const MAGIC: [u8; 4] = [0xab, b'S', 0xff, b'R'];
/// Length of what precedes the payload.
pub(super) const HEADER: usize = 24;

/// What the spool carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spooled {
    /// Its number: they count up by one, for as long as the spool exists.
    pub(crate) sequence: u64,
    /// How many pushed events it stands for.
    pub(crate) events: u32,
    /// What is to be sent.
    pub(crate) payload: Vec<u8>,
}

/// A record's bytes; `None` where its length does not fit into the header.
pub(super) fn encode(sequence: u64, events: u32, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok()?.to_le_bytes();
    let (sequence, events) = (sequence.to_le_bytes(), events.to_le_bytes());
    let checksum = checksum(&[&length, &sequence, &events, payload]).to_le_bytes();
    Some([&MAGIC, &length[..], &sequence, &events, &checksum, payload].concat())
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The record that begins at `at`, and where it ends.
fn decode(bytes: &[u8], at: usize) -> Option<(Spooled, usize)> {
    let (header, rest) = bytes.get(at..)?.split_first_chunk::<HEADER>()?;
    if !header.starts_with(&MAGIC) {
        return None;
    }
    let number = |at: usize| header[at..].first_chunk().copied().map(u32::from_le_bytes);
    let length = usize::try_from(number(4)?).ok()?;
    let payload = rest.get(..length)?;
    (checksum(&[&header[4..20], payload]) == number(20)?).then_some(())?;
    let sequence = u64::from_le_bytes(*header[8..].first_chunk()?);
    let record = Spooled { sequence, events: number(16)?, payload: payload.to_vec() };
    Some((record, at + HEADER + length))
}

/// The first whole record at `at` or behind it whose number is at least `least`, and where it ends. What stands between is
/// damaged, or older.
pub(super) fn next(bytes: &[u8], mut at: usize, least: u64) -> Option<(Spooled, usize)> {
    loop {
        match decode(bytes, at) {
            Some((record, end)) if record.sequence >= least => return Some((record, end)),
            Some((_, end)) => at = end,
            None => {
                let behind = bytes.get(at + 1..)?;
                at += 1 + behind.windows(MAGIC.len()).position(|window| window == MAGIC)?;
            }
        }
    }
}

/// What a segment holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Number of the first record that is not in it.
    pub(super) next: u64,
    /// Events from `least` on; those that are damaged count as one each.
    pub(super) events: u64,
    /// Length up to the end of the last whole record.
    pub(super) whole: usize,
}

/// Goes through a segment whose first record has, or had, the number `first`, counting from `least`.
pub(super) fn survey(bytes: &[u8], first: u64, least: u64) -> Contents {
    let mut contents = Contents { next: first, ..Contents::default() };
    while let Some((record, end)) = next(bytes, contents.whole, contents.next) {
        let damaged = record.sequence.saturating_sub(contents.next.max(least));
        let own = if record.sequence >= least { u64::from(record.events) } else { 0 };
        contents.events = contents.events.saturating_add(damaged).saturating_add(own);
        contents.next = record.sequence.saturating_add(1);
        contents.whole = end;
    }
    contents
}
