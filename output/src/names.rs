//! Names that belong to numbers.

use std::sync::Arc;

/// Looks names up. Shared by all sinks, so it is asked from several threads at once, and for every record: answers
/// about users and groups want a cache behind them.
pub trait Names: Send + Sync {
    /// Login name of a user.
    fn user(&self, uid: u32) -> Option<Arc<str>>;
    /// Name of a group.
    fn group(&self, gid: u32) -> Option<Arc<str>>;
    /// Name of an `AUDIT_ARCH_*`, for example `x86_64`.
    fn arch(&self, arch: u32) -> Option<&'static str>;
    /// Name of a syscall of that arch.
    fn syscall(&self, arch: u32, number: u32) -> Option<&'static str>;
    /// Name of a (positive) errno, for example `EACCES`.
    fn errno(&self, number: i32) -> Option<&'static str>;
}
