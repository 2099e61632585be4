//! The keyboard controller of a PC: an 8042 with IBM's PS/2 firmware, a keyboard and a mouse on its cables.
//!
//! Sources: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device controller" ("[HITR]"); IBM PC/AT
//! Technical Reference. Regions: 0 = port 60h, 1 = port 64h. Output wires: IRQ1, IRQ12, A20, reset of the CPU.
//! The controller itself answers at once; a byte from keyboard or mouse takes its 11 bits on the cable, and none comes
//! while the output buffer is full. After power-on both cables are disabled, until the firmware's POST enables them.
//! Left out: the password (there is none), the keyboard lock, diagnostic dumps, and time-out and parity errors.

mod controller;
mod keyboard;
mod mouse;
mod scancodes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use emu_core::bus::PortDevice;
use emu_core::{ClockRate, DevCx, Device, Input, State, StateError, StateReader, StateWriter, Ticks, Wire};
use keyboard::Keyboard;
use mouse::Mouse;

/// Port 60h.
pub const REGION_DATA: u16 = 0;
/// Port 64h.
pub const REGION_COMMAND: u16 = 1;

const STATUS_OBF: u8 = 0x01;
const STATUS_SYS: u8 = 0x04;
const STATUS_COMMAND: u8 = 0x08;
const STATUS_UNLOCKED: u8 = 0x10;
const STATUS_AUX: u8 = 0x20;

/// Bits of the command byte.
const CB_IRQ1: u8 = 0x01;
const CB_IRQ12: u8 = 0x02;
const CB_SYS: u8 = 0x04;
const CB_KBD_OFF: u8 = 0x10;
const CB_AUX_OFF: u8 = 0x20;
const CB_TRANSLATE: u8 = 0x40;

/// Answers of the controller that wait for the output buffer; no guest needs more than one or two.
const MAX_ANSWERS: usize = 16;

/// One byte on a cable: 11 bits at 12.5 kHz.
const FRAME_US: u64 = 880;
/// The self-test of keyboard and mouse. Real ones take 300 to 750 ms, for which no guest has a use.
const SELF_TEST_US: u64 = 50_000;

const EVENT_KBD: u32 = 0;
const EVENT_AUX: u32 = 1;
const EVENT_REPEAT: u32 = 2;
const EVENT_SAMPLE: u32 = 3;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct KbcWires {
    /// IRQ1: the output buffer holds a byte of the keyboard.
    pub irq1: Wire,
    /// IRQ12: it holds one of the mouse.
    pub irq12: Wire,
    /// The A20 gate: high lets A20 pass.
    pub a20: Wire,
    /// Reset of the CPU, pulsed.
    pub reset: Wire,
}

/// The keyboard controller with its keyboard and mouse.
#[derive(Debug)]
pub struct I8042 {
    // Wiring
    wires: KbcWires,
    // Sub-devices
    keyboard: Keyboard,
    mouse: Mouse,
    // State
    /// The 8042's memory as commands 20h and 60h see it; byte 0 is the command byte.
    ram: [u8; 32],
    /// The output buffer, and whether it holds an unread byte, and whether that is from the mouse.
    data: u8,
    full: bool,
    from_aux: bool,
    /// The last write went to port 64h.
    was_command: bool,
    /// A command that waits for its byte at port 60h; 0 if none does.
    awaiting: u8,
    a20: bool,
    /// Translation has seen F0h: the next byte is a break code.
    breaking: bool,
    /// Answers of the controller, each with whether it counts as the mouse's.
    answers: VecDeque<(u8, bool)>,
}

impl I8042 {
    /// A controller in its power-on state, with A20 passing.
    #[must_use]
    pub fn new(wires: KbcWires) -> I8042 {
        let mut ram = [0; 32];
        ram[0] = CB_KBD_OFF | CB_AUX_OFF;
        I8042 {
            wires,
            keyboard: Keyboard::new(),
            mouse: Mouse::new(),
            ram,
            data: 0,
            full: false,
            from_aux: false,
            was_command: false,
            awaiting: 0,
            a20: true,
            breaking: false,
            answers: VecDeque::new(),
        }
    }

    fn has(&self, bit: u8) -> bool {
        self.ram[0] & bit != 0
    }

    fn status(&self) -> u8 {
        let mut status = STATUS_UNLOCKED;
        status |= if self.full { STATUS_OBF } else { 0 };
        status |= if self.has(CB_SYS) { STATUS_SYS } else { 0 };
        status |= if self.was_command { STATUS_COMMAND } else { 0 };
        status | if self.full && self.from_aux { STATUS_AUX } else { 0 }
    }

    fn drive_irqs(&self, cx: &mut DevCx<'_>) {
        cx.set_wire(self.wires.irq1, self.full && !self.from_aux && self.has(CB_IRQ1));
        cx.set_wire(self.wires.irq12, self.full && self.from_aux && self.has(CB_IRQ12));
    }

    fn put(&mut self, byte: u8, from_aux: bool) {
        self.data = byte;
        self.full = true;
        self.from_aux = from_aux;
    }

    fn answer(&mut self, byte: u8, as_aux: bool) {
        if self.answers.len() < MAX_ANSWERS {
            self.answers.push_back((byte, as_aux));
        }
    }

