//! Bytes as text, and back.
//!
//! File names and arguments are bytes; JSON and terminals want Unicode. Valid UTF-8 stays as it is, a byte that is not
//! part of any valid sequence becomes `\xNN` (two lower-case hex digits), and a backslash is always doubled. So every
//! name has exactly one spelling, and [`unescape`] gives its bytes back.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use serde::{Serialize, Serializer};

/// Bytes that display (and serialise) in the escaped spelling, without a copy where nothing needs escaping.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl<'a> Escaped<'a> {
    /// The bytes themselves, where they are their own spelling.
    fn plain(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok().filter(|text| !text.contains('\\'))
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut parts = chunk.valid().split('\\');
            out.write_str(parts.next().unwrap_or_default())?;
            for part in parts {
                out.write_str("\\\\")?;
                out.write_str(part)?;
            }
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Escaped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.plain() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

/// Spells bytes as text.
///
/// ```
/// assert_eq!(output::escape::escape(b"caf\xc3\xa9"), "café");
/// assert_eq!(output::escape::escape(b"caf\xe9 \\"), r"caf\xe9 \\");
/// ```
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    match Escaped(bytes).plain() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(Escaped(bytes).to_string()),
    }
}

/// A backslash that begins neither `\\` nor `\xNN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backslash at byte {offset} begins neither `\\\\` nor `\\xNN`")]
pub struct UnescapeError {
    /// Where the backslash is.
    pub offset: usize,
}

/// Gives back the bytes that [`escape`] spelled.
pub fn unescape(text: &str) -> Result<Vec<u8>, UnescapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let offset = text.len() - rest.len() + at;
        bytes.extend_from_slice(&rest[..at]);
        rest = match &rest[at + 1..] {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                after
            }
            [b'x', high, low, after @ ..] => {
                bytes.push(hex_pair(*high, *low).ok_or(UnescapeError { offset })?);
                after
            }
            _ => return Err(UnescapeError { offset }),
        };
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Bytes for a terminal: escaped as above, and whatever could move the cursor, change colours or reorder text is
/// spelled `\u{...}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printable<'a>(pub(crate) &'a [u8]);

impl Display for Printable<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most bytes stand for themselves: those are written in one go.
        let stands = |byte| matches!(byte, b' '..=b'[' | b']'..=b'~');
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.bytes().position(|byte| !stands(byte)) {
                let (plain, special) = rest.split_at(at);
                out.write_str(plain)?;
                let mut characters = special.chars();
                match characters.next() {
                    Some('\\') => out.write_str("\\\\")?,
                    Some('\n') => out.write_str("\\n")?,
                    Some('\t') => out.write_str("\\t")?,
                    Some(unsafe_char) if acts_on_terminal(unsafe_char) => {
                        write!(out, "{}", unsafe_char.escape_unicode())?;
                    }
                    Some(character) => out.write_char(character)?,
                    None => {}
                }
                rest = characters.as_str();
            }
            out.write_str(rest)?;
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// C0, DEL, C1, line and paragraph separators, and the marks that reorder or hide what is displayed.
fn acts_on_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_reads_as_it_is_wherever_it_can() {
        assert!(matches!(escape("/tmp/naïve file".as_bytes()), Cow::Borrowed("/tmp/naïve file")));
        assert_eq!(escape(b"a\\b"), r"a\\b");
        assert_eq!(escape(b"\xff\xfe"), r"\xff\xfe");
        assert_eq!(escape(b"\\xff"), r"\\xff", "a literal \\xff must not read as the byte");
    }

    #[test]
    fn spellings_that_escape_never_makes_are_refused() {
        assert_eq!(unescape(r"ab\"), Err(UnescapeError { offset: 2 }));
        assert_eq!(unescape(r"\\\n"), Err(UnescapeError { offset: 2 }));
        assert_eq!(unescape(r"\xg0"), Err(UnescapeError { offset: 0 }));
        assert_eq!(unescape(r"\x0"), Err(UnescapeError { offset: 0 }));
    }

    #[test]
    fn nothing_reaches_a_terminal_that_acts_on_it() {
        let hostile = "\x1b[2J\u{9b}31m\x07\r\n\u{202e}gnp.exe\u{feff}\x7f";
        let shown = Printable(hostile.as_bytes()).to_string();
        assert_eq!(shown, "\\u{1b}[2J\\u{9b}31m\\u{7}\\u{d}\\n\\u{202e}gnp.exe\\u{feff}\\u{7f}");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(bytes in prop::collection::vec(prop_oneof![Just(b'\\'), Just(b'x'), any::<u8>()], 0..64)) {
            prop_assert_eq!(unescape(&escape(&bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_breaks_unescape(text in ".*") {
            if let Ok(bytes) = unescape(&text) {
                prop_assert_eq!(unescape(&escape(&bytes)), Ok(bytes));
            }
        }

        #[test]
        fn printable_is_printable(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!Printable(&bytes).to_string().chars().any(acts_on_terminal));
        }
    }
}
