//! Which system calls an LSM hook can refuse before anything has happened, and which hooks those are.
//!
//! Sources: the calls of `security_*` in Linux 6.1 to 7.3, under `fs/`, `kernel/`, `mm/`, `net/socket.c`, `ipc/`,
//! `security/keys/`; `include/linux/lsm_hook_defs.h`. A hook that only some calls of a name pass counts where an
//! argument tells which ([`refusing_hooks_if`]); [`CAPABLE`] counts for rules that are about what it is asked.

/// Names of calls in any ABI, and the hooks that refuse them: an error of any is the error of the call, but for a few that have one
/// of their own for it (`process_vm_readv`, `keyctl`, `msgrcv`) or none (`setfsuid`, `setfsgid`).
struct Row {
    names: &'static [&'static str],
    hooks: &'static [&'static str],
}

const fn row(names: &'static [&'static str], hooks: &'static [&'static str]) -> Row {
    Row { names, hooks }
}

const SOCKETCALL: &[&str] = &[
    "socket_create",
    "socket_bind",
    "socket_connect",
    "socket_listen",
    "socket_accept",
    "socket_sendmsg",
    "socket_recvmsg",
    "socket_getsockname",
    "socket_getpeername",
    "socket_getsockopt",
    "socket_setsockopt",
    "socket_shutdown",
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // A new file is made before it is opened, so making it is refused by itself; emptying one is no access by the flags.
    row(OPENS, &["file_open", "path_mknod", "path_truncate", "file_truncate"]),
    row(&["open_by_handle_at", "acct", "swapon", "swapoff"], &["file_open"]),
    row(&["truncate", "truncate64"], &["path_truncate"]),
    row(&["ftruncate", "ftruncate64"], &["file_truncate", "path_truncate"]),
    row(&["unlink"], &["path_unlink"]),
    row(&["unlinkat"], &["path_unlink", "path_rmdir"]),
    row(&["rmdir"], &["path_rmdir"]),
    row(&["mkdir", "mkdirat"], &["path_mkdir"]),
    row(&["mknod", "mknodat"], &["path_mknod"]),
    row(&["rename", "renameat", "renameat2"], &["path_rename"]),
    row(&["link", "linkat"], &["path_link"]),
    row(&["symlink", "symlinkat"], &["path_symlink"]),
    row(&["chmod", "fchmod", "fchmodat", "fchmodat2"], &["path_chmod"]),
    row(&["chown", "fchown", "lchown", "fchownat", "chown32", "fchown32", "lchown32"], &["path_chown"]),
    row(&["utime", "utimes", "futimesat", "utimensat", "utimensat_time64"], &["inode_setattr"]),
    row(&["setxattr", "lsetxattr", "fsetxattr", "setxattrat"], &["inode_setxattr", "inode_set_acl"]),
    row(&["getxattr", "lgetxattr", "fgetxattr", "getxattrat"], &["inode_getxattr", "inode_get_acl"]),
    row(&["listxattr", "llistxattr", "flistxattr", "listxattrat"], &["inode_listxattr"]),
    row(&["removexattr", "lremovexattr", "fremovexattr", "removexattrat"], &["inode_removexattr", "inode_remove_acl"]),
    row(&["file_getattr"], &["inode_file_getattr"]),
    row(&["file_setattr"], &["inode_file_setattr"]),
    row(&["readlink", "readlinkat"], &["inode_readlink"]),
    row(&["stat", "lstat", "fstat", "newfstatat", "statx", "stat64", "lstat64", "fstat64", "fstatat64"], &["inode_getattr"]),
    row(&["read", "pread", "readv", "preadv", "preadv2", "write", "pwrite", "writev", "pwritev", "pwritev2"], &["file_permission"]),
    row(&["getdents", "getdents64", "fallocate", "sendfile", "sendfile64", "copy_file_range"], &["file_permission"]),
    row(&["ioctl"], &["file_ioctl", "file_ioctl_compat"]),
    row(&["fcntl", "fcntl64"], &["file_fcntl"]),
    row(&["flock"], &["file_lock"]),
    row(&["mmap", "mmap2"], &["mmap_file"]),
    row(&["mprotect", "pkey_mprotect"], &["file_mprotect"]),
    row(&["inotify_add_watch", "fanotify_mark"], &["path_notify"]),
    row(&["statfs", "fstatfs", "statfs64", "fstatfs64"], &["sb_statfs"]),
    row(&["quotactl", "quotactl_fd"], &["quotactl"]),
    row(&["mount"], &["sb_mount"]),
    row(&["umount", "umount2"], &["sb_umount"]),
    row(&["move_mount"], &["move_mount"]),
    row(&["pivot_root"], &["sb_pivotroot"]),
    row(&["chroot"], &["path_chroot"]),
    row(&["execve", "execveat"], &["bprm_check_security"]),
    row(&["fork", "vfork", "clone", "clone3"], &["task_alloc"]),
    row(&["kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"], &["task_kill"]),
    row(&["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"], &["ptrace_access_check", "ptrace_traceme"]),
    row(&["setuid", "setreuid", "setresuid", "setfsuid"], &["task_fix_setuid"]),
    row(&["setuid32", "setreuid32", "setresuid32", "setfsuid32"], &["task_fix_setuid"]),
    row(&["setgid", "setregid", "setresgid", "setfsgid"], &["task_fix_setgid"]),
    row(&["setgid32", "setregid32", "setresgid32", "setfsgid32"], &["task_fix_setgid"]),
    row(&["setgroups", "setgroups32"], &["task_fix_setgroups"]),
    row(&["setpgid"], &["task_setpgid"]),
    row(&["nice", "setpriority"], &["task_setnice"]),
    row(&["ioprio_set"], &["task_setioprio"]),
    row(&["setrlimit", "prlimit64"], &["task_setrlimit", "task_prlimit"]),
    row(&["sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity"], &["task_setscheduler"]),
    row(&["migrate_pages", "move_pages"], &["task_movememory"]),
    row(&["prctl"], &["task_prctl"]),
    row(&["capset"], &["capset"]),
    row(&["socket"], &["socket_create"]),
    row(&["socketpair"], &["socket_create", "socket_socketpair"]),
    row(&["bind"], &["socket_bind"]),
    row(&["connect"], &["socket_connect"]),
    row(&["listen"], &["socket_listen"]),
    row(&["accept", "accept4"], &["socket_accept"]),
    row(&["sendto", "sendmsg", "sendmmsg"], &["socket_sendmsg"]),
    row(&["recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64"], &["socket_recvmsg"]),
    row(&["setsockopt"], &["socket_setsockopt"]),
    row(&["getsockopt"], &["socket_getsockopt"]),
    row(&["shutdown"], &["socket_shutdown"]),
    row(&["getsockname"], &["socket_getsockname"]),
    row(&["getpeername"], &["socket_getpeername"]),
    row(&["socketcall"], SOCKETCALL),
    row(&["init_module", "kexec_load"], &["kernel_load_data"]),
    row(&["finit_module", "kexec_file_load"], &["kernel_read_file"]),
    row(&["bpf"], &["bpf"]),
    row(&["perf_event_open"], &["perf_event_open"]),
    row(&["syslog"], &["syslog"]),
    row(&["settimeofday", "clock_settime", "clock_settime64", "stime"], &["settime"]),
    row(&["add_key", "keyctl"], &["key_permission"]),
    row(&["msgsnd"], &["msg_queue_msgsnd"]),
    row(&["msgrcv"], &["msg_queue_msgrcv"]),
    row(&["msgctl"], &["msg_queue_msgctl"]),
    row(&["shmat"], &["shm_shmat"]),
    row(&["shmctl"], &["shm_shmctl"]),
    row(&["semop", "semtimedop", "semtimedop_time64"], &["sem_semop"]),
    row(&["semctl"], &["sem_semctl"]),
];

