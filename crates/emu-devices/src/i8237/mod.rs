//! The PC's DMA: two 8237A (AT), or one (XT), with the page registers.
//!
//! Datasheets: Intel 8237A (231466-005), "[8237A p.N]"; IBM PC/AT Technical Reference, "DMA"; 82371SB PIIX3 §2.5.1.
//! Regions: 0 = channels 0 to 3 (16 or, with PIIX3's alias, 32 ports at 00h), 1 = channels 4 to 7 (32 ports at C0h, even
//! ones), 2 = page registers (16 ports at 80h, of which 80h shows POST codes).
//! Channels 0 to 3 of an AT run through channel 4, which must be unmasked and in cascade mode.
//! Left out: memory-to-memory transfers (no PC wires them), rotating priority and timing bits (the bus serves one channel
//! at a time), and the difference of single, demand and block mode while a device holds its request.

mod controller;
#[cfg(test)]
mod tests;

use controller::Controller;
use emu_core::bus::{DmaController, DmaCycle, PortDevice};
use emu_core::{DevCx, Device, Output, State, StateError, StateReader, StateWriter, Ticks};

/// Channels 0 to 3.
pub const REGION_BYTE: u16 = 0;
/// Channels 4 to 7.
pub const REGION_WORD: u16 = 1;
/// Page registers.
pub const REGION_PAGE: u16 = 2;

/// The page register of each channel, by its offset from 80h. Channel 4's is that of refresh.
const PAGE_OF: [usize; 8] = [7, 3, 1, 2, 0xF, 0xB, 9, 0xA];

/// Which chips the board has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaBoard {
    /// One 8237A; channels 0 to 3 have 4-bit pages, and channel 0 shares that of channel 1.
    Xt,
    /// Two, the first one behind channel 4.
    At,
}

/// The DMA controllers and page registers.
#[derive(Debug)]
pub struct Dma {
    // Configuration
    board: DmaBoard,
    // State
    controllers: [Controller; 2],
    pages: [u8; 16],
}

impl Dma {
    /// Controllers after RESET: all channels masked.
    #[must_use]
    pub fn new(board: DmaBoard) -> Dma {
        Dma { board, controllers: [Controller::new(), Controller::new()], pages: [0; 16] }
    }

    fn page(&self, channel: usize) -> u64 {
        match (self.board, channel) {
            (DmaBoard::Xt, 0) => u64::from(self.pages[PAGE_OF[1]] & 0x0F),
            (DmaBoard::Xt, _) => u64::from(self.pages[PAGE_OF[channel]] & 0x0F),
            (DmaBoard::At, 4..) => u64::from(self.pages[PAGE_OF[channel]] & 0xFE),
            (DmaBoard::At, _) => u64::from(self.pages[PAGE_OF[channel]]),
        }
    }

    /// The controller and register of a port.
    fn register(&self, region: u16, offset: u16) -> Option<(usize, u8)> {
        match region {
            REGION_BYTE => Some((0, offset as u8 & 15)),
            REGION_WORD if self.board == DmaBoard::At && offset & 1 == 0 => Some((1, (offset >> 1) as u8 & 15)),
            _ => None,
        }
    }
}

impl Device for Dma {
    fn name(&self) -> &str {
        "dma"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {
        self.controllers.iter_mut().for_each(Controller::clear);
        self.pages = [0; 16];
    }
    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
    fn dma_controller(&mut self) -> Option<&mut dyn DmaController> {
        Some(self)
    }
}

impl PortDevice for Dma {
    fn read(&mut self, _cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8) -> u32 {
        u32::from(match self.register(region, offset) {
            Some((c, register)) => self.controllers[c].read(register),
            None if region == REGION_PAGE => self.pages[usize::from(offset & 15)],
            None => 0xFF,
        })
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, _size: u8, value: u32) {
        let value = value as u8;
        if let Some((c, register)) = self.register(region, offset) {
            self.controllers[c].write(register, value);
            if register >= 8 {
                // A channel may have been let go: whose, the bus finds out.
                (0..8).for_each(|channel| cx.dma_kick(channel));
            }
        } else if region == REGION_PAGE
            && let Some(output) = self.latch(region, offset, value)
        {
            cx.output(output);
        }
    }

    fn latches(&self, region: u16) -> bool {
        region == REGION_PAGE
    }

    fn latch(&mut self, _region: u16, offset: u16, value: u8) -> Option<Output> {
        self.pages[usize::from(offset & 15)] = value;
        (offset == 0).then_some(Output::Post(value))
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, _size: u8) -> u32 {
        u32::from(match self.register(region, offset) {
            Some((c, register)) => self.controllers[c].peek(register),
            None if region == REGION_PAGE => self.pages[usize::from(offset & 15)],
            None => 0xFF,
        })
    }
}

impl DmaController for Dma {
    fn request(&mut self, channel: u8, level: bool) {
        self.controllers[usize::from(channel >> 2 & 1)].set_dreq(channel & 3, level);
    }

    fn cycle(&mut self, channel: u8) -> Option<DmaCycle> {
        let channel = channel & 7;
        let word = channel >= 4;
        match (self.board, word) {
            (DmaBoard::Xt, true) => return None,
            (DmaBoard::At, false) if !self.controllers[1].cascades(0) => return None,
            _ => {}
        }
        let cycle = self.controllers[usize::from(word)].cycle(channel & 3)?;
        let address = u64::from(cycle.address) << u32::from(word);
        Some(DmaCycle {
            address: self.page(channel.into()) << 16 | address,
            kind: cycle.kind,
            width: 1 + u8::from(word),
            terminal: cycle.terminal,
        })
    }
}

impl State for Dma {
    const TAG: [u8; 4] = *b"DMA ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { board: _, controllers, pages } = self;
        w.part(1, &controllers[0]);
        w.part(2, &controllers[1]);
        w.field(3, pages);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.controllers[0])?;
        r.part(2, &mut self.controllers[1])?;
        self.pages = r.field(3)?;
        Ok(())
    }
}
