//! Opening, and what is done by path: `path_*` hooks run before the permission checks, `file_*` after.

use crate::{
    call::{Call, Moment},
    kernel::{self, Object, Probed, Typed, field, member},
    record::{self, Met},
    task,
};
use auditd_bpf_common::{hooks, wire::name_type};
use aya_ebpf::{
    macros::{fexit, kprobe, lsm},
    programs::{FExitContext, LsmContext, ProbeContext},
};

/// The open created the file (`include/linux/fs.h`).
const FMODE_CREATED: u32 = 0x10_0000;

#[lsm(hook = "file_open")]
pub fn lsm_file_open(ctx: LsmContext) -> i32 {
    if let Some(call) = Call::current(hooks::FILE_OPEN) {
        opened(&call, ctx.arg(0));
    }
    0
}

#[inline(always)]
fn opened(call: &Call, file: Object) {
    let path = member(file, &kernel::FILE_F_PATH);
    let access = record::open_access(field(file, &kernel::FILE_F_FLAGS));
    let (hook, moment) = (hooks::FILE_OPEN, Moment::AfterChecks);
    if field::<u32>(file, &kernel::FILE_F_MODE) & FMODE_CREATED == 0 {
        record::objects_of::<Typed, 1>(call, hook, access, moment, [Met::at(name_type::NORMAL, path)]);
        return;
    }
    let dentry: Object = field(path, &kernel::PATH_DENTRY);
    let parent = Met::Whole {
        role: name_type::PARENT,
        dentry: field(dentry, &kernel::DENTRY_D_PARENT),
        mount: field(path, &kernel::PATH_MNT),
    };
    let created = Met::Below { role: name_type::CREATE, dentry };
    record::objects_of::<Typed, 2>(call, hook, access, moment, [parent, created]);
}

/// Opens that the permission checks refuse never reach `file_open`; `may_open` (`fs/namei.c`) is where they end.
#[fexit]
pub fn fexit_may_open(ctx: FExitContext) -> u32 {
    if ctx.ret::<i32>().is_ok_and(|result| result != 0)
        && let Some(call) = Call::current(hooks::MAY_OPEN)
    {
        let access = record::open_access(ctx.arg::<u32>(3));
        let object = Met::at(name_type::NORMAL, ctx.arg(1));
        record::objects_of::<Typed, 1>(&call, hooks::MAY_OPEN, access, Moment::AnyResult, [object]);
    }
    0
}

/// The same where the kernel preempts, and would leave the above out at times: at the start of the function, whose end cannot
/// be seen otherwise. What is let through comes to another hook, which forgets what was met here.
#[kprobe(function = "may_open")]
pub fn kprobe_may_open(ctx: ProbeContext) -> u32 {
    if let (Some(path), Some(checked), Some(flags)) = (ctx.arg::<u64>(1), ctx.arg::<u32>(2), ctx.arg::<u32>(3))
        // Of a file that the open just created nothing is checked.
        && checked != 0
        && let Some(call) = Call::current(hooks::MAY_OPEN)
        && !task::has_objects(&call)
    {
        let object = Met::at_address(name_type::NORMAL, path);
        let (hook, moment) = (hooks::MAY_OPEN, Moment::AnyResult);
        record::objects_of::<Probed, 1>(&call, hook, record::open_access(flags), moment, [object]);
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
    lsm_inode_getattr, "inode_getattr", INODE_GETATTR;
}

/// Hooks that are shown a directory and a name in it that comes or goes.
macro_rules! directory_and_name {
    ($($program:ident, $hook:literal, $number:ident, $name:expr;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            let directory = Met::at(name_type::PARENT, ctx.arg(0));
            record::objects(hooks::$number, [directory, $name(ctx.arg(1))]);
            0
        })+
    };
}

directory_and_name! {
    lsm_path_unlink, "path_unlink", PATH_UNLINK, Met::gone;
    lsm_path_rmdir, "path_rmdir", PATH_RMDIR, Met::gone;
    lsm_path_mkdir, "path_mkdir", PATH_MKDIR, Met::new;
    lsm_path_mknod, "path_mknod", PATH_MKNOD, Met::new;
    lsm_path_symlink, "path_symlink", PATH_SYMLINK, Met::new;
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
    let old = Met::gone(ctx.arg(1));
    let new_directory = Met::at(name_type::PARENT, ctx.arg(2));
    let new_dentry: Object = ctx.arg(3);
    let new = Met::Becomes { role: name_type::CREATE, dentry: new_dentry, inode_of: ctx.arg(1) };
    let replaced = if record::inode_address::<Typed>(new_dentry) == 0 { Met::Nothing } else { Met::gone(new_dentry) };
    record::objects(hooks::PATH_RENAME, [old_directory, old, new_directory, replaced, new]);
    0
}
