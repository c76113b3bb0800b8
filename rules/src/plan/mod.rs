//! A rule set as the kernel side decides it: which calls to attach to, which hooks to place, and for every field the bitmap
//! of rules that each value satisfies. Pure: what the host lacks is found out by whoever attaches.
//!
//! Rules of the exit list are numbered in match order; number `n` is bit `n` of every [`Row`].

mod compile;
mod intervals;
mod single_tests;
mod syscalls;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use auditd_bpf_common::plan_rows::Row;
use auditd_bpf_common::wire::verdict;
use tables::{Action, Arch, FilterList, Objects};

use crate::{Diagnostic, Fail, Rule, RuleSet, refusal};

pub use single_tests::{SingleTest, SingleTests};
pub use syscalls::never_returns;

/// A rule set, compiled.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In match order.
    pub rules: Vec<PlannedRule>,
    /// What the kernel side must do for each call that a rule names.
    pub syscalls: BTreeMap<(Arch, u16), PlannedCall>,
    /// The same for each operation of io_uring.
    pub operations: BTreeMap<u16, PlannedCall>,
    /// Hooks to place, by kernel name.
    pub hooks: BTreeSet<&'static str>,
    /// Hooks that only refuse, by kernel name; a kernel may lack some.
    pub refusing: BTreeSet<&'static str>,
    /// For each ordered field in use (a `plan_rows::field` number): rows by ascending start, the first at 0.
    pub intervals: BTreeMap<u32, Vec<(u32, Row)>>,
    /// Tests that are decided one by one.
    pub single_tests: SingleTests,
    /// For each rule what it tests of who acts and of the result, as bits of `plan_rows::field`.
    pub fields: Vec<u32>,
    /// Rules whose object is told by its inode number alone.
    pub inodes: Row,
    /// Whether any rule names every system call.
    pub all_calls: bool,
    /// Rules of the task list.
    pub tasks: Row,
    /// File systems whose objects are not recorded: an operator of [`plan_rows::operator`](auditd_bpf_common::plan_rows::operator)
    /// and a magic number.
    pub fs_types: Vec<(u32, u32)>,
    /// Rules of the exclude list, in match order: which records are not written.
    pub exclusions: Vec<Rule>,
    /// Rules of the user list, in match order: which messages of programs are not written.
    pub user: Vec<Rule>,
    /// Rules whose perm test holds, by the access of an open (read 4, write 2).
    pub perms: [Row; 8],
    /// Rules that test no object.
    pub no_object: Row,
    /// Rules that can match a call that succeeds.
    pub success: Row,
    /// Rules that can be decided before the act: they test nothing that only the result tells.
    pub before: Row,
    /// Rules that suppress.
    pub never: Row,
    /// Files that rules test with `path`.
    pub paths: BTreeMap<Vec<u8>, Row>,
    /// Trees that rules test with `dir`.
    pub trees: BTreeMap<Vec<u8>, Row>,
    /// Executables that rules test with `exe`.
    pub exes: BTreeMap<Vec<u8>, ExeTests>,
    /// Rules that test no executable.
    pub no_exe: Row,
}

/// One rule of a plan, with what `explain` tells of it.
#[derive(Clone, Debug)]
pub struct PlannedRule {
    /// 1-based position in its list.
    pub number: u32,
    /// As checked.
    pub rule: Rule,
    /// As `auditctl -l` prints it.
    pub text: String,
    /// Hooks that see its objects.
    pub hooks: BTreeSet<&'static str>,
    /// Calls it names.
    pub syscalls: Vec<(Arch, u16)>,
    /// Operations of io_uring that it names.
    pub operations: Vec<u16>,
    /// Whether it names every call.
    pub all_calls: bool,
    /// Whether it can match a call that succeeds.
    pub matches_success: bool,
    /// What it does to the acts that it matches, if it refuses them.
    pub refusal: Option<Refusal>,
    /// Whether it has acts refused that it cannot decide about or, if it does not refuse, that cannot be recorded.
    pub fails_closed: bool,
    /// What an `always,task` rule marks the tasks with that it matches when they come: the same as long as the rule is.
    pub marks: Option<u32>,
    /// Of what records every call of these tasks, which stands beside such a rule: their mark.
    pub marked: Option<u32>,
}

/// What a rule does to an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Refuse, refuse and kill, or only tell; one of [`verdict`](auditd_bpf_common::wire::verdict).
    pub verdict: u32,
    /// What the call returns.
    pub errno: u16,
}

/// What the kernel side does for one call.
#[derive(Clone, Debug)]
pub struct PlannedCall {
    /// Rules that name it.
    pub rules: Row,
    /// Hooks whose objects belong to it.
    pub hooks: Vec<&'static str>,
    /// Hooks where a rule may refuse it, by kernel name.
    pub refusing: Vec<&'static str>,
    /// Whether a rule has it refused where it cannot be decided about.
    pub fails_closed: bool,
    /// What it acts on, if any hook sees that.
    pub objects: Option<&'static Objects>,
    /// Whether it maps files into memory, and perm is about what for.
    pub maps: bool,
    /// Whether its events wake the daemon.
    pub at_once: bool,
}

