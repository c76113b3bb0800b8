//! From the number that the kernel tables give a rule back to the rule.

use std::collections::VecDeque;

use output::event::RuleRef;

/// Generations that are remembered. The kernel side uses two at a time; events of older ones may wait in the ring buffer
/// while rule files are being reloaded.
pub const GENERATIONS: usize = 16;

/// The rules of the last generations, each in match order.
#[derive(Debug, Default)]
pub struct RuleBook {
    generations: VecDeque<(u32, Vec<RuleRef>)>,
    unknown: u64,
}

impl RuleBook {
    /// Adds a generation, before the kernel tables go over to it.
    pub fn insert(&mut self, generation: u32, rules: Vec<RuleRef>) {
        self.generations.retain(|(known, _)| *known != generation);
        self.generations.push_front((generation, rules));
        self.generations.truncate(GENERATIONS);
    }

    /// The deciding rule of an event: the one at position `rule`, from 0, of its generation. One that is not known any more
    /// is counted, and the text says so.
    pub fn get(&mut self, generation: u32, rule: u32) -> RuleRef {
        let rules = self.generations.iter().find(|(known, _)| *known == generation).map(|(_, rules)| rules);
        let position = usize::try_from(rule).ok();
        if let Some(rule) = rules.zip(position).and_then(|(rules, position)| rules.get(position)) {
            return rule.clone();
        }
        self.unknown += 1;
        RuleRef {
            number: rule.saturating_add(1),
            text: format!("(rule {} of generation {generation}, not known any more)", u64::from(rule) + 1).into(),
            keys: [].into(),
            action: "always".into(),
        }
    }

    /// All that is remembered, latest first.
    pub fn generations(&self) -> impl Iterator<Item = (u32, &[RuleRef])> {
        self.generations.iter().map(|(generation, rules)| (*generation, rules.as_slice()))
    }

    /// Events whose rule was not known.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(number: u32, text: &str) -> RuleRef {
        RuleRef { number, text: text.into(), keys: [b"k".to_vec()].into(), action: "always".into() }
    }

    #[test]
    fn events_of_an_older_generation_find_their_own_rule() {
        let mut book = RuleBook::default();
        book.insert(1, vec![rule(1, "-w /a"), rule(2, "-w /b")]);
        book.insert(2, vec![rule(1, "-w /b")]);
        assert_eq!(&*book.get(1, 1).text, "-w /b");
        assert_eq!(&*book.get(1, 0).text, "-w /a");
        assert_eq!(&*book.get(2, 0).text, "-w /b");
        assert_eq!(book.unknown(), 0);
    }

    #[test]
    fn an_unknown_rule_is_counted_and_named() {
        let mut book = RuleBook::default();
        for generation in 1..=GENERATIONS as u32 + 1 {
            book.insert(generation, vec![rule(1, "-w /a")]);
        }
        let forgotten = book.get(1, 0);
        assert_eq!(&*forgotten.text, "(rule 1 of generation 1, not known any more)");
        assert_eq!(forgotten.number, 1);
        assert_eq!(book.get(2, 0).text, "-w /a".into());
        book.get(3, u32::MAX);
        assert_eq!(book.unknown(), 2);
    }
}
