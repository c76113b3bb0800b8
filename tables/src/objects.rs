//! What each system call acts on: the hooks that see it, and the arguments that name it.
//!
//! Sources: the calls of `security_*` in `fs/namei.c`, `fs/open.c`, `fs/xattr.c`, `fs/exec.c`, `fs/namespace.c`,
//! `net/socket.c`, `kernel/signal.c`, `kernel/ptrace.c`, `kernel/module/main.c` (Linux 6.1 to 7.3); the argument order of
//! the man pages in section 2.

use std::sync::LazyLock;

/// How the engine treats a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// Nothing special.
    Plain,
    /// The access mode is in a flags argument.
    Open,
    /// The access mode is in a `struct open_how`.
    OpenHow,
    /// The image is replaced before the call ends.
    Exec,
    /// The call returns twice, in the caller and in its child.
    Fork,
    /// Names mean others when the call has ended.
    Move,
    /// The second path is a text that is looked up by nobody yet.
    Symlink,
}

/// A path among the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathArgument {
    /// Which argument is the path, from 0.
    pub path: u8,
    /// Which is the directory descriptor it is relative to.
    pub dirfd: Option<u8>,
}

/// What a call acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objects {
    /// Names of the call in any ABI.
    pub names: &'static [&'static str],
    /// Hooks that see its objects, by kernel name; which of them a kernel has is probed.
    pub hooks: &'static [&'static str],
    /// Hooks that see what its record tells besides, by the same name.
    pub parts: &'static [&'static str],
    /// The paths it takes.
    pub paths: &'static [PathArgument],
    /// Which argument holds the flags of an open.
    pub flags: Option<u8>,
    /// Which argument points to a structure that records tell, and its length in bytes.
    pub data: Option<(u8, u8)>,
    /// How it is treated.
    pub treatment: Treatment,
    /// Whether its objects are files, so that `path` and `dir` can match.
    pub files: bool,
}

const fn at(path: u8) -> PathArgument {
    PathArgument { path, dirfd: None }
}

const fn below(dirfd: u8, path: u8) -> PathArgument {
    PathArgument { path, dirfd: Some(dirfd) }
}

const fn file(
    names: &'static [&'static str],
    hooks: &'static [&'static str],
    paths: &'static [PathArgument],
) -> Objects {
    Objects { names, hooks, parts: &[], paths, flags: None, data: None, treatment: Treatment::Plain, files: true }
}

const fn open(names: &'static [&'static str], paths: &'static [PathArgument], flags: u8, how: Treatment) -> Objects {
    Objects {
        names,
        hooks: OPEN_BY_PATH,
        parts: &[],
        paths,
        flags: Some(flags),
        data: None,
        treatment: how,
        files: true,
    }
}

const fn other(names: &'static [&'static str], hooks: &'static [&'static str]) -> Objects {
    Objects { names, hooks, parts: &[], paths: &[], flags: None, data: None, treatment: Treatment::Plain, files: false }
}

/// A local socket has a name among the files.
const fn socket(names: &'static [&'static str], hooks: &'static [&'static str]) -> Objects {
    Objects { files: true, ..other(names, hooks) }
}

const fn symlink(names: &'static [&'static str], paths: &'static [PathArgument]) -> Objects {
    Objects { treatment: Treatment::Symlink, ..file(names, &["path_symlink", PARENT], paths) }
}

const fn data(names: &'static [&'static str], arg: u8, length: u8) -> Objects {
    Objects { data: Some((arg, length)), ..other(names, &[]) }
}

const fn parts(names: &'static [&'static str], parts: &'static [&'static str]) -> Objects {
    Objects { parts, ..other(names, &[]) }
}

const fn exec(names: &'static [&'static str], paths: &'static [PathArgument]) -> Objects {
    Objects {
        names,
        hooks: EXEC,
        parts: &["bprm_creds_from_file", "get_vfs_caps_from_disk"],
        paths,
        flags: None,
        data: None,
        treatment: Treatment::Exec,
        files: true,
    }
}

const fn fork(names: &'static [&'static str]) -> Objects {
    Objects {
        names,
        hooks: &[],
        parts: &[],
        paths: &[],
        flags: None,
        data: None,
        treatment: Treatment::Fork,
        files: false,
    }
}

