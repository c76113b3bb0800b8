//! An event: all that one syscall (or one act of the daemon) caused, decoded and owned. The input of every format.
//!
//! Numbers are the kernel's; names beside ids are added by the formats through [`crate::Names`].

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use crate::parts::{BprmCaps, FileCapSets, FileCaps, Ipc, IpcPerm, MqAttributes, Part, TaskCaps};

/// Bytes of a name, path or argument exactly as the kernel held them: not NUL-terminated, not necessarily UTF-8.
pub type Bytes = Vec<u8>;

/// A word of ours or of audit: borrowed where it is made, owned where it was read from a log.
pub type Word = Cow<'static, str>;

/// One event. `serial` is unique within a run and starts at 2^31, apart from the kernel's own serials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since the epoch, UTC.
    pub time: u64,
    /// Event counter of this run.
    pub serial: u64,
    /// What happened.
    pub body: Body,
}

/// The time of an [`Event`] that happens now.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An act that a rule matched.
    Syscall(Box<SyscallEvent>),
    /// Events that were lost since the last such record, by cause.
    Lost(Vec<Loss>),
    /// The daemon's own doings (`DAEMON_START`, `DAEMON_END`, `CONFIG_CHANGE`...).
    Daemon(DaemonEvent),
    /// Records that come from elsewhere and belong to no system call: of programs (`USER_LOGIN`...), of security modules, of
    /// the kernel. At least one.
    Messages(Vec<Message>),
}

/// A record that is carried as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// audit's name of the record type, for example `USER_LOGIN` or `UNKNOWN[1399]`.
    pub record_type: Word,
    /// What follows the header of the record, without enrichment: `pid=1 uid=0 ...`. Without a newline or 0x1D.
    pub text: Bytes,
}

/// Losses of one cause.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Loss {
    /// Name of the counter, as in `auditctl -s` and the docs.
    pub cause: Word,
    /// How many since the last record.
    pub count: u64,
}

/// The daemon reporting on itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonEvent {
    /// auditd's record type name, for example `DAEMON_START`.
    pub record_type: Word,
    /// auditd's `op=` word, for example `start`.
    pub op: Word,
    /// Who caused it.
    pub auid: u32,
    /// Process that caused it.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its session.
    pub session: u32,
    /// `res=`.
    pub success: bool,
    /// More `name=value` pairs, for example the version.
    pub details: Vec<(Word, String)>,
}

/// What was done to the act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Let pass.
    #[default]
    Allow,
    /// Refused.
    Deny,
    /// Refused, and the task killed.
    Kill,
    /// A deny rule matched while it only reports.
    WouldDeny,
}

/// The rule that decided. The default is a rule of which nothing is known: native logs tell its keys and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleRef {
    /// 1-based position in its list; 0 where only its keys are known.
    pub number: u32,
    /// As `auditctl -l` prints it.
    pub text: Arc<str>,
    /// `-k` keys.
    pub keys: Arc<[Bytes]>,
    /// `always`, `deny` or `kill`.
    pub action: Word,
}

/// User and group ids of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "credentials(7) names them")]
pub struct Ids {
    pub auid: u32,
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
}

/// Arguments of a call as passed: six, or the four that native records have.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Args {
    values: [u64; 6],
    known: usize,
}

impl From<[u64; 6]> for Args {
    fn from(values: [u64; 6]) -> Self {
        Self { values, known: 6 }
    }
}

impl From<[u64; 4]> for Args {
    fn from([a0, a1, a2, a3]: [u64; 4]) -> Self {
        Self { values: [a0, a1, a2, a3, 0, 0], known: 4 }
    }
}

impl Deref for Args {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.values[..self.known]
    }
}

impl std::fmt::Debug for Args {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.deref().fmt(out)
    }
}

