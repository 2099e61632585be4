//! Intel VT-d remapping unit (an IOMMU): where accesses and interrupts of PCI functions and of the I/O APIC go.
//!
//! - Chip: the unit of the "Intel Virtualization Technology for Directed I/O" architecture, version 1.0 [VT-d], on no chip in
//!   particular. On this board it stands before everything: PCI functions, the 8237A (as the ISA bridge), the I/O APIC.
//! - Memory: region 0 = the registers, one page at FED90000h. Registers are read and written by 4 or 8 aligned bytes; shorter
//!   writes do nothing.
//! - Capabilities: 39 and 48 bits of address (3 and 4 levels), pages of 4 KiB, 2 MiB and 1 GiB, pass-through, queued
//!   invalidation, interrupt remapping for 8-bit APIC ids, 8 fault records.
//! - Left out: device TLBs, page requests, nested and scalable translation, posted interrupts, extended interrupt mode (there is
//!   no x2APIC), protected memory regions, advanced fault logs. Their registers read as zero.
//!
//! Nothing is cached: each access walks the tables as they are. So every invalidation is done when it is asked for, and a driver
//! that forgets one is not found out. (The architecture lets a unit forget what it has cached at any time.)
//!
//! The I/O APIC has no source-id here, and its interrupts are not checked for one.

mod faults;
mod interrupts;
mod queue;
#[cfg(test)]
mod tests;
mod translate;

use emu_core::bus::{DevCx, Device, DeviceId, InterruptMessage, MmioDevice, PciAddress, RemappingUnit};
use emu_core::mem::Target;
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::{Bus, PhysMem, Ticks};

use faults::Faults;
use queue::Queue;

/// Where the registers lie.
pub const BASE: u64 = 0xFED9_0000;
const PAGE: u64 = 0x1000;

/// Version 1.0.
const VERSION: u32 = 0x10;
/// Capabilities [VT-d 10.4.2]: 2^16 domains (6 in bits 2:0), 3 and 4 levels (9, 10), addresses of 48 bits (21:16), zero-length
/// reads (22), fault records at 200h (33:24), 2 MiB and 1 GiB (34, 35), invalidation of pages (39), 8 fault records (47:40), up
/// to 2^18 pages at once (53:48), write and read draining (54, 55).
const CAP: u64 =
    6 | 3 << 9 | 47 << 16 | 1 << 22 | 0x20 << 24 | 3 << 34 | 1 << 39 | 7 << 40 | MAX_ADDRESS_MASK << 48 | 3 << 54;
/// Extended capabilities [VT-d 10.4.3]: coherent (0), queued invalidation (1), interrupt remapping (3), pass-through (6), IOTLB
/// registers at 100h (17:8), interrupt masks of up to 15 bits (23:20).
const ECAP: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 6 | 0x10 << 8 | MAX_HANDLE_MASK << 20;
/// The most pages that one descriptor invalidates, as a power of 2.
const MAX_ADDRESS_MASK: u64 = 18;
/// The most interrupt entries that one descriptor invalidates, likewise.
const MAX_HANDLE_MASK: u64 = 15;

/// Register offsets [VT-d 10.4].
mod at {
    pub(super) const VER: u64 = 0x00;
    pub(super) const CAP: u64 = 0x08;
    pub(super) const ECAP: u64 = 0x10;
    pub(super) const GCMD: u64 = 0x18;
    pub(super) const GSTS: u64 = 0x1C;
    pub(super) const RTADDR: u64 = 0x20;
    pub(super) const CCMD: u64 = 0x28;
    pub(super) const FSTS: u64 = 0x34;
    pub(super) const FECTL: u64 = 0x38;
    pub(super) const FEUADDR: u64 = 0x44;
    pub(super) const IQH: u64 = 0x80;
    pub(super) const IQA: u64 = 0x90;
    pub(super) const ICS: u64 = 0x9C;
    pub(super) const IECTL: u64 = 0xA0;
    pub(super) const IEUADDR: u64 = 0xAC;
    pub(super) const IRTA: u64 = 0xB8;
    pub(super) const IVA: u64 = 0x100;
    pub(super) const IOTLB: u64 = 0x108;
    pub(super) const FRCD: u64 = 0x200;
    pub(super) const FRCD_END: u64 = FRCD + 16 * super::faults::RECORDS as u64;
}

/// Bits of the global command and status registers [VT-d 10.4.4-5].
const TRANSLATION: u32 = 1 << 31;
const ROOT_TABLE: u32 = 1 << 30;
const QUEUE: u32 = 1 << 26;
const INTERRUPTS: u32 = 1 << 25;
const INTERRUPT_TABLE: u32 = 1 << 24;
const COMPATIBILITY: u32 = 1 << 23;
/// What a command switches on and off; the two table pointers are one-shot.
const SWITCHES: u32 = TRANSLATION | QUEUE | INTERRUPTS | COMPATIBILITY;

