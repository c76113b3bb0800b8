//! What the programs remember of a task between the hooks and the end of its syscall, as the kernel's `audit_context` does.

use crate::{
    call::Call,
    filter::{Rules, Tables, no_rules},
    host::{LEFT_OUT, MARKED, TASKS},
    kernel::{self, Object, Task, field},
    maps::{TASK_MARKS, count},
};
use auditd_bpf_common::{
    counters, hooks,
    limits::{APPEND_BYTES, CHUNK_BYTES, MAX_RULES},
    plan_rows::{OPERATION, ROW_NONE, class},
    wire::{EventHeader, FileCaps, verdict},
};
use aya_ebpf::{Global, bindings::task_struct};

/// One task's call in progress. `header` and `payload` are the sample under construction, sent as they lie.
#[repr(C)]
pub struct TaskContext {
    /// Slot and generation of the tables that the objects were matched with.
    pub slot: u32,
    pub generation: u32,
    /// Access of an open, as perm bits; 0 unknown.
    pub access: u32,
    /// Objects recorded.
    pub objects: u32,
    /// 1 for an exec: its number and ABI may read differently when it ends (see [`ended`]).
    pub is_exec: u64,
    /// Pointers on their way to a global function.
    pub scratch: [u64; 2],
    /// Of the walk in progress: dentry and mount of the task's root, and how the walk ended. Here for want of stack.
    pub root: [u64; 2],
    pub walk_end: u64,
    /// What is being created.
    pub created: Created,
    /// The hook in which [`EventHeader::verdict`] was given, by the rule in `header.rule` of `header.generation`.
    pub refused_by: u64,
    /// What the hook that decided last is to return, as 4095 less the errno, and none for [`crate::refuse::LET_THROUGH`].
    pub answer: u32,
    /// The tables that it decides by. Here for want of stack.
    pub slot_now: u32,
    /// Bit per test of objects that some object met.
    pub tests_met: u64,
    /// 1 + family of the socket address that the call was given, 0 for none.
    pub address_family: u64,
    /// Of the internet's: 1 + its port, 0 for none,
    pub port: u64,
    /// and the address within IPv6, most significant half first.
    pub ip: [u64; 2],
    /// 1 + the process that the call acts upon, 0 for none.
    pub target: u64,
    /// A bit for each capability that the call made use of.
    pub caps: u64,
    /// 1 + the operation of io_uring that the task carries out, 0 for none: also where nothing of it is noted yet.
    pub operation: u64,
    /// Where the look-up in progress puts what it finds, 0 for none: also where nothing of the call is noted yet.
    pub place: u64,
    /// The hook of that look-up: there may be another function with a hook in it.
    pub place_of: u64,
    /// 0 while a hook looks at objects that only decide about refusing the call: see [`Call::records`].
    pub records: u64,
    /// Capabilities of the file that is executed.
    pub file_caps: FileCaps,
    /// Rules that the object being looked at satisfies: used only where rules test objects beyond path and dir.
    pub own_rules: Rules,
    /// Rules that the objects satisfy.
    pub object_rules: Rules,
    /// Not begun while `header.start` is 0.
    pub header: EventHeader,
    pub payload: [u8; CHUNK_BYTES + APPEND_BYTES],
}

/// A name that had no inode yet when a hook was shown it. Its inode is looked for when the call ends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Created {
    /// Address of the dentry; 0 for none.
    pub dentry: u64,
    /// Its parent, by which it is known again.
    pub parent: u64,
    /// Where in the payload its object lies, and in which sample of the event.
    pub offset: u32,
    pub chunk: u32,
}

/// Reference to the current task's context: the map value lives as long as the task does.
pub type Context = &'static mut TaskContext;

/// Number and ABI of the call that a task is in. Operations of io_uring are carried out within `io_uring_enter`, or by workers
/// that are in no call.
#[inline(always)]
pub fn call_in_progress(task: Task, registers: Object) -> Option<(u32, u32)> {
    /// In every ABI.
    const IO_URING_ENTER: u32 = 426;
    if !task.has_syscall() {
        return if task.is_io_worker() { operation(task) } else { None };
    }
    let call = (kernel::syscall_number(registers), task.abi());
    if call.0 == IO_URING_ENTER { operation(task).or(Some(call)) } else { Some(call) }
}

