//! Attributes and links, by inode hooks: they are shown a dentry but no mount.

use crate::record::{self, Met};
use auditd_bpf_common::hooks;
use aya_ebpf::{macros::lsm, programs::LsmContext};

macro_rules! one_dentry {
    ($($program:ident, $hook:literal, $argument:literal, $number:ident;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            record::objects(hooks::$number, [Met::without_mount(ctx.arg($argument))])
        })+
    };
}

one_dentry! {
    lsm_inode_setxattr, "inode_setxattr", 1, INODE_SETXATTR;
    lsm_inode_removexattr, "inode_removexattr", 1, INODE_REMOVEXATTR;
    lsm_inode_getxattr, "inode_getxattr", 0, INODE_GETXATTR;
    lsm_inode_listxattr, "inode_listxattr", 0, INODE_LISTXATTR;
    lsm_inode_readlink, "inode_readlink", 0, INODE_READLINK;
    lsm_inode_set_acl, "inode_set_acl", 1, INODE_SET_ACL;
    lsm_inode_get_acl, "inode_get_acl", 1, INODE_GET_ACL;
    lsm_inode_remove_acl, "inode_remove_acl", 1, INODE_REMOVE_ACL;
}
