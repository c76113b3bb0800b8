//! Events over time, in bins of one width that doubles when they become too many.

use std::collections::BTreeMap;

use super::Outcome;

const SECOND: u64 = 1_000_000_000;
/// Bins that are kept: many more than are drawn, so that what is drawn can be cut anew.
const MOST: usize = 8192;

/// See the module's documentation.
pub(super) struct Timeline {
    width: u64,
    bins: BTreeMap<u64, [u64; 3]>,
    range: Option<(u64, u64)>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: SECOND, bins: BTreeMap::new(), range: None }
    }
}

impl Timeline {
    pub(super) fn add(&mut self, time: u64, outcome: Outcome) {
        self.range = Some(self.range.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        self.bins.entry(time / self.width).or_default()[outcome as usize] += 1;
        while self.bins.len() > MOST {
            self.width *= 2;
            let mut wider = BTreeMap::new();
            for (bin, counts) in std::mem::take(&mut self.bins) {
                add(wider.entry(bin / 2).or_default(), counts);
            }
            self.bins = wider;
        }
    }

    /// Times of the first and the last event.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// At most so many columns over the whole range, and how long each is.
    pub(super) fn columns(&self, most: u64) -> (Vec<[u64; 3]>, u64) {
        let (Some((first, _)), Some((last, _))) = (self.bins.first_key_value(), self.bins.last_key_value()) else {
            return (Vec::new(), self.width);
        };
        let per_column = (last - first + 1).div_ceil(most);
        let mut columns = vec![[0; 3]; usize::try_from((last - first) / per_column + 1).unwrap_or_default()];
        for (bin, counts) in &self.bins {
            let column = usize::try_from((bin - first) / per_column).ok().and_then(|at| columns.get_mut(at));
            column.into_iter().for_each(|column| add(column, *counts));
        }
        (columns, per_column * self.width)
    }
}

fn add(to: &mut [u64; 3], counts: [u64; 3]) {
    to.iter_mut().zip(counts).for_each(|(to, count)| *to += count);
}
