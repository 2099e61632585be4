//! Accesses that functions make as bus masters, and interrupts that are messages: where a remapping unit (an IOMMU) may
//! stand between them and the machine.

use super::device::{DevCx, Device};
use super::{DeviceId, PciAddress};
use crate::mem::PAGE_SIZE;

/// Where interrupt messages go: writes of 32 bits at these addresses are no accesses to memory [SDM-3 10.11.1].
const INTERRUPTS: core::ops::Range<u64> = 0xFEE0_0000..0xFEF0_0000;

/// An interrupt as it travels on the bus: the address and the data of a write [SDM-3 10.11].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptMessage {
    /// FEExxxxxh: the destination, and how it is meant.
    pub address: u32,
    /// Vector, delivery mode, trigger mode.
    pub data: u32,
}

/// A unit that says where accesses and interrupts of others go. Both calls come during an access of another device, and see
/// memory and the unit's registers as they are at that moment.
pub trait RemappingUnit {
    /// Where the access of `source` to the page at `page` goes: to this physical page. `None`: it is blocked.
    fn translate(&mut self, cx: &mut DevCx<'_>, source: PciAddress, page: u64, is_write: bool) -> Option<u64>;
    /// What becomes of an interrupt message: one that the local APICs understand. `None`: it is blocked. A message without a
    /// source is the I/O APIC's.
    fn remap_interrupt(
        &mut self,
        cx: &mut DevCx<'_>,
        source: Option<PciAddress>,
        message: InterruptMessage,
    ) -> Option<InterruptMessage>;
}

/// A message that waits for the end of the present call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posted {
    pub(super) message: InterruptMessage,
    /// Whose it is: where the unit asks for one. `None`: the unit's own, which nothing remaps.
    pub(super) source: Option<PciAddress>,
}

impl DevCx<'_> {
    /// Calls the machine's remapping unit, if it has one.
    fn unit<R>(&mut self, call: impl FnOnce(&mut dyn RemappingUnit, &mut DevCx<'_>) -> R) -> Option<R> {
        let (me, device) = self.unit.as_mut()?;
        let mut cx = DevCx {
            now: self.now,
            rate: self.rate,
            mem: self.mem,
            me: *me,
            images: self.images,
            sched: self.sched,
            effects: self.effects,
            unit: None,
        };
        device.remapping_unit().map(|unit| call(unit, &mut cx))
    }

    /// The physical address of an access of `source` at `address`; `None` if it is blocked.
    fn translated(&mut self, source: PciAddress, address: u64, is_write: bool) -> Option<u64> {
        let (page, offset) = (address & !(PAGE_SIZE - 1), address & (PAGE_SIZE - 1));
        match self.unit(|unit, cx| unit.translate(cx, source, page, is_write)) {
            None => Some(address),
            Some(to) => to.map(|page| page | offset),
        }
    }

    /// The function `source` reads memory as a bus master. Returns whether all of it could be read: what is blocked reads as
    /// FFh, and nothing behind it is asked for.
    pub fn dma_read(&mut self, source: PciAddress, address: u64, bytes: &mut [u8]) -> bool {
        bytes.fill(0xFF);
        let mut at = address;
        for part in pages(address, bytes) {
            let Some(pa) = self.translated(source, at, false) else { return false };
            self.mem.read(pa, part);
            at = at.wrapping_add(part.len() as u64);
        }
        true
    }

    /// The function `source` writes memory as a bus master. Returns whether all of it could be written: nothing is, from the
    /// first page on that is blocked. A write of 32 bits at FEExxxxxh is an interrupt message.
    pub fn dma_write(&mut self, source: PciAddress, address: u64, bytes: &[u8]) -> bool {
        if INTERRUPTS.contains(&address) {
            if let (Ok(data), true) = (<[u8; 4]>::try_from(bytes), address.is_multiple_of(4)) {
                let message = InterruptMessage { address: address as u32, data: u32::from_le_bytes(data) };
                self.interrupt_message(source, message);
            }
            return true;
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = address.wrapping_add(done as u64);
            let n = (bytes.len() - done).min((PAGE_SIZE - at % PAGE_SIZE) as usize);
            let Some(pa) = self.translated(source, at, true) else { return false };
            self.mem.write(pa, &bytes[done..done + n]);
            done += n;
        }
        true
    }

    /// The function `source` sends an interrupt message (MSI). It arrives before the present instruction ends.
    pub fn interrupt_message(&mut self, source: PciAddress, message: InterruptMessage) {
        self.effects.messages.push(Posted { message, source: Some(source) });
    }

    /// A remapping unit sends an interrupt message of its own.
    pub fn unit_interrupt(&mut self, message: InterruptMessage) {
        self.effects.messages.push(Posted { message, source: None });
    }

    /// What the remapping unit makes of the I/O APIC's `message`; `None` if it is blocked.
    pub fn remap_interrupt(&mut self, message: InterruptMessage) -> Option<InterruptMessage> {
        self.remapped(None, message)
    }

    pub(super) fn remapped(
        &mut self,
        source: Option<PciAddress>,
        message: InterruptMessage,
    ) -> Option<InterruptMessage> {
        self.unit(|unit, cx| unit.remap_interrupt(cx, source, message)).unwrap_or(Some(message))
    }
}

/// Splits what lies at `address` at the ends of pages.
fn pages(address: u64, bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let first = ((PAGE_SIZE - address % PAGE_SIZE) as usize).min(bytes.len());
    let (head, tail) = bytes.split_at_mut(first);
    core::iter::once(head).filter(|h| !h.is_empty()).chain(tail.chunks_mut(PAGE_SIZE as usize))
}

/// The device `id`, and the remapping unit if that is another one.
pub(super) fn with_unit(
    devices: &mut [Box<dyn Device>],
    id: DeviceId,
    unit: DeviceId,
) -> (&mut dyn Device, Option<(DeviceId, &mut dyn Device)>) {
    let (d, u) = (usize::from(id.0), usize::from(unit.0));
    if d == u || d.max(u) >= devices.len() {
        return (&mut *devices[d], None);
    }
    let (before, from) = devices.split_at_mut(d.max(u));
    let (device, other) = if d < u { (&mut before[d], &mut from[0]) } else { (&mut from[0], &mut before[u]) };
    (&mut **device, Some((unit, &mut **other)))
}
