//! Names that are looked up, by the functions of `fs/namei.c` that every look-up goes through: for calls that do nothing to the
//! object that a hook would see, and for those that fail before it.
//!
//! They fill in a `struct path`, so they are looked at when they return. Where the kernel would leave a program there out at
//! times, one at their start notes where that path is, and one at their return finds it there.

#![expect(non_snake_case, reason = "programs bear the names of functions")]

use crate::{
    call::Call,
    hooks::socket::AF_UNIX,
    kernel::{self, Memory, Probed, Typed},
    path,
    record::{self, Met},
    syscall, task,
};
use auditd_bpf_common::{
    hooks,
    plan_rows::{OPERATION, class, moment},
    wire::name_type,
};
use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};

/// Functions that fill in a `struct path`: at their end, or at their start and their return.
macro_rules! fill_in_a_path {
    ($($end:ident, $start:ident, $return:ident, $function:literal, $argument:literal, $number:ident, $role:ident;)+) => {
        $(#[fexit]
        pub fn $end(ctx: FExitContext) -> u32 {
            if ctx.ret::<i32>().is_ok_and(|result| result == 0)
                && let Some(call) = Call::current(hooks::$number)
            {
                found::<Typed>(&call, hooks::$number, Met::at(name_type::$role, ctx.arg($argument)));
            }
            0
        }

        #[kprobe(function = $function)]
        pub fn $start(ctx: ProbeContext) -> u32 {
            begins(hooks::$number, ctx.arg($argument));
            0
        }

        #[kretprobe(function = $function)]
        pub fn $return(ctx: RetProbeContext) -> u32 {
            returns(hooks::$number, name_type::$role, ctx.ret());
            0
        })+
    };
}

fill_in_a_path! {
    fexit_path_lookupat, kprobe_path_lookupat, kretprobe_path_lookupat, "path_lookupat", 2, PATH_LOOKUP, NORMAL;
    fexit___filename_parentat, kprobe___filename_parentat, kretprobe___filename_parentat, "__filename_parentat", 3,
        PARENT_LOOKUP, PARENT;
}

#[inline(always)]
fn begins(hook: u32, place: Option<u64>) {
    if let (Some(place), Some(call)) = (place, Call::current(hook)) {
        task::note_place(&call, place);
    }
}

#[inline(always)]
fn returns(hook: u32, role: u8, result: i64) {
    // Taken whatever the result: what is not filled in must not be found by the next.
    if let Some(place) = task::take_place()
        && result as i32 == 0
        && let Some(call) = Call::current(hook)
    {
        found::<Probed>(&call, hook, Met::at_address(role, place));
    }
}

#[inline(always)]
fn found<M: Memory>(call: &Call, hook: u32, object: Met) {
    /// Of these calls only a local address is a name: kernel code that is sent a message may look others up.
    const OF_SOCKETS: u64 = 1 << hooks::SOCKET_CONNECT | 1 << hooks::SOCKET_SENDMSG;
    if call.entry.hooks & OF_SOCKETS != 0 && task::address_family(call.task) != AF_UNIX {
        return;
    }
    record::objects_of::<M, 1>(call, hook, access(call), moment::ANY_RESULT, [object]);
    // Before the call changes it.
    if call.entry.class == class::MOVE
        && task::has_objects(call)
        && let Some(context) = task::begin(call)
    {
        path::path_cwd(context);
    }
}

/// Access of an open, which looks up with `O_PATH` alone.
#[inline(always)]
fn access(call: &Call) -> u32 {
    if !record::is_open(call.entry.class) {
        return 0;
    }
    if call.abi == OPERATION {
        return record::open_access(0);
    }
    record::open_access(syscall::open_flags(call.entry, &kernel::arguments(call.registers(), call.abi)))
}
