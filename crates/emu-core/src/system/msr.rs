//! Model-specific registers [SDM-4 chapter 2].

use super::{System, is_canonical};
use crate::cpu::bits::*;
use crate::cpu::model::{Feature, Kind};
use crate::cpu::{Fault, Outcome, seg};

const TSC: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1B;
const EBL_CR_POWERON: u32 = 0x2A;
const BIOS_UPDT_TRIG: u32 = 0x79;
const BIOS_SIGN_ID: u32 = 0x8B;
const MTRRCAP: u32 = 0xFE;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17A;
const MISC_ENABLE: u32 = 0x1A0;
const DEBUGCTL: u32 = 0x1D9;
const PAT: u32 = 0x277;
const MTRR_DEF_TYPE: u32 = 0x2FF;
const PKRS: u32 = 0x6E1;
const XSS: u32 = 0xDA0;
const EFER: u32 = 0xC000_0080;
const STAR: u32 = 0xC000_0081;
const LSTAR: u32 = 0xC000_0082;
const CSTAR: u32 = 0xC000_0083;
const FMASK: u32 = 0xC000_0084;
const FS_BASE: u32 = 0xC000_0100;
const GS_BASE: u32 = 0xC000_0101;
const KERNEL_GS_BASE: u32 = 0xC000_0102;
const TSC_AUX: u32 = 0xC000_0103;

/// Fixed-range memory type registers, in the order in which they are kept.
const MTRR_FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F];
/// Eight variable ranges, the fixed ranges, and write combining.
const MTRRCAP_VALUE: u64 = 0x508;

/// A variable memory range register: which range, and whether it is the mask.
fn variable_range(number: u32) -> Option<(usize, bool)> {
    let n = number.wrapping_sub(0x200);
    (n < 16).then_some(((n / 2) as usize, n & 1 != 0))
}

/// A machine check bank's register.
fn in_bank(number: u32) -> bool {
    (0x400..0x400 + 4 * BANKS).contains(&number)
}
const BANKS: u32 = 5;

/// Where [`crate::cpu::Cpu::machine_check`] has a register of a bank; its status register always reads as zero.
fn bank_register(number: u32) -> Option<usize> {
    let (bank, register) = ((number - 0x400) / 4, number & 3);
    let place = match register {
        0 => 0,
        1 => return None,
        n => n - 1,
    };
    Some((3 * bank + place) as usize)
}

fn plain_type(t: u64) -> bool {
    matches!(t, 0 | 1 | 4 | 5 | 6)
}

impl System {
    /// The time stamp counter.
    #[must_use]
    pub fn time_stamp(&self) -> u64 {
        self.now().0.wrapping_add(self.cpu.tsc_offset)
    }

    /// Whether the model has register `number` by one of its features.
    fn has_msr(&self, number: u32) -> bool {
        let m = self.cpu.model;
        match number {
            TSC => m.has(Feature::Tsc),
            APIC_BASE => m.kind >= Kind::P6,
            SYSENTER_CS..=SYSENTER_EIP => m.has(Feature::Sep),
            MTRRCAP | MTRR_DEF_TYPE | 0x200..=0x20F => m.has(Feature::Mtrr),
            n if MTRR_FIXED.contains(&n) => m.has(Feature::Mtrr),
            PAT => m.has(Feature::Pat),
            XSS => m.has(Feature::Xsaves),
            EFER => m.has(Feature::Syscall) || m.has(Feature::Nx) || m.has(Feature::Lm),
            STAR => m.has(Feature::Syscall),
            LSTAR | CSTAR | FMASK | FS_BASE | GS_BASE | KERNEL_GS_BASE => m.has(Feature::Lm),
            TSC_AUX => m.has(Feature::Rdtscp),
            MISC_ENABLE => m.kind >= Kind::X64V1,
            PKRS => m.has(Feature::Pks),
            // Machine check address and type; test register 12 and event counters of the P5, which count nothing.
            0..=1 => true,
            0x0E | 0x11..=0x13 => m.kind == Kind::Pentium,
            PLATFORM_ID => m.kind >= Kind::P6,
            // Last branch and exception: none is recorded.
            0x1DB..=0x1DE => m.kind == Kind::P6,
            EBL_CR_POWERON | BIOS_UPDT_TRIG | BIOS_SIGN_ID | MCG_CAP | MCG_STATUS | DEBUGCTL => m.kind >= Kind::P6,
            n => m.kind >= Kind::P6 && in_bank(n),
        }
    }

