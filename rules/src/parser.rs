//! Words into [`Statement`]s, the way getopt_long reads them: `-k x`, `-kx`, `--signal x`, `--signal=x`, and long names cut
//! short where that is unambiguous.

use std::sync::Arc;

use tables::Op;

use crate::ast::{Expression, Flag, OPTIONS, OptionRow, Part, Statement, Takes, Value};
use crate::diagnostic::{Code, Diagnostic};
use crate::lexer::{Word, words};
use crate::source::{Line, Span};

/// auditctl's limit for a line of a rule file.
const LINE_MAX: usize = 6144;

/// A line; `None` when blank or a comment.
///
/// # Errors
/// Everything that is wrong with it as far as options go.
pub fn parse_line(line: &Arc<Line>) -> Result<Option<Statement>, Vec<Diagnostic>> {
    let words = words(&line.text);
    if words.is_empty() {
        return Ok(None);
    }
    if let Some(error) = bad_line(line) {
        return Err(vec![error]);
    }
    let mut parser = Parser { line, words: &words, next: 0, parts: Vec::new(), errors: Vec::new() };
    while let Some(word) = parser.take() {
        parser.word(word);
    }
    let Parser { parts, errors, .. } = parser;
    if errors.is_empty() { Ok(Some(Statement { line: Arc::clone(line), parts })) } else { Err(errors) }
}

fn bad_line(line: &Arc<Line>) -> Option<Diagnostic> {
    let nul = line.text.iter().position(|byte| *byte == 0);
    let at = |start, message: &str| Diagnostic::error(line, Span::new(start, start + 1), Code::BadLine, message);
    if let Some(nul) = nul {
        return Some(at(nul, "the line contains a NUL byte"));
    }
    let message = format!("the line is longer than {LINE_MAX} bytes");
    (line.text.len() > LINE_MAX).then(|| at(LINE_MAX, &message).hint("split it into several rules with the same key"))
}