/// The operation of io_uring that the task carries out, if a rule names it.
#[inline(always)]
fn operation(task: Task) -> Option<(u32, u32)> {
    // SAFETY: null or the current task's own value, which no other task touches.
    let context = unsafe { TASKS.get(task.raw()).as_ref() }?;
    if context.operation == 0 { None } else { Some((context.operation as u32 - 1, OPERATION)) }
}

/// Notes that the current task begins to carry out an operation.
#[inline(always)]
pub fn begin_operation(number: u32) {
    let task = Task::current();
    let is_named = Tables::active().is_some_and(|tables| tables.syscall(OPERATION, number).is_some());
    let pointer = if is_named { TASKS.get_or_create(task.raw()) } else { TASKS.get(task.raw()) };
    // SAFETY: null or the current task's own value, which no other task touches.
    match unsafe { pointer.as_mut() } {
        Some(context) => {
            context.reset();
            context.operation = if is_named { u64::from(number) + 1 } else { 0 };
        }
        None if is_named => count(counters::LOST_TASK_STORAGE),
        None => {}
    }
}

/// Notes that it has done so: the operation, and the context if a hook began an event.
#[inline(always)]
pub fn end_operation(task: Task) -> Option<(u32, Option<Context>)> {
    let (number, abi) = operation(task)?;
    // SAFETY: null or the current task's own value, which no other task touches.
    let context = unsafe { TASKS.get(task.raw()).as_mut() }?;
    context.operation = 0;
    let is_begun = context.is_of(number, abi);
    Some((number, is_begun.then_some(context)))
}

/// The context of the call in progress, begun if it is not yet. Counts where none can be had.
#[inline(always)]
pub fn begin(call: &Call) -> Option<Context> {
    let pointer = TASKS.get_or_create(call.task.raw());
    // SAFETY: null or the current task's own value, which no other task touches.
    let Some(context) = (unsafe { pointer.as_mut() }) else {
        count(counters::LOST_TASK_STORAGE);
        return None;
    };
    task_begin(context, call.tables.slot, call.number, call.abi);
    Some(context)
}

/// Begins the call in a context, if it is not yet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn task_begin(context: *mut TaskContext, slot: u32, number: u32, abi: u32) -> i32 {
    // SAFETY: null or the current task's context, as the verifier proves at each call.
    let Some(context) = (unsafe { context.as_mut() }) else { return 0 };
    let Some(tables) = Tables::of_slot(slot) else { return 0 };
    // What is provisional does not count once another hook is shown something; still less by the rules before a reload.
    let overtaken = hooks::is_provisional(context.header.hook) && !context.is_judged_by(tables);
    if overtaken || !context.is_of(number, abi) {
        context.reset();
        context.slot = slot;
        context.generation = tables.header.generation;
        context.header.start = kernel::now();
        context.header.syscall = number;
        context.header.abi = abi;
        context.header.args =
            if abi == OPERATION { [0; 6] } else { kernel::arguments(Task::current().registers(), abi) };
        context.is_exec = tables.syscall(abi, number).is_some_and(|entry| entry.class == class::EXEC) as u64;
    }
    0
}

/// Whether rules of the task list left a task out when it came.
#[inline(always)]
pub fn is_left_out(tables: Tables, task: Task) -> bool {
    tables.header.task_row != ROW_NONE && !LEFT_OUT.get(task.raw()).is_null()
}

/// Applies the rules of the task list to a task that is about to come: the current one tells who it is (`audit_filter_task`
/// in `kernel/auditsc.c`, called before anything but its memory is the task's own).
#[inline(always)]
pub fn begun(new: *mut task_struct) {
    let Some(tables) = Tables::active() else { return };
    if tables.header.task_row == ROW_NONE {
        return;
    }
    no_rules!(rules);
    tables.load(rules, tables.header.task_row);
    let task = Task::current();
    let fields = tables.narrow_subject(rules, Subject::of(task), |_| 0);
    tables.narrow_subject_tests(fields, rules);
    let Some(rule) = tables.first(rules) else { return };
    if tables.is_never(rule) {
        if LEFT_OUT.get_or_create(new).is_null() {
            // It is recorded then: better an event too many.
            count(counters::TASK_NOT_LEFT_OUT);
        }
        return;
    }
    let Some(mark) = TASK_MARKS.get(tables.slot * MAX_RULES as u32 + rule) else { return };
    // SAFETY: null or the value of a task that does not run yet.
    match unsafe { MARKED.get_or_create(new).as_mut() } {
        Some(marked) => *marked = u64::from(*mark),
        None => count(counters::LOST_TASK_STORAGE),
    }
}