    /// Moves on what can move: answers into the output buffer, then bytes onto the cables.
    fn settle(&mut self, cx: &mut DevCx<'_>) {
        if !self.full
            && let Some((byte, as_aux)) = self.answers.pop_front()
        {
            self.put(byte, as_aux);
        }
        self.drive_irqs(cx);
        if self.full {
            return; // the cables are held until it is read
        }
        let cables = [
            (EVENT_KBD, self.keyboard.pending().filter(|_| !self.has(CB_KBD_OFF))),
            (EVENT_AUX, self.mouse.pending().filter(|_| !self.has(CB_AUX_OFF))),
        ];
        for (tag, pending) in cables {
            if let Some(at_once) = pending
                && cx.scheduled(tag).is_none()
            {
                let us = if at_once { FRAME_US } else { SELF_TEST_US };
                cx.schedule(tag, cx.now + cx.rate.ticks_in_us(us));
            }
        }
    }

    /// A frame of the keyboard is complete. If the buffer has filled meanwhile, it is sent again later.
    fn keyboard_frame(&mut self) {
        if self.full || self.has(CB_KBD_OFF) {
            return;
        }
        let Some(byte) = self.keyboard.send() else { return };
        if !self.has(CB_TRANSLATE) {
            self.put(byte, false);
        } else if byte == 0xF0 {
            self.breaking = true;
        } else {
            let release = if core::mem::take(&mut self.breaking) { 0x80 } else { 0 };
            self.put(scancodes::translate(byte) | release, false);
        }
    }

    fn mouse_frame(&mut self) {
        if self.full || self.has(CB_AUX_OFF) {
            return;
        }
        if let Some(byte) = self.mouse.send() {
            self.put(byte, true);
        }
    }

    /// Sets the timer of a key that repeats, or stops it.
    fn time_repeat(&self, cx: &mut DevCx<'_>, first: bool) {
        if self.keyboard.repeating.is_none() {
            cx.cancel(EVENT_REPEAT);
            return;
        }
        let ticks = cx.rate.tick_of_cycle(self.keyboard.repeat_delay(first), 240).0;
        cx.schedule(EVENT_REPEAT, cx.now + ticks);
    }

    /// Takes a sample of the mouse, and asks for the next one while there is something to tell.
    fn sample(&mut self, cx: &mut DevCx<'_>) {
        if self.mouse.wants_to_report() {
            self.mouse.sample();
            cx.schedule(EVENT_SAMPLE, cx.now + cx.rate.tick_of_cycle(1, self.mouse.rate()).0);
        }
    }
}

impl Device for I8042 {
    fn name(&self) -> &str {
        "kbc"
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        *self = I8042::new(self.wires);
        [EVENT_KBD, EVENT_AUX, EVENT_REPEAT, EVENT_SAMPLE].into_iter().for_each(|tag| cx.cancel(tag));
        cx.set_wire(self.wires.a20, self.a20);
        self.settle(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        match tag {
            EVENT_KBD => self.keyboard_frame(),
            EVENT_AUX => self.mouse_frame(),
            EVENT_REPEAT => {
                self.keyboard.repeat();
                self.time_repeat(cx, false);
            }
            _ => self.sample(cx),
        }
        self.settle(cx);
    }

    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        match *input {
            Input::Key { key, down } => {
                let before = self.keyboard.repeating;
                self.keyboard.key(key, down);
                if self.keyboard.repeating != before {
                    self.time_repeat(cx, true);
                }
            }
            Input::Mouse { dx, dy, dz, buttons } => {
                self.mouse.moved([dx.into(), dy.into(), dz.into()], buttons);
                if cx.scheduled(EVENT_SAMPLE).is_none() {
                    self.sample(cx);
                }
            }
            _ => return false,
        }
        self.settle(cx);
        true
    }
}

impl PortDevice for I8042 {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, _offset: u16, _size: u8) -> u32 {
        if region == REGION_COMMAND {
            return self.status().into();
        }
        let data = self.data;
        if self.full {
            self.full = false;
            self.drive_irqs(cx); // they fall, even if the next answer raises them again
            self.settle(cx);
        }
        data.into()
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, _offset: u16, _size: u8, value: u32) {
        self.was_command = region == REGION_COMMAND;
        if self.was_command {
            self.command(cx, value as u8);
        } else {
            self.data_written(cx, value as u8);
        }
        self.settle(cx);
    }

    fn steady_until(&self, _now: Ticks, _rate: ClockRate, region: u16, _offset: u16) -> Option<Ticks> {
        (region == REGION_COMMAND).then_some(Ticks::NEVER)
    }

    fn peek(&self, _now: Ticks, region: u16, _offset: u16, _size: u8) -> u32 {
        if region == REGION_COMMAND { self.status().into() } else { self.data.into() }
    }
}

impl State for I8042 {
    const TAG: [u8; 4] = *b"8042";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        #[rustfmt::skip]
        let Self {
            wires: _, keyboard, mouse, ram, data, full, from_aux, was_command, awaiting, a20, breaking, answers,
        } = self;
        w.part(1, keyboard);
        w.part(2, mouse);
        w.field(3, ram);
        w.field(4, &[*data, *awaiting]);
        w.field(5, &[*full, *from_aux, *was_command, *a20, *breaking]);
        w.field(6, &answers.iter().copied().collect::<Vec<_>>());
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.keyboard)?;
        r.part(2, &mut self.mouse)?;
        self.ram = r.field(3)?;
        [self.data, self.awaiting] = r.field(4)?;
        [self.full, self.from_aux, self.was_command, self.a20, self.breaking] = r.field(5)?;
        self.answers = r.field::<Vec<(u8, bool)>>(6)?.into();
        if self.answers.len() > MAX_ANSWERS {
            return Err(r.invalid("more answers than the controller keeps"));
        }
        Ok(())
    }
}
