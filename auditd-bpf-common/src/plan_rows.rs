//! Rows of the kernel tables, filled from the plan.
//!
//! Rules of a set are numbered in match order; a *row* is a bitmap over them. Each lookup gives the row of rules that its
//! value satisfies; the rows are ANDed, and the lowest bit left is the deciding rule.

use crate::limits::{BLOOM_WORDS, MAX_FS_TYPES, WORDS};

/// Row 0: no rule.
pub const ROW_NONE: u32 = 0;
/// Row 1: every rule.
pub const ROW_ALL: u32 = 1;

/// Bitmap over the rules of a set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Bit `n % 64` of word `n / 64` is rule `n`.
    pub words: [u64; WORDS],
}

/// Fields that hold a number and are compared in order; the index is the wire's, not the kernel's `AUDIT_*`.
pub mod field {
    macro_rules! fields {
        ($($id:ident = $n:literal;)+) => {
            $(#[doc = concat!("`", stringify!($id), "`")] pub const $id: u32 = $n;)+
        };
    }
    fields! {
        PID = 0; PPID = 1; UID = 2; EUID = 3; SUID = 4; FSUID = 5; AUID = 6; GID = 7; EGID = 8; SGID = 9; FSGID = 10;
        SESSION = 11; EXIT = 12; SUCCESS = 13; A0 = 14; A1 = 15; A2 = 16; A3 = 17; PERS = 18; LOGINUID_SET = 19;
    }
    /// Number of fields.
    pub const COUNT: usize = 20;
    /// Fields known only when the call has returned.
    pub const RESULT: u32 = 1 << EXIT | 1 << SUCCESS;

    /// Besides the fields, a bit for rules that test the executable,
    pub const EXE_BIT: u32 = 1 << 30;
    /// and one for rules with [`SingleTest`](super::SingleTest)s of who acts.
    pub const SUBJECT_BIT: u32 = 1 << 31;
}

/// What a [`SingleTest`] looks at: an ordered [`field`] by its number, or one of these.
pub mod operand {
    /// The real group, or any supplementary one.
    pub const GROUPS_GID: u32 = 32;
    /// The effective group, or any supplementary one.
    pub const GROUPS_EGID: u32 = 33;
    /// Family of the socket address that the call was given.
    pub const SADDR_FAM: u32 = 34;
    /// The process that the call acts upon.
    pub const OBJ_PID: u32 = 35;
    /// Whether the internet address that the call was given lies in a network: the test's value is its index.
    pub const DADDR: u32 = 36;
    /// The port that the call was given.
    pub const DPORT: u32 = 37;
    /// What a rule of the task list marked the task with when it came.
    pub const TASK_MARK: u32 = 38;
    /// Whether the call made use of a capability: the test's value.
    pub const CAP: u32 = 39;
    /// Owner of an object.
    pub const OBJ_UID: u32 = 40;
    /// Group of an object.
    pub const OBJ_GID: u32 = 41;
    /// Major number of the device that an object is on.
    pub const DEVMAJOR: u32 = 42;
    /// Minor number of the device that an object is on.
    pub const DEVMINOR: u32 = 43;
    /// Inode number of an object.
    pub const INODE: u32 = 44;
    /// Type of an object, as in its mode.
    pub const FILETYPE: u32 = 45;
    /// Whether the task's name is a pattern: the test's value is its index.
    pub const COMM: u32 = 46;
    /// Whether the task is in a control group that is a pattern: the test's value is its index.
    pub const CGROUP: u32 = 47;
    /// The test's own value: a right side only.
    pub const VALUE: u32 = 63;

    /// Whether it belongs to an object, and not to who acts.
    #[must_use]
    pub const fn is_object(operand: u32) -> bool {
        OBJ_UID <= operand && operand <= FILETYPE
    }

