//! System management mode: SMI, the state save area, and RSM [SDM-3 chapter 34; APM-2 chapter 10].
//!
//! Two layouts of the area: 32-bit CPUs have the P6's, whose published fields leave open where hidden parts of segments
//! lie (they are put into its reserved range here); 64-bit models have that of AMD64, which publishes all of it and is what
//! firmware looks for by the revision identifier. Left out: restart of I/O instructions, whose revision bit is clear.

use super::System;
use crate::cpu::bits::*;
use crate::cpu::model::{Feature, Kind};
use crate::cpu::{Activity, Fault, Mode, Outcome, Segment, TableRegister, attr, seg};

/// Revision identifiers: the base can be moved, I/O instructions are not restarted; the layout in the low half.
const REVISION_32: u32 = 0x0002_0000;
const REVISION_64: u32 = 0x0002_0064;

/// Places of the 32-bit layout, from SMBASE on [SDM-3 table 34-1].
mod p6 {
    pub(super) const CR0: u32 = 0xFFFC;
    pub(super) const CR3: u32 = 0xFFF8;
    pub(super) const EFLAGS: u32 = 0xFFF4;
    pub(super) const EIP: u32 = 0xFFF0;
    /// EDI; then ESI, EBP, ESP, EBX, EDX, ECX and EAX below.
    pub(super) const EDI: u32 = 0xFFEC;
    pub(super) const DR6: u32 = 0xFFCC;
    pub(super) const DR7: u32 = 0xFFC8;
    pub(super) const TR: u32 = 0xFFC4;
    pub(super) const LDTR: u32 = 0xFFC0;
    /// ES; then CS, SS, DS, FS and GS above.
    pub(super) const ES: u32 = 0xFFA8;
    pub(super) const HALT: u32 = 0xFF02;
    pub(super) const REVISION: u32 = 0xFEFC;
    pub(super) const SMBASE: u32 = 0xFEF8;
    // In the reserved range: hidden parts of 12 bytes each (rights, limit, base), table registers, CR4, NMI blocking.
    pub(super) const HIDDEN: u32 = 0xFF10;
    pub(super) const CR4: u32 = 0xFF80;
    pub(super) const GDTR: u32 = 0xFF84;
    pub(super) const IDTR: u32 = 0xFF8C;
    pub(super) const NMI: u32 = 0xFF94;
}

/// Places of the 64-bit layout [APM-2 table 10-1].
mod amd64 {
    /// ES; then CS, SS, DS, FS and GS, 16 bytes each: selector, rights, limit, base.
    pub(super) const ES: u32 = 0xFE00;
    pub(super) const GDTR: u32 = 0xFE60;
    pub(super) const LDTR: u32 = 0xFE70;
    pub(super) const IDTR: u32 = 0xFE80;
    pub(super) const TR: u32 = 0xFE90;
    pub(super) const HALT: u32 = 0xFEC9;
    pub(super) const NMI: u32 = 0xFECA;
    pub(super) const EFER: u32 = 0xFED0;
    pub(super) const REVISION: u32 = 0xFEFC;
    pub(super) const SMBASE: u32 = 0xFF00;
    pub(super) const CR4: u32 = 0xFF48;
    pub(super) const CR3: u32 = 0xFF50;
    pub(super) const CR0: u32 = 0xFF58;
    pub(super) const DR7: u32 = 0xFF60;
    pub(super) const DR6: u32 = 0xFF68;
    pub(super) const RFLAGS: u32 = 0xFF70;
    pub(super) const RIP: u32 = 0xFF78;
    /// RAX; the others below, to R15 at FF80h.
    pub(super) const RAX: u32 = 0xFFF8;
}

/// Rights as the area has them: 12 bits.
fn packed(s: &Segment) -> u16 {
    s.attr & 0xFF | s.attr >> 4 & 0xF00
}

fn unpacked(sel: u16, rights: u16, limit: u32, base: u64) -> Segment {
    let attr = rights & 0xFF | (rights & 0xF00) << 4;
    let mut s = Segment { attr, base, limit, null: attr & attr::P == 0, ..Segment::null(sel) };
    s.refresh(true);
    s
}

