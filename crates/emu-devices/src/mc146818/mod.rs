//! The real-time clock MC146818 with 128 bytes of CMOS memory, as an AT has it.
//!
//! Datasheet: Motorola MC146818A (1984), "[MC146818 p.N]"; IBM PC/AT Technical Reference for the CMOS layout. One region of
//! 2 ports (70h index and NMI mask, 71h data). Output wires: IRQ8, and the NMI mask. Time runs from the machine's clock.
//! The battery is never empty, so reset keeps time and memory. The century at 32h, which is plain memory on the original
//! chip, rolls over with the year, as on the RTCs of PCI chipsets.
//! Left out: daylight saving (DSE), the square wave pin, and crystals other than 32.768 kHz: they stop the clock.

mod calendar;
#[cfg(test)]
mod tests;

use calendar::{Format, HOURS, MINUTES, SECONDS, SECONDS_ALARM};
use emu_core::bus::PortDevice;
use emu_core::{DevCx, Device, State, StateError, StateReader, StateWriter, Ticks, Wire};

const A: usize = 10;
const B: usize = 11;
const C: usize = 12;
const D: usize = 13;

const A_UIP: u8 = 0x80;
const B_SET: u8 = 0x80;
const B_UIE: u8 = 0x10;
const B_DM: u8 = 0x04;
const B_24H: u8 = 0x02;
const C_IRQF: u8 = 0x80;
const C_PF: u8 = 0x40;
const C_AF: u8 = 0x20;
const C_UF: u8 = 0x10;
const FLAGS: u8 = C_PF | C_AF | C_UF;
/// The contents of memory are valid.
const D_VRT: u8 = 0x80;

/// The crystal.
const HZ: u64 = 32_768;
/// UIP is high for 244 us before an update and the 1948 us that it takes [MC146818 p.12], in crystal cycles.
const UIP_CYCLES: u64 = 72;
/// After the divider is released, the first update ends half a second later [MC146818 p.13].
const HALF: u64 = HZ / 2;

const EVENT_IRQ: u32 = 0;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct RtcWires {
    /// IRQ8.
    pub irq: Wire,
    /// High while bit 7 of port 70h masks NMI.
    pub nmi_mask: Wire,
}

/// The real-time clock.
#[derive(Debug)]
pub struct Mc146818 {
    // Wiring
    wires: RtcWires,
    // State
    index: u8,
    nmi_masked: bool,
    ram: [u8; 128],
    /// The crystal cycle at which the divider was released, modulo 2^64; updates end half a second later and then each
    /// second.
    origin: u64,
    /// The crystal cycle up to which the registers are counted.
    seen: u64,
}

impl Mc146818 {
    /// A clock that shows `start` seconds since 1970 at tick 0, in BCD and 24 hours.
    #[must_use]
    pub fn new(wires: RtcWires, start: u64) -> Mc146818 {
        let mut ram = [0; 128];
        (ram[A], ram[B], ram[D]) = (0x26, B_24H, D_VRT);
        let mut rtc = Mc146818 { wires, index: 0, nmi_masked: false, ram, origin: HALF.wrapping_neg(), seen: 0 };
        let format = rtc.format();
        calendar::set(&mut rtc.ram, format, start);
        rtc
    }

    /// Sets a byte of CMOS memory, for the board: memory sizes, drive types, boot order.
    pub fn set_cmos(&mut self, index: u8, value: u8) {
        self.ram[usize::from(index & 0x7F)] = value;
    }

    /// A byte of CMOS memory, as of the last access.
    #[must_use]
    pub fn cmos(&self, index: u8) -> u8 {
        self.ram[usize::from(index & 0x7F)]
    }

    /// Makes the AT's checksum (2Eh, 2Fh) fit bytes 10h to 2Dh.
    pub fn update_checksum(&mut self) {
        let sum = self.ram[0x10..=0x2D].iter().fold(0u16, |sum, &b| sum.wrapping_add(b.into()));
        [self.ram[0x2E], self.ram[0x2F]] = sum.to_be_bytes();
    }

    fn format(&self) -> Format {
        Format { binary: self.ram[B] & B_DM != 0, hours_24: self.ram[B] & B_24H != 0 }
    }

    /// Whether the divider runs: only for the crystal that a PC has [MC146818 p.13].
    fn runs(&self) -> bool {
        self.ram[A] & 0x70 == 0x20
    }

    /// Crystal cycles of one period of PF; `None` at rate 0.
    fn period(&self) -> Option<u64> {
        match self.ram[A] & 15 {
            0 => None,
            n @ 1..=2 => Some(1 << (n + 6)),
            n => Some(1 << (n - 1)),
        }
    }

    /// Crystal cycles from `seen` to the next end of a period.
    fn to_end(&self, period: u64, phase: u64) -> u64 {
        period - self.seen.wrapping_sub(self.origin).wrapping_add(phase) % period
    }

    /// Counts up to the present.
    fn sync(&mut self, cx: &DevCx<'_>) {
        let cycle = cx.rate.cycles_at(cx.now, HZ);
        if self.runs() && cycle > self.seen {
            let passed = cycle - self.seen;
            if self.period().is_some_and(|p| passed >= self.to_end(p, 0)) {
                self.ram[C] |= C_PF;
            }
            let first = self.to_end(HZ, HALF);
            if self.ram[B] & B_SET == 0 && passed >= first {
                self.update(1 + (passed - first) / HZ);
            }
        }
        self.seen = cycle;
    }

