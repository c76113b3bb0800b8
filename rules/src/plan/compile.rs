//! Rules to rows.

use std::collections::{BTreeMap, BTreeSet};

use auditd_bpf_common::hooks;
use auditd_bpf_common::limits::{MAX_FS_TYPES, MAX_OBJECT_TESTS, MAX_PATTERNS, MAX_RULES, MAX_SUBJECT_TESTS};
use auditd_bpf_common::plan_rows::{field, refusal::EPERM};
use auditd_bpf_common::wire::verdict;
use tables::{
    Action, CAPABLE, Field, FilterList, MAPS, Objects, Op, Perm, Treatment, hook_upon_task, is_at_once, objects,
};

use super::{ExeTests, NO_RULES, Plan, PlannedCall, PlannedRule, Refusal, insert, intervals, single_tests, syscalls};
use crate::{Code, Diagnostic, Dialect, Rule, RuleSet, Syscalls, Test, print, refusal, success_holds};

pub(super) fn compile(ruleset: &RuleSet) -> Result<Plan, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let supported: Vec<&Rule> = ruleset
        .rules()
        .filter(|rule| {
            let problems = refusals(rule);
            let supported = problems.is_empty();
            errors.extend(problems);
            supported
        })
        .collect();
    let of = |list| supported.iter().copied().filter(move |rule| rule.list == list);
    let numbered = |list| of(list).enumerate().map(|(index, rule)| planned(index, rule.clone()));
    let recorders = numbered(FilterList::Task).filter_map(recorder);
    // Of an operation that a watch would match, too, the rule that is about operations decides.
    let others = [FilterList::IoUring, FilterList::Exit].into_iter().flat_map(numbered);
    let rules: Vec<PlannedRule> = numbered(FilterList::Task).chain(recorders).chain(others).collect();
    let fs_types = fs_types(of(FilterList::Filesystem));
    if let Some(too_many) = of(FilterList::Filesystem).nth(MAX_FS_TYPES) {
        let written = &too_many.written;
        let message =
            format!("too many rules of the filesystem list: at most {MAX_FS_TYPES} can be decided in the kernel");
        errors.push(Diagnostic::error(&written.line, written.head, Code::Limit, message));
    }
    if let Some(first_too_many) = rules.get(MAX_RULES) {
        let written = &first_too_many.rule.written;
        let message = format!("too many rules: at most {MAX_RULES} can be decided in the kernel");
        errors.push(Diagnostic::error(&written.line, written.head, Code::Limit, message));
    }
    errors.extend(rules.first().filter(|_| errors.is_empty()).and_then(|first| too_many_tests(first, &rules)));
    if !errors.is_empty() {
        return Err(errors);
    }
    let exclusions = of(FilterList::Exclude).cloned().collect();
    let user = of(FilterList::User).cloned().collect();
    Ok(Plan { fs_types, exclusions, user, ..assemble(rules) })
}

/// What rules of the filesystem list keep out of records; its other action is what happens anyway.
fn fs_types<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<(u32, u32)> {
    let never = rules.filter(|rule| rule.action == Action::Never);
    let tests = never.flat_map(|rule| &rule.tests).filter_map(|test| match *test {
        Test::Number { field: Field::Fstype, op, value } => Some((single_tests::code(op), value)),
        _ => None,
    });
    tests.collect()
}

fn too_many_tests(first: &PlannedRule, rules: &[PlannedRule]) -> Option<Diagnostic> {
    let tests = single_tests::compile(rules);
    let subject = tests.subject.len() + tests.result.len();
    let (count, limit, what) = if tests.object.len() > MAX_OBJECT_TESTS as usize {
        (tests.object.len(), MAX_OBJECT_TESTS, "of objects")
    } else if subject > MAX_SUBJECT_TESTS as usize {
        (subject, MAX_SUBJECT_TESTS, "of bits, groups and pairs of fields")
    } else if tests.patterns.len() > MAX_PATTERNS as usize {
        (tests.patterns.len(), MAX_PATTERNS, "of networks, names of tasks and control groups")
    } else {
        return None;
    };
    let written = &first.rule.written;
    let message =
        format!("the rules have {count} different tests {what}: at most {limit} can be decided in the kernel");
    Some(Diagnostic::error(&written.line, written.head, Code::Limit, message))
}

