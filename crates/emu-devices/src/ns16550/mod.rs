//! The serial port of a PC: a 16550A UART with FIFOs, clocked with 1.8432 MHz.
//!
//! Datasheet: National PC16550D (1995), "[16550 p.N]". One region of 8 ports (3F8h, 2F8h, ...). One output wire: the IRQ,
//! which OUT2 gates as on every PC. The other end is always ready: CTS, DSR and DCD are asserted.
//! What is sent leaves the machine as its first bit does; what comes from outside waits in a bounded queue and arrives at
//! line speed, as long as there is room: the other end honours flow control. Beyond the queue it is lost with an overrun.
//! Left out: sending a break, parity and framing errors (the line is perfect), and the DMA mode pins.

mod line;
#[cfg(test)]
mod tests;

use emu_core::bus::PortDevice;
use emu_core::{ClockRate, DevCx, Device, Input, Output, State, StateError, StateReader, StateWriter, Ticks, Wire};
use line::{Fifo, QUEUE};

const IER_RDA: u8 = 1;
const IER_THRE: u8 = 2;
const IER_LINE: u8 = 4;
const IER_MODEM: u8 = 8;

const FCR_ENABLE: u8 = 1;

const LCR_DLAB: u8 = 0x80;

const MCR_OUT2: u8 = 8;
const MCR_LOOP: u8 = 16;

const LSR_DR: u8 = 0x01;
const LSR_OE: u8 = 0x02;
const LSR_THRE: u8 = 0x20;
const LSR_TEMT: u8 = 0x40;
/// Error bits, which raise the line status interrupt: OE, PE, FE, BI.
const LSR_ERRORS: u8 = 0x1E;

/// CTS, DSR and DCD of the other end.
const MSR_READY: u8 = 0xB0;
const MSR_TERI: u8 = 4;
const MSR_RI: u8 = 0x40;

const FIFO_DEPTH: usize = 16;
const TRIGGER: [usize; 4] = [1, 4, 8, 14];

const EVENT_SENT: u32 = 0;
const EVENT_ARRIVED: u32 = 1;
const EVENT_TIMEOUT: u32 = 2;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct UartWires {
    /// The interrupt line.
    pub irq: Wire,
}

/// A 16550A.
#[derive(Debug)]
pub struct Ns16550 {
    // Configuration
    name: String,
    port: u8,
    // Wiring
    wires: UartWires,
    // State
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: u16,
    /// Error bits of the line status register.
    errors: u8,
    /// Delta bits of the modem status register.
    deltas: u8,
    rx: Fifo,
    tx: Fifo,
    /// When the transmitter's shift register is empty.
    sent_at: Ticks,
    /// The byte in it, if it comes back through the loop.
    looping: Option<u8>,
    /// THR has become empty, and the guest has not been told.
    thre_pending: bool,
    /// Four frames passed without anybody touching a receive FIFO that is below its trigger.
    timed_out: bool,
    /// What the other end has sent and the line has not carried yet.
    queue: Fifo,
}

impl Ns16550 {
    /// Serial port number `port` (0 = COM1) after master reset.
    #[must_use]
    pub fn new(port: u8, wires: UartWires) -> Ns16550 {
        Ns16550 {
            name: format!("com{}", u32::from(port) + 1),
            port,
            wires,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            divisor: 12,
            errors: 0,
            deltas: 0,
            rx: Fifo::default(),
            tx: Fifo::default(),
            sent_at: Ticks(0),
            looping: None,
            thre_pending: false,
            timed_out: false,
            queue: Fifo::default(),
        }
    }

    fn fifos(&self) -> bool {
        self.fcr & FCR_ENABLE != 0
    }

    /// Bytes that a FIFO holds at present.
    fn depth(&self) -> usize {
        if self.fifos() { FIFO_DEPTH } else { 1 }
    }

    fn looped(&self) -> bool {
        self.mcr & MCR_LOOP != 0
    }

    /// Ticks of `frames` frames: start bit, 5 to 8 bits, parity, and 1, 1.5 or 2 stop bits [16550 p.15].
    fn frame(&self, cx: &DevCx<'_>, frames: u64) -> u64 {
        let word = 5 + u64::from(self.lcr & 3);
        let stop = match (self.lcr & 4 != 0, word) {
            (false, _) => 2,
            (true, 5) => 3,
            (true, _) => 4,
        };
        let half_bits = 2 * (1 + word + u64::from(self.lcr >> 3 & 1)) + stop;
        // 16 clocks of 1.8432 MHz are one bit at divisor 1; divisor 0 counts as the longest.
        let divisor = if self.divisor == 0 { 0x1_0000 } else { u64::from(self.divisor) };
        cx.rate.tick_of_cycle(frames * half_bits * divisor, 2 * 115_200).0
    }

