//! Shifts and rotates.
//!
//! Flags that the architecture leaves undefined are as recent Intel CPUs leave them.

use iced_x86::{Code, Instruction, OpKind};

use super::Exec;
use crate::System;
use crate::cpu::Outcome;
use crate::mem::Scalar;

use super::alu::bits;
use crate::cpu::bits::{CF, OF};
use crate::cpu::model::Kind;

// The operations, by the number that their opcodes carry.
const ROL: u8 = 0;
const ROR: u8 = 1;
const RCL: u8 = 2;
const RCR: u8 = 3;
const SHL: u8 = 4;
const SHR: u8 = 5;
const SAR: u8 = 7;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Rol_rm8_imm8 | Rol_rm8_1 | Rol_rm8_CL => shift::<ROL, u8>,
        Rol_rm16_imm8 | Rol_rm16_1 | Rol_rm16_CL => shift::<ROL, u16>,
        Rol_rm32_imm8 | Rol_rm32_1 | Rol_rm32_CL => shift::<ROL, u32>,
        Rol_rm64_imm8 | Rol_rm64_1 | Rol_rm64_CL => shift::<ROL, u64>,
        Ror_rm8_imm8 | Ror_rm8_1 | Ror_rm8_CL => shift::<ROR, u8>,
        Ror_rm16_imm8 | Ror_rm16_1 | Ror_rm16_CL => shift::<ROR, u16>,
        Ror_rm32_imm8 | Ror_rm32_1 | Ror_rm32_CL => shift::<ROR, u32>,
        Ror_rm64_imm8 | Ror_rm64_1 | Ror_rm64_CL => shift::<ROR, u64>,
        Rcl_rm8_imm8 | Rcl_rm8_1 | Rcl_rm8_CL => shift::<RCL, u8>,
        Rcl_rm16_imm8 | Rcl_rm16_1 | Rcl_rm16_CL => shift::<RCL, u16>,
        Rcl_rm32_imm8 | Rcl_rm32_1 | Rcl_rm32_CL => shift::<RCL, u32>,
        Rcl_rm64_imm8 | Rcl_rm64_1 | Rcl_rm64_CL => shift::<RCL, u64>,
        Rcr_rm8_imm8 | Rcr_rm8_1 | Rcr_rm8_CL => shift::<RCR, u8>,
        Rcr_rm16_imm8 | Rcr_rm16_1 | Rcr_rm16_CL => shift::<RCR, u16>,
        Rcr_rm32_imm8 | Rcr_rm32_1 | Rcr_rm32_CL => shift::<RCR, u32>,
        Rcr_rm64_imm8 | Rcr_rm64_1 | Rcr_rm64_CL => shift::<RCR, u64>,
        Shl_rm8_imm8 | Sal_rm8_imm8 | Shl_rm8_1 | Sal_rm8_1 | Shl_rm8_CL | Sal_rm8_CL => shift::<SHL, u8>,
        Shl_rm16_imm8 | Sal_rm16_imm8 | Shl_rm16_1 | Sal_rm16_1 | Shl_rm16_CL | Sal_rm16_CL => shift::<SHL, u16>,
        Shl_rm32_imm8 | Sal_rm32_imm8 | Shl_rm32_1 | Sal_rm32_1 | Shl_rm32_CL | Sal_rm32_CL => shift::<SHL, u32>,
        Shl_rm64_imm8 | Sal_rm64_imm8 | Shl_rm64_1 | Sal_rm64_1 | Shl_rm64_CL | Sal_rm64_CL => shift::<SHL, u64>,
        Shr_rm8_imm8 | Shr_rm8_1 | Shr_rm8_CL => shift::<SHR, u8>,
        Shr_rm16_imm8 | Shr_rm16_1 | Shr_rm16_CL => shift::<SHR, u16>,
        Shr_rm32_imm8 | Shr_rm32_1 | Shr_rm32_CL => shift::<SHR, u32>,
        Shr_rm64_imm8 | Shr_rm64_1 | Shr_rm64_CL => shift::<SHR, u64>,
        Sar_rm8_imm8 | Sar_rm8_1 | Sar_rm8_CL => shift::<SAR, u8>,
        Sar_rm16_imm8 | Sar_rm16_1 | Sar_rm16_CL => shift::<SAR, u16>,
        Sar_rm32_imm8 | Sar_rm32_1 | Sar_rm32_CL => shift::<SAR, u32>,
        Sar_rm64_imm8 | Sar_rm64_1 | Sar_rm64_CL => shift::<SAR, u64>,
        Shld_rm16_r16_imm8 | Shld_rm16_r16_CL => double_shift::<false, u16>,
        Shld_rm32_r32_imm8 | Shld_rm32_r32_CL => double_shift::<false, u32>,
        Shld_rm64_r64_imm8 | Shld_rm64_r64_CL => double_shift::<false, u64>,
        Shrd_rm16_r16_imm8 | Shrd_rm16_r16_CL => double_shift::<true, u16>,
        Shrd_rm32_r32_imm8 | Shrd_rm32_r32_CL => double_shift::<true, u32>,
        Shrd_rm64_r64_imm8 | Shrd_rm64_r64_CL => double_shift::<true, u64>,
        _ => return None,
    })
}

/// Executes any shift or rotation.
pub(super) fn run(sys: &mut System, insn: &Instruction) -> Outcome {
    lookup(insn.code()).map_or(Ok(()), |exec| exec(sys, insn))
}

/// A result with CF.
type Shifted = (u64, bool);

fn bit(v: u128, n: u32) -> bool {
    v >> n & 1 != 0
}

