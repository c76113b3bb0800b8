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

/// Programs at the end of a function that looks names up, and those in its place: argument number `$path` is what it fills in.
macro_rules! look_ups {
    ($($at_end:ident, $probe:ident, $return_probe:ident, $function:literal, $path:literal, $hook:ident, $role:ident;)+) => {
        $(#[fexit]
        pub fn $at_end(ctx: FExitContext) -> u32 {
            if ctx.ret::<i32>().is_ok_and(|result| result == 0)
                && let Some(call) = Call::current(hooks::$hook)
            {
                found::<Typed>(&call, hooks::$hook, Met::at(name_type::$role, ctx.arg($path)));
            }
            0
        }

        #[kprobe(function = $function)]
        pub fn $probe(ctx: ProbeContext) -> u32 {
            begins(hooks::$hook, ctx.arg($path));
            0
        }

        #[kretprobe(function = $function)]
        pub fn $return_probe(ctx: RetProbeContext) -> u32 {
            returns(hooks::$hook, name_type::$role, ctx.ret());
            0
        })+
    };
}

look_ups! {
    fexit_path_lookupat, kprobe_path_lookupat, kretprobe_path_lookupat, "path_lookupat", 2, PATH_LOOKUP, NORMAL;
    fexit___filename_parentat, kprobe___filename_parentat, kretprobe___filename_parentat, "__filename_parentat", 3, PARENT_LOOKUP, PARENT;
    fexit_kern_path, kprobe_kern_path, kretprobe_kern_path, "kern_path", 2, KERNEL_LOOKUP, NORMAL;
}

#[inline(always)]
fn begins(hook: u32, place: Option<u64>) {
    if let (Some(place), Some(call)) = (place, Call::current(hook)) {
        task::note_place(&call, hook, place);
    }
}

#[inline(always)]
fn returns(hook: u32, role: u8, result: i64) {
    // Taken whatever the result: what is not filled in must not be found by the next.
    if let Some(place) = task::take_place(hook)
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
    record::open_access(syscall::open_flags(call.entry, &kernel::arguments(call.task.registers(), call.abi)))
}
