//! What follows from the tests of a rule by themselves: whether another rule matches all that it matches, and whether it can
//! match at all. Only what the kernel's semantics prove: a link or a mount may make two paths one file, so paths are compared
//! as text and for equality alone.

use tables::{Arch, Field, FilterList, Op, Perm, perm_class};

use crate::rule::{Rule, Syscalls, Test, success_holds};

/// Whether every event that matches `later` matches `earlier` too.
pub(crate) fn covers(earlier: &Rule, later: &Rule) -> bool {
    earlier.list == later.list
        && covers_arch(earlier.arch, later.arch)
        && earlier.tests.iter().all(|test| later.tests.iter().any(|given| implies(given, test)))
        && covers_syscalls(earlier, later)
}

/// Two tests of a rule of which never both hold, by position; the same position twice if one never does.
pub(crate) fn contradiction(tests: &[Test]) -> Option<(usize, usize)> {
    for (second, test) in tests.iter().enumerate() {
        let Test::Number { field, op, value } = *test else { continue };
        if never_holds(field, op, value) {
            return Some((second, second));
        }
        let earlier = tests.iter().take(second).position(|earlier| match *earlier {
            Test::Number { field: other, op: earlier_op, value: earlier_value } => {
                other == field && exclude_each_other(field, (earlier_op, earlier_value), (op, value))
            }
            _ => false,
        });
        if let Some(first) = earlier {
            return Some((first, second));
        }
    }
    None
}

fn exclude_each_other(field: Field, one: (Op, u32), other: (Op, u32)) -> bool {
    match field {
        Field::Success => {
            let both = |outcome| success_holds(one.0, one.1, outcome) && success_holds(other.0, other.1, outcome);
            !OUTCOMES.into_iter().any(both)
        }
        _ => is_scalar(field) && are_disjoint(one, other),
    }
}

/// Group tests ask the supplementary groups too, and those of objects ask each object of an event: two of them can hold by
/// different groups or objects.
const fn is_scalar(field: Field) -> bool {
    !matches!(
        field,
        Field::Gid
            | Field::Egid
            | Field::ObjUid
            | Field::ObjGid
            | Field::Devmajor
            | Field::Devminor
            | Field::Inode
            | Field::Filetype
    )
}

fn never_holds(field: Field, op: Op, value: u32) -> bool {
    if field == Field::Success {
        return OUTCOMES.into_iter().all(|outcome| !success_holds(op, value, outcome));
    }
    matches!((op, value), (Op::Less, 0) | (Op::Greater, u32::MAX) | (Op::BitMask, 0))
}

/// How a call may end: whether it succeeds.
const OUTCOMES: [bool; 2] = [true, false];

/// Values that satisfy an ordered test, both ends included; `None` for tests that are no interval.
const fn interval(op: Op, value: u32) -> Option<(u32, u32)> {
    match op {
        Op::Equal => Some((value, value)),
        Op::Less if value > 0 => Some((0, value - 1)),
        Op::LessOrEqual => Some((0, value)),
        Op::Greater if value < u32::MAX => Some((value + 1, u32::MAX)),
        Op::GreaterOrEqual => Some((value, u32::MAX)),
        _ => None,
    }
}

fn are_disjoint(one: (Op, u32), other: (Op, u32)) -> bool {
    match (interval(one.0, one.1), interval(other.0, other.1)) {
        (Some(one), Some(other)) => one.1 < other.0 || other.1 < one.0,
        (Some((low, high)), None) if low == high => !other.0.holds(low, other.1),
        (None, Some((low, high))) if low == high => !one.0.holds(low, one.1),
        _ => false,
    }
}

/// Whether `test` holds wherever `given` does.
fn implies(given: &Test, test: &Test) -> bool {
    match (given, test) {
        (Test::Number { field, op, value }, Test::Number { field: tested, op: needed, value: bound })
            if field == tested =>
        {
            let (given, needed) = ((*op, *value), (*needed, *bound));
            match field {
                Field::Gid | Field::Egid => given == needed,
                Field::Success => success_implies(given, needed),
                _ => given == needed || number_implies(given, needed),
            }
        }
        (Test::Perm(given), Test::Perm(tested)) => tested.contains(*given),
        // A slash at the end changes nothing.
        (Test::Dir(given), Test::Dir(tested)) => given[..] == tested[..],
        _ => given == test,
    }
}

fn success_implies(given: (Op, u32), needed: (Op, u32)) -> bool {
    let implied = |outcome| !success_holds(given.0, given.1, outcome) || success_holds(needed.0, needed.1, outcome);
    OUTCOMES.into_iter().all(implied)
}

fn number_implies((op, value): (Op, u32), (needed, bound): (Op, u32)) -> bool {
    let Some((low, high)) = interval(op, value) else {
        return match (op, needed) {
            (Op::BitTest, Op::BitTest) => value & bound == bound,
            (Op::BitTest, Op::BitMask) => value & bound != 0,
            (Op::BitMask, Op::BitMask) => value & !bound == 0,
            _ => false,
        };
    };
    match needed {
        Op::NotEqual => bound < low || high < bound,
        Op::BitMask | Op::BitTest => low == high && needed.holds(low, bound),
        _ => interval(needed, bound).is_some_and(|(lowest, highest)| lowest <= low && high <= highest),
    }
}

fn covers_arch(earlier: Option<(Arch, bool)>, later: Option<(Arch, bool)>) -> bool {
    match (earlier, later) {
        (None, _) => true,
        (Some((excluded, false)), Some((required, true))) => excluded != required,
        _ => earlier == later,
    }
}

