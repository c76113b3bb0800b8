//! What is wrong, where, and what was likely meant.

use std::fmt;
use std::sync::Arc;

use crate::lexer::Word;
use crate::source::{Line, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The rule loads, and may not do what its author thinks.
    Warning,
    /// The rule cannot load.
    Error,
}

/// A stable name for each kind of diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// An option that auditctl does not have.
    UnknownOption,
    /// An option without its argument.
    MissingArgument,
    /// A word that belongs to no option.
    StrayWord,
    /// A line longer than auditctl reads, or with a NUL byte.
    BadLine,
    /// A `-a` that is not a list and an action.
    BadKeyword,
    /// Options that exclude each other, or come in the wrong order.
    BadCombination,
    /// A `-F` without an operator, name or value.
    BadField,
    /// A field that does not exist.
    UnknownField,
    /// A field on a list where it cannot stand.
    WrongList,
    /// An operator that the field does not take.
    WrongOperator,
    /// A value that the field does not take.
    BadValue,
    /// A syscall, or io_uring operation, that does not exist.
    UnknownSyscall,
    /// A user or group that does not exist.
    UnknownName,
    /// A `-C` of fields that cannot be compared.
    BadComparison,
    /// More, or longer, than audit allows.
    Limit,
    /// A path that can never match.
    BadPath,
    /// A path that is not there.
    MissingPath,
    /// A number that means another syscall on the other ABI.
    ArchMismatch,
    /// A rule that is there already.
    Duplicate,
    /// A rule to delete that is not there.
    NoSuchRule,
    /// A rule that an earlier one always decides.
    Shadowed,
    /// A rule because of which others refuse less than they say.
    Exempts,
    /// A test that can never hold.
    NeverMatches,
    /// A refusal that could not be made before the act.
    CannotDeny,
    /// Something that this engine, or this host, cannot do.
    Unsupported,
}

impl Code {
    /// As printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownOption => "unknown-option",
            Self::MissingArgument => "missing-argument",
            Self::StrayWord => "stray-word",
            Self::BadLine => "bad-line",
            Self::BadKeyword => "bad-keyword",
            Self::BadCombination => "bad-combination",
            Self::BadField => "bad-field",
            Self::UnknownField => "unknown-field",
            Self::WrongList => "wrong-list",
            Self::WrongOperator => "wrong-operator",
            Self::BadValue => "bad-value",
            Self::UnknownSyscall => "unknown-syscall",
            Self::UnknownName => "unknown-name",
            Self::BadComparison => "bad-comparison",
            Self::Limit => "limit",
            Self::BadPath => "bad-path",
            Self::MissingPath => "missing-path",
            Self::ArchMismatch => "arch-mismatch",
            Self::Duplicate => "duplicate",
            Self::NoSuchRule => "no-such-rule",
            Self::Shadowed => "shadowed",
            Self::Exempts => "exempts",
            Self::NeverMatches => "never-matches",
            Self::CannotDeny => "cannot-deny",
            Self::Unsupported => "unsupported",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Which kind.
    pub code: Code,
    /// The line it is about.
    pub line: Arc<Line>,
    /// The part of the line.
    pub span: Span,
    /// What is wrong; auditctl's own words where it has any.
    pub message: String,
    /// What was likely meant, or what to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// The rule cannot load.
    pub fn error(line: &Arc<Line>, span: Span, code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, line: Arc::clone(line), span, message: message.into(), hint: None }
    }

    /// The rule loads, and may not do what its author thinks.
    pub fn warning(line: &Arc<Line>, span: Span, code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(line, span, code, message) }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the nearest of the names that would do, if one is near.
    #[must_use]
    pub fn did_you_mean<'a>(mut self, word: &Word, names: impl IntoIterator<Item = &'a str>) -> Self {
        if let Some(name) = nearest(&word.text(), names) {
            self.hint = Some(format!("did you mean `{name}`?"));
        }
        self
    }

    /// 1-based column, in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        characters(&self.line.text, 0, self.span.start) + 1
    }
}

