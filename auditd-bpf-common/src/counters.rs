//! Slots of the per-CPU counters: every place in the kernel that drops or cuts something owns one.

macro_rules! counters {
    ($($(#[$doc:meta])+ $id:ident = $slot:literal, $name:literal;)+) => {
        $($(#[$doc])+ pub const $id: u32 = $slot;)+
        /// Slot and name of each counter, in slot order.
        pub const COUNTERS: &[(u32, &str)] = &[$(($slot, $name)),+];
    };
}

counters! {
    /// Events not recorded because the ring buffer was full.
    LOST_RING = 0, "ring_buffer_full";
    /// Events not recorded because no task storage could be had.
    LOST_TASK_STORAGE = 1, "task_storage";
    /// Samples of events that were begun but not finished in the buffer.
    LOST_CHUNK = 2, "chunk_ring_buffer_full";
    /// Objects whose path could not be followed to a root.
    UNRESOLVED_PATH = 3, "unresolved_path";
    /// Names or arguments that could not be read from the caller's memory.
    UNREADABLE_USER = 4, "unreadable_user_memory";
    /// Calls in flight over as many reloads as there are table sets, judged by the newest rules without their objects: each is
    /// perhaps an event not recorded.
    STALE_CONTEXT = 5, "stale_context";
    /// A kernel table that did not answer: never expected.
    TABLE_MISS = 6, "table_miss";
    /// Events handed to user space.
    EMITTED = 7, "emitted";
    /// Events not recorded because the program that completes them could not be reached.
    LOST_STAGE = 8, "tail_call";
    /// Tasks that a rule of the task list leaves out, but for want of memory were not.
    TASK_NOT_LEFT_OUT = 9, "task_not_left_out";
    /// Acts refused because they could not be decided about, for want of memory or as the path of an object was not found to its
    /// end, of calls with rules that fail closed; not recorded.
    REFUSED_UNDECIDED = 10, "refused_undecided";
    /// Acts refused because they could not have been recorded, of rules that fail closed; not recorded.
    REFUSED_UNRECORDED = 11, "refused_unrecorded";
}

/// Size of the counter map.
pub const SLOTS: u32 = 16;
/// Counters that mean an event is missing from the log.
pub const LOSSES: &[u32] =
    &[LOST_RING, LOST_TASK_STORAGE, STALE_CONTEXT, LOST_STAGE, REFUSED_UNDECIDED, REFUSED_UNRECORDED];
