//! Whether a text is anywhere in a range of a log.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::sieve::AnyOf;

/// What is read at once: it stays in a processor's second cache while texts are looked for in it.
const STEP: usize = 128 << 10;

/// Looks through little memory, where it is all the same what the log has there once no text is found.
#[derive(Default)]
pub(super) struct Glimpse(Vec<u8>);

impl Glimpse {
    /// Whether one of the texts is in the range, or as much of it as the log has.
    pub(super) fn finds(&mut self, texts: &AnyOf, log: &File, range: Range<u64>) -> io::Result<bool> {
        // A text may stand across two steps.
        let kept = texts.longest().saturating_sub(1);
        self.0.resize(kept + STEP, 0);
        let (mut at, mut filled) = (range.start, 0);
        while at < range.end {
            let wanted = usize::try_from(range.end - at).map_or(STEP, |left| left.min(STEP));
            let count = match log.read_at(&mut self.0[filled..filled + wanted], at) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            (at, filled) = (at + count as u64, filled + count);
            if texts.is_in(&self.0[..filled]) {
                return Ok(true);
            }
            let rest = filled.saturating_sub(kept)..filled;
            filled = rest.len();
            self.0.copy_within(rest, 0);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_stands_in_the_range_and_nowhere_else() {
        const TEXT: &str = "key=\"shadow\"";
        let texts: AnyOf = [TEXT, "x"].iter().collect();
        let mut glimpse = Glimpse::default();
        for start in [0, 1, STEP - TEXT.len(), STEP - 5, STEP, 2 * STEP - 1, 3 * STEP - TEXT.len()] {
            let mut bytes = vec![b'.'; 3 * STEP];
            bytes[start..start + TEXT.len()].copy_from_slice(TEXT.as_bytes());
            let mut log = tempfile::tempfile().unwrap();
            log.write_all(&bytes).unwrap();
            let (begin, end) = (start as u64, (start + TEXT.len()) as u64);
            for (range, finds) in
                [(0..u64::MAX, true), (begin..end, true), (begin + 1..u64::MAX, false), (0..end - 1, false)]
            {
                assert_eq!(glimpse.finds(&texts, &log, range.clone()).unwrap(), finds, "at {start}, in {range:?}");
            }
        }
    }
}