fn planned(index: usize, rule: Rule) -> PlannedRule {
    let is_exit = rule.list == FilterList::Exit;
    let mut syscalls = if is_exit { syscalls::named_by(&rule) } else { Vec::new() };
    if rule.action.refuses() {
        syscalls.extend(syscalls::other_ways_of(&rule, &syscalls));
    }
    let operations = syscalls::operations_of(&rule, &syscalls);
    let matches_success = matches_success(&rule);
    let of_calls = syscalls.iter().filter_map(|call| syscalls::objects_of(*call));
    let objects = of_calls.chain(operations.iter().filter_map(|number| syscalls::objects_of_operation(*number)));
    let hooks = objects.flat_map(|row| row.hooks.iter().map(move |hook| (hook, row)));
    let mut hooks: BTreeSet<_> =
        hooks.filter(|(hook, row)| is_useful(hook, row, &rule, matches_success)).map(|(hook, _)| *hook).collect();
    hooks.extend(refusal::tests_capability(&rule).then_some(CAPABLE));
    PlannedRule {
        number: u32::try_from(index + 1).unwrap_or(u32::MAX),
        text: String::from_utf8_lossy(&print::rule(&rule, Dialect::V4)).into_owned(),
        hooks,
        matches_success,
        refusal: refusal_of(&rule),
        fails_closed: false,
        all_calls: is_exit && syscalls::names_all(&rule),
        marks: mark(&rule),
        marked: None,
        operations,
        syscalls,
        rule,
    }
}

/// What an `always,task` rule marks tasks with: told by what the rule says, so that it outlives a reload.
fn mark(rule: &Rule) -> Option<u32> {
    // FNV-1a.
    let mixed = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let records = rule.list == FilterList::Task && rule.action == Action::Always;
    records.then(|| print::rule(rule, Dialect::V4).iter().fold(0x811c_9dc5, mixed).max(1))
}

/// What records every call of the tasks that an `always,task` rule marked, before any rule of the exit list is asked: the kernel asks
/// none about such a task (`prio` of its context, in `kernel/auditsc.c`).
fn recorder(of: PlannedRule) -> Option<PlannedRule> {
    let marked = Some(of.marks?);
    let every_call =
        Rule { list: FilterList::Exit, arch: None, syscalls: Syscalls::All, tests: Vec::new(), ..of.rule.clone() };
    let planned = planned(0, every_call);
    let rule = Rule { list: FilterList::Task, ..planned.rule };
    Some(PlannedRule { number: of.number, text: of.text, marked, rule, ..planned })
}

fn refusal_of(rule: &Rule) -> Option<Refusal> {
    let verdict = match rule.action {
        Action::Deny | Action::Kill if rule.dry_run => verdict::WOULD_DENY,
        Action::Deny => verdict::DENY,
        Action::Kill => verdict::KILL,
        _ => return None,
    };
    Some(Refusal { verdict, errno: rule.errno.unwrap_or(EPERM) })
}

/// Whether a rule asks for nothing that only the result of the call tells.
fn is_before(rule: &Rule) -> bool {
    !rule.tests.iter().any(|test| matches!(test.field(), Some(Field::Exit | Field::Success)))
}

/// Whether a hook of a call is of use to a rule. One that runs after the permission checks is of none to a rule about their
/// failures. Of opens, those that open nothing (`O_PATH`) are looked for only by rules on files that may be about them: what sees
/// them sees every look-up of a name.
fn is_useful(hook: &str, objects: &Objects, rule: &Rule, matches_success: bool) -> bool {
    match hook {
        "file_open" => matches_success,
        "path_lookupat" if matches!(objects.treatment, Treatment::Open | Treatment::OpenHow) => {
            matches_success && syscalls::tests_files(rule) && may_read(rule)
        }
        _ => true,
    }
}

/// Whether the rule's perm is met by reading.
fn may_read(rule: &Rule) -> bool {
    rule.tests.iter().all(|test| !matches!(test, Test::Perm(perm) if perm.bits() & Perm::READ.bits() == 0))
}

/// Everything about a rule that this engine cannot do.
fn refusals(rule: &Rule) -> Vec<Diagnostic> {
    let written = &rule.written;
    let refuse = |span, message: String| Diagnostic::error(&written.line, span, Code::Unsupported, message);
    let mut refusals = Vec::new();
    for (index, test) in rule.tests.iter().enumerate() {
        if let Some(problem) = unsupported_test(test) {
            refusals.push(refuse(written.test(index), problem));
        }
    }
    refusals
}

