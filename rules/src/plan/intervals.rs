//! Ordered fields: values cut into intervals within which every test of the field has one answer.

use std::collections::{BTreeMap, BTreeSet};

use auditd_bpf_common::plan_rows::{Row, field};
use tables::{Field, Op};

use super::{NO_RULES, PlannedRule, insert};
use crate::Test;

/// The kernel side's number of a field, if it holds a number that is compared in order.
pub(super) const fn ordered_field(name: Field) -> Option<u32> {
    Some(match name {
        Field::Pid => field::PID,
        Field::Ppid => field::PPID,
        Field::Uid => field::UID,
        Field::Euid => field::EUID,
        Field::Suid => field::SUID,
        Field::Fsuid => field::FSUID,
        Field::Auid => field::AUID,
        Field::Sgid => field::SGID,
        Field::Fsgid => field::FSGID,
        Field::SessionId => field::SESSION,
        Field::Exit => field::EXIT,
        Field::Success => field::SUCCESS,
        Field::A0 => field::A0,
        Field::A1 => field::A1,
        Field::A2 => field::A2,
        Field::A3 => field::A3,
        _ => return None,
    })
}

/// The tests of ordered fields of one rule.
fn tests(planned: &PlannedRule) -> impl Iterator<Item = (u32, Op, u32)> + '_ {
    planned.rule.tests.iter().filter_map(|test| match *test {
        Test::Number { field, op, value } => ordered_field(field).map(|field| (field, op, value)),
        _ => None,
    })
}

/// Rows by field and interval, for the fields that any rule tests.
pub(super) fn compile(rules: &[PlannedRule]) -> BTreeMap<u32, Vec<(u32, Row)>> {
    let mut starts: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (field, _, value) in rules.iter().flat_map(tests) {
        let starts = starts.entry(field).or_insert_with(|| BTreeSet::from([0]));
        starts.insert(value);
        starts.extend(value.checked_add(1));
    }
    starts
        .into_iter()
        .map(|(field, starts)| {
            let mut rows: Vec<(u32, Row)> =
                starts.into_iter().map(|start| (start, row_at(rules, field, start))).collect();
            rows.dedup_by(|later, earlier| later.1 == earlier.1);
            (field, rows)
        })
        .collect()
}

/// Rules whose tests of a field, if they have any, hold for a value.
fn row_at(rules: &[PlannedRule], field: u32, value: u32) -> Row {
    let mut row = NO_RULES;
    for (index, planned) in rules.iter().enumerate() {
        if tests(planned).filter(|test| test.0 == field).all(|(_, op, against)| op.holds(value, against)) {
            insert(&mut row, index);
        }
    }
    row
}