/// ROL, ROR, RCL or RCR of the `w` bits of `a`. `n` is not 0.
fn rotate(op: u8, a: u64, n: u32, w: u32, cf: bool) -> Shifted {
    let through = op == RCL || op == RCR;
    let width = if through { w + 1 } else { w };
    let mask = (1u128 << width) - 1;
    let v = u128::from(a) | u128::from(through && cf) << w;
    let n = n % width;
    let left = if op == ROL || op == RCL { n } else { (width - n) % width };
    let r = (v << left | v >> (width - left)) & mask;
    let carry = match op {
        ROL => bit(r, 0),
        ROR => bit(r, w - 1),
        _ => bit(r, w),
    };
    (r as u64, carry)
}

/// SHL, SHR or SAR of the `w` bits of `a`. `n` is not 0.
fn plain_shift(op: u8, a: u64, n: u32, w: u32) -> Shifted {
    match op {
        SHL => {
            let r = if n <= 64 { u128::from(a) << n } else { 0 };
            (r as u64, bit(r, w))
        }
        SHR => {
            let r = u128::from(a) << 1 >> n.min(127);
            ((r >> 1) as u64, bit(r, 0))
        }
        _ => {
            let r = i128::from(crate::cpu::flags::sign_extend(a, w) as i64) << 1 >> n.min(127);
            ((r >> 1) as u64, r & 1 != 0)
        }
    }
}

/// OF: what a shift of `a` by 1 would set. For other counts it is undefined, and this is what recent CPUs give.
fn overflow(op: u8, a: u64, w: u32, cf: bool) -> bool {
    let a = u128::from(a);
    let top = bit(a, w - 1);
    match op {
        ROL | RCL | SHL => top != bit(a, w - 2),
        ROR => top != bit(a, 0),
        RCR => top != cf,
        SHR => top,
        _ => false,
    }
}

/// OF on old CPUs, which shift step by step: that of the last step.
fn overflow_by_steps(op: u8, r: u64, w: u32, cf: bool) -> bool {
    let (top, next) = (bit(r.into(), w - 1), bit(r.into(), w - 2));
    match op {
        ROL | RCL | SHL => top != cf,
        ROR | RCR => top != next,
        SHR => next,
        _ => false,
    }
}

fn shift<const OP: u8, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let count = u32::from(sys.operand::<u8>(insn, 1)?);
    // The 8086 counts all the way [SDM-2 SHL, "IA-32 Architecture Compatibility"].
    let n = if sys.cpu.model.kind == Kind::I8086 { count } else { count & if T::SIZE == 8 { 63 } else { 31 } };
    let a = sys.operand_for_write::<T>(insn, 0)?;
    if n == 0 {
        return write_same(sys, insn, a);
    }
    let (a, w, old_cf) = (a.to_u64(), bits::<T>(), sys.cpu.flags.cf());
    let rotates = matches!(OP, ROL | ROR | RCL | RCR);
    let (r, cf) = if rotates { rotate(OP, a, n, w, old_cf) } else { plain_shift(OP, a, n, w) };
    sys.set_operand(insn, 0, T::from_u64(r))?;
    let recent = sys.cpu.model.kind >= Kind::Pentium;
    let of = if recent { overflow(OP, a, w, old_cf) } else { overflow_by_steps(OP, r, w, cf) };
    if !rotates {
        sys.cpu.flags.set_result(r, w, cf, of, false);
        return Ok(());
    }
    // On recent CPUs rotates that come round keep OF with carry, and those by an immediate keep it unless that is 1.
    let keeps_of = recent
        && match OP {
            RCL | RCR => n.is_multiple_of(w + 1),
            _ => n != 1 && insn.op1_kind() == OpKind::Immediate8,
        };
    let mask = if keeps_of { CF } else { CF | OF };
    sys.cpu.flags.replace(mask, u32::from(cf) * CF | u32::from(of) * OF);
    Ok(())
}

/// A shift by 0 changes nothing, but that a 32-bit register is written and so loses its upper half.
fn write_same<T: Scalar>(sys: &mut System, insn: &Instruction, v: T) -> Outcome {
    if insn.op0_kind() == OpKind::Register { sys.set_operand(insn, 0, v) } else { Ok(()) }
}

fn double_shift<const RIGHT: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let n = u32::from(sys.operand::<u8>(insn, 2)?) & if T::SIZE == 8 { 63 } else { 31 };
    let a = sys.operand_for_write::<T>(insn, 0)?;
    let b = sys.operand::<T>(insn, 1)?.to_u64();
    if n == 0 {
        return write_same(sys, insn, a);
    }
    let a = a.to_u64();
    let w = bits::<T>();
    let (wide_a, wide_b) = (u128::from(a), u128::from(b));
    // A 16-bit shift by more than 16 goes on into the destination's own bits again.
    let again = if T::SIZE == 2 { wide_a } else { 0 };
    let (r, cf) = if RIGHT {
        let v = if T::SIZE == 2 { again << 32 | wide_b << 16 | wide_a } else { wide_b << w | wide_a };
        ((v >> n) as u64, bit(v, n - 1))
    } else if T::SIZE == 2 {
        let v = wide_a << 32 | wide_b << 16 | again;
        (((v << n) >> 32) as u64, bit(v << n, 48))
    } else {
        let v = wide_a << w | wide_b;
        (((v << n) >> w) as u64, bit(wide_a, w - n))
    };
    // As for the other shifts: what a shift by 1 would set.
    let of = bit(wide_a, w - 1) != if RIGHT { bit(wide_b, 0) } else { bit(wide_a, w - 2) };
    sys.set_operand(insn, 0, T::from_u64(r))?;
    sys.cpu.flags.set_result(r, w, cf, of, false);
    Ok(())
}