    fn data_mask(&self) -> u8 {
        0xFF >> (3 - (self.lcr & 3))
    }

    /// What IIR tells, in order of priority [16550 p.18].
    fn interrupt(&self) -> u8 {
        let ready = self.rx.len() >= if self.fifos() { TRIGGER[usize::from(self.fcr >> 6)] } else { 1 };
        let source = if self.ier & IER_LINE != 0 && self.errors & LSR_ERRORS != 0 {
            0x06
        } else if self.ier & IER_RDA != 0 && ready {
            0x04
        } else if self.ier & IER_RDA != 0 && self.timed_out {
            0x0C
        } else if self.ier & IER_THRE != 0 && self.thre_pending {
            0x02
        } else if self.ier & IER_MODEM != 0 && self.deltas != 0 {
            0x00
        } else {
            0x01
        };
        source | if self.fifos() { 0xC0 } else { 0 }
    }

    /// Drives the interrupt line. In loop mode OUT2 is inactive, so that a PC sees no interrupt.
    fn settle(&self, cx: &mut DevCx<'_>) {
        let gate = self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2;
        cx.set_wire(self.wires.irq, gate && self.interrupt() & 1 == 0);
    }

    /// Modem lines, from the other end or through the loop: OUT2, OUT1, DTR, RTS give DCD, RI, DSR, CTS [16550 p.17].
    fn modem_lines(&self) -> u8 {
        if !self.looped() {
            return MSR_READY;
        }
        let m = self.mcr;
        (m & 2) << 3 | (m & 1) << 5 | (m & 4) << 4 | (m & 8) << 4
    }

    fn write_mcr(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value & 0x1F;
        let after = self.modem_lines();
        self.deltas |= (before ^ after) >> 4 & !MSR_TERI;
        if before & !after & MSR_RI != 0 {
            self.deltas |= MSR_TERI; // the trailing edge of RI only
        }
    }

    fn line_status(&self, now: Ticks) -> u8 {
        let empty = if self.tx.len() == 0 { LSR_THRE } else { 0 };
        let idle = if empty != 0 && now >= self.sent_at { LSR_TEMT } else { 0 };
        let ready = if self.rx.len() > 0 { LSR_DR } else { 0 };
        self.errors | empty | idle | ready
    }

    fn write_fcr(&mut self, cx: &mut DevCx<'_>, value: u8) {
        let toggled = (value ^ self.fcr) & FCR_ENABLE != 0;
        // While FIFOs are off, the other bits can't be written [16550 p.17].
        self.fcr = if value & FCR_ENABLE != 0 { value & 0xC9 } else { 0 };
        if toggled || value & 2 != 0 {
            self.rx.clear();
            self.touch_rx(cx);
        }
        if (toggled || value & 4 != 0) && self.tx.len() > 0 {
            self.tx.clear();
            self.thre_pending = true;
        }
        self.expect(cx);
    }

    fn write_ier(&mut self, value: u8) {
        let enabled = value & !self.ier;
        self.ier = value & 0x0F;
        if enabled & IER_THRE != 0 && self.tx.len() == 0 {
            self.thre_pending = true;
        }
    }

    fn read_register(&mut self, cx: &mut DevCx<'_>, register: u16) -> u8 {
        let value = self.register(cx.now, register);
        match register {
            0 if self.lcr & LCR_DLAB == 0 => {
                self.rx.pop();
                self.touch_rx(cx);
                self.expect(cx);
            }
            2 if value & 0x0F == 0x02 => self.thre_pending = false,
            5 => self.errors = 0,
            6 => self.deltas = 0,
            _ => {}
        }
        value
    }

    fn register(&self, now: Ticks, register: u16) -> u8 {
        match (register, self.lcr & LCR_DLAB != 0) {
            (0, true) => self.divisor.to_le_bytes()[0],
            (1, true) => self.divisor.to_le_bytes()[1],
            (0, false) => self.rx.first().unwrap_or(0),
            (1, false) => self.ier,
            (2, _) => self.interrupt(),
            (3, _) => self.lcr,
            (4, _) => self.mcr,
            (5, _) => self.line_status(now),
            (6, _) => self.modem_lines() | self.deltas,
            _ => self.scratch,
        }
    }

