//! What goes through the ring buffer: an [`EventHeader`], then sections. An event that outgrows one sample is sent as
//! samples of kind [`kind::CHUNK`] and a last one of kind [`kind::EVENT`]; `tid` and `start` tie them together.

/// Changes with any change of layout or meaning.
pub const SCHEMA_VERSION: u32 = 3;

/// Kinds of samples.
pub mod kind {
    /// The last (or only) sample of an event; its header holds everything.
    pub const EVENT: u32 = 1;
    /// An earlier part: only `kind`, `schema`, `start`, `tid`, `chunk` and `payload_len` count.
    pub const CHUNK: u32 = 2;
}

/// Fixed part of a sample.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EventHeader {
    /// One of [`kind`].
    pub kind: u32,
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// Monotonic time in ns at which the event began; with `tid` its identity.
    pub start: u64,
    /// Monotonic time in ns of this sample.
    pub time: u64,
    /// Thread id, initial namespace.
    pub tid: u32,
    /// Thread group id.
    pub pid: u32,
    /// Thread group id of the parent.
    pub ppid: u32,
    /// Generation of the tables that decided.
    pub generation: u32,
    /// Deciding rule, in match order.
    pub rule: u32,
    /// 0 for b64, 1 for b32, 2 for an operation of io_uring.
    pub abi: u32,
    /// Syscall number.
    pub syscall: u32,
    /// One of [`crate::hooks`], or 0.
    pub hook: u32,
    /// Arguments.
    pub args: [u64; 6],
    /// Return value.
    pub exit: i64,
    /// Login uid.
    pub auid: u32,
    /// Session id.
    pub session: u32,
    /// Real, effective, saved and file system uid.
    pub uids: [u32; 4],
    /// Real, effective, saved and file system gid.
    pub gids: [u32; 4],
    /// Device of the executable, `major << 20 | minor`; 0 with `exe_ino` 0 for none.
    pub exe_dev: u32,
    /// [`incomplete`] bits.
    pub incomplete: u32,
    /// Inode of the executable.
    pub exe_ino: u64,
    /// Task name, NUL-padded.
    pub comm: [u8; 16],
    /// Controlling terminal, NUL-padded; empty for none.
    pub tty: [u8; 32],
    /// Number of the sample within the event, from 0.
    pub chunk: u32,
    /// Bytes of sections that follow.
    pub payload_len: u32,
    /// 0 if the call does not return: then `exit` says nothing.
    pub has_result: u32,
    /// Personality of the task.
    pub personality: u32,
    /// What was done to the act: one of [`verdict`].
    pub verdict: u32,
    /// Zero.
    pub _pad: u32,
}

/// What was done to an act.
pub mod verdict {
    /// Nothing.
    pub const ALLOW: u32 = 0;
    /// It was refused.
    pub const DENY: u32 = 1;
    /// It was refused, and the process killed.
    pub const KILL: u32 = 2;
    /// It would have been refused.
    pub const WOULD_DENY: u32 = 3;
}

/// What could not be captured whole.
pub mod incomplete {
    /// A path did not reach a root.
    pub const PATH: u32 = 1;
    /// The arguments of an exec.
    pub const ARGV: u32 = 2;
    /// A name in the caller's memory.
    pub const USER_NAME: u32 = 4;
    /// A chunk was lost.
    pub const CHUNK: u32 = 8;
}

/// Head of a section: `len` bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SectionHead {
    /// One of [`section`].
    pub kind: u8,
    /// Meaning depends on the kind.
    pub detail: u8,
    /// Length of what follows, in bytes.
    pub len: u16,
}

/// Kinds of sections.
pub mod section {
    /// An [`super::Object`]; the components of its path follow. `detail` is a [`super::name_type`].
    pub const OBJECT: u8 = 1;
    /// The path of the working directory follows.
    pub const CWD: u8 = 2;
    /// The path of the executable follows.
    pub const EXE: u8 = 3;
    /// One name of a path, leaf first, without NUL.
    pub const COMPONENT: u8 = 4;
    /// A path is whole (or given up); `detail` is a [`super::path_end`].
    pub const PATH_END: u8 = 5;
    /// A path as the caller's memory held it when the call ended; `detail` 0 or 1: first or second path of the call; 2: the text
    /// of a symbolic link.
    pub const USER_NAME: u8 = 6;
    /// The directory that a [`USER_NAME`] is relative to follows; `detail` as there.
    pub const DIRFD: u8 = 7;
    /// A socket address.
    pub const SOCKADDR: u8 = 8;
    /// Argument bytes, each argument NUL-terminated.
    pub const ARGV: u8 = 9;
    /// A [`super::TargetTask`].
    pub const TARGET: u8 = 10;
    /// The beginning of the process's command line, each argument NUL-terminated.
    pub const PROCTITLE: u8 = 11;
    /// The structure that an argument pointed to, as the caller's memory held it when the call ended.
    pub const DATA: u8 = 12;
    /// What a hook saw that is no object; `detail` is a [`super::part`].
    pub const PART: u8 = 13;
}

