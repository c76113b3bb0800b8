//! What checking a rule must know about the machine.

use tables::Arch;

/// Facts about the host, so that checking does no I/O of its own.
pub trait Host {
    /// Number of a user.
    fn user_id(&self, name: &[u8]) -> Option<u32>;
    /// Number of a group.
    fn group_id(&self, name: &[u8]) -> Option<u32>;
    /// What a path leads to, symbolic links followed.
    fn path_kind(&self, path: &[u8]) -> PathKind;
    /// Names of users, to suggest one for a name that is none.
    fn user_names(&self) -> Vec<String> {
        Vec::new()
    }
    /// Names of groups, to suggest one for a name that is none.
    fn group_names(&self) -> Vec<String> {
        Vec::new()
    }
    /// The ABI that `b64` means and that names without `arch` are looked up in.
    fn native_arch(&self) -> Arch {
        Arch::B64
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// Nothing, or it could not be looked at.
    Missing,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// A host with only `root`, where every path is a file, except those that end in a slash: for tests, fuzzing and
/// checking rules that are meant for another machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn user_id(&self, name: &[u8]) -> Option<u32> {
        (name == b"root").then_some(0)
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        (name == b"root").then_some(0)
    }

    fn path_kind(&self, path: &[u8]) -> PathKind {
        if path.ends_with(b"/") { PathKind::Directory } else { PathKind::Other }
    }
}
