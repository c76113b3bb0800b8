//! The result side: what runs at the end of every syscall that a rule names.

use crate::{
    call::Call,
    emit,
    filter::{self, Tables, each_word, no_rules},
    kernel::{self, Object, Probed, Task},
    maps::{STAGES_0, STAGES_1, count},
    path, record, refuse,
    task::{self, Subject, TaskContext},
};
use auditd_bpf_common::{
    counters, hooks,
    limits::{ARGV_BYTES, PROCTITLE_BYTES, STAGE_COMPLETE},
    plan_rows::{NO_ARG, OPERATION, ROW_NONE, SyscallEntry, class, moment},
    wire::{incomplete, name_type, section, verdict},
};
use aya_ebpf::{
    EbpfContext as _,
    macros::{fentry, fexit, kretprobe, raw_tracepoint, tracepoint},
    programs::{FEntryContext, FExitContext, RawTracePointContext, RetProbeContext, TracePointContext},
};

/// Loaded once per syscall function, so kept small: only calls that a rule may still match go on to [`fexit_complete`]. A
/// program may go on only to one that was loaded for a function of the same prototype, and BTF tells two kinds of syscall
/// functions apart (by the name of their parameter); so there is a program and a map for each.
macro_rules! fexit_syscall {
    ($($program:ident, $stages:ident;)+) => {
        $(#[fexit]
        pub fn $program(ctx: FExitContext) -> u32 {
            let Ok(result) = ctx.ret::<i64>() else { return 0 };
            if is_candidate(ctx.arg(0), kernel::audit_exit(result)) {
                // SAFETY: the program at that index is of this program's kind; where it is missing the call returns.
                unsafe { $stages.tail_call(&ctx, STAGE_COMPLETE) };
                count(counters::LOST_STAGE);
            }
            0
        })+
    };
}

fexit_syscall! {
    fexit_syscall_0, STAGES_0;
    fexit_syscall_1, STAGES_1;
}

/// `execve` by ABI (`arch/x86/entry/syscalls`).
const EXECVE: [u32; 2] = [59, 11];

/// Whether a hook began an event for the call, or a rule without an object may match it.
#[inline(always)]
pub fn is_candidate(registers: Object, exit: i64) -> bool {
    let task = Task::current();
    let (number, abi) = (kernel::syscall_number(registers), task.abi());
    let slot = filter::slot_in_force();
    let entry = slot.and_then(|slot| filter::syscall_of_slot(slot, abi, number));
    // What ends as an exec may have begun as one of the other ABI, which rules name; what another daemon's rules came into force
    // during, by ours.
    let may_be_begun = entry.is_some() || slot.is_none() || number == EXECVE[abi as usize & 1];
    if may_be_begun && task::ended(task, number, abi).2.is_some() {
        return true;
    }
    let Some(entry) = entry else { return false };
    let alone = entry.alone_rows[if kernel::is_error(exit) { moment::ANY_RESULT } else { moment::AFTER_CHECKS }];
    if alone == ROW_NONE {
        return false;
    }
    let Some(tables) = Tables::active() else { return false };
    if task::is_left_out(tables, task) {
        return false;
    }
    if entry.class == class::FORK && exit == 0 {
        // A child, which made no call.
        return false;
    }
    no_rules!(rules);
    tables.load(rules, alone);
    tables.narrow_result(rules, exit);
    tables.any(rules)
}

/// All that is done at the end of a call: reached from the above, or attached by itself to a function of a third kind.
#[fexit]
pub fn fexit_complete(ctx: FExitContext) -> u32 {
    if let Ok(result) = ctx.ret::<i64>() {
        complete(ctx.arg(0), kernel::audit_exit(result));
    }
    0
}

/// The same for all calls at once, which costs every call of the system. A program of this kind runs with preemption off: one
/// of the above is left out where another task was preempted in it (`__bpf_prog_enter_recur` in `kernel/bpf/trampoline.c`),
/// and so is one on the raw tracepoint (`__bpf_trace_run`).
#[tracepoint(category = "raw_syscalls", name = "sys_exit")]
pub fn tracepoint_sys_exit(ctx: TracePointContext) -> u32 {
    /// Offset of `ret` in `struct trace_event_raw_sys_exit`, behind the common part and `id`.
    const RET: usize = 16;
    // SAFETY: an integer, in the context's bounds as the verifier proves.
    let result: i64 = unsafe { ctx.as_ptr().cast::<u8>().add(RET).cast::<i64>().read() };
    end_of_any(result);
    0
}