    /// Whether it is known only in the course of the call.
    #[must_use]
    pub const fn is_result(operand: u32) -> bool {
        operand == super::field::EXIT
            || operand == super::field::SUCCESS
            || operand == CAP
            || SADDR_FAM <= operand && operand <= DPORT
    }
}

/// How a [`SingleTest`] compares, both sides unsigned 32 bits (`audit_comparator` in `kernel/auditfilter.c`).
pub mod operator {
    /// `=`
    pub const EQUAL: u32 = 0;
    /// `!=`
    pub const NOT_EQUAL: u32 = 1;
    /// `<`
    pub const LESS: u32 = 2;
    /// `<=`
    pub const LESS_OR_EQUAL: u32 = 3;
    /// `>`
    pub const GREATER: u32 = 4;
    /// `>=`
    pub const GREATER_OR_EQUAL: u32 = 5;
    /// `&`
    pub const BIT_MASK: u32 = 6;
    /// `&=`
    pub const BIT_TEST: u32 = 7;

    /// Whether the comparison holds.
    #[inline(always)]
    #[must_use]
    pub const fn holds(operator: u32, left: u32, right: u32) -> bool {
        match operator {
            EQUAL => left == right,
            NOT_EQUAL => left != right,
            LESS => left < right,
            LESS_OR_EQUAL => left <= right,
            GREATER => left > right,
            GREATER_OR_EQUAL => left >= right,
            BIT_MASK => left & right != 0,
            _ => left & right == right,
        }
    }
}

/// A test that is decided by itself, because its values fall into no intervals: bits, supplementary groups, two fields
/// compared with each other, anything of an object. Rules that share it share its row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SingleTest {
    /// An [`operand`].
    pub left: u32,
    /// One of [`operator`].
    pub operator: u32,
    /// An [`operand`], or [`operand::VALUE`].
    pub right: u32,
    /// The value, if it is that.
    pub value: u32,
    /// Row of rules with this test; of an object, those that want it of the very object that their path or inode is.
    pub row: u32,
    /// Of an object: row of rules with this test that any object may meet.
    pub any_row: u32,
}

/// What a [`SingleTest`] compares with that its value does not hold: a range of internet addresses, those of IPv4 as they lie within
/// IPv6, most significant half first; the name of a task, as it lies in memory; or the number of a control group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The bits that what matches has in common; the others are zero. Of a control group its number, and its level: how many are above
    /// it, [`Pattern::ITSELF`] where what is below does not count.
    pub bits: [u64; 2],
    /// Which these are.
    pub mask: [u64; 2],
}

impl Pattern {
    /// In the place of the level of a control group.
    pub const ITSELF: u64 = u64::MAX;
}

/// What holds for a slot as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Plan number; never 0 once filled.
    pub generation: u32,
    /// Words in use.
    pub words: u32,
    /// Bit per [`field`] that any rule tests, and the bits besides.
    pub fields: u32,
    /// Row of rules whose `exe` test holds for an executable that no rule names.
    pub exe_default_row: u32,
    /// 1 if any rule tests `dir`.
    pub tests_dir: u32,
    /// Number of [`SingleTest`]s of who acts.
    pub subject_tests: u32,
    /// Number of those of the result, which stand behind them.
    pub result_tests: u32,
    /// Number of those of objects, in a table of their own.
    pub object_tests: u32,
    /// Row of rules whose object is told by its inode number alone.
    pub inode_row: u32,
    /// Row of rules of the task list.
    pub task_row: u32,
    /// Number of [`Header::fs_types`] in use.
    pub fs_type_count: u32,
    /// Row of rules that can be decided before the act: they ask for nothing that only its result tells.
    pub before_row: u32,
    /// File systems whose objects are not recorded: an [`operator`], [`operator::EQUAL`] or [`operator::NOT_EQUAL`], and a
    /// magic number (`s_magic`).
    pub fs_types: [[u32; 2]; MAX_FS_TYPES],
    /// Bits of [`bloom_bit`] of every inode in the object table: most that are met are in none, and cost no look-up.
    pub bloom: [u64; BLOOM_WORDS],
    /// Row by access of an open: index is the perm bits (read 4, write 2).
    pub perm_rows: [u32; 8],
    /// First interval and number of intervals per field.
    pub intervals: [[u32; 2]; field::COUNT],
    /// Action per rule: bit set means `never`.
    pub never: Row,
}

