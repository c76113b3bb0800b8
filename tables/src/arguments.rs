//! What arguments of system calls mean, where `auditctl -l -i` prints them as names.
//!
//! Sources: man pages of section 2, `asm-generic/fcntl.h` (x86 values), `asm-generic/signal.h`, auditctl(8).

use crate::lookup;

/// How an argument is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgumentKind {
    /// `O_*`.
    OpenFlags,
    /// Permission bits.
    Mode,
    /// `R_OK` and its like.
    Access,
    /// A signal.
    Signal,
    /// A directory descriptor, or `AT_FDCWD`.
    DirFd,
    /// A socket's address family.
    Family,
    /// A socket's type.
    SocketType,
    /// What a mapping may be used for.
    Protection,
    /// `MAP_*`.
    Mapping,
    /// `RESOLVE_*` of openat2(2), whose record has them.
    Resolve,
}

impl ArgumentKind {
    /// A value as auditctl and ausearch show it; `None` where that is a number.
    #[must_use]
    pub fn shown(self, value: u32) -> Option<String> {
        match self {
            Self::OpenFlags => {
                let read_only = (value & 3 == 0).then_some("O_RDONLY");
                bits(read_only, OPEN_FLAGS, value)
            }
            Self::Access if value & 0xf == 0 => Some("F_OK".to_owned()),
            Self::Access => bits(None, ACCESS_BITS, value),
            Self::Protection if value & 7 == 0 => Some("PROT_NONE".to_owned()),
            Self::Protection => bits(None, PROTECTION_BITS, value),
            Self::Mapping => bits(None, MAPPING_BITS, value),
            Self::Resolve => bits(None, RESOLVE_BITS, value),
            Self::Mode => Some(mode(value)),
            Self::Signal => {
                let name = signal_name(value).map(str::to_owned);
                name.or_else(|| Some(format!("unknown-signal(0x{value:x})")))
            }
            Self::DirFd => (value.cast_signed() == AT_FDCWD).then(|| "AT_FDCWD".to_owned()),
            Self::Family => {
                let name = crate::address_family_name(value).map(str::to_owned);
                name.or_else(|| Some(format!("unknown-family(0x{value:x})")))
            }
            Self::SocketType => {
                let name = socket_type_name(value).map(str::to_owned);
                name.or_else(|| Some(format!("unknown-type({value:x})")))
            }
        }
    }
}

const AT_FDCWD: i32 = -100;

fn bits(first: Option<&'static str>, names: &[(u32, &'static str)], value: u32) -> Option<String> {
    let set = names.iter().filter(|row| row.0 & value != 0).map(|row| row.1);
    let names: Vec<_> = first.into_iter().chain(set).collect();
    (!names.is_empty()).then(|| names.join("|"))
}

fn mode(value: u32) -> String {
    let special: Vec<_> = SPECIAL_BITS.iter().filter(|row| row.0 & value != 0).map(|row| row.1).collect();
    let permissions = format!("0{:03o}", value & 0o777);
    if special.is_empty() { permissions } else { format!("{},{permissions}", special.join(",")) }
}

/// Calls, the position of the argument from 0, and how it is read.
#[rustfmt::skip]
const ROWS: &[(&[&str], usize, ArgumentKind)] = &[
    (&["open", "mq_open"], 1, ArgumentKind::OpenFlags),
    (&["openat"], 2, ArgumentKind::OpenFlags),
    (&["chmod", "fchmod", "creat", "mkdir"], 1, ArgumentKind::Mode),
    (&["fchmodat", "mkdirat", "mknodat"], 2, ArgumentKind::Mode),
    (&["access"], 1, ArgumentKind::Access),
    (&["faccessat"], 2, ArgumentKind::Access),
    (&["kill", "tkill"], 1, ArgumentKind::Signal),
    (&["tgkill"], 2, ArgumentKind::Signal),
    (&["mkdirat", "mknodat", "fchownat", "futimesat", "fchmodat", "faccessat", "unlinkat", "utimensat", "linkat",
       "newfstatat", "openat", "renameat", "readlinkat", "execveat"], 0, ArgumentKind::DirFd),
    (&["linkat"], 2, ArgumentKind::DirFd),
    (&["socket"], 0, ArgumentKind::Family),
    (&["socket"], 1, ArgumentKind::SocketType),
    (&["mmap", "mprotect"], 2, ArgumentKind::Protection),
    (&["mmap"], 3, ArgumentKind::Mapping),
];

