//! Addition, subtraction, comparison and logic.

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::Outcome;
use crate::mem::Scalar;

// The operations, by the number that their opcodes carry.
const ADD: u8 = 0;
const OR: u8 = 1;
const ADC: u8 = 2;
const SBB: u8 = 3;
const AND: u8 = 4;
const SUB: u8 = 5;
const XOR: u8 = 6;
const CMP: u8 = 7;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Add_rm8_r8 | Add_r8_rm8 | Add_AL_imm8 | Add_rm8_imm8 | Add_rm8_imm8_82 => binary::<ADD, u8>,
        Add_rm16_r16 | Add_r16_rm16 | Add_AX_imm16 | Add_rm16_imm16 | Add_rm16_imm8 => binary::<ADD, u16>,
        Add_rm32_r32 | Add_r32_rm32 | Add_EAX_imm32 | Add_rm32_imm32 | Add_rm32_imm8 => binary::<ADD, u32>,
        Add_rm64_r64 | Add_r64_rm64 | Add_RAX_imm32 | Add_rm64_imm32 | Add_rm64_imm8 => binary::<ADD, u64>,
        Or_rm8_r8 | Or_r8_rm8 | Or_AL_imm8 | Or_rm8_imm8 | Or_rm8_imm8_82 => binary::<OR, u8>,
        Or_rm16_r16 | Or_r16_rm16 | Or_AX_imm16 | Or_rm16_imm16 | Or_rm16_imm8 => binary::<OR, u16>,
        Or_rm32_r32 | Or_r32_rm32 | Or_EAX_imm32 | Or_rm32_imm32 | Or_rm32_imm8 => binary::<OR, u32>,
        Or_rm64_r64 | Or_r64_rm64 | Or_RAX_imm32 | Or_rm64_imm32 | Or_rm64_imm8 => binary::<OR, u64>,
        Adc_rm8_r8 | Adc_r8_rm8 | Adc_AL_imm8 | Adc_rm8_imm8 | Adc_rm8_imm8_82 => binary::<ADC, u8>,
        Adc_rm16_r16 | Adc_r16_rm16 | Adc_AX_imm16 | Adc_rm16_imm16 | Adc_rm16_imm8 => binary::<ADC, u16>,
        Adc_rm32_r32 | Adc_r32_rm32 | Adc_EAX_imm32 | Adc_rm32_imm32 | Adc_rm32_imm8 => binary::<ADC, u32>,
        Adc_rm64_r64 | Adc_r64_rm64 | Adc_RAX_imm32 | Adc_rm64_imm32 | Adc_rm64_imm8 => binary::<ADC, u64>,
        Sbb_rm8_r8 | Sbb_r8_rm8 | Sbb_AL_imm8 | Sbb_rm8_imm8 | Sbb_rm8_imm8_82 => binary::<SBB, u8>,
        Sbb_rm16_r16 | Sbb_r16_rm16 | Sbb_AX_imm16 | Sbb_rm16_imm16 | Sbb_rm16_imm8 => binary::<SBB, u16>,
        Sbb_rm32_r32 | Sbb_r32_rm32 | Sbb_EAX_imm32 | Sbb_rm32_imm32 | Sbb_rm32_imm8 => binary::<SBB, u32>,
        Sbb_rm64_r64 | Sbb_r64_rm64 | Sbb_RAX_imm32 | Sbb_rm64_imm32 | Sbb_rm64_imm8 => binary::<SBB, u64>,
        And_rm8_r8 | And_r8_rm8 | And_AL_imm8 | And_rm8_imm8 | And_rm8_imm8_82 => binary::<AND, u8>,
        And_rm16_r16 | And_r16_rm16 | And_AX_imm16 | And_rm16_imm16 | And_rm16_imm8 => binary::<AND, u16>,
        And_rm32_r32 | And_r32_rm32 | And_EAX_imm32 | And_rm32_imm32 | And_rm32_imm8 => binary::<AND, u32>,
        And_rm64_r64 | And_r64_rm64 | And_RAX_imm32 | And_rm64_imm32 | And_rm64_imm8 => binary::<AND, u64>,
        Sub_rm8_r8 | Sub_r8_rm8 | Sub_AL_imm8 | Sub_rm8_imm8 | Sub_rm8_imm8_82 => binary::<SUB, u8>,
        Sub_rm16_r16 | Sub_r16_rm16 | Sub_AX_imm16 | Sub_rm16_imm16 | Sub_rm16_imm8 => binary::<SUB, u16>,
        Sub_rm32_r32 | Sub_r32_rm32 | Sub_EAX_imm32 | Sub_rm32_imm32 | Sub_rm32_imm8 => binary::<SUB, u32>,
        Sub_rm64_r64 | Sub_r64_rm64 | Sub_RAX_imm32 | Sub_rm64_imm32 | Sub_rm64_imm8 => binary::<SUB, u64>,
        Xor_rm8_r8 | Xor_r8_rm8 | Xor_AL_imm8 | Xor_rm8_imm8 | Xor_rm8_imm8_82 => binary::<XOR, u8>,
        Xor_rm16_r16 | Xor_r16_rm16 | Xor_AX_imm16 | Xor_rm16_imm16 | Xor_rm16_imm8 => binary::<XOR, u16>,
        Xor_rm32_r32 | Xor_r32_rm32 | Xor_EAX_imm32 | Xor_rm32_imm32 | Xor_rm32_imm8 => binary::<XOR, u32>,
        Xor_rm64_r64 | Xor_r64_rm64 | Xor_RAX_imm32 | Xor_rm64_imm32 | Xor_rm64_imm8 => binary::<XOR, u64>,
        Cmp_rm8_r8 | Cmp_r8_rm8 | Cmp_AL_imm8 | Cmp_rm8_imm8 | Cmp_rm8_imm8_82 => binary::<CMP, u8>,
        Cmp_rm16_r16 | Cmp_r16_rm16 | Cmp_AX_imm16 | Cmp_rm16_imm16 | Cmp_rm16_imm8 => binary::<CMP, u16>,
        Cmp_rm32_r32 | Cmp_r32_rm32 | Cmp_EAX_imm32 | Cmp_rm32_imm32 | Cmp_rm32_imm8 => binary::<CMP, u32>,
        Cmp_rm64_r64 | Cmp_r64_rm64 | Cmp_RAX_imm32 | Cmp_rm64_imm32 | Cmp_rm64_imm8 => binary::<CMP, u64>,
        Test_rm8_r8 | Test_AL_imm8 | Test_rm8_imm8 | Test_rm8_imm8_F6r1 => test::<u8>,
        Test_rm16_r16 | Test_AX_imm16 | Test_rm16_imm16 | Test_rm16_imm16_F7r1 => test::<u16>,
        Test_rm32_r32 | Test_EAX_imm32 | Test_rm32_imm32 | Test_rm32_imm32_F7r1 => test::<u32>,
        Test_rm64_r64 | Test_RAX_imm32 | Test_rm64_imm32 | Test_rm64_imm32_F7r1 => test::<u64>,
        Inc_rm8 => inc_dec::<false, u8>,
        Inc_r16 | Inc_rm16 => inc_dec::<false, u16>,
        Inc_r32 | Inc_rm32 => inc_dec::<false, u32>,
        Inc_rm64 => inc_dec::<false, u64>,
        Dec_rm8 => inc_dec::<true, u8>,
        Dec_r16 | Dec_rm16 => inc_dec::<true, u16>,
        Dec_r32 | Dec_rm32 => inc_dec::<true, u32>,
        Dec_rm64 => inc_dec::<true, u64>,
        Neg_rm8 => neg::<u8>,
        Neg_rm16 => neg::<u16>,
        Neg_rm32 => neg::<u32>,
        Neg_rm64 => neg::<u64>,
        Not_rm8 => not::<u8>,
        Not_rm16 => not::<u16>,
        Not_rm32 => not::<u32>,
        Not_rm64 => not::<u64>,
        _ => return None,
    })
}

