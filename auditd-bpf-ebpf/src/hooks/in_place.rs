//! Inode hooks in the place of those of paths, on kernels without CONFIG_SECURITY_PATH: under the numbers of those, as they tell of
//! the same acts. They are shown no mount, and come after the permission checks.

use crate::{
    call::Call,
    hooks::file,
    kernel::{self, Object, Typed, field},
    record::{self, Met},
    task,
};
use auditd_bpf_common::{hooks, plan_rows::moment, wire::name_type};
use aya_ebpf::{macros::lsm, programs::LsmContext};

/// The directory that a name is in.
#[inline(always)]
fn directory_of(dentry: Object) -> Met {
    Met::Whole { role: name_type::PARENT, dentry: field(dentry, &kernel::DENTRY_D_PARENT), mount: core::ptr::null() }
}

/// Hooks that are shown a directory's inode and a name in it that comes or goes.
macro_rules! name_in_directory {
    ($($program:ident, $hook:literal, $record:path, $number:ident, $name:expr;)+) => {
        $(#[lsm(hook = $hook)]
        pub fn $program(ctx: LsmContext) -> i32 {
            let dentry = ctx.arg(1);
            $record(hooks::$number, [directory_of(dentry), $name(dentry)])
        })+
    };
}

name_in_directory! {
    lsm_inode_unlink, "inode_unlink", record::objects, PATH_UNLINK, Met::gone;
    lsm_inode_rmdir, "inode_rmdir", record::objects, PATH_RMDIR, Met::gone;
    lsm_inode_mkdir, "inode_mkdir", record::objects, PATH_MKDIR, Met::new;
    lsm_inode_symlink, "inode_symlink", record::objects, PATH_SYMLINK, Met::new;
    lsm_inode_mknod, "inode_mknod", file::changed, PATH_MKNOD, Met::new;
    lsm_inode_create, "inode_create", file::changed, PATH_MKNOD, Met::new;
}

#[lsm(hook = "inode_link")]
pub fn lsm_inode_link(ctx: LsmContext) -> i32 {
    let dentry: Object = ctx.arg(2);
    let new = Met::Becomes { role: name_type::CREATE, dentry, inode_of: ctx.arg(0) };
    record::objects(hooks::PATH_LINK, [Met::without_mount(ctx.arg(0)), directory_of(dentry), new])
}

#[lsm(hook = "inode_rename")]
pub fn lsm_inode_rename(ctx: LsmContext) -> i32 {
    let (old_dentry, new_dentry): (Object, Object) = (ctx.arg(1), ctx.arg(3));
    let new = Met::Becomes { role: name_type::CREATE, dentry: new_dentry, inode_of: old_dentry };
    let is_free = record::inode_address::<Typed>(new_dentry) == 0;
    let replaced = if is_free { Met::Nothing } else { Met::gone(new_dentry) };
    let (old, old_directory) = (Met::gone(old_dentry), directory_of(old_dentry));
    record::objects(hooks::PATH_RENAME, [old_directory, old, directory_of(new_dentry), replaced, new])
}

/// As in `refusing`, two programs: before 6.9 the hook was shown the dentry first.
#[lsm(hook = "inode_setattr")]
pub fn lsm_attributes(ctx: LsmContext) -> i32 {
    attributes(ctx.arg(0))
}

/// As above.
#[lsm(hook = "inode_setattr")]
pub fn lsm_attributes_mapped(ctx: LsmContext) -> i32 {
    attributes(ctx.arg(1))
}

/// In whose place, the call in progress tells. What empties a file through a descriptor has a hook of its own from 6.2 on, which
/// comes before.
#[inline(always)]
fn attributes(dentry: Object) -> i32 {
    const CHMOD: u64 = 1 << hooks::PATH_CHMOD;
    const CHOWN: u64 = 1 << hooks::PATH_CHOWN;
    const TRUNCATE: u64 = 1 << hooks::PATH_TRUNCATE;
    const OF_FILE: u64 = 1 << hooks::FILE_TRUNCATE;
    let Some(call) = Call::current_with(|own| own & (CHMOD | CHOWN | TRUNCATE) != 0) else { return 0 };
    if call.entry.hooks & OF_FILE != 0 && task::has_objects(&call) {
        return 0;
    }
    let hook = match call.entry.hooks {
        own if own & CHMOD != 0 => hooks::PATH_CHMOD,
        own if own & CHOWN != 0 => hooks::PATH_CHOWN,
        _ => hooks::PATH_TRUNCATE,
    };
    record::objects_of::<Typed, 1>(&call, hook, 0, moment::ANY_RESULT, [Met::without_mount(dentry)])
}
