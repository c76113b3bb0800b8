//! A checked rule: names resolved to numbers, every test typed. What [`crate::parse`] and [`crate::RuleSet`] produce and
//! [`crate::plan`] consumes. Semantics are the kernel's (`kernel/auditfilter.c`, `kernel/auditsc.c`).

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use crate::pattern::Pattern;
use crate::source::{Line, Span};

pub use tables::{Action, Arch, CompareField, Field, FilterList, Op, Perm};

/// Where a rule was written; diagnostics and records point back to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The file, or `None` for a command line.
    pub file: Option<PathBuf>,
    /// 1-based line; 1 for a command line.
    pub line: u32,
}

/// The syscalls that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syscalls {
    /// `-S all`, no `-S` at all, or a watch.
    All,
    /// Sorted, without duplicates; numbers of the rule's arch, each below 2032. Without an arch they were looked up in the
    /// native table and stand for whatever the number means on either ABI.
    Set(Vec<u16>),
    /// No `-S`, but `-F perm` after `-F arch`. The kernel's answer is that of `All`, as `perm` looks at the system call by
    /// itself; auditctl 4 lists such a rule with the system calls of its perm.
    OfPerm,
}

/// A directory as written in `-F dir=`: derefs to the tree's path, and remembers a trailing slash for `auditctl -l`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// An absolute path, with or without slashes at its end.
    #[must_use]
    pub const fn new(written: Vec<u8>) -> Self {
        Self(written)
    }

    /// As written.
    #[must_use]
    pub fn as_written(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for TreePath {
    type Target = [u8];

    /// Without slashes at its end, except for `/` itself.
    fn deref(&self) -> &[u8] {
        without_end_slashes(&self.0)
    }
}

/// A path without slashes at its end, except for `/` itself.
pub(crate) fn without_end_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1);
    path.get(..end).unwrap_or(path)
}

/// One `-F` or `-C` test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// A field that holds a number: ids, exit, arguments, devices... compared as unsigned 32 bits, as the kernel does.
    Number {
        /// Left side.
        field: Field,
        /// Operator.
        op: Op,
        /// Right side.
        value: u32,
    },
    /// `-F path=`: absolute, without a trailing slash.
    Path(Vec<u8>),
    /// `-F dir=` (or `-w` on a directory): a tree.
    Dir(TreePath),
    /// `-F exe=` or `exe!=`.
    Exe {
        /// `true` for `=`, `false` for `!=`.
        equal: bool,
        /// Absolute path.
        path: Vec<u8>,
    },
    /// `-F perm=` or `-p`.
    Perm(Perm),
    /// A field that holds a string: SELinux and Smack labels.
    Text {
        /// Left side.
        field: Field,
        /// Operator.
        op: Op,
        /// Right side, bytes as given.
        value: Vec<u8>,
    },
    /// `-F daddr=`, `comm=` or `cgroup=`, or the same with `!=`.
    Pattern {
        /// `true` for `=`, `false` for `!=`.
        equal: bool,
        /// What is compared with.
        pattern: Pattern,
    },
    /// `-C a=b` or `a!=b`.
    Compare {
        /// Which pair, in the kernel's canonical order.
        pair: CompareField,
        /// `true` for `=`, `false` for `!=`.
        equal: bool,
    },
}

impl Test {
    /// The field tested; `None` for a comparison, which has two.
    #[must_use]
    pub const fn field(&self) -> Option<Field> {
        match self {
            Self::Number { field, .. } | Self::Text { field, .. } => Some(*field),
            Self::Path(_) => Some(Field::Path),
            Self::Dir(_) => Some(Field::Dir),
            Self::Exe { .. } => Some(Field::Exe),
            Self::Perm(_) => Some(Field::Perm),
            Self::Pattern { pattern, .. } => Some(pattern.field()),
            Self::Compare { .. } => None,
        }
    }
}