/// Rules that test one executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExeTests {
    /// `exe=`
    pub equal: Row,
    /// `exe!=`
    pub unequal: Row,
}

impl Plan {
    /// Compiles a rule set.
    ///
    /// # Errors
    /// One diagnostic for each part that this engine cannot do; then nothing may be loaded.
    pub fn compile(ruleset: &RuleSet) -> Result<Self, Vec<Diagnostic>> {
        compile::compile(ruleset)
    }

    /// Whether it names a call that opens files by something else than a path.
    #[must_use]
    pub fn opens_without_path(&self) -> bool {
        let opens = self.syscalls.values().filter(|call| call.hooks.contains(&"file_open"));
        opens.filter_map(|call| call.objects).any(|objects| objects.paths.is_empty())
    }

    /// Whether a rule may refuse a call in a hook.
    #[must_use]
    pub fn refuses_in(&self, hook: &str) -> bool {
        self.calls().any(|call| call.refusing.contains(&hook))
    }

    /// The same, but that these rules refuse nothing: what they would is told.
    #[must_use]
    pub fn rehearsed(mut self, which: impl Fn(&PlannedRule) -> bool) -> Self {
        for rule in self.rules.iter_mut().filter(|rule| which(rule)) {
            rule.refusal = rule.refusal.map(|refusal| Refusal { verdict: verdict::WOULD_DENY, ..refusal });
        }
        self
    }

    /// The same with other rules failing closed: those of which a rule can be told before the act, that is; its own `-F fail=` stays in
    /// force.
    #[must_use]
    pub fn failing(mut self, closed: impl Fn(&PlannedRule) -> bool) -> Self {
        let before = self.before;
        for (index, planned) in self.rules.iter_mut().enumerate() {
            let closed = planned.rule.fail.map_or_else(|| closed(planned), |fail| fail == Fail::Closed);
            planned.fails_closed = closed && contains(&before, index) && can_fail(planned);
        }
        compile::place_refusals(&mut self);
        self
    }

    /// The same without a rule that fails closed: where nothing can be refused.
    #[must_use]
    pub fn failing_open(mut self) -> Self {
        self.rules.iter_mut().for_each(|rule| rule.fails_closed = false);
        compile::place_refusals(&mut self);
        self
    }

    /// Calls, by name, that rules which are to have acts recorded or refused name, and that no hook can refuse.
    #[must_use]
    pub fn unrefusable_calls(&self) -> BTreeSet<&'static str> {
        let closed = self.rules.iter().filter(|planned| planned.fails_closed && planned.refusal.is_none());
        let named = closed.flat_map(|planned| planned.syscalls.iter().map(move |call| (planned, *call)));
        let names = named.filter_map(|(planned, call)| Some((planned, syscalls::name_of(call)?)));
        names
            .filter(|(planned, name)| refusal::hooks_of_call(&planned.rule, name).is_empty())
            .map(|row| row.1)
            .collect()
    }

    /// Whether a rule has acts refused that cannot be recorded.
    #[must_use]
    pub fn refuses_unrecorded(&self) -> bool {
        self.rules.iter().any(|planned| planned.fails_closed && planned.refusal.is_none())
    }

    /// System calls and operations of io_uring.
    fn calls(&self) -> impl Iterator<Item = &PlannedCall> {
        self.syscalls.values().chain(self.operations.values())
    }
}

/// Rules that suppress have nothing to lose.
fn can_fail(planned: &PlannedRule) -> bool {
    planned.rule.list == FilterList::Exit && planned.rule.action != Action::Never
}

/// No rule.
pub const NO_RULES: Row = Row { words: [0; auditd_bpf_common::limits::WORDS] };

/// Adds a rule to a row.
pub fn insert(row: &mut Row, rule: usize) {
    if let Some(word) = row.words.get_mut(rule / 64) {
        *word |= 1 << (rule % 64);
    }
}

/// Whether a row has a rule.
#[must_use]
pub fn contains(row: &Row, rule: usize) -> bool {
    row.words.get(rule / 64).is_some_and(|word| word >> (rule % 64) & 1 != 0)
}

/// The rules of both rows.
#[must_use]
pub fn union(one: &Row, other: &Row) -> Row {
    let mut both = *one;
    for (word, more) in both.words.iter_mut().zip(other.words) {
        *word |= more;
    }
    both
}

/// The rules that are in both rows.
#[must_use]
pub fn intersection(one: &Row, other: &Row) -> Row {
    let mut both = *one;
    for (word, also) in both.words.iter_mut().zip(other.words) {
        *word &= also;
    }
    both
}

/// The rules of `one` that `other` lacks.
#[must_use]
pub fn difference(one: &Row, other: &Row) -> Row {
    let mut rest = *one;
    for (word, less) in rest.words.iter_mut().zip(other.words) {
        *word &= !less;
    }
    rest
}
