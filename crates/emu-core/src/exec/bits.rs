//! Bit tests and bit scans.

use iced_x86::{Code, Instruction, OpKind};

use super::Exec;
use crate::System;
use crate::cpu::Outcome;
use crate::mem::Scalar;

use super::alu::bits;
use super::operands::address_size;
use crate::cpu::bits::{CF, PF, ZF};
use crate::cpu::flags::{STATUS, sign_extend};

// What is done to the bit.
const TEST: u8 = 0;
const SET: u8 = 1;
const RESET: u8 = 2;
const FLIP: u8 = 3;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Bt_rm16_r16 | Bt_rm16_imm8 => bit_test::<TEST, u16>,
        Bt_rm32_r32 | Bt_rm32_imm8 => bit_test::<TEST, u32>,
        Bt_rm64_r64 | Bt_rm64_imm8 => bit_test::<TEST, u64>,
        Bts_rm16_r16 | Bts_rm16_imm8 => bit_test::<SET, u16>,
        Bts_rm32_r32 | Bts_rm32_imm8 => bit_test::<SET, u32>,
        Bts_rm64_r64 | Bts_rm64_imm8 => bit_test::<SET, u64>,
        Btr_rm16_r16 | Btr_rm16_imm8 => bit_test::<RESET, u16>,
        Btr_rm32_r32 | Btr_rm32_imm8 => bit_test::<RESET, u32>,
        Btr_rm64_r64 | Btr_rm64_imm8 => bit_test::<RESET, u64>,
        Btc_rm16_imm8 | Btc_rm16_r16 => bit_test::<FLIP, u16>,
        Btc_rm32_imm8 | Btc_rm32_r32 => bit_test::<FLIP, u32>,
        Btc_rm64_imm8 | Btc_rm64_r64 => bit_test::<FLIP, u64>,
        Bsf_r16_rm16 => scan::<false, u16>,
        Bsf_r32_rm32 => scan::<false, u32>,
        Bsf_r64_rm64 => scan::<false, u64>,
        Bsr_r16_rm16 => scan::<true, u16>,
        Bsr_r32_rm32 => scan::<true, u32>,
        Bsr_r64_rm64 => scan::<true, u64>,
        Popcnt_r16_rm16 => popcnt::<u16>,
        Popcnt_r32_rm32 => popcnt::<u32>,
        Popcnt_r64_rm64 => popcnt::<u64>,
        Lzcnt_r16_rm16 => count_zeros::<true, u16>,
        Lzcnt_r32_rm32 => count_zeros::<true, u32>,
        Lzcnt_r64_rm64 => count_zeros::<true, u64>,
        Tzcnt_r16_rm16 => count_zeros::<false, u16>,
        Tzcnt_r32_rm32 => count_zeros::<false, u32>,
        Tzcnt_r64_rm64 => count_zeros::<false, u64>,
        _ => return None,
    })
}

fn changed<const OP: u8>(v: u64, mask: u64) -> u64 {
    match OP {
        SET => v | mask,
        RESET => v & !mask,
        _ => v ^ mask,
    }
}

fn bit_test<const OP: u8, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let w = bits::<T>();
    let index = sys.operand::<T>(insn, 1)?.to_u64();
    let mask = 1u64 << (index & u64::from(w - 1));
    let in_string = insn.op0_kind() == OpKind::Memory && insn.op1_kind() == OpKind::Register;
    let v = if in_string {
        // A register's offset is signed and reaches beyond the operand [SDM-2 BT].
        let elements = (sign_extend(index, w) as i64) >> w.trailing_zeros();
        let off = sys.operand_offset(insn).wrapping_add((elements as u64).wrapping_mul(T::SIZE));
        let off = off & (u64::MAX >> (64 - 8 * address_size(insn)));
        let s = sys.operand_segment(insn);
        if OP == TEST {
            sys.read::<T>(s, off)?.to_u64()
        } else {
            let v = sys.read_for_write::<T>(s, off)?.to_u64();
            sys.write(s, off, T::from_u64(changed::<OP>(v, mask)))?;
            v
        }
    } else if OP == TEST {
        sys.operand::<T>(insn, 0)?.to_u64()
    } else {
        let v = sys.operand_for_write::<T>(insn, 0)?.to_u64();
        sys.set_operand(insn, 0, T::from_u64(changed::<OP>(v, mask)))?;
        v
    };
    sys.cpu.flags.replace(CF, if v & mask != 0 { CF } else { 0 });
    Ok(())
}

/// BSF and BSR. Of 0 they leave the destination as it is, as CPUs do and AMD documents. Of the other flags, all undefined,
/// recent CPUs clear all but PF.
fn scan<const REVERSE: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<T>(insn, 1)?.to_u64();
    if v == 0 {
        sys.cpu.flags.replace(STATUS, ZF | PF);
        return Ok(());
    }
    let r = if REVERSE { 63 - v.leading_zeros() } else { v.trailing_zeros() };
    sys.set_operand(insn, 0, T::from_u64(r.into()))?;
    sys.cpu.flags.replace(STATUS, if r.count_ones().is_multiple_of(2) { PF } else { 0 });
    Ok(())
}

fn popcnt<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<T>(insn, 1)?.to_u64();
    sys.set_operand(insn, 0, T::from_u64(v.count_ones().into()))?;
    sys.cpu.flags.replace(STATUS, if v == 0 { ZF } else { 0 });
    Ok(())
}

fn count_zeros<const LEADING: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<T>(insn, 1)?.to_u64();
    let w = bits::<T>();
    let n = if LEADING { v.leading_zeros() - (64 - w) } else { v.trailing_zeros().min(w) };
    sys.set_operand(insn, 0, T::from_u64(n.into()))?;
    let flags = if n == w { CF } else { 0 } | if n == 0 { ZF } else { 0 };
    sys.cpu.flags.replace(STATUS, flags);
    Ok(())
}