/// A syscall (or an act without one) that a rule matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyscallEvent {
    /// The deciding rule.
    pub rule: RuleRef,
    /// What was done to the act.
    pub verdict: Verdict,
    /// `AUDIT_ARCH_*` of the call.
    pub arch: u32,
    /// Syscall number in that arch.
    pub syscall: u32,
    /// Personality of the task (personality(2)); 0 is the usual one.
    pub personality: u32,
    /// The io_uring operation, for an act that was submitted through a ring. Its native record is `URINGOP`, which has
    /// neither call nor login nor program: read from there, `arch`, `syscall`, `args`, `comm` and `exe` are empty.
    pub uring_op: Option<u32>,
    /// Arguments as passed.
    pub args: Args,
    /// Return value; `None` where the call has not returned when the event was made.
    pub exit: Option<i64>,
    /// Kernel hook that saw the object, for example `file_open`; `None` where no hook was involved.
    pub hook: Option<Word>,
    /// Process id (thread group), as the initial pid namespace numbers it.
    pub pid: u32,
    /// Thread id; native records do not have it.
    pub tid: Option<u32>,
    /// Parent process id.
    pub ppid: u32,
    /// Ids of the task when the call ended.
    pub ids: Ids,
    /// Session id; 4294967295 is unset.
    pub session: u32,
    /// Label that a security module gives the task (`subj`).
    pub subject: Option<Bytes>,
    /// Controlling terminal (`pts0`), or `None`.
    pub tty: Option<Bytes>,
    /// `comm` of the task.
    pub comm: Bytes,
    /// Executable, absolute, as the process sees it; `None` for kernel threads.
    pub exe: Option<Bytes>,
    /// Device (`major << 20 | minor`) and inode of the executable.
    pub exe_id: Option<(u32, u64)>,
    /// Working directory, absolute, as the process sees it.
    pub cwd: Option<Bytes>,
    /// Arguments of a successful exec.
    pub argv: Option<Vec<Bytes>>,
    /// Objects in the order the kernel met them.
    pub paths: Vec<PathItem>,
    /// `sockaddr` bytes as passed to the kernel.
    pub sockaddr: Option<Bytes>,
    /// Tasks acted upon (kill, ptrace).
    pub targets: Vec<Target>,
    /// Command line: arguments with a NUL between two, cut at 128 bytes by the kernel; empty where the process has none.
    pub proctitle: Option<Bytes>,
    /// What calls of certain kinds have besides: see [`Part`].
    pub parts: Vec<Part>,
    /// What others recorded during the call (`CONFIG_CHANGE`, `AVC`, `LOGIN`...), in order.
    pub messages: Vec<Message>,
    /// Fields of a native SYSCALL record that have no place here, as they stood there: `name=value ...`.
    pub other_fields: Option<Bytes>,
    /// What could not be captured whole, for example `path` or `argv`.
    pub incomplete: Vec<Word>,
}

/// Role of a path in the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameType {
    /// Opened, changed, executed.
    #[default]
    Normal,
    /// Directory in which something was created or deleted.
    Parent,
    /// Came to be.
    Create,
    /// Ceased to be.
    Delete,
    /// The look-up failed before the kernel knew.
    Unknown,
}

/// Where a path's text came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PathSource {
    /// The kernel's own object.
    #[default]
    Kernel,
    /// The caller's memory when the call ended: the look-up had failed, so the caller could have changed it.
    User,
}

/// One object named in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathItem {
    /// Absolute, as the process sees it; as the call gave it, where it was read from a log of the kernel's audit. `None` where
    /// such a log has no name, because the call named a descriptor.
    pub path: Option<Bytes>,
    /// Role.
    pub name_type: NameType,
    /// Origin of `path`.
    pub source: PathSource,
    /// What the kernel knew of the inode; `None` where the look-up failed.
    pub inode: Option<Inode>,
    /// Label that a security module gives the object (`obj`).
    pub label: Option<Bytes>,
    /// Its file capabilities; `None` where they were not asked for.
    pub caps: Option<FileCaps>,
}

/// Inode attributes when the hook saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inode {
    /// Inode number.
    pub ino: u64,
    /// Device, `major << 20 | minor`.
    pub dev: u32,
    /// `st_mode`: type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, `major << 20 | minor`.
    pub rdev: u32,
}

/// A task acted upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Process id.
    pub pid: u32,
    /// Login uid.
    pub auid: u32,
    /// Real uid.
    pub uid: u32,
    /// Session id.
    pub session: u32,
    /// Label that a security module gives it.
    pub label: Option<Bytes>,
    /// `comm`.
    pub comm: Bytes,
}
