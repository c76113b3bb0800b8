//! Every map and global of the object; task storage is in [`crate::host`].

use auditd_bpf_common::{
    counters,
    limits::{
        CALL_KINDS, MAX_EXES, MAX_INTERVALS, MAX_NAMES, MAX_OBJECT_TESTS, MAX_OBJECTS, MAX_PATTERNS, MAX_ROWS,
        MAX_RULES, MAX_SUBJECT_TESTS, MAX_SYSCALLS, RING_BYTES, SLOTS, STAGE_COUNT,
    },
    plan_rows::{Header, Interval, NameKey, ObjectKey, ObjectValue, Pattern, Row, SingleTest, SyscallEntry},
    wire::EventHeader,
};
use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub static ACTIVE: Array<u32, 1> = Array::new();
#[btf_map]
pub static HEADERS: Array<Header, { SLOTS as usize }> = Array::new();
#[btf_map]
pub static SYSCALLS: Array<SyscallEntry, { (SLOTS * CALL_KINDS * MAX_SYSCALLS) as usize }> = Array::new();
#[btf_map]
pub static ROWS: Array<Row, { (SLOTS * MAX_ROWS) as usize }> = Array::new();
#[btf_map]
pub static INTERVALS: Array<Interval, { (SLOTS * MAX_INTERVALS) as usize }> = Array::new();
/// What each rule tests of who acts: bits as in `plan_rows::field`.
#[btf_map]
pub static RULE_FIELDS: Array<u32, { SLOTS as usize * MAX_RULES }> = Array::new();
/// What each rule that refuses does: a word as in `plan_rows::refusal`.
#[btf_map]
pub static RULE_REFUSALS: Array<u32, { SLOTS as usize * MAX_RULES }> = Array::new();
/// What each rule of the task list marks tasks with; 0 for nothing.
#[btf_map]
pub static TASK_MARKS: Array<u32, { SLOTS as usize * MAX_RULES }> = Array::new();
#[btf_map]
pub static SUBJECT_TESTS: Array<SingleTest, { (SLOTS * MAX_SUBJECT_TESTS) as usize }> = Array::new();
#[btf_map]
pub static OBJECT_TESTS: Array<SingleTest, { (SLOTS * MAX_OBJECT_TESTS) as usize }> = Array::new();
#[btf_map]
pub static PATTERNS: Array<Pattern, { (SLOTS * MAX_PATTERNS) as usize }> = Array::new();
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

/// Thread group whose own acts are never recorded, as the kernel never audits auditd.
#[unsafe(no_mangle)]
pub static DAEMON_PID: Global<u32> = Global::new(0);
/// When it began, in ticks of `TICK_NS` since boot: what a killed daemon leaves in force must not spare the next process of its number.
#[unsafe(no_mangle)]
pub static DAEMON_STARTED: Global<u64> = Global::new(0);
/// The process whose children are spared as well, and which is spared itself; 0 where there is none. Programs that a killed daemon
/// leaves spare the next one by it.
#[unsafe(no_mangle)]
pub static KEEPER_PID: Global<u32> = Global::new(0);
/// As [`DAEMON_STARTED`].
#[unsafe(no_mangle)]
pub static KEEPER_STARTED: Global<u64> = Global::new(0);
/// Whose tables [`ACTIVE`] names while these programs have anything to do.
#[unsafe(no_mangle)]
pub static OWNER: Global<u32> = Global::new(0);
/// What programs of hooks may do about an act that a rule refuses: one of `plan_rows::refuses`.
#[unsafe(no_mangle)]
pub static REFUSES: Global<u32> = Global::new(0);
/// Seed of the file name hash.
#[unsafe(no_mangle)]
pub static NAME_SEED: Global<u64> = Global::new(0);
/// Fill of the ring buffer, in bytes, above which the daemon is woken: a quarter.
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
