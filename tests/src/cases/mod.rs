//! All cases, one file per family.

mod adversary;
mod change;
mod control;
mod crash;
mod deny;
mod disk;
mod exec;
mod fail;
mod failure;
mod field;
mod formats;
mod guard;
mod host;
mod keeper;
mod load;
mod loss;
mod messages;
mod order;
mod path;
mod persistence;
mod reload;
mod ring;
mod socket;
mod syslog;
mod task;
mod tree;
mod watch;

pub use control::auditctl;

use crate::harness::{Case, Suite};

/// Cases that share a daemon.
const RULES: Suite = Suite::Shared("rules", &FAMILIES);
const FAMILIES: [&[Case]; 12] = families(load::CASES);
const FAMILIES_OBSERVED: [&[Case]; 12] = families(load::OBSERVED);

const fn families(load: &'static [Case]) -> [&'static [Case]; 12] {
    [
        watch::CASES,
        tree::CASES,
        change::CASES,
        path::CASES,
        exec::CASES,
        failure::CASES,
        socket::CASES,
        task::CASES,
        field::CASES,
        order::CASES,
        load,
        ring::CASES,
    ]
}

/// For kernels that are supported.
pub const SUPPORTED: &[Suite] = &[
    RULES,
    Suite::Shared("deny", deny::FAMILIES),
    Suite::Alone(control::CASES),
    Suite::Alone(reload::CASES),
    Suite::Alone(messages::CASES),
    Suite::Alone(crash::CASES),
    Suite::Alone(loss::CASES),
    Suite::Alone(fail::CASES),
    Suite::Alone(persistence::CASES),
    Suite::Alone(keeper::CASES),
    Suite::Alone(disk::CASES),
    Suite::Alone(syslog::CASES),
    Suite::Alone(formats::CASES),
    Suite::Alone(host::CASES),
    Suite::Alone(guard::CASES),
    Suite::Locked(adversary::CASES),
];

/// Of these, those in which the kernel has a part.
pub const KERNEL: &[Suite] = &[
    RULES,
    Suite::Shared("deny", deny::FAMILIES),
    Suite::Alone(reload::CASES),
    Suite::Alone(loss::OF_KERNEL),
    Suite::Alone(fail::OF_KERNEL),
    Suite::Alone(persistence::OF_KERNEL),
    Suite::Alone(keeper::OF_KERNEL),
    Suite::Locked(adversary::OF_KERNEL),
];

/// For kernels that must be refused.
pub const REFUSED: &[Suite] = &[Suite::Alone(host::REFUSED)];

/// For kernels booted without bpf among their security modules: rules mean the same there.
pub const OBSERVED: &[Suite] = &[Suite::Shared("rules", &FAMILIES_OBSERVED), Suite::Alone(host::OBSERVED)];

/// For kernels without hooks of paths: what there is done by path means the same.
pub const PATHLESS: &[Suite] = &[
    Suite::Shared("rules", &[watch::CASES, tree::CASES, change::CASES, path::CASES, failure::CASES]),
    Suite::Shared("deny", deny::OF_FILES),
];