impl System {
    /// Takes a pending SMI. Returns whether it did.
    pub(super) fn take_smi(&mut self) -> bool {
        let id = self.cpu.id;
        let cpu = &self.cpu;
        let asleep = matches!(cpu.activity, Activity::WaitForSipi | Activity::Shutdown);
        if cpu.smm || asleep || !self.bus.cpu_lines(id).smi {
            return false;
        }
        self.bus.cpu_lines(id).smi = false;
        if self.cpu.model.kind >= Kind::I80486 {
            self.enter_smm();
        }
        true
    }

    fn enter_smm(&mut self) {
        self.show_smram(true);
        let halted = u8::from(self.cpu.activity == Activity::Halted);
        if self.cpu.model.has(Feature::Lm) {
            self.save_smm_64(halted)
        } else {
            self.save_smm_32(halted)
        }
        let cpu = &mut self.cpu;
        cpu.smm = true;
        cpu.nmi_blocked = true;
        cpu.activity = Activity::Running;
        cpu.cr0 &= !(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
        (cpu.cr4, cpu.efer) = (0, 0);
        cpu.dr[7] = 0x400;
        cpu.set_eflags(2);
        let smbase = cpu.smbase;
        self.set_cpl(0);
        let data = Segment {
            limit: u32::MAX,
            attr: attr::G | attr::P | attr::S | attr::RW | attr::ACCESSED,
            ..Segment::real(0)
        };
        self.cpu.seg = [data; 6];
        self.cpu.seg[seg::CS] = Segment { sel: (smbase >> 4) as u16, base: smbase.into(), ..data };
        self.cpu.rip = 0x8000;
        self.after_smm_switch();
    }

    fn after_smm_switch(&mut self) {
        self.cpu.refresh_segments();
        self.tlb.set_user(self.cpu.cpl == 3);
        self.flush_translations();
        self.leave = true;
    }

    fn show_smram(&mut self, on: bool) {
        self.mem.set_smm(on);
    }

    fn put(&mut self, at: u32, size: u64, value: u64) {
        let pa = self.cpu.smbase.wrapping_add(at);
        self.store_physical(pa.into(), size, value);
    }

    fn get(&mut self, at: u32, size: u64) -> u64 {
        let pa = self.cpu.smbase.wrapping_add(at);
        self.load_physical(pa.into(), size)
    }

    /// SS as it is saved: the privilege level is its DPL.
    fn segment_with_level(&self, i: usize) -> Segment {
        let mut s = self.cpu.seg[i];
        if i == seg::SS {
            s.attr = s.attr & !(3 << 5) | u16::from(self.cpu.cpl) << 5;
        }
        s
    }

    fn save_smm_32(&mut self, halted: u8) {
        let cpu = &self.cpu;
        let (ldtr, tr, gdtr, idtr) = (cpu.ldtr, cpu.tr, cpu.gdtr, cpu.idtr);
        let registers: [u64; 8] = core::array::from_fn(|i| cpu.regs[i]);
        let words = [
            (p6::CR0, cpu.cr0),
            (p6::CR3, cpu.cr3),
            (p6::EFLAGS, cpu.eflags().into()),
            (p6::EIP, cpu.rip),
            (p6::DR6, cpu.dr[6]),
            (p6::DR7, cpu.dr[7]),
            (p6::TR, tr.sel.into()),
            (p6::LDTR, ldtr.sel.into()),
            (p6::REVISION, REVISION_32.into()),
            (p6::SMBASE, cpu.smbase.into()),
            (p6::CR4, cpu.cr4),
            (p6::GDTR, gdtr.base),
            (p6::GDTR + 4, gdtr.limit.into()),
            (p6::IDTR, idtr.base),
            (p6::IDTR + 4, idtr.limit.into()),
            (p6::NMI, cpu.nmi_blocked.into()),
        ];
        words.into_iter().for_each(|(at, v)| self.put(at, 4, v & 0xFFFF_FFFF));
        for (i, v) in registers.into_iter().enumerate() {
            self.put(p6::EDI - 4 * (7 - i as u32), 4, v & 0xFFFF_FFFF);
        }
        for i in 0..8 {
            let s = match i {
                6 => ldtr,
                7 => tr,
                _ => self.segment_with_level(i),
            };
            let at = p6::HIDDEN + 12 * i as u32;
            self.put(at, 4, packed(&s).into());
            self.put(at + 4, 4, s.limit.into());
            self.put(at + 8, 4, s.base & 0xFFFF_FFFF);
            if i < 6 {
                self.put(p6::ES + 4 * i as u32, 4, s.sel.into());
            }
        }
        self.put(p6::HALT, 2, halted.into());
    }

    fn save_smm_64(&mut self, halted: u8) {
        let cpu = &self.cpu;
        let (ldtr, tr, gdtr, idtr) = (cpu.ldtr, cpu.tr, cpu.gdtr, cpu.idtr);
        let registers: [u64; 16] = core::array::from_fn(|i| cpu.regs[i]);
        let (smbase, nmi) = (cpu.smbase, cpu.nmi_blocked);
        let words = [
            (amd64::CR0, cpu.cr0),
            (amd64::CR3, cpu.cr3),
            (amd64::CR4, cpu.cr4),
            (amd64::EFER, cpu.efer),
            (amd64::RFLAGS, cpu.eflags().into()),
            (amd64::RIP, cpu.rip),
            (amd64::DR6, cpu.dr[6]),
            (amd64::DR7, cpu.dr[7]),
            (amd64::GDTR + 8, gdtr.base),
            (amd64::IDTR + 8, idtr.base),
        ];
        words.into_iter().for_each(|(at, v)| self.put(at, 8, v));
        for (i, v) in registers.into_iter().enumerate() {
            self.put(amd64::RAX - 8 * i as u32, 8, v);
        }
        let segments: [Segment; 6] = core::array::from_fn(|i| self.segment_with_level(i));
        for (i, s) in segments.into_iter().enumerate() {
            self.put_segment_64(amd64::ES + 16 * i as u32, &s);
        }
        self.put_segment_64(amd64::LDTR, &ldtr);
        self.put_segment_64(amd64::TR, &tr);
        self.put(amd64::GDTR + 4, 2, gdtr.limit.into());
        self.put(amd64::IDTR + 4, 2, idtr.limit.into());
        self.put(amd64::REVISION, 4, REVISION_64.into());
        self.put(amd64::SMBASE, 4, smbase.into());
        self.put(amd64::HALT, 1, halted.into());
        self.put(amd64::NMI, 1, nmi.into());
    }

    fn put_segment_64(&mut self, at: u32, s: &Segment) {
        self.put(at, 2, s.sel.into());
        self.put(at + 2, 2, packed(s).into());
        self.put(at + 4, 4, s.limit.into());
        self.put(at + 8, 8, s.base);
    }

    fn get_segment_64(&mut self, at: u32) -> Segment {
        let (sel, rights) = (self.get(at, 2) as u16, self.get(at + 2, 2) as u16);
        unpacked(sel, rights, self.get(at + 4, 4) as u32, self.get(at + 8, 8))
    }

    /// RSM: back to where the SMI came. A saved state that no CPU can have shuts it down [SDM-3 34.4.1].
    ///
    /// # Errors
    /// #UD outside of system management mode.
    pub(crate) fn resume_from_smm(&mut self) -> Outcome {
        if !self.cpu.smm {
            return Err(Fault::UD);
        }
        let halted = if self.cpu.model.has(Feature::Lm) { self.load_smm_64() } else { self.load_smm_32() };
        self.cpu.smm = false;
        self.show_smram(false);
        self.single_step = false;
        let v86 = self.cpu.eflags & VM != 0;
        let cpl = if self.cpu.cr0 & CR0_PE == 0 { 0 } else { self.cpu.seg[seg::SS].dpl() };
        self.set_cpl(if v86 { 3 } else { cpl });
        self.after_smm_switch();
        let good = self.resumed_state_is_valid();
        self.cpu.activity = match (good, halted) {
            (false, _) => Activity::Shutdown,
            (true, true) => Activity::Halted,
            (true, false) => Activity::Running,
        };
        Ok(())
    }

    fn resumed_state_is_valid(&mut self) -> bool {
        let (cr0, cr4, efer) = (self.cpu.cr0, self.cpu.cr4, self.cpu.efer);
        let paging = cr0 & CR0_PG != 0;
        if (paging && cr0 & CR0_PE == 0) || cr0 & (CR0_NW | CR0_CD) == CR0_NW || cr4 & !self.cr4_mask() != 0 {
            return false;
        }
        let long = efer & EFER_LME != 0 && paging;
        if long != (efer & EFER_LMA != 0) || (long && cr4 & CR4_PAE == 0) {
            return false;
        }
        !paging || cr4 & CR4_PAE == 0 || self.cpu.mode.has(Mode::LONG) || self.load_pdptrs(self.cpu.cr3).is_ok()
    }

    fn load_smm_32(&mut self) -> bool {
        let mut word = |at: u32| self.get(at, 4);
        let (cr0, cr3, cr4) = (word(p6::CR0), word(p6::CR3), word(p6::CR4));
        let (eflags, eip, dr6, dr7) = (word(p6::EFLAGS), word(p6::EIP), word(p6::DR6), word(p6::DR7));
        let registers: [u64; 8] = core::array::from_fn(|i| word(p6::EDI - 4 * (7 - i as u32)));
        let gdtr = TableRegister { base: word(p6::GDTR), limit: word(p6::GDTR + 4) as u16 };
        let idtr = TableRegister { base: word(p6::IDTR), limit: word(p6::IDTR + 4) as u16 };
        let segments: [Segment; 8] = core::array::from_fn(|i| {
            let sel = match i {
                6 => p6::LDTR,
                7 => p6::TR,
                _ => p6::ES + 4 * i as u32,
            };
            let at = p6::HIDDEN + 12 * i as u32;
            unpacked(word(sel) as u16, word(at) as u16, word(at + 4) as u32, word(at + 8))
        });
        let (nmi, smbase) = (word(p6::NMI) & 1 != 0, word(p6::SMBASE) as u32);
        let halted = self.get(p6::HALT, 2) & 1 != 0;
        let cpu = &mut self.cpu;
        (cpu.cr0, cpu.cr3, cpu.cr4, cpu.rip) = (cr0, cr3, cr4, eip);
        (cpu.dr[6], cpu.dr[7], cpu.gdtr, cpu.idtr) = (dr6, dr7, gdtr, idtr);
        cpu.regs[..8].copy_from_slice(&registers);
        cpu.seg.copy_from_slice(&segments[..6]);
        (cpu.ldtr, cpu.tr, cpu.nmi_blocked, cpu.smbase) = (segments[6], segments[7], nmi, smbase);
        cpu.set_eflags(eflags as u32);
        halted
    }

    fn load_smm_64(&mut self) -> bool {
        let mut word = |at: u32| self.get(at, 8);
        let (cr0, cr3, cr4, efer) = (word(amd64::CR0), word(amd64::CR3), word(amd64::CR4), word(amd64::EFER));
        let (rflags, rip, dr6, dr7) = (word(amd64::RFLAGS), word(amd64::RIP), word(amd64::DR6), word(amd64::DR7));
        let registers: [u64; 16] = core::array::from_fn(|i| word(amd64::RAX - 8 * i as u32));
        let gdtr = TableRegister { base: word(amd64::GDTR + 8), limit: word(amd64::GDTR + 4) as u16 };
        let idtr = TableRegister { base: word(amd64::IDTR + 8), limit: word(amd64::IDTR + 4) as u16 };
        let segments: [Segment; 6] = core::array::from_fn(|i| self.get_segment_64(amd64::ES + 16 * i as u32));
        let (ldtr, tr) = (self.get_segment_64(amd64::LDTR), self.get_segment_64(amd64::TR));
        let smbase = self.get(amd64::SMBASE, 4) as u32;
        let (halted, nmi) = (self.get(amd64::HALT, 1) & 1 != 0, self.get(amd64::NMI, 1) & 1 != 0);
        let cpu = &mut self.cpu;
        (cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer, cpu.rip) = (cr0, cr3, cr4, efer, rip);
        (cpu.dr[6], cpu.dr[7], cpu.gdtr, cpu.idtr) = (dr6, dr7, gdtr, idtr);
        cpu.regs[..16].copy_from_slice(&registers);
        (cpu.seg, cpu.ldtr, cpu.tr, cpu.nmi_blocked, cpu.smbase) = (segments, ldtr, tr, nmi, smbase);
        cpu.set_eflags(rflags as u32);
        halted
    }
}
