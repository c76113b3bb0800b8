//! What records tell besides objects, as the kernel has it when its own audit is told.

#![expect(non_snake_case, reason = "programs bear the names of functions")]

use crate::{
    emit,
    kernel::{self, Object, field},
    record, refuse,
    task::{Context, TaskContext},
};
use auditd_bpf_common::{
    hooks,
    wire::{ExecCaps, FileCaps, TaskCaps, part, section},
};
use aya_ebpf::{
    macros::{fentry, fexit, lsm},
    programs::{FEntryContext, FExitContext, LsmContext},
};

/// `include/linux/module.h`
const MODULE_NAME_BYTES: u32 = 56;
/// `struct __kernel_timex` (`include/uapi/linux/timex.h`): `modes` is its first field.
const TIMEX_TIME: u64 = 72;
const ADJ_SETOFFSET: u32 = 0x100;
const ADJ_NANO: u32 = 0x2000;
const IPC_SET: i32 = 1;
/// `struct ipc64_perm` (`include/uapi/asm-generic/ipcbuf.h`).
const IPC64_UID: u64 = 4;
const IPC64_GID: u64 = 8;
const IPC64_MODE: u64 = 20;
/// Six values, old and new (`include/linux/audit.h`).
const NTP_BYTES: u32 = 96;

#[inline(always)]
fn append<T: Copy>(context: &mut TaskContext, kind: u8, value: &T) {
    emit::append_value(context, section::PART, kind, value);
}

/// Capabilities are 64 bits, whatever the type around them.
#[inline(always)]
fn caps_of(cred: Object) -> TaskCaps {
    TaskCaps {
        permitted: field(cred, &kernel::CRED_CAP_PERMITTED),
        inheritable: field(cred, &kernel::CRED_CAP_INHERITABLE),
        effective: field(cred, &kernel::CRED_CAP_EFFECTIVE),
        ambient: field(cred, &kernel::CRED_CAP_AMBIENT),
    }
}

#[lsm(hook = "capset")]
pub fn lsm_capset(ctx: LsmContext) -> i32 {
    refuse::plain(record::part(hooks::CAPSET), hooks::CAPSET, |context| {
        let caps = caps_of(ctx.arg(0));
        append(context, part::CAPSET, &[caps.inheritable, caps.permitted, caps.effective, caps.ambient]);
    })
}

/// A capability is about to be made use of: the kernel's own module for them, which comes first, has said yes.
///
/// Who asks only for what to do by default (`CAP_OPT_NOAUDIT`, as for the memory that is set aside for root) makes no use of it, nor
/// does who asks about another task.
#[lsm(hook = "capable")]
pub fn lsm_capable(ctx: LsmContext) -> i32 {
    /// `include/linux/security.h`
    const NO_AUDIT: u32 = 2;
    let task = kernel::Task::current().object();
    if ctx.arg::<u32>(3) & NO_AUDIT != 0 || ctx.arg::<Object>(0) as u64 != field::<u64>(task, &kernel::TASK_CRED) {
        return 0;
    }
    let context = match record::noted(hooks::CAPABLE) {
        Ok(context) => context,
        Err(answer) => return answer,
    };
    let cap = 1 << (ctx.arg::<u32>(2) & 63);
    context.caps |= cap;
    let answer = refuse::plain_of(context, hooks::CAPABLE);
    if answer != 0 {
        context.caps &= !cap;
    }
    answer
}

/// Reads what a file that is executed gives.
#[fexit]
pub fn fexit_get_vfs_caps_from_disk(ctx: FExitContext) -> u32 {
    if ctx.ret::<i32>().is_ok_and(|result| result == 0)
        && let Some(context) = record::part_of_begun(hooks::FILE_CAPS)
    {
        let caps = ctx.arg::<Object>(2) as u64;
        context.file_caps = FileCaps {
            permitted: kernel::probe(caps, &kernel::VFS_CAPS_PERMITTED),
            inheritable: kernel::probe(caps, &kernel::VFS_CAPS_INHERITABLE),
            magic: kernel::probe(caps, &kernel::VFS_CAPS_MAGIC),
            root: kernel::probe(caps, &kernel::VFS_CAPS_ROOT),
        };
    }
    0
}

/// After the kernel's own module for capabilities, which the others stand behind.
#[lsm(hook = "bprm_creds_from_file")]
pub fn lsm_bprm_creds_from_file(ctx: LsmContext) -> i32 {
    if let Some(context) = record::part_of_begun(hooks::BPRM_CREDS) {
        let new: Object = field(ctx.arg(0), &kernel::BPRM_CRED);
        let old: Object = field(kernel::Task::current().object(), &kernel::TASK_CRED);
        let (before, after) = (caps_of(old), caps_of(new));
        let file = if context.file_caps.magic == 0 { FileCaps::default() } else { context.file_caps };
        let raised = is_raised(new, old, after, before, file) as u64;
        if raised != 0 || file.magic != 0 {
            append(context, part::EXEC_CAPS, &ExecCaps { file, old: before, new: after, raised });
        }
    }
    0
}

