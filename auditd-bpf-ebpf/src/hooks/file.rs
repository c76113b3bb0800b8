//! Opening, and what is done by path: `path_*` hooks run before the permission checks, `file_*` after.

use crate::{
    call::Call,
    kernel::{self, Memory, Object, Probed, Typed, field, member},
    record::{self, Met},
    syscall, task,
};
use auditd_bpf_common::{hooks, plan_rows::moment, wire::name_type};
use aya_ebpf::{
    macros::{fexit, kprobe, lsm},
    programs::{FExitContext, LsmContext, ProbeContext},
};

/// The open created the file (`include/linux/fs.h`).
const FMODE_CREATED: u32 = 0x10_0000;
/// The open made a file without a name (`include/uapi/asm-generic/fcntl.h`).
const O_TMPFILE: u32 = 0o20_000_000;

#[lsm(hook = "file_open")]
pub fn lsm_file_open(ctx: LsmContext) -> i32 {
    let file: Object = ctx.arg(0);
    let access = record::open_access(field(file, &kernel::FILE_F_FLAGS));
    let (hook, moment) = (hooks::FILE_OPEN, moment::AFTER_CHECKS);
    let Some(call) = Call::current_open(hook, access, moment) else { return 0 };
    let is_new = field::<u32>(file, &kernel::FILE_F_MODE) & FMODE_CREATED != 0;
    met(&call, hook, access, moment, member(file, &kernel::FILE_F_PATH), is_new)
}

#[inline(always)]
fn met(call: &Call, hook: u32, access: u32, moment: usize, path: Object, is_new: bool) -> i32 {
    if !is_new {
        return record::objects_of::<Typed, 1>(call, hook, access, moment, [Met::at(name_type::NORMAL, path)]);
    }
    let dentry: Object = field(path, &kernel::PATH_DENTRY);
    let parent = Met::Whole {
        role: name_type::PARENT,
        dentry: field(dentry, &kernel::DENTRY_D_PARENT),
        mount: field(path, &kernel::PATH_MNT),
    };
    let created = Met::Below { role: name_type::CREATE, dentry };
    record::objects_of::<Typed, 2>(call, hook, access, moment, [parent, created])
}

/// The same when the open has returned, where no hook can be had.
#[inline(always)]
pub fn opened(file: u64) {
    let file = file as Object;
    let access = record::open_access(Probed::load(file, &kernel::FILE_F_FLAGS));
    let (hook, moment) = (hooks::FILE_OPEN, moment::AFTER_CHECKS);
    let Some(call) = Call::current_open(hook, access, moment) else { return };
    let path = member(file, &kernel::FILE_F_PATH);
    let (dentry, mount): (Object, Object) =
        (Probed::load(path, &kernel::PATH_DENTRY), Probed::load(path, &kernel::PATH_MNT));
    let is_new = Probed::load::<u32>(file, &kernel::FILE_F_MODE) & FMODE_CREATED != 0;
    let (parent, object) = if is_new {
        let parent = Probed::load(dentry, &kernel::DENTRY_D_PARENT);
        (Met::Whole { role: name_type::PARENT, dentry: parent, mount }, Met::Below { role: name_type::CREATE, dentry })
    } else {
        (Met::Nothing, Met::Whole { role: name_type::NORMAL, dentry, mount })
    };
    record::objects_of::<Probed, 2>(&call, hook, access, moment, [parent, object]);
}

/// The same at the end of `may_open` (`fs/namei.c`), which sees opens that are let through and opens that are refused: one
/// program for each open instead of two. Where a kernel does not leave such programs out, and nothing is opened but by path.
#[fexit]
pub fn fexit_may_open_all(ctx: FExitContext) -> u32 {
    let Ok(result) = ctx.ret::<i32>() else { return 0 };
    // By reckoning: see `moment`.
    let is_refused = (i64::from(result) as u64 >> 63) as u32;
    let moment = moment::AFTER_CHECKS - is_refused as usize;
    let hook = hooks::FILE_OPEN + is_refused * (hooks::MAY_OPEN - hooks::FILE_OPEN);
    let (checked, flags) = (ctx.arg::<u32>(2), ctx.arg::<u32>(3));
    let access = record::open_access(flags);
    if let Some(call) = Call::current_open(hook, access, moment) {
        // Of a file that the open just created nothing is checked.
        let is_new = checked == 0 && flags & O_TMPFILE == 0;
        met(&call, hook, access, moment, ctx.arg(1), is_new);
    }
    0
}

