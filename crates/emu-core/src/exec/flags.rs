//! EFLAGS as a whole and one by one: PUSHF, POPF, LAHF, SAHF, CLI, STI and the like.

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::flags::STATUS;
use crate::cpu::model::{Feature, Kind};
use crate::cpu::{Cpu, Fault, Mode, Outcome, Shadow, reg};
use crate::mem::Scalar;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Pushfw => pushf::<u16>,
        Code::Pushfd => pushf::<u32>,
        Code::Pushfq => pushf::<u64>,
        Code::Popfw => popf::<u16>,
        Code::Popfd => popf::<u32>,
        Code::Popfq => popf::<u64>,
        Code::Lahf => lahf,
        Code::Sahf => sahf,
        Code::Clc => clc,
        Code::Stc => stc,
        Code::Cmc => cmc,
        Code::Cld => cld,
        Code::Std => std,
        Code::Cli => cli,
        Code::Sti => sti,
        Code::Salc => salc,
        _ => return None,
    })
}

impl Cpu {
    /// EFLAGS as the stack gets them: up to the 80186, the bits that are no flags are ones.
    #[must_use]
    pub(crate) fn pushed_flags(&self) -> u32 {
        self.eflags() | if self.model.kind <= Kind::I80186 { 0xF000 } else { 0 }
    }

    /// The bits of EFLAGS that this model has.
    #[must_use]
    pub(crate) fn known_flags(&self) -> u32 {
        let base = STATUS | TF | IF | DF;
        match self.model.kind {
            Kind::I8086 | Kind::I80186 => base,
            Kind::I80286 => base | IOPL | NT,
            Kind::I80386 => base | IOPL | NT | RF | VM,
            _ => {
                let id = if self.model.has(Feature::Cpuid) { ID } else { 0 };
                let virtual_if = if self.model.has(Feature::Vme) { VIF | VIP } else { 0 };
                base | IOPL | NT | RF | VM | AC | id | virtual_if
            }
        }
    }
}

/// V86 mode's PUSHF and POPF without the right to it: #GP(0), unless virtual-8086 mode extensions serve them with VIF in
/// the place of IF. Returns whether they do [SDM-3 20.3].
fn uses_virtual_if<T: Scalar>(sys: &System) -> Outcome<bool> {
    if !sys.cpu.mode.has(Mode::V86) || sys.cpu.iopl() == 3 {
        return Ok(false);
    }
    if sys.cpu.cr4 & CR4_VME != 0 && T::SIZE == 2 { Ok(true) } else { Err(Fault::gp(0)) }
}

fn pushf<T: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    let mut v = sys.cpu.pushed_flags() & !(VM | RF);
    if uses_virtual_if::<T>(sys)? {
        v = v & !IF | IOPL | if v & VIF != 0 { IF } else { 0 };
    }
    sys.push(T::from_u64(v.into()))
}

/// The bits that POPF may change here [SDM-2 POPF].
fn poppable<T: Scalar>(sys: &System) -> u32 {
    let mut mask = STATUS | TF | DF | NT | AC | ID;
    let (cpl, iopl) = (sys.cpu.cpl, sys.cpu.iopl());
    if sys.cpu.mode.has(Mode::V86) {
        mask |= IF;
    } else {
        mask |= if cpl <= iopl { IF } else { 0 } | if cpl == 0 { IOPL } else { 0 };
    }
    if sys.cpu.model.kind == Kind::I80286 && !sys.cpu.mode.has(Mode::PE) {
        mask &= !(IOPL | NT);
    }
    mask & sys.cpu.known_flags() & if T::SIZE == 2 { 0xFFFF } else { u32::MAX }
}

