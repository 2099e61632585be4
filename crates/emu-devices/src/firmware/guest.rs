//! What a service sees of its caller: registers, the flags that IRET will load, memory, ports.

use emu_core::cpu::{Fault, seg};
use emu_core::mem::Scalar;
use emu_core::{Access, System};

/// Result of a service: a page fault of the caller's memory goes up to the CPU, which restarts the call after it.
pub(super) type Served<T = ()> = Result<T, Fault>;

/// Flags in the image on the stack.
pub(super) const CARRY: u16 = 1;
pub(super) const ZERO: u16 = 0x40;

/// Segment of the BIOS data area as a linear address.
const BDA: u64 = 0x400;

/// The caller of a service.
pub(super) struct Guest<'a> {
    pub(super) sys: &'a mut System,
}

macro_rules! registers {
    ($($set:ident $i:expr;)*) => {$(
        pub(super) fn $set(&mut self, v: u16) {
            let r = &mut self.sys.cpu.regs[$i];
            *r = *r & !0xFFFF | u64::from(v);
        }
    )*};
}

macro_rules! halves {
    ($($get:ident $set:ident $i:expr, $shift:expr;)*) => {$(
        pub(super) fn $get(&self) -> u8 {
            (self.sys.cpu.regs[$i] >> $shift) as u8
        }
        pub(super) fn $set(&mut self, v: u8) {
            let r = &mut self.sys.cpu.regs[$i];
            *r = *r & !(0xFF << $shift) | u64::from(v) << $shift;
        }
    )*};
}

macro_rules! readable {
    ($($get:ident $i:expr;)*) => {$(
        pub(super) fn $get(&self) -> u16 {
            self.sys.cpu.regs[$i] as u16
        }
    )*};
}

/// Registers by name.
impl Guest<'_> {
    readable! { cx 1; dx 2; bx 3; bp 5; si 6; di 7; }
    registers! { set_ax 0; set_cx 1; set_dx 2; set_bx 3; set_di 7; }
    halves! {
        al set_al 0, 0; cl set_cl 1, 0; dl set_dl 2, 0; bl set_bl 3, 0;
        ah set_ah 0, 8; ch set_ch 1, 8; dh set_dh 2, 8; bh set_bh 3, 8;
    }

    /// A register as 32 bits, by its encoding.
    pub(super) fn r32(&self, index: usize) -> u32 {
        self.sys.cpu.regs[index] as u32
    }

    /// Sets a register as 32 bits.
    pub(super) fn set_r32(&mut self, index: usize, v: u32) {
        self.sys.cpu.regs[index] = v.into();
    }

    /// The selector of segment register `s`.
    pub(super) fn selector(&self, s: usize) -> u16 {
        self.sys.cpu.seg[s].sel
    }

    /// Loads segment register `s` as real and V86 mode do.
    pub(super) fn set_selector(&mut self, s: usize, sel: u16) {
        let mut segment = self.sys.cpu.seg[s];
        (segment.sel, segment.base) = (sel, u64::from(sel) << 4);
        self.sys.cpu.set_segment(s, segment);
    }

    /// Goes on at `cs:ip`.
    pub(super) fn jump(&mut self, cs: u16, ip: u16) {
        self.set_selector(seg::CS, cs);
        self.sys.cpu.rip = ip.into();
    }
}

/// The stack of an interrupt: IP, CS, FLAGS.
impl Guest<'_> {
    fn stack(&self, offset: u64) -> u64 {
        self.sys.cpu.seg[seg::SS].base + (self.sys.stack_pointer().wrapping_add(offset) & self.sys.stack_mask())
    }

    /// The word at SS:SP + `offset`.
    pub(super) fn on_stack(&mut self, offset: u64) -> Served<u16> {
        let at = self.stack(offset);
        self.peek(at)
    }

    /// Sets or clears `mask` in the flags that IRET will load.
    pub(super) fn set_flags(&mut self, mask: u16, on: bool) -> Served {
        let at = self.stack(4);
        let flags: u16 = self.peek(at)?;
        self.poke(at, if on { flags | mask } else { flags & !mask })
    }

    /// Sets or clears the caller's carry flag.
    pub(super) fn set_carry(&mut self, on: bool) -> Served {
        self.set_flags(CARRY, on)
    }

    /// Whether the caller is in V86 mode, where HLT faults.
    pub(super) fn is_v86(&self) -> bool {
        self.sys.cpu.mode.has(emu_core::cpu::Mode::V86)
    }
}

