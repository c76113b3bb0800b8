//! Rule language of auditctl: text, to [`ast`], to [`RuleSet`]. No I/O: what must be known of the host comes through
//! [`Host`].
#![forbid(unsafe_code)]

pub mod ast;
mod check;
mod command;
mod diagnostic;
mod host;
mod lexer;
mod load;
mod parser;
pub mod print;
mod rule;
mod ruleset;
mod source;

pub use check::MissingPaths;
pub use command::{Command, Control, DaemonSignal};
pub use diagnostic::{Code, Diagnostic, Severity};
pub use host::{Host, NoHost, PathKind};
pub use lexer::{Word, escape, words};
pub use load::{Loader, Parsed, parse};
pub use parser::parse_line;
pub use print::Dialect;
pub use rule::{
    Action, Arch, CompareField, Field, FilterList, Op, Origin, Perm, Rule, Syscalls, Test, TreePath, Written,
};
pub use ruleset::RuleSet;
pub use source::{Line, Source, Span};
