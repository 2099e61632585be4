//! Setting a mode as firmware leaves it, without running any: for boards that start a kernel directly, and for our BIOS.

use emu_core::PhysMem;

use super::modes::Mode;
use super::{PLANAR_BYTES, Regs, Vga, cell};
use crate::font::glyph;
use crate::vga::vbe::Vbe;

/// A blank in grey on black.
const BLANK: [u8; 2] = [b' ', 0x07];

impl Vga {
    /// Loads registers, palette and, for a text mode, the font of `mode`, and clears its memory.
    pub fn set_mode(&mut self, mem: &mut PhysMem, mode: &Mode) {
        self.load_mode(mem, mode, true);
    }

    /// As [`Self::set_mode`]; with `clear` false, memory keeps its contents, but for a text mode's font.
    pub fn load_mode(&mut self, mem: &mut PhysMem, mode: &Mode, clear: bool) {
        self.vbe = Vbe::default();
        self.dac.set_width(false);
        self.load_registers(mode);
        for (index, color) in (0..=255).zip(&mut self.dac.colors) {
            *color = mode.palette.color(index);
        }
        self.dac.mask = 0xFF;
        let mut planes =
            if clear { vec![0; PLANAR_BYTES as usize] } else { mem.pool(self.vram, PLANAR_BYTES as usize).to_vec() };
        if mode.is_text() {
            if clear {
                planes.chunks_exact_mut(4).for_each(|word| word[..2].copy_from_slice(&BLANK));
            }
            load_font(&mut planes, mode.char_height.into());
        }
        mem.pool_write(self.vram, &planes);
        self.update_path();
        self.drop_shortcut(mem);
        self.touched();
    }

    fn load_registers(&mut self, mode: &Mode) {
        let mut regs = Regs { misc: mode.misc, crtc: mode.crtc, gdc: mode.gdc, attr_index: 0x20, ..Regs::default() };
        regs.seq[1..].copy_from_slice(&mode.seq);
        regs.attr[..20].copy_from_slice(&mode.attr);
        self.regs = regs;
    }
}

/// Puts the font of `height` lines into plane 2, 32 bytes for each character.
fn load_font(planes: &mut [u8], height: usize) {
    for code in 0..=255 {
        for (row, &bits) in (0u32..).zip(glyph(height, code).unwrap_or_default()) {
            planes[cell(u32::from(code) * 32 + row) as usize * 4 + 2] = bits;
        }
    }
}
