//! Moves that convert, choose or reverse: MOVZX and its kin, CMOVcc, SETcc, BSWAP, MOVBE.

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::Outcome;
use crate::mem::Scalar;

use super::alu::bits;
use crate::cpu::flags::sign_extend;
use crate::cpu::reg;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Movzx_r16_rm8 | Movzx_r32_rm8 | Movzx_r64_rm8 => movzx::<u8>,
        Movzx_r16_rm16 | Movzx_r32_rm16 | Movzx_r64_rm16 => movzx::<u16>,
        Movsx_r16_rm8 | Movsx_r32_rm8 | Movsx_r64_rm8 => movsx::<u8>,
        Movsxd_r16_rm16 | Movsx_r16_rm16 | Movsx_r32_rm16 | Movsx_r64_rm16 => movsx::<u16>,
        Movsxd_r32_rm32 | Movsxd_r64_rm32 => movsx::<u32>,
        Cmovo_r16_rm16 | Cmovno_r16_rm16 | Cmovb_r16_rm16 | Cmovae_r16_rm16 | Cmove_r16_rm16 | Cmovne_r16_rm16
        | Cmovbe_r16_rm16 | Cmova_r16_rm16 | Cmovs_r16_rm16 | Cmovns_r16_rm16 | Cmovp_r16_rm16 | Cmovnp_r16_rm16
        | Cmovl_r16_rm16 | Cmovge_r16_rm16 | Cmovle_r16_rm16 | Cmovg_r16_rm16 => cmov::<u16>,
        Cmovo_r32_rm32 | Cmovno_r32_rm32 | Cmovb_r32_rm32 | Cmovae_r32_rm32 | Cmove_r32_rm32 | Cmovne_r32_rm32
        | Cmovbe_r32_rm32 | Cmova_r32_rm32 | Cmovs_r32_rm32 | Cmovns_r32_rm32 | Cmovp_r32_rm32 | Cmovnp_r32_rm32
        | Cmovl_r32_rm32 | Cmovge_r32_rm32 | Cmovle_r32_rm32 | Cmovg_r32_rm32 => cmov::<u32>,
        Cmovo_r64_rm64 | Cmovno_r64_rm64 | Cmovb_r64_rm64 | Cmovae_r64_rm64 | Cmove_r64_rm64 | Cmovne_r64_rm64
        | Cmovbe_r64_rm64 | Cmova_r64_rm64 | Cmovs_r64_rm64 | Cmovns_r64_rm64 | Cmovp_r64_rm64 | Cmovnp_r64_rm64
        | Cmovl_r64_rm64 | Cmovge_r64_rm64 | Cmovle_r64_rm64 | Cmovg_r64_rm64 => cmov::<u64>,
        Seto_rm8 | Setno_rm8 | Setb_rm8 | Setae_rm8 | Sete_rm8 | Setne_rm8 | Setbe_rm8 | Seta_rm8 | Sets_rm8
        | Setns_rm8 | Setp_rm8 | Setnp_rm8 | Setl_rm8 | Setge_rm8 | Setle_rm8 | Setg_rm8 => set,
        Cbw => extend_accumulator::<u8, u16>,
        Cwde => extend_accumulator::<u16, u32>,
        Cdqe => extend_accumulator::<u32, u64>,
        Cwd => fill_data::<u16>,
        Cdq => fill_data::<u32>,
        Cqo => fill_data::<u64>,
        Bswap_r16 | Bswap_r32 => bswap32,
        Bswap_r64 => bswap64,
        Movbe_r16_m16 | Movbe_m16_r16 => movbe::<u16>,
        Movbe_r32_m32 | Movbe_m32_r32 => movbe::<u32>,
        Movbe_r64_m64 | Movbe_m64_r64 => movbe::<u64>,
        _ => return None,
    })
}

/// Writes `v` to a register as wide as operand 0.
fn set_destination(sys: &mut System, insn: &Instruction, v: u64) -> Outcome {
    sys.set_register(insn.op0_register(), v);
    Ok(())
}

fn movzx<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<T>(insn, 1)?.to_u64();
    set_destination(sys, insn, v)
}

fn movsx<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<T>(insn, 1)?.to_u64();
    set_destination(sys, insn, sign_extend(v, bits::<T>()))
}

fn condition(sys: &System, insn: &Instruction) -> bool {
    // iced numbers its condition codes from 1 in the order of the opcode's low bits.
    sys.cpu.flags.condition((insn.condition_code() as u8).wrapping_sub(1))
}

/// Reads its source, and clears the upper half of a 32-bit destination, whether or not it moves.
fn cmov<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<T>(insn, 1)?.to_u64();
    let old = sys.register(insn.op0_register());
    let v = if condition(sys, insn) { v } else { old };
    set_destination(sys, insn, v)
}

fn set(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = u8::from(condition(sys, insn));
    sys.set_operand(insn, 0, v)
}

fn extend_accumulator<From: Scalar, To: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    let old = sys.cpu.regs[reg::RAX];
    let v = sign_extend(old, bits::<From>());
    sys.cpu.regs[reg::RAX] = merged::<To>(old, v);
    Ok(())
}

fn fill_data<T: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    let sign = sign_extend(sys.cpu.regs[reg::RAX], bits::<T>()) as i64 >> 63;
    sys.cpu.regs[reg::RDX] = merged::<T>(sys.cpu.regs[reg::RDX], sign as u64);
    Ok(())
}

/// A register that held `old` after a write of `v` as wide as `T`.
fn merged<T: Scalar>(old: u64, v: u64) -> u64 {
    if T::SIZE == 2 { old & !0xFFFF | v & 0xFFFF } else { T::from_u64(v).to_u64() }
}

/// With a 16-bit operand too, whose result is undefined, CPUs work on the 32-bit register and write 16 bits of it.
fn bswap32(sys: &mut System, insn: &Instruction) -> Outcome {
    let r = insn.op0_register();
    let v = sys.register(r) as u32;
    sys.set_register(r, v.swap_bytes().into());
    Ok(())
}

fn bswap64(sys: &mut System, insn: &Instruction) -> Outcome {
    let r = insn.op0_register();
    let v = sys.register(r);
    sys.set_register(r, v.swap_bytes());
    Ok(())
}

fn movbe<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = sys.operand::<T>(insn, 1)?.to_u64();
    sys.set_operand(insn, 0, T::from_u64(v.swap_bytes() >> (64 - bits::<T>())))
}
