//! Names, leaf first → the path as the process sees it.
//!
//! What does not begin with `/` is not an absolute path, and says why: `(unreachable)/x` lies outside the task's root, as in
//! getcwd(2); of `(unknown)/x` only the last names are known.

use auditd_bpf_common::wire::path_end;
use output::event::Bytes;

const UNREACHABLE: &[u8] = b"(unreachable)";
const UNKNOWN: &[u8] = b"(unknown)";
const DELETED: &[u8] = b" (deleted)";

/// A mount of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Directory of the file system that is seen at the mount point; `/` for all of it.
    pub root: Bytes,
    /// Absolute path of the mount point.
    pub mount_point: Bytes,
}

/// Where file systems are mounted: for objects that a hook is shown without their mount.
pub trait Mounts: Send {
    /// Mounts of a device (`major << 20 | minor`), in the order of `/proc/self/mountinfo`; none where it is unknown.
    fn of_device(&mut self, device: u32) -> &[Mount];
}

/// A path that the kernel walked: no symbolic links in it, and no `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPath {
    /// Names, each after a `/`; before them the prefix of a path that is not absolute.
    text: Bytes,
    /// Length of that prefix.
    prefix: usize,
    /// Whether the first name lies in a root directory.
    rooted: bool,
    /// Whether the file has no name any more.
    deleted: bool,
}

/// Whether a path is all that there is to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It is.
    Whole,
    /// Part of it is missing or a guess.
    Partial,
}

impl KernelPath {
    fn new(prefix: &[u8], rooted: bool) -> Self {
        Self { text: prefix.to_vec(), prefix: prefix.len(), rooted, deleted: false }
    }

    /// The root directory.
    pub fn root() -> Self {
        Self::new(b"", true)
    }

    /// A path of which nothing is known.
    pub fn unknown() -> Self {
        Self::new(UNKNOWN, false)
    }

    fn absolute(path: &[u8]) -> Self {
        let mut absolute = Self::root();
        absolute.extend(path.split(|byte| *byte == b'/'));
        absolute
    }

    fn extend<'a>(&mut self, names: impl IntoIterator<Item = &'a [u8]>) {
        names.into_iter().for_each(|name| self.push(name));
    }

    fn push(&mut self, name: &[u8]) {
        if !name.is_empty() {
            self.text.push(b'/');
            self.text.extend(name);
        }
    }

    /// Goes to the parent directory, which for a root is the root itself. False where the parent is not known.
    fn pop(&mut self) -> bool {
        let names = self.text.get(self.prefix..).unwrap_or_default();
        match names.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => self.text.truncate(self.prefix + slash),
            None => return self.rooted,
        }
        true
    }

    /// The path; a root is `/`.
    pub fn to_bytes(&self) -> Bytes {
        let mut text = self.text.clone();
        if text.len() == self.prefix && self.rooted {
            text.push(b'/');
        }
        text
    }

    /// The path, as the kernel writes it for executables and working directories: with ` (deleted)` where it has gone.
    pub fn to_bytes_marked(&self) -> Bytes {
        let mut text = self.to_bytes();
        if self.deleted {
            text.extend(DELETED);
        }
        text
    }

    /// Whether nothing at all is known.
    pub fn is_unknown(&self) -> bool {
        !self.rooted && self.text.len() == self.prefix
    }
}

/// What helps to complete a path that the kernel side could not follow to a root.
pub struct Surroundings<'a> {
    /// Device that the object lies on.
    pub device: Option<u32>,
    /// Path of the preceding parent object.
    pub parent: Option<&'a KernelPath>,
    /// Mounts of the host.
    pub mounts: &'a mut dyn Mounts,
}

/// Builds a path from its names, leaf first, and how the walk ended (a [`path_end`]).
pub fn walked(names: &[&[u8]], end: u8, surroundings: Surroundings<'_>) -> (KernelPath, Completeness) {
    let Surroundings { device, parent, mounts } = surroundings;
    let names: Vec<&[u8]> = names.iter().rev().copied().collect();
    let (mut path, below, completeness) = match (end & !path_end::DELETED, parent) {
        (path_end::ROOT, _) => (KernelPath::root(), &names[..], Completeness::Whole),
        (path_end::OUTSIDE, _) => (KernelPath::new(UNREACHABLE, true), &names[..], Completeness::Whole),
        (path_end::BELOW_PARENT, Some(parent)) => (parent.clone(), &names[..], Completeness::Whole),
        (path_end::FILE_SYSTEM, _) => on_file_system(&names, device.map_or(&[][..], |device| mounts.of_device(device))),
        _ => (KernelPath::unknown(), &names[..], Completeness::Partial),
    };
    path.extend(below.iter().copied());
    path.deleted = end & path_end::DELETED != 0;
    (path, completeness)
}

/// The mount point that a path from the root of its file system (root first) lies below, and the names below it: of the
/// mounts that show it the one that shows most of the file system, of these the oldest. Where there is none, the path from
/// the root of the file system has to do.
fn on_file_system<'a, 'b>(names: &'b [&'a [u8]], mounts: &[Mount]) -> (KernelPath, &'b [&'a [u8]], Completeness) {
    let shown = mounts.iter().filter_map(|mount| {
        let root: Vec<_> = mount.root.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let (above, below) = names.split_at_checked(root.len())?;
        (above == root).then_some((root.len(), below, &mount.mount_point))
    });
    match shown.min_by_key(|(depth, ..)| *depth) {
        Some((_, below, mount_point)) => (KernelPath::absolute(mount_point), below, Completeness::Whole),
        None => (KernelPath::root(), names, Completeness::Partial),
    }
}

