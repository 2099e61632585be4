//! LOADALL of the 80286 and 80386: every register from memory, the hidden parts of segments included, with no check but that
//! of the privilege level. The layouts are those of [LOADALL].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::{Outcome, Segment, TableRegister, attr, reg, seg};
use crate::exec::tables::need_ring_0;

pub(super) fn lookup_i80286(code: Code) -> Option<Exec> {
    if code == Code::Loadall286 { Some(loadall_i80286) } else { None }
}

pub(super) fn lookup_i80386(code: Code) -> Option<Exec> {
    if code == Code::Loadall386 { Some(loadall_i80386) } else { None }
}

/// Where the 80286 finds its image, physically, and how long it is.
const IMAGE_286: u64 = 0x800;
const IMAGE_286_LEN: usize = 0x66;

/// A memory image of words.
struct Image<'a>(&'a [u8]);

impl Image<'_> {
    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn long(&self, at: usize) -> u32 {
        u32::from(self.word(at)) | u32::from(self.word(at + 2)) << 16
    }

    /// The 80286's hidden part of a segment: 24 bits of base, access byte, limit.
    fn segment_286(&self, sel: u16, at: usize) -> Segment {
        let base = self.long(at) & 0xFF_FFFF;
        hidden(sel, self.0[at + 3].into(), base, self.word(at + 4).into())
    }

    fn table_286(&self, at: usize) -> TableRegister {
        TableRegister { base: (self.long(at) & 0xFF_FFFF).into(), limit: self.word(at + 4) }
    }

    /// The 80386's: rights as the second half of a descriptor has them, base, limit in bytes.
    fn segment_386(&self, sel: u16, at: usize) -> Segment {
        hidden(sel, (self.long(at) >> 8) as u16 & 0xF0FF, self.long(at + 4), self.long(at + 8))
    }

    fn table_386(&self, at: usize) -> TableRegister {
        TableRegister { base: self.long(at + 4).into(), limit: self.long(at + 8) as u16 }
    }
}

/// A segment whose rights are not present can't be used at all.
fn hidden(sel: u16, rights: u16, base: u32, limit: u32) -> Segment {
    Segment { sel, attr: rights, base: base.into(), limit, null: rights & attr::P == 0, ..Segment::null(sel) }
}

/// What follows from registers that were all replaced.
fn settle(sys: &mut System, flags: u32, rip: u64) {
    sys.cpu.rip = rip;
    sys.cpu.set_eflags(flags & sys.cpu.known_flags());
    let protected = sys.cpu.cr0 & CR0_PE != 0;
    sys.cpu.cpl = match (protected, sys.cpu.eflags & VM != 0) {
        (false, _) => 0,
        (true, true) => 3,
        (true, false) => sys.cpu.seg[seg::SS].dpl(),
    };
    sys.flush_translations();
    sys.cpu.refresh_segments();
    sys.request_leave();
}

fn loadall_i80286(sys: &mut System, _: &Instruction) -> Outcome {
    need_ring_0(sys)?;
    let bytes: [u8; IMAGE_286_LEN] = core::array::from_fn(|i| sys.load_physical(IMAGE_286 + i as u64, 1) as u8);
    let m = Image(&bytes);
    // As with LMSW, protected mode can't be left.
    sys.cpu.cr0 = sys.cpu.cr0 & CR0_PE | u64::from(m.word(0x06)) & 0xF;
    for (n, at) in [0x26, 0x28, 0x2A, 0x2C, 0x2E, 0x30, 0x32, 0x34].into_iter().enumerate() {
        // DI, SI, BP, SP, BX, DX, CX, AX: their encoding backwards.
        sys.cpu.regs[7 - n] = m.word(at).into();
    }
    for (index, sel, at) in [(seg::ES, 0x24, 0x36), (seg::CS, 0x22, 0x3C), (seg::SS, 0x20, 0x42), (seg::DS, 0x1E, 0x48)]
    {
        sys.cpu.seg[index] = m.segment_286(m.word(sel), at);
    }
    sys.cpu.gdtr = m.table_286(0x4E);
    sys.cpu.ldtr = m.segment_286(m.word(0x1C), 0x54);
    sys.cpu.idtr = m.table_286(0x5A);
    sys.cpu.tr = m.segment_286(m.word(0x16), 0x60);
    settle(sys, m.word(0x18).into(), m.word(0x1A).into());
    Ok(())
}

fn loadall_i80386(sys: &mut System, _: &Instruction) -> Outcome {
    need_ring_0(sys)?;
    let mut bytes = [0; 0xCC];
    sys.read_bytes(seg::ES, sys.cpu.regs[reg::RDI] & 0xFFFF_FFFF, &mut bytes)?;
    let m = Image(&bytes);
    sys.cpu.cr0 = u64::from(m.long(0)) & (CR0_PG | CR0_TS | CR0_EM | CR0_MP | CR0_PE) | CR0_ET;
    for n in 0..8 {
        // EDI, ESI, EBP, ESP, EBX, EDX, ECX, EAX: their encoding backwards.
        sys.cpu.regs[7 - n] = m.long(0x0C + 4 * n).into();
    }
    sys.cpu.dr[6] = u64::from(m.long(0x2C)) & 0xE00F | 0xFFFF_0FF0;
    sys.cpu.dr[7] = u64::from(m.long(0x30)) & 0xFFFF_23FF | 0x400;
    let segments = [seg::GS, seg::FS, seg::DS, seg::SS, seg::CS, seg::ES];
    for (n, index) in segments.into_iter().enumerate() {
        sys.cpu.seg[index] = m.segment_386(m.word(0x3C + 4 * n), 0x84 + 12 * n);
    }
    sys.cpu.tr = m.segment_386(m.word(0x34), 0x54);
    sys.cpu.idtr = m.table_386(0x60);
    sys.cpu.gdtr = m.table_386(0x6C);
    sys.cpu.ldtr = m.segment_386(m.word(0x38), 0x78);
    settle(sys, m.long(4), m.long(8).into());
    Ok(())
}
