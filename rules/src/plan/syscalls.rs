//! The calls that a rule names.

use std::collections::BTreeSet;

use auditd_bpf_common::limits::MAX_SYSCALLS;
use tables::{
    AccessTest, Arch, Field, FilterList, Objects, Op, Perm, access_test, all_objects, objects, perm_class, syscalls,
};

use crate::{Rule, Syscalls, Test};

/// A call's name.
pub(super) fn name_of((arch, number): (Arch, u16)) -> Option<&'static str> {
    syscalls::name(arch, number)
}

/// What a call acts on.
pub(super) fn objects_of(call: (Arch, u16)) -> Option<&'static Objects> {
    name_of(call).and_then(objects)
}

/// What a rule that refuses an access to files names besides the calls of its perm: those by which the same is had, of code
/// without an exec and of content without a name.
pub(super) fn other_ways_of(rule: &Rule, calls: &[(Arch, u16)]) -> Vec<(Arch, u16)> {
    let perm = |perm: Perm| rule.tests.iter().any(|test| matches!(test, Test::Perm(tested) if tested.contains(perm)));
    if !tests_files(rule) {
        return Vec::new();
    }
    let executes = perm(Perm::EXEC).then_some((&["execve", "execveat"][..], tables::MAPS));
    let opens = (perm(Perm::READ) || perm(Perm::WRITE))
        .then_some((&["open", "openat", "openat2"][..], &[tables::BY_HANDLE][..]));
    let ways = executes.into_iter().chain(opens);
    let of_arch = |arch: Arch| {
        let number = move |name: &&str| Some((arch, syscalls::number(arch, name)?));
        let ways =
            ways.clone().filter(move |(named, _)| named.iter().filter_map(number).any(|call| calls.contains(&call)));
        ways.flat_map(move |(_, others)| others.iter().filter_map(number))
    };
    [Arch::B64, Arch::B32].into_iter().flat_map(of_arch).filter(|call| !calls.contains(call)).collect()
}

/// What an operation of io_uring acts on: what the call that does the same does.
pub(super) fn objects_of_operation(number: u16) -> Option<&'static Objects> {
    tables::io_uring_syscall(number.into()).and_then(objects)
}

/// The operations of io_uring that a rule names. A watch is about its file, however that is reached: it names those that do
/// what its calls do, of which the kernel's own audit sees nothing.
pub(super) fn operations_of(rule: &Rule, calls: &[(Arch, u16)]) -> Vec<u16> {
    match (rule.list, &rule.syscalls) {
        (FilterList::IoUring, Syscalls::Set(numbers)) => numbers.to_vec(),
        (FilterList::IoUring, Syscalls::All | Syscalls::OfPerm) => tables::AUDITED_OPS.to_vec(),
        // Nor does a rule that refuses an act refuse it by one way alone.
        (FilterList::Exit, _) if rule.action.refuses() => operations_like(calls, &tables::io_uring_ops()),
        (FilterList::Exit, Syscalls::All | Syscalls::OfPerm) if tests_files(rule) => {
            let mut operations = operations_like(calls, tables::AUDITED_OPS);
            operations.retain(|op| objects_of_operation(*op).is_some_and(|objects| objects.files));
            operations
        }
        _ => Vec::new(),
    }
}

/// Of some operations of io_uring, those that do what some calls do.
fn operations_like(calls: &[(Arch, u16)], operations: &[u16]) -> Vec<u16> {
    let call = |op| syscalls::number(Arch::B64, tables::io_uring_syscall(op)?);
    let is_named = |op: &u16| call(u32::from(*op)).is_some_and(|number| calls.contains(&(Arch::B64, number)));
    operations.iter().copied().filter(is_named).collect()
}

