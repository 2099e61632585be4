//! NMI status and control, "system control port B" at 61h, with the speaker gate.
//!
//! Sources: IBM PC/AT Technical Reference, "System board I/O"; 82371SB PIIX3 §2.5.4 (NSC register). One port. Input pins:
//! 0 = OUT of timer counter 2, 1 = IOCHK#, 2 = parity error or SERR# (all as positive levels), 3 = NMI masked (port 70h
//! bit 7). Output wires: the gate of timer counter 2, and NMI.
//! The refresh bit toggles every 18 CLK pulses of the timer (15.085 us), as every BIOS programs counter 1; what a guest
//! writes to counter 1 does not change it.

use crate::i8254::{clocks_at, millihertz, tick_of_clock};
use emu_core::bus::{InputPins, PortDevice};
use emu_core::{ClockRate, DevCx, Device, Output, State, StateError, StateReader, StateWriter, Ticks, Wire};

const GATE2: u8 = 1;
const SPEAKER: u8 = 2;
const PARITY_OFF: u8 = 4;
const IOCHK_OFF: u8 = 8;
const WRITABLE: u8 = 0x0F;
const REFRESH: u8 = 0x10;
const OUT2: u8 = 0x20;
const IOCHK: u8 = 0x40;
const PARITY: u8 = 0x80;

/// CLK pulses of the timer from one refresh to the next.
const REFRESH_CLOCKS: u64 = 18;
/// A tone lower than this many CLK pulses a period (17 Hz) is silence, and so is one above 20 kHz.
const LONGEST_PERIOD: u64 = 70_000;
const SHORTEST_PERIOD: u64 = 59;

/// Pins.
pub const PIN_OUT2: u16 = 0;
/// IOCHK# of the ISA bus.
pub const PIN_IOCHK: u16 = 1;
/// Parity error, or SERR# of the PCI bus.
pub const PIN_PARITY: u16 = 2;
/// NMI is masked by port 70h.
pub const PIN_NMI_MASK: u16 = 3;

/// The event that looks whether the speaker has fallen silent.
const SILENCE: u32 = 0;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct Port61Wires {
    /// Gate of timer counter 2.
    pub gate2: Wire,
    /// NMI of the CPU.
    pub nmi: Wire,
}

/// The NMI status and control port.
#[derive(Debug)]
pub struct Port61 {
    // Wiring
    wires: Port61Wires,
    // State
    control: u8,
    /// Latched error bits.
    errors: u8,
    out2: bool,
    nmi_masked: bool,
    /// When OUT2 last rose while the speaker was on.
    last_rise: Option<u64>,
    /// The tone that was last reported, in mHz.
    tone: u32,
}

impl Port61 {
    /// A port in its power-on state.
    #[must_use]
    pub fn new(wires: Port61Wires) -> Port61 {
        Port61 { wires, control: 0, errors: 0, out2: false, nmi_masked: false, last_rise: None, tone: 0 }
    }

    fn settle(&mut self, cx: &mut DevCx<'_>) {
        cx.set_wire(self.wires.gate2, self.control & GATE2 != 0);
        cx.set_wire(self.wires.nmi, self.errors != 0 && !self.nmi_masked);
        if self.control & (GATE2 | SPEAKER) != GATE2 | SPEAKER {
            self.last_rise = None;
            cx.cancel(SILENCE);
            self.report(cx, 0);
        }
    }

    fn report(&mut self, cx: &mut DevCx<'_>, tone: u32) {
        if tone != self.tone {
            self.tone = tone;
            cx.output(Output::Speaker(tone));
        }
    }

    /// OUT2 rises while the speaker is on: the time since the last rise is the tone's period.
    fn hear(&mut self, cx: &mut DevCx<'_>) {
        // Events come a part of a pulse late, never a whole one, so that the difference is exact.
        let clocks = clocks_at(cx.rate, cx.now);
        let period = self.last_rise.replace(clocks).map(|last| clocks.saturating_sub(last));
        match period {
            Some(p @ SHORTEST_PERIOD..LONGEST_PERIOD) => self.report(cx, millihertz(p)),
            Some(_) => self.report(cx, 0),
            None => {}
        }
        if cx.scheduled(SILENCE).is_none() {
            cx.schedule(SILENCE, cx.now + cx.rate.ticks_in_us(60_000));
        }
    }

    fn status(&self, toggle: bool) -> u8 {
        self.control | self.errors | (u8::from(self.out2) * OUT2) | (u8::from(toggle) * REFRESH)
    }
}

impl Device for Port61 {
    fn name(&self) -> &str {
        "port61"
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.control = 0;
        self.errors = 0;
        self.settle(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
    fn pins(&mut self) -> Option<&mut dyn InputPins> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, _tag: u32) {
        let Some(last) = self.last_rise else { return };
        if clocks_at(cx.rate, cx.now).saturating_sub(last) >= LONGEST_PERIOD {
            self.last_rise = None;
            self.report(cx, 0);
        } else {
            cx.schedule(SILENCE, cx.now + cx.rate.ticks_in_us(60_000));
        }
    }
}

impl PortDevice for Port61 {
    fn read(&mut self, cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8) -> u32 {
        let refreshes = clocks_at(cx.rate, cx.now) / REFRESH_CLOCKS;
        self.status(refreshes & 1 != 0).into()
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8, value: u32) {
        self.control = value as u8 & WRITABLE;
        if self.control & PARITY_OFF != 0 {
            self.errors &= !PARITY;
        }
        if self.control & IOCHK_OFF != 0 {
            self.errors &= !IOCHK;
        }
        self.settle(cx);
    }

