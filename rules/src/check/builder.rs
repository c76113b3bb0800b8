//! A rule, put together option by option in the order written: auditctl's answers depend on that order.

use std::sync::Arc;

use tables::{Action, Arch, Field, FilterList};

use crate::ast::{Flag, Part, Statement, Value};
use crate::command::Command;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::host::Host;
use crate::implication::contradiction;
use crate::lexer::Word;
use crate::refusal;
use crate::rule::{Fail, Rule, Syscalls, Test, Written};
use crate::source::{Line, Span};

use super::syscalls::Selection;
use super::{MissingPaths, fields};

/// auditctl stops one short of the kernel's 64.
const FIELDS_MAX: usize = 63;
/// All keys of a rule and a separator between each two.
const KEY_MAX: usize = 256;

pub(super) struct Builder<'a> {
    pub(super) line: &'a Arc<Line>,
    pub(super) host: &'a dyn Host,
    pub(super) missing: MissingPaths,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// `None` until `-a`, `-A`, `-d`, `-w` or `-W`.
    pub(super) list: Option<FilterList>,
    pub(super) watch: bool,
    pub(super) arch: Option<(Arch, bool)>,
    pub(super) arch_span: Option<Span>,
    pub(super) selection: Selection,
    pub(super) perm_after_arch: bool,
    pub(super) errno: Option<(u16, Span)>,
    pub(super) fail: Option<(Fail, Span)>,
    dry_run: Option<Span>,
    action: Action,
    head: Option<(Flag, Span)>,
    /// `possible`: eaten with a warning.
    discarded: bool,
    tests: Vec<(Test, Span)>,
    keys: Vec<Vec<u8>>,
    /// Of the last key.
    key_span: Option<Span>,
    /// Of the first `-F key`: unlike `-k` it may stand before what allows it.
    key_field: Option<Span>,
}

/// The rule of a statement, if it has one, and everything wrong with it.
pub(super) fn rule(
    statement: &Statement,
    host: &dyn Host,
    missing: MissingPaths,
) -> (Option<Command>, Vec<Diagnostic>) {
    let mut builder = Builder {
        line: &statement.line,
        host,
        missing,
        diagnostics: Vec::new(),
        list: None,
        watch: false,
        arch: None,
        arch_span: None,
        selection: Selection::default(),
        perm_after_arch: false,
        errno: None,
        fail: None,
        dry_run: None,
        action: Action::Always,
        head: None,
        discarded: false,
        tests: Vec::new(),
        keys: Vec::new(),
        key_span: None,
        key_field: None,
    };
    // `-S` may stand before the list it is for; `-F` and the others may not.
    let (early, rest) = statement.parts.split_at(statement.parts.iter().position(is_head).unwrap_or(0));
    let (early_syscalls, early): (Vec<_>, Vec<_>) = early.iter().partition(|part| part.flag == Flag::Syscalls);
    for part in early.into_iter().chain(rest.first()).chain(early_syscalls).chain(rest.iter().skip(1)) {
        builder.part(part);
    }
    builder.finish()
}

const fn is_head(part: &Part) -> bool {
    matches!(part.flag, Flag::Append | Flag::Prepend | Flag::Delete | Flag::Watch | Flag::RemoveWatch)
}

