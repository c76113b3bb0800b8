//! Every cap and map size.

/// Rules in one set.
pub const MAX_RULES: usize = 1024;
/// 64-bit words of a rule bitmap.
pub const WORDS: usize = MAX_RULES / 64;
/// Table sets: the one in force, the one being filled, and those that calls in flight began with.
pub const SLOTS: u32 = 4;
/// Words of the filter in front of the object table: 16384 bits, of which 1,000 watched inodes set a sixteenth.
pub const BLOOM_WORDS: usize = 256;
/// Directories that an object lies below which are matched without a helper; deeper ones by a slower loop.
pub const NEAR_LEVELS: u32 = 16;
/// Tests of who acts and of results that are decided one by one, per slot.
pub const MAX_SUBJECT_TESTS: u32 = 512;
/// The same of objects: one bit each in a word of the task context.
pub const MAX_OBJECT_TESTS: u32 = 64;
/// Networks, names of tasks and control groups that rules name, per slot.
pub const MAX_PATTERNS: u32 = 256;
/// File systems that rules of the filesystem list name.
pub const MAX_FS_TYPES: usize = 8;
/// Steps of the search for a supplementary group: 2^16 = `NGROUPS_MAX`.
pub const GROUP_STEPS: u32 = 16;
/// Syscall numbers per ABI that rules may name.
pub const MAX_SYSCALLS: u32 = 1024;
/// Kinds of calls: those of two ABIs, and operations of io_uring.
pub const CALL_KINDS: u32 = 3;
/// Bitmaps per slot.
pub const MAX_ROWS: u32 = 8192;
/// Intervals of all ordered fields per slot.
pub const MAX_INTERVALS: u32 = 32768;
/// Steps of the binary search over one field's intervals: 2^15 = `MAX_INTERVALS`.
pub const SEARCH_STEPS: u32 = 15;
/// Watched inodes, all slots together.
pub const MAX_OBJECTS: usize = 32768;
/// Watched names, all slots together.
pub const MAX_NAMES: usize = 32768;
/// Watched executables, all slots together.
pub const MAX_EXES: usize = 8192;
/// Longest file name (`NAME_MAX`), with its NUL.
pub const NAME_BYTES: usize = 256;
/// Longest path (`PATH_MAX`).
pub const PATH_BYTES: usize = 4096;
/// Steps of one walk to the root: a path of 4096 bytes has at most 2048 names, and mounts add steps.
pub const WALK_STEPS: u32 = 4096;
/// Payload bytes collected before a chunk is sent on. What one append adds at the most is [`APPEND_BYTES`].
pub const CHUNK_BYTES: usize = 2048;
/// The most that one append may add.
pub const APPEND_BYTES: usize = 1024;
/// Argument bytes of one exec that are read: the kernel's own limit for all strings together is 6 MiB (`_STK_LIM / 4 * 3`).
pub const ARGV_BYTES: u32 = 6 << 20;
/// Bytes of a command line that are read for a record (`MAX_PROCTITLE_AUDIT_LEN` in `kernel/audit.h`).
pub const PROCTITLE_BYTES: u32 = 128;
/// Default size of the ring buffer in bytes; a power of two, a multiple of the page size.
pub const RING_BYTES: u32 = 8 << 20;
/// Nanoseconds of the ticks in which proc(5) tells when a process began (`USER_HZ` is 100).
pub const TICK_NS: u64 = 10_000_000;
/// `sockaddr_storage`.
pub const SOCKADDR_BYTES: usize = 128;
/// Programs reached by tail call.
pub const STAGE_COUNT: u32 = 1;
/// Index of the one that completes an event.
pub const STAGE_COMPLETE: u32 = 0;
