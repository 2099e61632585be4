//! Decimal adjustments [SDM-2 AAA, AAD, AAM, AAS, DAA, DAS].

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::{Fault, Outcome, reg};

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Daa => decimal_adjust::<false>,
        Code::Das => decimal_adjust::<true>,
        Code::Aaa => ascii_adjust::<false>,
        Code::Aas => ascii_adjust::<true>,
        Code::Aam_imm8 => aam,
        Code::Aad_imm8 => aad,
        _ => return None,
    })
}

fn ax(sys: &System) -> u16 {
    sys.cpu.regs[reg::RAX] as u16
}

fn set_ax(sys: &mut System, v: u16) {
    let a = &mut sys.cpu.regs[reg::RAX];
    *a = *a & !0xFFFF | u64::from(v);
}

fn decimal_adjust<const SUB: bool>(sys: &mut System, _: &Instruction) -> Outcome {
    let old = ax(sys);
    let (al, cf) = (old as u8, sys.cpu.flags.cf());
    let low = al & 15 > 9 || sys.cpu.flags.af();
    let high = al > 0x99 || cf;
    let fix = if low { 6u8 } else { 0 } + if high { 0x60 } else { 0 };
    let r = if SUB { al.wrapping_sub(fix) } else { al.wrapping_add(fix) };
    // DAS also reports the borrow of the low digit's adjustment.
    let carry = high || (SUB && low && al < 6);
    set_ax(sys, old & 0xFF00 | u16::from(r));
    sys.cpu.flags.set_result(r.into(), 8, carry, false, low);
    Ok(())
}

fn ascii_adjust<const SUB: bool>(sys: &mut System, _: &Instruction) -> Outcome {
    let old = ax(sys);
    let adjust = old & 15 > 9 || sys.cpu.flags.af();
    let r = match (adjust, SUB) {
        (false, _) => old,
        (true, false) => old.wrapping_add(0x106),
        (true, true) => old.wrapping_sub(0x106),
    };
    let r = r & 0xFF0F;
    set_ax(sys, r);
    sys.cpu.flags.set_result(u64::from(r & 0xFF), 8, adjust, false, adjust);
    Ok(())
}

fn aam(sys: &mut System, insn: &Instruction) -> Outcome {
    let (base, al) = (insn.immediate8(), ax(sys) as u8);
    if base == 0 {
        return Err(Fault::DE);
    }
    let (high, low) = (al / base, al % base);
    set_ax(sys, u16::from(high) << 8 | u16::from(low));
    sys.cpu.flags.set_result(low.into(), 8, false, false, false);
    Ok(())
}

fn aad(sys: &mut System, insn: &Instruction) -> Outcome {
    let [al, ah] = ax(sys).to_le_bytes();
    let tens = ah.wrapping_mul(insn.immediate8());
    let r = al.wrapping_add(tens);
    set_ax(sys, r.into());
    // CF, OF and AF are undefined; they are those of the addition.
    sys.cpu.flags.set_add(al.into(), tens.into(), r.into(), 8);
    Ok(())
}