/// Every call, of every ABI, that can satisfy the rule by its number: named with `-S`, in the class of its perm, and where
/// the rule tests objects, acting on files.
pub(super) fn named_by(rule: &Rule) -> Vec<(Arch, u16)> {
    [Arch::B64, Arch::B32]
        .into_iter()
        .filter(|arch| has_arch(rule, *arch))
        .flat_map(|arch| of_arch(rule, arch))
        .collect()
}

/// Whether any call at all can satisfy the rule by its number.
pub(super) fn names_all(rule: &Rule) -> bool {
    let is_open = matches!(rule.syscalls, Syscalls::All | Syscalls::OfPerm);
    is_open && !tests_files(rule) && !rule.tests.iter().any(|test| matches!(test, Test::Perm(_)))
}

/// Whether the rule can match only calls that act on files.
pub(super) fn tests_files(rule: &Rule) -> bool {
    rule.tests.iter().any(|test| match test {
        Test::Path(_) | Test::Dir(_) => true,
        // Of calls without files no type is met: a rule on one that must be missing matches them.
        Test::Number { field: Field::Filetype, op, .. } => *op == Op::Equal,
        Test::Number { field, .. } => is_of_file(*field),
        Test::Compare { pair, .. } => is_of_file(pair.left()) || is_of_file(pair.right()),
        _ => false,
    })
}

const fn is_of_file(field: Field) -> bool {
    use Field::{Devmajor, Devminor, Filetype, Inode, ObjGid, ObjUid};
    matches!(field, Devmajor | Devminor | Inode | Filetype | ObjUid | ObjGid)
}

fn has_arch(rule: &Rule, arch: Arch) -> bool {
    rule.arch.is_none_or(|(tested, equal)| (tested == arch) == equal)
}

fn of_arch(rule: &Rule, arch: Arch) -> Vec<(Arch, u16)> {
    let classes = rule.tests.iter().filter_map(|test| match test {
        Test::Perm(perm) => Some(class_of(*perm, arch)),
        _ => None,
    });
    let class = classes.reduce(|one, other| &one & &other);
    let numbers: BTreeSet<u16> = match (&rule.syscalls, class) {
        (Syscalls::Set(numbers), None) => numbers.iter().copied().collect(),
        (Syscalls::Set(numbers), Some(class)) => numbers.iter().copied().filter(|n| class.contains(n)).collect(),
        (Syscalls::All | Syscalls::OfPerm, Some(class)) => class,
        (Syscalls::All | Syscalls::OfPerm, None) if tests_files(rule) => file_calls(arch),
        (Syscalls::All | Syscalls::OfPerm, None) => (0..MAX_SYSCALLS as u16).collect(),
    };
    let tests_result = rule.tests.iter().filter_map(Test::field).any(is_of_result);
    let numbers = numbers.into_iter().filter(|number| !(tests_result && never_returns(arch, *number)));
    numbers.map(|number| (arch, number)).collect()
}

/// Whether a call has it only where it returns, or in its course.
const fn is_of_result(field: Field) -> bool {
    use Field::{Cap, Daddr, Dport, Exit, ObjPid, SaddrFam, Success};
    matches!(field, Exit | Success | SaddrFam | ObjPid | Daddr | Dport | Cap)
}

/// Whether a call has no result: no test of one holds for it.
#[must_use]
pub fn never_returns(arch: Arch, number: u16) -> bool {
    matches!(syscalls::name(arch, number), Some("exit" | "exit_group"))
}

/// The perm's class without `socketcall`, which is in it by its arguments: the bind that it wraps acts on no file.
fn class_of(perm: Perm, arch: Arch) -> BTreeSet<u16> {
    let mut class: BTreeSet<u16> = perm_class(perm, arch).into_iter().collect();
    class.retain(|number| access_test(arch, *number) != AccessTest::Socketcall);
    class
}

fn file_calls(arch: Arch) -> BTreeSet<u16> {
    let names = all_objects().iter().filter(|row| row.files).flat_map(|row| row.names);
    names.filter_map(|name| syscalls::number(arch, name)).collect()
}
