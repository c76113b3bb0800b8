//! A rule line as written: options in order, with their places. Nothing is looked up yet.

use std::sync::Arc;

use tables::Op;

use crate::lexer::Word;
use crate::source::{Line, Span};

/// One line that is not blank and not a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The line.
    pub line: Arc<Line>,
    /// Its options, at least one.
    pub parts: Vec<Part>,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub flag: Flag,
    /// The option and its argument.
    pub span: Span,
    /// What was given to it.
    pub value: Value,
}

/// The argument of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The option takes none.
    None,
    /// One word.
    Word(Word),
    /// `-F` and `-C`: name, operator, value.
    Expression(Expression),
}

/// `field op value`, split at the leftmost operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// All of it.
    pub whole: Word,
    /// Left of the operator.
    pub name: Word,
    /// The operator.
    pub op: Op,
    /// Its place.
    pub op_span: Span,
    /// Right of the operator.
    pub value: Word,
}

/// An option of auditctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is described by its row in OPTIONS")]
pub enum Flag {
    Action,
    Append,
    BacklogLimit,
    BacklogWaitTime,
    Compare,
    Confirm,
    ContinueOnError,
    Delete,
    DeleteAll,
    DryRun,
    Enabled,
    Enforce,
    Failure,
    Field,
    Help,
    IgnoreErrors,
    Key,
    List,
    LoginuidImmutable,
    MakeEquivalent,
    Message,
    Permissions,
    Prepend,
    RateLimit,
    ReadFile,
    RemoveWatch,
    ResetBacklogWaitTimeActual,
    ResetLost,
    Signal,
    Status,
    Syscalls,
    TrimSubtrees,
    Version,
    Watch,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// One word.
    Word,
    /// `-F` and `-C`.
    Expression,
}

/// A row of [`OPTIONS`].
#[derive(Debug)]
pub struct OptionRow {
    /// Which.
    pub flag: Flag,
    /// After one dash.
    pub short: Option<u8>,
    /// After two dashes.
    pub long: Option<&'static str>,
    /// Its argument.
    pub takes: Takes,
    /// One line of help.
    pub help: &'static str,
}

const fn short(flag: Flag, letter: u8, takes: Takes, help: &'static str) -> OptionRow {
    OptionRow { flag, short: Some(letter), long: None, takes, help }
}

const fn long(flag: Flag, name: &'static str, takes: Takes, help: &'static str) -> OptionRow {
    OptionRow { flag, short: None, long: Some(name), takes, help }
}

/// Every option.
pub const OPTIONS: &[OptionRow] = &[
    short(Flag::Append, b'a', Takes::Word, "append a rule: list,action"),
    short(Flag::Prepend, b'A', Takes::Word, "put a rule before the others: list,action"),
    short(Flag::Delete, b'd', Takes::Word, "delete a rule: list,action"),
    short(Flag::DeleteAll, b'D', Takes::Nothing, "delete all rules, or those whose key contains -k"),
    short(Flag::Watch, b'w', Takes::Word, "watch a file or directory tree"),
    short(Flag::RemoveWatch, b'W', Takes::Word, "remove a watch"),
    short(Flag::Permissions, b'p', Takes::Word, "accesses to watch: letters of rwxa"),
    short(Flag::Key, b'k', Takes::Word, "label of the rule"),
    short(Flag::Syscalls, b'S', Takes::Word, "system calls: names, numbers, all"),
    short(Flag::Field, b'F', Takes::Expression, "test of a field"),
    short(Flag::Compare, b'C', Takes::Expression, "comparison of two fields"),
    short(Flag::List, b'l', Takes::Nothing, "list rules"),
    short(Flag::Status, b's', Takes::Nothing, "show status"),
    short(Flag::Enabled, b'e', Takes::Word, "0 off, 1 on, 2 locked until reboot"),
    short(Flag::Failure, b'f', Takes::Word, "on failure: 0 silent, 1 log, 2 panic"),
    short(Flag::RateLimit, b'r', Takes::Word, "records a second, 0 for no limit"),
    short(Flag::BacklogLimit, b'b', Takes::Word, "most events that may wait"),
    short(Flag::Message, b'm', Takes::Word, "send a user-space message"),
    short(Flag::ReadFile, b'R', Takes::Word, "read rules from a file"),
    short(Flag::MakeEquivalent, b'q', Takes::Word, "watch a subtree with its mount: mount,subtree"),
    short(Flag::TrimSubtrees, b't', Takes::Nothing, "forget subtrees that are no longer there"),
    short(Flag::IgnoreErrors, b'i', Takes::Nothing, "ignore errors"),
    short(Flag::ContinueOnError, b'c', Takes::Nothing, "go on after errors, and fail at the end"),
    short(Flag::Version, b'v', Takes::Nothing, "show the version"),
    OptionRow { flag: Flag::Help, short: Some(b'h'), long: Some("help"), takes: Takes::Nothing, help: "show help" },
    long(Flag::BacklogWaitTime, "backlog_wait_time", Takes::Word, "how long to wait when the backlog is full"),
    long(Flag::ResetLost, "reset-lost", Takes::Nothing, "show the count of lost events and reset it"),
    long(
        Flag::ResetBacklogWaitTimeActual,
        "reset_backlog_wait_time_actual",
        Takes::Nothing,
        "show the time waited for the backlog and reset it",
    ),
    long(Flag::LoginuidImmutable, "loginuid-immutable", Takes::Nothing, "a login uid once set cannot change"),
    long(Flag::Signal, "signal", Takes::Word, "signal the daemon: stop reload rotate resume state"),
    long(Flag::Enforce, "enforce", Takes::Word, "0: deny and kill only record, 1: they refuse (not in stock audit)"),
    long(Flag::Confirm, "confirm", Takes::Nothing, "keep the rules that are on probation (not in stock audit)"),
    long(Flag::Action, "action", Takes::Word, "action of a watch: deny or kill (not in stock audit)"),
    long(Flag::DryRun, "dry-run", Takes::Nothing, "a deny or kill that only records (not in stock audit)"),
];