    /// Updates the registers once for each of `seconds`; whole days beyond the first one in one go each.
    fn update(&mut self, seconds: u64) {
        const DAY: u64 = 86_400;
        let days = if seconds > 2 * DAY { seconds / DAY - 1 } else { 0 };
        let format = self.format();
        for _ in 0..seconds - days * DAY {
            calendar::tick(&mut self.ram, format);
            self.ram[C] |= C_UF;
            if self.alarm_matches() {
                self.ram[C] |= C_AF;
            }
        }
        // The calendar repeats after 100 years, as the century byte does after 10000.
        (0..days % (36_525 * 100)).for_each(|_| calendar::next_day(&mut self.ram, format));
    }

    /// Alarm bytes of C0h to FFh match anything [MC146818 p.9].
    fn alarm_matches(&self) -> bool {
        [SECONDS, MINUTES, HOURS].iter().all(|&i| {
            let alarm = self.ram[i + SECONDS_ALARM];
            alarm >= 0xC0 || alarm == self.ram[i]
        })
    }

    fn irq(&self) -> bool {
        self.ram[C] & self.ram[B] & FLAGS != 0
    }

    /// Drives IRQ8, and asks for the event at which it can rise next.
    fn settle(&mut self, cx: &mut DevCx<'_>) {
        let irq = self.irq();
        self.ram[C] = self.ram[C] & FLAGS | if irq { C_IRQF } else { 0 };
        cx.set_wire(self.wires.irq, irq);
        let enabled = self.ram[B];
        let periodic = self.period().filter(|_| enabled & C_PF != 0).map(|p| self.to_end(p, 0));
        let second = (enabled & (C_AF | C_UF) != 0 && enabled & B_SET == 0).then(|| self.to_end(HZ, HALF));
        match [periodic, second].into_iter().flatten().min().filter(|_| !irq && self.runs()) {
            Some(n) => cx.schedule(EVENT_IRQ, cx.rate.tick_of_cycle(self.seen.saturating_add(n), HZ)),
            None => cx.cancel(EVENT_IRQ),
        }
    }

    fn uip(&self) -> bool {
        self.runs() && self.ram[B] & B_SET == 0 && self.to_end(HZ, HALF) <= UIP_CYCLES
    }

    fn register(&self, index: usize) -> u8 {
        match index {
            A => self.ram[A] & !A_UIP | if self.uip() { A_UIP } else { 0 },
            _ => self.ram[index],
        }
    }

    fn write_register(&mut self, index: usize, value: u8) {
        match index {
            A => {
                let stopped = !self.runs();
                self.ram[A] = value & !A_UIP;
                if stopped && self.runs() {
                    self.origin = self.seen;
                }
            }
            // SET clears UIE [MC146818 p.14].
            B if value & B_SET != 0 => self.ram[B] = value & !B_UIE,
            C | D => {}
            _ => self.ram[index] = value,
        }
    }
}

impl Device for Mc146818 {
    fn name(&self) -> &str {
        "rtc"
    }

    /// RESET# clears the interrupt enables and flags, and SQWE [MC146818 p.8]; time and memory live on the battery.
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.sync(cx);
        self.ram[B] &= !(FLAGS | 0x08);
        self.ram[C] = 0;
        self.index = 0;
        self.nmi_masked = false;
        cx.set_wire(self.wires.nmi_mask, false);
        self.settle(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, _tag: u32) {
        self.sync(cx);
        self.settle(cx);
    }
}

impl PortDevice for Mc146818 {
    fn read(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u16, _size: u8) -> u32 {
        if offset & 1 == 0 {
            return 0xFF; // the index register is write-only
        }
        self.sync(cx);
        let index = usize::from(self.index);
        let value = self.register(index);
        if index == C {
            self.ram[C] = 0;
            self.settle(cx);
        }
        value.into()
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u16, _size: u8, value: u32) {
        let value = value as u8;
        if offset & 1 == 0 {
            self.index = value & 0x7F;
            self.nmi_masked = value & 0x80 != 0;
            cx.set_wire(self.wires.nmi_mask, self.nmi_masked);
            return;
        }
        self.sync(cx);
        self.write_register(self.index.into(), value);
        self.settle(cx);
    }

    fn peek(&self, _now: Ticks, _region: u16, offset: u16, _size: u8) -> u32 {
        if offset & 1 == 0 { 0xFF } else { self.register(self.index.into()).into() }
    }
}

impl State for Mc146818 {
    const TAG: [u8; 4] = *b"RTC ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { wires: _, index, nmi_masked, ram, origin, seen } = self;
        w.field(1, index);
        w.field(2, nmi_masked);
        w.field(3, ram);
        w.field(4, origin);
        w.field(5, seen);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.index = r.field(1)?;
        self.nmi_masked = r.field(2)?;
        self.ram = r.field(3)?;
        self.origin = r.field(4)?;
        self.seen = r.field(5)?;
        if self.index > 0x7F {
            return Err(r.invalid("an index beyond the memory"));
        }
        Ok(())
    }
}
