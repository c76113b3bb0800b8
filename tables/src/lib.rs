//! Facts about Linux audit that every other crate reads: names, numbers, and what goes with what. No logic beyond look-up.
#![forbid(unsafe_code)]

mod address_families;
mod arch;
mod arguments;
mod capabilities;
mod compare;
mod errnos;
mod fields;
mod file_systems;
mod file_types;
mod io_uring;
mod lists;
mod lookup;
mod objects;
mod operators;
mod perms;
mod record_types;
mod refusals;
pub mod syscalls;
mod urgent;

pub use address_families::{ADDRESS_FAMILY_END, address_family_name, address_family_number};
pub use arch::Arch;
pub use arguments::{ArgumentKind, SPECIAL_BITS, argument_kind, signal_name, socket_type_name};
pub use capabilities::{capability_name, capability_names, capability_number};
pub use compare::CompareField;
pub use errnos::{errno_name, errno_number, errnos};
pub use fields::{Field, ValueKind};
pub use file_systems::{file_system_magic, file_system_name};
pub use file_types::{file_type_name, file_type_number};
pub use io_uring::{
    AUDITED_OPS, io_uring_functions, io_uring_op_name, io_uring_op_number, io_uring_ops, io_uring_syscall,
};
pub use lists::{Action, FilterList};
pub use objects::{Objects, PathArgument, Treatment, all_objects, objects};
pub use operators::Op;
pub use perms::{AccessTest, Perm, access_test, perm_class, perm_listing};
pub use record_types::{record_type_name, record_type_number, record_types};
pub use refusals::{
    BY_HANDLE, CAPABLE, MAPS, hook_upon_task, hooks_refusing_upon_task, mistaken_for, refuses_by_file, refusing_hooks,
    refusing_hooks_if,
};
pub use urgent::is_at_once;
