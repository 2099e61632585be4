//! The commands of the 8042's firmware [HITR, "Controller commands"].

use super::{CB_AUX_OFF, CB_KBD_OFF, CB_SYS, EVENT_AUX, EVENT_KBD, EVENT_SAMPLE, I8042};
use emu_core::DevCx;

/// Port 1 as command C0h reads it: unlocked, colour display, no manufacturing jumper, second 256 KiB enabled.
const INPUT_PORT: u8 = 0xB0;
/// Bits of the output port (port 2).
const OUT_RESET: u8 = 0x01;
const OUT_A20: u8 = 0x02;
const OUT_IRQ1: u8 = 0x10;
const OUT_IRQ12: u8 = 0x20;
/// Clock and data of the keyboard, idle.
const OUT_IDLE: u8 = 0xC0;

impl I8042 {
    fn output_port(&self) -> u8 {
        let a20 = if self.a20 { OUT_A20 } else { 0 };
        let irq = match (self.full, self.from_aux) {
            (false, _) => 0,
            (true, false) => OUT_IRQ1,
            (true, true) => OUT_IRQ12,
        };
        OUT_IDLE | OUT_RESET | a20 | irq
    }

    fn set_a20(&mut self, cx: &mut DevCx<'_>, pass: bool) {
        self.a20 = pass;
        cx.set_wire(self.wires.a20, pass);
    }

    fn pulse_reset(&self, cx: &mut DevCx<'_>) {
        cx.set_wire(self.wires.reset, true);
        cx.set_wire(self.wires.reset, false);
    }

    /// A write to port 64h.
    pub(super) fn command(&mut self, cx: &mut DevCx<'_>, command: u8) {
        self.awaiting = 0;
        match command {
            0x20..=0x3F => self.answer(self.ram[usize::from(command & 0x1F)], false),
            0x60..=0x7F | 0xA5 | 0xD1..=0xD4 => self.awaiting = command,
            0xA4 => self.answer(0xF1, false), // no password is installed
            0xA7 => self.ram[0] |= CB_AUX_OFF,
            0xA8 => self.ram[0] &= !CB_AUX_OFF,
            0xA9 | 0xAB => self.answer(0x00, false), // both cables are fine
            0xAA => self.self_test(),
            0xAD => self.ram[0] |= CB_KBD_OFF,
            0xAE => self.ram[0] &= !CB_KBD_OFF,
            0xC0 => self.answer(INPUT_PORT, false),
            0xD0 => self.answer(self.output_port(), false),
            // Not IBM's, but in every clone's firmware since the HP Vectra.
            0xDD => self.set_a20(cx, false),
            0xDF => self.set_a20(cx, true),
            0xE0 => {
                let clocks = u8::from(!self.has(CB_KBD_OFF)) | u8::from(!self.has(CB_AUX_OFF)) << 1;
                self.answer(clocks, false);
            }
            0xF0..=0xFF if command & OUT_RESET == 0 => self.pulse_reset(cx),
            _ => {}
        }
    }

    /// Command AAh: forgets what waits, disables both cables, and sets the system flag.
    fn self_test(&mut self) {
        self.answers.clear();
        self.full = false;
        self.breaking = false;
        self.ram[0] |= CB_KBD_OFF | CB_AUX_OFF | CB_SYS;
        self.answer(0x55, false);
    }

    /// A write to port 60h: the byte that a command waits for, or one for the keyboard.
    pub(super) fn data_written(&mut self, cx: &mut DevCx<'_>, byte: u8) {
        let awaiting = core::mem::take(&mut self.awaiting);
        match awaiting {
            0x60..=0x7F => self.ram[usize::from(awaiting & 0x1F)] = byte,
            0xA5 if byte != 0 => self.awaiting = awaiting, // a password ends with 0
            0xA5 => {}
            0xD1 => {
                self.set_a20(cx, byte & OUT_A20 != 0);
                if byte & OUT_RESET == 0 {
                    self.pulse_reset(cx);
                }
            }
            0xD2 => self.answer(byte, false),
            0xD3 => self.answer(byte, true),
            0xD4 => {
                self.mouse.command(byte);
                cx.cancel(EVENT_AUX);
                cx.cancel(EVENT_SAMPLE);
            }
            _ => {
                // Sending to the keyboard enables its cable [HITR].
                self.ram[0] &= !CB_KBD_OFF;
                self.keyboard.command(byte);
                cx.cancel(EVENT_KBD);
                self.time_repeat(cx, true);
            }
        }
    }
}