struct Parser<'a> {
    line: &'a Arc<Line>,
    words: &'a [Word],
    next: usize,
    parts: Vec<Part>,
    errors: Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Option<&'a Word> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    fn fail(&mut self, span: Span, code: Code, message: impl Into<String>) -> &mut Diagnostic {
        self.errors.push(Diagnostic::error(self.line, span, code, message));
        // Pushed on the line above.
        let last = self.errors.len() - 1;
        &mut self.errors[last]
    }

    fn word(&mut self, word: &'a Word) {
        match word.bytes.as_slice() {
            [b'-', b'-', _, ..] => self.long_option(word),
            [b'-', letter, ..] if *letter != b'-' => self.short_options(word),
            _ => self.stray(word),
        }
    }

    fn stray(&mut self, word: &Word) {
        let message = match self.parts.first().map(|part| part.flag) {
            Some(Flag::DeleteAll) => "Wrong number of options for Delete all request",
            Some(Flag::List) => "Only -k or -i options are allowed",
            Some(Flag::Status) if self.words.len() > 2 => "Too many options for status command",
            Some(Flag::Status) => "Only -i option is allowed",
            _ => "parameter passed without an option given",
        };
        let error = self.fail(word.span, Code::StrayWord, message);
        if word.bytes.contains(&b'"') || word.bytes.contains(&b'\'') {
            error.hint = Some("there are no quotes in rule files: write a space inside a word as `\\ `".into());
        }
    }

    fn unknown(&mut self, word: &Word, option: &str) {
        let hint = if word.bytes.contains(&b'\t') {
            Some("words end at spaces only, and this one has a tab in it".into())
        } else {
            None
        };
        self.fail(word.span, Code::UnknownOption, format!("Option {option} is invalid")).hint = hint;
    }

    /// One word may hold several options, the last of them with its argument.
    fn short_options(&mut self, word: &'a Word) {
        for index in 1..word.bytes.len() {
            let letter = word.bytes[index];
            let Some(row) = OPTIONS.iter().find(|row| row.short == Some(letter)) else {
                self.unknown(word, &format!("-{}", char::from(letter)));
                let other =
                    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
                if OPTIONS.iter().any(|row| row.short == Some(other))
                    && let Some(error) = self.errors.last_mut()
                {
                    error.hint.get_or_insert_with(|| format!("did you mean `-{}`?", char::from(other)));
                }
                return;
            };
            if row.takes == Takes::Nothing {
                self.parts.push(Part { flag: row.flag, span: word.span, value: Value::None });
                continue;
            }
            let attached = word.from(index + 1);
            let argument = if attached.bytes.is_empty() { self.take().cloned() } else { Some(attached) };
            self.argument(word, row, argument);
            return;
        }
    }

    fn long_option(&mut self, word: &'a Word) {
        let equals = word.bytes.iter().position(|byte| *byte == b'=');
        let name = word.slice(2, equals.unwrap_or(word.bytes.len())).text();
        let Some(row) = long_row(&name) else {
            self.unknown(word, &format!("--{name}"));
            let names = OPTIONS.iter().filter_map(|row| row.long);
            if let Some(error) = self.errors.pop() {
                self.errors.push(error.did_you_mean(&word.slice(2, equals.unwrap_or(word.bytes.len())), names));
            }
            return;
        };
        let attached = equals.map(|equals| word.from(equals + 1));
        match (row.takes, attached) {
            (Takes::Nothing, None) => {
                self.parts.push(Part { flag: row.flag, span: word.span, value: Value::None });
            }
            (Takes::Nothing, Some(_)) => self.unknown(word, &format!("--{name}")),
            (_, attached) => {
                let argument = attached.or_else(|| self.take().cloned());
                self.argument(word, row, argument);
            }
        }
    }

    fn argument(&mut self, option: &Word, row: &OptionRow, argument: Option<Word>) {
        let Some(argument) = argument else {
            let name = option.text();
            let message = match self.parts.first().map(|part| part.flag) {
                Some(Flag::DeleteAll) => "Wrong number of options for Delete all request".to_owned(),
                _ => format!("Option {name} is invalid"),
            };
            self.fail(option.span, Code::MissingArgument, message).hint = Some(format!("{name} takes an argument"));
            return;
        };
        let span = option.span.to(argument.span);
        let value = match row.takes {
            Takes::Expression => match self.expression(row.flag, argument) {
                Some(expression) => Value::Expression(expression),
                None => return,
            },
            _ => Value::Word(argument),
        };
        self.parts.push(Part { flag: row.flag, span, value });
    }

    fn expression(&mut self, flag: Flag, whole: Word) -> Option<Expression> {
        let text = whole.text();
        let Some((op, at)) = find_operator(&whole.bytes) else {
            let (code, message) = if flag == Flag::Compare {
                (Code::BadComparison, format!("{text} only takes = or != operators"))
            } else {
                (Code::BadField, format!("-F missing operation for {text}"))
            };
            self.fail(whole.span, code, message).hint = Some("write it without spaces: name, operator, value".into());
            return None;
        };
        let after = at + op.symbol().len();
        let (name, value) = (whole.slice(0, at), whole.from(after));
        let op_span = whole.slice(at, after).span;
        if name.bytes.is_empty() {
            self.fail(whole.span, Code::BadField, "-F missing field name before operator for ");
            return None;
        }
        if value.bytes.is_empty() {
            let message = format!("-F missing value after operation for {}", name.text());
            self.fail(whole.span, Code::BadField, message);
            return None;
        }
        Some(Expression { whole, name, op, op_span, value })
    }
}

/// By its name or an unambiguous beginning of it.
fn long_row(name: &str) -> Option<&'static OptionRow> {
    let rows = || OPTIONS.iter().filter(|row| row.long.is_some_and(|long| long.starts_with(name)));
    rows().find(|row| row.long == Some(name)).or_else(|| (rows().count() == 1).then(|| rows().next()).flatten())
}

