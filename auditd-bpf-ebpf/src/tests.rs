//! Tests that are decided one by one.

use crate::{
    filter::{Rules, rules_exclude},
    kernel::{self, Task},
    maps::{HEADERS, OBJECT_TESTS, PATTERNS, SUBJECT_TESTS},
    task::{self, Subject, TaskContext},
};
use auditd_bpf_common::{
    limits::{GROUP_STEPS, MAX_OBJECT_TESTS, MAX_PATTERNS, MAX_SUBJECT_TESTS},
    plan_rows::{Pattern, ROW_NONE, SingleTest, field, operand, operator},
};

/// An operand that has no value: then no test of it holds.
const NO_VALUE: i64 = -1;

struct SubjectTests {
    slot: u32,
    first: u32,
    exit: i64,
    rules: *mut Rules,
}

/// Keeps the rules whose tests of who acts hold: `count` tests from `first`. `exit` is used by those of the result.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tests_of_subject(slot: u32, first: u32, count: u32, exit: i64, rules: *mut Rules) -> i32 {
    if rules.is_null() {
        return 0;
    }
    let mut tests = SubjectTests { slot, first, exit, rules };
    kernel::repeat(count.min(MAX_SUBJECT_TESTS), subject_step, &mut tests);
    0
}

unsafe extern "C" fn subject_step(index: u32, tests: *mut SubjectTests) -> i64 {
    // SAFETY: the state of `tests_of_subject`, checked by the verifier.
    let tests = unsafe { &mut *tests };
    let Some(test) = SUBJECT_TESTS.get(tests.slot * MAX_SUBJECT_TESTS + tests.first + index) else { return 1 };
    if !subject_test_holds(tests.slot, test, tests.exit) {
        rules_exclude(tests.slot, test.row, tests.rules);
    }
    0
}

#[inline(always)]
fn subject_test_holds(slot: u32, test: &SingleTest, exit: i64) -> bool {
    let matches = match test.left {
        operand::GROUPS_GID | operand::GROUPS_EGID => tests_is_member(test.left, test.value),
        operand::DADDR | operand::COMM | operand::CGROUP => tests_matches(slot, test.left, test.value),
        operand::CAP => (task::caps(Task::current()) >> (test.value & 63)) as i32 & 1,
        _ => {
            let left = tests_operand(test.left, exit);
            let right =
                if test.right == operand::VALUE { i64::from(test.value) } else { tests_operand(test.right, exit) };
            return left != NO_VALUE && right != NO_VALUE && operator::holds(test.operator, left as u32, right as u32);
        }
    };
    i64::from(matches) != NO_VALUE && (matches == 1) == (test.operator == operator::EQUAL)
}

/// Value of an operand of who acts, of the call and of its result.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tests_operand(what: u32, exit: i64) -> i64 {
    let task = Task::current();
    let subject = Subject::of(task);
    let argument = |index| i64::from(task::argument(task, index) as u32);
    match what {
        field::PID => i64::from(kernel::pid_tid().0),
        field::PPID => i64::from(subject.ppid()),
        field::AUID => i64::from(subject.auid()),
        field::LOGINUID_SET => i64::from(subject.auid() != u32::MAX),
        field::SESSION => i64::from(subject.session()),
        field::PERS => i64::from(subject.personality()),
        field::UID => subject.id(&kernel::CRED_UID),
        field::EUID => subject.id(&kernel::CRED_EUID),
        field::SUID => subject.id(&kernel::CRED_SUID),
        field::FSUID => subject.id(&kernel::CRED_FSUID),
        field::GID => subject.id(&kernel::CRED_GID),
        field::EGID => subject.id(&kernel::CRED_EGID),
        field::SGID => subject.id(&kernel::CRED_SGID),
        field::FSGID => subject.id(&kernel::CRED_FSGID),
        field::A0 => argument(0),
        field::A1 => argument(1),
        field::A2 => argument(2),
        field::A3 => argument(3),
        field::EXIT => i64::from(exit as u32),
        field::SUCCESS => i64::from(!kernel::is_error(exit)),
        operand::SADDR_FAM => task::address_family(task),
        operand::OBJ_PID => task::target(task),
        operand::DPORT => task::port(task),
        operand::TASK_MARK => task::mark(task),
        _ => NO_VALUE,
    }
}

