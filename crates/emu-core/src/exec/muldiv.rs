//! Multiplication and division.

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::Outcome;
use crate::mem::Scalar;

use super::alu::bits;
use crate::cpu::bits::ZF;
use crate::cpu::flags::sign_extend;
use crate::cpu::{Fault, reg};

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Mul_rm8 => mul::<false, u8>,
        Mul_rm16 => mul::<false, u16>,
        Mul_rm32 => mul::<false, u32>,
        Mul_rm64 => mul::<false, u64>,
        Imul_rm8 => mul::<true, u8>,
        Imul_rm16 => mul::<true, u16>,
        Imul_rm32 => mul::<true, u32>,
        Imul_rm64 => mul::<true, u64>,
        Imul_r16_rm16 => imul_two::<u16>,
        Imul_r32_rm32 => imul_two::<u32>,
        Imul_r64_rm64 => imul_two::<u64>,
        Imul_r16_rm16_imm16 | Imul_r16_rm16_imm8 => imul_three::<u16>,
        Imul_r32_rm32_imm32 | Imul_r32_rm32_imm8 => imul_three::<u32>,
        Imul_r64_rm64_imm32 | Imul_r64_rm64_imm8 => imul_three::<u64>,
        Div_rm8 => div::<u8>,
        Div_rm16 => div::<u16>,
        Div_rm32 => div::<u32>,
        Div_rm64 => div::<u64>,
        Idiv_rm8 => idiv::<u8>,
        Idiv_rm16 => idiv::<u16>,
        Idiv_rm32 => idiv::<u32>,
        Idiv_rm64 => idiv::<u64>,
        _ => return None,
    })
}

/// The double-width accumulator: AX, DX:AX, EDX:EAX or RDX:RAX.
pub(super) fn wide_accumulator<T: Scalar>(sys: &System) -> u128 {
    let (a, d) = (sys.cpu.regs[reg::RAX], sys.cpu.regs[reg::RDX]);
    if T::SIZE == 1 {
        return u128::from(a & 0xFFFF);
    }
    u128::from(T::from_u64(d).to_u64()) << bits::<T>() | u128::from(T::from_u64(a).to_u64())
}

/// Writes the accumulator's halves.
pub(super) fn set_accumulator<T: Scalar>(sys: &mut System, high: u64, low: u64) {
    let keep = |old: u64, v: u64| match T::SIZE {
        2 => old & !0xFFFF | v & 0xFFFF,
        4 => v & 0xFFFF_FFFF,
        _ => v,
    };
    let old = sys.cpu.regs[reg::RAX];
    if T::SIZE == 1 {
        sys.cpu.regs[reg::RAX] = old & !0xFFFF | (high & 0xFF) << 8 | low & 0xFF;
        return;
    }
    sys.cpu.regs[reg::RAX] = keep(old, low);
    sys.cpu.regs[reg::RDX] = keep(sys.cpu.regs[reg::RDX], high);
}

pub(super) fn signed<T: Scalar>(v: u64) -> i128 {
    i128::from(sign_extend(v, bits::<T>()) as i64)
}

/// CF and OF tell whether the product needs more than the low half. The rest is undefined; recent CPUs give SF and PF of
/// the low half, and clear ZF and AF.
fn set_product_flags<T: Scalar>(sys: &mut System, low: u64, over: bool) {
    sys.cpu.flags.set_result(low, bits::<T>(), over, over, false);
    sys.cpu.flags.replace(ZF, 0);
}

fn mul<const SIGNED: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let b = sys.operand::<T>(insn, 0)?.to_u64();
    let a = T::from_u64(sys.cpu.regs[reg::RAX]).to_u64();
    let product = if SIGNED { (signed::<T>(a) * signed::<T>(b)) as u128 } else { u128::from(a) * u128::from(b) };
    let (high, low) = ((product >> bits::<T>()) as u64, product as u64);
    let over = if SIGNED { signed::<T>(low) as u128 != product } else { T::from_u64(high) != T::default() };
    set_accumulator::<T>(sys, high, low);
    set_product_flags::<T>(sys, low, over);
    Ok(())
}

fn store_product<T: Scalar>(sys: &mut System, insn: &Instruction, a: u64, b: u64) -> Outcome {
    let product = signed::<T>(a) * signed::<T>(b);
    let low = product as u64;
    sys.set_operand(insn, 0, T::from_u64(low))?;
    set_product_flags::<T>(sys, low, signed::<T>(low) != product);
    Ok(())
}

fn imul_two<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (a, b) = (sys.operand::<T>(insn, 0)?.to_u64(), sys.operand::<T>(insn, 1)?.to_u64());
    store_product::<T>(sys, insn, a, b)
}

fn imul_three<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (a, b) = (sys.operand::<T>(insn, 1)?.to_u64(), sys.operand::<T>(insn, 2)?.to_u64());
    store_product::<T>(sys, insn, a, b)
}

fn div<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let divisor = u128::from(sys.operand::<T>(insn, 0)?.to_u64());
    let dividend = wide_accumulator::<T>(sys);
    // A quotient that fits needs a high half below the divisor; that also excludes 0.
    if dividend >> bits::<T>() >= divisor {
        return Err(Fault::DE);
    }
    let (quotient, remainder) = match (u64::try_from(dividend), u64::try_from(divisor)) {
        (Ok(n), Ok(d)) => (n / d, n % d),
        _ => ((dividend / divisor) as u64, (dividend % divisor) as u64),
    };
    set_accumulator::<T>(sys, remainder, quotient);
    Ok(())
}

fn idiv<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let divisor = signed::<T>(sys.operand::<T>(insn, 0)?.to_u64());
    if divisor == 0 {
        return Err(Fault::DE);
    }
    let unused = 128 - 2 * bits::<T>();
    let dividend = (wide_accumulator::<T>(sys) << unused) as i128 >> unused;
    let (quotient, remainder) = match (i64::try_from(dividend), i64::try_from(divisor)) {
        (Ok(n), Ok(d)) => match (n.checked_div(d), n.checked_rem(d)) {
            (Some(q), Some(r)) => (i128::from(q), i128::from(r)),
            _ => return Err(Fault::DE),
        },
        // Only the least dividend by -1 wraps, and that does not fit either.
        _ => (dividend.wrapping_div(divisor), dividend.wrapping_rem(divisor)),
    };
    if signed::<T>(quotient as u64) != quotient {
        return Err(Fault::DE);
    }
    set_accumulator::<T>(sys, remainder as u64, quotient as u64);
    Ok(())
}
