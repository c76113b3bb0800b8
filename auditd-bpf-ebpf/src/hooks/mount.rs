//! Mounting.

use crate::record::{self, Met};
use auditd_bpf_common::{hooks, wire::name_type};
use aya_ebpf::{macros::lsm, programs::LsmContext};

#[lsm(hook = "sb_mount")]
pub fn lsm_sb_mount(ctx: LsmContext) -> i32 {
    record::objects(hooks::SB_MOUNT, [Met::at(name_type::NORMAL, ctx.arg(1))]);
    0
}
