//! Kernel tables, filled from a plan: slots, of which one is in force. A new set fills the next slot and is put in force by one
//! write; calls in flight still find the tables they began with.

use std::collections::HashMap;

use auditd_bpf_common::{
    hooks,
    limits::{
        BLOOM_WORDS, CALL_KINDS, MAX_FS_TYPES, MAX_INTERVALS, MAX_OBJECT_TESTS, MAX_PATTERNS, MAX_ROWS, MAX_RULES,
        MAX_SUBJECT_TESTS, MAX_SYSCALLS, SLOTS, WORDS,
    },
    names,
    plan_rows::{
        self, Header, Interval, NO_ARG, NameKey, OPERATION, ObjectKey, ObjectValue, Pattern, ROW_ALL, ROW_NONE, Row,
        SingleTest, SyscallEntry, active, class, field, moment, refusal,
    },
    wire::verdict,
};
use aya::maps::{Array, HashMap as BpfHashMap, MapData, MapError};
use rules::refusal::tests_capability;
use rules::{Plan, plan};
use tables::{Arch, Treatment};

use super::object::{Object, ObjectError};
use crate::identity::{Identities, ObjectRules};

/// Why tables could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The kernel refused a write.
    #[error("cannot write kernel table {table}: {source}")]
    Write {
        /// Which one.
        table: &'static str,
        /// Why.
        source: MapError,
    },
    /// More than a table holds.
    #[error("the rules need more than {limit} entries of kernel table {table}")]
    Full {
        /// Which one.
        table: &'static str,
        /// How many it holds.
        limit: u32,
    },
}

fn write(table: &'static str) -> impl FnOnce(MapError) -> TablesError {
    move |source| TablesError::Write { table, source }
}

/// The maps that hold rules.
pub struct Tables {
    active: Array<MapData, u32>,
    headers: Array<MapData, Header>,
    syscalls: Array<MapData, SyscallEntry>,
    rows: Array<MapData, Row>,
    intervals: Array<MapData, Interval>,
    rule_fields: Array<MapData, u32>,
    rule_refusals: Array<MapData, u32>,
    task_marks: Array<MapData, u32>,
    subject_tests: Array<MapData, SingleTest>,
    object_tests: Array<MapData, SingleTest>,
    patterns: Array<MapData, Pattern>,
    objects: BpfHashMap<MapData, ObjectKey, ObjectValue>,
    names: BpfHashMap<MapData, NameKey, u32>,
    exes: BpfHashMap<MapData, ObjectKey, u32>,
    name_seed: u64,
    owner: u32,
    slot: u32,
    generation: u32,
    slots: [Filled; SLOTS as usize],
}

/// What a slot holds.
#[derive(Default)]
struct Filled {
    rows: RowNumbers,
    /// By index; those never written are zero, an empty entry.
    syscalls: HashMap<u32, SyscallEntry>,
    objects: HashMap<ObjectKey, ObjectValue>,
    names: HashMap<NameKey, u32>,
    exes: HashMap<ObjectKey, u32>,
}

impl Filled {
    /// The filter in front of the objects.
    fn bloom(&self) -> [u64; BLOOM_WORDS] {
        let mut bloom = [0; BLOOM_WORDS];
        self.objects.keys().for_each(|key| add_to_bloom(&mut bloom, key.dev, key.ino));
        bloom
    }
}

fn add_to_bloom(bloom: &mut [u64; BLOOM_WORDS], dev: u32, ino: u64) {
    let bit = plan_rows::bloom_bit(dev, ino);
    bloom[bit / 64 % BLOOM_WORDS] |= 1 << (bit % 64);
}

/// Rows in use, each once.
#[derive(Default)]
struct RowNumbers {
    numbers: HashMap<Row, u32>,
}

