//! Refusing an act in a hook, before it happens: the first rule that matches by what is known there decides.
//!
//! The verdict stands in the task context until the end of the call, where the event is recorded as the refusing rule's,
//! whatever other rules say of a call that failed so.

use crate::{
    filter::{Tables, each_word},
    kernel::{self, Object, Task},
    maps::{REFUSES, RULE_REFUSALS, count},
    record,
    task::{Context, Subject, TaskContext},
};
use auditd_bpf_common::{
    counters,
    limits::MAX_RULES,
    plan_rows::{SyscallEntry, moment, refusal, refuses},
    wire::verdict,
};
use aya_ebpf::helpers::generated as raw;

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

/// The verdict on a call whose object is no file, or is told by the event begun so far: what the hook is to return.
#[inline(always)]
pub fn plain(context: Option<Context>, hook: u32) -> i32 {
    if REFUSES.load() == refuses::NOTHING {
        return 0;
    }
    match context {
        Some(context) => {
            context.slot_now = context.slot;
            kernel::clear(&mut context.own_rules);
            decide(context, hook, 0);
            result(context)
        }
        None => 0,
    }
}

/// The same in a hook that only refuses.
#[inline(always)]
pub fn only(hook: u32) -> i32 {
    if REFUSES.load() == refuses::NOTHING { 0 } else { plain(record::refusable(hook), hook) }
}

/// The same of an act upon a task, which the rules may be about.
#[inline(always)]
pub fn only_upon(hook: u32, target: Object) -> i32 {
    if REFUSES.load() == refuses::NOTHING {
        return 0;
    }
    let mut context = record::refusable(hook);
    if let Some(context) = &mut context {
        context.target = u64::from(kernel::target_pid::<kernel::Typed>(target)) + 1;
    }
    plain(context, hook)
}

/// Decides about the act: by the rules that this hook's objects satisfy, which are in `own_rules`, and those that earlier ones did,
/// unless a reload came between (then `slot_now` is not `slot`).
#[inline(always)]
pub fn decide(context: &mut TaskContext, hook: u32, access: u32) {
    if REFUSES.load() != refuses::NOTHING {
        refuse_decide(context, hook, access);
    }
}

/// What a hook returns when there is no memory to decide in.
#[inline(always)]
pub fn undecided(entry: &SyscallEntry, hook: u32) -> i32 {
    if !may_refuse(entry, hook) {
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
    {
        note(context, tables.header.generation, rule, hook, *word);
    }
    0
}

/// Notes what the deciding rule does, if it refuses.
#[inline(always)]
fn note(context: &mut TaskContext, generation: u32, rule: u32, hook: u32, word: u32) {
    let verdict = word >> refusal::VERDICT_SHIFT;
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
