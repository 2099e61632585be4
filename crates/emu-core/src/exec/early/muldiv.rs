//! Multiplication and division, with the flags that the microcode's last steps leave.

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::super::alu::bits;
use super::super::muldiv::{set_accumulator, signed, wide_accumulator};
use crate::System;
use crate::cpu::flags::LazyFlags;
use crate::cpu::{Fault, Outcome, reg};
use crate::mem::Scalar;
use crate::system::Interrupt;

pub(super) fn lookup_i8086(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Mul_rm8 => mul_i8086::<false, u8>,
        Code::Mul_rm16 => mul_i8086::<false, u16>,
        Code::Imul_rm8 => mul_i8086::<true, u8>,
        Code::Imul_rm16 => mul_i8086::<true, u16>,
        Code::Div_rm8 => div_i8086::<u8>,
        Code::Div_rm16 => div_i8086::<u16>,
        Code::Idiv_rm8 => idiv_i8086::<u8>,
        Code::Idiv_rm16 => idiv_i8086::<u16>,
        _ => return None,
    })
}

pub(super) fn lookup_i80286(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Mul_rm8 => mul_i80286::<false, u8>,
        Code::Mul_rm16 => mul_i80286::<false, u16>,
        Code::Imul_rm8 => mul_i80286::<true, u8>,
        Code::Imul_rm16 => mul_i80286::<true, u16>,
        Code::Imul_r16_rm16_imm16 | Code::Imul_r16_rm16_imm8 => imul_three_i80286,
        Code::Div_rm8 => div_i80286::<u8>,
        Code::Div_rm16 => div_i80286::<u16>,
        Code::Idiv_rm8 => idiv_i80286::<u8>,
        Code::Idiv_rm16 => idiv_i80286::<u16>,
        _ => return None,
    })
}

/// A REP prefix before IMUL or IDIV of the 8086 negates the result: the flag that remembers the prefix is the one that
/// remembers a sign.
fn negates(insn: &Instruction) -> bool {
    insn.has_rep_prefix() || insn.has_repne_prefix()
}

/// The product's two halves, with `T`'s bits each.
fn product<T: Scalar>(sys: &System, b: T, is_signed: bool) -> u64 {
    let a = T::from_u64(sys.cpu.regs[reg::RAX]).to_u64();
    let b = b.to_u64();
    if is_signed { (signed::<T>(a) * signed::<T>(b)) as u64 } else { a * b }
}

/// MUL tests the high half; IMUL adds the low half's sign to it, and tests that.
fn mul_i8086<const SIGNED: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let b = sys.operand::<T>(insn, 0)?;
    let plain = product(sys, b, SIGNED);
    let p = if SIGNED && negates(insn) { plain.wrapping_neg() } else { plain };
    let (w, mask) = (bits::<T>(), u64::MAX >> (64 - bits::<T>()));
    let (high, low) = (p >> w & mask, p & mask);
    set_accumulator::<T>(sys, high, low);
    let flags = &mut sys.cpu.flags;
    if SIGNED {
        let r = high.wrapping_add(low >> (w - 1));
        flags.set_add(high, 0, r, w);
        let over = r & mask != 0;
        flags.set_cf_of(over, over);
    } else {
        flags.set_result(high, w, high != 0, high != 0, false);
    }
    Ok(())
}

/// SF, ZF and PF are those of the high half, and AF is set.
fn set_product_flags_i80286<T: Scalar>(sys: &mut System, p: u64, over: bool) {
    let w = bits::<T>();
    sys.cpu.flags.set_result(p >> w, w, over, over, true);
}

fn mul_i80286<const SIGNED: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let b = sys.operand::<T>(insn, 0)?;
    let p = product(sys, b, SIGNED);
    let high = p >> bits::<T>();
    set_accumulator::<T>(sys, high, p);
    let over = if SIGNED { signed::<T>(p) as u64 != p } else { high != 0 };
    set_product_flags_i80286::<T>(sys, p, over);
    Ok(())
}

fn imul_three_i80286(sys: &mut System, insn: &Instruction) -> Outcome {
    let (a, b) = (sys.operand::<u16>(insn, 1)?, sys.operand::<u16>(insn, 2)?);
    let p = (signed::<u16>(a.into()) * signed::<u16>(b.into())) as u64;
    sys.set_operand(insn, 0, p as u16)?;
    set_product_flags_i80286::<u16>(sys, p, signed::<u16>(p) as u64 != p);
    Ok(())
}

