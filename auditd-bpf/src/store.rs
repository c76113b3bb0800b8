//! Rules and settings in force, and what command lines make of them. Pure: nothing here touches the kernel or a record, so
//! that a change is known as a whole before any of it is put in force.

mod runner;

use std::sync::Arc;

use rules::plan::PlannedRule;
use rules::{Control, Diagnostic, Dialect, FilterList, NoHost, Plan, Rule, RuleSet, Source, print};
use serde::{Deserialize, Serialize};

use crate::config::FailName;
use crate::control::protocol::{Ran, Text};
use crate::guard::Guard;

/// What auditctl says where `-e 2` forbids a change of rules.
pub const IMMUTABLE: &str = "The audit system is in immutable mode, no rule changes allowed";

/// What `-e`, `-f`, `-r`, `-b` and their like have set. The defaults are the kernel's (`kernel/audit.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `-e`: 0 the rules are kept out of force, 1 in force, 2 in force and locked.
    pub enabled: u32,
    /// `-f`
    pub failure: u32,
    /// `-r`
    pub rate_limit: u32,
    /// `-b`
    pub backlog_limit: u32,
    /// `--backlog_wait_time`
    pub backlog_wait_time: u32,
    /// `--loginuid-immutable`
    pub loginuid_immutable: bool,
    /// `--enforce`: whether `deny` and `kill` refuse.
    pub enforce: bool,
    /// What the configuration says of rules without `-F fail=`.
    pub fail: Option<FailName>,
}

impl Settings {
    /// Whether rules that record, and do not say otherwise, have refused what cannot be recorded: where the kernel's own audit would
    /// rather stop the machine (auditctl(8)).
    const fn refuses_unrecorded(&self) -> bool {
        self.failure == PANIC || matches!(self.fail, Some(FailName::Closed))
    }

    /// What decides about acts.
    const fn deciding(&self) -> (u32, bool, Option<FailName>, bool) {
        (self.enabled, self.enforce, self.fail, self.refuses_unrecorded())
    }
}

/// 60 seconds, in ticks of a kernel with 250 a second, as Debian's.
const BACKLOG_WAIT_TIME: u32 = 15_000;
/// The kernel takes up to ten times its default.
const BACKLOG_WAIT_TIME_MAX: u32 = 10 * BACKLOG_WAIT_TIME;
/// [`Settings::failure`]: nothing must go unrecorded.
const PANIC: u32 = 2;
/// [`Settings::enabled`]: nothing can be changed any more.
const LOCKED: u32 = 2;

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: 1,
            failure: 1,
            rate_limit: 0,
            backlog_limit: 64,
            backlog_wait_time: BACKLOG_WAIT_TIME,
            loginuid_immutable: false,
            enforce: true,
            fail: None,
        }
    }
}

/// Something that was changed, or asked for and refused: a record each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub what: What,
    /// Whether it was done.
    pub done: bool,
}

/// Kinds of changes, in the kernel's words (`kernel/auditfilter.c`, `kernel/audit.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `op=add_rule`
    AddRule(Rule),
    /// `op=remove_rule`
    RemoveRule(Rule),
    /// A change of rules that `-e 2` forbids: the kernel names the operation alone.
    Locked(&'static str),
    /// `op=set`
    Set {
        /// The kernel's name of it.
        name: &'static str,
        /// What it is now, or should have been.
        new: u64,
        /// What it was.
        old: u64,
    },
    /// `op=make_equiv`
    MakeEquivalent {
        /// Where the subtree is mounted.
        mount: Vec<u8>,
        /// What is mounted there.
        subtree: Vec<u8>,
    },
    /// `op=trim`
    Trim,
    /// `op=confirm`: ours.
    Confirm,
    /// `-m`: no change, a message.
    Message(Vec<u8>),
}

/// What answers need beyond rules and settings.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The daemon.
    pub pid: u32,
    /// Events lost so far, since `--reset-lost`.
    pub lost: u64,
    /// Events that wait for outputs.
    pub backlog: u64,
    /// What `-l` prints like.
    pub dialect: Dialect,
    /// Seconds after which rules on probation go, if any are.
    pub probation: Option<u64>,
}

/// Rules in match order, and settings.
#[derive(Clone, Debug, Default)]
pub struct Store {
    rules: RuleSet,
    settings: Settings,
    guard: Arc<Guard>,
}