/// The same where the kernel shows no tracepoints to programs of that kind.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn raw_tp_sys_exit(ctx: RawTracePointContext) -> i32 {
    end_of_any(ctx.arg(1));
    0
}

/// Where no hook can be had: runs before the above, and sees the files in the place of hooks. A program of its own, for want of
/// stack.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn raw_tp_opened(ctx: RawTracePointContext) -> i32 {
    let exit = kernel::audit_exit(ctx.arg(1));
    if !kernel::is_error(exit) {
        see_opened(exit);
    }
    0
}

#[inline(always)]
fn end_of_any(result: i64) {
    let (registers, exit) = (Task::current().registers(), kernel::audit_exit(result));
    if is_candidate(registers, exit) {
        complete(registers, exit);
    }
}

/// The file that an open returned, or that an exec started.
#[inline(always)]
fn see_opened(exit: i64) {
    if let Some(call) = Call::current(hooks::FILE_OPEN)
        && record::is_open(call.entry.class)
        && let Some(file) = open_file(exit as i32)
    {
        crate::hooks::file::opened(file);
    }
    if let Some(call) = Call::current(hooks::BPRM_CHECK)
        && call.entry.class == class::EXEC
    {
        let mm: u64 = kernel::probe(kernel::current_address(), &kernel::TASK_MM);
        let path = kernel::probe::<u64>(mm, &kernel::MM_EXE_FILE) + u64::from(kernel::FILE_F_PATH.load());
        let program = record::Met::at_address(name_type::NORMAL, path);
        record::objects_of::<Probed, 1>(&call, hooks::BPRM_CHECK, 0, moment::AFTER_CHECKS, [program]);
    }
}

/// Run once by the loader, never attached. By hand: the macro makes a program that returns 0.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sys_exit")]
extern "C" fn raw_read_word(ctx: *mut core::ffi::c_void) -> u32 {
    kernel::probe_at(RawTracePointContext::new(ctx).arg(0))
}

/// For calls whose function the kernel's type information leaves out, as it does `fork` and `vfork` on 6.1 and 6.12.
#[kretprobe]
pub fn kretprobe_syscall(ctx: RetProbeContext) -> u32 {
    let (registers, exit) = (Task::current().registers(), kernel::audit_exit(ctx.ret()));
    if is_candidate(registers, exit) {
        complete(registers, exit);
    }
    0
}

/// At the start of calls that do not return.
#[fentry]
pub fn fentry_exit(ctx: FEntryContext) -> u32 {
    end(ctx.arg(0), None);
    0
}

#[inline(always)]
fn complete(registers: Object, exit: i64) {
    end(registers, Some(exit));
}

/// Decides about a call that ends, with its result if it has one.
#[inline(always)]
pub fn end(registers: Object, exit: Option<i64>) {
    let task = Task::current();
    let (number, abi, context) = task::ended(task, kernel::syscall_number(registers), task.abi());
    if let Some(context) = decide(task, number, abi, exit, context) {
        context.reset();
    }
}

/// At the start of the function that carries out an operation of io_uring.
#[fentry]
pub fn fentry_operation(ctx: FEntryContext) -> u32 {
    let request = ctx.arg::<Object>(0) as u64;
    task::begin_operation(u32::from(kernel::probe::<u8>(request, &kernel::IO_KIOCB_OPCODE)));
    0
}

/// At its end. One that would have to wait is carried out again, by somebody who may.
#[fexit]
pub fn fexit_operation(ctx: FExitContext) -> u32 {
    /// The result is in the request, or comes later (`IOU_ISSUE_SKIP_COMPLETE` in `io_uring/io_uring.h`).
    const DONE: i64 = 0;
    const DONE_LATER: i64 = -529;
    const EAGAIN: i64 = -11;
    let Ok(result) = ctx.ret::<i32>() else { return 0 };
    let task = Task::current();
    let Some((number, context)) = task::end_operation(task) else { return 0 };
    let exit = match i64::from(result) {
        DONE => {
            let request = ctx.arg::<Object>(0) as u64;
            Some(kernel::audit_exit(i64::from(kernel::probe::<i32>(request, &kernel::IO_KIOCB_RESULT))))
        }
        DONE_LATER => None,
        result => Some(kernel::audit_exit(result)),
    };
    let context = if exit == Some(EAGAIN) { context } else { decide(task, number, OPERATION, exit, context) };
    if let Some(context) = context {
        context.reset();
    }
    0
}

