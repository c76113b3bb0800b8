//! The result side: one program, loaded once per syscall function that a rule names.

use crate::{
    emit,
    filter::{self, Rules, Tables},
    kernel::{self, Object, Task, field},
    maps::{DAEMON_PID, TASKS, count},
    path, record,
    task::{self, Subject, TaskContext},
};
use auditd_bpf_common::{
    counters,
    limits::{ARGV_BYTES, WORDS},
    plan_rows::{NO_ARG, SyscallEntry, class},
    wire::{incomplete, section},
};
use aya_ebpf::{macros::fexit, programs::FExitContext};

#[fexit]
pub fn fexit_syscall(ctx: FExitContext) -> u32 {
    let Ok(result) = ctx.ret::<i64>() else { return 0 };
    ended(ctx.arg(0), kernel::audit_exit(result));
    0
}

#[inline(always)]
fn ended(registers: Object, exit: i64) {
    let task = Task::current();
    let (number, abi) = (kernel::syscall_number(registers), task.abi());
    let mut context = task::begun(task, number, abi);
    let emitted = decide(task, registers, number, abi, exit, context.as_deref_mut());
    if let Some(context) = emitted.or(context) {
        context.reset();
    }
}

/// Applies the rules; emits the event that they ask for, and returns the context it was built in.
#[inline(always)]
fn decide(
    task: Task,
    registers: Object,
    number: u32,
    abi: u32,
    exit: i64,
    context: Option<&mut TaskContext>,
) -> Option<task::Context> {
    if kernel::pid_tid().0 == DAEMON_PID.load() {
        return None;
    }
    let mut met: Rules = [0; WORDS];
    let mut args = kernel::arguments(registers, abi);
    let mut access = 0;
    if let Some(context) = &context {
        args = context.header.args;
        access = context.access;
    }
    let tables = filter::met_objects(context, Tables::active()?, &mut met);
    let entry = tables.syscall(abi, number)?;
    let mut rules: Rules = [0; WORDS];
    tables.load(&mut rules, entry.row);
    tables.narrow_objects(&mut rules, &met, auditd_bpf_common::plan_rows::ROW_ALL);
    tables.narrow_result(&mut rules, exit);
    if !tables.any(&rules) {
        return None;
    }
    if record::is_open(entry.class) {
        if access == 0 {
            access = record::open_access(open_flags(entry, &args));
        }
        tables.narrow(&mut rules, tables.header.perm_rows[(access & 7) as usize]);
    }
    let subject = Subject::of(task);
    tables.narrow_subject(&mut rules, subject, &args);
    let rule = tables.first(&rules)?;
    if tables.is_never(rule) {
        return None;
    }
    emit_event(subject, &args, number, abi, tables.header.generation, rule, exit, entry)
}

/// Flags of an open that no hook saw.
#[inline(always)]
fn open_flags(entry: &SyscallEntry, args: &[u64; 6]) -> u32 {
    let flags = argument(args, entry.flags_arg);
    if entry.class == class::OPENAT2 { kernel::probe_user::<u64>(flags).unwrap_or(0) as u32 } else { flags as u32 }
}

