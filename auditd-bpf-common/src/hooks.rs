//! Numbers of the hooks that see objects, and the programs that sit on them.

macro_rules! hooks {
    ($(#[$doc:meta])+ $all:ident: $($id:ident = $number:literal, $name:literal;)+) => {
        $(#[doc = concat!("`", $name, "`")] pub const $id: u32 = $number;)+
        $(#[$doc])+
        pub const $all: &[(u32, &str)] = &[$(($number, $name)),+];
    };
}

hooks! {
    /// Number and name of each hook. The program of an LSM hook is called `lsm_NAME`. That of a traced function stands at its
    /// end (`fexit_NAME`), or at its start (`fentry_NAME`) if it is among [`AT_START`]; where such programs may be left out,
    /// it is `kprobe_NAME`, and for those of [`BY_RETURN`] `kretprobe_NAME` besides.
    HOOKS:
    FILE_OPEN = 1, "file_open";
    MAY_OPEN = 2, "may_open";
    BPRM_CHECK = 3, "bprm_check_security";
    PATH_UNLINK = 4, "path_unlink";
    PATH_RMDIR = 5, "path_rmdir";
    PATH_MKDIR = 6, "path_mkdir";
    PATH_MKNOD = 7, "path_mknod";
    PATH_SYMLINK = 8, "path_symlink";
    PATH_LINK = 9, "path_link";
    PATH_RENAME = 10, "path_rename";
    PATH_TRUNCATE = 11, "path_truncate";
    FILE_TRUNCATE = 12, "file_truncate";
    PATH_CHMOD = 13, "path_chmod";
    PATH_CHOWN = 14, "path_chown";
    INODE_SETXATTR = 15, "inode_setxattr";
    INODE_REMOVEXATTR = 16, "inode_removexattr";
    INODE_GETXATTR = 17, "inode_getxattr";
    INODE_LISTXATTR = 18, "inode_listxattr";
    INODE_READLINK = 19, "inode_readlink";
    INODE_SET_ACL = 20, "inode_set_acl";
    INODE_REMOVE_ACL = 21, "inode_remove_acl";
    SOCKET_CONNECT = 22, "socket_connect";
    SOCKET_BIND = 23, "socket_bind";
    PTRACE_ACCESS_CHECK = 24, "ptrace_access_check";
    TASK_KILL = 25, "task_kill";
    SB_MOUNT = 26, "sb_mount";
    KERNEL_READ_FILE = 27, "kernel_read_file";
    INODE_GET_ACL = 28, "inode_get_acl";
    INODE_GETATTR = 29, "inode_getattr";
    SOCKET_SENDMSG = 30, "socket_sendmsg";
    PATH_LOOKUP = 31, "path_lookupat";
    PARENT_LOOKUP = 32, "__filename_parentat";
    SOCKET_ADDRESS = 33, "move_addr_to_user";
    KILL_PERMISSION = 34, "check_kill_permission";
    PTRACE_ATTACH = 35, "ptrace_attach";
    UMOUNT = 36, "path_umount";
    KERNEL_LOOKUP = 37, "kern_path";
}

hooks! {
    /// The same of hooks that see no object, but what a record tells besides: LSM hooks, and functions of which a kernel may
    /// lack some. The program of a function stands at its end, or at its start if it is among [`AT_START`].
    PARTS:
    CAPSET = 40, "capset";
    BPRM_CREDS = 41, "bprm_creds_from_file";
    FILE_CAPS = 42, "get_vfs_caps_from_disk";
    SETTIME = 43, "settime";
    DO_ADJTIMEX = 44, "do_adjtimex";
    NTP_VALUES = 45, "__do_adjtimex";
    NTP_VALUES_OF_KEEPER = 46, "ntp_adjtimex";
    FIND_MODULE = 47, "find_module_all";
    IPC_PERMS = 48, "ipcperms";
    IPC_CONTROL = 49, "ipcctl_obtain_check";
    CAPABLE = 50, "capable";
}

hooks! {
    /// The same of hooks that only refuse: nothing is recorded of what they let through.
    REFUSING:
    TASK_CREATED = 64, "task_alloc";
    MMAP_FILE = 65, "mmap_file";
    FILE_MPROTECT = 66, "file_mprotect";
    FILE_PERMISSION = 67, "file_permission";
    FILE_IOCTL = 68, "file_ioctl";
    FILE_IOCTL_COMPAT = 69, "file_ioctl_compat";
    FILE_FCNTL = 70, "file_fcntl";
    FILE_LOCK = 71, "file_lock";
    PATH_NOTIFY = 72, "path_notify";
    PATH_CHROOT = 73, "path_chroot";
    MOVE_MOUNT = 74, "move_mount";
    SB_UMOUNT = 75, "sb_umount";
    SB_PIVOTROOT = 76, "sb_pivotroot";
    SB_STATFS = 77, "sb_statfs";
    QUOTACTL = 78, "quotactl";
    INODE_SETATTR = 79, "inode_setattr";
    INODE_FILE_GETATTR = 80, "inode_file_getattr";
    INODE_FILE_SETATTR = 81, "inode_file_setattr";
    PTRACE_TRACEME = 82, "ptrace_traceme";
    TASK_FIX_SETUID = 83, "task_fix_setuid";
    TASK_FIX_SETGID = 84, "task_fix_setgid";
    TASK_FIX_SETGROUPS = 85, "task_fix_setgroups";
    TASK_SETPGID = 86, "task_setpgid";
    TASK_SETNICE = 87, "task_setnice";
    TASK_SETIOPRIO = 88, "task_setioprio";
    TASK_SETRLIMIT = 89, "task_setrlimit";
    TASK_PRLIMIT = 90, "task_prlimit";
    TASK_SETSCHEDULER = 91, "task_setscheduler";
    TASK_MOVEMEMORY = 92, "task_movememory";
    TASK_PRCTL = 93, "task_prctl";
    SOCKET_CREATE = 94, "socket_create";
    SOCKET_SOCKETPAIR = 95, "socket_socketpair";
    SOCKET_LISTEN = 96, "socket_listen";
    SOCKET_ACCEPT = 97, "socket_accept";
    SOCKET_RECVMSG = 98, "socket_recvmsg";
    SOCKET_GETSOCKNAME = 99, "socket_getsockname";
    SOCKET_GETPEERNAME = 100, "socket_getpeername";
    SOCKET_GETSOCKOPT = 101, "socket_getsockopt";
    SOCKET_SETSOCKOPT = 102, "socket_setsockopt";
    SOCKET_SHUTDOWN = 103, "socket_shutdown";
    KERNEL_LOAD_DATA = 104, "kernel_load_data";
    BPF = 105, "bpf";
    PERF_EVENT_OPEN = 106, "perf_event_open";
    SYSLOG = 107, "syslog";
    KEY_PERMISSION = 108, "key_permission";
    MSG_QUEUE_MSGSND = 109, "msg_queue_msgsnd";
    MSG_QUEUE_MSGRCV = 110, "msg_queue_msgrcv";
    MSG_QUEUE_MSGCTL = 111, "msg_queue_msgctl";
    SHM_SHMAT = 112, "shm_shmat";
    SHM_SHMCTL = 113, "shm_shmctl";
    SEM_SEMOP = 114, "sem_semop";
    SEM_SEMCTL = 115, "sem_semctl";
    USERNS_CREATE = 116, "userns_create";
}

/// Number of the first hook that only refuses.
pub const FIRST_REFUSING: u32 = TASK_CREATED;

/// What kernels without CONFIG_SECURITY_PATH, which have no hooks of paths, have in their place. The program of each bears the
/// name of the hook that it is on, and the number of the one whose place it takes. Such a hook comes after the permission checks.
pub const SUBSTITUTES: &[(&str, &[&str])] = &[
    ("path_unlink", &["inode_unlink"]),
    ("path_rmdir", &["inode_rmdir"]),
    ("path_mkdir", &["inode_mkdir"]),
    ("path_mknod", &["inode_mknod", "inode_create"]),
    ("path_symlink", &["inode_symlink"]),
    ("path_link", &["inode_link"]),
    ("path_rename", &["inode_rename"]),
    ("path_truncate", &[ATTRIBUTES]),
    ("path_chmod", &[ATTRIBUTES]),
    ("path_chown", &[ATTRIBUTES]),
];

/// The hook `inode_setattr` in the place of others: a program besides the one that it has for itself.
pub const ATTRIBUTES: &str = "inode_setattr in the place of path_chmod";

/// What a kernel that lacks a hook may have in its place.
#[must_use]
pub fn substitutes(hook: &str) -> &'static [&'static str] {
    SUBSTITUTES.iter().find(|(lacking, _)| *lacking == hook).map_or(&[], |(_, others)| others)
}

/// Functions with the program `fentry_NAME` at their start.
pub const AT_START: &[&str] = &[
    "do_adjtimex",
    "find_module_all",
    "ipcperms",
    "move_addr_to_user",
    "check_kill_permission",
    "ptrace_attach",
    "path_umount",
];

/// Whether the hook of this name is a traced function.
#[must_use]
pub fn is_function(name: &str) -> bool {
    number(name).is_some_and(|hook| hook == MAY_OPEN || (PATH_LOOKUP..=KERNEL_LOOKUP).contains(&hook))
}

/// Functions that fill in what they are asked for.
pub const BY_RETURN: &[&str] = &["path_lookupat", "__filename_parentat", "kern_path"];

/// Functions that see all that a hook sees, and those that are refused before it: where a kernel has the first, the second is of
/// no use.
pub const IN_PLACE_OF: &[(&str, &str)] =
    &[("check_kill_permission", "task_kill"), ("ptrace_attach", "ptrace_access_check")];

/// Whether what a hook is shown counts only as long as no other hook of the call is shown anything: it comes before the checks
/// that may end the call there.
#[inline(always)]
#[must_use]
pub const fn is_provisional(hook: u32) -> bool {
    // Reckoned, so that the verifier follows no branches.
    const BITS: u64 = 1 << MAY_OPEN | 1 << PATH_LOOKUP | 1 << PARENT_LOOKUP;
    BITS >> (hook & 63) & 1 != 0
}

/// The hook that sees tasks come.
pub const TASK_ALLOC: &str = "task_alloc";

/// Number of a hook by name.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    all().find(|(_, n)| *n == name).map(|(number, _)| *number)
}

/// Name of a hook, or `None` for a number that is not in the table.
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    all().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

fn all() -> impl Iterator<Item = &'static (u32, &'static str)> {
    HOOKS.iter().chain(PARTS).chain(REFUSING)
}
