//! Ports that read the same again and again: programs that wait read one port in a loop, and most of what such a register
//! holds changes only when its device is called for something else. Nothing here is part of the machine's state.

use super::DeviceId;
use crate::time::Ticks;

/// Ports whose values are kept.
const KEPT: usize = 16;

/// A byte that a port reads without anything changing.
#[derive(Clone, Copy)]
struct Steady {
    port: u16,
    value: u8,
    /// Before this tick.
    until: Ticks,
}

/// What a device has done last.
#[derive(Clone, Copy)]
struct Last {
    /// The port of which a byte was read, if that was it.
    port: Option<u16>,
    /// Where its port is kept; one past the end if it never was.
    kept: u8,
}

/// The ports of all devices.
pub(super) struct SteadyPorts {
    /// By the low bits of their numbers; the last one is nobody's.
    kept: [Steady; KEPT + 1],
    devices: Vec<Last>,
}

const NOTHING: Steady = Steady { port: 0, value: 0, until: Ticks(0) };

impl Default for SteadyPorts {
    fn default() -> Self {
        SteadyPorts { kept: [NOTHING; KEPT + 1], devices: Vec::new() }
    }
}

impl SteadyPorts {
    /// One device more.
    pub(super) fn add(&mut self) {
        self.devices.push(Last { port: None, kept: KEPT as u8 });
    }

    /// The device is called, or may be changed.
    #[inline(always)]
    pub(super) fn end(&mut self, device: DeviceId) {
        if let Some(last) = self.devices.get_mut(usize::from(device.0)) {
            last.port = None;
            self.kept[usize::from(last.kept).min(KEPT)].until = Ticks(0);
        }
    }

    /// Any device may be changed, or may answer at other ports.
    pub(super) fn end_all(&mut self) {
        self.kept.fill(NOTHING);
        self.devices.iter_mut().for_each(|last| last.port = None);
    }

    /// What a byte of `port` reads at `now`, if that is known.
    #[inline(always)]
    pub(super) fn value(&self, port: u16, now: Ticks) -> Option<u8> {
        let steady = &self.kept[usize::from(port) % KEPT];
        if steady.port == port && now < steady.until { Some(steady.value) } else { None }
    }

    /// Whether a byte of `port` was read last.
    pub(super) fn is_last(&self, device: DeviceId, port: u16) -> bool {
        self.devices.get(usize::from(device.0)).is_some_and(|last| last.port == Some(port))
    }

    /// A byte of `port` has just read `value`, and does so until `until` (itself not included), if that is known.
    pub(super) fn note(&mut self, device: DeviceId, port: u16, value: u8, until: Option<Ticks>) {
        let Some(last) = self.devices.get_mut(usize::from(device.0)) else { return };
        last.port = Some(port);
        if let Some(until) = until {
            let n = usize::from(port) % KEPT;
            last.kept = n as u8;
            self.kept[n] = Steady { port, value, until };
        }
    }
}
