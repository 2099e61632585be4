//! The one clock: [`Ticks`], and the exact rational that turns it into seconds and device cycles.
//!
//! A tick is one retired instruction, one iteration of a REP string instruction, or the delivery of one interrupt or
//! exception (so that a guest which only faults still moves time on). A halted CPU jumps to the next event. Nothing else
//! measures time below emu-machine.

use core::ops::{Add, Sub};

/// A point on the machine's clock, counted from power-on; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// The end of time: later than every deadline.
    pub const NEVER: Ticks = Ticks(u64::MAX);

    /// `self + n`, stopping at [`Ticks::NEVER`].
    #[must_use]
    pub const fn after(self, n: u64) -> Ticks {
        Ticks(self.0.saturating_add(n))
    }

    /// Ticks from `earlier` to `self`; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Ticks) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Ticks {
    type Output = Ticks;
    fn add(self, n: u64) -> Ticks {
        self.after(n)
    }
}

impl Sub<Ticks> for Ticks {
    type Output = u64;
    fn sub(self, earlier: Ticks) -> u64 {
        self.since(earlier)
    }
}

/// How many ticks make one second of guest time. Part of a machine's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRate {
    ticks_per_second: u64,
}

impl ClockRate {
    /// 100 MHz: a fast Pentium, and slow enough that any host keeps up in real time.
    pub const DEFAULT: ClockRate = ClockRate { ticks_per_second: 100_000_000 };

    /// A rate of `ticks_per_second`, from 1 kHz to 100 GHz; outside of that, `None`.
    #[must_use]
    pub const fn new(ticks_per_second: u64) -> Option<ClockRate> {
        if ticks_per_second < 1_000 || ticks_per_second > 100_000_000_000 {
            return None;
        }
        Some(ClockRate { ticks_per_second })
    }

    /// Ticks in one second.
    #[must_use]
    pub const fn hz(self) -> u64 {
        self.ticks_per_second
    }

    /// Whole cycles that a clock of `hz` has completed at `t` (floor of `t · hz / rate`).
    #[must_use]
    pub const fn cycles_at(self, t: Ticks, hz: u64) -> u64 {
        (t.0 as u128 * hz as u128 / self.ticks_per_second as u128) as u64
    }

    /// The first tick at which a clock of `hz` has completed `cycles` cycles; the inverse of [`Self::cycles_at`].
    #[must_use]
    pub const fn tick_of_cycle(self, cycles: u64, hz: u64) -> Ticks {
        if hz == 0 {
            return Ticks::NEVER;
        }
        let n = (cycles as u128 * self.ticks_per_second as u128).div_ceil(hz as u128);
        if n > u64::MAX as u128 { Ticks::NEVER } else { Ticks(n as u64) }
    }

    /// Ticks that `ns` nanoseconds take, rounded up.
    #[must_use]
    pub const fn ticks_in_ns(self, ns: u64) -> u64 {
        self.tick_of_cycle(ns, 1_000_000_000).0
    }

    /// Ticks that `us` microseconds take, rounded up.
    #[must_use]
    pub const fn ticks_in_us(self, us: u64) -> u64 {
        self.tick_of_cycle(us, 1_000_000).0
    }

    /// Nanoseconds of guest time at `t`, rounded down.
    #[must_use]
    pub const fn ns_at(self, t: Ticks) -> u64 {
        self.cycles_at(t, 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tick_of_cycle_is_the_first_tick_that_shows_it(
            cycles in 1u64..1 << 40, hz in 1u64..4_000_000_000, rate in 1_000u64..10_000_000_000,
        ) {
            let rate = ClockRate::new(rate).unwrap();
            let t = rate.tick_of_cycle(cycles, hz);
            prop_assume!(t != Ticks::NEVER);
            prop_assert!(rate.cycles_at(t, hz) >= cycles);
            prop_assert!(rate.cycles_at(Ticks(t.0 - 1), hz) < cycles);
        }
    }
}