impl Builder<'_> {
    pub(super) fn error(&mut self, span: Span, code: Code, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(self.line, span, code, message));
    }

    pub(super) fn warn(&mut self, span: Span, code: Code, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(self.line, span, code, message));
    }

    /// A hint for the last diagnostic.
    pub(super) fn advise(&mut self, hint: &str) {
        if let Some(last) = self.diagnostics.last_mut() {
            last.hint = Some(hint.to_owned());
        }
    }

    /// The nearest name as a hint for the last diagnostic.
    pub(super) fn suggest<'n>(&mut self, word: &Word, names: impl IntoIterator<Item = &'n str>) {
        if let Some(last) = self.diagnostics.pop() {
            self.diagnostics.push(last.did_you_mean(word, names));
        }
    }

    pub(super) fn push(&mut self, test: Test, word: &Word) {
        if self.tests.len() + usize::from(self.arch.is_some()) >= FIELDS_MAX {
            self.error(word.span, Code::Limit, format!("Too many fields in rule: {}", word.text()));
            self.advise("split it into several rules with the same key");
            return;
        }
        self.tests.push((test, word.span));
    }

    fn part(&mut self, part: &Part) {
        match (part.flag, &part.value) {
            (Flag::Append | Flag::Prepend | Flag::Delete, Value::Word(word)) => self.list_and_action(part, word),
            (Flag::Watch | Flag::RemoveWatch, Value::Word(word)) => self.watch(part, word),
            (Flag::Permissions, Value::Word(word)) => self.permissions(word),
            (Flag::Key, Value::Word(word)) => self.key_option(part, word),
            (Flag::Syscalls, Value::Word(word)) => self.syscalls(word),
            (Flag::Action, Value::Word(word)) => self.watch_action(part, word),
            (Flag::DryRun, _) => self.dry_run = Some(part.span),
            (Flag::Field, Value::Expression(expression)) => self.field(expression),
            (Flag::Compare, Value::Expression(expression)) => self.compare(expression),
            _ => {}
        }
    }

    fn list_and_action(&mut self, part: &Part, word: &Word) {
        let verb = match part.flag {
            Flag::Append => "Append rule",
            Flag::Prepend => "Add rule",
            _ => "Delete rule",
        };
        if self.watch {
            self.error(word.span, Code::BadCombination, format!("{verb} - bad keyword {}", word.text()));
            return self.advise("a line holds one rule, and -w began one");
        }
        if self.head.is_some() {
            return self.error(
                part.span,
                Code::BadCombination,
                "Multiple rule insert/delete operations are not allowed",
            );
        }
        self.head = Some((part.flag, word.span));
        match list_and_action(word) {
            Ok((list, Some(action))) => {
                self.list = Some(list);
                self.action = action;
            }
            Ok((list, None)) => {
                self.list = Some(list);
                self.discarded = true;
                self.warn(word.span, Code::BadKeyword, format!("{verb} - possible is deprecated"));
            }
            Err(piece) => {
                // The rest of the line is checked as if for the usual list.
                self.list = Some(FilterList::Exit);
                self.error(word.span, Code::BadKeyword, format!("{verb} - bad keyword {}", word.text()));
                self.advise("a list and an action with one comma between and no spaces, such as always,exit");
                if let Some(piece) = piece {
                    let lists = FilterList::ALL.map(FilterList::name);
                    self.suggest(&piece, lists.into_iter().chain(Action::ALL.map(Action::name)));
                }
            }
        }
    }

    fn watch(&mut self, part: &Part, word: &Word) {
        if self.head.is_some() {
            return self.error(word.span, Code::BadCombination, "watch option can't be given with a syscall");
        }
        self.head = Some((part.flag, word.span));
        self.watch = true;
        self.list = Some(FilterList::Exit);
        self.watch_path(word);
    }

    fn permissions(&mut self, word: &Word) {
        if !self.tests.iter().any(|test| matches!(test.0, Test::Path(_) | Test::Dir(_))) {
            // A watch whose path is wrong has said so already.
            if !self.watch {
                let message = "permission option needs a watch given prior to it";
                self.error(word.span, Code::BadCombination, message);
            }
            return;
        }
        if word.bytes.len() > 4 {
            return self.error(word.span, Code::BadValue, format!("permission {} is too long", word.text()));
        }
        let Some(perm) = fields::perm(word) else {
            let wrong = word.text().chars().find(|letter| tables::Perm::from_letter(*letter).is_none());
            let wrong = wrong.unwrap_or_default();
            self.error(word.span, Code::BadValue, format!("Permission {wrong} isn't supported"));
            return self.advise("letters of rwxa: read, write, execute, change attributes");
        };
        match self.tests.iter_mut().find(|test| matches!(test.0, Test::Perm(_))) {
            Some(test) => *test = (Test::Perm(perm), word.span),
            None => self.tests.push((Test::Perm(perm), word.span)),
        }
    }

    fn watch_action(&mut self, part: &Part, word: &Word) {
        let action = Action::from_name(&word.text()).filter(|action| *action != Action::Never);
        match action {
            Some(_) if !self.watch => {
                self.error(part.span, Code::BadCombination, "--action is for watches");
                self.advise("with -a the action stands beside the list, as in -a deny,exit");
            }
            Some(action) => self.action = action,
            None => {
                self.error(word.span, Code::BadKeyword, format!("bad action {}", word.text()));
                self.suggest(word, ["always", "deny", "kill"]);
            }
        }
    }

    fn key_option(&mut self, part: &Part, word: &Word) {
        if self.takes_key() && self.list == Some(FilterList::Exclude) {
            return self.error(part.span, Code::WrongList, fields::EXCLUDE_FIELDS);
        }
        if self.takes_key() {
            return self.key(word);
        }
        self.error(part.span, Code::BadCombination, "key option needs a watch or syscall given prior to it");
    }

    pub(super) fn key_of_field(&mut self, word: &Word) {
        self.key_field = self.key_field.or(Some(word.span));
        self.key(word);
    }

    /// Whether what came before allows a key.
    fn takes_key(&self) -> bool {
        let object = |test: &Test| match test.field() {
            Some(Field::Path | Field::Dir | Field::Exe | Field::Perm | Field::Fstype) => true,
            Some(_) | None => false,
        };
        self.watch || self.selection.is_given() || self.tests.iter().any(|test| object(&test.0))
    }

    fn key(&mut self, word: &Word) {
        if word.bytes.contains(&1) {
            return self.error(word.span, Code::BadValue, format!("key {} has illegal character", word.text()));
        }
        let length = self.keys.iter().map(|key| key.len() + 1).sum::<usize>() + word.bytes.len();
        if length > KEY_MAX {
            return self.error(word.span, Code::Limit, "key option exceeds size limit");
        }
        if !word.bytes.is_empty() {
            self.keys.push(word.bytes.clone());
            self.key_span = Some(word.span);
        }
    }

    fn finish(mut self) -> (Option<Command>, Vec<Diagnostic>) {
        self.check_extensions();
        let Some((flag, head)) = self.head else { return (None, self.diagnostics) };
        self.check_whole();
        let failed = self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let (Some(list), false) = (self.list, failed || self.discarded) else { return (None, self.diagnostics) };
        let (mut syscalls, named) = self.selection.finish();
        if self.perm_after_arch && syscalls == Syscalls::All {
            syscalls = Syscalls::OfPerm;
        }
        let (tests, test_spans) = self.tests.into_iter().unzip();
        let rule = Rule {
            list,
            action: self.action,
            arch: self.arch,
            syscalls,
            tests,
            errno: self.errno.map(|errno| errno.0),
            fail: self.fail.map(|fail| fail.0),
            dry_run: self.dry_run.is_some(),
            keys: self.keys,
            origin: self.line.origin.clone(),
            written: Written {
                line: Arc::clone(self.line),
                head,
                arch: self.arch_span,
                syscalls: named,
                tests: test_spans,
                errno: self.errno.map(|errno| errno.1),
                fail: self.fail.map(|fail| fail.1),
                watch: self.watch,
            },
        };
        self.diagnostics.extend(refusal::diagnose(&rule));
        self.diagnostics.extend(never_matches(&rule));
        let command = match flag {
            Flag::Prepend => Command::Prepend(rule),
            Flag::Delete | Flag::RemoveWatch => Command::Delete(rule),
            _ => Command::Append(rule),
        };
        (Some(command), self.diagnostics)
    }

    /// What can be said only once all options are known.
    fn check_whole(&mut self) {
        let is_object = |test: &Test| matches!(test.field(), Some(Field::Path | Field::Dir | Field::Inode));
        let is_program = |test: &Test| test.field() == Some(Field::Exe);
        self.at_most_one(is_object, "a rule takes one path, dir or inode");
        self.at_most_one(is_program, "a rule takes one exe");
        // All keys are one field, which auditctl adds last.
        let fields = self.tests.len() + usize::from(self.arch.is_some()) + usize::from(self.key_span.is_some());
        if let Some(span) = self.key_span.filter(|_| fields > FIELDS_MAX) {
            let key = String::from_utf8_lossy(&self.keys.concat()).into_owned();
            self.error(span, Code::Limit, format!("Too many fields in rule: key={key}"));
        }
        if let Some(span) = self.key_field.filter(|_| !self.takes_key()) {
            let message = "Key field needs a watch, syscall or exe path given prior to it";
            self.error(span, Code::BadCombination, message);
        }
    }

    /// What only some actions have a use for.
    fn check_extensions(&mut self) {
        if let Some((_, span)) = self.fail.filter(|_| self.action == Action::Never) {
            self.error(span, Code::BadCombination, "fail is for rules that record or refuse");
        }
        if self.action.refuses() {
            return;
        }
        if let Some((_, span)) = self.errno {
            self.error(span, Code::BadCombination, "errno is for rules whose action is deny or kill");
        }
        if let Some(span) = self.dry_run {
            self.error(span, Code::BadCombination, "--dry-run is for rules whose action is deny or kill");
        }
    }

    fn at_most_one(&mut self, which: impl Fn(&Test) -> bool, message: &str) {
        let second = self.tests.iter().filter(|test| which(&test.0)).nth(1).map(|test| test.1);
        if let Some(span) = second {
            let message = format!("Error sending add rule data request (Invalid argument): {message}");
            self.error(span, Code::BadCombination, message);
            self.advise("write one rule for each");
        }
    }
}

