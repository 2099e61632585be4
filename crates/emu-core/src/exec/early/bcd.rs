//! Decimal adjustments: one addition or subtraction, with the flags of that; then a division or multiplication.

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::muldiv::{divide_error, long_division};
use crate::System;
use crate::cpu::bits::*;
use crate::cpu::model::Kind;
use crate::cpu::{Outcome, reg};

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

fn ax(sys: &System) -> [u8; 2] {
    (sys.cpu.regs[reg::RAX] as u16).to_le_bytes()
}

fn set_ax(sys: &mut System, v: [u8; 2]) {
    let a = &mut sys.cpu.regs[reg::RAX];
    *a = *a & !0xFFFF | u64::from(u16::from_le_bytes(v));
}

/// AL with `by` added or subtracted; sets the flags by it, but CF and AF as given.
fn adjust<const SUB: bool>(sys: &mut System, al: u8, by: u8, cf: bool, af: bool) -> u8 {
    let (a, b) = (u64::from(al), u64::from(by));
    let flags = &mut sys.cpu.flags;
    let r = if SUB { al.wrapping_sub(by) } else { al.wrapping_add(by) };
    if SUB {
        flags.set_sub(a, b, r.into(), 8);
    } else {
        flags.set_add(a, b, r.into(), 8);
    }
    flags.replace(CF | AF, u32::from(cf) * CF | u32::from(af) * AF);
    r
}

fn decimal_adjust<const SUB: bool>(sys: &mut System, _: &Instruction) -> Outcome {
    let [al, ah] = ax(sys);
    let (old_cf, old_af) = (sys.cpu.flags.cf(), sys.cpu.flags.af());
    let i8086 = sys.cpu.model.kind == Kind::I8086;
    // The 8086 looks at the high digit as if the low one's carry were in it.
    let highest = if i8086 && old_af { 0x9F } else { 0x99 };
    let low = al & 15 > 9 || old_af;
    let high = al > highest || old_cf;
    let by = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    let carry = high || (SUB && low && al < 6 && !i8086);
    let r = adjust::<SUB>(sys, al, by, carry, low);
    set_ax(sys, [r, ah]);
    Ok(())
}

/// The 8086 changes AH by itself; the 80286 carries into it from AL.
fn ascii_adjust<const SUB: bool>(sys: &mut System, _: &Instruction) -> Outcome {
    let [al, ah] = ax(sys);
    let needed = al & 15 > 9 || sys.cpu.flags.af();
    let r = adjust::<SUB>(sys, al, if needed { 6 } else { 0 }, needed, needed);
    let carries = needed && sys.cpu.model.kind > Kind::I8086 && (r < al) != SUB && r != al;
    let step = u8::from(needed) + u8::from(carries);
    let ah = if SUB { ah.wrapping_sub(step) } else { ah.wrapping_add(step) };
    set_ax(sys, [r & 15, ah]);
    Ok(())
}

fn aam(sys: &mut System, insn: &Instruction) -> Outcome {
    let [al, _] = ax(sys);
    let divided = long_division(0, al.into(), insn.immediate8().into(), 8);
    let Some((quotient, remainder)) = divided.result else { return divide_error(sys, divided.flags) };
    set_ax(sys, [remainder as u8, quotient as u8]);
    sys.cpu.flags.set_result(remainder, 8, false, false, false);
    Ok(())
}

fn aad(sys: &mut System, insn: &Instruction) -> Outcome {
    let [al, ah] = ax(sys);
    let tens = ah.wrapping_mul(insn.immediate8());
    let r = al.wrapping_add(tens);
    set_ax(sys, [r, 0]);
    sys.cpu.flags.set_add(al.into(), tens.into(), r.into(), 8);
    if sys.cpu.model.kind > Kind::I8086 {
        let cf = sys.cpu.flags.cf();
        sys.cpu.flags.set_cf_of(cf, cf);
    }
    Ok(())
}
