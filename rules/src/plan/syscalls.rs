//! The calls that a rule names.

use std::collections::BTreeSet;

use tables::{AccessTest, Arch, Objects, Perm, access_test, all_objects, objects, perm_class, syscalls};

use crate::{Rule, Syscalls, Test};

/// What a call acts on.
pub(super) fn objects_of((arch, number): (Arch, u16)) -> Option<&'static Objects> {
    syscalls::name(arch, number).and_then(objects)
}

/// Every call, of every ABI, that can satisfy the rule by its number: named with `-S`, in the class of its perm, and where
/// the rule tests a path, acting on files. Empty for a rule that any call at all could match.
pub(super) fn named_by(rule: &Rule) -> Vec<(Arch, u16)> {
    [Arch::B64, Arch::B32]
        .into_iter()
        .filter(|arch| has_arch(rule, *arch))
        .flat_map(|arch| of_arch(rule, arch))
        .collect()
}

fn has_arch(rule: &Rule, arch: Arch) -> bool {
    rule.arch.is_none_or(|(tested, equal)| (tested == arch) == equal)
}

fn of_arch(rule: &Rule, arch: Arch) -> Vec<(Arch, u16)> {
    let perm = rule.tests.iter().find_map(|test| match test {
        Test::Perm(perm) => Some(*perm),
        _ => None,
    });
    let tests_files = rule.tests.iter().any(|test| matches!(test, Test::Path(_) | Test::Dir(_)));
    let class = perm.map(|perm| class_of(perm, arch));
    let numbers: BTreeSet<u16> = match (&rule.syscalls, class) {
        (Syscalls::Set(numbers), None) => numbers.iter().copied().collect(),
        (Syscalls::Set(numbers), Some(class)) => numbers.iter().copied().filter(|n| class.contains(n)).collect(),
        (Syscalls::All | Syscalls::OfPerm, Some(class)) => class,
        (Syscalls::All | Syscalls::OfPerm, None) if tests_files => file_calls(arch),
        (Syscalls::All | Syscalls::OfPerm, None) => BTreeSet::new(),
    };
    numbers.into_iter().map(|number| (arch, number)).collect()
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