/// Bits in an operand of type `T`.
pub(super) const fn bits<T: Scalar>() -> u32 {
    T::SIZE as u32 * 8
}

fn binary<const OP: u8, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let a = if OP == CMP { sys.operand::<T>(insn, 0)? } else { sys.operand_for_write::<T>(insn, 0)? }.to_u64();
    let b = sys.operand::<T>(insn, 1)?.to_u64();
    let carry = u64::from((OP == ADC || OP == SBB) && sys.cpu.flags.cf());
    let r = match OP {
        ADD | ADC => a.wrapping_add(b).wrapping_add(carry),
        SUB | SBB | CMP => a.wrapping_sub(b).wrapping_sub(carry),
        OR => a | b,
        AND => a & b,
        _ => a ^ b,
    };
    if OP != CMP {
        sys.set_operand(insn, 0, T::from_u64(r))?;
    }
    match OP {
        ADD | ADC => sys.cpu.flags.set_add(a, b, r, bits::<T>()),
        SUB | SBB | CMP => sys.cpu.flags.set_sub(a, b, r, bits::<T>()),
        _ => sys.cpu.flags.set_logic(r, bits::<T>()),
    }
    Ok(())
}

fn test<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let a = sys.operand::<T>(insn, 0)?.to_u64();
    let b = sys.operand::<T>(insn, 1)?.to_u64();
    sys.cpu.flags.set_logic(a & b, bits::<T>());
    Ok(())
}

fn inc_dec<const DEC: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let a = sys.operand_for_write::<T>(insn, 0)?.to_u64();
    let r = if DEC { a.wrapping_sub(1) } else { a.wrapping_add(1) };
    sys.set_operand(insn, 0, T::from_u64(r))?;
    sys.cpu.flags.set_inc_dec(a, r, bits::<T>(), DEC);
    Ok(())
}

fn neg<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let a = sys.operand_for_write::<T>(insn, 0)?.to_u64();
    let r = a.wrapping_neg();
    sys.set_operand(insn, 0, T::from_u64(r))?;
    sys.cpu.flags.set_sub(0, a, r, bits::<T>());
    Ok(())
}

fn not<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let a = sys.operand_for_write::<T>(insn, 0)?.to_u64();
    sys.set_operand(insn, 0, T::from_u64(!a))
}
