//! A line into words, by the rules of auditctl's rule files: words end at spaces (not tabs), there are no quotes,
//! `\ ` is a space inside a word and `\\` a backslash, and a line whose first word begins with `#` is a comment.

use crate::source::Span;

/// A word and where it stands. Bytes of the word are not those of the line where it has escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// With escapes resolved.
    pub bytes: Vec<u8>,
    /// In the line, escapes included.
    pub span: Span,
    /// For each byte, where it starts in the line.
    offsets: Vec<usize>,
}

impl Word {
    /// Part of this word, with its place in the line.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let end = end.min(self.bytes.len());
        let start = start.min(end);
        let place = |index: usize| self.offsets.get(index).copied().unwrap_or(self.span.end);
        Self {
            bytes: self.bytes.get(start..end).unwrap_or_default().to_vec(),
            span: Span::new(place(start), place(end)),
            offsets: self.offsets.get(start..end).unwrap_or_default().to_vec(),
        }
    }

    /// From `start` to the end.
    #[must_use]
    pub fn from(&self, start: usize) -> Self {
        self.slice(start, self.bytes.len())
    }

    /// As text; what is not UTF-8 becomes replacement characters, so use it for names and messages only.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Pieces between commas, empty ones left out.
    pub fn comma_separated(&self) -> impl Iterator<Item = Self> + '_ {
        let mut start = 0;
        let pieces = self.bytes.split(|byte| *byte == b',').map(move |piece| {
            let piece_start = start;
            start += piece.len() + 1;
            (piece_start, piece_start + piece.len())
        });
        pieces.filter(|(start, end)| start != end).map(|(start, end)| self.slice(start, end))
    }
}

/// The words of a line; none for a blank line or a comment.
#[must_use]
pub fn words(line: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(word) = next_word(line, &mut at) {
        words.push(word);
    }
    if words.first().is_some_and(|word| word.bytes.starts_with(b"#")) {
        words.clear();
    }
    words
}

fn next_word(line: &[u8], at: &mut usize) -> Option<Word> {
    while line.get(*at) == Some(&b' ') {
        *at += 1;
    }
    let start = *at;
    let mut word = Word { bytes: Vec::new(), span: Span::new(start, start), offsets: Vec::new() };
    while let Some(byte) = line.get(*at).copied().filter(|byte| *byte != b' ') {
        let escaped = line.get(*at + 1).copied().filter(|next| byte == b'\\' && matches!(next, b' ' | b'\\'));
        word.offsets.push(*at);
        word.bytes.push(escaped.unwrap_or(byte));
        *at += if escaped.is_some() { 2 } else { 1 };
    }
    word.span.end = *at;
    (word.span.start != word.span.end).then_some(word)
}

/// One word as a rule file must write it.
#[must_use]
pub fn escape(word: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(word.len());
    for byte in word {
        if matches!(byte, b' ' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line.as_bytes()).iter().map(Word::text).collect()
    }

    #[test]
    fn spaces_split_and_nothing_else() {
        assert_eq!(texts("  -w /a\tb  -k \"x y\" "), ["-w", "/a\tb", "-k", "\"x", "y\""]);
        assert!(texts("   # -D").is_empty());
        assert!(texts("").is_empty());
        assert_eq!(texts("-D #x"), ["-D", "#x"]);
    }

    #[test]
    fn backslash_takes_a_space_or_a_backslash() {
        assert_eq!(texts(r"-w /tmp/a\ b\\c\d\"), ["-w", r"/tmp/a b\c\d\"]);
    }

    #[test]
    fn slices_know_their_place_behind_escapes() {
        let word = &words(br"-F dir=/a\ b=c")[1];
        let tail = word.from(8);
        assert_eq!((tail.text().as_str(), tail.span), ("=c", Span::new(12, 14)));
    }

    #[test]
    fn commas_leave_out_empty_pieces() {
        let word = &words(b"-S ,open,,close")[1];
        let pieces: Vec<_> = word.comma_separated().map(|piece| (piece.text(), piece.span.start)).collect();
        assert_eq!(pieces, [("open".to_owned(), 4), ("close".to_owned(), 10)]);
    }

    #[test]
    fn escaping_leads_back() {
        for word in [&b"/a b"[..], br"\", br"a\ b", b"x"] {
            assert_eq!(words(&escape(word))[0].bytes, word);
        }
    }
}