const OPEN: &[&str] = &["file_open", "may_open"];
/// The last sees what is opened with `O_PATH`, and no other.
const OPEN_BY_PATH: &[&str] = &["file_open", "may_open", LOOK_UP];
/// Sees every name that is looked up, but for opens.
const LOOK_UP: &str = "path_lookupat";
/// Sees names that the kernel looks up of its own: what is mounted elsewhere, or is on a device, and local sockets.
const KERNEL_LOOK_UP: &str = "kern_path";
/// Sees the directory of a name that comes or goes.
const PARENT: &str = "__filename_parentat";
/// The second sees a file that may not be executed, and no other.
const EXEC: &[&str] = &["bprm_check_security", "may_open"];
const MODULE: &[&str] = &["find_module_all"];
const SET_XATTR: &[&str] = &["inode_setxattr", "inode_set_acl"];
const GET_XATTR: &[&str] = &["inode_getxattr", "inode_get_acl"];
const REMOVE_XATTR: &[&str] = &["inode_removexattr", "inode_remove_acl"];

#[rustfmt::skip]
const OBJECTS: &[Objects] = &[
    open(&["open"], &[at(0)], 1, Treatment::Open),
    open(&["openat"], &[below(0, 1)], 2, Treatment::Open),
    Objects { data: Some((2, 24)), ..open(&["openat2"], &[below(0, 1)], 2, Treatment::OpenHow) },
    file(&["creat", "acct", "swapon", "swapoff"], OPEN, &[at(0)]),
    Objects { flags: Some(2), treatment: Treatment::Open, ..file(&["open_by_handle_at"], OPEN, &[]) },
    file(&["truncate", "truncate64"], &["path_truncate"], &[at(0)]),
    file(&["ftruncate", "ftruncate64"], &["path_truncate", "file_truncate"], &[]),
    file(&["unlink"], &["path_unlink", PARENT], &[at(0)]),
    file(&["unlinkat"], &["path_unlink", "path_rmdir", PARENT], &[below(0, 1)]),
    file(&["rmdir"], &["path_rmdir", PARENT], &[at(0)]),
    file(&["mkdir"], &["path_mkdir", PARENT], &[at(0)]),
    file(&["mkdirat"], &["path_mkdir", PARENT], &[below(0, 1)]),
    file(&["mknod"], &["path_mknod", PARENT], &[at(0)]),
    file(&["mknodat"], &["path_mknod", PARENT], &[below(0, 1)]),
    file(&["rename"], &["path_rename", PARENT], &[at(0), at(1)]),
    file(&["renameat", "renameat2"], &["path_rename", PARENT], &[below(0, 1), below(2, 3)]),
    file(&["link"], &["path_link", PARENT], &[at(0), at(1)]),
    file(&["linkat"], &["path_link", PARENT], &[below(0, 1), below(2, 3)]),
    symlink(&["symlink"], &[at(1), at(0)]),
    symlink(&["symlinkat"], &[below(1, 2), at(0)]),
    file(&["chmod"], &["path_chmod"], &[at(0)]),
    file(&["fchmod"], &["path_chmod"], &[]),
    file(&["fchmodat", "fchmodat2"], &["path_chmod"], &[below(0, 1)]),
    file(&["chown", "lchown", "chown32", "lchown32"], &["path_chown"], &[at(0)]),
    file(&["fchown", "fchown32"], &["path_chown"], &[]),
    file(&["fchownat"], &["path_chown"], &[below(0, 1)]),
    file(&["setxattr", "lsetxattr"], SET_XATTR, &[at(0)]),
    file(&["fsetxattr"], SET_XATTR, &[]),
    file(&["setxattrat"], SET_XATTR, &[below(0, 1)]),
    file(&["getxattr", "lgetxattr"], GET_XATTR, &[at(0)]),
    file(&["fgetxattr"], GET_XATTR, &[]),
    file(&["getxattrat"], GET_XATTR, &[below(0, 1)]),
    file(&["listxattr", "llistxattr"], &["inode_listxattr"], &[at(0)]),
    file(&["flistxattr"], &["inode_listxattr"], &[]),
    file(&["listxattrat"], &["inode_listxattr"], &[below(0, 1)]),
    file(&["removexattr", "lremovexattr"], REMOVE_XATTR, &[at(0)]),
    file(&["fremovexattr"], REMOVE_XATTR, &[]),
    file(&["removexattrat"], REMOVE_XATTR, &[below(0, 1)]),
    file(&["readlink"], &["inode_readlink"], &[at(0)]),
    file(&["readlinkat"], &["inode_readlink"], &[below(0, 1)]),
    exec(&["execve"], &[at(0)]),
    exec(&["execveat"], &[below(0, 1)]),
    fork(&["fork", "vfork", "clone", "clone3"]),
    file(&["mount"], &["sb_mount", KERNEL_LOOK_UP], &[at(1)]),
    Objects { parts: MODULE, ..file(&["finit_module"], &["kernel_read_file"], &[]) },
    parts(&["init_module", "delete_module"], MODULE),
    parts(&["capset"], &["capset"]),
    parts(&["settimeofday", "clock_settime", "clock_settime64", "stime"], &["settime"]),
    parts(&["adjtimex", "clock_adjtime", "clock_adjtime64"], &["do_adjtimex", "__do_adjtimex", "ntp_adjtimex"]),
    parts(
        &["shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop", "semtimedop_time64", "msgget", "msgsnd",
          "msgrcv", "msgctl", "ipc"],
        &["ipcperms", "ipcctl_obtain_check"],
    ),
    data(&["mmap"], 0, 24),
    data(&["pipe", "pipe2"], 0, 8),
    data(&["socketpair"], 3, 8),
    data(&["mq_open"], 3, 32),
    data(&["mq_timedsend", "mq_timedreceive", "mq_timedsend_time64", "mq_timedreceive_time64"], 4, 16),
    data(&["mq_notify"], 1, 16),
    data(&["mq_getsetattr"], 1, 32),
    file(&["stat", "lstat", "stat64", "lstat64"], &["inode_getattr"], &[at(0)]),
    file(&["newfstatat", "fstatat64", "statx"], &["inode_getattr"], &[below(0, 1)]),
    file(&["access", "statfs", "statfs64", "utime", "utimes"], &[LOOK_UP], &[at(0)]),
    file(
        &["faccessat", "faccessat2", "utimensat", "utimensat_time64", "futimesat", "name_to_handle_at"],
        &[LOOK_UP],
        &[below(0, 1)],
    ),
    file(&["inotify_add_watch"], &[LOOK_UP], &[at(1)]),
    Objects { treatment: Treatment::Move, ..file(&["chdir", "chroot"], &[LOOK_UP], &[at(0)]) },
    file(&["umount2"], &["path_umount"], &[at(0)]),
    socket(&["sendto", "sendmsg", "sendmmsg"], &["socket_sendmsg", KERNEL_LOOK_UP]),
    socket(&["connect"], &["socket_connect", KERNEL_LOOK_UP]),
    socket(&["bind"], &["socket_bind", "path_mknod"]),
    other(
        &["accept", "accept4", "recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64", "getsockname", "getpeername"],
        &["move_addr_to_user"],
    ),
    Objects {
        data: Some((1, 24)),
        ..socket(
            &["socketcall"],
            &["socket_connect", "socket_bind", "socket_sendmsg", "path_mknod", KERNEL_LOOK_UP, "move_addr_to_user"],
        )
    },
    other(&["ptrace"], &["ptrace_attach", "ptrace_access_check"]),
    other(
        &["kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"],
        &["check_kill_permission", "task_kill"],
    ),
];

/// What a call acts on; `None` for calls without an object that a hook sees.
#[must_use]
pub fn objects(name: &str) -> Option<&'static Objects> {
    static BY_NAME: LazyLock<Vec<(&str, &Objects)>> = LazyLock::new(|| {
        let mut rows: Vec<_> = OBJECTS.iter().flat_map(|row| row.names.iter().map(move |name| (*name, row))).collect();
        rows.sort_unstable_by_key(|row| row.0);
        rows
    });
    let row = BY_NAME.binary_search_by_key(&name, |row| row.0).ok()?;
    BY_NAME.get(row).map(|row| row.1)
}

/// All rows.
#[must_use]
pub fn all_objects() -> &'static [Objects] {
    OBJECTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, syscalls};

    #[test]
    fn every_name_is_a_system_call_and_stands_once() {
        let names: Vec<&str> = OBJECTS.iter().flat_map(|row| row.names).copied().collect();
        for name in &names {
            let known = syscalls::number(Arch::B64, name).or(syscalls::number(Arch::B32, name));
            assert!(known.is_some(), "{name}");
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }
}
