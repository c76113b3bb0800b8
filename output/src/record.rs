//! An event together with the names that belong to its numbers: what every format writes from.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::event::{Body, Event, NameType, PathSource, SyscallEvent, Verdict};
use crate::names::Names;

/// Id that stands for "never set" in audit (`(uid_t)-1`).
pub const UNSET: u32 = u32::MAX;

/// Largest errno that a syscall returns (`MAX_ERRNO` of the kernel).
const MAX_ERRNO: i64 = 4095;

/// An event with its node and names.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The event.
    pub event: &'a Event,
    /// Name of this machine.
    pub node: &'a str,
    /// Looks up users, syscalls and so on.
    pub names: &'a dyn Names,
}

impl Record<'_> {
    /// auditd's name for this type of record. `LOST` is our own: auditd has no record of losses.
    pub fn record_type(&self) -> &str {
        match &self.event.body {
            Body::Syscall(call) if call.uring_op.is_some() => "URINGOP",
            Body::Syscall(_) => "SYSCALL",
            Body::Lost(_) => "LOST",
            Body::Daemon(daemon) => &daemon.record_type,
            Body::Messages(messages) => messages.first().map_or("UNKNOWN", |message| &message.record_type),
        }
    }

    /// When it happened.
    pub fn time(&self) -> DateTime<Utc> {
        moment(self.event.time)
    }

    /// Name of a user: `unset` for [`UNSET`], `None` where nobody has that id.
    pub fn user(&self, uid: u32) -> Option<Arc<str>> {
        if uid == UNSET { Some(Arc::from("unset")) } else { self.names.user(uid) }
    }

    /// Name of a group, as [`Self::user`].
    pub fn group(&self, gid: u32) -> Option<Arc<str>> {
        if gid == UNSET { Some(Arc::from("unset")) } else { self.names.group(gid) }
    }

    /// Name of the errno that the call returned, where it failed with one that has a name.
    pub fn errno(&self, call: &SyscallEvent) -> Option<&'static str> {
        self.names.errno(call.errno()?)
    }
}

/// A time in nanoseconds since the epoch.
pub(crate) fn moment(nanoseconds: u64) -> DateTime<Utc> {
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or_default();
    let rest = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or_default();
    DateTime::from_timestamp(seconds, rest).unwrap_or_default()
}

/// Whether a call that returned this succeeded, by the kernel's rule.
pub(crate) fn succeeded(exit: i64) -> bool {
    !(-MAX_ERRNO..0).contains(&exit)
}

impl SyscallEvent {
    /// Whether the call succeeded, by the kernel's rule; `None` where it has not returned.
    pub fn success(&self) -> Option<bool> {
        self.exit.map(succeeded)
    }

    /// The (positive) errno of a call that failed.
    pub fn errno(&self) -> Option<i32> {
        self.exit.filter(|exit| (-MAX_ERRNO..0).contains(exit)).and_then(|exit| i32::try_from(-exit).ok())
    }
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::Kill, Self::WouldDeny];

    /// The verdict's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Kill => "kill",
            Self::WouldDeny => "would-deny",
        }
    }

    /// Whether the act was refused.
    pub const fn refused(self) -> bool {
        matches!(self, Self::Deny | Self::Kill)
    }
}

impl NameType {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Normal, Self::Parent, Self::Create, Self::Delete, Self::Unknown];

    /// audit's word for the role.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Parent => "PARENT",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl PathSource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Kernel, Self::User];

    /// Word for the origin of a path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::samples;

    #[test]
    fn success_is_the_kernels() {
        let mut call = samples::open_failed();
        let mut outcome = |exit| {
            call.exit = exit;
            (call.success(), call.errno())
        };
        assert_eq!(outcome(Some(3)), (Some(true), None));
        assert_eq!(outcome(Some(-13)), (Some(false), Some(13)));
        assert_eq!(outcome(Some(-4095)), (Some(false), Some(4095)));
        assert_eq!(outcome(Some(-4096)), (Some(true), None), "an address may look negative");
        assert_eq!(outcome(None), (None, None));
    }
}
