//! What calls of certain kinds have besides paths, arguments and addresses. Each part is a native record of its own; the
//! kernel's `show_special` and `audit_log_exit` (kernel/auditsc.c) write them.

use serde::{Deserialize, Serialize};

use crate::event::{Bytes, Word};
use crate::spelling::{hex, id, octal, optional_bytes};

/// One such part. In JSON records it is an object with the record type as `type` and the kernel's names of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Part {
    /// Capabilities that an exec changed (`BPRM_FCAPS`).
    #[serde(rename = "BPRM_FCAPS")]
    BprmCaps(Box<BprmCaps>),
    /// Arguments of socketcall(2) (`SOCKETCALL`).
    #[serde(rename = "SOCKETCALL")]
    SocketCall {
        /// As many as the call takes.
        #[serde(with = "crate::spelling::hex_list")]
        args: Vec<u64>,
    },
    /// A System V IPC object (`IPC`).
    #[serde(rename = "IPC")]
    Ipc(Ipc),
    /// What an `IPC_SET` asked for (`IPC_SET_PERM`).
    #[serde(rename = "IPC_SET_PERM")]
    IpcSetPerm(IpcPerm),
    /// mq_open(2) (`MQ_OPEN`).
    #[serde(rename = "MQ_OPEN")]
    MqOpen {
        /// Open flags.
        #[serde(rename = "oflag", with = "hex")]
        flags: u32,
        /// Mode of a new queue.
        #[serde(with = "octal")]
        mode: u32,
        /// Attributes asked for.
        #[serde(flatten)]
        attributes: MqAttributes,
    },
    /// mq_timedsend(2), mq_timedreceive(2) (`MQ_SENDRECV`).
    #[serde(rename = "MQ_SENDRECV")]
    MqSendReceive {
        /// Descriptor of the queue.
        #[serde(rename = "mqdes")]
        queue: i32,
        /// Length of the message.
        #[serde(rename = "msg_len")]
        length: i64,
        /// Its priority.
        #[serde(rename = "msg_prio")]
        priority: u32,
        /// Until when to wait: seconds.
        #[serde(rename = "abs_timeout_sec")]
        timeout_seconds: i64,
        /// And nanoseconds.
        #[serde(rename = "abs_timeout_nsec")]
        timeout_nanoseconds: i64,
    },
    /// mq_notify(2) (`MQ_NOTIFY`).
    #[serde(rename = "MQ_NOTIFY")]
    MqNotify {
        /// Descriptor of the queue.
        #[serde(rename = "mqdes")]
        queue: i32,
        /// Signal to send.
        #[serde(rename = "sigev_signo")]
        signal: i32,
    },
    /// mq_getsetattr(2) (`MQ_GETSETATTR`).
    #[serde(rename = "MQ_GETSETATTR")]
    MqGetSetAttr {
        /// Descriptor of the queue.
        #[serde(rename = "mqdes")]
        queue: i32,
        /// Attributes to set.
        #[serde(flatten)]
        attributes: MqAttributes,
    },
    /// capset(2) (`CAPSET`): the new sets.
    #[serde(rename = "CAPSET")]
    Capset {
        /// Process.
        pid: u32,
        /// Inheritable set.
        #[serde(rename = "cap_pi", with = "hex")]
        inheritable: u64,
        /// Permitted set.
        #[serde(rename = "cap_pp", with = "hex")]
        permitted: u64,
        /// Effective set.
        #[serde(rename = "cap_pe", with = "hex")]
        effective: u64,
        /// Ambient set.
        #[serde(rename = "cap_pa", with = "hex")]
        ambient: u64,
    },
    /// mmap(2) of a file (`MMAP`).
    #[serde(rename = "MMAP")]
    Mmap {
        /// Descriptor.
        fd: i32,
        /// Flags.
        #[serde(with = "hex")]
        flags: u32,
    },
    /// openat2(2): its `struct open_how` (`OPENAT2`).
    #[serde(rename = "OPENAT2")]
    Openat2 {
        /// Open flags.
        #[serde(rename = "oflag", with = "octal")]
        flags: u64,
        /// Mode of a new file.
        #[serde(with = "octal")]
        mode: u64,
        /// `RESOLVE_*`.
        #[serde(with = "hex")]
        resolve: u64,
    },
    /// A kernel module that is loaded or removed (`KERN_MODULE`).
    #[serde(rename = "KERN_MODULE")]
    KernelModule {
        /// Its name, where known.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_bytes")]
        name: Option<Bytes>,
    },
    /// The clock was set by that much (`TIME_INJOFFSET`).
    #[serde(rename = "TIME_INJOFFSET")]
    TimeInjOffset {
        /// Seconds.
        #[serde(rename = "sec")]
        seconds: i64,
        /// Nanoseconds.
        #[serde(rename = "nsec")]
        nanoseconds: i64,
    },
    /// An NTP value was changed (`TIME_ADJNTPVAL`).
    #[serde(rename = "TIME_ADJNTPVAL")]
    TimeAdjNtpVal {
        /// `offset`, `freq`, `status`, `tai`, `tick` or `adjust`.
        op: Word,
        /// Value before.
        old: i64,
        /// Value after.
        new: i64,
    },
    /// Both descriptors of pipe(2) or socketpair(2) (`FD_PAIR`).
    #[serde(rename = "FD_PAIR")]
    FdPair {
        /// First.
        fd0: i32,
        /// Second.
        fd1: i32,
    },
}

