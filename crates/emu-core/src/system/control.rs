//! Control registers: what may be written to them, and what follows from it [SDM-3 2.5].

use super::System;
use crate::cpu::bits::*;
use crate::cpu::model::{Feature, Kind};
use crate::cpu::{Fault, Mode, Outcome, attr, seg};

/// Bits of CR4 with the features that bring them.
const CR4_BITS: &[(u64, Feature)] = &[
    (CR4_VME | CR4_PVI, Feature::Vme),
    (CR4_TSD, Feature::Tsc),
    (CR4_DE, Feature::De),
    (CR4_PSE, Feature::Pse),
    (CR4_PAE, Feature::Pae),
    (CR4_PGE, Feature::Pge),
    (CR4_OSFXSR, Feature::Fxsr),
    (CR4_OSXMMEXCPT, Feature::Sse),
    (CR4_UMIP, Feature::Umip),
    (CR4_FSGSBASE, Feature::Fsgsbase),
    (CR4_PCIDE, Feature::Pcid),
    (CR4_OSXSAVE, Feature::Xsave),
    (CR4_SMEP, Feature::Smep),
    (CR4_SMAP, Feature::Smap),
    (CR4_PKE, Feature::Pku),
    (CR4_PKS, Feature::Pks),
];

impl System {
    /// Bits of CR0 that the model has beside PE, MP, EM and TS.
    fn cr0_mask(&self) -> u64 {
        let base = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
        match self.cpu.model.kind {
            k if k >= Kind::I80486 => base | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG,
            Kind::I80386 => base | CR0_PG,
            _ => base,
        }
    }

    /// MOV to CR0, and what LMSW makes of it.
    ///
    /// # Errors
    /// #GP(0) for combinations that can't be; nothing has changed then.
    pub(crate) fn write_cr0(&mut self, value: u64) -> Outcome {
        let old = self.cpu.cr0;
        if value >> 32 != 0 {
            return Err(Fault::gp(0));
        }
        let new = value & self.cr0_mask() | old & CR0_ET;
        let gp = Fault::gp(0);
        if new & (CR0_PG | CR0_PE) == CR0_PG || new & (CR0_NW | CR0_CD) == CR0_NW {
            return Err(gp);
        }
        let changed = old ^ new;
        let mut efer = self.cpu.efer;
        if changed & CR0_PG != 0 {
            efer = self.long_mode_after(new & CR0_PG != 0)?;
        }
        let pae = new & CR0_PG != 0 && self.cpu.cr4 & CR4_PAE != 0 && efer & EFER_LMA == 0;
        if pae && changed & (CR0_PG | CR0_CD | CR0_NW) != 0 {
            self.load_pdptrs(self.cpu.cr3)?;
        }
        self.cpu.cr0 = new;
        self.cpu.efer = efer;
        if changed & (CR0_PE | CR0_PG) != 0 {
            self.flush_translations();
        } else if changed & CR0_WP != 0 {
            // Nothing of it concerns fetches.
            self.tlb.flush(false);
        }
        self.cpu.refresh_segments();
        self.request_leave();
        Ok(())
    }

    /// EFER as switching paging on or off makes it [SDM-3 9.8.5].
    fn long_mode_after(&self, paging: bool) -> Outcome<u64> {
        let efer = self.cpu.efer;
        if !paging {
            let stuck = self.cpu.mode.has(Mode::CODE64) || self.cpu.cr4 & CR4_PCIDE != 0;
            return if stuck { Err(Fault::gp(0)) } else { Ok(efer & !EFER_LMA) };
        }
        if efer & EFER_LME == 0 {
            return Ok(efer);
        }
        let tss_16 = self.cpu.tr.attr & 8 == 0 && self.cpu.tr.sel & 0xFFFC != 0;
        if self.cpu.cr4 & CR4_PAE == 0 || self.cpu.seg[seg::CS].attr & attr::L != 0 || tss_16 {
            return Err(Fault::gp(0));
        }
        Ok(efer | EFER_LMA)
    }

    /// MOV to CR3.
    ///
    /// # Errors
    /// #GP(0) for reserved bits, there or in the page-directory pointers.
    pub(crate) fn write_cr3(&mut self, value: u64) -> Outcome {
        let long = self.cpu.mode.has(Mode::LONG);
        let no_flush = self.cpu.cr4 & CR4_PCIDE != 0 && value >> 63 != 0;
        let value = if no_flush { value & !(1 << 63) } else { value };
        if long && value >> self.cpu.model.physical_bits() != 0 {
            return Err(Fault::gp(0));
        }
        let value = if long { value } else { value & 0xFFFF_FFFF };
        let before = self.root();
        if self.cpu.cr0 & CR0_PG != 0 && self.cpu.cr4 & CR4_PAE != 0 && !long {
            self.load_pdptrs(value)?;
        }
        self.cpu.cr3 = value;
        // Process contexts are not kept apart in the TLB, so that bit 63 can't spare it the flush.
        self.change_space(&before);
        self.request_leave();
        Ok(())
    }