fn covers_syscalls(earlier: &Rule, later: &Rule) -> bool {
    let Syscalls::Set(covered) = &earlier.syscalls else { return true };
    let is_covered = |number: &u16| covered.binary_search(number).is_ok();
    // A perm narrows what the rule's calls can be.
    let classes = classes(later);
    match (&later.syscalls, classes) {
        (Syscalls::Set(numbers), None) => numbers.iter().all(is_covered),
        (Syscalls::Set(numbers), Some(class)) => numbers.iter().filter(|number| class.contains(number)).all(is_covered),
        (Syscalls::All | Syscalls::OfPerm, Some(class)) => class.iter().all(is_covered),
        (Syscalls::All | Syscalls::OfPerm, None) => false,
    }
}

fn classes(rule: &Rule) -> Option<Vec<u16>> {
    let perm = rule.tests.iter().find_map(|test| if let Test::Perm(perm) = test { Some(*perm) } else { None })?;
    (rule.list == FilterList::Exit).then(|| numbers_of(perm, rule.arch))
}

fn numbers_of(perm: Perm, arch: Option<(Arch, bool)>) -> Vec<u16> {
    let archs = Arch::ALL.into_iter().filter(|one| arch.is_none_or(|(named, equal)| (named == *one) == equal));
    archs.flat_map(|arch| perm_class(perm, arch)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{NoHost, Source, parse};

    fn rule(options: &str) -> Rule {
        let text = format!("-a always,exit {options}");
        let parsed = parse(&[Source { name: None, text: text.clone().into() }], &NoHost);
        parsed.ruleset.rules().next().cloned().unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics))
    }

    #[test]
    fn what_follows_from_tests() {
        for (earlier, later) in [
            ("-F auid>=1000", "-F auid>=1000 -F auid!=unset"),
            ("-F auid>=1000", "-F auid=1001"),
            ("-F auid!=unset", "-F auid<5000"),
            ("-F exit!=0", "-F exit=-EPERM"),
            ("-F a1&3", "-F a1&=2"),
            ("-F a1&3", "-F a1=1"),
            ("-F perm=rwa -F path=/a", "-F path=/a -F perm=w"),
            ("-F dir=/srv", "-F dir=/srv/ -F uid=0"),
            ("-F arch!=b64 -S 5", "-F arch=b32 -S 5"),
            ("-F success!=0", "-F success=1"),
            ("-F success=2", "-F success=1"),
            ("-S 87,263,82", "-F arch=b64 -S unlink"),
            ("-F arch=b64 -S execve,execveat -F path=/a", "-F arch=b64 -F path=/a -F perm=x"),
            ("-F arch=b64 -S unlink", "-F arch=b64 -S unlink,chmod -F perm=w"),
        ] {
            assert!(covers(&rule(earlier), &rule(later)), "{earlier} covers {later}");
        }
    }

    #[test]
    fn what_does_not_follow() {
        for (earlier, later) in [
            ("-F auid>=1000", "-F auid>=999"),
            ("-F auid>=1000 -F uid=0", "-F auid>=1000"),
            ("-F gid>=100", "-F gid=200"),
            ("-F success!=1", "-F success=1"),
            ("-F path=/a -F perm=w", "-F path=/a -F perm=wa"),
            ("-F dir=/srv", "-F path=/srv/a"),
            ("-F arch=b64 -S 5", "-S 5"),
            ("-F arch=b64 -S execve -F path=/a", "-F arch=b64 -F path=/a -F perm=x"),
            ("-F a1&=3", "-F a1&=2"),
            ("-F exe!=/a", "-F exe=/b"),
        ] {
            assert!(!covers(&rule(earlier), &rule(later)), "{earlier} does not cover {later}");
        }
    }

    #[test]
    fn tests_that_exclude_each_other() {
        let at = |options: &str| contradiction(&rule(options).tests);
        assert_eq!(at("-F uid=0 -F auid>=1000 -F auid<500"), Some((1, 2)));
        assert_eq!(at("-F uid=0 -F uid!=0"), Some((0, 1)));
        assert_eq!(at("-F exit<0"), Some((0, 0)));
        assert_eq!(at("-F auid>=1000 -F auid!=unset"), None);
        assert_eq!(at("-F success>0"), Some((0, 0)));
        assert_eq!(at("-F success=0 -F success!=0"), Some((0, 1)));
        assert_eq!(at("-F success=2"), None);
        assert_eq!(at("-F gid=1 -F gid=2"), None);
        assert_eq!(at("-F obj_uid=1 -F obj_uid=2"), None);
    }

    const VALUES: [u32; 9] = [0, 1, 2, 3, 4, 7, 8, u32::MAX - 1, u32::MAX];

    fn number() -> impl Strategy<Value = (Op, u32)> {
        (prop::sample::select(Op::SEARCH_ORDER.to_vec()), prop::sample::select(VALUES.to_vec()))
    }

    proptest! {
        /// The oracle is the kernel's comparison at every value near an edge.
        #[test]
        fn what_is_proved_holds(given in number(), needed in number()) {
            for value in VALUES {
                if given.0.holds(value, given.1) {
                    if number_implies(given, needed) {
                        prop_assert!(needed.0.holds(value, needed.1), "{value}");
                    }
                    prop_assert!(!(are_disjoint(given, needed) && needed.0.holds(value, needed.1)), "{value}");
                }
            }
        }
    }
}
