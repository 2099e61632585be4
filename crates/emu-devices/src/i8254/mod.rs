//! The programmable interval timer 8254 of a PC, clocked with 14.31818 MHz / 12.
//!
//! Datasheet: Intel 8254 (231164-005), "[8254 p.N]". One region of 4 ports (40h). Input pins 0 to 2 are the gates: those
//! of counters 0 and 1 are tied high, unless a wire leads there. Output wires: OUT of counters 0 (IRQ0) and 2 (speaker).
//! Counter 1 (refresh) has no wire, as refresh itself can't be seen; port 61h derives its toggle bit from the clock.
//! Counting is lazy: events exist only where a wired OUT changes.
//! Left out: an 8253 has no read-back command; boards that had one can't be told apart otherwise.

mod counter;
#[cfg(test)]
mod tests;

use counter::Counter;
use emu_core::bus::{InputPins, PortDevice};
use emu_core::{ClockRate, DevCx, Device, State, StateError, StateReader, StateWriter, Ticks, Wire};

/// The timer's clock is exactly 105/88 MHz: a twelfth of 315/22 MHz.
const CLOCK: (u128, u128) = (105_000_000, 88);

/// CLK pulses of the timer that have passed at `t`.
#[must_use]
pub fn clocks_at(rate: ClockRate, t: Ticks) -> u64 {
    (u128::from(t.0) * CLOCK.0 / (CLOCK.1 * u128::from(rate.hz()))) as u64
}

/// The first tick at which `clocks` CLK pulses have passed.
#[must_use]
pub fn tick_of_clock(rate: ClockRate, clocks: u64) -> Ticks {
    let t = (u128::from(clocks) * CLOCK.1 * u128::from(rate.hz())).div_ceil(CLOCK.0);
    u64::try_from(t).map_or(Ticks::NEVER, Ticks)
}

/// A frequency in mHz of one CLK pulse in `clocks`.
#[must_use]
pub fn millihertz(clocks: u64) -> u32 {
    let f = CLOCK.0 * 1000 / (CLOCK.1 * u128::from(clocks.max(1)));
    u32::try_from(f).unwrap_or(u32::MAX)
}

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct PitWires {
    /// OUT of counter 0.
    pub out0: Wire,
    /// OUT of counter 2.
    pub out2: Wire,
}

/// The interval timer.
#[derive(Debug)]
pub struct I8254 {
    // Wiring
    wires: [Wire; 3],
    // State
    counters: [Counter; 3],
    /// CLK pulses up to which the counters are counted.
    clocks: u64,
}

impl I8254 {
    /// A timer in its power-on state.
    #[must_use]
    pub fn new(wires: PitWires) -> I8254 {
        I8254 {
            wires: [wires.out0, Wire::NONE, wires.out2],
            counters: [Counter::new(true), Counter::new(true), Counter::new(false)],
            clocks: 0,
        }
    }

    /// OUT of counter `n` (0 to 2) at the last access or event.
    #[must_use]
    pub fn out(&self, n: usize) -> bool {
        self.counters.get(n).is_some_and(|c| c.out)
    }

    /// The frequency in mHz at which counter `n` runs in modes 2 and 3; 0 if it does not.
    #[must_use]
    pub fn frequency(&self, n: usize) -> u32 {
        self.counters.get(n).and_then(Counter::period).map_or(0, |p| millihertz(p.into()))
    }

    /// Counts up to the present.
    fn sync(&mut self, cx: &DevCx<'_>) {
        let present = clocks_at(cx.rate, cx.now);
        let n = present.saturating_sub(self.clocks);
        self.counters.iter_mut().for_each(|c| c.advance(n));
        self.clocks = present;
    }

    /// Drives OUT of counter `n`, and asks for the event of its next change.
    fn settle(&self, cx: &mut DevCx<'_>, n: usize) {
        let (wire, counter) = (self.wires[n], &self.counters[n]);
        if wire == Wire::NONE {
            return;
        }
        cx.set_wire(wire, counter.out);
        match counter.pulses_to_out_change() {
            Some(d) => cx.schedule(n as u32, tick_of_clock(cx.rate, self.clocks.saturating_add(d))),
            None => cx.cancel(n as u32),
        }
    }

    /// A write to the control port [8254 p.5].
    fn control(&mut self, cx: &mut DevCx<'_>, value: u8) {
        let n = usize::from(value >> 6);
        if n == 3 {
            // Read-back: bits that are 0 latch.
            for (_, c) in self.counters.iter_mut().enumerate().filter(|(i, _)| value & (2 << i) != 0) {
                if value & 0x20 == 0 {
                    c.latch_count();
                }
                if value & 0x10 == 0 {
                    c.latch_status();
                }
            }
        } else if value & 0x30 == 0 {
            self.counters[n].latch_count();
        } else {
            self.counters[n].write_control(value);
            self.settle(cx, n);
        }
    }
}

impl Device for I8254 {
    fn name(&self) -> &str {
        "pit"
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.clocks = clocks_at(cx.rate, cx.now);
        for n in 0..3 {
            self.counters[n] = Counter::new(self.counters[n].gate);
            self.settle(cx, n);
        }
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
    fn pins(&mut self) -> Option<&mut dyn InputPins> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        self.sync(cx);
        self.settle(cx, (tag as usize).min(2));
    }
}

impl PortDevice for I8254 {
    fn read(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u16, _size: u8) -> u32 {
        self.sync(cx);
        self.counters.get_mut(usize::from(offset & 3)).map_or(0xFF, Counter::read).into()
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u16, _size: u8, value: u32) {
        self.sync(cx);
        let n = usize::from(offset & 3);
        match self.counters.get_mut(n) {
            Some(counter) => {
                counter.write_count(value as u8);
                self.settle(cx, n);
            }
            None => self.control(cx, value as u8),
        }
    }

    /// As of the last access or event: `peek` does not know the clock's rate.
    fn peek(&self, _now: Ticks, _region: u16, offset: u16, _size: u8) -> u32 {
        self.counters.get(usize::from(offset & 3)).map_or(0xFF, Counter::peek).into()
    }
}

impl InputPins for I8254 {
    fn set_pin(&mut self, cx: &mut DevCx<'_>, pin: u16, level: bool) {
        self.sync(cx);
        let n = usize::from(pin);
        if let Some(counter) = self.counters.get_mut(n) {
            counter.set_gate(level);
            self.settle(cx, n);
        }
    }
}

impl State for I8254 {
    const TAG: [u8; 4] = *b"PIT ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { wires: _, counters, clocks } = self;
        w.field(1, clocks);
        w.part(2, &counters[0]);
        w.part(3, &counters[1]);
        w.part(4, &counters[2]);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.clocks = r.field(1)?;
        r.part(2, &mut self.counters[0])?;
        r.part(3, &mut self.counters[1])?;
        r.part(4, &mut self.counters[2])
    }
}
