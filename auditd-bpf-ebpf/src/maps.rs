//! Every map and global of the object.

use crate::task::TaskContext;
use auditd_bpf_common::{
    counters,
    limits::{
        MAX_EXES, MAX_INTERVALS, MAX_NAMES, MAX_OBJECT_TESTS, MAX_OBJECTS, MAX_ROWS, MAX_SUBJECT_TESTS, MAX_SYSCALLS,
        RING_BYTES, SLOTS, STAGE_COUNT,
    },
    plan_rows::{Header, Interval, NameKey, ObjectKey, ObjectValue, Row, SingleTest, SyscallEntry},
    wire::EventHeader,
};
use aya_ebpf::{
    Global,
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type, task_struct},
    btf_maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf},
    helpers::generated as raw,
    macros::btf_map,
};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub static ACTIVE: Array<u32, 1> = Array::new();
#[btf_map]
pub static HEADERS: Array<Header, { SLOTS as usize }> = Array::new();
#[btf_map]
pub static SYSCALLS: Array<SyscallEntry, { (SLOTS * 2 * MAX_SYSCALLS) as usize }> = Array::new();
#[btf_map]
pub static ROWS: Array<Row, { (SLOTS * MAX_ROWS) as usize }> = Array::new();
#[btf_map]
pub static INTERVALS: Array<Interval, { (SLOTS * MAX_INTERVALS) as usize }> = Array::new();
#[btf_map]
pub static SUBJECT_TESTS: Array<SingleTest, { (SLOTS * MAX_SUBJECT_TESTS) as usize }> = Array::new();
#[btf_map]
pub static OBJECT_TESTS: Array<SingleTest, { (SLOTS * MAX_OBJECT_TESTS) as usize }> = Array::new();
#[btf_map]
pub static OBJECTS: HashMap<ObjectKey, ObjectValue, MAX_OBJECTS, NO_PREALLOC> = HashMap::new();
#[btf_map]
pub static NAMES: HashMap<NameKey, u32, MAX_NAMES, NO_PREALLOC> = HashMap::new();
#[btf_map]
pub static EXES: HashMap<ObjectKey, u32, MAX_EXES, NO_PREALLOC> = HashMap::new();
#[btf_map]
pub static EVENTS: RingBuf<EventHeader, { RING_BYTES as usize }> = RingBuf::new();
/// Programs that others go on to, by the kind of function they are attached to.
#[btf_map]
pub static STAGES_0: ProgramArray<{ STAGE_COUNT as usize }> = ProgramArray::new();
#[btf_map]
pub static STAGES_1: ProgramArray<{ STAGE_COUNT as usize }> = ProgramArray::new();
#[btf_map]
static COUNTERS: PerCpuArray<u64, { counters::SLOTS as usize }> = PerCpuArray::new();
#[btf_map]
pub static TASKS: TaskStorage<TaskContext> = TaskStorage::new();
/// Tasks that rules of the task list left out when they came.
#[btf_map]
pub static LEFT_OUT: TaskStorage<u64> = TaskStorage::new();

/// Thread group whose own acts are never recorded, as the kernel never audits auditd.
#[unsafe(no_mangle)]
pub static DAEMON_PID: Global<u32> = Global::new(0);
/// Seed of the file name hash.
#[unsafe(no_mangle)]
pub static NAME_SEED: Global<u64> = Global::new(0);
/// Fill of the ring buffer, in bytes, above which the daemon is woken.
#[unsafe(no_mangle)]
pub static WAKEUP_BYTES: Global<u64> = Global::new(0);

/// Adds one to a counter.
#[inline(always)]
pub fn count(slot: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(slot) {
        // SAFETY: the slot belongs to this CPU, and programs do not migrate.
        unsafe { *counter += 1 }
    }
}

/// Task storage, which aya-ebpf lacks. The layout is that of its other map definitions.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; NO_PREALLOC],
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