/// Opens that the permission checks refuse never reach `file_open`; `may_open` (`fs/namei.c`) is where they end.
#[fexit]
pub fn fexit_may_open(ctx: FExitContext) -> u32 {
    let access = record::open_access(ctx.arg::<u32>(3));
    if ctx.ret::<i32>().is_ok_and(|result| result != 0)
        && let Some(call) = Call::current_open(hooks::MAY_OPEN, access, moment::ANY_RESULT)
    {
        let object = Met::at(name_type::NORMAL, ctx.arg(1));
        record::objects_of::<Typed, 1>(&call, hooks::MAY_OPEN, access, moment::ANY_RESULT, [object]);
    }
    0
}

/// The same where the kernel preempts, and would leave the above out at times: at the start of the function, whose end cannot
/// be seen otherwise. What is let through comes to another hook, which forgets what was met here.
#[kprobe(function = "may_open")]
pub fn kprobe_may_open(ctx: ProbeContext) -> u32 {
    let (hook, moment) = (hooks::MAY_OPEN, moment::ANY_RESULT);
    if let (Some(path), Some(checked), Some(flags)) = (ctx.arg::<u64>(1), ctx.arg::<u32>(2), ctx.arg::<u32>(3))
        // As above.
        && checked != 0
        && let Some(call) = Call::current_open(hook, record::open_access(flags), moment)
        && !task::has_objects(&call)
    {
        let object = Met::at_address(name_type::NORMAL, path);
        record::objects_of::<Probed, 1>(&call, hook, record::open_access(flags), moment, [object]);
    }
    0
}

#[lsm(hook = "file_truncate")]
pub fn lsm_file_truncate(ctx: LsmContext) -> i32 {
    let file: Object = ctx.arg(0);
    changed(hooks::FILE_TRUNCATE, [Met::at(name_type::NORMAL, member(file, &kernel::FILE_F_PATH))])
}

#[lsm(hook = "path_truncate")]
pub fn lsm_path_truncate(ctx: LsmContext) -> i32 {
    changed(hooks::PATH_TRUNCATE, [Met::at(name_type::NORMAL, ctx.arg(0))])
}

#[lsm(hook = "path_mknod")]
pub fn lsm_path_mknod(ctx: LsmContext) -> i32 {
    let directory = Met::at(name_type::PARENT, ctx.arg(0));
    changed(hooks::PATH_MKNOD, [directory, Met::new(ctx.arg(1))])
}

/// What opens pass as well that make a file or empty it: writing, whatever else their flags say. Those of `openat2` are in memory
/// that another thread may change.
#[inline(always)]
pub fn changed<const N: usize>(hook: u32, objects: [Met; N]) -> i32 {
    const WRITING: u32 = 2;
    let Some(call) = Call::current(hook) else { return 0 };
    let access = if hook == hooks::PATH_MKNOD { syscall::access_by_flags(&call) | WRITING } else { WRITING };
    record::objects_of::<Typed, N>(&call, hook, access, moment::ANY_RESULT, objects)
}

/// Hooks that are shown one path.
macro_rules! one_path {
    ($($program:ident, $hook:literal, $number:ident;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            record::objects(hooks::$number, [Met::at(name_type::NORMAL, ctx.arg(0))])
        })+
    };
}

one_path! {
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
            record::objects(hooks::$number, [directory, $name(ctx.arg(1))])
        })+
    };
}

directory_and_name! {
    lsm_path_unlink, "path_unlink", PATH_UNLINK, Met::gone;
    lsm_path_rmdir, "path_rmdir", PATH_RMDIR, Met::gone;
    lsm_path_mkdir, "path_mkdir", PATH_MKDIR, Met::new;
    lsm_path_symlink, "path_symlink", PATH_SYMLINK, Met::new;
}

#[lsm(hook = "path_link")]
pub fn lsm_path_link(ctx: LsmContext) -> i32 {
    let directory: Object = ctx.arg(1);
    let mount = field(directory, &kernel::PATH_MNT);
    let old = Met::Whole { role: name_type::NORMAL, dentry: ctx.arg(0), mount };
    let new = Met::Becomes { role: name_type::CREATE, dentry: ctx.arg(2), inode_of: ctx.arg(0) };
    record::objects(hooks::PATH_LINK, [old, Met::at(name_type::PARENT, directory), new])
}

#[lsm(hook = "path_rename")]
pub fn lsm_path_rename(ctx: LsmContext) -> i32 {
    let old_directory = Met::at(name_type::PARENT, ctx.arg(0));
    let old = Met::gone(ctx.arg(1));
    let new_directory = Met::at(name_type::PARENT, ctx.arg(2));
    let new_dentry: Object = ctx.arg(3);
    let new = Met::Becomes { role: name_type::CREATE, dentry: new_dentry, inode_of: ctx.arg(1) };
    let replaced = if record::inode_address::<Typed>(new_dentry) == 0 { Met::Nothing } else { Met::gone(new_dentry) };
    record::objects(hooks::PATH_RENAME, [old_directory, old, new_directory, replaced, new])
}