/// Applies the rules, and emits the event that they ask for. Returns the context that is to be reset.
#[inline(always)]
fn decide(
    task: Task,
    number: u32,
    abi: u32,
    exit: Option<i64>,
    mut begun: Option<task::Context>,
) -> Option<task::Context> {
    if task.is_daemon() {
        return begun;
    }
    let tables = match &mut begun {
        Some(context) => context.tables(),
        None => Tables::active(),
    };
    let Some(tables) = tables else { return begun };
    if task::is_left_out(tables, task) {
        return begun;
    }
    let Some(entry) = tables.syscall(abi, number) else { return begun };
    if begun.is_none() && exit.is_some_and(|exit| is_other_exec(entry, exit)) {
        return None;
    }
    // Decided before the act.
    if begun.as_ref().is_some_and(|context| context.header.verdict == refuse::UNRECORDED) {
        return begun;
    }
    if let Some(context) = begun.as_mut().filter(|context| context.header.verdict != verdict::ALLOW) {
        context.header.hook = context.refused_by as u32;
        let (generation, rule) = (context.header.generation, context.header.rule);
        emit_event(context, entry, Subject::of(task), Decided { generation, rule, exit });
        return begun;
    }
    no_rules!(rules);
    let begun = match begun {
        Some(context) => {
            if tables.header.object_tests != 0 && exit.is_some_and(|exit| !kernel::is_error(exit)) {
                record::record_meet_created(tables.slot, context);
            }
            each_word(tables.header.words, |i| rules.words[i] = context.object_rules.words[i]);
            tables.candidates(rules, entry.row, entry.alone_rows[moment::ANY_RESULT]);
            Some(context)
        }
        None => {
            tables.load(rules, entry.alone_rows[moment::ANY_RESULT]);
            None
        }
    };
    tables.narrow_tests_met(rules, begun.as_ref().map_or(0, |context| context.tests_met));
    if let Some(exit) = exit {
        tables.narrow_result(rules, exit);
    }
    if !tables.any(rules) {
        return begun;
    }
    let context = match begun {
        Some(context) => context,
        None => task::begin(&Call { task, number, abi, tables, entry })?,
    };
    if record::is_open(entry.class) {
        if context.access == 0 {
            context.access = record::open_access(open_flags(entry, &context.header.args));
        }
        tables.narrow(rules, tables.header.perm_rows[(context.access & 7) as usize]);
    }
    let subject = Subject::of(task);
    let fields = tables.narrow_subject(rules, subject, |index| context.header.args[index]);
    tables.narrow_subject_tests(fields, rules);
    if let Some(rule) = tables.first(rules)
        && !tables.is_never(rule)
    {
        emit_event(context, entry, subject, Decided { generation: tables.header.generation, rule, exit });
    }
    Some(context)
}

/// The rule that an event is recorded for, and the result of its call.
struct Decided {
    generation: u32,
    rule: u32,
    exit: Option<i64>,
}

#[inline(always)]
fn emit_event(context: &mut TaskContext, entry: &SyscallEntry, subject: Subject, decided: Decided) {
    emit::fill_header(context, subject, decided.generation, decided.rule, decided.exit);
    if entry.data_arg != NO_ARG {
        event_data(context, argument(&context.header.args, entry.data_arg), entry.data_len);
    }
    event_details(context, entry.class, entry.path_arg, entry.dirfd_arg, pair(entry.path2_arg, entry.dirfd2_arg));
    event_proctitle(context);
    emit::send_event(context, entry);
}

/// Whether an exec that succeeded is one of a call that no rule names, which ends as `execve` all the same: else a hook would
/// have begun its context.
#[inline(always)]
fn is_other_exec(entry: &SyscallEntry, exit: i64) -> bool {
    entry.class == class::EXEC && !kernel::is_error(exit) && entry.hooks >> hooks::BPRM_CHECK & 1 != 0
}

/// Two bytes as one argument: a global function takes five.
#[inline(always)]
fn pair(low: u8, high: u8) -> u32 {
    u32::from(low) | u32::from(high) << 8
}