/// Memory by linear address, and ports.
impl Guest<'_> {
    /// Reads at a linear address.
    pub(super) fn peek<T: Scalar>(&mut self, lin: u64) -> Served<T> {
        self.sys.read_system(lin & 0xFFFF_FFFF)
    }

    /// Writes at a linear address.
    pub(super) fn poke<T: Scalar>(&mut self, lin: u64, v: T) -> Served {
        self.sys.write_system(lin & 0xFFFF_FFFF, v)
    }

    /// Linear address of `sel:off` in real and V86 mode.
    pub(super) fn at(sel: u16, off: u16) -> u64 {
        (u64::from(sel) << 4) + u64::from(off)
    }

    /// The caller's `s:off`.
    pub(super) fn in_segment(&self, s: usize, off: u16) -> u64 {
        self.sys.cpu.seg[s].base + u64::from(off)
    }

    /// Reads bytes from a linear address on.
    pub(super) fn peek_bytes(&mut self, lin: u64, buf: &mut [u8]) -> Served {
        for (i, b) in buf.iter_mut().enumerate() {
            *b = self.peek(lin + i as u64)?;
        }
        Ok(())
    }

    /// Writes bytes from a linear address on; nothing is written if a page of them faults.
    pub(super) fn poke_bytes(&mut self, lin: u64, bytes: &[u8]) -> Served {
        let mut page = lin & !0xFFF;
        while page < lin + bytes.len() as u64 {
            self.sys.translate(page & 0xFFFF_FFFF, Access::system(true))?;
            page += 0x1000;
        }
        let (mut at, mut rest) = (lin, bytes);
        while let Some((&first, tail)) = rest.split_first() {
            match rest.split_first_chunk::<8>() {
                Some((word, tail)) if at & 7 == 0 => {
                    self.poke(at, u64::from_le_bytes(*word))?;
                    (at, rest) = (at + 8, tail);
                }
                _ => {
                    self.poke(at, first)?;
                    (at, rest) = (at + 1, tail);
                }
            }
        }
        Ok(())
    }

    /// Reads the BIOS data area: `off` counts from 0040:0000.
    pub(super) fn bda<T: Scalar>(&mut self, off: u64) -> Served<T> {
        self.peek(BDA + off)
    }

    /// Writes the BIOS data area.
    pub(super) fn set_bda<T: Scalar>(&mut self, off: u64, v: T) -> Served {
        self.poke(BDA + off, v)
    }

    /// IN of `size` bytes.
    pub(super) fn input(&mut self, port: u16, size: u8) -> u32 {
        let now = self.sys.now();
        self.sys.bus.port_read(&mut self.sys.mem, now, port, size)
    }

    /// OUT of `size` bytes.
    pub(super) fn output(&mut self, port: u16, size: u8, v: u32) {
        let now = self.sys.now();
        self.sys.bus.port_write(&mut self.sys.mem, now, port, size, v);
    }

    /// IN of a byte.
    pub(super) fn inb(&mut self, port: u16) -> u8 {
        self.input(port, 1) as u8
    }

    /// OUT of a byte.
    pub(super) fn outb(&mut self, port: u16, v: u8) {
        self.output(port, 1, v.into());
    }

    /// Reads CMOS memory.
    pub(super) fn cmos(&mut self, index: u8) -> u8 {
        self.outb(0x70, index);
        self.inb(0x71)
    }

    /// Writes CMOS memory.
    pub(super) fn set_cmos(&mut self, index: u8, v: u8) {
        self.outb(0x70, index);
        self.outb(0x71, v);
    }

    /// A 16-bit value of CMOS memory.
    pub(super) fn cmos_word(&mut self, index: u8) -> u16 {
        u16::from_le_bytes([self.cmos(index), self.cmos(index + 1)])
    }
}
