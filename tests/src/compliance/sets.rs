//! Which cases share a rule set. What of an event is a case's own differs: in a set of its own a rule may be about all keys.

use output::event::SyscallEvent;

use super::case::Case;
use super::cases;
use super::compare::call_name;
use crate::place::Place;

/// Cases whose rules are loaded together.
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Its cases.
    pub cases: Vec<&'static Case>,
    /// Whether an event is that of the case at this place.
    pub has: fn(&SyscallEvent, &Place) -> bool,
}

/// Every set.
pub fn all() -> Vec<Set> {
    let separate = Set { name: "cases", cases: cases::separate().collect(), has: by_key };
    let lists = Set { name: "lists", cases: cases::LISTS.iter().collect(), has: by_login };
    let suites = cases::SUITES.iter().map(|case| Set { name: case.name, cases: vec![case], has: by_login });
    [separate, lists].into_iter().chain(suites).collect()
}

/// Rules have the name of their case as key.
fn by_key(event: &SyscallEvent, place: &Place) -> bool {
    event.rule.keys.iter().any(|key| key == place.name.as_bytes())
}

/// Acts have the login uid of their case. Left out is the write by which they got it: the kernel records that without a rule, as
/// the call of a `LOGIN` record, which auditd-bpf gets by `user_messages`.
fn by_login(event: &SyscallEvent, place: &Place) -> bool {
    let is_login = event.rule.keys.is_empty() && call_name(event) == "write";
    event.ids.auid == place.auid && !is_login
}