/// Flags of an open that no hook saw.
#[inline(always)]
pub fn open_flags(entry: &SyscallEntry, args: &[u64; 6]) -> u32 {
    let flags = argument(args, entry.flags_arg);
    if entry.class == class::OPENAT2 { kernel::probe_user::<u64>(flags).unwrap_or(0) as u32 } else { flags as u32 }
}

/// The access that the call's flags ask for, as far as they cannot change; else any.
#[inline(always)]
pub fn access_by_flags(call: &Call) -> u32 {
    // The compiler sees that it is below 8, the verifier does not.
    core::hint::black_box(event_access(call.entry.class, call.entry.flags_arg, call.abi) as u32) & record::ANY_ACCESS
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn event_access(class: u8, flags_arg: u8, abi: u32) -> i32 {
    let registers = Task::current().registers();
    // Those of an operation of io_uring are not in registers.
    if abi == OPERATION {
        return record::ANY_ACCESS as i32;
    }
    // Of `open` and `openat`.
    let flags = match flags_arg {
        1 => kernel::argument(registers, abi, 1),
        2 => kernel::argument(registers, abi, 2),
        _ => return record::ANY_ACCESS as i32,
    };
    (if class == class::OPEN { record::open_access(flags as u32) } else { record::ANY_ACCESS }) as i32
}

#[inline(always)]
pub fn argument(args: &[u64; 6], index: u8) -> u64 {
    // The bound is checked on the very register that is added: the verifier does not connect the copies.
    let index = core::hint::black_box(usize::from(index)).min(5);
    args[index]
}

/// Appends what is known only now: names of failed look-ups, arguments of a new image, working directory and executable.
/// Global in BPF's sense: the verifier checks it once, for any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn event_details(context: *mut TaskContext, class: u8, path_arg: u8, dirfd_arg: u8, second: u32) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    if !kernel::is_error(context.header.exit) {
        record::record_created(context);
    }
    // Of a name whose directory alone was found the kernel has shown nothing.
    let is_unnamed = context.objects == 0 || context.header.hook == hooks::PARENT_LOOKUP;
    if is_unnamed && path_arg != NO_ARG {
        let address = argument(&context.header.args, path_arg);
        user_name(context, 0, address, descriptor(context, dirfd_arg));
    }
    let (path_arg, dirfd_arg) = (second as u8, (second >> 8) as u8);
    if path_arg != NO_ARG && (is_unnamed || class == class::SYMLINK) {
        let which = if class == class::SYMLINK { 2 } else { 1 };
        let address = argument(&context.header.args, path_arg);
        user_name(context, which, address, descriptor(context, dirfd_arg));
    }
    if class == class::EXEC && context.header.exit == 0 {
        arguments(context);
    }
    // That of a call which changes it was noted before.
    if class != class::MOVE || context.objects == 0 {
        path::path_cwd(context);
    }
    path::path_exe(context)
}

/// Appends the structure that an argument points to, if it can be read.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn event_data(context: *mut TaskContext, address: u64, length: u8) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let length = kernel::below_256(u32::from(length));
    emit::append(context, section::DATA, 0, length, |to| kernel::copy_user(to, length, address));
    0
}

/// Appends the beginning of the command line, as the process has it now (`audit_log_proctitle` in `kernel/auditsc.c`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn event_proctitle(context: *mut TaskContext) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let mm: u64 = kernel::probe(kernel::current_address(), &kernel::TASK_MM);
    let (start, end): (u64, u64) = (kernel::probe(mm, &kernel::MM_ARG_START), kernel::probe(mm, &kernel::MM_ARG_END));
    let length = kernel::below_256(end.wrapping_sub(start).min(u64::from(PROCTITLE_BYTES)) as u32);
    emit::append(context, section::PROCTITLE, 0, length, |to| kernel::copy_user(to, length, start));
    0
}

/// The directory descriptor among the arguments, or -1.
#[inline(always)]
fn descriptor(context: &TaskContext, index: u8) -> i32 {
    if index == NO_ARG { -1 } else { argument(&context.header.args, index) as i32 }
}

/// Names are read in pieces, so that a short one costs little.
const NAME_PIECE: u32 = 512;

struct UserString {
    context: *mut TaskContext,
    address: u64,
    which: u64,
    state: u64,
}