/// 1 if an operand matches a pattern, 0 if it does not, and [`NO_VALUE`] if it has no value, as an address that is none of the
/// internet's.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tests_matches(slot: u32, what: u32, pattern: u32) -> i32 {
    let Some(pattern) = PATTERNS.get(slot * MAX_PATTERNS + pattern) else { return NO_VALUE as i32 };
    let value = match what {
        operand::DADDR => task::ip(Task::current()),
        operand::COMM => Some(kernel::probe(Task::current().object() as u64, &kernel::TASK_COMM)),
        _ => {
            let [number, level] = pattern.bits;
            let own = if level == Pattern::ITSELF { kernel::cgroup() } else { kernel::cgroup_at(level as u32) };
            return (own == number && number != 0) as i32;
        }
    };
    let Some(value) = value else { return NO_VALUE as i32 };
    let differs = |half: usize| (value[half] & pattern.mask[half]) ^ pattern.bits[half];
    (differs(0) | differs(1) == 0) as i32
}

struct GroupSearch {
    groups: u64,
    low: u32,
    count: u32,
    wanted: u32,
}

/// Whether a group is the task's own or one of its supplementary ones (`audit_filter_rules` in `kernel/auditsc.c`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tests_is_member(what: u32, wanted: u32) -> i32 {
    let subject = Subject::of(Task::current());
    let own = if what == operand::GROUPS_GID { &kernel::CRED_GID } else { &kernel::CRED_EGID };
    if subject.id(own) as u32 == wanted {
        return 1;
    }
    let info: u64 = kernel::field(subject.cred, &kernel::CRED_GROUP_INFO);
    let groups = info + u64::from(kernel::GROUP_INFO_GID.load());
    let count: u32 = kernel::probe(info, &kernel::GROUP_INFO_NGROUPS);
    // Kept in ascending order (`groups_sort`).
    let mut search = GroupSearch { groups, low: 0, count, wanted };
    kernel::repeat(GROUP_STEPS + 1, group_step, &mut search);
    (search.count != 0 && kernel::probe_at::<u32>(search.groups + u64::from(search.low) * 4) == wanted) as i32
}

unsafe extern "C" fn group_step(_: u32, search: *mut GroupSearch) -> i64 {
    // SAFETY: the state of `tests_is_member`, checked by the verifier.
    let search = unsafe { &mut *search };
    if search.count <= 1 {
        return 1;
    }
    let half = search.count / 2;
    if kernel::probe_at::<u32>(search.groups + u64::from(search.low + half) * 4) <= search.wanted {
        search.low += half;
        search.count -= half;
    } else {
        search.count = half;
    }
    0
}

struct ObjectTests {
    slot: u32,
    context: *mut TaskContext,
    inode: u64,
}

/// Notes which tests an object meets, and keeps of the rules that its path or inode satisfies (`own_rules`) those whose tests
/// it meets.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tests_of_object(slot: u32, context: *mut TaskContext, inode: u64) -> i32 {
    if context.is_null() {
        return 0;
    }
    let Some(header) = HEADERS.get(slot) else { return 0 };
    let mut tests = ObjectTests { slot, context, inode };
    kernel::repeat(header.object_tests.min(MAX_OBJECT_TESTS), object_step, &mut tests);
    0
}

