//! `perm`: which system calls count as reading, writing, executing, changing attributes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::BitOr;
use std::sync::LazyLock;

use crate::{Arch, syscalls};

/// A set of accesses; the bits are the kernel's `AUDIT_PERM_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Perm(u8);

impl Perm {
    /// No access.
    pub const NONE: Self = Self(0);
    /// `x`
    pub const EXEC: Self = Self(1);
    /// `w`
    pub const WRITE: Self = Self(2);
    /// `r`
    pub const READ: Self = Self(4);
    /// `a`
    pub const ATTR: Self = Self(8);
    /// `rwxa`
    pub const ALL: Self = Self(15);

    /// In the order in which they are printed.
    const LETTERS: [(Self, char); 4] = [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::EXEC, 'x'), (Self::ATTR, 'a')];

    /// The kernel's bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From the kernel's bits; others are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// From one letter, in any case.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Self> {
        let letter = letter.to_ascii_lowercase();
        Self::LETTERS.iter().find(|row| row.1 == letter).map(|row| row.0)
    }

    /// Whether every access of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The accesses of this set, one by one.
    pub fn each(self) -> impl Iterator<Item = Self> {
        Self::LETTERS.into_iter().map(|row| row.0).filter(move |one| self.contains(*one))
    }
}

impl BitOr for Perm {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Perm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = Self::LETTERS.iter().filter(|row| self.contains(row.0));
        letters.map(|row| row.1).collect::<String>().fmt(out)
    }
}

/// How the kernel tells the access of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessTest {
    /// By its number alone: it is in a class or it is not.
    Class,
    /// By the access mode (`O_ACCMODE`) in its flags: `open`, `openat`, `openat2`.
    OpenFlags,
    /// Always execution: `execve`, `execveat`.
    Exec,
    /// `socketcall`: writing if it binds.
    Socketcall,
}

/// How the access of a system call is told.
#[must_use]
pub fn access_test(arch: Arch, number: u16) -> AccessTest {
    match syscalls::name(arch, number) {
        Some("open" | "openat" | "openat2") => AccessTest::OpenFlags,
        Some("execve" | "execveat") => AccessTest::Exec,
        Some("socketcall") => AccessTest::Socketcall,
        _ => AccessTest::Class,
    }
}

/// Numbers, ascending, of the system calls that can have one of the accesses in `perm`, as the kernel classes them.
/// Of those, [`access_test`] says which need a look at their arguments.
#[must_use]
pub fn perm_class(perm: Perm, arch: Arch) -> Vec<u16> {
    static CLASSES: LazyLock<BTreeMap<(Arch, u8), Vec<u16>>> = LazyLock::new(|| {
        let perms = (0..=Perm::ALL.0).map(Perm);
        perms.flat_map(|perm| Arch::ALL.map(|arch| ((arch, perm.0), resolved_class(perm, arch)))).collect()
    });
    CLASSES.get(&(arch, perm.0)).cloned().unwrap_or_default()
}

fn resolved_class(perm: Perm, arch: Arch) -> Vec<u16> {
    let names = perm.each().flat_map(|one| match one {
        Perm::READ => [READ, OPEN, &[]],
        Perm::WRITE => [WRITE, OPEN, SOCKETCALL],
        Perm::EXEC => [EXEC, &[], &[]],
        _ => [ATTR, &[], &[]],
    });
    numbers(arch, names.flatten())
}

/// Numbers, ascending, of the system calls that auditctl 4 puts into a rule that has `arch` before `perm` and no `-S`.
/// The kernel still asks [`perm_class`], so calls that are only here never match.
#[must_use]
pub fn perm_listing(perm: Perm, arch: Arch) -> Vec<u16> {
    let names = perm.each().flat_map(|one| match one {
        Perm::READ => [READ, OPEN, LISTED_READ],
        Perm::WRITE => [WRITE, OPEN, LISTED_WRITE],
        Perm::EXEC => [EXEC, &[], &[]],
        _ => [ATTR, &[], &[]],
    });
    numbers(arch, names.flatten().filter(|name| !UNLISTED.contains(name)))
}

