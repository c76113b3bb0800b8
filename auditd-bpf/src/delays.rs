//! How long events waited between the end of their act and the daemon.

use std::time::Duration;

use output::bounds::Bounds;

const COUNT: usize = 7;
const BOUNDS: Bounds<COUNT> = Bounds([
    ("1ms", Duration::from_millis(1)),
    ("5ms", Duration::from_millis(5)),
    ("20ms", Duration::from_millis(20)),
    ("50ms", Duration::from_millis(50)),
    ("200ms", Duration::from_millis(200)),
    ("1s", Duration::from_secs(1)),
    ("longer", Duration::MAX),
]);

/// Events by how long they waited: up to the bound, and longer than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    events: [u64; COUNT],
    micros: u64,
}

impl Delays {
    /// Counts an event.
    pub fn count(&mut self, waited: Duration) {
        self.events[BOUNDS.position(waited)] += 1;
        self.micros = self.micros.saturating_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
    }

    /// Events by the name of their bound.
    #[must_use]
    pub fn by_bound(&self) -> [(&'static str, u64); COUNT] {
        BOUNDS.named(self.events)
    }

    /// How long they waited together, in microseconds.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.micros
    }

    /// The bounds in seconds.
    #[must_use]
    pub fn bounds() -> [(&'static str, f64); COUNT] {
        BOUNDS.in_seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_below_its_bound() {
        let mut delays = Delays::default();
        for millis in [0, 1, 2, 50, 51, 5000] {
            delays.count(Duration::from_millis(millis));
        }
        let expected = [("1ms", 2), ("5ms", 1), ("20ms", 0), ("50ms", 1), ("200ms", 1), ("1s", 0), ("longer", 1)];
        assert_eq!(delays.by_bound(), expected);
        assert_eq!(delays.micros(), 5_104_000);
        assert_eq!(Delays::bounds().map(|(name, _)| name), expected.map(|(name, _)| name));
    }
}
