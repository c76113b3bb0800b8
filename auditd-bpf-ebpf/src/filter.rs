//! Kernel tables to deciding rule: each field is one lookup that gives a row, rows are ANDed, the lowest bit left decides.

use crate::{
    kernel::{self, Object, Task, field},
    maps::{ACTIVE, DAEMON_PID, EXES, HEADERS, INTERVALS, NAME_SEED, NAMES, OBJECTS, ROWS, SYSCALLS, count},
    task::Subject,
};
use auditd_bpf_common::{
    counters,
    limits::{MAX_INTERVALS, MAX_ROWS, MAX_SYSCALLS, NAME_BYTES, SEARCH_STEPS, WALK_STEPS, WORDS},
    plan_rows::{Header, NameKey, ObjectKey, ROW_ALL, ROW_NONE, Row, SyscallEntry, class, field as ordered, hash_step},
};

/// A bitmap over rules.
pub type Rules = Row;

/// Declares a bitmap without rules as `&mut Rules`. In place: returned by value it would take the stack twice.
macro_rules! no_rules {
    ($name:ident) => {
        let mut $name = core::mem::MaybeUninit::<$crate::filter::Rules>::uninit();
        $crate::kernel::clear(&mut $name);
        // SAFETY: just zeroed, and integers may be zero.
        let $name = unsafe { $name.assume_init_mut() };
    };
}
pub(crate) use no_rules;

/// One table set.
#[derive(Clone, Copy)]
pub struct Tables {
    pub slot: u32,
    pub header: &'static Header,
}

impl Tables {
    /// The set in force.
    #[inline(always)]
    pub fn active() -> Option<Self> {
        Self::of_slot(*ACTIVE.get(0)?)
    }

    /// A set by slot.
    #[inline(always)]
    pub fn of_slot(slot: u32) -> Option<Self> {
        let header = HEADERS.get(slot)?;
        (header.generation != 0).then_some(Self { slot, header })
    }

    /// What the rules say of a syscall; `None` where none names it.
    #[inline(always)]
    pub fn syscall(self, abi: u32, number: u32) -> Option<&'static SyscallEntry> {
        if number >= MAX_SYSCALLS {
            return None;
        }
        SYSCALLS.get((self.slot * 2 + abi) * MAX_SYSCALLS + number).filter(|entry| entry.row != ROW_NONE)
    }

    /// All rules of a row. Words not in use stay as they are.
    #[inline(always)]
    pub fn load(self, rules: &mut Rules, row: u32) {
        rules_load(self.slot, row, rules);
    }

    /// Keeps only the rules of a row.
    #[inline(always)]
    pub fn narrow(self, rules: &mut Rules, row: u32) {
        if row != ROW_ALL {
            rules_narrow(self.slot, row, rules);
        }
    }

    /// Keeps the rules that have met their object, and of those that test none the ones in `row`. `met` stays as it is; it is
    /// mutable because the verifier lets no read-only memory into a global function.
    #[inline(always)]
    pub fn narrow_objects(self, rules: &mut Rules, met: &mut Rules, row: u32) {
        rules_narrow_objects(self.slot, row, rules, met);
    }

    /// Keeps the rules whose tests of one ordered field hold for `value`.
    #[inline(always)]
    fn narrow_field(self, rules: &mut Rules, index: u32, value: u32) {
        if self.header.fields & (1 << index) != 0 {
            rules_narrow_field(self.slot, index, value, rules);
        }
    }

    /// Keeps the rules that the result satisfies.
    #[inline(always)]
    pub fn narrow_result(self, rules: &mut Rules, exit: i64) {
        self.narrow_field(rules, ordered::EXIT, exit as u32);
        self.narrow_field(rules, ordered::SUCCESS, !kernel::is_error(exit) as u32);
    }

    /// Keeps the rules that the acting task satisfies.
    #[inline(always)]
    pub fn narrow_subject(self, rules: &mut Rules, subject: Subject, argument: impl Fn(usize) -> u64) {
        if self.header.fields & !ordered::RESULT != 0 {
            self.narrow_field(rules, ordered::AUID, subject.auid());
            self.narrow_field(rules, ordered::UID, field(subject.cred, &kernel::CRED_UID));
            self.narrow_field(rules, ordered::EUID, field(subject.cred, &kernel::CRED_EUID));
            self.narrow_field(rules, ordered::SUID, field(subject.cred, &kernel::CRED_SUID));
            self.narrow_field(rules, ordered::FSUID, field(subject.cred, &kernel::CRED_FSUID));
            self.narrow_field(rules, ordered::SGID, field(subject.cred, &kernel::CRED_SGID));
            self.narrow_field(rules, ordered::FSGID, field(subject.cred, &kernel::CRED_FSGID));
            self.narrow_field(rules, ordered::SESSION, subject.session());
            self.narrow_field(rules, ordered::PID, kernel::pid_tid().0);
            self.narrow_field(rules, ordered::PPID, subject.ppid());
            self.narrow_field(rules, ordered::A0, argument(0) as u32);
            self.narrow_field(rules, ordered::A1, argument(1) as u32);
            self.narrow_field(rules, ordered::A2, argument(2) as u32);
            self.narrow_field(rules, ordered::A3, argument(3) as u32);
        }
        if self.header.tests_exe != 0 {
            let (dev, ino) = subject.exe();
            rules_narrow_exe(self.slot, dev, ino, rules);
        }
    }

    /// Whether any rule is left.
    #[inline(always)]
    pub fn any(self, rules: &Rules) -> bool {
        self.first(rules).is_some()
    }

    /// The deciding rule.
    #[inline(always)]
    pub fn first(self, rules: &Rules) -> Option<u32> {
        u32::try_from(rules_first(self.slot, rules)).ok()
    }

    /// Whether a rule suppresses its events.
    #[inline(always)]
    pub fn is_never(self, rule: u32) -> bool {
        // The compiler sees that every rule is in range and drops the mask; the verifier does not see it.
        let rule = core::hint::black_box(rule);
        self.header.never.words[(rule / 64) as usize % WORDS] >> (rule % 64) & 1 != 0
    }

    /// Adds the rules that an object satisfies: by its inode, by its name in its directory, by the trees above it.
    #[inline(always)]
    pub fn match_object(self, rules: &mut Rules, dentry: Object) {
        match_object(self.slot, self.header.tests_dir, rules, dentry);
    }
}

