//! What a test of the kernel side and its object on trial agree on: the daemon has no part in it.

/// Bytes for structures.
pub const MEMORY_BYTES: usize = 64 << 10;

/// Map of the [`Memory`].
pub const MEMORY: &str = "MEMORY";
/// Map of tasks that the task list left out, by address.
pub const TASKS_LEFT_OUT: &str = "TASKS_LEFT_OUT";
/// Program that writes [`Memory::address`].
pub const BEGIN: &str = "trial_begin";
/// Program that is a hook of files.
pub const HOOK: &str = "trial_hook";
/// Program that is a hook of files in which one is about to come.
pub const COMING: &str = "trial_coming";
/// Program that is a hook of socket addresses.
pub const ADDRESS: &str = "trial_address";
/// Program that is the end of a call.
pub const END: &str = "trial_end";
/// Program that is the coming of a task.
pub const TASK: &str = "trial_task";

/// Kinds of objects that a hook is shown.
pub mod kind {
    /// None.
    pub const NOTHING: u64 = 0;
    /// A file that is there.
    pub const WHOLE: u64 = 1;
    /// A name that is about to come.
    pub const NEW: u64 = 2;
}

/// The place of the kernel's memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memory {
    /// Where this is, in the kernel.
    pub address: u64,
    /// Address of the acting task.
    pub task: u64,
    /// Address of its registers.
    pub registers: u64,
    /// Number of its control group.
    pub cgroup: u64,
    /// Structures.
    pub bytes: [u8; MEMORY_BYTES],
}

#[cfg(feature = "user")]
// SAFETY: repr(C), Copy, integers, without padding.
unsafe impl aya::Pod for Memory {}
