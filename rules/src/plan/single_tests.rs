//! Tests that are decided one by one: bits, supplementary groups, two fields compared, and everything of an object beyond its
//! place in the tree of files.

use std::collections::BTreeMap;

use auditd_bpf_common::plan_rows::{Row, operand, operator};
use tables::{Field, Op};

use super::intervals::ordered_field;
use super::{NO_RULES, PlannedRule, insert};
use crate::{Pattern, Rule, Test};

/// A test, and the rules that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleTest {
    /// An [`operand`].
    pub left: u32,
    /// One of [`operator`].
    pub operator: u32,
    /// An [`operand`], or [`operand::VALUE`].
    pub right: u32,
    /// The value, if it is that.
    pub value: u32,
    /// Rules that have it; of a test of an object, those whose `path` or `inode` must be that same object.
    pub rules: Row,
    /// Rules whose test any object may meet.
    pub any_rules: Row,
}

/// The tests of a rule set, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SingleTests {
    /// Of who acts and of the call.
    pub subject: Vec<SingleTest>,
    /// Of the result.
    pub result: Vec<SingleTest>,
    /// Of objects.
    pub object: Vec<SingleTest>,
    /// What the value of a test of [`operand::DADDR`], [`operand::COMM`] and [`operand::CGROUP`] is the index of.
    pub patterns: Vec<Pattern>,
}

/// Left side, operator, right side, value.
type Parts = (u32, u32, u32, u32);

pub(super) fn compile(rules: &[PlannedRule]) -> SingleTests {
    let mut known: BTreeMap<Parts, (Row, Row)> = BTreeMap::new();
    let patterns = patterns(rules);
    for (index, planned) in rules.iter().enumerate() {
        let same = wants_same_object(&planned.rule);
        let mark = planned.marked.map(|mark| (operand::TASK_MARK, operator::EQUAL, operand::VALUE, mark));
        for parts in planned.rule.tests.iter().filter_map(|test| parts(test, &patterns)).chain(mark) {
            let (rules, any_rules) = known.entry(parts).or_insert((NO_RULES, NO_RULES));
            let is_any = is_of_object(parts) && !(same && is_of_same_object(parts));
            insert(if is_any { any_rules } else { rules }, index);
        }
    }
    let mut tests = SingleTests { patterns, ..SingleTests::default() };
    for (parts @ (left, operator, right, value), (rules, any_rules)) in known {
        let kind = if is_of_object(parts) {
            &mut tests.object
        } else if operand::is_result(left) {
            &mut tests.result
        } else {
            &mut tests.subject
        };
        kind.push(SingleTest { left, operator, right, value, rules, any_rules });
    }
    tests
}

/// Each once.
fn patterns(rules: &[PlannedRule]) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for test in rules.iter().flat_map(|planned| &planned.rule.tests) {
        if let Test::Pattern { pattern, .. } = test
            && !patterns.contains(pattern)
        {
            patterns.push(pattern.clone());
        }
    }
    patterns
}

/// Whether the rule has tests of who acts here.
pub(super) fn tests_subject(planned: &PlannedRule) -> bool {
    let patterns = patterns(std::slice::from_ref(planned));
    let mut parts = planned.rule.tests.iter().filter_map(|test| parts(test, &patterns));
    planned.marked.is_some() || parts.any(|parts| !is_of_object(parts) && !operand::is_result(parts.0))
}

/// Whether the rule's tests of objects must hold of one and the same: the kernel goes through the names of an event one by one
/// for rules with a watch or an inode (`audit_filter_inodes`), and else lets any name meet each test.
fn wants_same_object(rule: &Rule) -> bool {
    rule.tests.iter().any(|test| matches!(test, Test::Path(_) | Test::Number { field: Field::Inode, .. }))
}

/// Types, and pairs of fields, are asked of all names whatever the rule (`audit_match_filetype`, `audit_compare_uid`).
fn is_of_same_object((left, _, right, _): Parts) -> bool {
    left != operand::FILETYPE && right == operand::VALUE
}