/// The hooks that can refuse a call, by kernel name, none if none can; which of them a kernel has is probed.
#[must_use]
pub fn refusing_hooks(call: &str) -> &'static [&'static str] {
    ROWS.iter().find(|row| row.names.contains(&call)).map_or(&[], |row| row.hooks)
}

/// Calls that pass hooks only where a bit of their first argument asks for it: `CLONE_NEWUSER` of unshare(2).
const IF_ASKED: &[(&str, u32, &[&str])] = &[("unshare", 0x1000_0000, &["userns_create"])];

/// A bit of a call's first argument, and the hooks that can refuse the call where it is set.
#[must_use]
pub fn refusing_hooks_if(call: &str) -> Option<(u32, &'static [&'static str])> {
    IF_ASKED.iter().find(|row| row.0 == call).map(|(_, bit, hooks)| (*bit, *hooks))
}

/// The opens, and what may refuse one besides where it is of a file or link in /proc by which a task is reached: its memory, what it
/// has mapped and opened.
const OPENS: &[&str] = &["open", "openat", "openat2", "creat"];
const OPENS_UPON_TASKS: &[&str] = &["file_open", "path_mknod", "path_truncate", "file_truncate", UPON_TASK];
const UPON_TASK: &str = "ptrace_access_check";

/// The hook that is shown the task which an open reaches by /proc, if the call is one.
#[must_use]
pub fn hook_upon_task(call: &str) -> Option<&'static str> {
    OPENS.contains(&call).then_some(UPON_TASK)
}

/// The hooks that can refuse a call to a rule that tests upon which task it acts.
#[must_use]
pub fn hooks_refusing_upon_task(call: &str) -> &'static [&'static str] {
    if OPENS.contains(&call) { OPENS_UPON_TASKS } else { refusing_hooks(call) }
}

