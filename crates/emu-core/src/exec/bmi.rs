//! BMI1, BMI2, ADX and CRC32 [SDM-2].

use iced_x86::{Code, Instruction, Register};

use super::Exec;
use super::alu::bits;
use crate::System;
use crate::cpu::bits::{CF, OF, PF, ZF};
use crate::cpu::flags::{STATUS, sign_extend};
use crate::cpu::{Fault, Outcome, reg};
use crate::mem::Scalar;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        VEX_Andn_r32_r32_rm32 => andn::<u32>,
        VEX_Andn_r64_r64_rm64 => andn::<u64>,
        VEX_Bextr_r32_rm32_r32 => bextr::<u32>,
        VEX_Bextr_r64_rm64_r64 => bextr::<u64>,
        VEX_Blsi_r32_rm32 => lowest::<BLSI, u32>,
        VEX_Blsi_r64_rm64 => lowest::<BLSI, u64>,
        VEX_Blsmsk_r32_rm32 => lowest::<BLSMSK, u32>,
        VEX_Blsmsk_r64_rm64 => lowest::<BLSMSK, u64>,
        VEX_Blsr_r32_rm32 => lowest::<BLSR, u32>,
        VEX_Blsr_r64_rm64 => lowest::<BLSR, u64>,
        VEX_Bzhi_r32_rm32_r32 => bzhi::<u32>,
        VEX_Bzhi_r64_rm64_r64 => bzhi::<u64>,
        VEX_Mulx_r32_r32_rm32 => mulx::<u32>,
        VEX_Mulx_r64_r64_rm64 => mulx::<u64>,
        VEX_Pdep_r32_r32_rm32 => spread::<true, u32>,
        VEX_Pdep_r64_r64_rm64 => spread::<true, u64>,
        VEX_Pext_r32_r32_rm32 => spread::<false, u32>,
        VEX_Pext_r64_r64_rm64 => spread::<false, u64>,
        VEX_Rorx_r32_rm32_imm8 => shift::<RORX, u32>,
        VEX_Rorx_r64_rm64_imm8 => shift::<RORX, u64>,
        VEX_Sarx_r32_rm32_r32 => shift::<SARX, u32>,
        VEX_Sarx_r64_rm64_r64 => shift::<SARX, u64>,
        VEX_Shlx_r32_rm32_r32 => shift::<SHLX, u32>,
        VEX_Shlx_r64_rm64_r64 => shift::<SHLX, u64>,
        VEX_Shrx_r32_rm32_r32 => shift::<SHRX, u32>,
        VEX_Shrx_r64_rm64_r64 => shift::<SHRX, u64>,
        Adcx_r32_rm32 => add_with::<CF, u32>,
        Adcx_r64_rm64 => add_with::<CF, u64>,
        Adox_r32_rm32 => add_with::<OF, u32>,
        Adox_r64_rm64 => add_with::<OF, u64>,
        Crc32_r32_rm8 | Crc32_r64_rm8 => crc32::<u8>,
        Crc32_r32_rm16 => crc32::<u16>,
        Crc32_r32_rm32 => crc32::<u32>,
        Crc32_r64_rm64 => crc32::<u64>,
        _ => return None,
    })
}

const BLSI: u8 = 0;
const BLSMSK: u8 = 1;
const BLSR: u8 = 2;

const RORX: u8 = 0;
const SARX: u8 = 1;
const SHLX: u8 = 2;
const SHRX: u8 = 3;

/// Reads operand `n` of a VEX-encoded instruction, which real and V86 mode don't have.
fn source<T: Scalar>(sys: &mut System, insn: &Instruction, n: u32) -> Outcome<u64> {
    if !sys.cpu.mode.is_protected() {
        return Err(Fault::UD);
    }
    Ok(sys.operand::<T>(insn, n)?.to_u64())
}

fn store(sys: &mut System, insn: &Instruction, v: u64) -> Outcome {
    sys.set_register(insn.op0_register(), v);
    Ok(())
}

