//! Wires between chips. A wire has one driver and a level; a sink sees the OR of all wires that lead to it.

use super::remap::Posted;
use super::{CpuSignal, DeviceId, Output, PciAddress, Remap};
use crate::state::{State, StateError, StateReader, StateWriter};
use crate::time::Ticks;

/// A wire, as the board numbered it. The default leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire(pub u16);

impl Wire {
    /// Not connected.
    pub const NONE: Wire = Wire(u16::MAX);
}

impl Default for Wire {
    fn default() -> Self {
        Wire::NONE
    }
}

/// Where a wire can lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A pin of a device.
    Pin(DeviceId, u16),
    /// INTR of a CPU.
    Intr(u8),
    /// NMI of a CPU (its rising edge counts).
    Nmi(u8),
    /// The A20 gate: open while any of its wires is high.
    A20,
    /// RESET of all CPUs (rising edge): the machine's chips keep their state.
    CpuReset,
    /// RESET of the whole machine (rising edge).
    MachineReset,
    /// SMI# of all CPUs, as a positive level (its rising edge counts): each has its own SMBASE [SDM-3 34.4].
    Smi,
    /// IGNNE# of a CPU, as a positive level.
    Ignne(u8),
    /// DREQ of a DMA channel.
    DmaRequest(u8),
}

/// What a device asked for during a call, carried out by the bus right after it.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) wires: Vec<(Wire, bool)>,
    pub(super) signals: Vec<CpuSignal>,
    pub(super) remaps: Vec<(DeviceId, Remap)>,
    pub(super) dma_kicks: Vec<u8>,
    pub(super) messages: Vec<Posted>,
    pub(super) output: Vec<(Ticks, Output)>,
    /// The output ends the run: the chain must not go on behind the present instruction.
    pub(super) ends: bool,
    pub(super) pci_forward: Option<(PciAddress, u8)>,
}

impl Effects {
    /// Whether nothing waits to be carried out.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.wires.len() | self.signals.len() | self.remaps.len() | self.dma_kicks.len() | self.messages.len() == 0
    }

    /// Whether nothing waits that goes to a chip or a CPU.
    #[inline]
    pub(super) fn rings_nobody(&self) -> bool {
        self.wires.len() | self.signals.len() | self.dma_kicks.len() | self.messages.len() == 0
    }

    pub(super) fn set_wire(&mut self, wire: Wire, level: bool) {
        if wire != Wire::NONE {
            self.wires.push((wire, level));
        }
    }
}

/// The levels of all wires, and where they lead.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Level of each wire.
    levels: Vec<bool>,
    /// Sinks of each wire, as indices into `sinks`.
    routes: Vec<Vec<usize>>,
    sinks: Vec<Sink>,
    /// How many wires of each sink are high.
    high: Vec<u16>,
}

impl Lines {
    pub(super) fn add_wire(&mut self) -> Wire {
        self.levels.push(false);
        self.routes.push(Vec::new());
        Wire((self.levels.len() - 1) as u16)
    }

    pub(super) fn connect(&mut self, wire: Wire, sink: Sink) {
        let i = self.sinks.iter().position(|&s| s == sink).unwrap_or_else(|| {
            self.sinks.push(sink);
            self.high.push(0);
            self.sinks.len() - 1
        });
        if let Some(route) = self.routes.get_mut(wire.0 as usize) {
            route.push(i);
        }
    }

    /// Whether `sink` is all that `wire` leads to.
    pub(super) fn leads_only_to(&self, wire: Wire, sink: Sink) -> bool {
        self.routes.get(wire.0 as usize).is_some_and(|r| r.len() == 1 && self.sinks[r[0]] == sink)
    }

    /// Whether `wire` has `level`, or does not exist.
    pub(super) fn is_at(&self, wire: Wire, level: bool) -> bool {
        self.levels.get(wire.0 as usize).is_none_or(|&l| l == level)
    }

    /// Sets a level; calls `changed` for each sink whose own level changes with it.
    pub(super) fn set(&mut self, wire: Wire, level: bool, mut changed: impl FnMut(Sink, bool)) {
        let w = wire.0 as usize;
        if self.levels.get(w).is_none_or(|&old| old == level) {
            return;
        }
        self.levels[w] = level;
        for &i in &self.routes[w] {
            let before = self.high[i];
            self.high[i] = if level { before + 1 } else { before - 1 };
            if (before == 0) != (self.high[i] == 0) {
                changed(self.sinks[i], level);
            }
        }
    }
}

/// Levels only: they are loaded without telling anyone, as every chip loads what it knew of them.
impl State for Lines {
    const TAG: [u8; 4] = *b"LINE";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { levels, routes: _, sinks: _, high: _ } = self;
        w.field(1, levels);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let levels: Vec<bool> = r.field(1)?;
        if levels.len() != self.levels.len() {
            return Err(r.invalid("it belongs to a board with other wires"));
        }
        self.levels = levels;
        self.high.fill(0);
        for (w, _) in self.levels.iter().enumerate().filter(|&(_, &level)| level) {
            for &i in &self.routes[w] {
                self.high[i] += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_sink_is_the_or_of_its_wires() {
        let mut lines = Lines::default();
        let (a, b) = (lines.add_wire(), lines.add_wire());
        lines.connect(a, Sink::Intr(0));
        lines.connect(b, Sink::Intr(0));
        let mut seen = Vec::new();
        for (wire, level) in [(a, true), (b, true), (a, false), (a, false), (b, false)] {
            lines.set(wire, level, |sink, level| seen.push((sink, level)));
        }
        assert_eq!(seen, [(Sink::Intr(0), true), (Sink::Intr(0), false)]);
        lines.set(Wire::NONE, true, |_, _| panic!("leads nowhere"));
    }
}