/// The leftmost operator, the longer of two that begin there. auditctl looks for `!=` anywhere before it looks for `=`, and
/// so refuses `path=/a!=b`; whatever it accepts splits the same here.
fn find_operator(text: &[u8]) -> Option<(Op, usize)> {
    (0..text.len()).find_map(|at| {
        let rest = text.get(at..)?;
        Op::SEARCH_ORDER.into_iter().find(|op| rest.starts_with(op.symbol().as_bytes())).map(|op| (op, at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    fn parse(text: &str) -> Result<Option<Statement>, Vec<Diagnostic>> {
        let line = Source { name: None, text: text.into() }.lines().next().unwrap();
        parse_line(&line)
    }

    fn parts(text: &str) -> Vec<(Flag, String)> {
        let statement = parse(text).unwrap().unwrap();
        let value = |value: &Value| match value {
            Value::None => String::new(),
            Value::Word(word) => word.text(),
            Value::Expression(e) => format!("{}|{}|{}", e.name.text(), e.op.symbol(), e.value.text()),
        };
        statement.parts.iter().map(|part| (part.flag, value(&part.value))).collect()
    }

    fn messages(text: &str) -> Vec<String> {
        parse(text).unwrap_err().into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn attached_and_separate_arguments() {
        let expected = [(Flag::Append, "always,exit"), (Flag::Syscalls, "open"), (Flag::Key, "x")];
        let expected: Vec<_> = expected.into_iter().map(|(flag, text)| (flag, text.to_owned())).collect();
        assert_eq!(parts("-a always,exit -S open -k x"), expected);
        assert_eq!(parts("-aalways,exit -Sopen -kx"), expected);
        assert_eq!(parts("-lkx")[1], (Flag::Key, "x".to_owned()));
        assert_eq!(parts("--backlog_wait=5"), [(Flag::BacklogWaitTime, "5".to_owned())]);
        assert_eq!(parts("--loginuid-immutable"), [(Flag::LoginuidImmutable, String::new())]);
    }

    #[test]
    fn leftmost_operator_splits() {
        assert_eq!(parts("-F auid>=1000")[0].1, "auid|>=|1000");
        assert_eq!(parts("-F a0&=0x10")[0].1, "a0|&=|0x10");
        assert_eq!(parts("-F path=/a>=b")[0].1, "path|=|/a>=b");
        assert_eq!(parts("-F exe!=/a=b")[0].1, "exe|!=|/a=b");
    }

    #[test]
    fn blank_lines_and_comments_say_nothing() {
        assert_eq!(parse("   "), Ok(None));
        assert_eq!(parse(" # -a"), Ok(None));
    }

    #[test]
    fn auditctl_words_for_what_is_no_option() {
        assert_eq!(messages("-a always,exit foo"), ["parameter passed without an option given"]);
        assert_eq!(messages("-S open -X"), ["Option -X is invalid"]);
        assert_eq!(messages("-S"), ["Option -S is invalid"]);
        assert_eq!(messages("--reset"), ["Option --reset is invalid"]);
        assert_eq!(messages("-F uid"), ["-F missing operation for uid"]);
        assert_eq!(messages("-F =1"), ["-F missing field name before operator for "]);
        assert_eq!(
            messages("-F uid= -F gid="),
            ["-F missing value after operation for uid", "-F missing value after operation for gid"]
        );
    }

    #[test]
    fn a_letter_in_the_other_case_is_suggested() {
        let hint = |text: &str| parse(text).unwrap_err().remove(0).hint;
        assert_eq!(hint("-S open -K x"), Some("did you mean `-k`?".to_owned()));
        assert_eq!(hint("-x"), None);
    }

    #[test]
    fn lines_that_cannot_be_read() {
        assert_eq!(messages("-k a\0b"), ["the line contains a NUL byte"]);
        assert_eq!(messages(&format!("-k {}", "x".repeat(6200)))[0], "the line is longer than 6144 bytes");
        assert_eq!(messages("-D\t"), ["Option -\t is invalid"]);
    }
}