impl Tables {
    /// Takes the maps out of the object.
    ///
    /// # Errors
    /// If the object lacks one.
    pub fn new(object: &mut Object, name_seed: u64, owner: u32) -> Result<Self, ObjectError> {
        Ok(Self {
            active: object.take(names::ACTIVE)?,
            headers: object.take(names::HEADERS)?,
            syscalls: object.take(names::SYSCALLS)?,
            rows: object.take(names::ROWS)?,
            intervals: object.take(names::INTERVALS)?,
            rule_fields: object.take(names::RULE_FIELDS)?,
            rule_refusals: object.take(names::RULE_REFUSALS)?,
            task_marks: object.take(names::TASK_MARKS)?,
            subject_tests: object.take(names::SUBJECT_TESTS)?,
            object_tests: object.take(names::OBJECT_TESTS)?,
            patterns: object.take(names::PATTERNS)?,
            objects: object.take(names::OBJECTS)?,
            names: object.take(names::NAMES)?,
            exes: object.take(names::EXES)?,
            name_seed,
            owner,
            slot: 0,
            generation: 0,
            slots: std::array::from_fn(|_| Filled::default()),
        })
    }

    /// Puts a plan in force as a whole, and returns its generation.
    ///
    /// # Errors
    /// If a table is too small or the kernel refuses a write; the plan before it stays in force.
    pub fn install(&mut self, plan: &Plan, identities: &Identities) -> Result<u32, TablesError> {
        let slot = (self.slot + 1) % SLOTS;
        self.headers.set(slot, EMPTY_HEADER, 0).map_err(write(names::HEADERS))?;
        self.slots[slot as usize].rows = RowNumbers::default();
        self.set_row(slot, ROW_NONE, &plan::NO_RULES)?;
        self.set_row(slot, ROW_ALL, &Row { words: [u64::MAX; WORDS] })?;
        self.fill_syscalls(slot, plan)?;
        let mut header = Header {
            words: (plan.rules.len().div_ceil(64)).clamp(1, WORDS) as u32,
            generation: self.next_generation(),
            fields: plan.fields.iter().fold(0, |all, fields| all | fields),
            exe_default_row: self.row(slot, &identities.other_exes)?,
            tests_dir: u32::from(!plan.trees.is_empty()),
            subject_tests: plan.single_tests.subject.len() as u32,
            result_tests: plan.single_tests.result.len() as u32,
            object_tests: plan.single_tests.object.len() as u32,
            inode_row: self.row(slot, &plan.inodes)?,
            task_row: self.row(slot, &plan.tasks)?,
            fs_type_count: plan.fs_types.len() as u32,
            before_row: self.row(slot, &plan.before)?,
            never: plan.never,
            ..EMPTY_HEADER
        };
        for (fs_type, (operator, magic)) in header.fs_types.iter_mut().zip(&plan.fs_types) {
            *fs_type = [*operator, *magic];
        }
        for (index, perm) in plan.perms.iter().enumerate() {
            header.perm_rows[index] = self.row(slot, perm)?;
        }
        self.fill_intervals(slot, plan, &mut header)?;
        for (index, fields) in (slot * MAX_RULES as u32..).zip(&plan.fields) {
            self.rule_fields.set(index, fields, 0).map_err(write(names::RULE_FIELDS))?;
        }
        for (index, planned) in (slot * MAX_RULES as u32..).zip(&plan.rules) {
            let word = refusal_word(planned);
            self.rule_refusals.set(index, word, 0).map_err(write(names::RULE_REFUSALS))?;
            self.task_marks.set(index, planned.marks.unwrap_or(0), 0).map_err(write(names::TASK_MARKS))?;
        }
        self.fill_single_tests(slot, &plan.single_tests)?;
        self.fill_identities(slot, identities)?;
        header.bloom = self.slots[slot as usize].bloom();
        self.headers.set(slot, header, 0).map_err(write(names::HEADERS))?;
        self.active.set(0, active::word(self.owner, slot), 0).map_err(write(names::ACTIVE))?;
        self.slot = slot;
        self.generation += 1;
        Ok(self.generation)
    }

    /// Takes the rules out of force as a whole: from here on no event begins.
    ///
    /// # Errors
    /// If the kernel refuses the write.
    pub fn withdraw(&mut self) -> Result<(), TablesError> {
        self.headers.set(self.slot, EMPTY_HEADER, 0).map_err(write(names::HEADERS))
    }

    /// The generation that the next plan gets.
    #[must_use]
    pub const fn next_generation(&self) -> u32 {
        self.generation + 1
    }