    fn write_register(&mut self, cx: &mut DevCx<'_>, register: u16, value: u8) {
        match (register, self.lcr & LCR_DLAB != 0) {
            (0, true) => self.divisor = self.divisor & 0xFF00 | u16::from(value),
            (1, true) => self.divisor = self.divisor & 0x00FF | u16::from(value) << 8,
            (0, false) => self.transmit(cx, value),
            (1, false) => self.write_ier(value),
            (2, _) => self.write_fcr(cx, value),
            (3, _) => self.lcr = value,
            (4, _) => self.write_mcr(value),
            (7, _) => self.scratch = value,
            _ => {} // LSR and MSR are for reading
        }
    }
}

impl Device for Ns16550 {
    fn name(&self) -> &str {
        &self.name
    }

    /// Master reset: the divisor, the scratch register and what the other end has sent stay [16550 p.13].
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        let fresh = Ns16550::new(self.port, self.wires);
        let queue = core::mem::take(&mut self.queue);
        *self = Ns16550 { divisor: self.divisor, scratch: self.scratch, queue, ..fresh };
        [EVENT_SENT, EVENT_ARRIVED, EVENT_TIMEOUT].into_iter().for_each(|tag| cx.cancel(tag));
        self.expect(cx);
        self.settle(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        match tag {
            EVENT_SENT => self.sent(cx),
            EVENT_ARRIVED => self.arrived(cx),
            _ => self.timed_out = self.fifos() && self.rx.len() > 0,
        }
        self.settle(cx);
    }

    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        let Input::Serial { port, bytes } = input else { return false };
        if *port != self.port {
            return false;
        }
        let room = QUEUE - self.queue.len().min(QUEUE);
        bytes.iter().take(room).for_each(|&b| self.queue.push(b));
        if bytes.len() > room {
            self.errors |= LSR_OE;
        }
        self.expect(cx);
        self.settle(cx);
        true
    }
}

impl PortDevice for Ns16550 {
    fn steady_until(&self, now: Ticks, _rate: ClockRate, _region: u16, offset: u16) -> Option<Ticks> {
        match offset {
            // The line status changes by itself when the last bit is out.
            5 if self.tx.len() == 0 && now < self.sent_at => Some(self.sent_at),
            5 => Some(Ticks::NEVER),
            _ => None,
        }
    }

    fn read(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u16, _size: u8) -> u32 {
        let value = self.read_register(cx, offset & 7);
        self.settle(cx);
        value.into()
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u16, _size: u8, value: u32) {
        self.write_register(cx, offset & 7, value as u8);
        self.settle(cx);
    }

    fn peek(&self, now: Ticks, _region: u16, offset: u16, _size: u8) -> u32 {
        self.register(now, offset & 7).into()
    }
}

impl State for Ns16550 {
    const TAG: [u8; 4] = *b"UART";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        #[rustfmt::skip]
        let Self {
            name: _, port: _, wires: _, ier, fcr, lcr, mcr, scratch, divisor, errors, deltas, rx, tx, sent_at, looping,
            thre_pending, timed_out, queue,
        } = self;
        w.field(1, &[*ier, *fcr, *lcr, *mcr, *scratch, *errors, *deltas]);
        w.field(2, divisor);
        w.field(3, &rx.to_vec());
        w.field(4, &tx.to_vec());
        w.field(5, &sent_at.0);
        w.field(6, looping);
        w.field(7, &[*thre_pending, *timed_out]);
        w.field(8, &queue.to_vec());
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.ier, self.fcr, self.lcr, self.mcr, self.scratch, self.errors, self.deltas] = r.field(1)?;
        self.divisor = r.field(2)?;
        self.rx = Fifo::from(r.field::<Vec<u8>>(3)?);
        self.tx = Fifo::from(r.field::<Vec<u8>>(4)?);
        self.sent_at = Ticks(r.field(5)?);
        self.looping = r.field(6)?;
        [self.thre_pending, self.timed_out] = r.field(7)?;
        self.queue = Fifo::from(r.field::<Vec<u8>>(8)?);
        let fits = self.rx.len() <= FIFO_DEPTH && self.tx.len() <= FIFO_DEPTH && self.queue.len() <= QUEUE;
        if !fits || self.ier > 0x0F || self.mcr > 0x1F {
            return Err(r.invalid("more than the chip holds"));
        }
        Ok(())
    }
}
