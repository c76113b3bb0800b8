//! An event: all that one syscall (or one act of the daemon) caused, decoded and owned. The input of every format.
//!
//! Numbers are the kernel's; names beside ids are added by the formats through [`crate::Names`].

/// Bytes of a name, path or argument exactly as the kernel held them: not NUL-terminated, not necessarily UTF-8.
pub type Bytes = Vec<u8>;

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

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An act that a rule matched.
    Syscall(Box<SyscallEvent>),
    /// Events that were lost since the last such record, by cause.
    Lost(Vec<Loss>),
    /// The daemon's own doings (`DAEMON_START`, `DAEMON_END`, `CONFIG_CHANGE`...).
    Daemon(DaemonEvent),
}

/// Losses of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Name of the counter, as in `auditctl -s` and the docs.
    pub cause: &'static str,
    /// How many since the last record.
    pub count: u64,
}

/// The daemon reporting on itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonEvent {
    /// auditd's record type name, for example `DAEMON_START`.
    pub record_type: &'static str,
    /// auditd's `op=` word, for example `start`.
    pub op: &'static str,
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
    pub details: Vec<(&'static str, String)>,
}

/// What was done to the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Let pass.
    Allow,
    /// Refused.
    Deny,
    /// Refused, and the task killed.
    Kill,
    /// A deny rule matched while it only reports.
    WouldDeny,
}

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// 1-based position in its list.
    pub number: u32,
    /// As `auditctl -l` prints it.
    pub text: std::sync::Arc<str>,
    /// `-k` keys.
    pub keys: std::sync::Arc<[Bytes]>,
    /// `always`, `deny` or `kill`.
    pub action: &'static str,
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

/// A syscall (or an act without one) that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallEvent {
    /// The deciding rule.
    pub rule: RuleRef,
    /// What was done to the act.
    pub verdict: Verdict,
    /// `AUDIT_ARCH_*` of the call.
    pub arch: u32,
    /// Syscall number in that arch.
    pub syscall: u32,
    /// First six arguments as passed.
    pub args: [u64; 6],
    /// Return value; `None` where the call has not returned when the event was made.
    pub exit: Option<i64>,
    /// Kernel hook that saw the object, for example `file_open`; `None` where no hook was involved.
    pub hook: Option<&'static str>,
    /// Process id (thread group), as the initial pid namespace numbers it.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Parent process id.
    pub ppid: u32,
    /// Ids of the task when the call ended.
    pub ids: Ids,
    /// Session id; 4294967295 is unset.
    pub session: u32,
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
    /// What could not be captured whole, for example `path` or `argv`.
    pub incomplete: Vec<&'static str>,
}

/// Role of a path in the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameType {
    /// Opened, changed, executed.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathSource {
    /// The kernel's own object.
    Kernel,
    /// The caller's memory when the call ended: the look-up had failed, so the caller could have changed it.
    User,
}

/// One object named in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathItem {
    /// Absolute, as the process sees it.
    pub path: Bytes,
    /// Role.
    pub name_type: NameType,
    /// Origin of `path`.
    pub source: PathSource,
    /// What the kernel knew of the inode; `None` where the look-up failed.
    pub inode: Option<Inode>,
}

/// Inode attributes when the hook saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Process id.
    pub pid: u32,
    /// Login uid.
    pub auid: u32,
    /// Real uid.
    pub uid: u32,
    /// Session id.
    pub session: u32,
    /// `comm`.
    pub comm: Bytes,
}
