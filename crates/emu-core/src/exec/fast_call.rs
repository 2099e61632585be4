//! SYSENTER, SYSEXIT, SYSCALL and SYSRET [SDM-2].

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::model::Feature;
use crate::cpu::{CodeAndStack, Fault, Mode, Outcome, Segment, reg, seg};
use crate::system::is_canonical;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Sysenter => sysenter,
        Sysexitd => |sys, _| sysexit(sys, false),
        Sysexitq => |sys, _| sysexit(sys, true),
        Syscall => syscall,
        Sysretd => |sys, _| sysret(sys, false),
        Sysretq => |sys, _| sysret(sys, true),
        _ => return None,
    })
}

const R11: usize = 11;

/// The high words of flat descriptors' attributes, without DPL.
const CODE_32: u32 = 0x00CF_9B00;
const CODE_64: u32 = 0x00AF_9B00;
const DATA: u32 = 0x00CF_9300;

// The instructions of this file, as handlers know them.
pub(crate) const SYSENTER: u8 = 0;
pub(crate) const SYSEXIT: u8 = 1;
pub(crate) const SYSEXIT_64: u8 = 2;
pub(crate) const SYSCALL: u8 = 3;
pub(crate) const SYSRET: u8 = 4;
pub(crate) const SYSRET_64: u8 = 5;

/// Segments that were loaded last, by privilege level (0 or 3) and width of the code.
pub(crate) struct FlatSegments([[(Segment, Segment, CodeAndStack); 2]; 2]);

impl Default for FlatSegments {
    fn default() -> Self {
        FlatSegments([[(Segment::null(0), Segment::null(0), CodeAndStack::default()); 2]; 2])
    }
}

impl System {
    /// Loads CS and SS as these instructions do: flat segments of level `cpl`, whatever the tables hold.
    #[inline]
    fn load_flat(&mut self, code: u16, stack: u16, cpl: u8, code_64: bool) {
        self.set_cpl(cpl);
        let (cs, ss, pair) = &mut self.flat.0[usize::from(cpl != 0)][usize::from(code_64)];
        if (cs.sel, ss.sel) != (code, stack) || cs.null {
            let dpl = u32::from(cpl) << 13;
            let rights = if code_64 { CODE_64 } else { CODE_32 };
            *cs = Segment::from_descriptor(code, 0xFFFF, rights | dpl);
            *ss = Segment::from_descriptor(stack, 0xFFFF, DATA | dpl);
            // Only IA-32e mode leads to 64-bit code.
            *pair = CodeAndStack::new(code_64, cs, ss);
        }
        self.cpu.seg[seg::CS] = *cs;
        self.cpu.seg[seg::SS] = *ss;
        self.cpu.refresh_mode_from(*pair);
    }

    /// [`SYSENTER`] or one of its kin, with RIP behind it. Nothing has changed if the answer is false: it faults.
    #[inline(never)]
    pub(crate) fn quick_call<const CALL: u8>(&mut self) -> bool {
        let outcome = match CALL {
            SYSENTER => enter(self),
            SYSEXIT => sysexit(self, false),
            SYSEXIT_64 => sysexit(self, true),
            SYSCALL => call_system(self),
            SYSRET => sysret(self, false),
            _ => sysret(self, true),
        };
        outcome.is_ok()
    }
}

fn sysenter(sys: &mut System, _: &Instruction) -> Outcome {
    enter(sys)
}

#[inline]
fn enter(sys: &mut System) -> Outcome {
    if !sys.cpu.model.has(Feature::Sep) {
        return Err(Fault::UD);
    }
    let cs = sys.cpu.msr.sysenter_cs as u16 & 0xFFFC;
    if sys.cpu.mode.is_real() || cs == 0 {
        return Err(Fault::gp(0));
    }
    let long = sys.cpu.mode.has(Mode::LONG);
    if sys.cpu.mode.has(Mode::V86) {
        let flags = sys.cpu.eflags() & !VM;
        sys.replace_eflags(flags);
    }
    sys.cpu.eflags &= !(IF | RF);
    sys.load_flat(cs, cs.wrapping_add(8), 0, long);
    let mask = if long { u64::MAX } else { 0xFFFF_FFFF };
    sys.cpu.regs[reg::RSP] = sys.cpu.msr.sysenter_esp & mask;
    sys.cpu.rip = sys.cpu.msr.sysenter_eip & mask;
    Ok(())
}

