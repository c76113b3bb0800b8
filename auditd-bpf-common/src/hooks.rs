//! Numbers of the hooks that see objects, and the programs that sit on them.

macro_rules! hooks {
    ($($id:ident = $number:literal, $name:literal;)+) => {
        $(#[doc = concat!("`", $name, "`")] pub const $id: u32 = $number;)+
        /// Number and name of each hook. The program of an LSM hook is called `lsm_NAME`, of a traced function `fexit_NAME`.
        pub const HOOKS: &[(u32, &str)] = &[$(($number, $name)),+];
    };
}

hooks! {
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
}

/// The hook that sees tasks come; it has no object.
pub const TASK_ALLOC: &str = "task_alloc";

/// Number of a hook by name.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    HOOKS.iter().find(|(_, n)| *n == name).map(|(number, _)| *number)
}

/// Name of a hook, or `None` for a number that is not in the table.
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    HOOKS.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}
