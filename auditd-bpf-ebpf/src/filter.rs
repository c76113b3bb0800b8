//! Kernel tables to deciding rule: each field is one lookup that gives a row, rows are ANDed, the lowest bit left decides.

use crate::{
    kernel::{self, Object, Task, field},
    maps::{ACTIVE, DAEMON_PID, EXES, HEADERS, INTERVALS, NAME_SEED, NAMES, OBJECTS, ROWS, SYSCALLS, count},
    task::{Subject, TaskContext},
};
use auditd_bpf_common::{
    counters,
    limits::{MAX_INTERVALS, MAX_ROWS, MAX_SYSCALLS, SEARCH_STEPS, SLOTS, WALK_STEPS, WORDS},
    plan_rows::{Header, NameKey, ObjectKey, ROW_ALL, ROW_NONE, SyscallEntry, class, field as ordered, hash_step},
};

/// A bitmap over rules.
pub type Rules = [u64; WORDS];

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

    #[inline(always)]
    fn row(self, row: u32) -> Option<&'static Rules> {
        ROWS.get(self.slot * MAX_ROWS + row).map(|row| &row.words)
    }

    /// All rules of a row.
    #[inline(always)]
    pub fn load(self, rules: &mut Rules, row: u32) {
        *rules = [0; WORDS];
        self.widen(rules, row);
    }

    /// Adds the rules of a row.
    #[inline(always)]
    pub fn widen(self, rules: &mut Rules, row: u32) {
        if row == ROW_NONE {
            return;
        }
        let Some(words) = self.row(row) else { return count(counters::TABLE_MISS) };
        for i in 0..WORDS {
            if i >= self.header.words as usize {
                break;
            }
            rules[i] |= words[i];
        }
    }

    /// Keeps only the rules of a row. A row that cannot be read keeps all: better an event too many.
    #[inline(always)]
    pub fn narrow(self, rules: &mut Rules, row: u32) {
        if row == ROW_ALL {
            return;
        }
        let Some(words) = self.row(row) else { return count(counters::TABLE_MISS) };
        for i in 0..WORDS {
            if i >= self.header.words as usize {
                break;
            }
            rules[i] &= words[i];
        }
    }

    /// Keeps the rules that test no object or one that was met; `row_b` narrows only the former.
    #[inline(always)]
    pub fn narrow_objects(self, rules: &mut Rules, met: &Rules, also: u32) {
        let Some(none) = self.row(self.header.no_object_row) else { return count(counters::TABLE_MISS) };
        let Some(also) = self.row(also) else { return count(counters::TABLE_MISS) };
        for i in 0..WORDS {
            if i >= self.header.words as usize {
                break;
            }
            rules[i] &= met[i] | (none[i] & also[i]);
        }
    }

    /// Keeps the rules whose tests of one ordered field hold for `value`.
    #[inline(always)]
    fn narrow_field(self, rules: &mut Rules, index: u32, value: u32) {
        if self.header.fields & (1 << index) != 0 {
            narrow_by_interval(self.slot, self.header, rules, index, value);
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
    pub fn narrow_subject(self, rules: &mut Rules, subject: Subject, args: &[u64; 6]) {
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
            self.narrow_field(rules, ordered::A0, args[0] as u32);
            self.narrow_field(rules, ordered::A1, args[1] as u32);
            self.narrow_field(rules, ordered::A2, args[2] as u32);
            self.narrow_field(rules, ordered::A3, args[3] as u32);
        }
        if self.header.tests_exe != 0 {
            let (dev, ino) = subject.exe();
            // SAFETY: the row number is copied out at once.
            let row = unsafe { EXES.get(ObjectKey { slot: self.slot, dev, ino }) };
            self.narrow(rules, row.copied().unwrap_or(self.header.exe_default_row));
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
        for i in 0..WORDS {
            if i >= self.header.words as usize {
                break;
            }
            if rules[i] != 0 {
                return Some(i as u32 * 64 + lowest_bit(rules[i]));
            }
        }
        None
    }

    /// Whether a rule suppresses its events.
    #[inline(always)]
    pub fn is_never(self, rule: u32) -> bool {
        self.header.never.words[(rule / 64) as usize % WORDS] >> (rule % 64) & 1 != 0
    }

    #[inline(always)]
    fn match_dentry(self, rules: &mut Rules, dentry: Object) {
        let dev: u32 = field(field::<Object>(dentry, &kernel::DENTRY_D_SB), &kernel::SUPER_BLOCK_S_DEV);
        let inode: Object = field(dentry, &kernel::DENTRY_D_INODE);
        if !inode.is_null() {
            let key = ObjectKey { slot: self.slot, dev, ino: field(inode, &kernel::INODE_I_INO) };
            // SAFETY: the row number is copied out at once.
            if let Some(value) = unsafe { OBJECTS.get(key) } {
                let row = value.path_row;
                self.widen(rules, row);
            }
        }
        let parent: Object = field(dentry, &kernel::DENTRY_D_PARENT);
        let directory: Object = field(parent, &kernel::DENTRY_D_INODE);
        if !directory.is_null() {
            let ino = field(directory, &kernel::INODE_I_INO);
            self.match_name(rules, ObjectKey { slot: self.slot, dev, ino }, dentry);
        }
        if self.header.tests_dir != 0 {
            self.match_trees(rules, dentry, dev);
        }
    }

    #[inline(always)]
    fn match_name(self, rules: &mut Rules, directory: ObjectKey, dentry: Object) {
        // SAFETY: the flag is copied out at once.
        if !unsafe { OBJECTS.get(directory) }.is_some_and(|value| value.has_names != 0) {
            return;
        }
        let hash = hash_dentry_name(dentry as u64);
        let key = NameKey { slot: directory.slot, dev: directory.dev, ino: directory.ino, hash };
        // SAFETY: the row number is copied out at once.
        if let Some(row) = unsafe { NAMES.get(key) } {
            let row = *row;
            self.widen(rules, row);
        }
    }

    #[inline(always)]
    fn match_trees(self, rules: &mut Rules, dentry: Object, dev: u32) {
        let mut walk = TreeWalk { rules, tables_words: self.header.words, slot: self.slot, dentry: dentry as u64, dev, whole: 0 };
        kernel::repeat(WALK_STEPS, tree_step, &mut walk);
        if walk.whole == 0 {
            count(counters::UNRESOLVED_PATH);
        }
    }
}

/// Adds the rules that an object satisfies: by its inode, by its name in its directory, by the trees above it.
#[inline(never)]
pub fn match_object(slot: u32, header: &'static Header, rules: &mut Rules, dentry: Object) {
    Tables { slot, header }.match_dentry(rules, dentry);
}

struct TreeWalk {
    rules: *mut Rules,
    tables_words: u32,
    slot: u32,
    dentry: u64,
    dev: u32,
    whole: u32,
}

/// One directory up: the names of a file system only. Mounts below a watched tree are roots of their own in the table, as
/// they are in the kernel's `audit_tree`.
unsafe extern "C" fn tree_step(_: u32, walk: *mut TreeWalk) -> i64 {
    // SAFETY: the state of `match_trees`, checked by the verifier.
    let walk = unsafe { &mut *walk };
    let inode: u64 = kernel::probe(walk.dentry, &kernel::DENTRY_D_INODE);
    if inode != 0 {
        let key = ObjectKey { slot: walk.slot, dev: walk.dev, ino: kernel::probe(inode, &kernel::INODE_I_INO) };
        // SAFETY: the row number is copied out at once.
        let row = unsafe { OBJECTS.get(key) }.map_or(ROW_NONE, |value| value.dir_row);
        if row != ROW_NONE
            && let Some(row) = ROWS.get(walk.slot * MAX_ROWS + row)
        {
            for i in 0..WORDS {
                if i >= walk.tables_words as usize {
                    break;
                }
                // SAFETY: the caller's bitmap outlives the walk.
                unsafe { (*walk.rules)[i] |= row.words[i] };
            }
        }
    }
    let parent: u64 = kernel::probe(walk.dentry, &kernel::DENTRY_D_PARENT);
    if parent == walk.dentry || parent == 0 {
        walk.whole = (parent != 0) as u32;
        return 1;
    }
    walk.dentry = parent;
    0
}

/// Bytes of a name hashed per read.
const HASH_BLOCK: u32 = 64;

/// [`auditd_bpf_common::plan_rows::hash_name`] of a dentry's name.
#[inline(never)]
fn hash_dentry_name(dentry: u64) -> u64 {
    let name: u64 = kernel::probe(dentry, &kernel::DENTRY_D_NAME_NAME);
    let length: u32 = kernel::probe::<u32>(dentry, &kernel::DENTRY_D_NAME_LEN) & 0xff;
    let mut hash = hash_step(NAME_SEED.load(), u64::from(length));
    let mut done = 0;
    while done < 256 {
        if done >= length {
            break;
        }
        let mut block = [0u64; HASH_BLOCK as usize / 8];
        let bytes = (length - done).min(HASH_BLOCK);
        if !kernel::copy_kernel(block.as_mut_ptr().cast(), bytes, name + u64::from(done)) {
            count(counters::UNRESOLVED_PATH);
        }
        for (i, word) in block.iter().enumerate() {
            if done + i as u32 * 8 < length {
                hash = hash_step(hash, *word);
            }
        }
        done += HASH_BLOCK;
    }
    hash
}

#[inline(never)]
fn narrow_by_interval(slot: u32, header: &'static Header, rules: &mut Rules, index: u32, value: u32) {
    let Some([first, length]) = header.intervals.get(index as usize) else { return };
    let row = interval_row(slot * MAX_INTERVALS + first, *length, value);
    Tables { slot, header }.narrow(rules, row);
}

/// Row of the last interval that starts at or below `value`; the first one starts at 0.
#[inline(always)]
fn interval_row(first: u32, length: u32, value: u32) -> u32 {
    let mut low = first;
    let mut count = length;
    let mut step = 0;
    while step < SEARCH_STEPS {
        step += 1;
        if count <= 1 {
            break;
        }
        let half = count / 2;
        let Some(middle) = INTERVALS.get(low + half) else { break };
        if middle.start <= value {
            low += half;
            count -= half;
        } else {
            count = half;
        }
    }
    INTERVALS.get(low).map_or(ROW_ALL, |interval| interval.row)
}

/// Index of the lowest set bit, by halving: BPF has no instruction for it.
#[inline(always)]
fn lowest_bit(word: u64) -> u32 {
    let mut bit = 0;
    let mut word = word;
    let mut width = 32;
    while width > 0 {
        if word & ((1 << width) - 1) == 0 {
            word >>= width;
            bit += width;
        }
        width /= 2;
    }
    bit
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
    #[inline(always)]
    pub fn may_match(&self, objects: &Rules, access: u32, result_row: u32) -> bool {
        let mut rules = [0; WORDS];
        self.tables.load(&mut rules, self.entry.row);
        if self.entry.class == class::OPEN || self.entry.class == class::OPENAT2 {
            self.tables.narrow(&mut rules, self.tables.header.perm_rows[(access & 7) as usize]);
        }
        self.tables.narrow_objects(&mut rules, objects, result_row);
        if !self.tables.any(&rules) {
            return false;
        }
        if self.entry.class == class::EXEC {
            // Ids and executable change before the rules are applied.
            return true;
        }
        self.tables.narrow_subject(&mut rules, Subject::of(self.task), &kernel::arguments(self.registers, self.abi));
        self.tables.any(&rules)
    }
}

/// The tables and the rules of the context's objects, for the end of the call.
#[inline(always)]
pub fn met_objects(context: Option<&mut TaskContext>, tables: Tables, met: &mut Rules) -> Tables {
    *met = [0; WORDS];
    let Some(context) = context else { return tables };
    let Some(then) = context.tables() else {
        count(counters::STALE_CONTEXT);
        return tables;
    };
    *met = context.object_rules;
    then
}
const _: () = assert!(SLOTS == 2);