fn popf<T: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    let virtual_if = uses_virtual_if::<T>(sys)?;
    let sp = sys.cpu.regs[reg::RSP];
    let popped = sys.pop::<T>()?.to_u64() as u32;
    let old = sys.cpu.eflags();
    let mut mask = poppable::<T>(sys);
    let mut new = popped;
    if virtual_if {
        if popped & TF != 0 || (popped & IF != 0 && old & VIP != 0) {
            sys.cpu.regs[reg::RSP] = sp;
            return Err(Fault::gp(0));
        }
        mask = mask & !IF | VIF;
        new = popped & !VIF | if popped & IF != 0 { VIF } else { 0 };
    }
    // RF is clear after every POPF but that of V86 mode's extension.
    let keep = if virtual_if { old } else { old & !RF };
    sys.replace_eflags(keep & !mask | new & mask);
    if sys.cpu.eflags & IF != 0 && old & IF == 0 && sys.interrupt_waits() {
        sys.request_leave();
    }
    Ok(())
}

/// 64-bit mode has LAHF and SAHF only as a feature.
fn check_lahf(sys: &System) -> Outcome {
    let there = !sys.cpu.mode.has(Mode::CODE64) || sys.cpu.model.has(Feature::LahfLm);
    if there { Ok(()) } else { Err(Fault::UD) }
}

fn lahf(sys: &mut System, _: &Instruction) -> Outcome {
    check_lahf(sys)?;
    let flags = (sys.cpu.flags.bits() | 2) & 0xFF;
    let a = &mut sys.cpu.regs[reg::RAX];
    *a = *a & !0xFF00 | u64::from(flags) << 8;
    Ok(())
}

fn sahf(sys: &mut System, _: &Instruction) -> Outcome {
    check_lahf(sys)?;
    let flags = (sys.cpu.regs[reg::RAX] >> 8) as u32;
    sys.cpu.flags.replace(SF | ZF | AF | PF | CF, flags);
    Ok(())
}

fn clc(sys: &mut System, _: &Instruction) -> Outcome {
    sys.cpu.flags.replace(CF, 0);
    Ok(())
}

fn stc(sys: &mut System, _: &Instruction) -> Outcome {
    sys.cpu.flags.replace(CF, CF);
    Ok(())
}

fn cmc(sys: &mut System, _: &Instruction) -> Outcome {
    let flipped = sys.cpu.flags.bits() ^ CF;
    sys.cpu.flags.replace(CF, flipped);
    Ok(())
}

fn cld(sys: &mut System, _: &Instruction) -> Outcome {
    sys.cpu.eflags &= !DF;
    Ok(())
}

fn std(sys: &mut System, _: &Instruction) -> Outcome {
    sys.cpu.eflags |= DF;
    Ok(())
}

/// Which flag CLI and STI act on: IF, or VIF where the extensions of V86 and protected mode say so [SDM-2 CLI].
///
/// # Errors
/// #GP(0) without the right to change either.
fn interrupt_flag(sys: &System) -> Outcome<u32> {
    let (cpl, iopl, mode) = (sys.cpu.cpl, sys.cpu.iopl(), sys.cpu.mode);
    if !mode.has(Mode::PE) || cpl <= iopl {
        return Ok(IF);
    }
    let extension = if mode.has(Mode::V86) { CR4_VME } else { CR4_PVI };
    if cpl == 3 && sys.cpu.cr4 & extension != 0 { Ok(VIF) } else { Err(Fault::gp(0)) }
}

fn cli(sys: &mut System, _: &Instruction) -> Outcome {
    sys.cpu.eflags &= !interrupt_flag(sys)?;
    Ok(())
}

fn sti(sys: &mut System, _: &Instruction) -> Outcome {
    let flag = interrupt_flag(sys)?;
    if flag == VIF && sys.cpu.eflags & VIP != 0 {
        return Err(Fault::gp(0));
    }
    if flag == IF && sys.cpu.eflags & IF == 0 && (sys.interrupt_waits() || !sys.next_follows()) {
        // Elsewhere the next instruction has ended before anything can come.
        sys.cpu.shadow = Shadow::Sti;
        sys.request_leave();
    }
    sys.cpu.eflags |= flag;
    Ok(())
}

/// AL becomes FFh with CF, else 0; undocumented, and on every CPU in 16- and 32-bit modes.
fn salc(sys: &mut System, _: &Instruction) -> Outcome {
    let v = if sys.cpu.flags.cf() { 0xFF } else { 0 };
    let a = &mut sys.cpu.regs[reg::RAX];
    *a = *a & !0xFF | v;
    Ok(())
}
