//! Memory images of the unit: FSTENV, FSAVE in their four layouts, and the x87 part of FXSAVE [SDM-1 8.1.10, 10.5.1].

use super::f80::F80;
use super::{Fpu, LastInstruction};

/// Which of the four layouts of the environment an operand size and a mode select [SDM-1 figures 8-9 to 8-12].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// 16-bit operands, real-address or virtual-8086 mode.
    Real16,
    /// 32-bit operands, real-address or virtual-8086 mode.
    Real32,
    /// 16-bit operands, protected mode.
    Protected16,
    /// 32-bit operands, protected mode.
    Protected32,
}

impl Layout {
    /// The bytes of the environment: 14 or 28.
    pub const fn env_len(self) -> usize {
        match self {
            Layout::Real16 | Layout::Protected16 => 14,
            Layout::Real32 | Layout::Protected32 => 28,
        }
    }

    /// The bytes of the whole state: 94 or 108.
    pub const fn save_len(self) -> usize {
        self.env_len() + 80
    }

    /// The bytes of one field.
    const fn unit(self) -> usize {
        self.env_len() / 7
    }
}

/// Field `n` of an environment as a number.
fn field(layout: Layout, image: &[u8], n: usize) -> u32 {
    let unit = layout.unit();
    let bytes = image.get(n * unit..(n + 1) * unit).unwrap_or(&[]);
    bytes.iter().rev().fold(0, |acc, &b| acc << 8 | u32::from(b))
}

impl Fpu {
    /// FNSTENV: the first [`Layout::env_len`] bytes are the image. The masking that follows is
    /// [`Fpu::mask_exceptions`].
    pub fn store_env(&self, layout: Layout) -> [u8; 28] {
        let LastInstruction { fop, fcs, fip, fds, fdp } = self.shown_pointers();
        let (fip, fdp) = (fip as u32, fdp as u32);
        // The reserved halves of 32-bit fields are stored as ones.
        let high = 0xffff_0000;
        let (cw, sw, tw) = (self.control().into(), self.status().into(), self.tags().into());
        let linear = |segment: u16, offset: u32| (u32::from(segment) << 4).wrapping_add(offset);
        let fields: [u32; 7] = match layout {
            Layout::Protected16 => [cw, sw, tw, fip, fcs.into(), fdp, fds.into()],
            Layout::Protected32 => {
                let code = u32::from(fcs) | u32::from(fop & 0x7ff) << 16;
                [cw | high, sw | high, tw | high, fip, code, fdp, u32::from(fds) | high]
            }
            Layout::Real16 => {
                let (ip, dp) = (linear(fcs, fip), linear(fds, fdp));
                [cw, sw, tw, ip, (ip >> 4 & 0xf000) | u32::from(fop & 0x7ff), dp, dp >> 4 & 0xf000]
            }
            Layout::Real32 => {
                let (ip, dp) = (linear(fcs, fip), linear(fds, fdp));
                let code = (ip >> 4 & 0x0fff_f000) | u32::from(fop & 0x7ff);
                [cw | high, sw | high, tw | high, ip | high, code, dp | high, dp >> 4 & 0x0fff_f000]
            }
        };
        let mut image = [0; 28];
        for (n, v) in fields.iter().enumerate() {
            let unit = layout.unit();
            image[n * unit..(n + 1) * unit].copy_from_slice(&v.to_le_bytes()[..unit]);
        }
        image
    }

    /// What FNSTENV does after storing: all exceptions are masked, so none is pending any more.
    pub fn mask_exceptions(&mut self) {
        self.set_control(self.cw | 0x3f);
    }

    /// FLDENV from at least [`Layout::env_len`] bytes; missing ones read as zero.
    pub fn load_env(&mut self, layout: Layout, image: &[u8]) {
        let get = |n| field(layout, image, n);
        self.put_control(get(0) as u16);
        self.set_status(get(1) as u16);
        self.set_tags(get(2) as u16);
        *self.last_mut() = match layout {
            Layout::Protected16 => LastInstruction {
                fop: self.last().fop,
                fip: get(3).into(),
                fcs: get(4) as u16,
                fdp: get(5).into(),
                fds: get(6) as u16,
            },
            Layout::Protected32 => LastInstruction {
                fop: (get(4) >> 16) as u16 & 0x7ff,
                fip: get(3).into(),
                fcs: get(4) as u16,
                fdp: get(5).into(),
                fds: get(6) as u16,
            },
            // Linear addresses: the segments are not known any more.
            Layout::Real16 | Layout::Real32 => LastInstruction {
                fop: get(4) as u16 & 0x7ff,
                fip: ((get(4) & 0x0fff_f000) << 4 | get(3) & 0xffff).into(),
                fcs: 0,
                fdp: ((get(6) & 0x0fff_f000) << 4 | get(5) & 0xffff).into(),
                fds: 0,
            },
        };
    }