    /// Brings what is known of files up to date in the set in force.
    ///
    /// # Errors
    /// If a table is too small or the kernel refuses a write.
    pub fn refresh(&mut self, identities: &Identities) -> Result<(), TablesError> {
        let slot = self.slot;
        let mut header = self.headers.get(&slot, 0).map_err(write(names::HEADERS))?;
        // What comes must be in the filter before it is in the table; what goes may stay in it until it has left.
        for id in identities.objects.keys() {
            add_to_bloom(&mut header.bloom, id.dev, id.ino);
        }
        self.headers.set(slot, header, 0).map_err(write(names::HEADERS))?;
        self.fill_identities(slot, identities)?;
        header.bloom = self.slots[slot as usize].bloom();
        self.headers.set(slot, header, 0).map_err(write(names::HEADERS))
    }

    fn set_row(&mut self, slot: u32, number: u32, row: &Row) -> Result<(), TablesError> {
        self.rows.set(slot * MAX_ROWS + number, row, 0).map_err(write(names::ROWS))
    }

    /// Number of a row, written if it is new. Rows 0 and 1 are the same in every set.
    fn row(&mut self, slot: u32, row: &Row) -> Result<u32, TablesError> {
        if *row == plan::NO_RULES {
            return Ok(ROW_NONE);
        }
        let known = &mut self.slots[slot as usize].rows.numbers;
        if let Some(number) = known.get(row) {
            return Ok(*number);
        }
        let number = known.len() as u32 + ROW_ALL + 1;
        if number >= MAX_ROWS {
            return Err(TablesError::Full { table: names::ROWS, limit: MAX_ROWS });
        }
        known.insert(*row, number);
        self.set_row(slot, number, row)?;
        Ok(number)
    }

    fn fill_syscalls(&mut self, slot: u32, plan: &Plan) -> Result<(), TablesError> {
        for (abi, arch) in [(0, Some(Arch::B64)), (1, Some(Arch::B32)), (OPERATION, None)] {
            for number in 0..MAX_SYSCALLS {
                let call = u16::try_from(number).ok().and_then(|number| match arch {
                    Some(arch) => plan.syscalls.get(&(arch, number)),
                    None => plan.operations.get(&number),
                });
                let entry = match call {
                    Some(call) => {
                        let alone = plan::intersection(&call.rules, &plan.no_object);
                        let success = plan::intersection(&call.rules, &plan.success);
                        SyscallEntry {
                            row: self.row(slot, &call.rules)?,
                            alone_rows: [
                                self.row(slot, &alone)?,
                                self.row(slot, &plan::intersection(&alone, &plan.success))?,
                            ],
                            accesses: [accesses(call, &call.rules, plan), accesses(call, &success, plan)],
                            ..if arch.is_some() { entry(call) } else { entry_of_operation(call) }
                        }
                    }
                    None => SyscallEntry::default(),
                };
                let index = (slot * CALL_KINDS + abi) * MAX_SYSCALLS + number;
                // Most are empty, as they were.
                if self.slots[slot as usize].syscalls.get(&index).copied().unwrap_or_default() != entry {
                    self.syscalls.set(index, entry, 0).map_err(write(names::SYSCALLS))?;
                    self.slots[slot as usize].syscalls.insert(index, entry);
                }
            }
        }
        Ok(())
    }

    fn fill_intervals(&mut self, slot: u32, plan: &Plan, header: &mut Header) -> Result<(), TablesError> {
        let mut next = 0;
        for (field, intervals) in &plan.intervals {
            let length = intervals.len() as u32;
            if next + length > MAX_INTERVALS {
                return Err(TablesError::Full { table: names::INTERVALS, limit: MAX_INTERVALS });
            }
            header.intervals[*field as usize] = [next, length];
            for (start, rules) in intervals {
                let interval = Interval { start: *start, row: self.row(slot, rules)? };
                self.intervals.set(slot * MAX_INTERVALS + next, interval, 0).map_err(write(names::INTERVALS))?;
                next += 1;
            }
        }
        Ok(())
    }

