//! All cases, one file per family.

mod change;
mod crash;
mod exec;
mod failure;
mod field;
mod host;
mod load;
mod order;
mod path;
mod socket;
mod syslog;
mod task;
mod tree;
mod watch;

use crate::harness::Suite;

/// For kernels that are supported.
pub const SUPPORTED: &[Suite] = &[
    Suite::Shared("watches", watch::CASES),
    Suite::Shared("trees", tree::CASES),
    Suite::Shared("changes", change::CASES),
    Suite::Shared("paths", path::CASES),
    Suite::Shared("programs", exec::CASES),
    Suite::Shared("failures", failure::CASES),
    Suite::Shared("sockets", socket::CASES),
    Suite::Shared("tasks", task::CASES),
    Suite::Shared("fields", field::CASES),
    Suite::Shared("order", order::CASES),
    Suite::Shared("load", load::CASES),
    Suite::Alone(crash::CASES),
    Suite::Alone(syslog::CASES),
    Suite::Alone(host::CASES),
];

/// For kernels that must be refused.
pub const REFUSED: &[Suite] = &[Suite::Alone(host::REFUSED)];