    /// Bits of CR4 that the model has.
    pub(super) fn cr4_mask(&self) -> u64 {
        let model = self.cpu.model;
        let mut mask = CR4_BITS.iter().filter(|(_, f)| model.has(*f)).fold(0, |m, (bits, _)| m | bits);
        if model.kind >= Kind::Pentium {
            mask |= CR4_MCE;
        }
        if model.kind >= Kind::P6 {
            mask |= CR4_PCE;
        }
        mask
    }

    /// MOV to CR4.
    ///
    /// # Errors
    /// #GP(0) for bits that the model has not, and for combinations that can't be.
    pub(crate) fn write_cr4(&mut self, new: u64) -> Outcome {
        let allowed = self.cr4_mask();
        let (old, long) = (self.cpu.cr4, self.cpu.mode.has(Mode::LONG));
        let changed = old ^ new;
        let pcid_set = changed & new & CR4_PCIDE != 0;
        if new & !allowed != 0 || (long && new & CR4_PAE == 0) || (pcid_set && (!long || self.cpu.cr3 & 0xFFF != 0)) {
            return Err(Fault::gp(0));
        }
        let walks = CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS;
        if self.cpu.cr0 & CR0_PG != 0 && new & CR4_PAE != 0 && !long && changed & (CR4_PAE | CR4_PSE | CR4_PGE) != 0 {
            self.load_pdptrs(self.cpu.cr3)?;
        }
        self.cpu.cr4 = new;
        if changed & (walks | CR4_PCIDE) != 0 {
            self.flush_translations();
        }
        self.cpu.refresh_mode();
        self.request_leave();
        Ok(())
    }

    /// CR8: the task priority class of the local APIC.
    pub(crate) fn read_cr8(&mut self) -> u64 {
        let (now, id) = (self.now(), self.cpu.id);
        let class = self.bus.local_interrupt_controller(&mut self.mem, now, |c, _| c.task_priority(id));
        class.flatten().unwrap_or(0).into()
    }

    /// MOV to CR8.
    ///
    /// # Errors
    /// #GP(0) for more than four bits.
    pub(crate) fn write_cr8(&mut self, value: u64) -> Outcome {
        if value > 15 {
            return Err(Fault::gp(0));
        }
        let (now, id) = (self.now(), self.cpu.id);
        self.bus.local_interrupt_controller(&mut self.mem, now, |c, cx| c.set_task_priority(cx, id, value as u8));
        self.request_leave();
        Ok(())
    }

    /// Number of the debug register that `n` names: 4 and 5 stand for 6 and 7 unless CR4.DE forbids it.
    fn debug_register(&mut self, n: usize) -> Outcome<usize> {
        let alias = matches!(n, 4 | 5);
        if n > 7 || (alias && self.cpu.cr4 & CR4_DE != 0) {
            return Err(Fault::UD);
        }
        if self.cpu.cpl != 0 {
            return Err(Fault::gp(0));
        }
        if self.cpu.dr[7] & DR7_GD != 0 {
            self.cpu.dr[6] |= DR6_BD;
            return Err(Fault::DB);
        }
        Ok(if alias { n + 2 } else { n })
    }

    /// MOV from a debug register.
    ///
    /// # Errors
    /// #UD, #GP(0), #DB if DR7.GD is set.
    pub(crate) fn read_debug_register(&mut self, n: usize) -> Outcome<u64> {
        let n = self.debug_register(n)?;
        Ok(self.cpu.dr[n])
    }

    /// MOV to a debug register [SDM-3 17.2].
    ///
    /// # Errors
    /// As [`Self::read_debug_register`]; #GP(0) for high bits of DR6 and DR7.
    pub(crate) fn write_debug_register(&mut self, n: usize, value: u64) -> Outcome {
        let n = self.debug_register(n)?;
        if n >= 6 && value >> 32 != 0 {
            return Err(Fault::gp(0));
        }
        self.cpu.dr[n] = match n {
            6 => value & 0xE00F | 0xFFFF_0FF0,
            7 => value & 0xFFFF_23FF | 0x400,
            _ => value,
        };
        // Pages with data breakpoints have no place in the cache of translations.
        self.tlb.flush(false);
        self.cpu.refresh_mode();
        self.request_leave();
        Ok(())
    }
}
