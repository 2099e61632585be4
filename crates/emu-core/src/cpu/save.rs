//! The CPU's saved state.

use super::{Activity, Cpu, LazyFlags, Mode, Msrs, Shadow};
use crate::state::{Field, State, StateError, StateReader, StateWriter};

impl Field for Msrs {
    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            sysenter_cs,
            sysenter_esp,
            sysenter_eip,
            star,
            lstar,
            cstar,
            fmask,
            kernel_gs_base,
            tsc_aux,
            pat,
            misc_enable,
            mtrr_def_type,
            mtrr_fixed,
            mtrr_base,
            mtrr_mask,
            bios_sign_id,
            mcg_status,
            debugctl,
        } = self;
        [*sysenter_cs, *sysenter_esp, *sysenter_eip, *star, *lstar, *cstar, *fmask, *kernel_gs_base].put(out);
        [*tsc_aux, *pat, *misc_enable, *mtrr_def_type, *bios_sign_id, *mcg_status, *debugctl].put(out);
        (*mtrr_fixed, *mtrr_base, *mtrr_mask).put(out);
    }

    fn get(bytes: &mut &[u8]) -> Option<Self> {
        let [sysenter_cs, sysenter_esp, sysenter_eip, star, lstar, cstar, fmask, kernel_gs_base] = Field::get(bytes)?;
        let [tsc_aux, pat, misc_enable, mtrr_def_type, bios_sign_id, mcg_status, debugctl] = Field::get(bytes)?;
        let (mtrr_fixed, mtrr_base, mtrr_mask) = Field::get(bytes)?;
        Some(Msrs {
            sysenter_cs,
            sysenter_esp,
            sysenter_eip,
            star,
            lstar,
            cstar,
            fmask,
            kernel_gs_base,
            tsc_aux,
            pat,
            misc_enable,
            mtrr_def_type,
            mtrr_fixed,
            mtrr_base,
            mtrr_mask,
            bios_sign_id,
            mcg_status,
            debugctl,
        })
    }
}

impl State for Cpu {
    const TAG: [u8; 4] = *b"CPU ";
    /// 2: test registers; 3: upper halves of YMM registers, XCR0, the random generator; 4: pending debug traps,
    /// protection keys, machine check banks.
    /// Before, all as after a reset.
    const VERSION: u16 = 4;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            regs,
            rip,
            flags,
            eflags,
            seg,
            mode: Mode(_),
            cpl,
            shadow,
            activity,
            ldtr,
            tr,
            gdtr,
            idtr,
            cr0,
            cr2,
            cr3,
            cr4,
            pdptrs,
            efer,
            dr,
            msr,
            tsc_offset,
            fpu,
            xmm,
            ymm_high,
            xcr0,
            mxcsr,
            random,
            nmi_blocked,
            smm,
            smbase,
            test,
            pending_debug,
            key_rights,
            machine_check,
            model: _,
            id: _,
        } = self;
        let general: [u64; 16] = core::array::from_fn(|i| regs[i]);
        w.field(1, &general);
        w.field(2, &(*rip, *eflags | flags.bits()));
        w.field(3, seg);
        w.field(4, &(*cpl, *shadow as u8, *activity as u8));
        w.field(5, &(*ldtr, *tr, *gdtr, *idtr));
        w.field(6, &([*cr0, *cr2, *cr3, *cr4], *pdptrs, *efer));
        w.field(7, dr);
        w.field(8, msr);
        w.field(9, tsc_offset);
        w.part(10, fpu);
        w.field(11, &(*xmm, *mxcsr));
        w.field(12, &(*nmi_blocked, *smm, *smbase));
        w.field(13, &(*ymm_high, *xcr0));
        w.field(14, random);
        w.field(20, test);
        w.field(30, pending_debug);
        w.field(31, key_rights);
        w.field(32, machine_check);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let general: [u64; 16] = r.field(1)?;
        self.regs = [0; 32];
        self.regs[..16].copy_from_slice(&general);
        let (rip, eflags): (u64, u32) = r.field(2)?;
        self.rip = rip;
        self.seg = r.field(3)?;
        let (cpl, shadow, activity): (u8, u8, u8) = r.field(4)?;
        self.cpl = cpl & 3;
        self.shadow = match shadow {
            0 => Shadow::None,
            1 => Shadow::Sti,
            2 => Shadow::MovSs,
            _ => return Err(r.invalid("no such interrupt shadow")),
        };
        self.activity = match activity {
            0 => Activity::Running,
            1 => Activity::Halted,
            2 => Activity::WaitForSipi,
            3 => Activity::Shutdown,
            4 => Activity::Stalled,
            _ => return Err(r.invalid("no such activity")),
        };
        (self.ldtr, self.tr, self.gdtr, self.idtr) = r.field(5)?;
        let cr: [u64; 4];
        (cr, self.pdptrs, self.efer) = r.field(6)?;
        [self.cr0, self.cr2, self.cr3, self.cr4] = cr;
        self.dr = r.field(7)?;
        self.msr = r.field(8)?;
        self.tsc_offset = r.field(9)?;
        r.part(10, &mut self.fpu)?;
        (self.xmm, self.mxcsr) = r.field(11)?;
        (self.nmi_blocked, self.smm, self.smbase) = r.field(12)?;
        (self.ymm_high, self.xcr0) = r.optional(13)?.unwrap_or(([0; 16], 1));
        self.random = r.optional(14)?.unwrap_or_default();
        // Older states have none: as after a reset.
        self.test = r.optional(20)?.unwrap_or_default();
        self.pending_debug = r.optional(30)?.unwrap_or(0);
        self.key_rights = r.optional(31)?.unwrap_or_default();
        self.machine_check = r.optional(32)?.unwrap_or_default();
        self.eflags = 2;
        self.flags = LazyFlags::from_bits(eflags);
        self.set_eflags(eflags);
        self.refresh_segments();
        Ok(())
    }
}