/// Rules and settings that `-e 2` is in force for, as one daemon tells them to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// The settings.
    pub settings: Settings,
    /// The rules, in match order, each as a rule file writes it.
    pub rules: Vec<Text>,
}

/// What command lines come to.
pub struct Outcome {
    /// What there would be, were it put in force.
    pub store: Store,
    /// Whether the kernel side has anything to do for that.
    pub affects_kernel: bool,
    /// Whether lost events are counted from here on.
    pub resets_lost: bool,
    /// Whether what is on probation stays.
    pub confirms: bool,
    /// In order.
    pub changes: Vec<Change>,
    /// What to answer once it is in force.
    pub ran: Ran,
}

impl Store {
    /// The rules, in force or not.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether `-e 2` is in force.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.settings.enabled == LOCKED
    }

    /// What stays so until the machine reboots, if anything does.
    #[must_use]
    pub fn locked(&self) -> Option<Locked> {
        let rules = || self.rules.rules().map(|rule| Text(print::canonical(rule))).collect();
        self.is_locked().then(|| Locked { settings: self.settings, rules: rules() })
    }

    /// The store that [this](Self::locked) was told of, with the guard of another daemon.
    ///
    /// # Errors
    /// What is wrong with a rule: none is that was in force.
    pub fn relocked(locked: &Locked, guard: Guard) -> Result<Self, Vec<Diagnostic>> {
        let text = locked.rules.iter().map(|rule| rule.0.as_slice()).collect::<Vec<_>>().join(&b'\n');
        let (rules, _) = rules::parse(&[Source { name: None, text }], &NoHost).into_loadable()?;
        Ok(Self { rules, settings: locked.settings, guard: Arc::new(guard) })
    }

    /// The same, where `deny` and `kill` refuse or only tell.
    #[must_use]
    pub fn enforcing(&self, enforce: bool) -> (Self, Vec<Change>) {
        let mut settings = self.settings;
        let what = settings.set(&Control::Enforce(enforce)).filter(|_| settings != self.settings);
        (Self { settings, ..self.clone() }, what.map(|what| Change { what, done: true }).into_iter().collect())
    }

    /// The same, where rules without `-F fail=` fail so.
    #[must_use]
    pub fn failing(self, fail: Option<FailName>) -> Self {
        Self { settings: Settings { fail, ..self.settings }, ..self }
    }

    /// Whether it decides as another does.
    #[must_use]
    pub fn decides_as(&self, other: &Self) -> bool {
        self.settings.deciding() == other.settings.deciding() && self.changes_to(other).is_empty()
    }

    /// Which rules go, and which come, where another takes the place of this one.
    #[must_use]
    pub fn changes_to(&self, other: &Self) -> Vec<Change> {
        differences(&self.rules, &other.rules)
    }

    /// The same without rules of the user's.
    #[must_use]
    pub fn without_rules(&self) -> Self {
        Self { rules: RuleSet::default(), ..self.clone() }
    }

    /// The same with a guard, whose rules are in force before all others.
    #[must_use]
    pub fn guarded_by(self, guard: Guard) -> Self {
        Self { guard: Arc::new(guard), ..self }
    }

    /// Whether anything is guarded now.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.guard_rules().is_ok_and(|rules| !rules.is_empty())
    }

    fn guard_rules(&self) -> Result<RuleSet, Vec<Diagnostic>> {
        if self.is_locked() { self.guard.locked_rules() } else { self.guard.rules() }
    }

    /// The rules that are to decide: none but the guard's with `-e 0`.
    ///
    /// # Errors
    /// What the kernel side cannot do, also if the rules are out of force now.
    pub fn plan(&self) -> Result<Plan, Vec<Diagnostic>> {
        let guard = self.guard_rules()?;
        let mut plan = Plan::compile(&self.rules.behind(&guard))?;
        if self.settings.enabled == 0 {
            plan = Plan::compile(&guard)?;
        }
        let listed = number(&mut plan, guard.len());
        if !self.settings.enforce {
            return Ok(plan.failing_open().rehearsed(|rule| rule.number <= listed));
        }
        // The guard's own rules do what they do by default.
        Ok(plan.failing(|planned| match planned.refusal {
            Some(_) => planned.number > listed || self.settings.fail != Some(FailName::Open),
            None => planned.number <= listed && self.settings.refuses_unrecorded(),
        }))
    }

    /// These rules in place of all, on top of the settings. `-e` comes last, as augenrules has it.
    #[must_use]
    pub fn replaced(&self, mut rules: RuleSet) -> (Self, Vec<Change>) {
        let (last, first): (Vec<_>, Vec<_>) =
            rules.take_controls().into_iter().partition(|control| matches!(control, Control::Enabled(_)));
        let mut settings = self.settings;
        let mut changes = differences(&self.rules, &rules);
        for control in first.into_iter().chain(last) {
            match control {
                Control::Message(text) => changes.push(Change { what: What::Message(text), done: true }),
                other => changes.extend(settings.set(&other).map(|what| Change { what, done: true })),
            }
        }
        (Self { rules, settings, guard: Arc::clone(&self.guard) }, changes)
    }
}

