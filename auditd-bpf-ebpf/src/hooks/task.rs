//! Acts upon other tasks.

use crate::{
    emit,
    kernel::{self, Object, field, member},
    record,
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

#[inline(always)]
fn target(hook: u32, task: Object) {
    let Some(context) = record::plain(hook) else { return };
    let cred: Object = field(task, &kernel::TASK_CRED);
    let mut target = TargetTask {
        pid: field(task, &kernel::TASK_TGID),
        auid: field(task, &kernel::TASK_LOGINUID),
        uid: field(cred, &kernel::CRED_UID),
        session: field(task, &kernel::TASK_SESSIONID),
        comm: [0; 16],
    };
    kernel::copy_kernel(target.comm.as_mut_ptr(), 16, member(task, &kernel::TASK_COMM) as u64);
    emit::append_value(context, section::TARGET, 0, &target);
}