    fn steady_until(&self, now: Ticks, rate: ClockRate, _region: u16, _offset: u16) -> Option<Ticks> {
        let refreshes = clocks_at(rate, now) / REFRESH_CLOCKS;
        Some(tick_of_clock(rate, (refreshes + 1) * REFRESH_CLOCKS))
    }

    fn peek(&self, _now: Ticks, _region: u16, _offset: u16, _size: u8) -> u32 {
        self.status(false).into()
    }
}

impl InputPins for Port61 {
    fn set_pin(&mut self, cx: &mut DevCx<'_>, pin: u16, level: bool) {
        match pin {
            PIN_OUT2 => {
                self.out2 = level;
                if level && self.control & (GATE2 | SPEAKER) == GATE2 | SPEAKER {
                    self.hear(cx);
                }
                return;
            }
            PIN_IOCHK if level && self.control & IOCHK_OFF == 0 => self.errors |= IOCHK,
            PIN_PARITY if level && self.control & PARITY_OFF == 0 => self.errors |= PARITY,
            PIN_NMI_MASK => self.nmi_masked = level,
            _ => {}
        }
        self.settle(cx);
    }
}

impl State for Port61 {
    const TAG: [u8; 4] = *b"PT61";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { wires: _, control, errors, out2, nmi_masked, last_rise, tone } = self;
        w.field(1, control);
        w.field(2, errors);
        w.field(3, out2);
        w.field(4, nmi_masked);
        w.field(5, last_rise);
        w.field(6, tone);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.control = r.field::<u8>(1)?;
        self.errors = r.field::<u8>(2)?;
        self.out2 = r.field(3)?;
        self.nmi_masked = r.field(4)?;
        self.last_rise = r.field(5)?;
        self.tone = r.field(6)?;
        if self.control & !WRITABLE != 0 || self.errors & !(IOCHK | PARITY) != 0 {
            return Err(r.invalid("bits that the port does not have"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i8254::{I8254, PitWires};
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::{DeviceId, Sink};

    /// The port with a timer, as on the board.
    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let (gate2, nmi, out2) = (rig.bus.wire(), rig.bus.wire_to(Sink::Nmi(0)), rig.bus.wire());
        let id = rig.bus.add(Box::new(Port61::new(Port61Wires { gate2, nmi })));
        let pit = rig.bus.add(Box::new(I8254::new(PitWires { out0: Wire::NONE, out2 })));
        rig.bus.connect(gate2, Sink::Pin(pit, 2));
        rig.bus.connect(out2, Sink::Pin(id, PIN_OUT2));
        rig.bus.map_ports(id, 0x61, 1, 0, 1);
        rig.bus.map_ports(pit, 0x40, 4, 0, 1);
        for pin in [PIN_IOCHK, PIN_NMI_MASK] {
            rig.bus.wire_to(Sink::Pin(id, pin));
        }
        rig.reset();
        (rig, id)
    }

    emu_core::device_contract_tests!(build, || Surface { ports: vec![(0x61, 1), (0x40, 4)], memory: vec![] });

    fn pin(rig: &mut Rig, wire: u16, level: bool) {
        let now = rig.now;
        rig.bus.call(&mut rig.mem, now, DeviceId(0), |_, cx| cx.set_wire(Wire(wire), level));
    }

    #[test]
    fn refresh_toggles_every_15_us() {
        let (mut rig, _) = build();
        let (mut toggles, mut last) = (0, rig.in8(0x61) & REFRESH);
        for _ in 0..15_085 {
            rig.advance_us(1);
            let bit = rig.in8(0x61) & REFRESH;
            toggles += u32::from(bit != last);
            last = bit;
        }
        assert_eq!(toggles, 999, "1000 periods of 15.0857 us take 15085.7 us");
    }

    #[test]
    fn speaker_reports_the_tone_and_silence() {
        let (mut rig, _) = build();
        for (port, value) in [(0x43, 0xB6), (0x42, 0xA9), (0x42, 0x04), (0x61, 3)] {
            rig.out8(port, value);
        }
        rig.advance_us(100_000);
        assert_eq!(rig.output(), [Output::Speaker(1_000_152)], "once, as it does not change");
        rig.out8(0x43, 0xB0); // mode 0: no more edges
        rig.advance_us(200_000);
        assert_eq!(rig.output(), [Output::Speaker(0)]);
        rig.out8(0x61, 0);
        assert_eq!(rig.output(), []);
    }

    #[test]
    fn out2_is_bit_5_as_tsc_calibration_polls_it() {
        let (mut rig, _) = build();
        rig.out8(0x61, 1);
        for (port, value) in [(0x43, 0xB0), (0x42, 0x9B), (0x42, 0x2E)] {
            rig.out8(port, value);
        }
        rig.advance_us(9_900);
        assert_eq!(rig.in8(0x61) & OUT2, 0);
        rig.advance_us(200);
        assert_eq!(rig.in8(0x61) & OUT2, OUT2, "11931 pulses are 10 ms");
    }

    #[test]
    fn iochk_raises_nmi_unless_masked_or_off() {
        let (mut rig, _) = build();
        let (iochk, mask) = (3, 4);
        pin(&mut rig, mask, true);
        pin(&mut rig, iochk, true);
        assert_eq!(rig.in8(0x61) & IOCHK, IOCHK);
        assert!(!rig.bus.cpu_lines(0).nmi);
        pin(&mut rig, mask, false);
        assert!(rig.bus.cpu_lines(0).nmi);
        rig.out8(0x61, IOCHK_OFF);
        assert_eq!(rig.in8(0x61) & IOCHK, 0);
    }
}
