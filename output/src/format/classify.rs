//! What an event is in the words of others: one table from system call to kind of act, and from there to the categories of
//! each format. `ecs`, `ocsf` and `cef` read it.
//!
//! ECS: event.category and event.type of Elastic Common Schema 8. OCSF: class and activity of version 1.3.

use crate::event::{NameType, SyscallEvent};
use crate::record::Record;

/// Kind of act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Execute,
    Fork,
    Exit,
    Signal,
    Trace,
    SetUser,
    Open,
    Create,
    Write,
    Delete,
    Rename,
    Attributes,
    Permissions,
    Mount,
    Unmount,
    Connect,
    Accept,
    Bind,
    Listen,
    Traffic,
    LoadModule,
    UnloadModule,
    SetSystem,
    Other,
}

/// What the formats say of a kind.
pub(super) struct Facts {
    /// Verb of `event.action` and of CEF's name.
    pub(super) action: &'static str,
    pub(super) ecs_category: &'static [&'static str],
    pub(super) ecs_type: &'static [&'static str],
    /// Class, activity.
    pub(super) ocsf: (u32, u32),
}

/// OCSF classes.
pub(super) const FILE_ACTIVITY: u32 = 1001;
pub(super) const KERNEL_EXTENSION: u32 = 1002;
pub(super) const KERNEL_ACTIVITY: u32 = 1003;
pub(super) const PROCESS_ACTIVITY: u32 = 1007;
pub(super) const NETWORK_ACTIVITY: u32 = 4001;

