//! Pacing: the guest's clock is held back to the wall clock, and never pushed.

use std::time::{Duration, Instant};

use emu_core::{ClockRate, Ticks};

/// When the guest falls behind by more than this, the lost time is forgotten instead of made up in a rush.
const MAX_LAG: Duration = Duration::from_millis(100);

/// Ties the guest's clock to the host's.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    rate: ClockRate,
    /// A moment of both clocks.
    origin: (Instant, Ticks),
}

impl Pacer {
    /// The guest's clock stands at `now` at the host's `instant`.
    #[must_use]
    pub fn new(rate: ClockRate, instant: Instant, now: Ticks) -> Pacer {
        Pacer { rate, origin: (instant, now) }
    }

    /// How far the guest may run by `instant`. A guest at `now` that lags far behind gets a new start from here.
    pub fn allowed(&mut self, instant: Instant, now: Ticks) -> Ticks {
        let passed = instant.saturating_duration_since(self.origin.0);
        let nanoseconds = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let target = self.origin.1.after(self.rate.ticks_in_ns(nanoseconds));
        let most = self.rate.ticks_in_ns(MAX_LAG.as_nanos() as u64);
        if target.since(now) > most {
            self.origin = (instant, now.after(most));
            return now.after(most);
        }
        target
    }

    /// How long after `instant` the guest may reach `tick`.
    #[must_use]
    pub fn until(&self, instant: Instant, tick: Ticks) -> Duration {
        let ahead = Duration::from_nanos(self.rate.ns_at(Ticks(tick.since(self.origin.1))));
        (self.origin.0 + ahead).saturating_duration_since(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_time_follows_host_time() {
        let start = Instant::now();
        let mut p = Pacer::new(ClockRate::DEFAULT, start, Ticks(500));
        let later = start + Duration::from_millis(10);
        assert_eq!(p.allowed(later, Ticks(500)), Ticks(1_000_500));
        assert_eq!(p.until(later, Ticks(2_000_500)), Duration::from_millis(10));
        assert_eq!(p.until(later, Ticks(0)), Duration::ZERO);
    }

    #[test]
    fn lost_time_is_not_made_up() {
        let start = Instant::now();
        let mut p = Pacer::new(ClockRate::DEFAULT, start, Ticks(0));
        let late = start + Duration::from_secs(60);
        assert_eq!(p.allowed(late, Ticks(7)), Ticks(10_000_007));
        let next = late + Duration::from_millis(1);
        assert_eq!(p.allowed(next, Ticks(10_000_007)), Ticks(10_100_007));
    }
}