/// One syscall of one ABI.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyscallEntry {
    /// Bit per [`crate::hooks`] below [`crate::hooks::FIRST_REFUSING`] that has to do with the call.
    pub hooks: u64,
    /// Of these, those whose objects belong to the call: an open that creates also passes `path_mknod`, an exec also
    /// `file_open`, and would record its objects twice.
    pub records: u64,
    /// Bit per hook, 64 in each word, where a rule may refuse the call.
    pub refuses: [u64; 2],
    /// Rules that name the call, alone or by the class of their perm.
    pub row: u32,
    /// Of these, rules that test no object, by [`moment`].
    pub alone_rows: [u32; moment::COUNT],
    /// One of [`class`].
    pub class: u8,
    /// Argument that is the (first) path, or [`NO_ARG`].
    pub path_arg: u8,
    /// Argument that is the directory descriptor of it, or [`NO_ARG`].
    pub dirfd_arg: u8,
    /// Argument that holds the open flags, or [`NO_ARG`]; for openat2 the `struct open_how` pointer.
    pub flags_arg: u8,
    /// Argument that is the second path (rename, link), or [`NO_ARG`].
    pub path2_arg: u8,
    /// Argument that is the directory descriptor of it, or [`NO_ARG`].
    pub dirfd2_arg: u8,
    /// Argument that points to a structure which is recorded, or [`NO_ARG`].
    pub data_arg: u8,
    /// Its length in bytes.
    pub data_len: u8,
    /// Bit per access of an open, the index of [`Header::perm_rows`]: whether any rule that names the call can match it. All
    /// bits are alike for calls that are no open. By [`moment`].
    pub accesses: [u8; moment::COUNT],
    /// 1 for a call whose events wake the daemon.
    pub at_once: u8,
    /// 1 for a call that is refused where it cannot be decided about.
    pub fails_closed: u8,
}

/// The word that says which tables are in force: those of one owner, a loaded object, in one of its slots. Objects may share it, so
/// that a write takes over from one to the other.
pub mod active {
    /// Owners are numbers from 1 to this.
    pub const OWNER_MAX: u32 = (1 << 24) - 1;
    /// No owner's: no tables are in force.
    pub const NONE: u32 = 0;

    /// The word.
    #[must_use]
    pub const fn word(owner: u32, slot: u32) -> u32 {
        owner << 8 | slot
    }

    /// Whose tables.
    #[must_use]
    pub const fn owner(word: u32) -> u32 {
        word >> 8
    }

    /// Which slot.
    #[must_use]
    pub const fn slot(word: u32) -> u32 {
        word & 0xff
    }
}

/// What programs of hooks may do about an act that a rule refuses.
pub mod refuses {
    /// Nothing.
    pub const NOTHING: u32 = 0;
    /// Decide, and leave the act alone: programs in the place of hooks must return 0.
    pub const DECIDES: u32 = 1;
    /// Refuse it.
    pub const RETURNS: u32 = 2;
}

/// What a rule that refuses does, in a word: 0 for rules that refuse nothing.
pub mod refusal {
    /// Lowest bits: 4095 less the errno.
    pub const ERRNO_BITS: u32 = 0xfff;
    /// Above them, one of [`crate::wire::verdict`].
    pub const VERDICT_SHIFT: u32 = 12;
    /// How many they are.
    pub const VERDICT_BITS: u32 = 0xf;
    /// The rule is about the use of a capability: no other refuses that.
    pub const BY_CAPABILITY: u32 = 1 << 30;
    /// The highest: the act is refused where it could not be recorded, though the rule lets it through.
    pub const UNLESS_RECORDED: u32 = 1 << 31;

    /// What is returned unless the rule says otherwise.
    pub const EPERM: u16 = 1;

    /// The word of a rule that refuses.
    #[must_use]
    pub const fn word(verdict: u32, errno: u16) -> u32 {
        (verdict << VERDICT_SHIFT) | (ERRNO_BITS - (errno as u32 & ERRNO_BITS))
    }
}

/// Beside the ABIs 0 (b64) and 1 (b32): the call is an operation of io_uring.
pub const OPERATION: u32 = 2;