#[inline(always)]
fn argument(args: &[u64; 6], index: u8) -> u64 {
    match index {
        0 => args[0],
        1 => args[1],
        2 => args[2],
        3 => args[3],
        4 => args[4],
        _ => args[5],
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the verifier follows scalars better than a struct of them")]
fn emit_event(
    subject: Subject,
    args: &[u64; 6],
    number: u32,
    abi: u32,
    generation: u32,
    rule: u32,
    exit: i64,
    entry: &SyscallEntry,
) -> Option<task::Context> {
    // SAFETY: null or the current task's own value.
    let Some(context) = (unsafe { TASKS.get_or_create(subject.task.raw()).as_mut() }) else {
        count(counters::LOST_TASK_STORAGE);
        return None;
    };
    if context.header.start == 0 || context.header.syscall != number || context.header.abi != abi {
        context.reset();
        context.header.start = kernel::now();
        context.header.syscall = number;
        context.header.abi = abi;
    }
    context.header.args = *args;
    emit::fill_header(context, subject, generation, rule, exit);
    if context.objects == 0 && entry.path_arg != NO_ARG {
        user_name(context, subject.task, 0, argument(args, entry.path_arg), entry.dirfd_arg, args);
        if entry.path2_arg != NO_ARG {
            user_name(context, subject.task, 1, argument(args, entry.path2_arg), entry.dirfd2_arg, args);
        }
    }
    if entry.class == class::EXEC && exit == 0 {
        arguments(context, subject.task);
    }
    path::append_surroundings(context, subject.task, subject.exe_file());
    emit::send_event(context);
    Some(context)
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
#[inline(always)]
fn user_name(context: &mut TaskContext, task: Task, which: u8, address: u64, dirfd_arg: u8, args: &[u64; 6]) {
    let mut string = UserString { context, address, which: u64::from(which), state: MORE };
    // PATH_MAX is eight pieces.
    kernel::repeat(9, user_string_step, &mut string);
    // SAFETY: the context passed in.
    let context = unsafe { &mut *string.context };
    if string.state != WHOLE {
        context.header.incomplete |= incomplete::USER_NAME;
        count(counters::UNREADABLE_USER);
    }
    if dirfd_arg != NO_ARG {
        let dirfd = argument(args, dirfd_arg) as i32;
        if let Some(file) = open_file(task, dirfd) {
            emit::append(context, section::DIRFD, which, 0, |_| true);
            let path = file + u64::from(kernel::FILE_F_PATH.load());
            let (dentry, mount) = (kernel::probe(path, &kernel::PATH_DENTRY), kernel::probe(path, &kernel::PATH_MNT));
            path::append_address(context, task, dentry, mount);
        }
    }
}

unsafe extern "C" fn user_string_step(_: u32, string: *mut UserString) -> i64 {
    // SAFETY: the state of `user_name`, checked by the verifier.
    let string = unsafe { &mut *string };
    // SAFETY: the context passed to `user_name`.
    let context = unsafe { &mut *string.context };
    let mut copied = 0;
    let address = string.address;
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
    string.address += u64::from(NAME_PIECE) - 1;
    0
}

/// The file behind a descriptor of the current task, by address.
#[inline(always)]
fn open_file(task: Task, descriptor: i32) -> Option<u64> {
    let files: Object = field(task.object(), &kernel::TASK_FILES);
    if files.is_null() || descriptor < 0 {
        return None;
    }
    let table: u64 = field(files, &kernel::FILES_FDT);
    if descriptor as u32 >= kernel::probe::<u32>(table, &kernel::FDTABLE_MAX_FDS) {
        return None;
    }
    let array: u64 = kernel::probe(table, &kernel::FDTABLE_FD);
    let file: u64 = kernel::probe_at(array + descriptor as u64 * 8);
    (file != 0).then_some(file)
}

struct Arguments {
    context: *mut TaskContext,
    address: u64,
    end: u64,
    failed: u64,
}

/// Appends the arguments of the image just started, all of them.
#[inline(always)]
fn arguments(context: &mut TaskContext, task: Task) {
    let mm: Object = field(task.object(), &kernel::TASK_MM);
    if mm.is_null() {
        return;
    }
    let (start, end): (u64, u64) = (field(mm, &kernel::MM_ARG_START), field(mm, &kernel::MM_ARG_END));
    let mut state = Arguments { context, address: start, end, failed: 0 };
    kernel::repeat(ARGV_BYTES / emit::SECTION_BYTES + 1, arguments_step, &mut state);
    if state.failed != 0 || state.address < end {
        // SAFETY: the context passed in.
        unsafe { (*state.context).header.incomplete |= incomplete::ARGV };
        count(counters::UNREADABLE_USER);
    }
}

unsafe extern "C" fn arguments_step(_: u32, state: *mut Arguments) -> i64 {
    // SAFETY: the state of `arguments`, checked by the verifier.
    let state = unsafe { &mut *state };
    if state.address >= state.end {
        return 1;
    }
    let bytes = (state.end - state.address).min(u64::from(emit::SECTION_BYTES)) as u32;
    let address = state.address;
    // SAFETY: the context passed to `arguments`.
    let context = unsafe { &mut *state.context };
    if !emit::append(context, section::ARGV, 0, bytes, |to| kernel::copy_user(to, bytes, address)) {
        state.failed = 1;
        return 1;
    }
    state.address += u64::from(bytes);
    0
}
