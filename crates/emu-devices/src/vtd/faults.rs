//! Faults: their records, the status register, and the interrupts that tell of them [VT-d 7, 10.4.9-14].

use emu_core::bus::{DevCx, InterruptMessage};
use emu_core::state::{State, StateError, StateReader, StateWriter};

/// How many records there are.
pub(super) const RECORDS: usize = 8;

/// Fault status: a fault was lost as its record was in use.
const OVERFLOW: u32 = 1 << 0;
/// Fault status: there are records.
const PENDING: u32 = 1 << 1;
/// Fault status: the invalidation queue stands before something that it can't do.
const QUEUE_ERROR: u32 = 1 << 4;

/// The record's bit 127: it is in use.
const IN_USE: u64 = 1 << 63;
const IS_READ: u64 = 1 << 62;
/// Bits of a record's upper half that exist.
const RECORD_BITS: u64 = IN_USE | IS_READ | 0xFF_0000_FFFF;

const MASKED: u32 = 1 << 31;
const WAITING: u32 = 1 << 30;

/// Why an access or an interrupt is blocked [VT-d table 25].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: u8,
    /// The entry that the fault came from says not to tell.
    pub(super) quiet: bool,
}

/// An interrupt of the unit's own: control, data, address, upper address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    registers: [u32; 4],
}

impl Default for Event {
    fn default() -> Self {
        Event { registers: [MASKED, 0, 0, 0] }
    }
}

impl Event {
    /// Register 0, 4, 8 or Ch of the four.
    pub(super) fn read(&self, offset: u64) -> u32 {
        self.registers[(offset >> 2 & 3) as usize]
    }

    pub(super) fn write(&mut self, cx: &mut DevCx<'_>, offset: u64, value: u32) {
        match offset >> 2 & 3 {
            0 => {
                self.registers[0] = self.registers[0] & WAITING | value & MASKED;
                self.send_if_open(cx);
            }
            2 => self.registers[2] = value & !3,
            n => self.registers[n as usize] = value,
        }
    }

    /// Sends the interrupt, now or when the mask opens.
    pub(super) fn raise(&mut self, cx: &mut DevCx<'_>) {
        self.registers[0] |= WAITING;
        self.send_if_open(cx);
    }

    /// Nothing waits any more that the interrupt would tell of.
    pub(super) fn withdraw(&mut self) {
        self.registers[0] &= !WAITING;
    }

    fn send_if_open(&mut self, cx: &mut DevCx<'_>) {
        let [control, data, address, _] = self.registers;
        if control & (MASKED | WAITING) == WAITING {
            self.withdraw();
            // No interrupt goes elsewhere.
            if address >> 20 == 0xFEE {
                cx.unit_interrupt(InterruptMessage { address, data });
            }
        }
    }

    pub(super) fn save(&self, w: &mut StateWriter, number: u8) {
        w.field(number, &self.registers);
    }

    pub(super) fn load(&mut self, r: &mut StateReader<'_>, number: u8) -> Result<(), StateError> {
        self.registers = r.field(number)?;
        if self.registers[0] & !(MASKED | WAITING) != 0 || self.registers[2] & 3 != 0 {
            return Err(r.invalid("an event's registers hold bits that do not exist"));
        }
        Ok(())
    }
}

/// What was recorded.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) event: Event,
    /// [`OVERFLOW`] and [`QUEUE_ERROR`].
    status: u32,
    records: [[u64; 2]; RECORDS],
    /// The record of the next fault.
    next: u8,
    /// The record of the first fault that is pending.
    first: u8,
}

impl Faults {
    fn pending(&self) -> bool {
        self.records.iter().any(|r| r[1] & IN_USE != 0)
    }

    /// The fault status register.
    pub(super) fn status(&self) -> u32 {
        if self.pending() { self.status | PENDING | u32::from(self.first) << 8 } else { self.status }
    }

