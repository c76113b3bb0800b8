//! All cases, one file per family.

mod acts;
mod change;
mod exec;
mod field;
mod list;
mod path;
mod ring;
mod socket;
mod suite;
mod task;
mod tree;
mod watch;

use super::case::Case;

pub use list::CASES as LISTS;
pub use suite::CASES as SUITES;

/// Cases with rules of their own keys, which stand in no other case's way.
pub fn separate() -> impl Iterator<Item = &'static Case> {
    let families = [
        watch::CASES,
        tree::CASES,
        change::CASES,
        path::CASES,
        exec::CASES,
        socket::CASES,
        task::CASES,
        field::CASES,
        ring::CASES,
    ];
    families.into_iter().flatten()
}

#[cfg(test)]
mod test {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_keys() {
        let all = || separate().chain(LISTS).chain(SUITES);
        let names: BTreeSet<_> = all().map(|case| case.name).collect();
        assert_eq!(names.len(), all().count(), "two cases have one name");
        assert!(names.iter().all(|name| name.len() < 32 && name.bytes().all(|byte| byte.is_ascii_graphic())));
    }
}
