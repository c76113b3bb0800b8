//! Rule text and positions in it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::rule::Origin;

/// A rule file or command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file, or `None` for a command line.
    pub name: Option<PathBuf>,
    /// Its content; bytes, as file names need not be UTF-8.
    pub text: Vec<u8>,
}

/// One line of a source, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub origin: Origin,
    /// The line as written.
    pub text: Vec<u8>,
}

/// Bytes `start..end` of a [`Line`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// From `start` up to `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span around both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start.min(other.start), self.end.max(other.end))
    }
}

impl Source {
    /// Lines in order. A carriage return before the line end is dropped, as augenrules does.
    pub fn lines(&self) -> impl Iterator<Item = Arc<Line>> + '_ {
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        (1..).zip(text.split(|byte| *byte == b'\n')).map(|(line, text)| {
            let text = text.strip_suffix(b"\r").unwrap_or(text).to_vec();
            Arc::new(Line { origin: Origin { file: self.name.clone(), line }, text })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_of_both_kinds() {
        let source = Source { name: None, text: b"-D\r\n\n-e 1".to_vec() };
        let lines: Vec<_> = source.lines().map(|line| (line.origin.line, line.text.clone())).collect();
        assert_eq!(lines, [(1, b"-D".to_vec()), (2, Vec::new()), (3, b"-e 1".to_vec())]);
    }
}
