//! The register file, without the DAC: miscellaneous output, sequencer, CRTC, graphics and attribute controllers.

use emu_core::state::{State, StateError, StateReader, StateWriter};

/// Bits that exist in each sequencer register [VGA-TR 2-45].
const SEQ_MASK: [u8; 5] = [0x03, 0x3D, 0x0F, 0x3F, 0x0E];
/// Bits that exist in each graphics controller register [VGA-TR 2-78].
const GDC_MASK: [u8; 9] = [0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF];
/// Bits that exist in each attribute controller register from 10h on [VGA-TR 2-89].
const ATTR_MASK: [u8; 5] = [0xEF, 0xFF, 0x3F, 0x0F, 0x0F];

/// The registers of the VGA's parts. Indices select as on the chip; registers hold only bits that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regs {
    /// Miscellaneous output (3C2h/3CCh).
    pub misc: u8,
    /// Feature control (3DAh write, 3CAh read).
    pub feature: u8,
    /// Video subsystem enable (3C3h): bit 0.
    pub enable: u8,
    /// Sequencer index (3C4h).
    pub seq_index: u8,
    /// Sequencer registers 0-4.
    pub seq: [u8; 5],
    /// CRTC index (3D4h).
    pub crtc_index: u8,
    /// CRTC registers 0-18h.
    pub crtc: [u8; 25],
    /// Graphics controller index (3CEh).
    pub gdc_index: u8,
    /// Graphics controller registers 0-8.
    pub gdc: [u8; 9],
    /// Attribute controller index and palette address source (3C0h).
    pub attr_index: u8,
    /// Whether the next write to 3C0h is data.
    pub attr_data: bool,
    /// Attribute controller registers: palette 0-0Fh, then 10h-14h.
    pub attr: [u8; 21],
}

impl Default for Regs {
    /// The registers after power-on: the sequencer and the CRTC run, rows of a character follow each other, and all four
    /// planes reach the palette, as GRUB's firmware expects, which sets none of that; all else is 0.
    fn default() -> Self {
        let mut attr = [0; 21];
        attr[0x12] = 0x0F;
        let mut crtc = [0; 25];
        crtc[0x17] = 0xA3;
        Regs {
            misc: 0,
            feature: 0,
            enable: 1,
            seq_index: 0,
            seq: [3, 0, 0, 0, 0],
            crtc_index: 0,
            crtc,
            gdc_index: 0,
            gdc: [0; 9],
            attr_index: 0,
            attr_data: false,
            attr,
        }
    }
}

impl Regs {
    /// Reads the sequencer register that is selected.
    #[must_use]
    pub fn read_seq(&self) -> u8 {
        self.seq.get(usize::from(self.seq_index)).copied().unwrap_or(0)
    }

    /// Writes the sequencer register that is selected.
    pub fn write_seq(&mut self, value: u8) {
        let i = usize::from(self.seq_index);
        if let Some(r) = self.seq.get_mut(i) {
            *r = value & SEQ_MASK[i];
        }
    }

    /// Reads the graphics controller register that is selected.
    #[must_use]
    pub fn read_gdc(&self) -> u8 {
        self.gdc.get(usize::from(self.gdc_index)).copied().unwrap_or(0)
    }

    /// Writes the graphics controller register that is selected.
    pub fn write_gdc(&mut self, value: u8) {
        let i = usize::from(self.gdc_index);
        if let Some(r) = self.gdc.get_mut(i) {
            *r = value & GDC_MASK[i];
        }
    }

    /// Writes the CRTC register that is selected. Registers 0-7 may be protected by bit 7 of 11h, but for the line
    /// compare bit of register 7 [VGA-TR 2-70].
    pub fn write_crtc(&mut self, value: u8) {
        let i = usize::from(self.crtc_index);
        let protected = self.crtc[0x11] & 0x80 != 0;
        match i {
            7 if protected => self.crtc[7] = self.crtc[7] & !0x10 | value & 0x10,
            0..=6 if protected => {}
            _ => {
                if let Some(r) = self.crtc.get_mut(i) {
                    *r = value;
                }
            }
        }
    }