    fn fill_single_tests(&mut self, slot: u32, tests: &plan::SingleTests) -> Result<(), TablesError> {
        for (index, test) in (slot * MAX_SUBJECT_TESTS..).zip(tests.subject.iter().chain(&tests.result)) {
            let test = self.single_test(slot, test)?;
            self.subject_tests.set(index, test, 0).map_err(write(names::SUBJECT_TESTS))?;
        }
        for (index, test) in (slot * MAX_OBJECT_TESTS..).zip(&tests.object) {
            let test = self.single_test(slot, test)?;
            self.object_tests.set(index, test, 0).map_err(write(names::OBJECT_TESTS))?;
        }
        for (index, pattern) in tests.patterns.iter().enumerate() {
            let pattern = match pattern {
                rules::Pattern::Network(network) => {
                    let (bits, mask) = network.bits_and_mask();
                    Pattern { bits: halves(bits), mask: halves(mask) }
                }
                rules::Pattern::Comm(comm) => Pattern { bits: comm.halves(), mask: [u64::MAX; 2] },
                // Filled in with what else must be looked up.
                rules::Pattern::Cgroup(_) => continue,
            };
            self.set_pattern(slot, index, pattern)?;
        }
        Ok(())
    }

    fn set_pattern(&mut self, slot: u32, index: usize, pattern: Pattern) -> Result<(), TablesError> {
        self.patterns.set(slot * MAX_PATTERNS + index as u32, pattern, 0).map_err(write(names::PATTERNS))
    }

    fn single_test(&mut self, slot: u32, test: &plan::SingleTest) -> Result<SingleTest, TablesError> {
        let plan::SingleTest { left, operator, right, value, rules, any_rules } = test;
        let (row, any_row) = (self.row(slot, rules)?, self.row(slot, any_rules)?);
        Ok(SingleTest { left: *left, operator: *operator, right: *right, value: *value, row, any_row })
    }

    fn fill_identities(&mut self, slot: u32, identities: &Identities) -> Result<(), TablesError> {
        let mut objects = HashMap::new();
        for (id, ObjectRules { path, dir, has_names }) in &identities.objects {
            let key = ObjectKey { slot, dev: id.dev, ino: id.ino };
            let (path_row, dir_row) = (self.row(slot, path)?, self.row(slot, dir)?);
            objects.insert(key, ObjectValue { path_row, dir_row, has_names: u32::from(*has_names), _pad: 0 });
        }
        let mut watched_names = HashMap::new();
        for ((directory, name), rules) in &identities.names {
            let hash = plan_rows::hash_name(self.name_seed, name);
            let key = NameKey { slot, dev: directory.dev, ino: directory.ino, hash };
            watched_names.insert(key, self.row(slot, rules)?);
        }
        let mut exes = HashMap::new();
        for (id, rules) in &identities.exes {
            exes.insert(ObjectKey { slot, dev: id.dev, ino: id.ino }, self.row(slot, rules)?);
        }
        for (index, group) in &identities.cgroups {
            self.set_pattern(slot, *index, Pattern { bits: [group.number, group.level], mask: [u64::MAX; 2] })?;
        }
        let filled = &mut self.slots[slot as usize];
        replace(names::OBJECTS, &mut self.objects, &mut filled.objects, objects)?;
        replace(names::NAMES, &mut self.names, &mut filled.names, watched_names)?;
        replace(names::EXES, &mut self.exes, &mut filled.exes, exes)
    }
}