unsafe extern "C" fn object_step(index: u32, tests: *mut ObjectTests) -> i64 {
    // SAFETY: the state of `tests_of_object`, checked by the verifier.
    let tests = unsafe { &mut *tests };
    let Some(test) = OBJECT_TESTS.get(tests.slot * MAX_OBJECT_TESTS + index) else { return 1 };
    let inode = tests.inode;
    let side = |what| {
        if operand::is_object(what) { object_operand(inode, what) } else { tests_operand(what, 0) }
    };
    let right = if test.right == operand::VALUE { i64::from(test.value) } else { side(test.right) } as u32;
    // A type that must be missing is looked for all the same.
    let operator = if wants_absence(test) { operator::EQUAL } else { test.operator };
    let holds = |left: i64| operator::holds(operator, left as u32, right);
    let met = inode != 0 && (holds(side(test.left)) || is_device(test.left) && holds(device_itself(inode, test.left)));
    // SAFETY: the context passed to `tests_of_object`.
    let context = unsafe { &mut *tests.context };
    if met {
        context.tests_met |= 1 << (index & 63);
    } else {
        rules_exclude(tests.slot, test.row, &raw mut context.own_rules);
    }
    0
}

/// `filetype!=` holds if no object has the type (`audit_match_filetype`).
#[inline(always)]
fn wants_absence(test: &SingleTest) -> bool {
    test.left == operand::FILETYPE && test.operator == operator::NOT_EQUAL
}

/// What is asked of the device that an object is on, and of the one that it is.
#[inline(always)]
fn is_device(what: u32) -> bool {
    what == operand::DEVMAJOR || what == operand::DEVMINOR
}

#[inline(always)]
fn object_operand(inode: u64, what: u32) -> i64 {
    /// `S_IFMT`
    const TYPE: u16 = 0o170_000;
    i64::from(match what {
        operand::OBJ_UID => kernel::probe(inode, &kernel::INODE_I_UID),
        operand::OBJ_GID => kernel::probe(inode, &kernel::INODE_I_GID),
        operand::INODE => kernel::probe::<u64>(inode, &kernel::INODE_I_INO) as u32,
        operand::FILETYPE => u32::from(kernel::probe::<u16>(inode, &kernel::INODE_I_MODE) & TYPE),
        _ => {
            let sb = kernel::probe(inode, &kernel::INODE_I_SB);
            part_of_device(kernel::probe(sb, &kernel::SUPER_BLOCK_S_DEV), what)
        }
    })
}

#[inline(always)]
fn device_itself(inode: u64, what: u32) -> i64 {
    i64::from(part_of_device(kernel::probe(inode, &kernel::INODE_I_RDEV), what))
}

#[inline(always)]
fn part_of_device(device: u32, what: u32) -> u32 {
    /// `MINORBITS` in `include/linux/kdev_t.h`.
    const MINOR_BITS: u32 = 20;
    if what == operand::DEVMAJOR { device >> MINOR_BITS } else { device & ((1 << MINOR_BITS) - 1) }
}

struct UnmetTests {
    slot: u32,
    rules: *mut Rules,
    met: u64,
}

/// Keeps the rules whose tests some object met, or, where a type must be missing, none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tests_met_by_any(slot: u32, met: u64, rules: *mut Rules) -> i32 {
    if rules.is_null() {
        return 0;
    }
    let Some(header) = HEADERS.get(slot) else { return 0 };
    let mut tests = UnmetTests { slot, rules, met };
    kernel::repeat(header.object_tests.min(MAX_OBJECT_TESTS), unmet_step, &mut tests);
    0
}

unsafe extern "C" fn unmet_step(index: u32, tests: *mut UnmetTests) -> i64 {
    // SAFETY: the state of `tests_met_by_any`, checked by the verifier.
    let tests = unsafe { &mut *tests };
    let Some(test) = OBJECT_TESTS.get(tests.slot * MAX_OBJECT_TESTS + index) else { return 1 };
    let is_met = tests.met >> (index & 63) & 1 != 0;
    if is_met == wants_absence(test) && test.any_row != ROW_NONE {
        rules_exclude(tests.slot, test.any_row, tests.rules);
    }
    0
}
