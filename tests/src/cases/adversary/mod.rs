//! Root behind `-e 2`: whatever he does, the user's rules go on to refuse and record, and what he did is in the log. The harness
//! looks after each case that this is so.
//!
//! What begins with `limit` is what a guard does not hold: as much is written in docs/threat-model.md.

mod code;
mod objects;
mod storm;

use crate::harness::Against;

/// In this order, behind that of `guard`.
pub const CASES: &[Against] = &[
    super::guard::LOCKED,
    code::LIBRARIES,
    code::MEMORY,
    code::LIMIT_OOM,
    code::DEBUGGER,
    objects::FTRACE,
    objects::LIMIT_FTRACE,
    objects::BPFTOOL,
    objects::CLOCK_CHANGES,
    storm::FULL_DISK,
    storm::FLOOD,
    storm::FORKS,
    storm::FREEZER,
    storm::VERIFIED,
    super::keeper::LOCKED_REPLACED,
    super::keeper::LOCKED_ORPHANED,
];

/// What another kernel may do otherwise.
pub const OF_KERNEL: &[Against] = &[
    super::guard::LOCKED,
    code::LIBRARIES,
    code::MEMORY,
    objects::FTRACE,
    objects::CLOCK_CHANGES,
    storm::FREEZER,
    super::keeper::LOCKED_REPLACED,
    super::keeper::LOCKED_ORPHANED,
];