/// What a rule of the task list marked the task with when it came, negative for nothing.
#[inline(always)]
pub fn mark(task: Task) -> i64 {
    // SAFETY: null or the current task's own value, which no other task touches.
    unsafe { MARKED.get(task.raw()).as_ref() }.map_or(-1, |mark| *mark as i64)
}

/// Family of the socket address that the call in progress was given, negative for none.
#[inline(always)]
pub fn address_family(task: Task) -> i64 {
    noted(task, |context| context.address_family)
}

/// Its port, if it is of the internet's, negative if it is not.
#[inline(always)]
pub fn port(task: Task) -> i64 {
    noted(task, |context| context.port)
}

/// Its address, if it is of the internet's.
#[inline(always)]
pub fn ip(task: Task) -> Option<[u64; 2]> {
    in_progress(task).filter(|context| context.port != 0).map(|context| context.ip)
}

/// The process that the call in progress acts upon, negative for none.
#[inline(always)]
pub fn target(task: Task) -> i64 {
    noted(task, |context| context.target)
}

/// Capabilities that the call in progress made use of, as bits.
#[inline(always)]
pub fn caps(task: Task) -> u64 {
    in_progress(task).map_or(0, |context| context.caps)
}

/// What a hook noted of the call in progress as 1 + a number, negative for nothing.
#[inline(always)]
fn noted(task: Task, of: impl FnOnce(&TaskContext) -> u64) -> i64 {
    in_progress(task).map_or(-1, |context| of(context) as i64 - 1)
}

/// What hooks noted of the call in progress, if one began it.
#[inline(always)]
fn in_progress(task: Task) -> Option<&'static TaskContext> {
    // SAFETY: null or the current task's own value, which no other task touches.
    unsafe { TASKS.get(task.raw()).as_ref() }.filter(|context| context.header.start != 0)
}

/// Whether a hook began the call's event.
#[inline(always)]
pub fn is_begun(call: &Call) -> bool {
    in_progress(call.task).is_some_and(|context| context.is_of(call.number, call.abi))
}

/// Notes where a look-up of the call puts what it finds.
#[inline(always)]
pub fn note_place(call: &Call, hook: u32, address: u64) {
    // SAFETY: null or the current task's own value, which no other task touches.
    match unsafe { TASKS.get_or_create(call.task.raw()).as_mut() } {
        Some(context) => (context.place, context.place_of) = (address, u64::from(hook)),
        None => count(counters::LOST_TASK_STORAGE),
    }
}

/// Takes what was noted.
#[inline(always)]
pub fn take_place(hook: u32) -> Option<u64> {
    // SAFETY: null or the current task's own value, which no other task touches.
    let context = unsafe { TASKS.get(Task::current().raw()).as_mut() }?;
    if context.place == 0 || context.place_of != u64::from(hook) {
        return None;
    }
    let place = context.place;
    context.place = 0;
    Some(place)
}

/// An argument of the call in progress: as it was given, for an exec that succeeded has cleared the registers.
#[inline(always)]
pub fn argument(task: Task, index: usize) -> u64 {
    match in_progress(task) {
        Some(context) => context.header.args[index],
        None => kernel::argument(task.registers(), task.abi(), index),
    }
}

/// Whether a hook noted objects of the call.
#[inline(always)]
pub fn has_objects(call: &Call) -> bool {
    in_progress(call.task).is_some_and(|context| context.is_of(call.number, call.abi) && context.objects != 0)
}

