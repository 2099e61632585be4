//! The PC's interrupt controllers: two 8259A (AT), or one (XT), with PIIX3's edge/level registers where the board has them.
//!
//! Datasheets: Intel 8259A (231468-003), "[8259A p.N]"; 82371SB PIIX3 §2.5.5 (ELCR).
//! Regions: 0 = master (2 ports, 20h), 1 = slave (2 ports, A0h), 2 = ELCR (2 ports, 4D0h).
//! Input pins 0 to 15 are IRQ0 to IRQ15. Pin 2 belongs to the cascade, except on the XT. One output wire, INTR.
//! Left out: buffered mode has no effect, as no data bus transceiver can be seen.

mod chip;
#[cfg(test)]
mod tests;

use chip::Chip;
use emu_core::bus::{Ack, InputPins, InterruptController, PortDevice};
use emu_core::{ClockRate, DevCx, Device, State, StateError, StateReader, StateWriter, Ticks, Wire};

/// The ports of the master.
pub const REGION_MASTER: u16 = 0;
/// The ports of the slave.
pub const REGION_SLAVE: u16 = 1;
/// The edge/level control registers.
pub const REGION_ELCR: u16 = 2;

/// IRQs that ELCR can make level-sensed: all but 0, 1, 2, 8 and 13 [PIIX3 §2.5.5].
const ELCR_WRITABLE: [u8; 2] = [0xF8, 0xDE];
/// The master's input where the slave sits.
const CASCADE: u8 = 2;

/// Which chips the board has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PicKind {
    /// One 8259A.
    Xt,
    /// Two, the slave at IRQ2.
    At,
    /// Two with edge/level control registers, which replace ICW1's LTIM bit.
    Piix,
}

/// What one chip holds, for debuggers. Masks have IR0 in bit 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PicRegisters {
    /// Levels of the pins.
    pub lines: u8,
    /// Requests.
    pub irr: u8,
    /// Masked levels.
    pub imr: u8,
    /// Levels in service.
    pub isr: u8,
    /// Vector of IR0.
    pub base: u8,
}

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct PicWires {
    /// INTR of the CPU (or of the local APIC's LINT0).
    pub intr: Wire,
}

/// Both interrupt controllers of a PC.
#[derive(Debug)]
pub struct DualPic {
    // Configuration
    kind: PicKind,
    // Wiring
    wires: PicWires,
    // State
    master: Chip,
    slave: Chip,
}

impl DualPic {
    /// Controllers in their power-on state.
    #[must_use]
    pub fn new(kind: PicKind, wires: PicWires) -> DualPic {
        let has_elcr = kind == PicKind::Piix;
        DualPic { kind, wires, master: Chip::new(has_elcr), slave: Chip::new(has_elcr) }
    }

    /// Whether INTR is high.
    #[must_use]
    pub fn intr(&self) -> bool {
        self.master.request().is_some()
    }

    /// What both chips hold, the master first, for debuggers.
    #[must_use]
    pub fn registers(&self) -> [PicRegisters; 2] {
        [self.master.registers(), self.slave.registers()]
    }

    /// Carries the slave's INT to the master, and the master's to the wire.
    fn settle(&mut self, cx: &mut DevCx<'_>) {
        if self.kind != PicKind::Xt {
            self.master.set_line(CASCADE, self.slave.request().is_some());
        }
        cx.set_wire(self.wires.intr, self.intr());
    }

    fn chip(&mut self, region: u16) -> Option<&mut Chip> {
        match region {
            REGION_MASTER => Some(&mut self.master),
            REGION_SLAVE if self.kind != PicKind::Xt => Some(&mut self.slave),
            _ => None,
        }
    }

    fn elcr(&self, offset: u16) -> u8 {
        match self.kind {
            PicKind::Piix if offset == 0 => self.master.elcr,
            PicKind::Piix => self.slave.elcr,
            _ => 0xFF,
        }
    }
}

impl Device for DualPic {
    fn name(&self) -> &str {
        "pic"
    }
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.master.reset();
        self.slave.reset();
        self.settle(cx);
    }
    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
    fn pins(&mut self) -> Option<&mut dyn InputPins> {
        Some(self)
    }
    fn interrupt_controller(&mut self) -> Option<&mut dyn InterruptController> {
        Some(self)
    }
}

impl PortDevice for DualPic {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8) -> u32 {
        if region == REGION_ELCR {
            return self.elcr(offset).into();
        }
        let Some(chip) = self.chip(region) else { return 0xFF };
        let polls = chip.polls();
        let value = chip.read(offset & 1 != 0);
        if polls {
            self.settle(cx); // it has taken a request into service
        }
        value.into()
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8, value: u32) {
        let odd = offset & 1 != 0;
        if region == REGION_ELCR && self.kind == PicKind::Piix {
            let chip = if odd { &mut self.slave } else { &mut self.master };
            chip.elcr = value as u8 & ELCR_WRITABLE[usize::from(odd)];
        } else if let Some(chip) = self.chip(region) {
            chip.write(odd, value as u8);
        }
        self.settle(cx);
    }

    fn steady_until(&self, _now: Ticks, _rate: ClockRate, region: u16, _offset: u16) -> Option<Ticks> {
        let chip = if region == REGION_MASTER { &self.master } else { &self.slave };
        (region == REGION_ELCR || !chip.polls()).then_some(Ticks::NEVER)
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, _size: u8) -> u32 {
        u32::from(match region {
            REGION_MASTER => self.master.peek(offset & 1 != 0),
            REGION_SLAVE if self.kind != PicKind::Xt => self.slave.peek(offset & 1 != 0),
            REGION_ELCR => self.elcr(offset),
            _ => 0xFF,
        })
    }
}

impl InputPins for DualPic {
    fn set_pin(&mut self, cx: &mut DevCx<'_>, pin: u16, level: bool) {
        match (pin, self.kind) {
            (0..=7, PicKind::Xt) => self.master.set_line(pin as u8, level),
            (2, _) => {}
            (0..=7, _) => self.master.set_line(pin as u8, level),
            (8..=15, PicKind::At | PicKind::Piix) => self.slave.set_line(pin as u8 - 8, level),
            _ => {}
        }
        self.settle(cx);
    }
}

impl InterruptController for DualPic {
    fn acknowledge(&mut self, cx: &mut DevCx<'_>, _cpu: u8) -> Ack {
        let (n, real) = self.master.accept();
        let cascaded = real && n == CASCADE && self.kind != PicKind::Xt && self.master.has_slave_at(CASCADE);
        let vector = if !cascaded {
            self.master.vector(n)
        } else if self.slave.slave_id() == CASCADE {
            // INT falls with INTA even if the slave will ask again at once, so that the master sees a new edge.
            self.master.set_line(CASCADE, false);
            let (n, _) = self.slave.accept();
            self.slave.vector(n)
        } else {
            0xFF // the slave does not find its number on the cascade lines, so nobody drives the bus
        };
        self.settle(cx);
        Ack::Vector(vector)
    }
}

impl State for DualPic {
    const TAG: [u8; 4] = *b"PICS";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { kind: _, wires: _, master, slave } = self;
        w.part(1, master);
        w.part(2, slave);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.master)?;
        r.part(2, &mut self.slave)
    }
}
