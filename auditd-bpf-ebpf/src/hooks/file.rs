//! Opening, and what is done by path: `path_*` hooks run before the permission checks, `file_*` after.

use crate::{
    filter::Call,
    kernel::{self, Object, field, member},
    record::{self, Met},
};
use auditd_bpf_common::{hooks, plan_rows::ROW_ALL, wire::name_type};
use aya_ebpf::{
    macros::{fexit, lsm},
    programs::{FExitContext, LsmContext},
};

/// The open created the file (`include/linux/fs.h`).
const FMODE_CREATED: u32 = 0x10_0000;

#[lsm(hook = "file_open")]
pub fn lsm_file_open(ctx: LsmContext) -> i32 {
    if let Some(call) = Call::current() {
        opened(&call, ctx.arg(0));
    }
    0
}

#[inline(always)]
fn opened(call: &Call, file: Object) {
    let path = member(file, &kernel::FILE_F_PATH);
    let access = record::open_access(field(file, &kernel::FILE_F_FLAGS));
    let result_row = call.tables.header.success_row;
    if field::<u32>(file, &kernel::FILE_F_MODE) & FMODE_CREATED == 0 {
        record::objects_of(call, hooks::FILE_OPEN, access, result_row, [Met::at(name_type::NORMAL, path)]);
        return;
    }
    let dentry: Object = field(path, &kernel::PATH_DENTRY);
    let parent = Met::Whole {
        role: name_type::PARENT,
        dentry: field(dentry, &kernel::DENTRY_D_PARENT),
        mount: field(path, &kernel::PATH_MNT),
    };
    let created = Met::Below { role: name_type::CREATE, dentry };
    record::objects_of(call, hooks::FILE_OPEN, access, result_row, [parent, created]);
}

/// Opens that the permission checks refuse never reach `file_open`; `may_open` (`fs/namei.c`) is where they end.
#[fexit]
pub fn fexit_may_open(ctx: FExitContext) -> u32 {
    if ctx.ret::<i32>().is_ok_and(|result| result != 0)
        && let Some(call) = Call::current()
    {
        let access = record::open_access(ctx.arg::<u32>(3));
        record::objects_of(&call, hooks::MAY_OPEN, access, ROW_ALL, [Met::at(name_type::NORMAL, ctx.arg(1))]);
    }
    0
}

#[lsm(hook = "file_truncate")]
pub fn lsm_file_truncate(ctx: LsmContext) -> i32 {
    let file: Object = ctx.arg(0);
    record::objects(hooks::FILE_TRUNCATE, [Met::at(name_type::NORMAL, member(file, &kernel::FILE_F_PATH))]);
    0
}

/// Hooks that are shown one path.
macro_rules! one_path {
    ($($program:ident, $hook:literal, $number:ident;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            record::objects(hooks::$number, [Met::at(name_type::NORMAL, ctx.arg(0))]);
            0
        })+
    };
}

one_path! {
    lsm_path_truncate, "path_truncate", PATH_TRUNCATE;
    lsm_path_chmod, "path_chmod", PATH_CHMOD;
    lsm_path_chown, "path_chown", PATH_CHOWN;
}

/// Hooks that are shown a directory and a name in it that comes or goes.
macro_rules! directory_and_name {
    ($($program:ident, $hook:literal, $number:ident, $role:ident;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            let directory = Met::at(name_type::PARENT, ctx.arg(0));
            record::objects(hooks::$number, [directory, Met::Below { role: name_type::$role, dentry: ctx.arg(1) }]);
            0
        })+
    };
}

directory_and_name! {
    lsm_path_unlink, "path_unlink", PATH_UNLINK, DELETE;
    lsm_path_rmdir, "path_rmdir", PATH_RMDIR, DELETE;
    lsm_path_mkdir, "path_mkdir", PATH_MKDIR, CREATE;
    lsm_path_mknod, "path_mknod", PATH_MKNOD, CREATE;
    lsm_path_symlink, "path_symlink", PATH_SYMLINK, CREATE;
}

#[lsm(hook = "path_link")]
pub fn lsm_path_link(ctx: LsmContext) -> i32 {
    let directory: Object = ctx.arg(1);
    let mount = field(directory, &kernel::PATH_MNT);
    let old = Met::Whole { role: name_type::NORMAL, dentry: ctx.arg(0), mount };
    let new = Met::Becomes { role: name_type::CREATE, dentry: ctx.arg(2), inode_of: ctx.arg(0) };
    record::objects(hooks::PATH_LINK, [old, Met::at(name_type::PARENT, directory), new]);
    0
}

#[lsm(hook = "path_rename")]
pub fn lsm_path_rename(ctx: LsmContext) -> i32 {
    let old_directory = Met::at(name_type::PARENT, ctx.arg(0));
    let old = Met::Below { role: name_type::DELETE, dentry: ctx.arg(1) };
    let new_directory = Met::at(name_type::PARENT, ctx.arg(2));
    let new_dentry: Object = ctx.arg(3);
    let new = Met::Becomes { role: name_type::CREATE, dentry: new_dentry, inode_of: ctx.arg(1) };
    let replaced = if field::<Object>(new_dentry, &kernel::DENTRY_D_INODE).is_null() {
        Met::Nothing
    } else {
        Met::Below { role: name_type::DELETE, dentry: new_dentry }
    };
    record::objects(hooks::PATH_RENAME, [old_directory, old, new_directory, replaced, new]);
    0
}
