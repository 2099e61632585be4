//! The dispi registers: VBE modes with a linear frame buffer, as the Bochs VBE extension defines them (id B0C5h).
//!
//! An index port (1CEh) and a data port of 16 bits (1CFh; 1D0h is the same, aligned). Writing ENABLE switches between the
//! VGA and a mode of X × Y pixels with 4, 8, 15, 16, 24 or 32 bits each.

use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::Vga;

const ID: u16 = 0;
const XRES: u16 = 1;
const YRES: u16 = 2;
const BPP: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRT_WIDTH: u16 = 6;
const VIRT_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY_64K: u16 = 10;

const ENABLED: u16 = 1;
const GET_CAPS: u16 = 2;
const DAC_8BIT: u16 = 0x20;
const NO_CLEAR: u16 = 0x80;

const NEWEST_ID: u16 = 0xB0C5;
const MAX_X: u16 = 2560;
const MAX_Y: u16 = 1600;

/// The dispi registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vbe {
    id: u16,
    index: u16,
    pub(super) xres: u16,
    pub(super) yres: u16,
    pub(super) bpp: u16,
    enable: u16,
    bank: u16,
    pub(super) virt_width: u16,
    pub(super) x_offset: u16,
    pub(super) y_offset: u16,
    /// The low byte of a word that is written to 1CFh, which the bus splits.
    low: u8,
}

impl Default for Vbe {
    fn default() -> Self {
        Vbe {
            id: NEWEST_ID,
            index: 0,
            xres: 0,
            yres: 0,
            bpp: 8,
            enable: 0,
            bank: 0,
            virt_width: 0,
            x_offset: 0,
            y_offset: 0,
            low: 0,
        }
    }
}

impl Vbe {
    /// Whether a VBE mode is shown.
    pub(super) fn enabled(&self) -> bool {
        self.enable & ENABLED != 0
    }

    /// Whether the mode (if it is one) has four planes rather than packed pixels.
    pub(super) fn planar(&self) -> bool {
        self.bpp == 4
    }

    /// Byte offset of the bank in the window.
    pub(super) fn bank(&self) -> u32 {
        u32::from(self.bank) << 16
    }

    /// What a bank adds to plane addresses.
    pub(super) fn plane_bank(&self) -> u32 {
        if self.enabled() && self.planar() { self.bank() } else { 0 }
    }

    /// Bytes from one line to the next; in a planar mode, of one plane.
    pub(super) fn pitch(&self) -> u32 {
        let width = u32::from(self.virt_width);
        match self.bpp {
            4 => width / 8,
            8 => width,
            15 | 16 => width * 2,
            24 => width * 3,
            _ => width * 4,
        }
    }

    /// Lines that fit into `vram` bytes.
    fn virt_height(&self, vram: u32) -> u16 {
        let bytes = self.pitch() * if self.planar() { 4 } else { 1 };
        vram.checked_div(bytes).map_or(0, |lines| lines.min(0xFFFF) as u16)
    }

    /// Whether what is shown lies inside `vram` bytes.
    pub(super) fn fits(&self, vram: u32) -> bool {
        let x = u32::from(self.x_offset) + u32::from(self.xres);
        let y = u32::from(self.y_offset) + u32::from(self.yres);
        let depth = matches!(self.bpp, 4 | 8 | 15 | 16 | 24 | 32);
        let size = (8..=MAX_X).contains(&self.xres) && (1..=MAX_Y).contains(&self.yres);
        !self.enabled() || depth && size && x <= u32::from(self.virt_width) && y <= u32::from(self.virt_height(vram))
    }

    /// A port read at `offset` from 1CEh.
    pub(super) fn read(&self, offset: u16, size: u8, vram: u32) -> u32 {
        let data = u32::from(self.register(vram));
        match (offset, size) {
            (0, _) => self.index.into(),
            (1, _) | (2, 2) => data,
            (2, _) => data >> 8,
            _ => u32::MAX,
        }
    }