    /// Ones clear bits of the fault status register.
    pub(super) fn clear_status(&mut self, value: u32) {
        self.status &= !(value & (OVERFLOW | QUEUE_ERROR));
        self.settle();
    }

    /// Whether the invalidation queue waits for its error to be cleared.
    pub(super) fn queue_stands(&self) -> bool {
        self.status & QUEUE_ERROR != 0
    }

    /// A quarter of a record, by its offset from the first.
    pub(super) fn record(&self, offset: u64) -> u32 {
        let half = self.records[(offset >> 4) as usize % RECORDS][(offset >> 3 & 1) as usize];
        (half >> (8 * (offset & 4))) as u32
    }

    /// A one in bit 127 frees a record.
    pub(super) fn clear_record(&mut self, offset: u64, value: u32) {
        if offset & 12 == 12 && value >> 31 != 0 {
            self.records[(offset >> 4) as usize % RECORDS][1] &= !IN_USE;
            self.settle();
        }
    }

    fn settle(&mut self) {
        if self.status() & (OVERFLOW | PENDING | QUEUE_ERROR) == 0 {
            self.event.withdraw();
        }
    }

    /// The invalidation queue met something that it can't do.
    pub(super) fn queue_error(&mut self, cx: &mut DevCx<'_>) {
        self.set(cx, |faults| faults.status |= QUEUE_ERROR);
    }

    /// Changes the status: an interrupt goes out only if nothing was in it before [VT-d 7.3].
    fn set(&mut self, cx: &mut DevCx<'_>, change: impl FnOnce(&mut Faults)) {
        let quiet = self.status() & (OVERFLOW | PENDING | QUEUE_ERROR) == 0;
        change(self);
        if quiet {
            self.event.raise(cx);
        }
    }

    /// An access of `sid` was blocked.
    pub(super) fn record_access(&mut self, cx: &mut DevCx<'_>, fault: Fault, sid: u16, page: u64, is_write: bool) {
        let kind = if is_write { 0 } else { IS_READ };
        self.log(cx, fault, page & !0xFFF, kind | u64::from(sid));
    }

    /// An interrupt of `sid` was blocked.
    pub(super) fn record_interrupt(&mut self, cx: &mut DevCx<'_>, fault: Fault, sid: u16, index: u16) {
        self.log(cx, fault, u64::from(index) << 48, sid.into());
    }

    /// Primary fault logging [VT-d 7.2.1].
    fn log(&mut self, cx: &mut DevCx<'_>, fault: Fault, what: u64, upper: u64) {
        if fault.quiet || self.status & OVERFLOW != 0 {
            return;
        }
        let upper = upper | u64::from(fault.reason) << 32 | IN_USE;
        self.set(cx, |faults| {
            let n = usize::from(faults.next) % RECORDS;
            if faults.records[n][1] & IN_USE != 0 {
                faults.status |= OVERFLOW;
                return;
            }
            if !faults.pending() {
                faults.first = n as u8;
            }
            faults.records[n] = [what, upper];
            faults.next = (n + 1) as u8 % RECORDS as u8;
        });
    }
}

impl State for Faults {
    const TAG: [u8; 4] = *b"VTDF";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { event, status, records, next, first } = self;
        event.save(w, 1);
        w.field(2, status);
        w.field(3, records);
        w.field(4, &[*next, *first]);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.event.load(r, 1)?;
        self.status = r.field::<u32>(2)? & (OVERFLOW | QUEUE_ERROR);
        self.records = r.field(3)?;
        let [next, first]: [u8; 2] = r.field(4)?;
        (self.next, self.first) = (next % RECORDS as u8, first % RECORDS as u8);
        if self.records.iter().any(|r| r[0] & 0xFFF != 0 || r[1] & !RECORD_BITS != 0) {
            return Err(r.invalid("a fault record holds bits that do not exist"));
        }
        Ok(())
    }
}