    /// A write to 3C0h: index and data by turns.
    pub fn write_attr(&mut self, value: u8) {
        self.attr_data = !self.attr_data;
        if self.attr_data {
            self.attr_index = value & 0x3F;
            return;
        }
        match usize::from(self.attr_index & 0x1F) {
            i @ 0..=15 => self.attr[i] = value & 0x3F,
            i @ 16..=20 => self.attr[i] = value & ATTR_MASK[i - 16],
            _ => {}
        }
    }

    /// Reads the attribute controller register that is selected (3C1h).
    #[must_use]
    pub fn read_attr(&self) -> u8 {
        self.attr.get(usize::from(self.attr_index & 0x1F)).copied().unwrap_or(0)
    }

    /// Whether the CRTC answers at 3Dxh rather than at 3Bxh.
    #[must_use]
    pub fn color(&self) -> bool {
        self.misc & 1 != 0
    }

    /// Dots of a character.
    #[must_use]
    pub fn char_dots(&self) -> usize {
        if self.seq[1] & 1 != 0 { 8 } else { 9 }
    }

    /// Character clocks that a line shows.
    #[must_use]
    pub fn columns(&self) -> usize {
        usize::from(self.crtc[1]) + 1
    }

    /// Scan lines that a frame shows.
    #[must_use]
    pub fn lines(&self) -> usize {
        usize::from(self.tall(0x12, 1, 6)) + 1
    }

    /// Scan line after which the address counter restarts from 0 [VGA-TR 2-76].
    #[must_use]
    pub fn line_compare(&self) -> usize {
        usize::from(self.tall(0x18, 4, 4) & 0x1FF) | usize::from(self.crtc[9] >> 6 & 1) << 9
    }

    /// A vertical value of 10 bits: register `low`, bit 8 and bit 9 from the overflow register.
    pub(super) fn tall(&self, low: usize, bit8: u32, bit9: u32) -> u16 {
        let overflow = u16::from(self.crtc[7]);
        u16::from(self.crtc[low]) | (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9
    }

    /// A 16-bit value in registers `high` and `high + 1`.
    #[must_use]
    pub fn wide(&self, high: usize) -> u16 {
        u16::from_be_bytes([self.crtc[high], self.crtc[high + 1]])
    }

    fn masked(&self) -> Regs {
        let mut r = self.clone();
        r.seq.iter_mut().zip(SEQ_MASK).for_each(|(r, m)| *r &= m);
        r.gdc.iter_mut().zip(GDC_MASK).for_each(|(r, m)| *r &= m);
        r.attr[..16].iter_mut().for_each(|r| *r &= 0x3F);
        r.attr[16..].iter_mut().zip(ATTR_MASK).for_each(|(r, m)| *r &= m);
        r
    }
}

impl State for Regs {
    const TAG: [u8; 4] = *b"VREG";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            misc,
            feature,
            enable,
            seq_index,
            seq,
            crtc_index,
            crtc,
            gdc_index,
            gdc,
            attr_index,
            attr_data,
            attr,
        } = self;
        w.field(1, &[*misc, *feature, *enable, *seq_index, *crtc_index, *gdc_index, *attr_index]);
        w.field(2, attr_data);
        w.field(3, seq);
        w.field(4, crtc);
        w.field(5, gdc);
        w.field(6, attr);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.misc, self.feature, self.enable, self.seq_index, self.crtc_index, self.gdc_index, self.attr_index] =
            r.field(1)?;
        self.attr_data = r.field(2)?;
        self.seq = r.field(3)?;
        self.crtc = r.field(4)?;
        self.gdc = r.field(5)?;
        self.attr = r.field(6)?;
        if self.masked() != *self {
            return Err(r.invalid("a register holds bits that do not exist"));
        }
        Ok(())
    }
}
