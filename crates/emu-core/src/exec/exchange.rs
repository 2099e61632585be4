//! Exchanges: XCHG, XADD, CMPXCHG and its wide forms.

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::Outcome;
use crate::mem::Scalar;

use super::alu::bits;
use crate::cpu::bits::ZF;
use crate::cpu::{Fault, reg};
use iced_x86::Register;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Xchg_rm8_r8 => xchg::<u8>,
        Xchg_rm16_r16 | Xchg_r16_AX => xchg::<u16>,
        Xchg_rm32_r32 | Xchg_r32_EAX => xchg::<u32>,
        Xchg_rm64_r64 | Xchg_r64_RAX => xchg::<u64>,
        Xadd_rm8_r8 => xadd::<u8>,
        Xadd_rm16_r16 => xadd::<u16>,
        Xadd_rm32_r32 => xadd::<u32>,
        Xadd_rm64_r64 => xadd::<u64>,
        Cmpxchg_rm8_r8 => cmpxchg::<u8>,
        Cmpxchg_rm16_r16 => cmpxchg::<u16>,
        Cmpxchg_rm32_r32 => cmpxchg::<u32>,
        Cmpxchg_rm64_r64 => cmpxchg::<u64>,
        Cmpxchg8b_m64 => cmpxchg8b,
        Cmpxchg16b_m128 => cmpxchg16b,
        _ => return None,
    })
}

fn xchg<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let a = sys.operand_for_write::<T>(insn, 0)?;
    let b = sys.operand::<T>(insn, 1)?;
    sys.set_operand(insn, 0, b)?;
    sys.set_operand(insn, 1, a)
}

fn xadd<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let a = sys.operand_for_write::<T>(insn, 0)?.to_u64();
    let b = sys.operand::<T>(insn, 1)?.to_u64();
    let sum = a.wrapping_add(b);
    // The sum wins if both are the same register; a destination in memory has its address from the old registers.
    if insn.op0_kind() == iced_x86::OpKind::Memory {
        sys.set_operand(insn, 0, T::from_u64(sum))?;
        sys.set_operand(insn, 1, T::from_u64(a))?;
    } else {
        sys.set_operand(insn, 1, T::from_u64(a))?;
        sys.set_operand(insn, 0, T::from_u64(sum))?;
    }
    sys.cpu.flags.set_add(a, b, sum, bits::<T>());
    Ok(())
}

fn cmpxchg<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let accumulator = match T::SIZE {
        1 => Register::AL,
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    };
    let old = sys.operand_for_write::<T>(insn, 0)?;
    let new = sys.operand::<T>(insn, 1)?;
    let expected = sys.register(accumulator);
    let equal = old.to_u64() == expected;
    if equal {
        sys.set_operand(insn, 0, new)?;
    } else {
        sys.set_register(accumulator, old.to_u64());
    }
    sys.cpu.flags.set_sub(expected, old.to_u64(), expected.wrapping_sub(old.to_u64()), bits::<T>());
    Ok(())
}

fn cmpxchg8b(sys: &mut System, insn: &Instruction) -> Outcome {
    let pair = |sys: &System, high: usize, low: usize| sys.cpu.regs[high] << 32 | sys.cpu.regs[low] & 0xFFFF_FFFF;
    let old = sys.operand_for_write::<u64>(insn, 0)?;
    let equal = old == pair(sys, reg::RDX, reg::RAX);
    let new = if equal { pair(sys, reg::RCX, reg::RBX) } else { old };
    sys.set_operand(insn, 0, new)?;
    if !equal {
        sys.cpu.regs[reg::RAX] = old & 0xFFFF_FFFF;
        sys.cpu.regs[reg::RDX] = old >> 32;
    }
    sys.cpu.flags.replace(ZF, u32::from(equal) * ZF);
    Ok(())
}

fn cmpxchg16b(sys: &mut System, insn: &Instruction) -> Outcome {
    let (s, off) = (sys.operand_segment(insn), sys.operand_offset(insn));
    if !sys.linear(s, off, 16, true)?.is_multiple_of(16) {
        return Err(Fault::gp(0));
    }
    // Aligned, so that both halves are in one page: the second can't fault if the first does not.
    let low = sys.read_for_write::<u64>(s, off)?;
    let high = sys.read_for_write::<u64>(s, off.wrapping_add(8))?;
    let equal = (low, high) == (sys.cpu.regs[reg::RAX], sys.cpu.regs[reg::RDX]);
    if equal {
        sys.write(s, off, sys.cpu.regs[reg::RBX])?;
        sys.write(s, off.wrapping_add(8), sys.cpu.regs[reg::RCX])?;
    } else {
        (sys.cpu.regs[reg::RAX], sys.cpu.regs[reg::RDX]) = (low, high);
    }
    sys.cpu.flags.replace(ZF, u32::from(equal) * ZF);
    Ok(())
}
