//! Acts upon other tasks.

use crate::{
    emit,
    kernel::{self, Memory, Object, Probed, Typed},
    record, refuse,
    task::{self, TaskContext},
};
use auditd_bpf_common::{
    hooks,
    wire::{TargetTask, section},
};
use aya_ebpf::{
    macros::{fentry, kprobe, lsm},
    programs::{FEntryContext, LsmContext, ProbeContext},
};

#[lsm(hook = "ptrace_access_check")]
pub fn lsm_ptrace_access_check(ctx: LsmContext) -> i32 {
    target::<Typed>(hooks::PTRACE_ACCESS_CHECK, ctx.arg(0))
}

#[lsm(hook = "task_kill")]
pub fn lsm_task_kill(ctx: LsmContext) -> i32 {
    target::<Typed>(hooks::TASK_KILL, ctx.arg(0))
}

/// Functions that are shown a task upon which the caller may perhaps not act.
macro_rules! before_checks {
    ($($entry:ident, $probe:ident, $function:literal, $argument:literal, $number:ident;)+) => {
        $(#[fentry]
        pub fn $entry(ctx: FEntryContext) -> u32 {
            target::<Typed>(hooks::$number, ctx.arg($argument));
            0
        }

        /// The same where the above would be left out at times.
        #[kprobe(function = $function)]
        pub fn $probe(ctx: ProbeContext) -> u32 {
            if let Some(task) = ctx.arg::<u64>($argument) {
                target::<Probed>(hooks::$number, task as Object);
            }
            0
        })+
    };
}

before_checks! {
    fentry_check_kill_permission, kprobe_check_kill_permission, "check_kill_permission", 2, KILL_PERMISSION;
    fentry_ptrace_attach, kprobe_ptrace_attach, "ptrace_attach", 0, PTRACE_ATTACH;
}

#[lsm(hook = "task_alloc")]
pub fn lsm_task_alloc(ctx: LsmContext) -> i32 {
    task::begun(ctx.arg(0));
    refuse::only(hooks::TASK_CREATED)
}

#[inline(always)]
fn target<M: Memory>(hook: u32, target: Object) -> i32 {
    let Some(context) = record::plain(hook) else { return 0 };
    context.target = u64::from(kernel::target_pid::<M>(target)) + 1;
    // A function before the checks has told of it: then the hook only refuses.
    let is_told = context.header.hook == hooks::KILL_PERMISSION && hook == hooks::TASK_KILL
        || context.header.hook == hooks::PTRACE_ATTACH && hook == hooks::PTRACE_ACCESS_CHECK;
    if !is_told {
        append_target::<M>(context, target);
    }
    refuse::plain(Some(context), hook)
}

#[inline(always)]
fn append_target<M: Memory>(context: &mut TaskContext, target: Object) {
    let cred: Object = M::load(target, &kernel::TASK_CRED);
    let mut value = TargetTask {
        pid: M::load(target, &kernel::TASK_TGID),
        auid: M::load(target, &kernel::TASK_LOGINUID),
        uid: M::load(cred, &kernel::CRED_UID),
        session: M::load(target, &kernel::TASK_SESSIONID),
        comm: [0; 16],
    };
    kernel::copy_kernel(value.comm.as_mut_ptr(), 16, M::address(target) + u64::from(kernel::TASK_COMM.load()));
    emit::append_value(context, section::TARGET, 0, &value);
}