/// What the 8086's division loop leaves.
pub(super) struct Divided {
    /// Quotient and remainder; `None` if the quotient does not fit.
    pub(super) result: Option<(u64, u64)>,
    /// The flags of its last comparison, with CF as the last rotation leaves it.
    pub(super) flags: LazyFlags,
}

/// The 8086's division: `w` steps of a comparison and a rotation, on the halves of the dividend. A step whose rotation
/// carries out subtracts without comparing, and so leaves the flags alone.
pub(super) fn long_division(high: u64, low: u64, divisor: u64, w: u32) -> Divided {
    let mask = u64::MAX >> (64 - w);
    let mut flags = LazyFlags::default();
    flags.set_sub(high, divisor, high.wrapping_sub(divisor), w);
    if !flags.cf() {
        return Divided { result: None, flags };
    }
    let (mut rest, mut low, mut quotient) = (high, low, 0);
    for _ in 0..w {
        let wide = rest << 1 | low >> (w - 1);
        low = low << 1 & mask;
        rest = wide & mask;
        let mut fits = wide > mask;
        if !fits {
            flags.set_sub(rest, divisor, rest.wrapping_sub(divisor), w);
            fits = !flags.cf();
        }
        if fits {
            rest = rest.wrapping_sub(divisor) & mask;
        }
        quotient = quotient << 1 | u64::from(fits);
    }
    let of = flags.of();
    flags.set_cf_of(quotient >> (w - 1) == 0, of);
    Divided { result: Some((quotient, rest)), flags }
}

/// A divide error with the flags of the division. Up to the 80186 it is an interrupt behind the instruction; from the 80286
/// on, a fault at it.
pub(super) fn divide_error(sys: &mut System, flags: LazyFlags) -> Outcome {
    sys.cpu.flags = flags;
    if sys.cpu.model.kind.wraps() { sys.interrupt(Interrupt::exception(Fault::DE)) } else { Err(Fault::DE) }
}

/// The accumulator's halves.
fn halves<T: Scalar>(sys: &System) -> (u64, u64) {
    let a = wide_accumulator::<T>(sys) as u64;
    (a >> bits::<T>(), T::from_u64(a).to_u64())
}

fn div_i8086<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let divisor = sys.operand::<T>(insn, 0)?.to_u64();
    let (high, low) = halves::<T>(sys);
    let divided = long_division(high, low, divisor, bits::<T>());
    let Some((quotient, remainder)) = divided.result else { return divide_error(sys, divided.flags) };
    set_accumulator::<T>(sys, remainder, quotient);
    sys.cpu.flags = divided.flags;
    Ok(())
}

/// A dividend and a divisor made positive.
struct Magnitudes {
    high: u64,
    low: u64,
    divisor: u64,
    /// The dividend was negative, and the remainder will be.
    negative: bool,
    /// The quotient is negative.
    differ: bool,
}

fn magnitudes<T: Scalar>(sys: &System, divisor: T) -> Magnitudes {
    let (w, mask) = (bits::<T>(), u64::MAX >> (64 - bits::<T>()));
    let all = wide_accumulator::<T>(sys) as u64;
    let negative = all >> (2 * w - 1) & 1 != 0;
    let all = if negative { all.wrapping_neg() } else { all };
    let b = signed::<T>(divisor.to_u64());
    Magnitudes {
        high: all >> w & mask,
        low: all & mask,
        divisor: b.unsigned_abs() as u64,
        negative,
        differ: negative != (b < 0),
    }
}

fn with_sign(v: u64, negative: bool) -> u64 {
    if negative { v.wrapping_neg() } else { v }
}

