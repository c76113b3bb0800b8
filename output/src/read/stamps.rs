//! Which events of a log have a text in one of their lines.

use super::sieve::AnyOf;

/// As many bits as tell apart the events of a part of a log, most of them, and stay in the first cache.
const BITS: u32 = 16;

/// Stamps (`SECONDS.MILLIS:SERIAL`) that were noted. Some others may seem to have been: nothing but time is lost with
/// them.
pub(super) struct Stamps(Vec<u64>);

impl Default for Stamps {
    fn default() -> Self {
        Self(vec![0; 1 << (BITS - 6)])
    }
}

impl Stamps {
    /// Notes those of lines that have one of the texts, and nothing else. Whether there are any such lines.
    ///
    /// No other event can be wanted. Where many events are, this saves putting the others together.
    pub(super) fn note(&mut self, texts: &AnyOf, log: &[u8]) -> bool {
        self.0.fill(0);
        let mut any = false;
        texts.lines(log, |line| {
            any = true;
            if let Some((word, bit)) = place(line) {
                self.0[word] |= bit;
            }
        });
        any
    }

    /// Whether the stamp of a line may have been noted; so it may of a line without any, about which there is something
    /// to tell.
    pub(super) fn may_have(&self, line: &[u8]) -> bool {
        place(line).is_none_or(|(word, bit)| self.0[word] & bit != 0)
    }
}

/// Where the bit of a line's event is: by the last bytes before the first `)`, the end of the stamp, which are those
/// that differ.
fn place(line: &[u8]) -> Option<(usize, u64)> {
    /// 2^64 divided by the golden ratio: spreads numbers that follow each other (Knuth, 6.4).
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let end = memchr::memchr(b')', line)?;
    let last = u64::from_le_bytes(*line[..end].last_chunk()?);
    let bit = last.wrapping_mul(SPREAD) >> (u64::BITS - BITS);
    Some(((bit >> 6) as usize, 1 << (bit & 63)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_event_are_noted_and_most_others_not() {
        let line =
            |record_type: &str, serial: u32| format!("type={record_type} msg=audit(1795503850.123:{serial}): x=y(z)");
        let log: String = (0..500).map(|serial| line("SYSCALL", serial * 10) + "\n").collect();
        let mut stamps = Stamps::default();
        assert!(!stamps.note(&["none"].iter().collect(), log.as_bytes()));
        assert!(stamps.note(&["x=y"].iter().collect(), log.as_bytes()));
        assert!((0..500).all(|serial| stamps.may_have(line("PATH", serial * 10).as_bytes())));
        assert!(stamps.may_have(b"no record"));
        let others = (0..5000_u32).filter(|serial| !serial.is_multiple_of(10));
        let seeming = others.filter(|serial| stamps.may_have(line("PATH", *serial).as_bytes())).count();
        assert!(seeming < 100, "{seeming}");
    }
}
