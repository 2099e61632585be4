//! A test bench for ROMs: a chip that takes down what is written to the ports of POST cards, printers and serial lines.
//!
//! It is no model of any of them. Serial ports are always ready to send, printers always ready to print.

use emu_core::bus::PortDevice;
use emu_core::{DevCx, Device, Output, State, StateError, StateReader, StateWriter};

/// Regions: POST codes, a console, then three printers and two serial ports.
const POST: u16 = 0;
const CONSOLE: u16 = 1;
const PRINTER: u16 = 2;
const SERIAL: u16 = 5;

/// First port, number of ports and region of each.
pub(super) const PORTS: [(u16, u16, u16); 9] = [
    (0x80, 1, POST),
    (0x190, 1, POST),
    (0xE9, 1, CONSOLE),
    (0x3BC, 3, PRINTER),
    (0x378, 3, PRINTER + 1),
    (0x278, 3, PRINTER + 2),
    (0x3F8, 8, SERIAL),
    (0x2F8, 8, SERIAL + 1),
    (0x402, 1, CONSOLE),
];

/// The chip.
#[derive(Debug, Default)]
pub(super) struct Bench {
    /// Line control of the serial ports: bit 7 shows the divisor in place of the data.
    line_control: [u8; 2],
    /// What stands on the printers' data lines, and their control lines.
    data: [u8; 3],
    control: [u8; 3],
}

impl Device for Bench {
    fn name(&self) -> &'static str {
        "bench"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {
        *self = Bench::default();
    }
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for Bench {
    fn read(&mut self, _cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8) -> u32 {
        match (region, offset) {
            // Selected, no error, not busy, acknowledging.
            (PRINTER..SERIAL, 1) => 0xD8,
            (PRINTER..SERIAL, 0) => self.data[usize::from(region - PRINTER)].into(),
            (PRINTER..SERIAL, 2) => self.control[usize::from(region - PRINTER)].into(),
            // Transmitter empty; CTS and DSR.
            (SERIAL.., 5) => 0x60,
            (SERIAL.., 6) => 0x30,
            (SERIAL.., 3) => self.line_control[usize::from(region - SERIAL)].into(),
            (SERIAL.., _) => 0,
            _ => 0xFF,
        }
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8, value: u32) {
        let byte = value as u8;
        match (region, offset) {
            (POST, _) => cx.output(Output::Post(byte)),
            (CONSOLE, _) => cx.output(Output::Debug(byte)),
            (PRINTER..SERIAL, 0) => self.data[usize::from(region - PRINTER)] = byte,
            (PRINTER..SERIAL, 2) => {
                let n = usize::from(region - PRINTER);
                // The strobe's rising edge prints.
                if byte & 1 != 0 && self.control[n] & 1 == 0 {
                    cx.output(Output::Parallel { port: n as u8, byte: self.data[n] });
                }
                self.control[n] = byte;
            }
            (SERIAL.., 0) if self.line_control[usize::from(region - SERIAL)] & 0x80 == 0 => {
                cx.output(Output::Serial { port: (region - SERIAL) as u8, byte });
            }
            (SERIAL.., 3) => self.line_control[usize::from(region - SERIAL)] = byte,
            _ => {}
        }
    }
}

impl State for Bench {
    const TAG: [u8; 4] = *b"BNCH";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { line_control, data, control } = self;
        w.field(1, line_control);
        w.field(2, data);
        w.field(3, control);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        (self.line_control, self.data, self.control) = (r.field(1)?, r.field(2)?, r.field(3)?);
        Ok(())
    }
}
