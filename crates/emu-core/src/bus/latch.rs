//! Ports that only keep what is written to them. Programs write to port 80h to let time pass, again and again; of such a
//! register nobody sees but the last byte, so its device gets that one when it is called for something else, or when the
//! run stops. Until then it waits here, which never lasts beyond a chain: nothing here is part of the machine's state.

use super::DeviceId;
use super::map::PortRange;
use crate::time::Ticks;

/// The port that was written last of those that latch.
#[derive(Clone, Copy)]
pub(super) struct Latch {
    /// No port has the number of none.
    port: u32,
    value: u8,
    /// The device does not have the byte yet.
    waits: bool,
    at: Ticks,
    device: DeviceId,
    region: u16,
    offset: u16,
}

/// A byte that its device is to be given.
pub(super) struct Kept {
    pub(super) device: DeviceId,
    pub(super) region: u16,
    pub(super) offset: u16,
    pub(super) value: u8,
    /// When it was written.
    pub(super) at: Ticks,
}

const NO_PORT: u32 = u32::MAX;

impl Default for Latch {
    fn default() -> Self {
        Latch { port: NO_PORT, value: 0, waits: false, at: Ticks(0), device: DeviceId(0), region: 0, offset: 0 }
    }
}

impl Latch {
    /// A byte was written to `port` of `range`, which latches. None waits.
    pub(super) fn open(&mut self, port: u16, range: PortRange) {
        let offset = port.wrapping_sub(range.base);
        *self = Latch { port: port.into(), device: range.device, region: range.region, offset, ..Latch::default() };
    }

    /// Ports are other ones, or are watched. None waits.
    pub(super) fn close(&mut self) {
        self.port = NO_PORT;
    }

    /// Takes a byte that is written to `port`. Returns whether that is the port.
    #[inline(always)]
    pub(super) fn write(&mut self, now: Ticks, port: u16, value: u8) -> bool {
        if self.port != u32::from(port) {
            return false;
        }
        (self.value, self.waits, self.at) = (value, true, now);
        true
    }

    /// Whether a byte waits, for any device or for this one.
    #[inline(always)]
    pub(super) fn waits(&self, device: Option<DeviceId>) -> bool {
        self.waits && device.is_none_or(|device| device == self.device)
    }

    /// What waits, which is to be handed over.
    pub(super) fn take(&mut self) -> Option<Kept> {
        let Latch { value, at, device, region, offset, .. } = *self;
        core::mem::take(&mut self.waits).then_some(Kept { device, region, offset, value, at })
    }
}