/// The unit.
#[derive(Debug)]
pub struct Vtd {
    // State
    status: u32,
    /// RTADDR, and what the unit has taken from it.
    root: u64,
    root_in_use: u64,
    /// IRTA, and what the unit has taken from it.
    interrupts: u64,
    interrupts_in_use: u64,
    context_command: u64,
    invalidate_address: u64,
    iotlb_command: u64,
    faults: Faults,
    queue: Queue,
}

impl Default for Vtd {
    fn default() -> Self {
        Self::new()
    }
}

impl Vtd {
    /// The unit after power-on.
    #[must_use]
    pub fn new() -> Vtd {
        Vtd {
            status: 0,
            root: 0,
            root_in_use: 0,
            interrupts: 0,
            interrupts_in_use: 0,
            context_command: 0,
            invalidate_address: 0,
            iotlb_command: 0,
            faults: Faults::default(),
            queue: Queue::default(),
        }
    }

    /// Puts the unit on the bus, before all others; the 8237A's accesses are those of function `dma_controller`.
    pub fn install(bus: &mut Bus, mem: &mut PhysMem, dma_controller: PciAddress) -> DeviceId {
        let id = bus.add(Box::new(Vtd::new()));
        bus.map_mmio(mem, id, BASE, PAGE, 0);
        bus.set_remapping_unit(id, dma_controller);
        id
    }

    /// Half a register.
    fn register(&self, offset: u64) -> u32 {
        let half = |register: u64| (register >> (8 * (offset & 4))) as u32;
        match offset & !7 {
            at::CAP => return half(CAP),
            at::ECAP => return half(ECAP),
            at::RTADDR => return half(self.root),
            at::CCMD => return half(self.context_command),
            at::IRTA => return half(self.interrupts),
            at::IVA => return 0,
            at::IOTLB => return half(self.iotlb_command),
            at::IQH..=0x97 => return half(self.queue.register(offset & !7)),
            _ => {}
        }
        match offset {
            at::VER => VERSION,
            at::GSTS => self.status,
            at::FSTS => self.faults.status(),
            at::FECTL..=at::FEUADDR => self.faults.event.read(offset - at::FECTL),
            at::ICS => self.queue.completion(),
            at::IECTL..=at::IEUADDR => self.queue.event.read(offset - at::IECTL),
            at::FRCD..at::FRCD_END => self.faults.record(offset - at::FRCD),
            _ => 0,
        }
    }

    fn write_register(&mut self, cx: &mut DevCx<'_>, offset: u64, value: u32) {
        match offset & !7 {
            at::RTADDR => put(&mut self.root, offset, value, !0xFFF),
            at::CCMD => {
                put(&mut self.context_command, offset, value, !(3 << 59));
                self.context_command = complete(self.context_command, 61, 59, true);
            }
            at::IRTA => put(&mut self.interrupts, offset, value, !0xFF0 & !(1 << 11)),
            at::IVA => put(&mut self.invalidate_address, offset, value, !0),
            at::IOTLB => {
                put(&mut self.iotlb_command, offset, value, !(3 << 57));
                let fits = self.iotlb_command >> 60 & 3 != 3 || self.invalidate_address & 0x3F <= MAX_ADDRESS_MASK;
                self.iotlb_command = complete(self.iotlb_command, 60, 57, fits);
            }
            at::IQH..=0x97 => {
                self.queue.write(offset, value);
                self.run_queue(cx);
            }
            _ => self.write_half(cx, offset, value),
        }
    }

    fn write_half(&mut self, cx: &mut DevCx<'_>, offset: u64, value: u32) {
        match offset {
            at::GCMD => self.command(cx, value),
            at::FSTS => {
                self.faults.clear_status(value);
                self.run_queue(cx);
            }
            at::FECTL..=at::FEUADDR => self.faults.event.write(cx, offset - at::FECTL, value),
            at::ICS => self.queue.clear_completion(value),
            at::IECTL..=at::IEUADDR => self.queue.event.write(cx, offset - at::IECTL, value),
            at::FRCD..at::FRCD_END => self.faults.clear_record(offset - at::FRCD, value),
            _ => {}
        }
    }

    /// The global command register: everything is done at once.
    fn command(&mut self, cx: &mut DevCx<'_>, value: u32) {
        if value & ROOT_TABLE != 0 {
            self.root_in_use = self.root;
        }
        if value & INTERRUPT_TABLE != 0 {
            self.interrupts_in_use = self.interrupts;
        }
        self.status = self.status & !SWITCHES | value & (SWITCHES | ROOT_TABLE | INTERRUPT_TABLE);
        if self.status & QUEUE == 0 {
            self.queue.stop();
        }
        self.run_queue(cx);
    }

    fn run_queue(&mut self, cx: &mut DevCx<'_>) {
        if self.status & QUEUE != 0 && !self.faults.queue_stands() && !self.queue.run(cx) {
            self.faults.queue_error(cx);
        }
    }
}

