//! The sample under construction, and its way into the ring buffer.

use crate::{
    kernel::{self, Object, field, member},
    maps::{EVENTS, WAKEUP_BYTES, count},
    task::{Subject, TaskContext},
};
use auditd_bpf_common::{
    counters,
    limits::{APPEND_BYTES, CHUNK_BYTES},
    plan_rows::SyscallEntry,
    wire::{self, EventHeader, SectionHead, incomplete, kind, verdict},
};
use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated as raw,
};

const HEAD: usize = size_of::<SectionHead>();
/// The most that one section may hold.
pub const SECTION_BYTES: u32 = (APPEND_BYTES - HEAD) as u32;

/// Appends a section whose content `fill` writes; sends a chunk first where the sample is full. False, and nothing appended,
/// where `fill` fails.
#[inline(always)]
pub fn append(context: &mut TaskContext, kind: u8, detail: u8, len: u32, fill: impl FnOnce(*mut u8) -> bool) -> bool {
    if context.header.payload_len as usize > CHUNK_BYTES - HEAD {
        send_chunk(context);
    }
    let used = context.header.payload_len as usize;
    if used > CHUNK_BYTES || len > SECTION_BYTES {
        return false;
    }
    // SAFETY: used <= CHUNK_BYTES, and APPEND_BYTES lie behind that.
    unsafe {
        let to = context.payload.as_mut_ptr().add(used);
        if !fill(to.add(HEAD)) {
            return false;
        }
        to.write(kind);
        to.add(1).write(detail);
        to.add(2).write(len as u8);
        to.add(3).write((len >> 8) as u8);
    }
    context.header.payload_len = used as u32 + HEAD as u32 + len;
    true
}

/// Appends a section that is a plain value.
#[inline(always)]
pub fn append_value<T: Copy>(context: &mut TaskContext, kind: u8, detail: u8, value: &T) {
    append(context, kind, detail, size_of::<T>() as u32, |to| {
        // SAFETY: `append` leaves room for `size_of::<T>()` bytes, which are fewer than a section's.
        unsafe { to.cast::<T>().write_unaligned(*value) };
        true
    });
}

/// Sends what is there as a chunk, and starts the next sample of the event.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_chunk(context: *mut TaskContext) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    context.header.kind = kind::CHUNK;
    context.header.schema = wire::SCHEMA_VERSION;
    context.header.tid = kernel::pid_tid().1;
    if !output(context, Wakeup::WhenMuchWaits) {
        context.header.incomplete |= incomplete::CHUNK;
        count(counters::LOST_CHUNK);
    }
    context.header.chunk += 1;
    context.header.payload_len = 0;
    0
}

/// Sends the last sample of the event.
#[inline(always)]
pub fn send_event(context: &mut TaskContext, entry: &SyscallEntry) {
    context.header.kind = kind::EVENT;
    let refused = context.header.verdict == verdict::DENY || context.header.verdict == verdict::KILL;
    let wakeup = if refused || entry.at_once != 0 { Wakeup::Now } else { Wakeup::WhenMuchWaits };
    if output(context, wakeup) {
        count(counters::EMITTED);
    } else {
        count(counters::LOST_RING);
    }
}

/// Whether what is let through now will find room when it ends: a quarter of the ring buffer is kept for calls that are under way.
#[inline(always)]
pub fn has_room() -> bool {
    // SAFETY: the map is a ring buffer.
    let waits = unsafe { raw::bpf_ringbuf_query(core::ptr::from_ref(&EVENTS).cast_mut().cast(), AVAIL_DATA) };
    waits <= 3 * WAKEUP_BYTES.load()
}

const AVAIL_DATA: u64 = BPF_RB_AVAIL_DATA as u64;

/// When the daemon is to look.
#[derive(Clone, Copy, PartialEq)]
enum Wakeup {
    Now,
    WhenMuchWaits,
}

#[inline(always)]
fn output(context: &mut TaskContext, wakeup: Wakeup) -> bool {
    let payload = context.header.payload_len as u64;
    if payload > (CHUNK_BYTES + APPEND_BYTES) as u64 {
        return false;
    }
    // SAFETY: header and payload lie side by side, and both are inside the map value.
    unsafe {
        let map = core::ptr::from_ref(&EVENTS).cast_mut().cast();
        let much_waits = || raw::bpf_ringbuf_query(map, AVAIL_DATA) > WAKEUP_BYTES.load();
        let flags = if wakeup == Wakeup::Now || much_waits() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        let data = (&raw mut context.header).cast();
        raw::bpf_ringbuf_output(map, data, size_of::<EventHeader>() as u64 + payload, u64::from(flags)) == 0
    }
}

/// Fills in who acted, and how it ended.
#[inline(always)]
pub fn fill_header(context: &mut TaskContext, subject: Subject, generation: u32, rule: u32, exit: Option<i64>) {
    let task = subject.task.object();
    let header = &mut context.header;
    (header.pid, header.tid) = kernel::pid_tid();
    header.schema = wire::SCHEMA_VERSION;
    header.time = kernel::now();
    header.ppid = subject.ppid();
    header.generation = generation;
    header.rule = rule;
    header.exit = exit.unwrap_or(0);
    header.has_result = exit.is_some() as u32;
    header.personality = subject.personality();
    header.auid = subject.auid();
    header.session = subject.session();
    header.uids = [
        field(subject.cred, &kernel::CRED_UID),
        field(subject.cred, &kernel::CRED_EUID),
        field(subject.cred, &kernel::CRED_SUID),
        field(subject.cred, &kernel::CRED_FSUID),
    ];
    header.gids = [
        field(subject.cred, &kernel::CRED_GID),
        field(subject.cred, &kernel::CRED_EGID),
        field(subject.cred, &kernel::CRED_SGID),
        field(subject.cred, &kernel::CRED_FSGID),
    ];
    (header.exe_dev, header.exe_ino) = subject.exe();
    kernel::copy_kernel(header.comm.as_mut_ptr(), 16, member(task, &kernel::TASK_COMM) as u64);
    header.tty[0] = 0;
    let signal: Object = field(task, &kernel::TASK_SIGNAL);
    if !signal.is_null() {
        let tty: u64 = field(signal, &kernel::SIGNAL_TTY);
        if tty != 0 {
            let name = tty + u64::from(kernel::TTY_NAME.load());
            kernel::copy_kernel(header.tty.as_mut_ptr(), 32, name);
        }
    }
}