/// -128 and -32768 don't fit: the test comes before the sign.
fn idiv_i8086<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let divisor = sys.operand::<T>(insn, 0)?;
    let m = magnitudes(sys, divisor);
    let divided = long_division(m.high, m.low, m.divisor, bits::<T>());
    let fits = |q: u64| q >> (bits::<T>() - 1) == 0;
    let Some((quotient, remainder)) = divided.result.filter(|r| fits(r.0)) else {
        let mut flags = divided.flags;
        let of = flags.of();
        flags.set_cf_of(false, of);
        return divide_error(sys, flags);
    };
    set_accumulator::<T>(sys, with_sign(remainder, m.negative), with_sign(quotient, m.differ != negates(insn)));
    sys.cpu.flags = divided.flags;
    sys.cpu.flags.set_cf_of(false, false);
    Ok(())
}

/// One step of the 80286's division on the rest `high` of the dividend: what is compared with the divisor, its flags, and
/// whether the rotation carried out.
fn step_i80286(high: u64, next_bit: u64, divisor: u64, w: u32) -> (u64, LazyFlags, bool) {
    let wide = high << 1 | next_bit;
    let rest = wide & (u64::MAX >> (64 - w));
    let mut flags = LazyFlags::default();
    flags.set_sub(rest, divisor, rest.wrapping_sub(divisor), w);
    (rest, flags, wide >> w != 0)
}

/// The flags of a DIV whose quotient does not fit: it subtracts once and divides on, up to the last step but one.
fn overflow_flags_i80286(high: u64, low: u64, divisor: u64, w: u32) -> LazyFlags {
    let mask = u64::MAX >> (64 - w);
    let mut rest = high.wrapping_sub(divisor) & mask;
    let mut flags = LazyFlags::default();
    for bit in (1..w).rev() {
        let (x, compared, carried) = step_i80286(rest, low >> bit & 1, divisor, w);
        rest = if carried || !compared.cf() { x.wrapping_sub(divisor) & mask } else { x };
        flags = compared;
    }
    flags
}

/// SF, ZF and PF of the remainder, AF set; CF and OF tell of the last step's borrow.
fn div_i80286<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let divisor = sys.operand::<T>(insn, 0)?.to_u64();
    let (high, low) = halves::<T>(sys);
    if high >= divisor {
        return divide_error(sys, overflow_flags_i80286(high, low, divisor, bits::<T>()));
    }
    let dividend = high << bits::<T>() | low;
    let (quotient, remainder) = (dividend / divisor, dividend % divisor);
    // What the last step subtracted from, without the bit that the rotation carried out.
    let last = T::from_u64(remainder + (quotient & 1) * divisor).to_u64();
    set_accumulator::<T>(sys, remainder, quotient);
    let borrow = last < divisor;
    sys.cpu.flags.set_result(remainder, bits::<T>(), borrow, borrow, true);
    Ok(())
}

/// What is left of the dividend when IDIV's steps are done: a remainder, unless the quotient does not fit. They lose what a
/// rotation carries out.
fn rest_i80286(m: &Magnitudes, w: u32) -> u64 {
    let mut rest = m.high;
    for bit in (0..w).rev() {
        let (x, compared, _) = step_i80286(rest, m.low >> bit & 1, m.divisor, w);
        rest = if compared.cf() { x } else { x.wrapping_sub(m.divisor) };
    }
    rest
}

/// As DIV, but that CF and OF tell whether the rest is below a positive divisor, or not below a negative one.
fn idiv_i80286<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let divisor = sys.operand::<T>(insn, 0)?;
    let m = magnitudes(sys, divisor);
    let w = bits::<T>();
    let rest = rest_i80286(&m, w);
    // A rest that is the divisor itself (of a dividend that is its multiple by 2^w) counts as none.
    let exact = rest == m.divisor;
    let over = !exact && (rest < m.divisor) != (signed::<T>(divisor.to_u64()) < 0);
    let remainder = if exact { 0 } else { with_sign(rest, m.negative) };
    let mut flags = LazyFlags::default();
    flags.set_result(remainder, w, over, over, true);
    // Where the high half is below the divisor, the rest is the remainder.
    let quotient = if m.high < m.divisor { Some(((m.high << w | m.low) - rest) / m.divisor) } else { None };
    let fits = |q: &u64| q >> (w - 1) == 0 || (m.differ && *q == 1 << (w - 1));
    let Some(quotient) = quotient.filter(fits) else { return divide_error(sys, flags) };
    set_accumulator::<T>(sys, remainder, with_sign(quotient, m.differ));
    sys.cpu.flags = flags;
    Ok(())
}