    /// RDMSR.
    ///
    /// # Errors
    /// #GP(0) for a register that the model has not.
    pub(crate) fn read_msr(&mut self, number: u32) -> Outcome<u64> {
        if let Some(outcome) = self.read_hypervisor_msr(number) {
            return outcome;
        }
        if !self.has_msr(number) {
            return Err(Fault::gp(0));
        }
        let msr = &self.cpu.msr;
        Ok(match number {
            TSC => self.time_stamp(),
            APIC_BASE => self.read_apic_base(),
            BIOS_SIGN_ID => msr.bios_sign_id,
            MTRRCAP => MTRRCAP_VALUE,
            SYSENTER_CS => msr.sysenter_cs,
            SYSENTER_ESP => msr.sysenter_esp,
            SYSENTER_EIP => msr.sysenter_eip,
            MCG_CAP => BANKS.into(),
            MCG_STATUS => msr.mcg_status,
            MISC_ENABLE => msr.misc_enable,
            DEBUGCTL => msr.debugctl,
            PAT => msr.pat,
            MTRR_DEF_TYPE => msr.mtrr_def_type,
            EFER => self.cpu.efer,
            STAR => msr.star,
            LSTAR => msr.lstar,
            CSTAR => msr.cstar,
            FMASK => msr.fmask,
            FS_BASE => self.cpu.seg[seg::FS].base,
            GS_BASE => self.cpu.seg[seg::GS].base,
            KERNEL_GS_BASE => msr.kernel_gs_base,
            TSC_AUX => msr.tsc_aux,
            PKRS => self.cpu.key_rights[1].into(),
            n if in_bank(n) => bank_register(n).map_or(0, |i| self.cpu.machine_check[i]),
            n => match (variable_range(n), MTRR_FIXED.iter().position(|&f| f == n)) {
                (Some((i, false)), _) => msr.mtrr_base[i],
                (Some((i, true)), _) => msr.mtrr_mask[i],
                (_, Some(i)) => msr.mtrr_fixed[i],
                // All the others read as zeros: they belong to parts that never have anything to report.
                _ => 0,
            },
        })
    }

    /// WRMSR.
    ///
    /// # Errors
    /// #GP(0) for a register that the model has not, or a value that it can't hold.
    pub(crate) fn write_msr(&mut self, number: u32, value: u64) -> Outcome {
        if let Some(outcome) = self.write_hypervisor_msr(number, value) {
            return outcome;
        }
        if !self.has_msr(number) || matches!(number, MTRRCAP | MCG_CAP | PLATFORM_ID) {
            return Err(Fault::gp(0));
        }
        let address =
            matches!(number, LSTAR | CSTAR | FS_BASE | GS_BASE | KERNEL_GS_BASE | SYSENTER_ESP | SYSENTER_EIP);
        if address && !is_canonical(value) {
            return Err(Fault::gp(0));
        }
        let long = self.cpu.model.has(Feature::Lm);
        let msr = &mut self.cpu.msr;
        match number {
            TSC => self.write_tsc(value),
            APIC_BASE => return self.write_apic_base(value),
            EFER => return self.write_efer(value),
            // There are no supervisor state components.
            XSS => return if value == 0 { Ok(()) } else { Err(Fault::gp(0)) },
            // Trigger of a microcode update: there is none to load.
            BIOS_UPDT_TRIG => {}
            BIOS_SIGN_ID => msr.bios_sign_id = value,
            SYSENTER_CS => msr.sysenter_cs = value & 0xFFFF_FFFF,
            SYSENTER_ESP => msr.sysenter_esp = if long { value } else { value & 0xFFFF_FFFF },
            SYSENTER_EIP => msr.sysenter_eip = if long { value } else { value & 0xFFFF_FFFF },
            MCG_STATUS => msr.mcg_status = value & 7,
            MISC_ENABLE => msr.misc_enable = value,
            DEBUGCTL => msr.debugctl = value & 0x7F,
            STAR => msr.star = value,
            LSTAR => msr.lstar = value,
            CSTAR => msr.cstar = value,
            FMASK => msr.fmask = value & 0xFFFF_FFFF,
            FS_BASE => self.cpu.seg[seg::FS].base = value,
            GS_BASE => self.cpu.seg[seg::GS].base = value,
            KERNEL_GS_BASE => msr.kernel_gs_base = value,
            TSC_AUX => msr.tsc_aux = value & 0xFFFF_FFFF,
            PKRS => {
                self.cpu.key_rights[1] = u32::try_from(value).map_err(|_| Fault::gp(0))?;
                self.tlb.flush(false);
            }
            n if in_bank(n) => return self.write_machine_check(n, value),
            n => return self.write_memory_type(n, value),
        }
        Ok(())
    }