/// Writes half of a 64-bit register, as far as its bits exist.
fn put(register: &mut u64, offset: u64, value: u32, exists: u64) {
    let shift = 8 * (offset & 4);
    let mask = exists & 0xFFFF_FFFF << shift;
    *register = *register & !mask | u64::from(value) << shift & mask;
}

/// Ends an invalidation that bit 63 of a register asks for: what was asked for, 2 bits at `asked`, is what was done, at `done`.
fn complete(register: u64, asked: u32, done: u32, possible: bool) -> u64 {
    if register >> 63 == 0 {
        return register;
    }
    let granted = if possible { register >> asked & 3 } else { 0 };
    register & !(1 << 63 | 3 << done) | granted << done
}

/// An entry of 16 bytes in a table; `None` where there is no memory.
fn entry(mem: &PhysMem, at: u64) -> Option<(u64, u64)> {
    is_memory(mem, at).then(|| (mem.load(at), mem.load(at + 8)))
}

fn is_memory(mem: &PhysMem, at: u64) -> bool {
    matches!(mem.target(at).0, Target::Pool(_))
}

fn source_id(source: PciAddress) -> u16 {
    u16::from(source.bus) << 8 | u16::from(source.device & 31) << 3 | u16::from(source.function & 7)
}

impl Device for Vtd {
    fn name(&self) -> &'static str {
        "vtd"
    }

    fn reset(&mut self, _cx: &mut DevCx<'_>) {
        *self = Vtd::new();
    }

    fn mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }

    fn remapping_unit(&mut self) -> Option<&mut dyn RemappingUnit> {
        Some(self)
    }
}

impl MmioDevice for Vtd {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8) -> u64 {
        MmioDevice::peek(self, cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u64, size: u8, value: u64) {
        if size < 4 || !offset.is_multiple_of(4) {
            return;
        }
        self.write_register(cx, offset, value as u32);
        if size == 8 {
            self.write_register(cx, offset + 4, (value >> 32) as u32);
        }
    }

    fn peek(&self, _now: Ticks, _region: u16, offset: u64, size: u8) -> u64 {
        let base = offset & !3;
        let value = u64::from(self.register(base)) | u64::from(self.register(base + 4)) << 32;
        value >> (8 * (offset & 3)) & u64::MAX >> (64 - 8 * u32::from(size))
    }
}

impl RemappingUnit for Vtd {
    fn translate(&mut self, cx: &mut DevCx<'_>, source: PciAddress, page: u64, is_write: bool) -> Option<u64> {
        if self.status & TRANSLATION == 0 {
            return Some(page);
        }
        let sid = source_id(source);
        match translate::walk(cx.mem, self.root_in_use, sid, page, is_write) {
            Ok(to) => Some(to),
            Err(fault) => {
                self.faults.record_access(cx, fault, sid, page, is_write);
                None
            }
        }
    }

    fn remap_interrupt(
        &mut self,
        cx: &mut DevCx<'_>,
        source: Option<PciAddress>,
        message: InterruptMessage,
    ) -> Option<InterruptMessage> {
        if self.status & INTERRUPTS == 0 {
            return Some(message);
        }
        let (sid, pass) = (source.map(source_id), self.status & COMPATIBILITY != 0);
        match interrupts::remap(cx.mem, self.interrupts_in_use, pass, sid, message) {
            Ok(message) => Some(message),
            Err((fault, index)) => {
                self.faults.record_interrupt(cx, fault, sid.unwrap_or(0), index);
                None
            }
        }
    }
}

impl State for Vtd {
    const TAG: [u8; 4] = *b"VTD ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            status,
            root,
            root_in_use,
            interrupts,
            interrupts_in_use,
            context_command,
            invalidate_address,
            iotlb_command,
            faults,
            queue,
        } = self;
        w.field(1, status);
        w.field(2, &[*root, *root_in_use, *interrupts, *interrupts_in_use]);
        w.field(3, &[*context_command, *invalidate_address, *iotlb_command]);
        w.part(4, faults);
        w.part(5, queue);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.status = r.field::<u32>(1)? & (SWITCHES | ROOT_TABLE | INTERRUPT_TABLE);
        [self.root, self.root_in_use, self.interrupts, self.interrupts_in_use] = r.field(2)?;
        [self.context_command, self.invalidate_address, self.iotlb_command] = r.field(3)?;
        r.part(4, &mut self.faults)?;
        r.part(5, &mut self.queue)?;
        let tables = [self.root, self.root_in_use].iter().all(|t| t & 0xFFF == 0);
        let interrupts = [self.interrupts, self.interrupts_in_use].iter().all(|t| t & 0xFF0 == 0);
        if !(tables && interrupts) {
            return Err(r.invalid("a table's address holds bits that do not exist"));
        }
        Ok(())
    }
}
