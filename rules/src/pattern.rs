//! What a test compares with that 32 bits do not hold: each has a row of its own in a kernel table.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tables::Field;

use crate::network::Network;
use crate::rule::without_end_slashes;

/// Where systemd mounts control groups of version 2, and container runtimes find them.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// `TASK_COMM_LEN` in `include/linux/sched.h`, of which the last byte is a NUL.
const COMM_BYTES: usize = 16;

/// The right side of `daddr`, `comm` or `cgroup`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Where an address lies.
    Network(Network),
    /// Name of a task.
    Comm(Comm),
    /// Control group of a task.
    Cgroup(Cgroup),
}

impl Pattern {
    /// The field that it is compared with.
    #[must_use]
    pub const fn field(&self) -> Field {
        match self {
            Self::Network(_) => Field::Daddr,
            Self::Comm(_) => Field::Comm,
            Self::Cgroup(_) => Field::Cgroup,
        }
    }

    /// As written.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::Network(network) => network.to_string().into_bytes(),
            Self::Comm(comm) => comm.name().to_vec(),
            Self::Cgroup(Cgroup::Tree(path)) => path.clone(),
            Self::Cgroup(Cgroup::Itself(number)) => number.to_string().into_bytes(),
        }
    }
}

/// Name of a task, as the kernel keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Comm([u8; COMM_BYTES]);

impl Comm {
    /// From a name of at most 15 bytes, none of which is a NUL.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; COMM_BYTES];
        let fits = name.len() < COMM_BYTES && !name.is_empty() && !name.contains(&0);
        bytes.get_mut(..name.len()).filter(|_| fits)?.copy_from_slice(name);
        Some(Self(bytes))
    }

    /// Without the NULs behind it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Its two halves as the kernel side reads them.
    #[must_use]
    pub fn halves(&self) -> [u64; 2] {
        let half = |at: usize| u64::from_ne_bytes(std::array::from_fn(|index| self.0[at + index]));
        [half(0), half(COMM_BYTES / 2)]
    }
}

/// A control group of version 2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cgroup {
    /// By its path below [`CGROUP_ROOT`], which begins with a slash and ends without one: this one, and all below it.
    Tree(Vec<u8>),
    /// By its number, which is that of its directory's inode: this one alone.
    Itself(u64),
}

impl Cgroup {
    /// From a path below the root or a number; `None` for anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !text.starts_with(b"/") {
            let digits =
                std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
            return digits.parse().ok().filter(|number| *number != 0).map(Self::Itself);
        }
        let path = without_end_slashes(text);
        let mut names = path.split(|byte| *byte == b'/').skip(1);
        let is_plain = path == b"/" || names.all(|name| !matches!(name, b"" | b"." | b".."));
        is_plain.then(|| Self::Tree(path.to_vec()))
    }

    /// Of a tree: where its directory is, and how many are above it.
    #[must_use]
    pub fn directory(&self) -> Option<(PathBuf, u32)> {
        let Self::Tree(path) = self else { return None };
        let below = Path::new(OsStr::from_bytes(path.strip_prefix(b"/")?));
        let level = u32::try_from(below.components().count()).ok()?;
        Some((Path::new(CGROUP_ROOT).join(below), level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tasks_have_fifteen_bytes_at_most() {
        let longest = Comm::new(b"fifteen-bytes-x").unwrap();
        assert_eq!(longest.name(), b"fifteen-bytes-x");
        assert_eq!(Comm::new(b"sh").unwrap().halves(), [u64::from_ne_bytes(*b"sh\0\0\0\0\0\0"), 0]);
        for name in [&b""[..], b"sixteen-bytes-xx", b"a\0b"] {
            assert_eq!(Comm::new(name), None);
        }
    }

    #[test]
    fn control_groups_are_trees_by_path_and_themselves_by_number() {
        let tree = Cgroup::parse(b"/system.slice/ssh.service/").unwrap();
        assert_eq!(tree.directory(), Some((Path::new("/sys/fs/cgroup/system.slice/ssh.service").into(), 2)));
        assert_eq!(Cgroup::parse(b"/").unwrap().directory(), Some((CGROUP_ROOT.into(), 0)));
        assert_eq!(Cgroup::parse(b"4711"), Some(Cgroup::Itself(4711)));
        for text in ["", "0", "system.slice", "/a/../b", "/a//b", "-1", "/./a"] {
            assert_eq!(Cgroup::parse(text.as_bytes()), None, "{text}");
        }
    }
}
