//! What takes the place of the kernel in a trial: memory that user space fills with structures laid out like the kernel's, and
//! maps instead of task storage.

use crate::{
    kernel::{self, Object},
    task::TaskContext,
};
use auditd_bpf_common::trial::Memory;
use aya_ebpf::{
    Global,
    bindings::{BPF_F_NO_PREALLOC, task_struct},
    btf_maps::{Array, HashMap},
    macros::btf_map,
};

/// In the place of storage of a number for a task, by its address.
type Addresses = HashMap<u64, u64, 4, { BPF_F_NO_PREALLOC as usize }>;

#[btf_map]
pub static MEMORY: Array<Memory, 1> = Array::new();
#[btf_map]
static CONTEXTS: Array<TaskContext, 1> = Array::new();
#[btf_map]
static TASKS_LEFT_OUT: Addresses = HashMap::new();
#[btf_map]
static TASKS_MARKED: Addresses = HashMap::new();

/// Loads a field from an address.
#[inline(always)]
pub fn field<T: Copy>(object: Object, offset: &Global<u32>) -> T {
    kernel::probe(object as u64, offset)
}

/// Process and thread id of the acting task, which has but one thread.
#[inline(always)]
pub fn pid_tid() -> (u32, u32) {
    let pid = kernel::probe(current_address(), &kernel::TASK_TGID);
    (pid, pid)
}

/// Number of its control group.
#[inline(always)]
pub fn cgroup() -> u64 {
    MEMORY.get(0).map_or(0, |memory| memory.cgroup)
}

/// No rule of a trial asks for the ones above.
#[inline(always)]
pub fn cgroup_at(_: u32) -> u64 {
    0
}

/// Address of the acting task.
#[inline(always)]
pub fn current_address() -> u64 {
    MEMORY.get(0).map_or(0, |memory| memory.task)
}

/// The same as a pointer.
#[inline(always)]
pub fn current_task() -> *mut task_struct {
    current_address() as *mut task_struct
}

/// Its registers.
#[inline(always)]
pub fn registers(_: *mut task_struct) -> Object {
    MEMORY.get(0).map_or(0, |memory| memory.registers) as Object
}

/// One task's context: there is no second task that acts.
pub struct Contexts;

/// In the place of task storage.
pub const TASKS: Contexts = Contexts;

impl Contexts {
    #[inline(always)]
    pub fn get(&self, _: *mut task_struct) -> *mut TaskContext {
        CONTEXTS.get_ptr_mut(0).unwrap_or(core::ptr::null_mut())
    }

    #[inline(always)]
    pub fn get_or_create(&self, task: *mut task_struct) -> *mut TaskContext {
        self.get(task)
    }
}

/// Tasks by address.
pub struct Tasks(&'static Addresses);

/// In the place of task storage.
pub const LEFT_OUT: Tasks = Tasks(&TASKS_LEFT_OUT);
pub const MARKED: Tasks = Tasks(&TASKS_MARKED);

impl Tasks {
    #[inline(always)]
    pub fn get(&self, task: *mut task_struct) -> *mut u64 {
        self.0.get_ptr_mut(task as u64).unwrap_or(core::ptr::null_mut())
    }

    #[inline(always)]
    pub fn get_or_create(&self, task: *mut task_struct) -> *mut u64 {
        let _full = self.0.insert(task as u64, 0u64, 0);
        self.get(task)
    }
}
