//! Rule language of auditctl: text, to [`ast`], to [`RuleSet`]. No I/O: what must be known of the host comes through
//! [`Host`].
//!
//! Acceptance, messages and listings are auditctl's (4.2, and 3.0.9 as [`Dialect::V3`]), except that:
//!
//! 1. All errors of all lines are told at once, and nothing loads if there is one before `-i` or `-c`. A line with an error
//!    gets no warnings.
//! 2. A number must be one from end to end and fit into 32 bits. auditctl takes `uid=12abc` for 12, `uid=4294967296` for 0
//!    and `sessionid=abc` for 0.
//! 3. `-F` splits at the leftmost operator, so that a path may hold one; auditctl refuses `path=/a!=b`.
//! 4. More names are understood: kernel names where auditctl has its own (`pread64`), socket families, file types by the
//!    number that `-l` prints, and system calls newer than 3.0.9 in both dialects.
//! 5. A second, different `arch` is an error, as are `-S` with no name in it, `-i` and `-c` behind a rule, and words behind
//!    `--loginuid-immutable`; auditctl takes them, and then nothing matches, or the words are forgotten.
//! 6. `-S` numbers from 2032 up, which the kernel takes for classes of calls, and `-F field_compare=` by number are errors.
//! 7. Rules with a perm alone, or with perm before path, list in full; auditctl prints ` -p wa-w /etc/passwd`.
//! 8. A path that is not there yet gets a warning; [`MissingPaths::Refuse`] makes it auditctl's error.
//! 9. Actions `deny` and `kill`, `--action` for watches, `-F errno=`, `-F daddr=`, `-F dport=` and `--dry-run` are ours; `-l -i` names fewer arguments.
#![forbid(unsafe_code)]

pub mod ast;
mod check;
mod command;
mod diagnostic;
mod format;
mod host;
mod implication;
mod interpret;
mod lexer;
mod load;
pub mod matcher;
mod network;
mod parser;
mod pattern;
pub mod plan;
pub mod print;
pub mod refusal;
mod rule;
mod ruleset;
mod source;

pub use check::MissingPaths;
pub use command::{Command, Control, DaemonSignal};
pub use diagnostic::{Code, Diagnostic, Severity};
pub use format::format;
pub use host::{Host, NoHost, PathKind};
pub use lexer::{Word, escape, words};
pub use load::{Loader, Parsed, parse};
pub use network::{BadNetwork, Network, SocketAddress};
pub use parser::parse_line;
pub use pattern::{CGROUP_ROOT, Cgroup, Comm, Pattern};
pub use plan::Plan;
pub use print::Dialect;
pub use rule::{
    Action, Arch, CompareField, Fail, Field, FilterList, Op, Origin, Perm, Rule, Syscalls, Test, TreePath, Written,
    success_holds,
};
pub use ruleset::{Listing, RuleSet};
pub use source::{Line, Source, Span};
