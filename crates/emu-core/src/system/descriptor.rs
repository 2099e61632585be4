//! Descriptors: how they are fetched, and how segment registers are loaded from them [SDM-3 3.4.5, chapter 5].

use super::{Stack, System};
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Mode, Outcome, Segment, attr, seg};

/// A selector as an error code names it: index and table.
#[inline]
pub(crate) const fn code_of(sel: u16) -> u16 {
    sel & 0xFFFC
}

/// A descriptor, and where it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) sel: u16,
    low: u32,
    high: u32,
    /// Bits 95:64 of a system descriptor of long mode.
    upper: u32,
    /// Linear address.
    pub(crate) at: u64,
}

impl Descriptor {
    /// A gate of the IDT, from its words.
    pub(super) fn gate(low: u32, high: u32, upper: u32) -> Descriptor {
        Descriptor { sel: 0, low, high, upper, at: 0 }
    }
    /// Its first two words.
    pub(super) fn words(&self) -> u64 {
        u64::from(self.low) | u64::from(self.high) << 32
    }
    /// Its third word.
    pub(super) fn upper(&self) -> u32 {
        self.upper
    }
    pub(crate) fn attr(&self) -> u16 {
        (self.high >> 8) as u16 & 0xF0FF
    }
    /// S bit and type: 0 to 15 is a system descriptor of that type.
    pub(crate) fn kind(&self) -> u8 {
        (self.high >> 8) as u8 & 0x1F
    }
    pub(crate) fn dpl(&self) -> u8 {
        (self.high >> 13) as u8 & 3
    }
    pub(crate) fn rpl(&self) -> u8 {
        self.sel as u8 & 3
    }
    pub(crate) fn present(&self) -> bool {
        self.attr() & attr::P != 0
    }
    pub(crate) fn is_accessed(&self) -> bool {
        self.attr() & attr::ACCESSED != 0
    }
    pub(crate) fn is_code(&self) -> bool {
        self.kind() & 0x18 == 0x18
    }
    pub(crate) fn is_conforming(&self) -> bool {
        self.kind() & 0x1C == 0x1C
    }
    pub(crate) fn is_writable_data(&self) -> bool {
        self.kind() & 0x1A == 0x12
    }
    /// Data or readable code.
    pub(crate) fn is_readable(&self) -> bool {
        self.kind() & 0x10 != 0 && self.kind() & 0xA != 8
    }
    /// 64-bit code.
    pub(crate) fn is_64(&self) -> bool {
        self.attr() & attr::L != 0
    }
    /// L and D at once: long mode has no meaning for that.
    pub(crate) fn is_l_and_d(&self) -> bool {
        self.attr() & (attr::L | attr::DB) == attr::L | attr::DB
    }
    /// Last valid offset in the segment.
    fn limit(&self) -> u32 {
        let raw = self.high & 0xF_0000 | self.low & 0xFFFF;
        if self.attr() & attr::G != 0 { raw << 12 | 0xFFF } else { raw }
    }
    /// What LAR gives: the high word without base and limit.
    pub(crate) fn access_rights(&self) -> u32 {
        self.high & 0x00F0_FF00
    }
    /// Selector that a gate leads to.
    pub(crate) fn target(&self) -> u16 {
        (self.low >> 16) as u16
    }
    /// Offset that a gate leads to; 16-bit gates have 16 bits of it.
    pub(crate) fn offset(&self) -> u64 {
        let wide = self.kind() & 8 != 0;
        let low = u64::from(self.low & 0xFFFF);
        if wide { low | u64::from(self.high & 0xFFFF_0000) | u64::from(self.upper) << 32 } else { low }
    }
    /// Parameters that a call gate copies.
    pub(crate) fn parameters(&self) -> u32 {
        self.high & 0x1F
    }
    /// Interrupt stack table index of a 64-bit gate.
    pub(crate) fn stack_index(&self) -> u8 {
        self.high as u8 & 7
    }
    /// As a segment register holds it once loaded.
    pub(crate) fn segment(&self) -> Segment {
        let mut s = Segment::from_descriptor(self.sel, self.low, self.high);
        if s.attr & attr::S != 0 {
            s.attr |= attr::ACCESSED;
        } else {
            s.base |= u64::from(self.upper) << 32;
        }
        s
    }
}

/// Code segment `d` as CS holds it at privilege level `cpl`.
fn code_segment(d: &Descriptor, cpl: u8) -> Segment {
    let mut segment = d.segment();
    segment.sel = segment.sel & !3 | u16::from(cpl);
    segment
}

