//! Which device answers at a port or in a memory region.

use super::DeviceId;

/// A range of ports of one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct PortRange {
    pub(super) device: DeviceId,
    pub(super) base: u16,
    pub(super) region: u16,
    pub(super) width: u8,
    /// Writes of single bytes are only kept ([`super::PortDevice::latches`]).
    pub(super) latches: bool,
}

/// A flat table: port to range.
#[derive(Debug)]
pub(super) struct PortMap {
    /// For each port: 0 = nobody, else the range's number + 1.
    slots: Box<[u16]>,
    ranges: Vec<Option<PortRange>>,
}

impl Default for PortMap {
    fn default() -> Self {
        PortMap { slots: vec![0; 0x1_0000].into(), ranges: Vec::new() }
    }
}

impl PortMap {
    pub(super) fn get(&self, port: u16) -> Option<PortRange> {
        match self.slots[port as usize] {
            0 => None,
            n => self.ranges[n as usize - 1],
        }
    }

    /// The latest mapping of a port wins.
    pub(super) fn map(&mut self, len: u16, range: PortRange) {
        let free = self.ranges.iter().position(Option::is_none);
        let i = free.unwrap_or_else(|| {
            self.ranges.push(None);
            self.ranges.len() - 1
        });
        self.ranges[i] = Some(range);
        let first = range.base as usize;
        let end = (first + len as usize).min(self.slots.len());
        self.slots[first..end].fill(i as u16 + 1);
    }

    pub(super) fn unmap(&mut self, device: DeviceId, region: u16) {
        for i in 0..self.ranges.len() {
            if self.ranges[i].is_some_and(|r| r.device == device && r.region == region) {
                self.ranges[i] = None;
                self.slots.iter_mut().filter(|s| **s == i as u16 + 1).for_each(|s| *s = 0);
            }
        }
    }
}

/// A memory region of one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct MmioRange {
    pub(super) device: DeviceId,
    pub(super) base: u64,
    pub(super) len: u64,
    pub(super) region: u16,
}

/// Memory regions by the number that [`crate::mem::Target::Mmio`] carries.
#[derive(Debug, Default)]
pub(super) struct MmioMap {
    ranges: Vec<Option<MmioRange>>,
}

impl MmioMap {
    pub(super) fn get(&self, number: u16) -> Option<MmioRange> {
        self.ranges.get(number as usize).copied().flatten()
    }

    pub(super) fn map(&mut self, range: MmioRange) -> u16 {
        let free = self.ranges.iter().position(Option::is_none);
        let i = free.unwrap_or_else(|| {
            self.ranges.push(None);
            self.ranges.len() - 1
        });
        self.ranges[i] = Some(range);
        i as u16
    }

    pub(super) fn unmap(&mut self, device: DeviceId, region: u16) -> Vec<MmioRange> {
        let theirs = |r: &MmioRange| r.device == device && r.region == region;
        self.ranges.iter_mut().filter(|r| r.as_ref().is_some_and(theirs)).filter_map(Option::take).collect()
    }
}