const MORE: u64 = 0;
const WHOLE: u64 = 1;
const FAILED: u64 = 2;

/// Appends a path from the caller's memory: the look-up failed, so no hook has the kernel's own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn user_name(context: *mut TaskContext, which: u8, address: u64, dirfd: i32) -> i32 {
    if context.is_null() {
        return 0;
    }
    let mut string = UserString { context, address, which: u64::from(which), state: MORE };
    // PATH_MAX is eight pieces.
    kernel::repeat(9, user_string_step, &mut string);
    // SAFETY: the context passed in.
    let context = unsafe { &mut *string.context };
    if string.state != WHOLE {
        context.header.incomplete |= incomplete::USER_NAME;
        count(counters::UNREADABLE_USER);
    }
    if dirfd >= 0 {
        emit::append(context, section::DIRFD, which, 0, |_| true);
        match open_file(dirfd) {
            Some(file) => path::append_path(context, file + u64::from(kernel::FILE_F_PATH.load())),
            // Nothing is open there: the name is relative to nothing.
            None => path::append_lost(context),
        }
    }
    0
}

unsafe extern "C" fn user_string_step(index: u32, string: *mut UserString) -> i64 {
    // SAFETY: the state of `user_name`, checked by the verifier.
    let string = unsafe { &mut *string };
    // SAFETY: the context passed to `user_name`.
    let context = unsafe { &mut *string.context };
    let mut copied = 0;
    let address = string.address + u64::from(index) * (u64::from(NAME_PIECE) - 1);
    // The length is known only after the copy: written as a section of the full piece, cut by its NUL in user space.
    let appended = emit::append(context, section::USER_NAME, string.which as u8, NAME_PIECE, |to| {
        copied = kernel::copy_user_str(to, NAME_PIECE, address);
        copied > 0
    });
    if !appended {
        string.state = FAILED;
        return 1;
    }
    if copied < i64::from(NAME_PIECE) {
        string.state = WHOLE;
        return 1;
    }
    0
}

/// The file behind a descriptor of the current task, by address.
#[inline(always)]
fn open_file(descriptor: i32) -> Option<u64> {
    if descriptor < 0 {
        return None;
    }
    let files: u64 = kernel::probe(kernel::current_address(), &kernel::TASK_FILES);
    let table: u64 = kernel::probe(files, &kernel::FILES_FDT);
    if descriptor as u32 >= kernel::probe::<u32>(table, &kernel::FDTABLE_MAX_FDS) {
        return None;
    }
    let array: u64 = kernel::probe(table, &kernel::FDTABLE_FD);
    let file: u64 = kernel::probe_at(array + descriptor as u64 * 8);
    (file != 0).then_some(file)
}

struct Arguments {
    context: *mut TaskContext,
    start: u64,
    end: u64,
    state: u64,
}

/// Appends the arguments of the image just started, all of them.
#[inline(always)]
fn arguments(context: &mut TaskContext) {
    let mm: u64 = kernel::probe(kernel::current_address(), &kernel::TASK_MM);
    let (start, end): (u64, u64) = (kernel::probe(mm, &kernel::MM_ARG_START), kernel::probe(mm, &kernel::MM_ARG_END));
    let mut state = Arguments { context, start, end, state: MORE };
    kernel::repeat(ARGV_BYTES / emit::SECTION_BYTES + 1, arguments_step, &mut state);
    if state.state != WHOLE {
        // SAFETY: the context passed in.
        unsafe { (*state.context).header.incomplete |= incomplete::ARGV };
        count(counters::UNREADABLE_USER);
    }
}

unsafe extern "C" fn arguments_step(index: u32, state: *mut Arguments) -> i64 {
    // SAFETY: the state of `arguments`, checked by the verifier.
    let state = unsafe { &mut *state };
    let address = state.start + u64::from(index) * u64::from(emit::SECTION_BYTES);
    if address >= state.end {
        state.state = WHOLE;
        return 1;
    }
    let bytes = (state.end - address).min(u64::from(emit::SECTION_BYTES)) as u32;
    // SAFETY: the context passed to `arguments`.
    let context = unsafe { &mut *state.context };
    if !emit::append(context, section::ARGV, 0, bytes, |to| kernel::copy_user(to, bytes, address)) {
        state.state = FAILED;
        return 1;
    }
    0
}
