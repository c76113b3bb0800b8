//! The kernel side on trial: the same modules as the daemon's object, over memory that a test fills in ([`host`]), in
//! programs that a kernel runs on demand (`BPF_PROG_TEST_RUN`) and attaches to nothing. What a rule set decides about a made-up
//! event is then what the daemon's own hooks and result side would decide.
#![no_std]
#![no_main]
#![allow(clippy::needless_range_loop, reason = "iterators hide the bound from the verifier")]
#![allow(missing_docs, reason = "a program, not a library: no item is public API")]

mod call;
mod emit;
mod filter;
mod hooks;
#[path = "stand_in.rs"]
mod host;
mod kernel;
mod maps;
mod objects;
mod path;
mod record;
mod refuse;
mod syscall;
mod task;
mod tests;

use auditd_bpf_common::{plan_rows::moment, trial::kind, wire::name_type};
use aya_ebpf::{bindings::task_struct, programs::RawTracePointContext};

use crate::{
    call::Call,
    host::MEMORY,
    kernel::{Object, Probed, Task},
    record::Met,
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Defines programs. By hand: the macro makes ones that return 0 and takes the name of a tracepoint.
macro_rules! programs {
    ($($name:ident, $section:literal, |$ctx:ident| $act:expr;)+) => {
        $(#[unsafe(no_mangle)]
        #[unsafe(link_section = $section)]
        extern "C" fn $name(ctx: *mut core::ffi::c_void) -> u32 {
            let $ctx = RawTracePointContext::new(ctx);
            $act;
            0
        })+
    };
}

programs! {
    trial_begin, "raw_tp/trial_begin", |_ctx| tell_address();
    trial_hook, "raw_tp/trial_hook", |ctx| hook(&ctx);
    trial_coming, "raw_tp/trial_coming", |ctx| coming(&ctx);
    trial_address, "raw_tp/trial_address", |ctx| hooks::socket::address(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    trial_end, "raw_tp/trial_end", |ctx| end(&ctx);
    trial_task, "raw_tp/trial_task", |ctx| task::begun(ctx.arg::<u64>(0) as *mut task_struct);
}

/// Writes where the memory is: the structures in it point at each other.
fn tell_address() {
    if let Some(memory) = MEMORY.get_ptr_mut(0) {
        // SAFETY: the map's only value.
        unsafe { (*memory).address = memory as u64 };
    }
}

/// A hook is shown an object: its number, the perm bits of an open, whether the checks are past, then the kind and the dentry. Where a
/// hook is shown several that are there, they come one by one, which adds up to the same: the verifier would follow the kinds of each
/// through every combination.
#[inline(always)]
fn hook(ctx: &RawTracePointContext) {
    let number: u32 = ctx.arg(0);
    let Some(call) = Call::current(number) else { return };
    let moment = (ctx.arg::<u64>(2) & 1) as usize;
    let object = met(ctx.arg(3), ctx.arg::<u64>(4) as Object);
    record::objects_of::<Probed, 1>(&call, number, ctx.arg(1), moment, [object]);
}

/// A hook is shown a directory, a file, and a name that is about to come, which is remembered if a rule may be about any of them.
#[inline(always)]
fn coming(ctx: &RawTracePointContext) {
    let number: u32 = ctx.arg(0);
    let Some(call) = Call::current(number) else { return };
    let dentry = |index| ctx.arg::<u64>(index) as Object;
    let objects = [met(kind::WHOLE, dentry(1)), met(kind::WHOLE, dentry(2)), met(kind::NEW, dentry(3))];
    record::objects_of::<Probed, 3>(&call, number, 0, moment::ANY_RESULT, objects);
}

#[inline(always)]
fn met(what: u64, dentry: Object) -> Met {
    match what {
        kind::WHOLE => Met::Whole { role: name_type::NORMAL, dentry, mount: core::ptr::null() },
        kind::NEW => Met::New { dentry },
        _ => Met::Nothing,
    }
}

/// The call ends: whether it has a result, and which.
#[inline(always)]
fn end(ctx: &RawTracePointContext) {
    let registers = Task::current().registers();
    if ctx.arg::<u64>(0) == 0 {
        syscall::end(registers, None);
        return;
    }
    let exit = kernel::audit_exit(ctx.arg(1));
    if syscall::is_candidate(registers, exit) {
        syscall::end(registers, Some(exit));
    }
}
