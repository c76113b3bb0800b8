//! Refusing an act in a hook, before it happens: the first rule that matches by what is known there decides.
//!
//! The verdict stands in the task context until the end of the call, where the event is recorded as the refusing rule's,
//! whatever other rules say of a call that failed so.

use crate::{
    emit,
    filter::{Tables, each_word},
    kernel::{self, Object, Task},
    maps::{REFUSES, RULE_REFUSALS, count},
    record,
    task::{Context, Subject, TaskContext},
};
use auditd_bpf_common::{
    counters, hooks,
    limits::MAX_RULES,
    plan_rows::{SyscallEntry, moment, refusal, refuses},
    wire::verdict,
};
use aya_ebpf::helpers::generated as raw;

/// In the place of a verdict: the act was refused as there was no room to record it, and so there is none to record that.
pub const UNRECORDED: u32 = refusal::VERDICT_BITS;
const SIGKILL: u32 = 9;
/// The answer to an act that is let through: 4095 less no errno.
pub const LET_THROUGH: u32 = refusal::ERRNO_BITS;
/// `EPERM`
const NOT_PERMITTED: i32 = -1;

/// Whether some rule may refuse the call in a hook.
#[inline(always)]
pub fn may_refuse(entry: &SyscallEntry, hook: u32) -> bool {
    REFUSES.load() != refuses::NOTHING && entry.refuses[(hook >> 6) as usize & 1] >> (hook & 63) & 1 != 0
}

/// The verdict on a call whose object is no file, once the event has been told what the hook knows of the act: what it is to return.
#[inline(always)]
pub fn plain(context: Result<Context, i32>, hook: u32, tell: impl FnOnce(&mut TaskContext)) -> i32 {
    match context {
        Ok(context) => {
            tell(context);
            plain_of(context, hook)
        }
        Err(answer) => answer,
    }
}

/// The same of an event that is begun.
#[inline(always)]
pub fn plain_of(context: &mut TaskContext, hook: u32) -> i32 {
    plain_by(context, hook, 0)
}

/// The same where the call may be an open with this access.
#[inline(always)]
pub fn plain_by(context: &mut TaskContext, hook: u32, access: u32) -> i32 {
    if REFUSES.load() == refuses::NOTHING {
        return 0;
    }
    context.slot_now = context.slot;
    kernel::clear(&mut context.own_rules);
    decide(context, hook, access);
    result(context)
}

/// The same in a hook that only refuses.
#[inline(always)]
pub fn only(hook: u32) -> i32 {
    only_with(hook, |_| ())
}

/// The same of an act upon a task, which the rules may be about.
#[inline(always)]
pub fn only_upon(hook: u32, target: Object) -> i32 {
    only_with(hook, |context| context.target = u64::from(kernel::target_pid::<kernel::Typed>(target)) + 1)
}

/// The same of what the hook has to tell of the act.
#[inline(always)]
fn only_with(hook: u32, tell: impl FnOnce(&mut TaskContext)) -> i32 {
    if REFUSES.load() == refuses::NOTHING {
        return 0;
    }
    plain(record::refusable(hook), hook, tell)
}

/// Decides about the act: by the rules that this hook's objects satisfy, which are in `own_rules`, and those that earlier ones did,
/// unless a reload came between (then `slot_now` is not `slot`).
#[inline(always)]
pub fn decide(context: &mut TaskContext, hook: u32, access: u32) {
    if REFUSES.load() != refuses::NOTHING {
        refuse_decide(context, hook, access);
    }
}

/// What a hook returns where it cannot be decided about the act: there is no memory for it, or its object's path was not found to
/// its end.
#[inline(always)]
pub fn undecided(entry: &SyscallEntry, hook: u32) -> i32 {
    if entry.fails_closed == 0 || !may_refuse(entry, hook) {
        return 0;
    }
    if REFUSES.load() != refuses::RETURNS {
        return 0;
    }
    count(counters::REFUSED_UNDECIDED);
    NOT_PERMITTED
}

/// What a hook is to return of what was decided in it. Read back from memory, where the verifier knows nothing of it, and follows
/// one path instead of one for each verdict.
#[inline(always)]
pub fn result(context: &TaskContext) -> i32 {
    if REFUSES.load() == refuses::RETURNS { errno(context.answer) } else { 0 }
}

/// In a form whose bounds older verifiers follow: they lose those of a negation.
#[inline(always)]
fn errno(answer: u32) -> i32 {
    kernel::below_4096(answer) as i32 - LET_THROUGH as i32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refuse_decide(context: *mut TaskContext, hook: u32, access: u32) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    context.answer = LET_THROUGH;
    let slot = context.slot_now;
    let Some(tables) = Tables::of_slot(slot) else { return 0 };
    let Some(entry) = tables.syscall(context.header.abi, context.header.syscall) else { return 0 };
    if !may_refuse(entry, hook) {
        return 0;
    }
    if context.slot == slot {
        each_word(tables.header.words, |i| context.own_rules.words[i] |= context.object_rules.words[i]);
    }
    // In the context, for want of stack.
    let rules = &mut context.own_rules;
    tables.candidates(rules, entry.row, entry.alone_rows[moment::ANY_RESULT]);
    tables.narrow(rules, tables.header.before_row);
    if record::has_access(entry.class) {
        tables.narrow(rules, tables.header.perm_rows[(access & 7) as usize]);
    }
    tables.narrow_tests_met(rules, context.tests_met);
    tables.narrow_before(rules);
    let fields = tables.narrow_subject(rules, Subject::of(Task::current()), |index| context.header.args[index]);
    tables.narrow_subject_tests(fields, rules);
    if let Some(rule) = tables.first(rules)
        && let Some(word) = RULE_REFUSALS.get(slot * MAX_RULES as u32 + rule)
        && (hook != hooks::CAPABLE || *word & refusal::BY_CAPABILITY != 0)
    {
        note(context, tables.header.generation, rule, hook, *word);
    }
    0
}

/// Notes what the deciding rule does, if it refuses: the act, or that it goes unrecorded.
#[inline(always)]
fn note(context: &mut TaskContext, generation: u32, rule: u32, hook: u32, word: u32) {
    let verdict = word >> refusal::VERDICT_SHIFT & refusal::VERDICT_BITS;
    if word & refusal::UNLESS_RECORDED != 0 && !emit::has_room() {
        if context.header.verdict != UNRECORDED {
            count(counters::REFUSED_UNRECORDED);
        }
        context.header.verdict = UNRECORDED;
        context.answer = word & refusal::ERRNO_BITS;
        return;
    }
    if verdict == verdict::ALLOW || context.header.verdict != verdict::ALLOW && verdict == verdict::WOULD_DENY {
        return;
    }
    context.header.verdict = verdict;
    context.header.rule = rule;
    context.header.generation = generation;
    context.refused_by = u64::from(hook);
    if verdict == verdict::WOULD_DENY {
        return;
    }
    context.answer = word & refusal::ERRNO_BITS;
    if verdict == verdict::KILL {
        // SAFETY: a number alone. It fails for the first process, which is not to be killed.
        unsafe { raw::bpf_send_signal(SIGKILL) };
    }
}