/// Calls, an errno that stands for something else than a refusal where the kernel carries them out, and what it stands for:
/// `kill_pid_info` in `kernel/signal.c`, `security_task_prctl` in `security/security.c`.
const MISTAKEN: &[(&[&str], &str, &str)] = &[
    (&["kill", "rt_sigqueueinfo", "pidfd_send_signal"], "ESRCH", "to look for the task again, without end"),
    (&["prctl"], "ENOSYS", "to go on as if there were no hook"),
];

/// What the kernel takes an errno for, by name, with which a hook refuses a call, if that is no refusal.
#[must_use]
pub fn mistaken_for(call: &str, errno: &str) -> Option<&'static str> {
    let mut rows = MISTAKEN.iter();
    rows.find(|(calls, mistaken, _)| calls.contains(&call) && *mistaken == errno).map(|row| row.2)
}

/// Hooks, besides those of [`SOCKETCALL`], that are shown no file: no rule with `path`, `dir` or the like ever matches there.
const WITHOUT_FILE: &[&str] = &[
    "quotactl",
    "task_alloc",
    "task_kill",
    "ptrace_access_check",
    "ptrace_traceme",
    "task_fix_setuid",
    "task_fix_setgid",
    "task_fix_setgroups",
    "task_setpgid",
    "task_setnice",
    "task_setioprio",
    "task_setrlimit",
    "task_prlimit",
    "task_setscheduler",
    "task_movememory",
    "task_prctl",
    "capset",
    "socket_socketpair",
    "kernel_load_data",
    "bpf",
    "perf_event_open",
    "syslog",
    "settime",
    "key_permission",
    "msg_queue_msgsnd",
    "msg_queue_msgrcv",
    "msg_queue_msgctl",
    "shm_shmat",
    "shm_shmctl",
    "sem_semop",
    "sem_semctl",
];

/// Whether a hook that can refuse is shown the files that the call acts on.
#[must_use]
pub fn refuses_by_file(hook: &str) -> bool {
    !WITHOUT_FILE.contains(&hook) && !SOCKETCALL.contains(&hook)
}

/// Asked whether a task may make use of a capability, once the kernel itself lets it: in the course of any call.
pub const CAPABLE: &str = "capable";

/// Opens a file without a name: no perm of the kernel's audit has it, but one that refuses to open is to refuse it as well.
pub const BY_HANDLE: &str = "open_by_handle_at";

/// Calls by which the code of a file comes to be run without an exec, as by a dynamic loader run by hand.
pub const MAPS: &[&str] = &["mmap", "mmap2", "mprotect", "pkey_mprotect"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Perm, perm_class, syscalls};

    #[test]
    fn every_name_is_a_system_call_and_stands_once() {
        let names: Vec<&str> = ROWS.iter().flat_map(|row| row.names).copied().collect();
        for name in &names {
            let printed = |arch: Arch| syscalls::all(arch).iter().any(|row| row.1 == *name);
            assert!(Arch::ALL.into_iter().any(printed), "{name}");
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    /// Else a watch with `deny` would let some accesses pass.
    #[test]
    fn every_call_of_a_perm_can_be_refused() {
        for arch in [Arch::B64, Arch::B32] {
            for name in perm_class(Perm::ALL, arch).into_iter().filter_map(|number| syscalls::name(arch, number)) {
                assert!(!refusing_hooks(name).is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn errnos_are_mistaken_in_calls_that_can_be_refused() {
        for (calls, errno, _) in MISTAKEN {
            assert!(calls.iter().all(|call| !refusing_hooks(call).is_empty()), "{calls:?}");
            assert!(crate::errno_number(errno).is_some(), "{errno}");
        }
        assert_eq!(mistaken_for("tkill", "ESRCH"), None);
        assert!(mistaken_for("prctl", "ENOSYS").is_some());
    }

    #[test]
    fn calls_that_pass_hooks_if_asked_pass_none_always() {
        for (call, _, hooks) in IF_ASKED {
            assert!(refusing_hooks(call).is_empty() && !hooks.is_empty(), "{call}");
        }
        assert_eq!(refusing_hooks_if("kill"), None);
    }

    #[test]
    fn opens_upon_tasks_pass_one_hook_more() {
        for open in OPENS {
            assert_eq!(hooks_refusing_upon_task(open), [refusing_hooks(open), &[UPON_TASK]].concat());
        }
        assert_eq!(hooks_refusing_upon_task("kill"), refusing_hooks("kill"));
        assert_eq!(hook_upon_task("kill"), None);
    }

    #[test]
    fn hooks_without_a_file_are_hooks_that_refuse() {
        for hook in WITHOUT_FILE {
            assert!(ROWS.iter().any(|row| row.hooks.contains(hook)), "{hook}");
        }
        for map in MAPS {
            assert!(refusing_hooks(map).iter().all(|hook| refuses_by_file(hook)), "{map}");
        }
    }

    #[test]
    fn calls_that_only_a_capability_guards_cannot_be_refused() {
        for name in ["sethostname", "adjtimex", "personality", "delete_module", "reboot", "no such call"] {
            assert!(refusing_hooks(name).is_empty(), "{name}");
        }
    }
}