    /// FNSAVE: the first [`Layout::save_len`] bytes are the image. FNINIT follows.
    pub fn store_all(&self, layout: Layout) -> [u8; 108] {
        let mut image = [0; 108];
        image[..28].copy_from_slice(&self.store_env(layout));
        let registers = &mut image[layout.env_len()..];
        for (slot, i) in registers.chunks_exact_mut(10).zip(0..8) {
            slot.copy_from_slice(&self.st(i).to_bytes());
        }
        image
    }

    /// FRSTOR from at least [`Layout::save_len`] bytes; missing ones read as zero.
    pub fn load_all(&mut self, layout: Layout, image: &[u8]) {
        let used_later = image.get(layout.env_len()..).unwrap_or(&[]);
        self.load_env(layout, image);
        let used = self.used;
        for (slot, i) in used_later.chunks_exact(10).zip(0..8) {
            let mut bytes = [0; 10];
            bytes.copy_from_slice(slot);
            self.set_st(i, F80::from_bytes(bytes));
        }
        self.used = used;
    }

    /// Bytes 0 to 23 and 32 to 159 of an FXSAVE image; the rest is left alone. With `wide` (REX.W) the pointers are
    /// 64-bit offsets without selectors.
    pub fn fxsave(&self, wide: bool, image: &mut [u8; 160]) {
        let LastInstruction { fop, fcs, fip, fds, fdp } = self.shown_pointers();
        image[0..2].copy_from_slice(&self.control().to_le_bytes());
        image[2..4].copy_from_slice(&self.status().to_le_bytes());
        image[4..6].copy_from_slice(&[self.used, 0]);
        image[6..8].copy_from_slice(&(fop & 0x7ff).to_le_bytes());
        let pointer = |offset: u64, selector: u16| {
            if wide { offset } else { offset & 0xffff_ffff | u64::from(selector) << 32 }
        };
        image[8..16].copy_from_slice(&pointer(fip, fcs).to_le_bytes());
        image[16..24].copy_from_slice(&pointer(fdp, fds).to_le_bytes());
        for (slot, i) in image[32..].chunks_exact_mut(16).zip(0..8) {
            slot[..10].copy_from_slice(&self.st(i).to_bytes());
            slot[10..].fill(0);
        }
    }

    /// The x87 part of FXRSTOR.
    pub fn fxrstor(&mut self, wide: bool, image: &[u8; 160]) {
        let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
        let long = |at: usize| (0..8).rev().fold(0, |acc, n| acc << 8 | u64::from(image[at + n]));
        let offset = |v: u64| if wide { v } else { v & 0xffff_ffff };
        let selector = |v: u64| if wide { 0 } else { (v >> 32) as u16 };
        let (ip, dp) = (long(8), long(16));
        self.put_control(word(0));
        self.set_status(word(2));
        *self.last_mut() = LastInstruction {
            fop: word(6) & 0x7ff,
            fip: offset(ip),
            fcs: selector(ip),
            fdp: offset(dp),
            fds: selector(dp),
        };
        for (slot, i) in image[32..].chunks_exact(16).zip(0..8) {
            let mut bytes = [0; 10];
            bytes.copy_from_slice(&slot[..10]);
            self.set_st(i, F80::from_bytes(bytes));
        }
        self.used = image[4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fpu {
        let mut fpu = Fpu::new();
        for n in 0..5u16 {
            fpu.load_exact(F80::new(0x3fff + n, 1 << 63 | u64::from(n)));
        }
        fpu.load_exact(F80::ZERO);
        *fpu.last_mut() = LastInstruction { fop: 0x5c1, fcs: 0x1b, fip: 0x1234_5678, fds: 0x23, fdp: 0x9abc_def0 };
        fpu
    }

    #[test]
    fn protected_images_restore_everything() {
        let fpu = sample();
        let mut back = Fpu::new();
        back.load_all(Layout::Protected32, &fpu.store_all(Layout::Protected32));
        assert_eq!(back, fpu);
    }

    #[test]
    fn real_mode_keeps_linear_pointers() {
        let mut fpu = sample();
        *fpu.last_mut() = LastInstruction { fop: 0x123, fcs: 0x1234, fip: 0x5678, fds: 0xb800, fdp: 0x10 };
        for layout in [Layout::Real16, Layout::Real32] {
            let mut back = Fpu::new();
            back.load_all(layout, &fpu.store_all(layout));
            assert_eq!(back.last(), LastInstruction { fop: 0x123, fcs: 0, fip: 0x1_79b8, fds: 0, fdp: 0xb8010 });
            assert_eq!((back.status(), back.tags(), back.st(1)), (fpu.status(), fpu.tags(), fpu.st(1)));
        }
    }

    #[test]
    fn fxsave_round_trips() {
        let fpu = sample();
        let mut image = [0; 160];
        fpu.fxsave(false, &mut image);
        let mut back = Fpu::new();
        back.fxrstor(false, &image);
        assert_eq!(back, fpu);
    }
}