/// Whether `success op value` holds for a call that ended so. The kernel compares how the call ended, 1 for success and 2 for
/// failure, with 1 for any value but 0, and with 2 for 0 (`AUDIT_SUCCESS` in `kernel/auditsc.c`; seen on 6.1): so `success=2`
/// is `success=1`, and `success>0` never holds.
#[must_use]
pub const fn success_holds(op: Op, value: u32, succeeded: bool) -> bool {
    let outcome = if succeeded { 1 } else { 2 };
    let wanted = if value == 0 { 2 } else { 1 };
    op.holds(outcome, wanted)
}

/// Where the parts of a rule stand in its line, for diagnostics of later stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The line.
    pub line: Arc<Line>,
    /// List and action, or the path of a watch.
    pub head: Span,
    /// `-F arch=`.
    pub arch: Option<Span>,
    /// The `-S` items that named each number of [`Syscalls::Set`]; several numbers may share one.
    pub syscalls: Vec<(u16, Span)>,
    /// For each of the rule's tests.
    pub tests: Vec<Span>,
    /// `-F errno=`.
    pub errno: Option<Span>,
    /// `-F fail=`.
    pub fail: Option<Span>,
    /// Whether it was written as a watch, with `-w` or `-W`.
    pub watch: bool,
}

impl Written {
    /// The test at a position, or the rule's head.
    #[must_use]
    pub fn test(&self, index: usize) -> Span {
        self.tests.get(index).copied().unwrap_or(self.head)
    }

    /// The `-S` item of a number, or the rule's head.
    #[must_use]
    pub fn syscall(&self, number: u16) -> Span {
        self.syscalls.iter().find(|row| row.0 == number).map_or(self.head, |row| row.1)
    }
}

/// What becomes of an act where the kernel side has not what it takes to decide about it, or to record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fail {
    /// It is let through, and counted.
    Open,
    /// It is refused, and counted.
    Closed,
}

impl Fail {
    /// From `open` or `closed`.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Open, Self::Closed].into_iter().find(|fail| fail.name().as_bytes() == name)
    }

    /// As written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// A rule that selects events: first match in its list wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `exit`, `task`, `user`, `exclude`, `filesystem` or `io_uring`.
    pub list: FilterList,
    /// What a match means.
    pub action: Action,
    /// `-F arch=`: the ABI, and whether it must equal (`true`) or differ. `None`: both ABIs.
    pub arch: Option<(Arch, bool)>,
    /// `-S`; on the io_uring list, numbers of its operations.
    pub syscalls: Syscalls,
    /// Everything else, in the order written; all must hold.
    pub tests: Vec<Test>,
    /// `-F errno=`: what `deny` returns; `None` for EPERM.
    pub errno: Option<u16>,
    /// `-F fail=`; `None` for what the configuration and `-f` say.
    pub fail: Option<Fail>,
    /// `--dry-run`: a match is recorded as `would-deny`, and nothing is refused.
    pub dry_run: bool,
    /// `-k`, in order; bytes as given, never filtering.
    pub keys: Vec<Vec<u8>>,
    /// Where it was written.
    pub origin: Origin,
    /// Where its parts were written.
    pub written: Written,
}

impl Rule {
    /// Whether both ask for the same, wherever they were written: what makes a duplicate, and what `-d` deletes.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.keys == other.keys && self.differs_in_keys_alone(other)
    }

    /// Whether both ask for the same, but perhaps for their keys.
    #[must_use]
    pub fn differs_in_keys_alone(&self, other: &Self) -> bool {
        self.list == other.list
            && self.action == other.action
            && self.arch == other.arch
            && self.syscalls == other.syscalls
            && self.tests == other.tests
            && self.errno == other.errno
            && self.fail == other.fail
            && self.dry_run == other.dry_run
    }

    /// Whether the text stands anywhere in the keys, which auditctl joins: what `-D -k` and `-l -k` choose by.
    #[must_use]
    pub fn key_contains(&self, text: &[u8]) -> bool {
        let key = self.keys.join(&1);
        text.is_empty() || key.windows(text.len()).any(|window| window == text)
    }
}
