//! SYSENTER, SYSEXIT, SYSCALL and SYSRET [SDM-2].

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::model::Feature;
use crate::cpu::{Fault, Mode, Outcome, Segment, reg, seg};
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

impl System {
    /// Loads CS and SS as these instructions do: flat segments of level `cpl`, whatever the tables hold.
    fn load_flat(&mut self, code: u16, stack: u16, cpl: u8, code_64: bool) {
        let dpl = u32::from(cpl) << 13;
        self.set_cpl(cpl);
        let rights = if code_64 { CODE_64 } else { CODE_32 };
        self.cpu.put_segment(seg::CS, Segment::from_descriptor(code, 0xFFFF, rights | dpl));
        self.cpu.change_segment(seg::SS, Segment::from_descriptor(stack, 0xFFFF, DATA | dpl));
    }
}

fn sysenter(sys: &mut System, _: &Instruction) -> Outcome {
    if !sys.cpu.model.has(Feature::Sep) {
        return Err(Fault::UD);
    }
    let cs = sys.cpu.msr.sysenter_cs as u16 & 0xFFFC;
    if sys.cpu.mode.is_real() || cs == 0 {
        return Err(Fault::gp(0));
    }
    let long = sys.cpu.mode.has(Mode::LONG);
    let flags = sys.cpu.eflags() & !(VM | IF | RF);
    sys.replace_eflags(flags);
    sys.load_flat(cs, cs.wrapping_add(8), 0, long);
    let mask = if long { u64::MAX } else { 0xFFFF_FFFF };
    sys.cpu.regs[reg::RSP] = sys.cpu.msr.sysenter_esp & mask;
    sys.cpu.rip = sys.cpu.msr.sysenter_eip & mask;
    Ok(())
}

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