/// Makes a name from the caller's memory absolute: relative to `base` unless it begins with `/`. An empty name is the base.
///
/// The look-up failed, so the kernel never resolved this name. `.` and needless slashes go. `..` goes only where that is
/// certain, directly behind the base, which the kernel walked; behind a name of the caller's it stays: that name may be a
/// symbolic link, and then the parent of what it points to is meant.
pub fn lexical(name: &[u8], base: &KernelPath) -> Bytes {
    let mut path = if name.starts_with(b"/") { KernelPath::root() } else { base.clone() };
    let mut certain = true;
    for part in name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." && certain && path.pop() {
            continue;
        }
        certain = false;
        path.push(part);
    }
    path.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<Mount>);

    impl Mounts for Table {
        fn of_device(&mut self, device: u32) -> &[Mount] {
            if device == 8 { &self.0 } else { &[] }
        }
    }

    fn mounts(rows: &[(&str, &str)]) -> Table {
        let mount =
            |(root, point): &(&str, &str)| Mount { root: root.as_bytes().into(), mount_point: point.as_bytes().into() };
        Table(rows.iter().map(mount).collect())
    }

    fn path(names: &[&[u8]], end: u8) -> (String, Completeness) {
        on(&mut mounts(&[]), Some(8), names, end)
    }

    fn on(mounts: &mut Table, device: Option<u32>, names: &[&[u8]], end: u8) -> (String, Completeness) {
        let (path, completeness) = walked(names, end, Surroundings { device, parent: None, mounts });
        (String::from_utf8(path.to_bytes()).unwrap(), completeness)
    }

    fn whole(text: &str) -> (String, Completeness) {
        (text.to_owned(), Completeness::Whole)
    }

    fn partial(text: &str) -> (String, Completeness) {
        (text.to_owned(), Completeness::Partial)
    }

    #[test]
    fn names_come_leaf_first() {
        assert_eq!(path(&[b"passwd", b"etc"], path_end::ROOT), whole("/etc/passwd"));
        assert_eq!(path(&[], path_end::ROOT), whole("/"));
        assert_eq!(path(&[b"x", b"d"], path_end::OUTSIDE), whole("(unreachable)/d/x"));
        assert_eq!(path(&[], path_end::OUTSIDE), whole("(unreachable)/"));
        assert_eq!(path(&[b"x", b"d"], path_end::LOST), partial("(unknown)/d/x"));
        assert_eq!(path(&[], path_end::LOST), partial("(unknown)"));
        assert_eq!(path(&[b"x"], path_end::BELOW_PARENT), partial("(unknown)/x"), "the parent was lost");
        assert_eq!(path(&[b"x"], 0x42), partial("(unknown)/x"), "an end that we do not know");
    }

    #[test]
    fn a_file_without_name_says_so_where_the_kernel_does() {
        let end = path_end::ROOT | path_end::DELETED;
        let (path, _) =
            walked(&[b"sh", b"tmp"], end, Surroundings { device: None, parent: None, mounts: &mut mounts(&[]) });
        assert_eq!(path.to_bytes_marked(), b"/tmp/sh (deleted)");
        assert_eq!(path.to_bytes(), b"/tmp/sh");
    }

    #[test]
    fn without_mount_the_file_system_is_looked_up() {
        let names: &[&[u8]] = &[b"x", b"joe", b"@home"];
        let end = path_end::FILE_SYSTEM;
        let of = |rows: &[(&str, &str)]| on(&mut mounts(rows), Some(8), names, end);
        assert_eq!(of(&[("/", "/")]), whole("/@home/joe/x"));
        assert_eq!(of(&[("/", "/srv")]), whole("/srv/@home/joe/x"));
        assert_eq!(of(&[("/@", "/"), ("/@home", "/home")]), whole("/home/joe/x"), "subvolumes of btrfs");
        assert_eq!(of(&[("/@home/joe", "/mnt"), ("/", "/a"), ("/", "/b")]), whole("/a/@home/joe/x"));
        assert_eq!(of(&[("/@home/jo", "/mnt")]), partial("/@home/joe/x"), "names are compared whole");
        assert_eq!(on(&mut mounts(&[("/", "/srv")]), Some(9), names, end), partial("/@home/joe/x"));
        assert_eq!(on(&mut mounts(&[("/", "/srv")]), None, names, end), partial("/@home/joe/x"));
    }

    #[test]
    fn names_of_the_caller_are_joined() {
        let base = KernelPath::absolute(b"/home/joe");
        let join = |name: &str| String::from_utf8(lexical(name.as_bytes(), &base)).unwrap();
        assert_eq!(join("a/b"), "/home/joe/a/b");
        assert_eq!(join("./a//b/./"), "/home/joe/a/b");
        assert_eq!(join("/etc//shadow"), "/etc/shadow");
        assert_eq!(join(""), "/home/joe");
        assert_eq!(join("/"), "/");
        assert_eq!(join(".."), "/home");
        assert_eq!(join("../.././../x"), "/x", "above the root is the root");
        assert_eq!(join("link/../x"), "/home/joe/link/../x", "link may lead anywhere");
        assert_eq!(join("/../etc/../x"), "/etc/../x");
    }

    #[test]
    fn the_parent_of_what_is_not_known_is_not_made_up() {
        assert_eq!(lexical(b"../x", &KernelPath::unknown()), b"(unknown)/../x");
        let outside = KernelPath::new(UNREACHABLE, true);
        assert_eq!(lexical(b"../x", &outside), b"(unreachable)/x");
    }
}
