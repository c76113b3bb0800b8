//! Which events of a log have a text in one of their lines.

use super::sieve::AnyOf;

/// As many bits as tell apart the events of a part of a log, most of them, and stay in the first cache.
const BITS: u32 = 16;

/// Stamps (`SECONDS.MILLIS:SERIAL`) that were noted. Some others may seem to have been: nothing but time is lost with them.
pub(super) struct Stamps(Vec<u64>);

impl Default for Stamps {
    fn default() -> Self {
        Self(vec![0; 1 << (BITS - 6)])
    }
}

impl Stamps {
    /// Notes those of lines that have one of the texts, and nothing else. Whether there are any.
    ///
    /// No other event can be wanted. Where many events are, this saves putting the others together.
    pub(super) fn note(&mut self, texts: &AnyOf, log: &[u8]) -> bool {
        self.0.fill(0);
        let mut any = false;
        texts.lines(log, |line| {
            any = true;
            if let Some(stamp) = stamp(line) {
                let (word, bit) = place(stamp);
                self.0[word] |= bit;
            }
        });
        any
    }

    /// Whether the stamp of a line may have been noted; so it may of a line without any, about which there is something to tell.
    pub(super) fn may_have(&self, line: &[u8]) -> bool {
        stamp(line).is_none_or(|stamp| {
            let (word, bit) = place(stamp);
            self.0[word] & bit != 0
        })
    }
}

/// What stands in the first parentheses, which is the stamp of every record.
fn stamp(line: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b'(', line)? + 1;
    let length = memchr::memchr(b')', &line[start..])?;
    Some(&line[start..start + length])
}

/// By its last bytes, which are those that differ.
fn place(stamp: &[u8]) -> (usize, u64) {
    /// 2^64 divided by the golden ratio: spreads numbers that follow each other (Knuth, 6.4).
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let end = match stamp.last_chunk::<8>() {
        Some(end) => *end,
        None => {
            let mut end = [0; 8];
            end[..stamp.len()].copy_from_slice(stamp);
            end
        }
    };
    let bit = u64::from_le_bytes(end).wrapping_mul(SPREAD) >> (u64::BITS - BITS);
    ((bit >> 6) as usize, 1 << (bit & 63))
}
