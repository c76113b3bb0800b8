//! Names of maps, globals and programs in the BPF object.

/// Whose tables are in force, and which slot of theirs: one element, an [`active`](crate::plan_rows::active) word.
pub const ACTIVE: &str = "ACTIVE";
/// [`crate::plan_rows::Header`] per slot.
pub const HEADERS: &str = "HEADERS";
/// [`crate::plan_rows::SyscallEntry`] by slot, ABI and number.
pub const SYSCALLS: &str = "SYSCALLS";
/// [`crate::plan_rows::Row`] by slot.
pub const ROWS: &str = "ROWS";
/// [`crate::plan_rows::Interval`] by slot.
pub const INTERVALS: &str = "INTERVALS";
/// [`crate::plan_rows::SingleTest`]s of who acts and of results, by slot.
pub const SUBJECT_TESTS: &str = "SUBJECT_TESTS";
/// [`crate::plan_rows::SingleTest`]s of objects, by slot.
pub const OBJECT_TESTS: &str = "OBJECT_TESTS";
/// What each rule marks tasks with that it matches when they come, by slot; 0 for nothing.
pub const TASK_MARKS: &str = "TASK_MARKS";
/// [`crate::plan_rows::Pattern`] by slot.
pub const PATTERNS: &str = "PATTERNS";
/// [`crate::plan_rows::ObjectValue`] by [`crate::plan_rows::ObjectKey`].
pub const OBJECTS: &str = "OBJECTS";
/// Row number by [`crate::plan_rows::NameKey`].
pub const NAMES: &str = "NAMES";
/// Row number by [`crate::plan_rows::ObjectKey`] of the executable.
pub const EXES: &str = "EXES";
/// Ring buffer of [`crate::wire::EventHeader`] samples.
pub const EVENTS: &str = "EVENTS";
/// Per-CPU [`crate::counters`].
pub const COUNTERS: &str = "COUNTERS";
/// Global: thread group whose own acts are never recorded.
pub const DAEMON_PID: &str = "DAEMON_PID";
/// Global: when it began, in ticks of [`crate::limits::TICK_NS`] since boot.
pub const DAEMON_STARTED: &str = "DAEMON_STARTED";
/// Global: the process whose children are spared as well, and which is spared itself; 0 for none.
pub const KEEPER_PID: &str = "KEEPER_PID";
/// Global: as [`DAEMON_STARTED`].
pub const KEEPER_STARTED: &str = "KEEPER_STARTED";
/// Global: whose tables these programs go by.
pub const OWNER: &str = "OWNER";
/// Global: seed of the file name hash.
pub const NAME_SEED: &str = "NAME_SEED";
/// Global: ring buffer fill, in bytes, above which the daemon is woken.
pub const WAKEUP_BYTES: &str = "WAKEUP_BYTES";
/// By kind of syscall function: the small program on its result, and the map of the programs that it goes on to.
pub const FEXIT_SYSCALL: [(&str, &str); 2] = [("fexit_syscall_0", "STAGES_0"), ("fexit_syscall_1", "STAGES_1")];
/// Program that completes an event, at [`crate::limits::STAGE_COMPLETE`].
pub const FEXIT_COMPLETE: &str = "fexit_complete";
/// What each rule tests.
pub const RULE_FIELDS: &str = "RULE_FIELDS";
/// What each rule that refuses does.
pub const RULE_REFUSALS: &str = "RULE_REFUSALS";
/// Global: what programs of hooks may do about an act that a rule refuses, one of [`refuses`](crate::plan_rows::refuses).
pub const REFUSES: &str = "REFUSES";
/// Program of the hook `inode_setattr`, by whether the identity mapping of the mount comes first.
pub const LSM_SETATTR: &str = "lsm_inode_setattr";
/// The other one.
pub const LSM_SETATTR_MAPPED: &str = "lsm_inode_setattr_mapped";
/// The program of `inode_setattr` in the place of hooks of paths, before 6.9.
pub const LSM_ATTRIBUTES: &str = "lsm_attributes";
/// The same from 6.9 on.
pub const LSM_ATTRIBUTES_MAPPED: &str = "lsm_attributes_mapped";
/// Program that sees opens by path, those that are let through and those that are refused.
pub const FEXIT_OPENS: &str = "fexit_may_open_all";
/// Program that completes the events of all calls, on the tracepoint [`SYS_EXIT`].
pub const TRACEPOINT_SYS_EXIT: &str = "tracepoint_sys_exit";
/// The same as a raw tracepoint.
pub const RAW_TP_SYS_EXIT: &str = "raw_tp_sys_exit";
/// Program that sees what calls opened, where no hook can be had; to be attached before that.
pub const RAW_TP_OPENED: &str = "raw_tp_opened";
/// Tracepoint at the end of every system call: category and name.
pub const SYS_EXIT: (&str, &str) = ("raw_syscalls", "sys_exit");
/// Program that returns the 32-bit word at an address of the kernel, its first argument.
pub const RAW_READ_WORD: &str = "raw_read_word";
/// Program at the start of calls that do not return.
pub const FENTRY_EXIT: &str = "fentry_exit";
/// Program that completes events, for functions that the kernel's type information leaves out.
pub const KRETPROBE_SYSCALL: &str = "kretprobe_syscall";
/// Program at the start of the function that carries an operation of io_uring out.
pub const FENTRY_OPERATION: &str = "fentry_operation";
/// Program at its end.
pub const FEXIT_OPERATION: &str = "fexit_operation";