fn unsupported_test(test: &Test) -> Option<String> {
    match test {
        Test::Number { field: Field::Msgtype | Field::Fstype, .. } => None,
        Test::Number { field, op, .. } if !single_tests::is_decidable(*field, *op) => {
            Some(format!("field {} is not supported by this release", field.name()))
        }
        Test::Text { field, .. } => {
            Some(format!("field {} is not supported by this release: it reads no security labels", field.name()))
        }
        _ => None,
    }
}

/// Whether a call that succeeds can match: not if `success` or `exit` asks for a failure.
fn matches_success(rule: &Rule) -> bool {
    /// The lowest errno as the unsigned number that the kernel compares: -4095.
    const FIRST_ERROR: u32 = 4095_u32.wrapping_neg();
    rule.tests.iter().all(|test| match *test {
        Test::Number { field: Field::Success, op, value } => success_holds(op, value, true),
        Test::Number { field: Field::Exit, op: Op::Equal, value } => value < FIRST_ERROR,
        _ => true,
    })
}

fn assemble(rules: Vec<PlannedRule>) -> Plan {
    let mut plan = Plan {
        syscalls: planned_calls(&rules, |planned| &planned.syscalls, |call| syscalls::name_of(*call)),
        operations: planned_calls(
            &rules,
            |planned| &planned.operations,
            |number| tables::io_uring_syscall((*number).into()),
        ),
        hooks: BTreeSet::new(),
        refusing: BTreeSet::new(),
        intervals: intervals::compile(&rules),
        single_tests: single_tests::compile(&rules),
        fields: rules.iter().map(fields_of).collect(),
        inodes: NO_RULES,
        tasks: NO_RULES,
        fs_types: Vec::new(),
        exclusions: Vec::new(),
        user: Vec::new(),
        all_calls: rules.iter().any(|planned| planned.all_calls),
        perms: [NO_RULES; 8],
        no_object: NO_RULES,
        success: NO_RULES,
        before: NO_RULES,
        never: NO_RULES,
        paths: BTreeMap::new(),
        trees: BTreeMap::new(),
        exes: BTreeMap::new(),
        no_exe: NO_RULES,
        rules: Vec::new(),
    };
    for (index, planned) in rules.iter().enumerate() {
        add_objects(&mut plan, index, &planned.rule);
        add_access(&mut plan, index, &planned.rule);
        if planned.matches_success {
            insert(&mut plan.success, index);
        }
        // A refusal is not for the task list to decide.
        if is_before(&planned.rule) && planned.marked.is_none() {
            insert(&mut plan.before, index);
        }
        if planned.rule.action == Action::Never {
            insert(&mut plan.never, index);
        }
        if planned.rule.list == FilterList::Task && planned.marked.is_none() && can_match_task(&planned.rule) {
            insert(&mut plan.tasks, index);
        }
    }
    plan.hooks = plan.calls().flat_map(|call| call.hooks.iter().copied()).collect();
    plan.hooks.extend((plan.tasks != NO_RULES).then_some(hooks::TASK_ALLOC));
    plan.rules = rules;
    // Unless anything else is said, a rule that refuses does so where it cannot be decided, and others do not.
    plan.failing(|planned| planned.refusal.is_some())
}

/// Tells of each call in which hooks a rule may refuse it.
pub(super) fn place_refusals(plan: &mut Plan) {
    let Plan { rules, syscalls: calls, operations, .. } = plan;
    for call in calls.values_mut().chain(operations.values_mut()) {
        (call.refusing, call.fails_closed) = (Vec::new(), false);
    }
    for planned in rules.iter().filter(|planned| planned.refusal.is_some() || planned.fails_closed) {
        for call in &planned.syscalls {
            refuse_in(planned, syscalls::name_of(*call), calls.get_mut(call));
        }
        for number in &planned.operations {
            refuse_in(planned, tables::io_uring_syscall((*number).into()), operations.get_mut(number));
        }
    }
    let refusing = plan.calls().flat_map(|call| call.refusing.iter().copied());
    // Those that record as well are placed once.
    plan.refusing = refusing.filter(|hook| !plan.hooks.contains(hook)).collect();
}

fn refuse_in(planned: &PlannedRule, name: Option<&'static str>, call: Option<&mut PlannedCall>) {
    let Some(call) = call else { return };
    let hooks = name.map(|name| refusal::hooks_of_call(&planned.rule, name)).unwrap_or_default();
    add_missing(&mut call.refusing, hooks);
    call.fails_closed |= planned.fails_closed;
}