/// How an argument of a call is read, if it is more than a number.
#[must_use]
pub fn argument_kind(call: &str, position: usize) -> Option<ArgumentKind> {
    ROWS.iter().find(|row| row.1 == position && row.0.contains(&call)).map(|row| row.2)
}

/// Bits of an open's flags; no bit of `O_ACCMODE` is `O_RDONLY`.
const OPEN_FLAGS: &[(u32, &str)] = &[
    (0o1, "O_WRONLY"),
    (0o2, "O_RDWR"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o10000, "O_DSYNC"),
    (0o20000, "O_ASYNC"),
    (0o40000, "O_DIRECT"),
    (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o4_000_000, "__O_SYNC"),
    (0o10_000_000, "O_PATH"),
    (0o20_000_000, "__O_TMPFILE"),
];

/// Bits of a mode above the permissions, as audit's tools name them.
pub const SPECIAL_BITS: &[(u32, &str)] = &[(0o4000, "suid"), (0o2000, "sgid"), (0o1000, "sticky")];

/// Bits of `access`.
const ACCESS_BITS: &[(u32, &str)] = &[(1, "X_OK"), (2, "W_OK"), (4, "R_OK")];

/// Bits of `PROT_*`.
const PROTECTION_BITS: &[(u32, &str)] = &[
    (1, "PROT_READ"),
    (2, "PROT_WRITE"),
    (4, "PROT_EXEC"),
    (8, "PROT_SEM"),
    (0x0100_0000, "PROT_GROWSDOWN"),
    (0x0200_0000, "PROT_GROWSUP"),
];

/// Bits of `MAP_*` (`asm-generic/mman.h`, x86 values).
const MAPPING_BITS: &[(u32, &str)] = &[
    (0x1, "MAP_SHARED"),
    (0x2, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x40, "MAP_32BIT"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x1000, "MAP_EXECUTABLE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x1_0000, "MAP_NONBLOCK"),
    (0x2_0000, "MAP_STACK"),
    (0x4_0000, "MAP_HUGETLB"),
];

/// Bits of `RESOLVE_*` (`linux/openat2.h`).
const RESOLVE_BITS: &[(u32, &str)] = &[
    (0x1, "RESOLVE_NO_XDEV"),
    (0x2, "RESOLVE_NO_MAGICLINKS"),
    (0x4, "RESOLVE_NO_SYMLINKS"),
    (0x8, "RESOLVE_BENEATH"),
    (0x10, "RESOLVE_IN_ROOT"),
    (0x20, "RESOLVE_CACHED"),
];

const SOCKET_TYPES: &[(u32, &str)] = &[
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (4, "SOCK_RDM"),
    (5, "SOCK_SEQPACKET"),
    (6, "SOCK_DCCP"),
    (10, "SOCK_PACKET"),
];

/// Number of a socket type to its name; flags beside the type are ignored.
#[must_use]
pub fn socket_type_name(number: u32) -> Option<&'static str> {
    lookup::by_number(SOCKET_TYPES, number & 0xff)
}

const SIGNALS: &[(u32, &str)] = &[
    (0, "SIG0"),
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (16, "SIGSTKFLT"),
    (17, "SIGCHLD"),
    (18, "SIGCONT"),
    (19, "SIGSTOP"),
    (20, "SIGTSTP"),
    (21, "SIGTTIN"),
    (22, "SIGTTOU"),
    (23, "SIGURG"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (26, "SIGVTALRM"),
    (27, "SIGPROF"),
    (28, "SIGWINCH"),
    (29, "SIGIO"),
    (30, "SIGPWR"),
    (31, "SIGSYS"),
];

/// Number of a signal to its name.
#[must_use]
pub fn signal_name(number: u32) -> Option<&'static str> {
    lookup::by_number(SIGNALS, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, syscalls};

    #[test]
    fn every_name_is_a_system_call() {
        for name in ROWS.iter().flat_map(|row| row.0) {
            assert!(syscalls::number(Arch::B64, name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_argument_is_read_in_one_way() {
        lookup::assert_round_trip(SIGNALS);
        lookup::assert_round_trip(SOCKET_TYPES);
        assert_eq!(argument_kind("openat", 2), Some(ArgumentKind::OpenFlags));
        assert_eq!(argument_kind("openat", 0), Some(ArgumentKind::DirFd));
        assert_eq!(argument_kind("openat", 1), None);
        assert_eq!(argument_kind("getpid", 0), None);
    }
}
