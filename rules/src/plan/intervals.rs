//! Ordered fields: values cut into intervals within which every test of the field has one answer.

use std::collections::{BTreeMap, BTreeSet};

use auditd_bpf_common::plan_rows::{Row, field};
use tables::{Field, Op};

use super::{NO_RULES, PlannedRule, insert, single_tests};
use crate::{Test, success_holds};

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
        Field::Gid => field::GID,
        Field::Egid => field::EGID,
        Field::Sgid => field::SGID,
        Field::Fsgid => field::FSGID,
        Field::SessionId => field::SESSION,
        Field::Exit => field::EXIT,
        Field::Success => field::SUCCESS,
        Field::A0 => field::A0,
        Field::A1 => field::A1,
        Field::A2 => field::A2,
        Field::A3 => field::A3,
        Field::Pers => field::PERS,
        _ => return None,
    })
}

/// The tests of ordered fields of one rule.
pub(super) fn tests(planned: &PlannedRule) -> impl Iterator<Item = (u32, Op, u32)> + '_ {
    planned.rule.tests.iter().filter_map(|test| match *test {
        Test::Number { field, op, value } if !single_tests::is_single(field, op) => {
            let (op, value) = if field == Field::Success { success(op, value) } else { (op, value) };
            ordered_field(field).map(|field| (field, op, value))
        }
        _ => None,
    })
}

/// A test of `success` as one of 1 for success and 0 for failure.
const fn success(op: Op, value: u32) -> (Op, u32) {
    match (success_holds(op, value, true), success_holds(op, value, false)) {
        (true, true) => (Op::GreaterOrEqual, 0),
        (true, false) => (Op::Equal, 1),
        (false, true) => (Op::Equal, 0),
        (false, false) => (Op::Less, 0),
    }
}

/// The tests of one field.
#[derive(Default)]
struct Column {
    /// Where the answer of some test changes.
    starts: BTreeSet<u32>,
    /// Rules that test the field, ascending, once for each test.
    tests: Vec<(usize, Op, u32)>,
}

impl Column {
    fn add(&mut self, rule: usize, op: Op, value: u32) {
        self.starts.insert(value);
        self.starts.extend(value.checked_add(1));
        self.tests.push((rule, op, value));
    }

    fn untested(&self, rules: usize) -> Row {
        let tested: BTreeSet<usize> = self.tests.iter().map(|test| test.0).collect();
        let mut row = NO_RULES;
        (0..rules).filter(|rule| !tested.contains(rule)).for_each(|rule| insert(&mut row, rule));
        row
    }

    /// The rules that do not test the field, and those whose tests of it hold for a value.
    fn row_at(&self, untested: &Row, value: u32) -> Row {
        let mut row = *untested;
        for tests in self.tests.chunk_by(|one, other| one.0 == other.0) {
            if tests.iter().all(|(_, op, against)| op.holds(value, *against)) {
                tests.first().into_iter().for_each(|test| insert(&mut row, test.0));
            }
        }
        row
    }
}

/// Rows by field and interval, for the fields that any rule tests.
pub(super) fn compile(rules: &[PlannedRule]) -> BTreeMap<u32, Vec<(u32, Row)>> {
    let mut columns: BTreeMap<u32, Column> = BTreeMap::new();
    for (index, planned) in rules.iter().enumerate() {
        for (field, op, value) in tests(planned) {
            columns.entry(field).or_default().add(index, op, value);
        }
    }
    columns.into_iter().map(|(field, column)| (field, rows_of(&column, rules.len()))).collect()
}

fn rows_of(column: &Column, rules: usize) -> Vec<(u32, Row)> {
    let untested = column.untested(rules);
    let starts = column.starts.iter().copied().filter(|start| *start > 0);
    let mut rows: Vec<(u32, Row)> =
        std::iter::once(0).chain(starts).map(|start| (start, column.row_at(&untested, start))).collect();
    rows.dedup_by(|later, earlier| later.1 == earlier.1);
    rows
}
