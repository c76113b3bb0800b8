//! Mounting.

use crate::{
    call::Call,
    kernel::Probed,
    record::{self, Met},
};
use auditd_bpf_common::{hooks, plan_rows::moment, wire::name_type};
use aya_ebpf::{
    macros::{fentry, kprobe, lsm},
    programs::{FEntryContext, LsmContext, ProbeContext},
};

#[lsm(hook = "sb_mount")]
pub fn lsm_sb_mount(ctx: LsmContext) -> i32 {
    record::objects(hooks::SB_MOUNT, [Met::at(name_type::NORMAL, ctx.arg(1))])
}

/// Before any check.
#[fentry]
pub fn fentry_path_umount(ctx: FEntryContext) -> u32 {
    record::objects(hooks::UMOUNT, [Met::at(name_type::NORMAL, ctx.arg(0))]);
    0
}

/// The same where the above would be left out at times.
#[kprobe(function = "path_umount")]
pub fn kprobe_path_umount(ctx: ProbeContext) -> u32 {
    if let (Some(path), Some(call)) = (ctx.arg::<u64>(0), Call::current(hooks::UMOUNT)) {
        let object = Met::at_address(name_type::NORMAL, path);
        record::objects_of::<Probed, 1>(&call, hooks::UMOUNT, 0, moment::ANY_RESULT, [object]);
    }
    0
}