/// A function of its own, not global: it takes a typed pointer, and inlined once per object it would take its callers' stack.
#[inline(never)]
fn match_object(slot: u32, tests_dir: u32, rules: &mut Rules, dentry: Object) {
    let dev: u32 = field(field::<Object>(dentry, &kernel::DENTRY_D_SB), &kernel::SUPER_BLOCK_S_DEV);
    let inode: Object = field(dentry, &kernel::DENTRY_D_INODE);
    if !inode.is_null() {
        let key = ObjectKey { slot: slot, dev, ino: field(inode, &kernel::INODE_I_INO) };
        // SAFETY: the row number is copied out at once.
        if let Some(value) = unsafe { OBJECTS.get(key) } {
            let row = value.path_row;
            rules_widen(slot, row, rules);
        }
    }
    let parent: Object = field(dentry, &kernel::DENTRY_D_PARENT);
    let directory: Object = field(parent, &kernel::DENTRY_D_INODE);
    if !directory.is_null() {
        let ino = field(directory, &kernel::INODE_I_INO);
        // SAFETY: the flag is copied out at once.
        if unsafe { OBJECTS.get(ObjectKey { slot: slot, dev, ino }) }.is_some_and(|value| value.has_names != 0) {
            rules_match_name(slot, dev, ino, kernel::address(dentry), rules);
        }
    }
    if tests_dir != 0 {
        rules_match_trees(slot, dev, kernel::address(dentry), rules);
    }
}

// The functions below are global in BPF's sense: the verifier checks each once, for any arguments, instead of again on
// every path that leads to a call. They take a slot and find the tables themselves, and get pointers that may be null.

#[inline(always)]
fn words_in_use(slot: u32) -> u32 {
    HEADERS.get(slot).map_or(0, |header| header.words)
}

/// Calls `act` for the words in use, in steps of 1, 4 and all: the rest is zero in every row, and a loop with a bound known
/// only at run time is what the verifier follows worst.
#[inline(always)]
pub fn each_word(words: u32, mut act: impl FnMut(usize)) {
    act(0);
    if words > 1 {
        (1..4).for_each(&mut act);
        if words > 4 {
            (4..WORDS).for_each(&mut act);
        }
    }
}