/// A task that comes is in no call: what the kernel asks of one never holds (`audit_filter_task`).
fn can_match_task(rule: &Rule) -> bool {
    use Field::{A0, A1, A2, A3, ObjGid, ObjPid, ObjUid, SaddrFam};
    let of_call = |test: &Test| matches!(test.field(), Some(A0 | A1 | A2 | A3 | ObjUid | ObjGid | ObjPid | SaddrFam));
    rule.arch.is_none() && !rule.tests.iter().any(of_call)
}

/// What a rule tests, beyond its objects.
fn fields_of(planned: &PlannedRule) -> u32 {
    let ordered = intervals::tests(planned).fold(0, |fields, (field, _, _)| fields | 1 << field);
    let exe = planned.rule.tests.iter().any(|test| matches!(test, Test::Exe { .. }));
    let exe = if exe { field::EXE_BIT } else { 0 };
    let single = if single_tests::tests_subject(planned) { field::SUBJECT_BIT } else { 0 };
    ordered | exe | single
}

fn add_objects(plan: &mut Plan, index: usize, rule: &Rule) {
    let (mut tests_object, mut tests_exe) = (false, false);
    for test in &rule.tests {
        match test {
            Test::Path(path) => {
                insert(plan.paths.entry(path.clone()).or_insert(NO_RULES), index);
                tests_object = true;
            }
            Test::Dir(tree) => {
                insert(plan.trees.entry(tree.to_vec()).or_insert(NO_RULES), index);
                tests_object = true;
            }
            Test::Number { field: Field::Inode, .. } => {
                insert(&mut plan.inodes, index);
                tests_object = true;
            }
            Test::Exe { equal, path } => {
                let none = ExeTests { equal: NO_RULES, unequal: NO_RULES };
                let tests = plan.exes.entry(path.clone()).or_insert(none);
                insert(if *equal { &mut tests.equal } else { &mut tests.unequal }, index);
                tests_exe = true;
            }
            _ => {}
        }
    }
    if !tests_object {
        insert(&mut plan.no_object, index);
    }
    if !tests_exe {
        insert(&mut plan.no_exe, index);
    }
}

/// Which accesses of an open satisfy the rule's perm (`audit_match_perm` in the kernel).
fn add_access(plan: &mut Plan, index: usize, rule: &Rule) {
    for (access, row) in (0u8..).zip(&mut plan.perms) {
        let access = Perm::from_bits(access);
        let holds = rule.tests.iter().all(|test| match test {
            Test::Perm(perm) => perm.bits() & access.bits() != 0,
            _ => true,
        });
        if holds {
            insert(row, index);
        }
    }
}

/// What is done for each call that a rule names: `named_by` a rule, and called so, or as the call that does the same.
fn planned_calls<C: Copy + Ord>(
    rules: &[PlannedRule],
    named_by: impl Fn(&PlannedRule) -> &[C],
    name_of: impl Fn(&C) -> Option<&'static str>,
) -> BTreeMap<C, PlannedCall> {
    let mut calls: BTreeMap<C, PlannedCall> = BTreeMap::new();
    for (index, planned) in rules.iter().enumerate() {
        for call in named_by(planned) {
            let name = name_of(call);
            let objects = name.and_then(objects);
            let maps = name.is_some_and(|name| MAPS.contains(&name));
            let at_once = name.is_some_and(is_at_once);
            let none = || PlannedCall {
                rules: NO_RULES,
                hooks: Vec::new(),
                refusing: Vec::new(),
                fails_closed: false,
                objects,
                maps,
                at_once,
            };
            let entry = calls.entry(*call).or_insert_with(none);
            insert(&mut entry.rules, index);
            if refusal::tests_capability(&planned.rule) {
                add_missing(&mut entry.hooks, [CAPABLE]);
            }
            if refusal::tests_task(&planned.rule) {
                add_missing(&mut entry.hooks, name.and_then(hook_upon_task));
            }
            let Some(objects) = objects else { continue };
            for hook in objects.hooks.iter().chain(objects.parts) {
                if is_useful(hook, objects, &planned.rule, planned.matches_success) {
                    add_missing(&mut entry.hooks, [*hook]);
                }
            }
        }
    }
    calls
}

fn add_missing(hooks: &mut Vec<&'static str>, more: impl IntoIterator<Item = &'static str>) {
    for hook in more {
        if !hooks.contains(&hook) {
            hooks.push(hook);
        }
    }
}
