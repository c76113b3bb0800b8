//! How often things occur.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::Write;

use crate::escape::Printable;

/// Counts of texts, or of numbers with a text. Texts that occur as often as each other stay in the order in which they came,
/// numbers ascend.
#[derive(Default)]
pub(super) struct Tally {
    counts: HashMap<Vec<u8>, (u64, usize)>,
}

impl Tally {
    pub(super) fn add(&mut self, text: &[u8]) {
        let order = self.counts.len();
        self.insert(text, order);
    }

    pub(super) fn add_number(&mut self, number: u32, text: &str) {
        self.insert(text.as_bytes(), number as usize);
    }

    fn insert(&mut self, text: &[u8], order: usize) {
        match self.counts.get_mut(text) {
            Some((count, _)) => *count += 1,
            None => {
                self.counts.insert(text.to_vec(), (1, order));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// The most frequent ones first.
    pub(super) fn sorted(&self) -> Vec<(&[u8], u64)> {
        let mut rows: Vec<_> = self.counts.iter().map(|(text, (count, order))| (&**text, *count, *order)).collect();
        rows.sort_by_key(|(_, count, order)| (Reverse(*count), *order));
        rows.into_iter().map(|(text, count, _)| (text, count)).collect()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (text, count) in self.sorted() {
            // A `Vec` takes whatever is written.
            let _ = writeln!(out, "{count}  {}", Printable(text));
        }
    }
}