impl System {
    /// The descriptor that `sel` selects.
    ///
    /// # Errors
    /// `otherwise` beyond the table's limit; #PF.
    pub(crate) fn descriptor(&mut self, sel: u16, otherwise: Fault) -> Outcome<Descriptor> {
        let (base, limit) = match sel & 4 {
            0 => (self.cpu.gdtr.base, u32::from(self.cpu.gdtr.limit)),
            _ if self.cpu.ldtr.null => return Err(otherwise),
            _ => (self.cpu.ldtr.base, self.cpu.ldtr.limit),
        };
        let index = u32::from(sel & 0xFFF8);
        if index + 7 > limit {
            return Err(otherwise);
        }
        let at = base.wrapping_add(index.into());
        // The 80286 knows nothing of the last two bytes.
        let known = if self.cpu.model.kind == Kind::I80286 { 0xFFFF_FFFF_FFFF } else { u64::MAX };
        let words = self.read_system::<u64>(at)? & known;
        let mut d = Descriptor { sel, low: words as u32, high: (words >> 32) as u32, upper: 0, at };
        if self.cpu.mode.has(Mode::LONG) && d.attr() & attr::S == 0 {
            if index + 15 > limit {
                return Err(otherwise);
            }
            let more = self.read_system::<u64>(at.wrapping_add(8))?;
            if more >> 40 & 0x1F != 0 {
                return Err(otherwise);
            }
            d.upper = more as u32;
        }
        Ok(d)
    }

    /// Sets the accessed bit of a code or data descriptor that is about to be loaded.
    ///
    /// # Errors
    /// #PF.
    pub(crate) fn mark_accessed(&mut self, d: &Descriptor) -> Outcome {
        if d.is_accessed() {
            return Ok(());
        }
        self.write_system(d.at.wrapping_add(5), d.attr() as u8 | 1)
    }

    /// Loads ES, SS, DS, FS or GS, in any mode [SDM-2 MOV].
    ///
    /// # Errors
    /// #GP, #SS, #NP with the selector; #PF.
    pub(crate) fn load_segment(&mut self, index: usize, sel: u16) -> Outcome {
        if !self.cpu.mode.is_protected() {
            self.load_real_segment(index, sel);
            return Ok(());
        }
        if self.load_known_segment(index, sel) {
            return Ok(());
        }
        let segment = if index == seg::SS { self.checked_stack_segment(sel)? } else { self.checked_data_segment(sel)? };
        self.cpu.change_segment(index, segment);
        self.remember_segment(index);
        Ok(())
    }

    fn checked_stack_segment(&mut self, sel: u16) -> Outcome<Segment> {
        let cpl = self.cpu.cpl;
        let gp = Fault::gp(code_of(sel));
        if code_of(sel) == 0 {
            let allowed = self.cpu.mode.has(Mode::CODE64) && cpl != 3 && sel as u8 & 3 == cpl;
            return if allowed { Ok(Segment::null(sel)) } else { Err(Fault::gp(0)) };
        }
        let d = self.descriptor(sel, gp)?;
        if d.rpl() != cpl || !d.is_writable_data() || d.dpl() != cpl {
            return Err(gp);
        }
        if !d.present() {
            return Err(Fault::ss(code_of(sel)));
        }
        self.mark_accessed(&d)?;
        Ok(d.segment())
    }

    fn checked_data_segment(&mut self, sel: u16) -> Outcome<Segment> {
        if code_of(sel) == 0 {
            return Ok(Segment::null(sel));
        }
        let gp = Fault::gp(code_of(sel));
        let d = self.descriptor(sel, gp)?;
        if !d.is_readable() || (!d.is_conforming() && d.rpl().max(self.cpu.cpl) > d.dpl()) {
            return Err(gp);
        }
        if !d.present() {
            return Err(Fault::np(code_of(sel)));
        }
        self.mark_accessed(&d)?;
        Ok(d.segment())
    }

    /// Changes the privilege level; the mode is derived anew with the segment that must be loaded next.
    pub(crate) fn set_cpl(&mut self, cpl: u8) {
        self.cpu.cpl = cpl & 3;
        self.tlb.set_user(self.cpu.cpl == 3);
    }

    /// Continues at `rip` of code segment `d`, which has passed all checks, at privilege level `cpl`.
    pub(crate) fn enter_code(&mut self, d: &Descriptor, cpl: u8, rip: u64) {
        self.set_cpl(cpl);
        self.cpu.change_segment(seg::CS, code_segment(d, cpl));
        self.cpu.rip = rip;
    }

    /// As [`Self::enter_code`], with another stack, whose pointer becomes `sp`.
    pub(crate) fn enter_code_on(&mut self, stack: &Stack, sp: u64, d: &Descriptor, cpl: u8, rip: u64) {
        self.set_cpl(cpl);
        self.cpu.put_segment(seg::CS, code_segment(d, cpl));
        self.cpu.rip = rip;
        self.change_stack(stack, sp);
    }

    /// Checks that `rip` lies in code segment `d`.
    ///
    /// # Errors
    /// #GP(0).
    pub(crate) fn check_entry(&self, d: &Descriptor, rip: u64) -> Outcome {
        let inside =
            if self.cpu.mode.has(Mode::LONG) && d.is_64() { super::is_canonical(rip) } else { rip <= d.limit().into() };
        if inside { Ok(()) } else { Err(Fault::gp(0)) }
    }

    /// Replaces EFLAGS whole; what SMAP lets through may change with AC.
    pub(crate) fn replace_eflags(&mut self, v: u32) {
        use crate::cpu::bits::{AC, CR4_SMAP};
        let ac_changes = (self.cpu.eflags ^ v) & AC != 0;
        self.cpu.set_eflags(v);
        if ac_changes && self.cpu.cr4 & CR4_SMAP != 0 {
            self.flush_translations();
        }
    }
}