/// Kinds of parts, each in the kernel's own byte order.
pub mod part {
    /// Capability sets that capset sets, a `u64` each: inheritable, permitted, effective, ambient.
    pub const CAPSET: u8 = 1;
    /// A [`super::ExecCaps`].
    pub const EXEC_CAPS: u8 = 2;
    /// Name of a kernel module, up to its NUL.
    pub const MODULE: u8 = 3;
    /// Owner, group and mode of a System V IPC object, a `u32` each.
    pub const IPC: u8 = 4;
    /// What `IPC_SET` sets, a `u32` each: size of a message queue, owner, group, mode.
    pub const IPC_SET: u8 = 5;
    /// Old and new value of each NTP value, an `i64` each (`struct audit_ntp_data`).
    pub const NTP: u8 = 6;
    /// By what adjtimex sets the clock, an `i64` each: seconds, nanoseconds.
    pub const CLOCK_OFFSET: u8 = 7;
    /// What the clock is set to, an `i64` each: seconds, nanoseconds; then `CLOCK_TAI` at that moment, in nanoseconds.
    pub const CLOCK: u8 = 8;
}

/// Capabilities of a task, as in capabilities(7).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCaps {
    /// Permitted set.
    pub permitted: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Effective set.
    pub effective: u64,
    /// Ambient set.
    pub ambient: u64,
}

/// Capabilities of a file (`struct cpu_vfs_cap_data`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCaps {
    /// Permitted set.
    pub permitted: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Revision and flags; 0 where the file has none.
    pub magic: u32,
    /// Root of the user namespace to which they apply.
    pub root: u32,
}

/// Capabilities that an exec changes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecCaps {
    /// Of the file.
    pub file: FileCaps,
    /// Of the task before.
    pub old: TaskCaps,
    /// Of the task after.
    pub new: TaskCaps,
    /// 1 if the task rises by them, so that the kernel's audit tells (`nonroot_raised_pE` in `security/commoncap.c`).
    pub raised: u64,
}

/// How a path ended.
pub mod path_end {
    /// At the task's root: the path is absolute.
    pub const ROOT: u8 = 0;
    /// At the root of its mount tree, outside the task's root.
    pub const OUTSIDE: u8 = 1;
    /// At the root of its file system; no mount was known.
    pub const FILE_SYSTEM: u8 = 2;
    /// Before any root: too many steps or unreadable.
    pub const LOST: u8 = 3;
    /// The path is one name below the path of the preceding parent object.
    pub const BELOW_PARENT: u8 = 4;
    /// Added to one of the above: the file has no name any more.
    pub const DELETED: u8 = 0x80;
}

/// Role of an object, as in `nametype=`.
pub mod name_type {
    /// `NORMAL`
    pub const NORMAL: u8 = 1;
    /// `PARENT`
    pub const PARENT: u8 = 2;
    /// `CREATE`
    pub const CREATE: u8 = 3;
    /// `DELETE`
    pub const DELETE: u8 = 4;
}

/// An inode as the hook saw it; all zero where there was none yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Inode number.
    pub ino: u64,
    /// Device of the superblock, `major << 20 | minor`.
    pub dev: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Zero.
    pub _pad: u32,
}

/// A task acted upon.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetTask {
    /// Thread group id.
    pub pid: u32,
    /// Login uid.
    pub auid: u32,
    /// Real uid.
    pub uid: u32,
    /// Session id.
    pub session: u32,
    /// Task name, NUL-padded.
    pub comm: [u8; 16],
}

const _: () = {
    assert!(size_of::<EventHeader>() == 240);
    assert!(size_of::<SectionHead>() == 4);
    assert!(size_of::<Object>() == 32 && size_of::<TargetTask>() == 32);
    assert!(size_of::<FileCaps>() == 24 && size_of::<ExecCaps>() == 96);
};