#[inline]
fn sysexit(sys: &mut System, to_64: bool) -> Outcome {
    if !sys.cpu.model.has(Feature::Sep) {
        return Err(Fault::UD);
    }
    let cs = sys.cpu.msr.sysenter_cs as u16 & 0xFFFC;
    if !sys.cpu.mode.is_protected() || sys.cpu.cpl != 0 || cs == 0 {
        return Err(Fault::gp(0));
    }
    let (rip, rsp) = (sys.cpu.regs[reg::RDX], sys.cpu.regs[reg::RCX]);
    if to_64 && !(is_canonical(rip) && is_canonical(rsp)) {
        return Err(Fault::gp(0));
    }
    let (mask, first) = if to_64 { (u64::MAX, 32) } else { (0xFFFF_FFFF, 16) };
    sys.load_flat(cs.wrapping_add(first) | 3, cs.wrapping_add(first + 8) | 3, 3, to_64);
    sys.cpu.regs[reg::RSP] = rsp & mask;
    sys.cpu.rip = rip & mask;
    Ok(())
}

/// SYSCALL and SYSRET exist in 64-bit mode only, as on every CPU of the maker whose models these are, unless a feature
/// brings them to protected mode too.
fn need_syscall(sys: &System) -> Outcome {
    let mode_has_it =
        sys.cpu.mode.has(Mode::CODE64) || (sys.cpu.model.has(Feature::Syscall32) && sys.cpu.mode.has(Mode::PE));
    let on = sys.cpu.model.has(Feature::Syscall) && mode_has_it && sys.cpu.efer & EFER_SCE != 0;
    if on { Ok(()) } else { Err(Fault::UD) }
}

fn syscall(sys: &mut System, _: &Instruction) -> Outcome {
    call_system(sys)
}

fn call_system(sys: &mut System) -> Outcome {
    need_syscall(sys)?;
    let flags = sys.cpu.eflags();
    sys.cpu.regs[reg::RCX] = sys.cpu.rip;
    if !sys.cpu.mode.has(Mode::LONG) {
        syscall_legacy(sys, flags);
        return Ok(());
    }
    let target = if sys.cpu.mode.has(Mode::CODE64) { sys.cpu.msr.lstar } else { sys.cpu.msr.cstar };
    sys.cpu.regs[R11] = u64::from(flags & !RF);
    let cs = (sys.cpu.msr.star >> 32) as u16 & 0xFFFC;
    let mask = sys.cpu.msr.fmask as u32;
    sys.replace_eflags(flags & !(mask | RF));
    // The step is that of the flags which the handler finds.
    sys.single_step &= mask & TF == 0;
    sys.load_flat(cs, cs.wrapping_add(8), 0, true);
    sys.cpu.rip = target;
    Ok(())
}

/// Outside of long mode the target is in STAR, and no mask applies [APM-3 SYSCALL].
fn syscall_legacy(sys: &mut System, flags: u32) {
    let star = sys.cpu.msr.star;
    let cs = (star >> 32) as u16 & 0xFFFC;
    sys.replace_eflags(flags & !(VM | IF | RF));
    sys.load_flat(cs, cs.wrapping_add(8), 0, false);
    sys.cpu.rip = star & 0xFFFF_FFFF;
}

fn sysret(sys: &mut System, to_64: bool) -> Outcome {
    need_syscall(sys)?;
    let rip = sys.cpu.regs[reg::RCX];
    if sys.cpu.cpl != 0 || (to_64 && !is_canonical(rip)) {
        return Err(Fault::gp(0));
    }
    let base = (sys.cpu.msr.star >> 48) as u16;
    let cs = if to_64 { base.wrapping_add(16) } else { base } | 3;
    let flags =
        if sys.cpu.mode.has(Mode::LONG) { sys.cpu.regs[R11] as u32 & 0x003C_7FD7 } else { sys.cpu.eflags() | IF };
    sys.replace_eflags(flags | 2);
    // Unlike IRET it is stepped by the TF that it restores [kvm-unit-tests, syscall].
    sys.single_step = flags & TF != 0;
    sys.load_flat(cs, base.wrapping_add(8) | 3, 3, to_64);
    sys.cpu.rip = if to_64 { rip } else { rip & 0xFFFF_FFFF };
    Ok(())
}