/// Numbers the rules of the exit list as they are listed, and the guard's, which are its first, behind them. Returns how many are
/// listed.
fn number(plan: &mut Plan, of_guard: usize) -> u32 {
    let is_exit = |planned: &PlannedRule| planned.rule.list == FilterList::Exit;
    let listed = plan.rules.iter().filter(|planned| is_exit(planned)).count() - of_guard;
    let numbers = (listed + 1..=listed + of_guard).chain(1..=listed);
    for (planned, number) in plan.rules.iter_mut().filter(|planned| is_exit(planned)).zip(numbers) {
        planned.number = u32::try_from(number).unwrap_or(u32::MAX);
    }
    u32::try_from(listed).unwrap_or(u32::MAX)
}

/// Rules that go and rules that come. One that changes its place among the others does both.
fn differences(old: &RuleSet, new: &RuleSet) -> Vec<Change> {
    let (old, new): (Vec<_>, Vec<_>) = (old.rules().collect(), new.rules().collect());
    let in_both = |these: &[&Rule], those: &[&Rule]| -> Vec<usize> {
        let shared = |rule: &&Rule| those.iter().any(|other| other.is_same_as(rule));
        these.iter().enumerate().filter(|(_, rule)| shared(rule)).map(|(index, _)| index).collect()
    };
    let (kept_old, kept_new) = (in_both(&old, &new), in_both(&new, &old));
    let same = kept_old.iter().zip(&kept_new).take_while(|(a, b)| old[**a].is_same_as(new[**b])).count();
    let beyond = |rules: &[&Rule], kept: &[usize]| -> Vec<Rule> {
        let stays = &kept[..same];
        let others = rules.iter().enumerate().filter(|(index, _)| stays.binary_search(index).is_err());
        others.map(|(_, rule)| (*rule).clone()).collect()
    };
    let removed = beyond(&old, &kept_old).into_iter().map(What::RemoveRule);
    let added = beyond(&new, &kept_new).into_iter().map(What::AddRule);
    removed.chain(added).map(|what| Change { what, done: true }).collect()
}

impl Settings {
    /// Sets what a control rule sets; `None` if it sets nothing.
    fn set(&mut self, control: &Control) -> Option<What> {
        let (name, place, new) = match control {
            Control::Enabled(value) => ("audit_enabled", &mut self.enabled, *value),
            Control::Failure(value) => ("audit_failure", &mut self.failure, *value),
            Control::RateLimit(value) => ("audit_rate_limit", &mut self.rate_limit, *value),
            Control::BacklogLimit(value) => ("audit_backlog_limit", &mut self.backlog_limit, *value),
            Control::BacklogWaitTime(value) => ("audit_backlog_wait_time", &mut self.backlog_wait_time, *value),
            Control::LoginuidImmutable => {
                let old = std::mem::replace(&mut self.loginuid_immutable, true);
                return Some(What::Set { name: "loginuid_immutable", new: 1, old: u64::from(old) });
            }
            Control::Enforce(new) => {
                let old = std::mem::replace(&mut self.enforce, *new);
                return Some(What::Set { name: "enforce", new: u64::from(*new), old: u64::from(old) });
            }
            _ => return None,
        };
        let old = std::mem::replace(place, new);
        Some(What::Set { name, new: u64::from(new), old: u64::from(old) })
    }
}

#[cfg(test)]
mod tests;
