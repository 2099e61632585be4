//! Sums, products, quotients, rotations and their flags, folded into a checksum over 10000 rounds.

use iced_x86::code_asm::*;

use crate::asm::Emit;

const ROUNDS: u32 = 10_000;
const SEED: u32 = 0x1234_5678;
const FACTOR: u32 = 1_664_525;
const ADDEND: u32 = 1_013_904_223;

pub(super) fn emit(a: &mut CodeAssembler) -> Emit {
    super::begin(a)?;
    a.mov(ebp, ROUNDS)?;
    a.mov(esi, SEED)?;
    a.xor(edi, edi)?;
    let mut round = a.create_label();
    a.set_label(&mut round)?;
    a.imul_3(esi, esi, FACTOR)?;
    a.add(esi, ADDEND)?;
    a.mov(eax, esi)?; // the low half of the square by an odd divisor
    a.mul(eax)?;
    a.mov(ecx, esi)?;
    a.or(ecx, 0x8000_0001u32)?;
    a.xor(edx, edx)?;
    a.div(ecx)?;
    a.add(edi, edx)?;
    a.adc(edi, eax)?;
    a.mov(cl, 7)?;
    a.rol(edi, cl)?;
    a.mov(ax, si)?; // 16 bits: the sign of the difference of the halves
    a.mov(edx, esi)?;
    a.shr(edx, 16)?;
    a.cmp(ax, dx)?;
    a.setl(dl)?;
    a.movzx(edx, dl)?;
    a.xor(edi, edx)?;
    a.dec(ebp)?;
    a.jnz(round)?;
    a.mov(eax, edi)?;
    super::say_eax(a)?;
    super::end(a)
}

/// The same computation, by the host.
pub(super) fn expected() -> String {
    let (mut x, mut sum) = (SEED, 0u32);
    for _ in 0..ROUNDS {
        x = x.wrapping_mul(FACTOR).wrapping_add(ADDEND);
        let low = x.wrapping_mul(x);
        let divisor = x | 0x8000_0001;
        let (quotient, remainder) = (low / divisor, low % divisor);
        let (with, carry) = sum.overflowing_add(remainder);
        sum = with.wrapping_add(quotient).wrapping_add(u32::from(carry)).rotate_left(7);
        let less = (x as u16 as i16) < ((x >> 16) as u16 as i16);
        sum ^= u32::from(less);
    }
    format!("{sum:08X}\n")
}
