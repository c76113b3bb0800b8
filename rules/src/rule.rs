//! A checked rule: names resolved to numbers, every test typed. What [`crate::parse`] and [`crate::RuleSet`] produce and
//! [`crate::plan`] consumes. Semantics are the kernel's (`kernel/auditfilter.c`, `kernel/auditsc.c`).

use std::path::PathBuf;

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
    /// Sorted, without duplicates; numbers of the rule's arch, each below 2048.
    Set(Vec<u16>),
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
    /// `-F dir=` (or `-w` on a directory): a tree; absolute, without a trailing slash except for `/` itself.
    Dir(Vec<u8>),
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
    /// `-C a=b` or `a!=b`.
    Compare {
        /// Which pair, in the kernel's canonical order.
        pair: CompareField,
        /// `true` for `=`, `false` for `!=`.
        equal: bool,
    },
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
    /// `-S`.
    pub syscalls: Syscalls,
    /// Everything else, in the order written; all must hold.
    pub tests: Vec<Test>,
    /// `-k`, in order; bytes as given, never filtering.
    pub keys: Vec<Vec<u8>>,
    /// Where it was written.
    pub origin: Origin,
}