fn row(slot: u32, row: u32) -> Option<&'static Row> {
    let row = ROWS.get(slot * MAX_ROWS + row);
    if row.is_none() {
        count(counters::TABLE_MISS);
    }
    row
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_load(slot: u32, number: u32, rules: *mut Rules) -> i32 {
    // SAFETY: null or the caller's bitmap, as the verifier proves at each call.
    let Some(rules) = (unsafe { rules.as_mut() }) else { return 0 };
    let Some(row) = row(slot, number) else { return 0 };
    each_word(words_in_use(slot), |i| rules.words[i] = row.words[i]);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_widen(slot: u32, number: u32, rules: *mut Rules) -> i32 {
    // SAFETY: as in `rules_load`.
    let Some(rules) = (unsafe { rules.as_mut() }) else { return 0 };
    let Some(row) = row(slot, number) else { return 0 };
    each_word(words_in_use(slot), |i| rules.words[i] |= row.words[i]);
    0
}

/// A row that cannot be read keeps all: better an event too many.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_narrow(slot: u32, number: u32, rules: *mut Rules) -> i32 {
    // SAFETY: as in `rules_load`.
    let Some(rules) = (unsafe { rules.as_mut() }) else { return 0 };
    let Some(row) = row(slot, number) else { return 0 };
    each_word(words_in_use(slot), |i| rules.words[i] &= row.words[i]);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_narrow_objects(slot: u32, number: u32, rules: *mut Rules, met: *mut Rules) -> i32 {
    // SAFETY: as in `rules_load`.
    let Some(rules) = (unsafe { rules.as_mut() }) else { return 0 };
    // SAFETY: as in `rules_load`.
    let Some(met) = (unsafe { met.as_ref() }) else { return 0 };
    let Some(header) = HEADERS.get(slot) else { return 0 };
    let Some(none) = row(slot, header.no_object_row) else { return 0 };
    let Some(also) = row(slot, number) else { return 0 };
    each_word(header.words, |i| rules.words[i] &= met.words[i] | (none.words[i] & also.words[i]));
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_first(slot: u32, rules: *const Rules) -> i32 {
    // SAFETY: as in `rules_load`.
    let Some(rules) = (unsafe { rules.as_ref() }) else { return -1 };
    let (mut word, mut base) = (0, 0);
    each_word(words_in_use(slot), |i| {
        if word == 0 {
            (word, base) = (rules.words[i], i as i32 * 64);
        }
    });
    if word == 0 { -1 } else { base + lowest_bit(word) as i32 }
}

/// Index of the lowest set bit of a word that has one: the number of bits below it, counted without a branch.
#[inline(always)]
fn lowest_bit(word: u64) -> u32 {
    let below = (word & word.wrapping_neg()).wrapping_sub(1);
    let pairs = below - (below >> 1 & 0x5555_5555_5555_5555);
    let fours = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
    ((fours + (fours >> 4) & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_narrow_exe(slot: u32, dev: u32, ino: u64, rules: *mut Rules) -> i32 {
    let Some(header) = HEADERS.get(slot) else { return 0 };
    // SAFETY: the row number is copied out at once.
    let row = unsafe { EXES.get(ObjectKey { slot, dev, ino }) }.copied().unwrap_or(header.exe_default_row);
    rules_narrow(slot, row, rules)
}

struct Search {
    low: u32,
    count: u32,
    value: u32,
}

/// Row of the last interval that starts at or below the value; the first one starts at 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_narrow_field(slot: u32, index: u32, value: u32, rules: *mut Rules) -> i32 {
    let Some(header) = HEADERS.get(slot) else { return 0 };
    if index as usize >= ordered::COUNT {
        return 0;
    }
    let [first, length] = header.intervals[index as usize];
    let mut search = Search { low: slot * MAX_INTERVALS + first, count: length, value };
    kernel::repeat(SEARCH_STEPS, search_step, &mut search);
    if let Some(interval) = INTERVALS.get(search.low)
        && interval.row != ROW_ALL
    {
        rules_narrow(slot, interval.row, rules);
    }
    0
}

unsafe extern "C" fn search_step(_: u32, search: *mut Search) -> i64 {
    // SAFETY: the state of `rules_narrow_field`, checked by the verifier.
    let search = unsafe { &mut *search };
    if search.count <= 1 {
        return 1;
    }
    let half = search.count / 2;
    let Some(middle) = INTERVALS.get(search.low + half) else { return 1 };
    if middle.start <= search.value {
        search.low += half;
        search.count -= half;
    } else {
        search.count = half;
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_match_name(slot: u32, dev: u32, ino: u64, dentry: u64, rules: *mut Rules) -> i32 {
    if rules.is_null() {
        return 0;
    }
    let key = NameKey { slot, dev, ino, hash: hash_dentry_name(dentry) };
    // SAFETY: the row number is copied out at once.
    if let Some(row) = unsafe { NAMES.get(key) } {
        let row = *row;
        rules_widen(slot, row, rules);
    }
    0
}

/// The key is built in its place, for want of stack.
struct TreeWalk {
    key: ObjectKey,
    rules: *mut Rules,
    dentry: u64,
    whole: u64,
}

/// Names of one file system only: mounts below a watched tree are roots of their own in the table, as they are in the
/// kernel's `audit_tree`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_match_trees(slot: u32, dev: u32, dentry: u64, rules: *mut Rules) -> i32 {
    if rules.is_null() {
        return 0;
    }
    let mut walk = TreeWalk { key: ObjectKey { slot, dev, ino: 0 }, rules, dentry, whole: 0 };
    kernel::repeat(WALK_STEPS, tree_step, &mut walk);
    if walk.whole == 0 {
        count(counters::UNRESOLVED_PATH);
    }
    0
}

/// One directory up.
unsafe extern "C" fn tree_step(_: u32, walk: *mut TreeWalk) -> i64 {
    // SAFETY: the state of `rules_match_trees`, checked by the verifier.
    let walk = unsafe { &mut *walk };
    let inode: u64 = kernel::probe(walk.dentry, &kernel::DENTRY_D_INODE);
    if inode != 0 {
        walk.key.ino = kernel::probe(inode, &kernel::INODE_I_INO);
        // SAFETY: the row number is copied out at once.
        let row = unsafe { OBJECTS.get(&walk.key) }.map_or(ROW_NONE, |value| value.dir_row);
        if row != ROW_NONE {
            rules_widen(walk.key.slot, row, walk.rules);
        }
    }
    let parent: u64 = kernel::probe(walk.dentry, &kernel::DENTRY_D_PARENT);
    if parent == walk.dentry || parent == 0 {
        walk.whole = (parent != 0) as u64;
        return 1;
    }
    walk.dentry = parent;
    0
}

struct NameHash {
    name: u64,
    hash: u64,
    length: u64,
}

/// [`auditd_bpf_common::plan_rows::hash_name`] of a dentry's name.
#[inline(always)]
fn hash_dentry_name(dentry: u64) -> u64 {
    let length = u64::from(kernel::probe::<u32>(dentry, &kernel::DENTRY_D_NAME_LEN) & (NAME_BYTES as u32 - 1));
    let name = kernel::probe(dentry, &kernel::DENTRY_D_NAME_NAME);
    let mut state = NameHash { name, hash: hash_step(NAME_SEED.load(), length), length };
    kernel::repeat(NAME_BYTES as u32 / 8, hash_word, &mut state);
    state.hash
}

// Callbacks count by their index: a counter in the state would be followed by the verifier through every value.
unsafe extern "C" fn hash_word(index: u32, state: *mut NameHash) -> i64 {
    // SAFETY: the state of `hash_dentry_name`, checked by the verifier.
    let state = unsafe { &mut *state };
    let done = u64::from(index) * 8;
    if done >= state.length {
        return 1;
    }
    let mut word = 0u64;
    let bytes = (state.length - done).min(8) as u32;
    if !kernel::copy_kernel((&raw mut word).cast(), bytes, state.name + done) {
        count(counters::UNRESOLVED_PATH);
    }
    state.hash = hash_step(state.hash, word);
    0
}

/// A call in progress that some rule names.
pub struct Call {
    pub task: Task,
    pub registers: Object,
    pub number: u32,
    pub abi: u32,
    pub tables: Tables,
    pub entry: &'static SyscallEntry,
}

impl Call {
    /// The current task's call, if a rule names it.
    #[inline(always)]
    pub fn current() -> Option<Self> {
        let task = Task::current();
        if !task.has_syscall() || kernel::pid_tid().0 == DAEMON_PID.load() {
            return None;
        }
        let registers = task.registers();
        let (number, abi) = (kernel::syscall_number(registers), task.abi());
        let tables = Tables::active()?;
        let entry = tables.syscall(abi, number)?;
        Some(Self { task, registers, number, abi, tables, entry })
    }

    /// Whether the event can still match, the result being unknown: decides if the objects are worth recording.
    #[inline(never)]
    pub fn may_match(&self, objects: &mut Rules, access: u32, result_row: u32) -> bool {
        no_rules!(rules);
        self.tables.load(rules, self.entry.row);
        if self.entry.class == class::OPEN || self.entry.class == class::OPENAT2 {
            self.tables.narrow(rules, self.tables.header.perm_rows[(access & 7) as usize]);
        }
        self.tables.narrow_objects(rules, objects, result_row);
        if !self.tables.any(rules) {
            return false;
        }
        if self.entry.class == class::EXEC {
            // Ids and executable change before the rules are applied.
            return true;
        }
        self.tables
            .narrow_subject(rules, Subject::of(self.task), |index| kernel::argument(self.registers, self.abi, index));
        self.tables.any(rules)
    }
}
