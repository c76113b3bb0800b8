//! Events by key and verdict.

use std::collections::HashMap;

use output::escape::escape;
use output::event::{SyscallEvent, Verdict};

use crate::status::{Counts, KeyCounts as Told, counts};

/// Keys that are told apart; more than people watch, and not more than a scrape should carry.
const KEYS: usize = 256;

type ByVerdict = [u64; Verdict::ALL.len()];

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct KeyCounts {
    keys: HashMap<Vec<u8>, ByVerdict>,
    others: ByVerdict,
}

impl KeyCounts {
    /// Counts an event for each key of its rule.
    pub fn count(&mut self, call: &SyscallEvent) {
        for key in call.rule.keys.iter() {
            self.row(key)[call.verdict as usize] += 1;
        }
    }

    fn row(&mut self, key: &[u8]) -> &mut ByVerdict {
        if !self.keys.contains_key(key) {
            if self.keys.len() >= KEYS {
                return &mut self.others;
            }
            self.keys.insert(key.to_vec(), ByVerdict::default());
        }
        self.keys.get_mut(key).unwrap_or(&mut self.others)
    }

    /// By key, as text, and those of all keys beyond the first 256.
    #[must_use]
    pub fn told(&self) -> (Told, Counts) {
        let keys = self.keys.iter().map(|(key, row)| (escape(key).into_owned(), by_verdict(row)));
        (keys.collect(), by_verdict(&self.others))
    }
}

fn by_verdict(row: &ByVerdict) -> Counts {
    counts(
        Verdict::ALL
            .map(|verdict| (verdict.name(), row[verdict as usize]))
            .into_iter()
            .filter(|(_, count)| *count != 0),
    )
}

#[cfg(test)]
mod tests {
    use output::event::RuleRef;

    use super::*;

    fn event(keys: &[&str], verdict: Verdict) -> SyscallEvent {
        let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>();
        let rule = RuleRef { keys: keys.into(), ..RuleRef::default() };
        SyscallEvent { rule, verdict, ..SyscallEvent::default() }
    }

    #[test]
    fn each_key_of_an_event_counts_by_its_verdict() {
        let mut counted = KeyCounts::default();
        counted.count(&event(&["a", "b"], Verdict::Allow));
        counted.count(&event(&["a"], Verdict::Deny));
        counted.count(&event(&[], Verdict::Allow));
        let (keys, others) = counted.told();
        assert_eq!(keys["a"], counts([("allow", 1), ("deny", 1)]));
        assert_eq!((keys["b"].clone(), keys.len(), others), (counts([("allow", 1)]), 2, Counts::new()));
    }

    #[test]
    fn keys_are_bounded_and_the_rest_counts_as_one() {
        let mut counted = KeyCounts::default();
        for round in 0..2 {
            for number in 0..300 {
                counted.count(&event(&[&format!("k{number}")], Verdict::Allow));
            }
            let (keys, others) = counted.told();
            assert_eq!((keys.len(), others["allow"]), (256, 44 * (round + 1)));
            assert_eq!(keys["k0"]["allow"], round + 1);
        }
    }
}