/// A warning about the first test because of which the rule can match nothing.
fn never_matches(rule: &Rule) -> Option<Diagnostic> {
    let (first, second) = contradiction(&rule.tests)?;
    let written = &rule.written;
    let text = |index: usize| {
        let span = written.test(index);
        String::from_utf8_lossy(written.line.text.get(span.start..span.end).unwrap_or_default()).into_owned()
    };
    let is_of = |field: Field| rule.tests.get(second).and_then(Test::field) == Some(field);
    let message = if first == second && is_of(Field::Success) {
        format!("{} never holds: write success=1 or success=0", text(first))
    } else if first == second {
        format!("{} never holds: the kernel compares unsigned numbers of 32 bits", text(first))
    } else {
        format!("{} never holds together with {}", text(second), text(first))
    };
    let warning = Diagnostic::warning(&written.line, written.test(second), Code::NeverMatches, message);
    Some(if is_of(Field::Exit) && first == second {
        warning.hint("write success=0 for calls that failed")
    } else {
        warning
    })
}

/// List and action in either order, with exactly one comma. No action for `possible`; the piece that is neither, if
/// that is what is wrong.
fn list_and_action(word: &Word) -> Result<(FilterList, Option<Action>), Option<Word>> {
    let comma = word.bytes.iter().position(|byte| *byte == b',').ok_or(None)?;
    let (one, other) = (word.slice(0, comma), word.from(comma + 1));
    let (list, action) = match (FilterList::from_name(&one.text()), FilterList::from_name(&other.text())) {
        (Some(list), None) => (list, other),
        (None, Some(list)) => (list, one),
        (None, None) if Action::from_name(&one.text()).is_some() => return Err(Some(other)),
        (None, None) => return Err(Some(one)),
        (Some(_), Some(_)) => return Err(None),
    };
    if action.text().eq_ignore_ascii_case("possible") {
        return Ok((list, None));
    }
    Action::from_name(&action.text()).map(|found| (list, Some(found))).ok_or(Some(action))
}
