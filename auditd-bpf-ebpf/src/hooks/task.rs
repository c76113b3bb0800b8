//! Acts upon other tasks.

use crate::{
    call::Call,
    emit,
    kernel::{self, Memory, Object, Probed, Typed},
    record, refuse, syscall,
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

/// Whoever asks wants to do more than look (`include/linux/ptrace.h`).
const PTRACE_MODE_ATTACH: u32 = 2;

/// Opens come here as well: of files in /proc by which a task's memory is reached, and of links there to what it has.
#[lsm(hook = "ptrace_access_check")]
pub fn lsm_ptrace_access_check(ctx: LsmContext) -> i32 {
    let attaches = ctx.arg::<u32>(1) & PTRACE_MODE_ATTACH != 0;
    target::<Typed>(hooks::PTRACE_ACCESS_CHECK, ctx.arg(0), |call| {
        if attaches { record::ANY_ACCESS } else { syscall::access_by_flags(call) }
    })
}

#[lsm(hook = "task_kill")]
pub fn lsm_task_kill(ctx: LsmContext) -> i32 {
    target::<Typed>(hooks::TASK_KILL, ctx.arg(0), |_| 0)
}

/// Functions that are shown a task upon which the caller may perhaps not act.
macro_rules! before_checks {
    ($($entry:ident, $probe:ident, $function:literal, $argument:literal, $number:ident;)+) => {
        $(#[fentry]
        pub fn $entry(ctx: FEntryContext) -> u32 {
            target::<Typed>(hooks::$number, ctx.arg($argument), |_| 0);
            0
        }

        /// The same where the above would be left out at times.
        #[kprobe(function = $function)]
        pub fn $probe(ctx: ProbeContext) -> u32 {
            if let Some(task) = ctx.arg::<u64>($argument) {
                target::<Probed>(hooks::$number, task as Object, |_| 0);
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

/// `access`: of a call that is an open.
#[inline(always)]
fn target<M: Memory>(hook: u32, target: Object, access: impl FnOnce(&Call) -> u32) -> i32 {
    let Some(call) = Call::current(hook) else { return 0 };
    let access = access(&call);
    let context = match record::plain_by(&call, hook, access) {
        Ok(context) => context,
        Err(answer) => return answer,
    };
    context.target = u64::from(kernel::target_pid::<M>(target)) + 1;
    // A function before the checks has told of it: then the hook only refuses.
    let is_told = context.header.hook == hooks::KILL_PERMISSION && hook == hooks::TASK_KILL
        || context.header.hook == hooks::PTRACE_ATTACH && hook == hooks::PTRACE_ACCESS_CHECK;
    if !is_told {
        append_target::<M>(context, target);
    }
    refuse::plain_by(context, hook, access)
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