/// Writes a result with ZF and SF of it, and CF. PF and AF, undefined, are cleared as recent CPUs do.
fn finish<T: Scalar>(sys: &mut System, insn: &Instruction, r: u64, cf: bool) -> Outcome {
    let r = T::from_u64(r).to_u64();
    sys.cpu.flags.set_result(r, bits::<T>(), cf, false, false);
    sys.cpu.flags.replace(PF, 0);
    store(sys, insn, r)
}

fn andn<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (a, b) = (source::<T>(sys, insn, 1)?, source::<T>(sys, insn, 2)?);
    finish::<T>(sys, insn, !a & b, false)
}

fn bextr<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (v, control) = (source::<T>(sys, insn, 1)?, source::<T>(sys, insn, 2)?);
    let (start, len) = (control as u32 & 0xFF, (control >> 8) as u32 & 0xFF);
    let shifted = v.checked_shr(start).unwrap_or(0);
    let r = if len < 64 { shifted & ((1 << len) - 1) } else { shifted };
    sys.cpu.flags.replace(STATUS, if r == 0 { ZF } else { 0 });
    store(sys, insn, r)
}

fn lowest<const OP: u8, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v = source::<T>(sys, insn, 1)?;
    let r = match OP {
        BLSI => v & v.wrapping_neg(),
        BLSMSK => v ^ v.wrapping_sub(1),
        _ => v & v.wrapping_sub(1),
    };
    finish::<T>(sys, insn, r, (v == 0) != (OP == BLSI))
}

fn bzhi<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (v, n) = (source::<T>(sys, insn, 1)?, source::<T>(sys, insn, 2)? as u32 & 0xFF);
    let r = if n < bits::<T>() { v & ((1 << n) - 1) } else { v };
    finish::<T>(sys, insn, r, n >= bits::<T>())
}

/// The high half is written last: it wins if both are the same register.
fn mulx<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let b = source::<T>(sys, insn, 2)?;
    let a = T::from_u64(sys.cpu.regs[reg::RDX]).to_u64();
    let product = u128::from(a) * u128::from(b);
    sys.set_register(insn.op1_register(), product as u64);
    store(sys, insn, (product >> bits::<T>()) as u64)
}

/// PDEP and PEXT.
fn spread<const DEPOSIT: bool, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (v, mut mask) = (source::<T>(sys, insn, 1)?, source::<T>(sys, insn, 2)?);
    let (mut r, mut n) = (0, 0);
    while mask != 0 {
        let place = mask.trailing_zeros();
        let (from, to) = if DEPOSIT { (n, place) } else { (place, n) };
        r |= (v >> from & 1) << to;
        mask &= mask - 1;
        n += 1;
    }
    store(sys, insn, r)
}

fn shift<const OP: u8, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let w = bits::<T>();
    let (v, n) = (source::<T>(sys, insn, 1)?, source::<T>(sys, insn, 2)? as u32 & (w - 1));
    let r = match OP {
        RORX => v >> n | v.checked_shl(w - n).unwrap_or(0),
        SARX => (sign_extend(v, w) as i64 >> n) as u64,
        SHLX => v << n,
        _ => v >> n,
    };
    store(sys, insn, r)
}

/// ADCX and ADOX: a carry chain in one flag that leaves the others alone.
fn add_with<const FLAG: u32, T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (a, b) = (sys.operand::<T>(insn, 0)?.to_u64(), sys.operand::<T>(insn, 1)?.to_u64());
    let carry = sys.cpu.flags.bits() & FLAG != 0;
    let sum = u128::from(a) + u128::from(b) + u128::from(carry);
    sys.cpu.flags.replace(FLAG, if sum >> bits::<T>() != 0 { FLAG } else { 0 });
    store(sys, insn, sum as u64)
}

/// CRC-32C, bit-reflected [SDM-2 CRC32].
fn crc32<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let data = sys.operand::<T>(insn, 1)?.to_u64().to_le_bytes();
    let destination: Register = insn.op0_register();
    let mut crc = sys.register(destination) as u32;
    for byte in &data[..T::SIZE as usize] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82F6_3B78 } else { 0 };
        }
    }
    sys.set_register(destination, crc.into());
    Ok(())
}