fn numbers<'a>(arch: Arch, names: impl Iterator<Item = &'a &'static str>) -> Vec<u16> {
    let mut numbers: Vec<u16> = names.filter_map(|name| syscalls::number(arch, name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

const OPEN: &[&str] = &["open", "openat", "openat2"];
const SOCKETCALL: &[&str] = &["socketcall"];
const EXEC: &[&str] = &["execve", "execveat"];

/// `asm-generic/audit_read.h`.
const READ: &[&str] = &[
    "readlink",
    "quotactl",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "readlinkat",
    "listxattrat",
    "getxattrat",
    "file_getattr",
];

/// `asm-generic/audit_write.h` and `audit_dir_write.h`.
const WRITE: &[&str] = &[
    "rename",
    "mkdir",
    "rmdir",
    "creat",
    "link",
    "unlink",
    "symlink",
    "mknod",
    "mkdirat",
    "mknodat",
    "unlinkat",
    "renameat",
    "linkat",
    "symlinkat",
    "renameat2",
    "acct",
    "swapon",
    "quotactl",
    "truncate",
    "truncate64",
    "ftruncate",
    "ftruncate64",
    "bind",
    "fallocate",
];

/// `asm-generic/audit_change_attr.h`.
const ATTR: &[&str] = &[
    "chmod",
    "fchmod",
    "chown",
    "chown32",
    "lchown",
    "lchown32",
    "fchown",
    "fchown32",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "fchownat",
    "fchmodat",
    "fchmodat2",
    "link",
    "linkat",
    "setxattrat",
    "removexattrat",
    "file_setattr",
];

/// In auditctl's list for `r`, not in the kernel's class.
const LISTED_READ: &[&str] = &["stat", "lstat", "fstat", "newfstatat", "statx", "quotactl_fd"];

/// In auditctl's list for `w`, not in the kernel's class.
const LISTED_WRITE: &[&str] = &["quotactl_fd"];

/// In a kernel class, not in auditctl's lists.
const UNLISTED: &[&str] = &["truncate64", "ftruncate64", "chown32", "lchown32", "fchown32"];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arch: Arch, numbers: &[u16]) -> Vec<&'static str> {
        numbers.iter().filter_map(|number| syscalls::name(arch, *number)).collect()
    }

    #[test]
    fn letters_print_in_auditctl_order() {
        let perm = "AXWR".chars().filter_map(Perm::from_letter).fold(Perm::NONE, BitOr::bitor);
        assert_eq!(perm, Perm::ALL);
        assert_eq!(perm.to_string(), "rwxa");
        assert_eq!((Perm::ATTR | Perm::WRITE).to_string(), "wa");
        assert_eq!(Perm::from_letter('q'), None);
    }

    #[test]
    fn exec_is_two_calls() {
        for arch in Arch::ALL {
            assert_eq!(names(arch, &perm_class(Perm::EXEC, arch)).len(), 2);
        }
        assert_eq!(names(Arch::B32, &perm_class(Perm::EXEC, Arch::B32)), ["execve", "execveat"]);
    }

    #[test]
    fn every_name_in_a_class_is_a_call_somewhere() {
        let classes = [OPEN, SOCKETCALL, EXEC, READ, WRITE, ATTR, LISTED_READ, LISTED_WRITE];
        for name in classes.concat() {
            assert!(Arch::ALL.iter().any(|arch| syscalls::number(*arch, name).is_some()), "{name}");
        }
    }

    #[test]
    fn wide_calls_of_i386_are_classed_but_not_listed() {
        let wide = syscalls::number(Arch::B32, "fchown32").unwrap();
        assert!(perm_class(Perm::ATTR, Arch::B32).contains(&wide));
        assert!(!perm_listing(Perm::ATTR, Arch::B32).contains(&wide));
    }

    #[test]
    fn reading_is_told_by_open_flags() {
        let open = syscalls::number(Arch::B64, "openat").unwrap();
        assert!(perm_class(Perm::READ, Arch::B64).contains(&open));
        assert_eq!(access_test(Arch::B64, open), AccessTest::OpenFlags);
        assert!(!perm_class(Perm::ATTR, Arch::B64).contains(&open));
    }
}
