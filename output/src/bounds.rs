//! Bounds of times by which things are counted: those that took as long at most, and longer than the bound before.

use std::time::Duration;

/// Names of bounds and the bounds, in ascending order. The last is [`Duration::MAX`], so that each time has one.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<const N: usize>(pub [(&'static str, Duration); N]);

impl<const N: usize> Bounds<N> {
    /// The position of a time's bound.
    #[must_use]
    pub fn position(&self, took: Duration) -> usize {
        self.0.iter().position(|(_, bound)| took <= *bound).unwrap_or(N - 1)
    }

    /// Counts, by position, with the names of their bounds.
    #[must_use]
    pub fn named(&self, counts: [u64; N]) -> [(&'static str, u64); N] {
        std::array::from_fn(|index| (self.0[index].0, counts[index]))
    }

    /// The bounds in seconds.
    #[must_use]
    pub fn in_seconds(&self) -> [(&'static str, f64); N] {
        let seconds = |bound: Duration| if bound == Duration::MAX { f64::INFINITY } else { bound.as_secs_f64() };
        self.0.map(|(name, bound)| (name, seconds(bound)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_one_bound() {
        let bounds =
            Bounds([("1ms", Duration::from_millis(1)), ("1s", Duration::from_secs(1)), ("longer", Duration::MAX)]);
        let positions =
            [0, 1000, 1001, 1_000_000, u64::MAX].map(|micros| bounds.position(Duration::from_micros(micros)));
        assert_eq!(positions, [0, 0, 1, 1, 2]);
        assert_eq!(bounds.named([1, 2, 3]), [("1ms", 1), ("1s", 2), ("longer", 3)]);
        assert_eq!(bounds.in_seconds(), [("1ms", 0.001), ("1s", 1.0), ("longer", f64::INFINITY)]);
    }
}