/// The call that just ended, as number and ABI, and its context if a hook began one. A successful exec leaves the number of
/// `execve` in the ABI of the new image, whatever the call was (`set_personality_64bit` and its kin in
/// `arch/x86/kernel/process_64.c`): there the context knows better.
#[inline(always)]
pub fn ended(task: Task, number: u32, abi: u32) -> (u32, u32, Option<Context>) {
    // SAFETY: null or the current task's own value, which no other task touches.
    match unsafe { TASKS.get(task.raw()).as_mut() } {
        Some(context) if context.header.start != 0 && context.is_exec != 0 => {
            (context.header.syscall, context.header.abi, Some(context))
        }
        Some(context) if context.is_of(number, abi) => (number, abi, Some(context)),
        _ => (number, abi, None),
    }
}

impl TaskContext {
    /// Whether it was begun by this call.
    #[inline(always)]
    fn is_of(&self, number: u32, abi: u32) -> bool {
        self.header.start != 0 && self.header.syscall == number && self.header.abi == abi
    }

    /// Whether the objects noted so far were matched with these tables.
    #[inline(always)]
    pub fn is_judged_by(&self, tables: Tables) -> bool {
        self.generation == tables.header.generation
    }

    /// Forgets the call.
    #[inline(always)]
    pub fn reset(&mut self) {
        self.header.start = 0;
        self.header.verdict = verdict::ALLOW;
        kernel::clear(&mut self.caps);
        self.forget_objects();
    }

    /// Forgets what the call acts on.
    #[inline(always)]
    pub fn forget_objects(&mut self) {
        self.header.hook = 0;
        self.created.dentry = 0;
        // Each for itself: of two zeros side by side the compiler makes a call of its memset, a loop over bytes.
        kernel::clear(&mut self.tests_met);
        kernel::clear(&mut self.address_family);
        kernel::clear(&mut self.port);
        kernel::clear(&mut self.target);
        self.file_caps.magic = 0;
        self.header.chunk = 0;
        self.header.payload_len = 0;
        self.header.incomplete = 0;
        self.access = 0;
        self.objects = 0;
        kernel::clear(&mut self.object_rules);
    }

    /// The tables that the objects were matched with, though others may be in force meanwhile, or another daemon's; where two
    /// reloads have overwritten them, those in force, and the objects no longer count.
    #[inline(always)]
    pub fn tables(&mut self) -> Option<Tables> {
        match Tables::of_slot(self.slot) {
            Some(tables) if tables.header.generation == self.generation => Some(tables),
            _ => {
                count(counters::STALE_CONTEXT);
                kernel::clear(&mut self.object_rules);
                Tables::active()
            }
        }
    }
}

/// Who acts: read when the rules are applied, as the kernel does.
#[derive(Clone, Copy)]
pub struct Subject {
    pub task: Task,
    pub cred: Object,
}

impl Subject {
    /// The current task.
    #[inline(always)]
    pub fn of(task: Task) -> Self {
        Self { task, cred: field(task.object(), &kernel::TASK_CRED) }
    }

    /// Thread group id of the parent.
    #[inline(always)]
    pub fn ppid(self) -> u32 {
        field(field::<Object>(self.task.object(), &kernel::TASK_REAL_PARENT), &kernel::TASK_TGID)
    }

    /// Login uid.
    #[inline(always)]
    pub fn auid(self) -> u32 {
        field(self.task.object(), &kernel::TASK_LOGINUID)
    }

    /// Personality.
    #[inline(always)]
    pub fn personality(self) -> u32 {
        field(self.task.object(), &kernel::TASK_PERSONALITY)
    }

    /// An id of the credentials.
    #[inline(always)]
    pub fn id(self, offset: &Global<u32>) -> i64 {
        i64::from(field::<u32>(self.cred, offset))
    }

    /// Session id.
    #[inline(always)]
    pub fn session(self) -> u32 {
        field(self.task.object(), &kernel::TASK_SESSIONID)
    }

    /// Device and inode of the executable; zeros for none.
    #[inline(always)]
    pub fn exe(self) -> (u32, u64) {
        let mm: Object = field(self.task.object(), &kernel::TASK_MM);
        if mm.is_null() {
            return (0, 0);
        }
        let file: Object = field(mm, &kernel::MM_EXE_FILE);
        if file.is_null() {
            return (0, 0);
        }
        let inode: Object = field(file, &kernel::FILE_F_INODE);
        (
            field(field::<Object>(inode, &kernel::INODE_I_SB), &kernel::SUPER_BLOCK_S_DEV),
            field(inode, &kernel::INODE_I_INO),
        )
    }
}