/// The call has no such argument.
pub const NO_ARG: u8 = 0xff;

/// What is known of a call's result when its objects are met. Numbers that index: a choice by a branch would have the verifier
/// follow all that comes after it once more.
pub mod moment {
    /// Nothing: the checks that may refuse the act are still to come, or have refused it.
    pub const ANY_RESULT: usize = 0;
    /// The act was let through: rules on calls that fail are out.
    pub const AFTER_CHECKS: usize = 1;
    /// Number of them.
    pub const COUNT: usize = 2;
}

/// How a call is treated.
pub mod class {
    /// Nothing special.
    pub const PLAIN: u8 = 0;
    /// `open`, `openat`: perm is decided by the access mode.
    pub const OPEN: u8 = 1;
    /// `openat2`: the same, flags in memory.
    pub const OPENAT2: u8 = 2;
    /// `execve`, `execveat`: ids change before the call ends, arguments are read from the new image.
    pub const EXEC: u8 = 3;
    /// `fork`, `clone` and their like: the child returns as well, with 0, from a call that it never made.
    pub const FORK: u8 = 4;
    /// `mmap`, `mprotect` and their like: perm is decided by what the memory is for.
    pub const MAP: u8 = 5;
    /// `chdir`, `chroot`: names mean others when the call has ended.
    pub const MOVE: u8 = 6;
    /// `symlink`, `symlinkat`: the second path is a text.
    pub const SYMLINK: u8 = 7;
}

/// From `start` up to the next interval's start, `row` holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// First value.
    pub start: u32,
    /// Row of rules whose tests of the field hold there.
    pub row: u32,
}

/// An inode in a slot's tables.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Table slot.
    pub slot: u32,
    /// Device of the superblock, `major << 20 | minor`.
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
}

/// Bit of an inode in [`Header::bloom`].
#[inline(always)]
#[must_use]
pub const fn bloom_bit(dev: u32, ino: u64) -> usize {
    let mixed = (ino ^ (dev as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as usize & (BLOOM_WORDS * 64 - 1)
}

/// What is known of an inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectValue {
    /// Rules whose `path` it is.
    pub path_row: u32,
    /// Rules whose `dir` it is.
    pub dir_row: u32,
    /// 1 if [`NameKey`]s with this parent exist.
    pub has_names: u32,
    /// Zero.
    pub _pad: u32,
}

/// A name in a directory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// Table slot.
    pub slot: u32,
    /// Device of the directory.
    pub dev: u32,
    /// Inode of the directory.
    pub ino: u64,
    /// [`hash_name`] of the name.
    pub hash: u64,
}

/// One step of the name hash, over eight bytes of the name (the last ones zero-padded). Seeded per load, so that nobody can
/// construct a name that collides with a watched one.
#[inline(always)]
#[must_use]
pub const fn hash_step(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// Hash of a file name as the kernel side computes it: its length, then its bytes by eights.
#[must_use]
pub fn hash_name(seed: u64, name: &[u8]) -> u64 {
    name.chunks(8).fold(hash_step(seed, name.len() as u64), |hash, chunk| {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash_step(hash, u64::from_le_bytes(word))
    })
}

const _: () = {
    assert!(size_of::<Row>() == WORDS * 8);
    assert!(size_of::<Header>() == 20 * 4 + MAX_FS_TYPES * 8 + BLOOM_WORDS * 8 + field::COUNT * 8 + WORDS * 8);
    assert!(size_of::<SyscallEntry>() == 56);
    assert!(size_of::<ObjectKey>() == 16 && size_of::<ObjectValue>() == 16 && size_of::<NameKey>() == 24);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Header, Interval, NameKey, ObjectKey, ObjectValue, Pattern, Row, SingleTest, SyscallEntry};
    // SAFETY: all are repr(C), Copy, made of integers, and without padding (sizes asserted above).
    unsafe impl aya::Pod for Row {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Header {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SyscallEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Interval {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SingleTest {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Pattern {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ObjectKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ObjectValue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for NameKey {}
}
