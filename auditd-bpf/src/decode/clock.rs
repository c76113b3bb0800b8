//! From the kernel side's monotonic time to the time of day.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How long a difference between the clocks is used, in ns: a step of the time of day shows after a second at most.
const REFRESH: u64 = 1_000_000_000;

/// Turns `CLOCK_MONOTONIC` into `CLOCK_REALTIME`, both in ns.
#[derive(Debug, Default)]
pub struct Clock {
    /// Time of day minus monotonic time.
    difference: u64,
    /// Monotonic time at which it was taken; `None` before the first time.
    taken: Option<u64>,
    tai_offset: Option<i64>,
}

impl Clock {
    /// Time of day, in ns since the epoch, at a monotonic time that is about now.
    pub fn wall(&mut self, monotonic: u64) -> u64 {
        if self.taken.is_none_or(|taken| monotonic.saturating_sub(taken) >= REFRESH) {
            self.refresh();
        }
        self.difference.saturating_add(monotonic)
    }

    /// How long ago a monotonic time was; nothing if it is yet to come.
    pub fn since(&self, monotonic: u64) -> Duration {
        Duration::from_nanos(read(ClockId::CLOCK_MONOTONIC).unwrap_or(0).saturating_sub(monotonic))
    }

    fn refresh(&mut self) {
        // The narrowest of three looks: the task may be interrupted between two clocks.
        let looks = std::iter::repeat_with(look).take(3).flatten();
        if let Some((_, difference, taken)) = looks.min_by_key(|(width, ..)| *width) {
            (self.difference, self.taken) = (difference, Some(taken));
        }
    }

    /// By how much `CLOCK_TAI` is ahead of the time of day, in ns: whole seconds, which change with leap seconds alone. Asked
    /// once.
    pub fn tai_offset(&mut self) -> i64 {
        *self.tai_offset.get_or_insert_with(|| look_at_tai().unwrap_or(0))
    }

    /// A clock that stands still, for tests.
    #[cfg(test)]
    pub(super) fn fixed(difference: u64) -> Self {
        Self { difference, taken: Some(u64::MAX), tai_offset: Some(0) }
    }
}

/// Width of the look, difference and monotonic time. Never `None` on Linux, where both clocks always exist.
fn look() -> Option<(u64, u64, u64)> {
    let before = read(ClockId::CLOCK_MONOTONIC)?;
    let wall = read(ClockId::CLOCK_REALTIME)?;
    let after = read(ClockId::CLOCK_MONOTONIC)?;
    let width = after.saturating_sub(before);
    Some((width, wall.saturating_sub(before + width / 2), after))
}

fn look_at_tai() -> Option<i64> {
    const SECOND: i64 = 1_000_000_000;
    let (wall, tai) = (read(ClockId::CLOCK_REALTIME)?, read(ClockId::CLOCK_TAI)?);
    let ahead = i64::try_from(tai).ok()?.checked_sub(i64::try_from(wall).ok()?)?;
    Some((ahead + SECOND / 2).div_euclid(SECOND) * SECOND)
}

fn read(clock: ClockId) -> Option<u64> {
    let time = clock_gettime(clock).ok()?;
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec()).ok()?, u64::try_from(time.tv_nsec()).ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn now_is_now_and_earlier_is_earlier() {
        let mut clock = Clock::default();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let monotonic = read(ClockId::CLOCK_MONOTONIC).unwrap();
        let wall = clock.wall(monotonic);
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        // The clocks are not read at the same instant: a thousandth of a second is beyond any doubt.
        assert!((before - 1_000_000..=after + 1_000_000).contains(&wall), "{before} {wall} {after}");
        assert_eq!(clock.wall(monotonic - 5_000_000_000), wall - 5_000_000_000);
    }

    #[test]
    fn the_clocks_are_compared_again_after_a_second() {
        let monotonic = read(ClockId::CLOCK_MONOTONIC).unwrap();
        let mut clock = Clock { taken: Some(monotonic), ..Clock::default() };
        assert_eq!(clock.wall(monotonic + REFRESH - 1), monotonic + REFRESH - 1);
        assert!(clock.wall(monotonic + REFRESH) > monotonic + REFRESH);
    }

    #[test]
    fn no_time_overflows() {
        let mut clock = Clock::default();
        assert_eq!(clock.wall(u64::MAX), u64::MAX);
        clock.wall(0);
    }
}
