//! What the running kernel gives: its memory, typed, the current task, and storage of tasks. On trial there is
//! another module in the place of this one.

use crate::{kernel::Object, task::TaskContext};
use aya_ebpf::{
    Global,
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type, task_struct},
    helpers::{self, generated as raw},
    macros::btf_map,
};

#[btf_map]
pub static TASKS: TaskStorage<TaskContext> = TaskStorage::new();
/// Tasks that rules of the task list left out when they came.
#[btf_map]
pub static LEFT_OUT: TaskStorage<u64> = TaskStorage::new();
/// What rules of the task list marked tasks with when they came.
#[btf_map]
pub static MARKED: TaskStorage<u64> = TaskStorage::new();

/// Loads a field through a typed pointer.
#[inline(always)]
pub fn field<T: Copy>(object: Object, offset: &Global<u32>) -> T {
    // SAFETY: the verifier proves that `object` has a known type and that a T lies at the offset, or refuses the program.
    unsafe { core::ptr::read_volatile(object.add(offset.load() as usize).cast::<T>()) }
}

/// Thread group id and thread id of the current task, initial namespace.
#[inline(always)]
pub fn pid_tid() -> (u32, u32) {
    let both = helpers::bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}

/// Number of the current task's control group of version 2.
#[inline(always)]
pub fn cgroup() -> u64 {
    // SAFETY: no arguments.
    unsafe { raw::bpf_get_current_cgroup_id() }
}

/// The same of the one above it that has so many above itself; 0 if it lies no deeper.
#[inline(always)]
pub fn cgroup_at(level: u32) -> u64 {
    // SAFETY: any number will do.
    unsafe { raw::bpf_get_current_ancestor_cgroup_id(level as i32) }
}

/// The current task as a plain number, for probing.
#[inline(always)]
pub fn current_address() -> u64 {
    // SAFETY: no arguments.
    unsafe { raw::bpf_get_current_task() }
}

/// The current task.
#[inline(always)]
pub fn current_task() -> *mut task_struct {
    // SAFETY: always valid in the programs of this object.
    unsafe { raw::bpf_get_current_task_btf() }
}

/// Registers of the current task at the entry of its syscall.
#[inline(always)]
pub fn registers(task: *mut task_struct) -> Object {
    // SAFETY: the task is the current one.
    (unsafe { raw::bpf_task_pt_regs(task) }) as Object
}

/// Task storage, which aya-ebpf lacks. The layout is that of its other map definitions.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the fields only describe the map to the loader; nothing is read or written through them.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    #[inline(always)]
    fn lookup(&self, task: *mut task_struct, flags: u64) -> *mut T {
        // SAFETY: the task is valid, and the map pointer is what the loader relocates.
        unsafe {
            raw::bpf_task_storage_get(core::ptr::from_ref(self).cast_mut().cast(), task, core::ptr::null_mut(), flags)
                .cast()
        }
    }

    /// The task's value, null where it has none.
    #[inline(always)]
    pub fn get(&self, task: *mut task_struct) -> *mut T {
        self.lookup(task, 0)
    }

    /// The task's value, zeroed if new; null where none can be had.
    #[inline(always)]
    pub fn get_or_create(&self, task: *mut task_struct) -> *mut T {
        self.lookup(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    }
}
