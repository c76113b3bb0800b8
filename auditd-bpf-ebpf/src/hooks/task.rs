//! Acts upon other tasks.

use crate::{
    emit,
    kernel::{self, Object, field, member},
    record, task,
};
use auditd_bpf_common::{
    hooks,
    wire::{TargetTask, section},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

#[lsm(hook = "ptrace_access_check")]
pub fn lsm_ptrace_access_check(ctx: LsmContext) -> i32 {
    target(hooks::PTRACE_ACCESS_CHECK, ctx.arg(0));
    0
}

#[lsm(hook = "task_kill")]
pub fn lsm_task_kill(ctx: LsmContext) -> i32 {
    target(hooks::TASK_KILL, ctx.arg(0));
    0
}

#[lsm(hook = "task_alloc")]
pub fn lsm_task_alloc(ctx: LsmContext) -> i32 {
    task::begun(ctx.arg(0));
    0
}

#[inline(always)]
fn target(hook: u32, target: Object) {
    let Some(context) = record::plain(hook) else { return };
    let cred: Object = field(target, &kernel::TASK_CRED);
    let mut value = TargetTask {
        pid: field(target, &kernel::TASK_TGID),
        auid: field(target, &kernel::TASK_LOGINUID),
        uid: field(cred, &kernel::CRED_UID),
        session: field(target, &kernel::TASK_SESSIONID),
        comm: [0; 16],
    };
    kernel::copy_kernel(value.comm.as_mut_ptr(), 16, member(target, &kernel::TASK_COMM) as u64);
    emit::append_value(context, section::TARGET, 0, &value);
}
