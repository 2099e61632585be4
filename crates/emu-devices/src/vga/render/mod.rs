//! What a person sees: pure functions from registers and video memory to a picture, or to the characters on it.

mod cp437;
mod graphics;
mod locate;
mod text;
mod walk;

pub use cp437::cp437;
pub use text::{Cell, Cursor, TextScreen};

use super::dac::Dac;
use super::regs::Regs;
use super::vbe::Vbe;

/// A picture: `width` × `height` pixels of red, green, blue, row by row from the top left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Frame {
    fn black(width: usize, height: usize) -> Frame {
        Frame { width, height, rgb: vec![0; width * height * 3] }
    }

    /// The colour at column `x` of row `y`, if the picture has it.
    #[must_use]
    pub fn pixel(&self, x: usize, y: usize) -> Option<[u8; 3]> {
        if x >= self.width {
            return None;
        }
        self.rgb.get((y * self.width + x) * 3..)?.first_chunk().copied()
    }
}

/// The state of a VGA that a picture is made of.
pub(super) struct View<'a> {
    pub(super) regs: &'a Regs,
    pub(super) dac: &'a Dac,
    pub(super) vbe: &'a Vbe,
    /// All of the video memory.
    pub(super) vram: &'a [u8],
    /// Frames shown so far: the clock of everything that blinks.
    pub(super) frames: u64,
}

impl View<'_> {
    /// The picture. A screen that shows nothing is black.
    pub(super) fn frame(&self) -> Frame {
        if self.vbe.enabled() {
            return if self.vbe.planar() { self.vbe_planar() } else { self.vbe_packed() };
        }
        if self.blank() {
            return Frame::black(720, 400);
        }
        if self.is_text() { self.text_frame() } else { self.graphics_frame() }
    }

    /// Whether the sequencer is stopped, its screen-off bit is set, or the palette is open to the CPU.
    fn blank(&self) -> bool {
        let r = self.regs;
        r.seq[0] & 3 != 3 || r.seq[1] & 0x20 != 0 || r.attr_index & 0x20 == 0
    }

    fn is_text(&self) -> bool {
        self.regs.gdc[6] & 1 == 0 && self.regs.attr[0x10] & 1 == 0
    }

    /// Colours of the sixteen attribute codes, through plane enable, palette, colour select and DAC [VGA-TR 2-90].
    fn palette(&self) -> [[u8; 3]; 16] {
        let a = &self.regs.attr;
        core::array::from_fn(|code| {
            let p = a[code & usize::from(a[0x12] & 15)];
            let low = if a[0x10] & 0x80 != 0 { p & 0x0F | (a[0x14] & 3) << 4 } else { p };
            self.dac.rgb(low | (a[0x14] & 0x0C) << 4)
        })
    }
}