/// `file:line:col: error: message [code]`, the line, a caret under the place, and the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line.origin.file {
            Some(file) => write!(
                out,
                "{}:{}:{}: ",
                visible(file.as_os_str().as_encoded_bytes()),
                self.line.origin.line,
                self.column()
            )?,
            None => write!(out, "{}: ", self.column())?,
        }
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        writeln!(out, "{severity}: {} [{}]", visible(self.message.as_bytes()), self.code.name())?;
        let (line, column, width) = self.excerpt();
        writeln!(out, "    {line}")?;
        write!(out, "    {}^{}", " ".repeat(column), "~".repeat(width.saturating_sub(1)))?;
        match &self.hint {
            Some(hint) => write!(out, "\n    hint: {}", visible(hint.as_bytes())),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    /// The part of the line around the place, and the place in it. Lines may be thousands of bytes long.
    fn excerpt(&self) -> (String, usize, usize) {
        const MOST: usize = 160;
        let line: Vec<char> = visible(&self.line.text).chars().collect();
        let column = self.column() - 1;
        let width = characters(&self.line.text, self.span.start, self.span.end);
        if line.len() <= MOST {
            return (line.into_iter().collect(), column, width);
        }
        let first = column.saturating_sub(MOST / 2).min(line.len() - MOST);
        let shown: String = line.iter().skip(first).take(MOST).collect();
        let before = if first > 0 { "..." } else { "" };
        let after = if first + MOST < line.len() { "..." } else { "" };
        let column = column - first;
        (format!("{before}{shown}{after}"), column + before.len(), width.min(MOST.saturating_sub(column)))
    }
}

/// Bytes as a terminal may see them: one character for each, none that moves the cursor.
fn visible(bytes: &[u8]) -> String {
    let character = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    String::from_utf8_lossy(bytes).chars().map(character).collect()
}

fn characters(line: &[u8], start: usize, end: usize) -> usize {
    let end = end.min(line.len());
    String::from_utf8_lossy(line.get(start.min(end)..end).unwrap_or_default()).chars().count()
}

/// The most similar name, if similar enough to be a slip.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let distance = |name: &&str| strsim::damerau_levenshtein(&word, &name.to_ascii_lowercase());
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let scored = names.into_iter().filter(|name| name.len().abs_diff(word.len()) <= allowed);
    let best = scored.map(|name| (distance(&name), name)).min_by_key(|scored| scored.0)?;
    (best.0 <= allowed).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Origin;

    fn line(text: &str) -> Arc<Line> {
        Arc::new(Line { origin: Origin { file: Some("10.rules".into()), line: 3 }, text: text.into() })
    }

    #[test]
    fn points_at_the_place() {
        let line = line("-a always,exit -F audi=0");
        let error = Diagnostic::error(&line, Span::new(18, 22), Code::UnknownField, "-F unknown field: audi");
        let expected = "10.rules:3:19: error: -F unknown field: audi [unknown-field]
    -a always,exit -F audi=0
                      ^~~~
    hint: did you mean `auid`?";
        assert_eq!(error.hint("did you mean `auid`?").to_string(), expected);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let line = line("-k \u{1b}[2J\t");
        let shown = Diagnostic::error(&line, Span::new(3, 4), Code::BadValue, "bad \u{1b}").to_string();
        assert!(!shown.contains('\u{1b}') && !shown.contains('\t'), "{shown:?}");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("-S {}bad", "open,".repeat(200));
        let line = line(&text);
        let end = text.len();
        let shown = Diagnostic::error(&line, Span::new(end - 3, end), Code::UnknownSyscall, "bad").to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[1].len() < 180 && lines[1].ends_with("bad"));
        assert_eq!(lines[2].len(), lines[1].len());
    }

    #[test]
    fn nearest_name_must_be_near() {
        assert_eq!(nearest("opne", ["open", "openat"]), Some("open"));
        assert_eq!(nearest("frobnicate", ["open", "openat"]), None);
    }
}