    fn register(&self, vram: u32) -> u16 {
        let caps = self.enable & GET_CAPS != 0;
        match self.index {
            ID => self.id,
            XRES => {
                if caps {
                    MAX_X
                } else {
                    self.xres
                }
            }
            YRES => {
                if caps {
                    MAX_Y
                } else {
                    self.yres
                }
            }
            BPP => {
                if caps {
                    32
                } else {
                    self.bpp
                }
            }
            ENABLE => self.enable,
            BANK => self.bank,
            VIRT_WIDTH => self.virt_width,
            VIRT_HEIGHT => self.virt_height(vram),
            X_OFFSET => self.x_offset,
            Y_OFFSET => self.y_offset,
            MEMORY_64K => (vram >> 16) as u16,
            _ => 0,
        }
    }

    /// Sets the selected register, but for ENABLE. What would not fit is ignored.
    fn set(&mut self, value: u16, vram: u32) {
        let mut new = self.clone();
        match self.index {
            ID if (0xB0C0..=NEWEST_ID).contains(&value) => new.id = value,
            XRES if !self.enabled() => new.xres = value,
            YRES if !self.enabled() => new.yres = value,
            BPP if !self.enabled() => new.bpp = if value == 0 { 8 } else { value },
            BANK => new.bank = value & ((vram >> 16) - 1) as u16,
            VIRT_WIDTH => new.virt_width = value,
            X_OFFSET => new.x_offset = value,
            Y_OFFSET => new.y_offset = value,
            _ => {}
        }
        if new.fits(vram) {
            *self = new;
        }
    }

    /// Sets ENABLE; returns whether a mode was switched on whose memory must be cleared.
    fn set_enable(&mut self, value: u16, vram: u32) -> bool {
        let fresh = value & ENABLED != 0 && !self.enabled();
        let mut new = Vbe { enable: value & (ENABLED | GET_CAPS | DAC_8BIT | 0x40 | NO_CLEAR), ..self.clone() };
        if fresh {
            (new.virt_width, new.x_offset, new.y_offset, new.bank) = (new.xres, 0, 0, 0);
        }
        if !new.fits(vram) {
            return false;
        }
        *self = new;
        fresh && value & NO_CLEAR == 0
    }
}

impl Vga {
    /// A port write at `offset` from 1CEh.
    pub(super) fn write_dispi(&mut self, cx: &mut DevCx<'_>, offset: u16, size: u8, value: u16) {
        match (offset, size) {
            (0, 2) => self.vbe.index = value,
            (1, _) => self.vbe.low = value as u8,
            (2, 1) => self.write_dispi_data(cx, u16::from_le_bytes([self.vbe.low, value as u8])),
            (2, _) => self.write_dispi_data(cx, value),
            _ => {}
        }
    }

    fn write_dispi_data(&mut self, cx: &mut DevCx<'_>, value: u16) {
        if self.vbe.index != ENABLE {
            self.vbe.set(value, self.vram_len);
        } else if self.vbe.set_enable(value, self.vram_len) {
            let zeros = [0; 4096];
            for at in (0..u64::from(self.vram_len)).step_by(zeros.len()) {
                cx.mem.pool_write(self.vram + at, &zeros);
            }
        }
        self.dac.set_width(self.vbe.enable & DAC_8BIT != 0);
        self.update_path();
        self.check_shortcut(cx.mem);
        self.touched();
    }
}

impl State for Vbe {
    const TAG: [u8; 4] = *b"DISP";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { id, index, xres, yres, bpp, enable, bank, virt_width, x_offset, y_offset, low } = self;
        w.field(1, &[*id, *index, *xres, *yres, *bpp, *enable, *bank, *virt_width, *x_offset, *y_offset]);
        w.field(2, low);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [
            self.id,
            self.index,
            self.xres,
            self.yres,
            self.bpp,
            self.enable,
            self.bank,
            self.virt_width,
            self.x_offset,
            self.y_offset,
        ] = r.field(1)?;
        self.low = r.field(2)?;
        Ok(())
    }
}