impl Part {
    /// audit's name of the record type.
    pub const fn record_type(&self) -> &'static str {
        match self {
            Self::BprmCaps(_) => "BPRM_FCAPS",
            Self::SocketCall { .. } => "SOCKETCALL",
            Self::Ipc(_) => "IPC",
            Self::IpcSetPerm(_) => "IPC_SET_PERM",
            Self::MqOpen { .. } => "MQ_OPEN",
            Self::MqSendReceive { .. } => "MQ_SENDRECV",
            Self::MqNotify { .. } => "MQ_NOTIFY",
            Self::MqGetSetAttr { .. } => "MQ_GETSETATTR",
            Self::Capset { .. } => "CAPSET",
            Self::Mmap { .. } => "MMAP",
            Self::Openat2 { .. } => "OPENAT2",
            Self::KernelModule { .. } => "KERN_MODULE",
            Self::TimeInjOffset { .. } => "TIME_INJOFFSET",
            Self::TimeAdjNtpVal { .. } => "TIME_ADJNTPVAL",
            Self::FdPair { .. } => "FD_PAIR",
        }
    }
}

/// Capabilities of a file, and of the task before and after it was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BprmCaps {
    /// Of the file.
    #[serde(flatten)]
    pub file: FileCapSets,
    /// Of the task before.
    pub old: TaskCaps,
    /// Of the task after.
    pub new: TaskCaps,
}

/// Capability sets of a task: capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "capabilities(7) names them")]
pub struct TaskCaps {
    #[serde(rename = "pp", with = "hex")]
    pub permitted: u64,
    #[serde(rename = "pi", with = "hex")]
    pub inheritable: u64,
    #[serde(rename = "pe", with = "hex")]
    pub effective: u64,
    #[serde(rename = "pa", with = "hex")]
    pub ambient: u64,
}

/// File capabilities of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileCaps {
    /// The kernel could not read them.
    Unread,
    /// It read them; all is 0 where there are none.
    Read(FileCapSets),
}

/// The `security.capability` attribute of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCapSets {
    /// Permitted set.
    #[serde(rename = "fp", with = "hex")]
    pub permitted: u64,
    /// Inheritable set.
    #[serde(rename = "fi", with = "hex")]
    pub inheritable: u64,
    /// Whether the permitted capabilities are effective at once.
    #[serde(rename = "fe")]
    pub effective: bool,
    /// Version of the attribute, as it stands there.
    #[serde(rename = "fver", with = "hex")]
    pub version: u32,
    /// Uid that is root in the user namespace to which they apply.
    #[serde(rename = "frootid")]
    pub root: u32,
}

/// Owner and mode of a System V IPC object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipc {
    /// Owner.
    #[serde(rename = "ouid", with = "id")]
    pub uid: u32,
    /// Group.
    #[serde(rename = "ogid", with = "id")]
    pub gid: u32,
    /// Mode.
    #[serde(with = "octal")]
    pub mode: u32,
    /// Label that a security module gives it.
    #[serde(rename = "obj", default, skip_serializing_if = "Option::is_none", with = "optional_bytes")]
    pub label: Option<Bytes>,
}

/// What `IPC_SET` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpcPerm {
    /// `msg_qbytes`.
    #[serde(rename = "qbytes")]
    pub queue_bytes: u64,
    /// Owner.
    #[serde(rename = "ouid", with = "id")]
    pub uid: u32,
    /// Group.
    #[serde(rename = "ogid", with = "id")]
    pub gid: u32,
    /// Mode.
    #[serde(with = "octal")]
    pub mode: u32,
}

/// `struct mq_attr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MqAttributes {
    /// `mq_flags`.
    #[serde(rename = "mq_flags", with = "hex")]
    pub flags: u64,
    /// `mq_maxmsg`.
    #[serde(rename = "mq_maxmsg")]
    pub max_messages: i64,
    /// `mq_msgsize`.
    #[serde(rename = "mq_msgsize")]
    pub message_size: i64,
    /// `mq_curmsgs`.
    #[serde(rename = "mq_curmsgs")]
    pub messages: i64,
}