/// Most significant first.
fn halves(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

const EMPTY_HEADER: Header = Header {
    generation: 0,
    words: 1,
    fields: 0,
    exe_default_row: ROW_NONE,
    tests_dir: 0,
    subject_tests: 0,
    result_tests: 0,
    object_tests: 0,
    inode_row: ROW_NONE,
    task_row: ROW_NONE,
    fs_type_count: 0,
    before_row: ROW_NONE,
    fs_types: [[0; 2]; MAX_FS_TYPES],
    bloom: [0; BLOOM_WORDS],
    perm_rows: [ROW_NONE; 8],
    intervals: [[0, 0]; field::COUNT],
    never: plan::NO_RULES,
};

/// Writes what is new or changed, then removes what is gone: nothing that stays is ever absent.
fn replace<K, V>(
    table: &'static str,
    map: &mut BpfHashMap<MapData, K, V>,
    held: &mut HashMap<K, V>,
    wanted: HashMap<K, V>,
) -> Result<(), TablesError>
where
    K: aya::Pod + Eq + std::hash::Hash,
    V: aya::Pod + PartialEq,
{
    for (key, value) in &wanted {
        if held.get(key) != Some(value) {
            map.insert(key, value, 0).map_err(write(table))?;
        }
    }
    for key in held.keys().filter(|key| !wanted.contains_key(key)) {
        map.remove(key).map_err(write(table))?;
    }
    *held = wanted;
    Ok(())
}

/// Bit per access: whether any of these rules of a call can match it.
fn accesses(call: &plan::PlannedCall, rules: &Row, plan: &Plan) -> u8 {
    let is_open = call.objects.is_some_and(|it| matches!(it.treatment, Treatment::Open | Treatment::OpenHow));
    let matches = |perm: &Row| if is_open { plan::intersection(rules, perm) } else { *rules } != plan::NO_RULES;
    (0..).zip(&plan.perms).map(|(bit, perm)| u8::from(matches(perm)) << bit).sum()
}

/// What the kernel side is to do about an act that the rule decides about.
fn refusal_word(planned: &plan::PlannedRule) -> u32 {
    let by_capability = if tests_capability(&planned.rule) { refusal::BY_CAPABILITY } else { 0 };
    by_capability
        | match planned.refusal {
            Some(refusal) => refusal::word(refusal.verdict, refusal.errno),
            None if planned.fails_closed => refusal::UNLESS_RECORDED | refusal::word(verdict::ALLOW, refusal::EPERM),
            None => 0,
        }
}

/// All but the rules.
fn entry(call: &plan::PlannedCall) -> SyscallEntry {
    let [records, _] = hook_bits(&call.hooks);
    let refuses = hook_bits(&call.refusing);
    let hooks = records | refuses[0];
    let class = if call.maps { class::MAP } else { class::PLAIN };
    let (at_once, fails_closed) = (u8::from(call.at_once), u8::from(call.fails_closed));
    let Some(objects) = call.objects else {
        return SyscallEntry { hooks, records, refuses, class, at_once, fails_closed, ..NO_ARGUMENTS };
    };
    let path = |index: usize| objects.paths.get(index).map_or(NO_ARG, |path| path.path);
    let dirfd = |index: usize| objects.paths.get(index).and_then(|path| path.dirfd).unwrap_or(NO_ARG);
    SyscallEntry {
        hooks,
        records,
        refuses,
        class: match objects.treatment {
            Treatment::Plain => class,
            Treatment::Open => class::OPEN,
            Treatment::OpenHow => class::OPENAT2,
            Treatment::Exec => class::EXEC,
            Treatment::Fork => class::FORK,
            Treatment::Move => class::MOVE,
            Treatment::Symlink => class::SYMLINK,
        },
        path_arg: path(0),
        dirfd_arg: dirfd(0),
        flags_arg: objects.flags.unwrap_or(NO_ARG),
        path2_arg: path(1),
        dirfd2_arg: dirfd(1),
        data_arg: objects.data.map_or(NO_ARG, |(arg, _)| arg),
        data_len: objects.data.map_or(0, |(_, length)| length),
        at_once,
        fails_closed,
        ..SyscallEntry::default()
    }
}

/// A bit for each hook.
fn hook_bits(names: &[&str]) -> [u64; 2] {
    let mut bits = [0; 2];
    for number in names.iter().filter_map(|name| hooks::number(name)) {
        bits[number as usize / 64 % 2] |= 1 << (number % 64);
    }
    bits
}

/// The same of an operation of io_uring, which has no arguments.
fn entry_of_operation(call: &plan::PlannedCall) -> SyscallEntry {
    let SyscallEntry { hooks, records, refuses, class, at_once, fails_closed, .. } = entry(call);
    SyscallEntry { hooks, records, refuses, class, at_once, fails_closed, ..NO_ARGUMENTS }
}

const NO_ARGUMENTS: SyscallEntry = SyscallEntry {
    hooks: 0,
    records: 0,
    refuses: [0; 2],
    row: ROW_NONE,
    alone_rows: [ROW_NONE; moment::COUNT],
    class: class::PLAIN,
    path_arg: NO_ARG,
    dirfd_arg: NO_ARG,
    flags_arg: NO_ARG,
    path2_arg: NO_ARG,
    dirfd2_arg: NO_ARG,
    data_arg: NO_ARG,
    data_len: 0,
    accesses: [0; moment::COUNT],
    at_once: 0,
    fails_closed: 0,
};