    /// The page attribute table and memory type ranges: kept, as guest memory is coherent whatever they say; and the rest,
    /// which ignores what is written.
    fn write_memory_type(&mut self, number: u32, value: u64) -> Outcome {
        let msr = &mut self.cpu.msr;
        match number {
            PAT => {
                if value.to_le_bytes().iter().any(|&t| !plain_type(t.into()) && t != 7) {
                    return Err(Fault::gp(0));
                }
                msr.pat = value;
            }
            MTRR_DEF_TYPE => {
                if value & !0xCFF != 0 || !plain_type(value & 0xFF) {
                    return Err(Fault::gp(0));
                }
                msr.mtrr_def_type = value;
            }
            n => match (variable_range(n), MTRR_FIXED.iter().position(|&f| f == n)) {
                (Some((i, false)), _) => msr.mtrr_base[i] = value,
                (Some((i, true)), _) => msr.mtrr_mask[i] = value,
                (_, Some(i)) => msr.mtrr_fixed[i] = value,
                _ => {}
            },
        }
        Ok(())
    }

    /// Registers of machine check banks [SDM-3 15.3.2]: all reporting on or off; nothing to report, hence to clear.
    fn write_machine_check(&mut self, number: u32, value: u64) -> Outcome {
        let control = number & 3 == 0;
        match bank_register(number) {
            None if value != 0 => return Err(Fault::gp(0)),
            Some(_) if control && value != 0 && value != u64::MAX => return Err(Fault::gp(0)),
            Some(i) => self.cpu.machine_check[i] = value,
            None => {}
        }
        Ok(())
    }

    /// Family 6 before the 64-bit models writes only the low half and clears the high one [SDM-3 17.17.3].
    fn write_tsc(&mut self, value: u64) {
        let narrow = self.cpu.model.kind == Kind::P6;
        let value = if narrow { value & 0xFFFF_FFFF } else { value };
        self.cpu.tsc_offset = value.wrapping_sub(self.now().0);
        self.tell_tsc_written();
    }

    fn read_apic_base(&mut self) -> u64 {
        let (now, id) = (self.now(), self.cpu.id);
        let base = self.bus.local_interrupt_controller(&mut self.mem, now, |c, _| c.apic_base(id));
        // Without a local APIC on the board: disabled, at its usual place.
        base.flatten().unwrap_or(0xFEE0_0000 | if id == 0 { 0x100 } else { 0 })
    }

    fn write_apic_base(&mut self, value: u64) -> Outcome {
        let (now, id) = (self.now(), self.cpu.id);
        if value >> self.cpu.model.physical_bits() != 0 {
            return Err(Fault::gp(0));
        }
        let set = self.bus.local_interrupt_controller(&mut self.mem, now, |c, cx| c.set_apic_base(cx, id, value));
        self.request_leave();
        if set == Some(false) { Err(Fault::gp(0)) } else { Ok(()) }
    }

    fn write_efer(&mut self, value: u64) -> Outcome {
        let model = self.cpu.model;
        let bits = [(EFER_SCE, Feature::Syscall), (EFER_LME | EFER_LMA, Feature::Lm), (EFER_NXE, Feature::Nx)];
        let allowed = bits.iter().filter(|(_, f)| model.has(*f)).fold(0, |m, (bits, _)| m | bits);
        let old = self.cpu.efer;
        let new = value & !EFER_LMA | old & EFER_LMA;
        let long_changes_under_paging = (old ^ new) & EFER_LME != 0 && self.cpu.cr0 & CR0_PG != 0;
        if value & !allowed != 0 || long_changes_under_paging {
            return Err(Fault::gp(0));
        }
        self.cpu.efer = new;
        if (old ^ new) & EFER_NXE != 0 {
            self.flush_translations();
            self.request_leave();
        }
        Ok(())
    }
}