#[rustfmt::skip]
const CALLS: &[(Kind, &[&str])] = &[
    (Kind::Execute, &["execve", "execveat"]),
    (Kind::Fork, &["fork", "vfork", "clone", "clone3"]),
    (Kind::Exit, &["exit", "exit_group"]),
    (Kind::Signal, &["kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"]),
    (Kind::Trace, &["ptrace", "process_vm_readv", "process_vm_writev"]),
    (Kind::SetUser, &["setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
        "setgroups", "capset"]),
    (Kind::Open, &["open", "openat", "openat2", "open_by_handle_at", "access", "faccessat", "faccessat2", "readlink",
        "readlinkat", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr", "chdir", "fchdir"]),
    (Kind::Create, &["creat", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat"]),
    (Kind::Write, &["truncate", "ftruncate", "fallocate", "write", "pwrite64", "writev", "pwritev", "pwritev2"]),
    (Kind::Delete, &["unlink", "unlinkat", "rmdir"]),
    (Kind::Rename, &["rename", "renameat", "renameat2"]),
    (Kind::Attributes, &["utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr",
        "lremovexattr", "fremovexattr"]),
    (Kind::Permissions, &["chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"]),
    (Kind::Mount, &["mount", "fsmount", "move_mount", "open_tree", "pivot_root", "mount_setattr"]),
    (Kind::Unmount, &["umount", "umount2"]),
    (Kind::Connect, &["connect"]),
    (Kind::Accept, &["accept", "accept4"]),
    (Kind::Bind, &["bind"]),
    (Kind::Listen, &["listen"]),
    (Kind::Traffic, &["sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "socket", "socketpair", "shutdown"]),
    (Kind::LoadModule, &["init_module", "finit_module", "create_module"]),
    (Kind::UnloadModule, &["delete_module"]),
    (Kind::SetSystem, &["adjtimex", "clock_adjtime", "clock_settime", "settimeofday", "stime", "sethostname",
        "setdomainname", "reboot", "kexec_load", "kexec_file_load", "swapon", "swapoff", "acct", "quotactl", "iopl",
        "ioperm", "bpf"]),
];

impl Kind {
    pub(super) const fn facts(self) -> Facts {
        const FILE: &[&str] = &["file"];
        const PROCESS: &[&str] = &["process"];
        const NETWORK: &[&str] = &["network"];
        const HOST: &[&str] = &["host"];
        let (action, ecs_category, ecs_type, ocsf): (_, _, &[&str], _) = match self {
            Self::Execute => ("executed", PROCESS, &["start"], (PROCESS_ACTIVITY, 1)),
            Self::Fork => ("forked", PROCESS, &["start"], (PROCESS_ACTIVITY, 1)),
            Self::Exit => ("exited", PROCESS, &["end"], (PROCESS_ACTIVITY, 2)),
            Self::Signal => ("sent-signal", PROCESS, &["change"], (PROCESS_ACTIVITY, 99)),
            Self::Trace => ("traced", PROCESS, &["access", "change"], (PROCESS_ACTIVITY, 3)),
            Self::SetUser => ("changed-identity", PROCESS, &["change"], (PROCESS_ACTIVITY, 5)),
            Self::Open => ("opened-file", FILE, &["access"], (FILE_ACTIVITY, 14)),
            Self::Create => ("created-file", FILE, &["creation"], (FILE_ACTIVITY, 1)),
            Self::Write => ("changed-file", FILE, &["change"], (FILE_ACTIVITY, 3)),
            Self::Delete => ("deleted-file", FILE, &["deletion"], (FILE_ACTIVITY, 4)),
            Self::Rename => ("renamed-file", FILE, &["change"], (FILE_ACTIVITY, 5)),
            Self::Attributes => ("changed-file-attributes", FILE, &["change"], (FILE_ACTIVITY, 6)),
            Self::Permissions => ("changed-file-permissions", FILE, &["change"], (FILE_ACTIVITY, 7)),
            Self::Mount => ("mounted", FILE, &["change"], (FILE_ACTIVITY, 12)),
            Self::Unmount => ("unmounted", FILE, &["change"], (FILE_ACTIVITY, 13)),
            Self::Connect => ("connected-to", NETWORK, &["connection", "start"], (NETWORK_ACTIVITY, 1)),
            Self::Accept => ("accepted-connection", NETWORK, &["connection", "start"], (NETWORK_ACTIVITY, 1)),
            Self::Bind => ("bound-socket", NETWORK, &["start"], (NETWORK_ACTIVITY, 99)),
            Self::Listen => ("listened", NETWORK, &["start"], (NETWORK_ACTIVITY, 7)),
            Self::Traffic => ("used-socket", NETWORK, &["info"], (NETWORK_ACTIVITY, 6)),
            Self::LoadModule => ("loaded-kernel-module", &["driver"], &["start"], (KERNEL_EXTENSION, 1)),
            Self::UnloadModule => ("unloaded-kernel-module", &["driver"], &["end"], (KERNEL_EXTENSION, 2)),
            Self::SetSystem => ("changed-system", HOST, &["change"], (KERNEL_ACTIVITY, 4)),
            Self::Other => ("called", HOST, &["info"], (KERNEL_ACTIVITY, 4)),
        };
        Facts { action, ecs_category, ecs_type, ocsf }
    }
}

/// The kind of a call: by its name, and where that opens files, by what it did to its object.
pub(super) fn kind(record: &Record<'_>, call: &SyscallEvent) -> Kind {
    let Some(name) = record.names.syscall(call.arch, call.syscall).or_else(|| tables::io_uring_op_name(call.uring_op?))
    else {
        return Kind::Other;
    };
    let listed = CALLS.iter().find(|(_, names)| names.contains(&name)).map(|(kind, _)| *kind);
    match listed {
        Some(Kind::Open) if call.paths.iter().any(|item| item.name_type == NameType::Create) => Kind::Create,
        Some(kind) => kind,
        None if name.starts_with("openat") => Kind::Open,
        None => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_call_is_one_and_stands_once() {
        let mut names: Vec<&str> = CALLS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for name in names {
            let known = tables::Arch::ALL.into_iter().any(|arch| tables::syscalls::number(arch, name).is_some());
            assert!(known, "{name} is no system call");
        }
    }

    #[test]
    fn an_open_that_creates_is_a_creation() {
        let event = samples::event(samples::lost());
        let record = samples::record(&event);
        let mut open = samples::open_failed();
        assert_eq!(kind(&record, &open), Kind::Open);
        open.paths[0].name_type = NameType::Create;
        assert_eq!(kind(&record, &open), Kind::Create);
        assert_eq!(kind(&record, &samples::exec()), Kind::Execute);
        assert_eq!(kind(&record, &samples::device_killed()), Kind::Other);
    }
}