fn is_of_object((left, _, right, _): Parts) -> bool {
    operand::is_object(left) || operand::is_object(right)
}

/// How a test is decided by itself; `None` for what has a table of its own.
fn parts(test: &Test, patterns: &[Pattern]) -> Option<Parts> {
    match *test {
        Test::Pattern { equal, ref pattern } => {
            let index = patterns.iter().position(|known| known == pattern)?;
            let op = if equal { Op::Equal } else { Op::NotEqual };
            Some((pattern_operand(pattern), code(op), operand::VALUE, u32::try_from(index).ok()?))
        }
        Test::Number { field, op, value } => Some((number_operand(field, op)?, code(op), operand::VALUE, value)),
        Test::Compare { pair, equal } => {
            let op = if equal { Op::Equal } else { Op::NotEqual };
            Some((compared(pair.left())?, code(op), compared(pair.right())?, 0))
        }
        _ => None,
    }
}

const fn pattern_operand(pattern: &Pattern) -> u32 {
    match pattern {
        Pattern::Network(_) => operand::DADDR,
        Pattern::Comm(_) => operand::COMM,
        Pattern::Cgroup(_) => operand::CGROUP,
    }
}

fn number_operand(field: Field, op: Op) -> Option<u32> {
    let of_object = object_operand(field);
    if of_object.is_some() {
        return of_object;
    }
    match (field, op) {
        (Field::Gid, Op::Equal | Op::NotEqual) => Some(operand::GROUPS_GID),
        (Field::Egid, Op::Equal | Op::NotEqual) => Some(operand::GROUPS_EGID),
        (Field::SaddrFam, _) => Some(operand::SADDR_FAM),
        (Field::ObjPid, _) => Some(operand::OBJ_PID),
        (Field::Dport, _) => Some(operand::DPORT),
        (Field::Cap, _) => Some(operand::CAP),
        (_, Op::BitMask | Op::BitTest) => ordered_field(field),
        _ => None,
    }
}

const fn object_operand(field: Field) -> Option<u32> {
    Some(match field {
        Field::ObjUid => operand::OBJ_UID,
        Field::ObjGid => operand::OBJ_GID,
        Field::Devmajor => operand::DEVMAJOR,
        Field::Devminor => operand::DEVMINOR,
        Field::Inode => operand::INODE,
        Field::Filetype => operand::FILETYPE,
        _ => return None,
    })
}

fn compared(field: Field) -> Option<u32> {
    object_operand(field).or_else(|| ordered_field(field))
}

/// The kernel side's number of an operator.
pub(super) const fn code(op: Op) -> u32 {
    match op {
        Op::Equal => operator::EQUAL,
        Op::NotEqual => operator::NOT_EQUAL,
        Op::Less => operator::LESS,
        Op::LessOrEqual => operator::LESS_OR_EQUAL,
        Op::Greater => operator::GREATER,
        Op::GreaterOrEqual => operator::GREATER_OR_EQUAL,
        Op::BitMask => operator::BIT_MASK,
        Op::BitTest => operator::BIT_TEST,
    }
}

/// Whether a test of a number has a place in the tables: intervals or here.
pub(super) fn is_decidable(field: Field, op: Op) -> bool {
    ordered_field(field).is_some() || number_operand(field, op).is_some()
}

/// Whether a test is decided here, and not by intervals.
pub(super) fn is_single(field: Field, op: Op) -> bool {
    number_operand(field, op).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_mean_the_same_on_both_sides() {
        let operators = Op::SEARCH_ORDER;
        let values = [0, 1, 0x40, 0x41, u32::MAX];
        for op in operators {
            for (left, right) in values.iter().flat_map(|left| values.iter().map(move |right| (*left, *right))) {
                assert_eq!(operator::holds(code(op), left, right), op.holds(left, right), "{left} {op:?} {right}");
            }
        }
    }

    #[test]
    fn every_pair_can_be_compared() {
        for pair in tables::CompareField::all() {
            assert!(parts(&Test::Compare { pair, equal: true }, &[]).is_some(), "{pair:?}");
        }
    }
}