/// Whether the kernel's audit tells of an exec (`nonroot_raised_pE` in `security/commoncap.c`).
#[inline(always)]
fn is_raised(new: Object, old: Object, after: TaskCaps, before: TaskCaps, file: FileCaps) -> bool {
    /// All that there are (`CAP_LAST_CAP` is 40).
    const FULL: u64 = (1 << 41) - 1;
    const SECURE_NOROOT: u32 = 1;
    const REVISION: u32 = 0xff00_0000;
    let root = root_of(new);
    let (uid, euid) = (field::<u32>(new, &kernel::CRED_UID), field::<u32>(new, &kernel::CRED_EUID));
    let root_privileged = field::<u32>(old, &kernel::CRED_SECUREBITS) & SECURE_NOROOT == 0;
    let full = FULL & !after.effective == 0;
    let grew = after.effective & !after.ambient != 0;
    let gained = |before: u64, after: u64| after & !before != 0;
    grew && !(full && (euid == root || uid == root) && root_privileged)
        || root_privileged && euid == root && uid != root && !full
        || euid == field::<u32>(old, &kernel::CRED_UID)
            && (file.magic & REVISION != 0 && gained(before.permitted, after.permitted)
                || gained(before.ambient, after.ambient))
}

/// Root of the user namespace, in whose first extent it is, if in any: that maps from (first word) to (second).
#[inline(always)]
fn root_of(cred: Object) -> u32 {
    let extent = field::<u64>(cred, &kernel::CRED_USER_NS) + u64::from(kernel::USER_NS_UID_EXTENT.load());
    if kernel::probe_at::<u32>(extent) == 0 { kernel::probe_at(extent + 4) } else { u32::MAX }
}

/// The clock is about to be set. By how much is known where it is known what it was.
#[lsm(hook = "settime")]
pub fn lsm_settime(ctx: LsmContext) -> i32 {
    let wanted = ctx.arg::<Object>(0) as u64;
    if wanted == 0 {
        return refuse::only(hooks::SETTIME);
    }
    refuse::plain(record::part(hooks::SETTIME), hooks::SETTIME, |context| {
        let (seconds, nanoseconds) = (kernel::probe_at::<i64>(wanted), kernel::probe_at::<i64>(wanted + 8));
        append(context, part::CLOCK, &[seconds, nanoseconds, kernel::tai() as i64]);
    })
}

#[fentry]
pub fn fentry_do_adjtimex(ctx: FEntryContext) -> u32 {
    let timex = ctx.arg::<Object>(0) as u64;
    let modes: u32 = kernel::probe_at(timex);
    if modes & ADJ_SETOFFSET != 0
        && let Ok(context) = record::part(hooks::DO_ADJTIMEX)
    {
        let (seconds, fraction): (i64, i64) =
            (kernel::probe_at(timex + TIMEX_TIME), kernel::probe_at(timex + TIMEX_TIME + 8));
        let nanoseconds = if modes & ADJ_NANO != 0 { fraction } else { fraction.wrapping_mul(1000) };
        append(context, part::CLOCK_OFFSET, &[seconds, nanoseconds]);
    }
    0
}

/// The kernel notes for its own audit what it changes, whether that is on or not.
#[fexit]
pub fn fexit___do_adjtimex(ctx: FExitContext) -> u32 {
    ntp_values(record::part(hooks::NTP_VALUES), ctx.arg::<Object>(3) as u64);
    0
}

/// The same from 6.13 on.
#[fexit]
pub fn fexit_ntp_adjtimex(ctx: FExitContext) -> u32 {
    ntp_values(record::part(hooks::NTP_VALUES_OF_KEEPER), ctx.arg::<Object>(4) as u64);
    0
}

#[inline(always)]
fn ntp_values(context: Result<Context, i32>, values: u64) {
    if let Ok(context) = context {
        emit::append(context, section::PART, part::NTP, NTP_BYTES, |to| kernel::copy_kernel(to, NTP_BYTES, values));
    }
}

/// Loading and removing both ask whether there is a module of that name.
#[fentry]
pub fn fentry_find_module_all(ctx: FEntryContext) -> u32 {
    if let Ok(context) = record::part(hooks::FIND_MODULE) {
        let name = ctx.arg::<Object>(0) as u64;
        emit::append(context, section::PART, part::MODULE, MODULE_NAME_BYTES, |to| {
            kernel::copy_kernel(to, MODULE_NAME_BYTES, name)
        });
    }
    0
}

#[fentry]
pub fn fentry_ipcperms(ctx: FEntryContext) -> u32 {
    if let Ok(context) = record::part(hooks::IPC_PERMS) {
        ipc(context, ctx.arg::<Object>(1) as u64);
    }
    0
}

#[fexit]
pub fn fexit_ipcctl_obtain_check(ctx: FExitContext) -> u32 {
    let Ok(object) = ctx.ret::<i64>() else { return 0 };
    if kernel::is_error(object) {
        return 0;
    }
    let Ok(context) = record::part(hooks::IPC_CONTROL) else { return 0 };
    ipc(context, object as u64);
    if ctx.arg::<i32>(3) == IPC_SET {
        let (perm, queue_bytes) = (ctx.arg::<Object>(4) as u64, ctx.arg::<i32>(5) as u32);
        let value: [u32; 4] = [
            queue_bytes,
            kernel::probe_at(perm + IPC64_UID),
            kernel::probe_at(perm + IPC64_GID),
            kernel::probe_at(perm + IPC64_MODE),
        ];
        append(context, part::IPC_SET, &value);
    }
    0
}

#[inline(always)]
fn ipc(context: &mut TaskContext, object: u64) {
    let mode = u32::from(kernel::probe::<u16>(object, &kernel::IPC_MODE));
    let value: [u32; 3] = [kernel::probe(object, &kernel::IPC_UID), kernel::probe(object, &kernel::IPC_GID), mode];
    append(context, part::IPC, &value);
}
