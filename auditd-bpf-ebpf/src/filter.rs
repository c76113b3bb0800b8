//! Kernel tables to deciding rule: each field is one lookup that gives a row, rows are ANDed, the lowest bit left decides.

use crate::{
    kernel::{self, field},
    maps::{ACTIVE, EXES, HEADERS, INTERVALS, OWNER, ROWS, RULE_FIELDS, SYSCALLS, count},
    task::Subject,
    tests::{tests_met_by_any, tests_of_subject},
};
use auditd_bpf_common::{
    counters,
    limits::{BLOOM_WORDS, CALL_KINDS, MAX_INTERVALS, MAX_ROWS, MAX_RULES, MAX_SYSCALLS, SEARCH_STEPS, WORDS},
    plan_rows::{Header, ObjectKey, ROW_ALL, ROW_NONE, Row, SyscallEntry, active, bloom_bit, field as ordered},
};

/// So many rules are asked one by one what they test.
const FEW_RULES: u32 = 4;

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
        Self::of_slot(slot_in_force()?)
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
        syscall_of_slot(self.slot, abi, number)
    }

    /// 1 if the rules may know an inode, 0 if they do not.
    #[inline(always)]
    pub fn may_know(self, dev: u32, ino: u64) -> u32 {
        let bit = core::hint::black_box(bloom_bit(dev, ino));
        (self.header.bloom[bit / 64 % BLOOM_WORDS] >> (bit % 64)) as u32 & 1
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

    /// Keeps the rules of `row`, and adds those of `alone`, which test no object.
    #[inline(always)]
    pub fn candidates(self, met: &mut Rules, row: u32, alone: u32) {
        rules_candidates(self.slot, row, alone, met);
    }

    /// Keeps the rules whose tests of one ordered field hold for `value`. `fields`: those that they test.
    #[inline(always)]
    fn narrow_field(self, fields: u32, rules: &mut Rules, index: u32, value: impl FnOnce() -> u32) {
        if fields & (1 << index) != 0 {
            rules_narrow_field(self.slot, index, value(), rules);
        }
    }

    /// Keeps the rules that the result satisfies.
    #[inline(always)]
    pub fn narrow_result(self, rules: &mut Rules, exit: i64) {
        let fields = self.header.fields;
        if fields & ordered::RESULT != 0 {
            let fields = self.fields_of(rules);
            self.narrow_field(fields, rules, ordered::EXIT, || exit as u32);
            self.narrow_field(fields, rules, ordered::SUCCESS, || !kernel::is_error(exit) as u32);
        }
        self.narrow_result_tests(rules, exit);
    }

    /// Keeps the rules that a socket address and a task acted upon satisfy: what is known of the result's tests before there is
    /// a result.
    #[inline(always)]
    pub fn narrow_before(self, rules: &mut Rules) {
        self.narrow_result_tests(rules, 0);
    }

    #[inline(always)]
    fn narrow_result_tests(self, rules: &mut Rules, exit: i64) {
        if self.header.result_tests != 0 {
            tests_of_subject(self.slot, self.header.subject_tests, self.header.result_tests, exit, rules);
        }
    }

    /// Keeps the rules whose tests of objects some object met; `met` has a bit for each test.
    #[inline(always)]
    pub fn narrow_tests_met(self, rules: &mut Rules, met: u64) {
        if self.header.object_tests != 0 {
            tests_met_by_any(self.slot, met, rules);
        }
    }

    /// Keeps the rules that the acting task satisfies, but for [`Self::narrow_subject_tests`]. Returns what they test.
    #[inline(always)]
    pub fn narrow_subject(self, rules: &mut Rules, subject: Subject, argument: impl Fn(usize) -> u64) -> u32 {
        let fields = self.fields_of(rules);
        if fields & !(ordered::RESULT | ordered::EXE_BIT | ordered::SUBJECT_BIT) != 0 {
            let id = |offset| move || field(subject.cred, offset);
            self.narrow_field(fields, rules, ordered::AUID, || subject.auid());
            self.narrow_field(fields, rules, ordered::UID, id(&kernel::CRED_UID));
            self.narrow_field(fields, rules, ordered::EUID, id(&kernel::CRED_EUID));
            self.narrow_field(fields, rules, ordered::SUID, id(&kernel::CRED_SUID));
            self.narrow_field(fields, rules, ordered::FSUID, id(&kernel::CRED_FSUID));
            self.narrow_field(fields, rules, ordered::SGID, id(&kernel::CRED_SGID));
            self.narrow_field(fields, rules, ordered::FSGID, id(&kernel::CRED_FSGID));
            self.narrow_field(fields, rules, ordered::SESSION, || subject.session());
            self.narrow_field(fields, rules, ordered::LOGINUID_SET, || (subject.auid() != u32::MAX) as u32);
            self.narrow_field(fields, rules, ordered::PERS, || subject.personality());
            self.narrow_field(fields, rules, ordered::GID, id(&kernel::CRED_GID));
            self.narrow_field(fields, rules, ordered::EGID, id(&kernel::CRED_EGID));
            self.narrow_field(fields, rules, ordered::PID, || kernel::pid_tid().0);
            self.narrow_field(fields, rules, ordered::PPID, || subject.ppid());
            self.narrow_field(fields, rules, ordered::A0, || argument(0) as u32);
            self.narrow_field(fields, rules, ordered::A1, || argument(1) as u32);
            self.narrow_field(fields, rules, ordered::A2, || argument(2) as u32);
            self.narrow_field(fields, rules, ordered::A3, || argument(3) as u32);
        }
        if fields & ordered::EXE_BIT != 0 {
            let (dev, ino) = subject.exe();
            rules_narrow_exe(self.slot, dev, ino, rules);
        }
        fields
    }

    /// What these rules test of who acts and of the result.
    #[inline(always)]
    fn fields_of(self, rules: &Rules) -> u32 {
        rules_fields(self.slot, rules) as u32
    }

    /// Keeps the rules whose single tests the acting task satisfies; `fields`: what they test. Done once, at the end of the call:
    /// hooks have no stack for it.
    #[inline(always)]
    pub fn narrow_subject_tests(self, fields: u32, rules: &mut Rules) {
        if fields & ordered::SUBJECT_BIT != 0 {
            tests_of_subject(self.slot, 0, self.header.subject_tests, 0, rules);
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
}

/// The same of the set in force, which may just have been withdrawn: for a first look, at as little cost as can be.
#[inline(always)]
pub fn active_syscall(abi: u32, number: u32) -> Option<&'static SyscallEntry> {
    syscall_of_slot(slot_in_force()?, abi, number)
}

/// `None` once another daemon's programs go by theirs: one write of theirs takes over from these.
#[inline(always)]
pub fn slot_in_force() -> Option<u32> {
    let word = *ACTIVE.get(0)?;
    (active::owner(word) == OWNER.load()).then_some(active::slot(word))
}

/// What the rules of a set, by its slot, say of a syscall.
#[inline(always)]
pub fn syscall_of_slot(slot: u32, abi: u32, number: u32) -> Option<&'static SyscallEntry> {
    if number >= MAX_SYSCALLS {
        return None;
    }
    SYSCALLS.get((slot * CALL_KINDS + abi) * MAX_SYSCALLS + number).filter(|entry| entry.row != ROW_NONE)
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
pub extern "C" fn rules_widen(slot: u32, number: u32, rules: *mut Rules) -> i32 {
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
pub extern "C" fn rules_exclude(slot: u32, number: u32, rules: *mut Rules) -> i32 {
    // SAFETY: as in `rules_load`.
    let Some(rules) = (unsafe { rules.as_mut() }) else { return 0 };
    let Some(row) = row(slot, number) else { return 0 };
    each_word(words_in_use(slot), |i| rules.words[i] &= !row.words[i]);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_candidates(slot: u32, number: u32, alone: u32, met: *mut Rules) -> i32 {
    // SAFETY: as in `rules_load`.
    let Some(met) = (unsafe { met.as_mut() }) else { return 0 };
    let Some(named) = row(slot, number) else { return 0 };
    let Some(alone) = row(slot, alone) else { return 0 };
    each_word(words_in_use(slot), |i| met.words[i] = named.words[i] & met.words[i] | alone.words[i]);
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

/// The fields that rules test, as long as they are few and near each other: then the others need not be looked at, and a
/// watch costs nothing for them. Else the fields that any rule tests.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_fields(slot: u32, rules: *const Rules) -> i32 {
    // SAFETY: as in `rules_load`.
    let Some(rules) = (unsafe { rules.as_ref() }) else { return 0 };
    let Some(header) = HEADERS.get(slot) else { return 0 };
    let (mut word, mut base, mut others) = (0, 0, 0);
    each_word(header.words, |i| {
        if word == 0 {
            (word, base) = (rules.words[i], i as u32 * 64);
        } else {
            others |= rules.words[i];
        }
    });
    if others != 0 {
        return header.fields as i32;
    }
    let mut fields = 0;
    for _ in 0..FEW_RULES {
        if word == 0 {
            return fields as i32;
        }
        let rule = base + lowest_bit(word);
        let Some(tested) = RULE_FIELDS.get(slot * MAX_RULES as u32 + rule) else { break };
        fields |= *tested;
        word &= word - 1;
    }
    if word == 0 { fields as i32 } else { header.fields as i32 }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_narrow_exe(slot: u32, dev: u32, ino: u64, rules: *mut Rules) -> i32 {
    let Some(header) = HEADERS.get(slot) else { return 0 };
    // SAFETY: the row number is copied out at once.
    let row = unsafe { EXES.get(ObjectKey { slot, dev, ino }) }.copied().unwrap_or(header.exe_default_row);
    rules_narrow(slot, row, rules)
}

/// Row of the last interval that starts at or below the value; the first one starts at 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rules_narrow_field(slot: u32, index: u32, value: u32, rules: *mut Rules) -> i32 {
    let Some(header) = HEADERS.get(slot) else { return 0 };
    if index as usize >= ordered::COUNT {
        return 0;
    }
    let [first, mut count] = header.intervals[index as usize];
    let mut low = slot * MAX_INTERVALS + first;
    for _ in 0..SEARCH_STEPS {
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
    if let Some(interval) = INTERVALS.get(low)
        && interval.row != ROW_ALL
    {
        rules_narrow(slot, interval.row, rules);
    }
    0
}
