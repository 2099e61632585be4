//! A loop that changes the immediate of an instruction in its own body in every round, before it runs and behind it.

use iced_x86::code_asm::*;

use crate::asm::Emit;

const ROUNDS: u32 = 5000;
const FACTOR: u32 = 1_664_525;

pub(super) fn emit(a: &mut CodeAssembler) -> Emit {
    super::begin(a)?;
    a.xor(edi, edi)?;
    a.mov(bp, ROUNDS)?;
    a.mov(edx, 1)?;
    // The bodies begin with the opcode of ADD EDI,imm32 (66 81 C7), so that its immediate is 3 bytes in.
    let mut here = a.create_label();
    a.call(here)?;
    a.set_label(&mut here)?;
    a.pop(bx)?; // BX = the address of this instruction
    let mut round = a.create_label();
    a.set_label(&mut round)?;
    a.mov(dword_ptr(bx + AHEAD), edx)?;
    a.db(&[0x66, 0x81, 0xC7, 0, 0, 0, 0])?;
    a.db(&[0x66, 0x81, 0xF7, 0, 0, 0, 0])?; // XOR EDI,imm32: what the round before wrote
    a.mov(dword_ptr(bx + BEHIND), edi)?;
    a.imul_3(edx, edx, FACTOR)?;
    a.inc(edx)?;
    a.dec(bp)?;
    a.jnz(round)?;
    a.mov(eax, edi)?;
    super::say_eax(a)?;
    super::end(a)
}

/// Offsets of the two immediates from the POP.
const AHEAD: u32 = 1 + 4 + 3;
const BEHIND: u32 = AHEAD + 7;

/// The same computation, by the host.
pub(super) fn expected() -> String {
    let (mut sum, mut add, mut xor) = (0u32, 1u32, 0u32);
    for _ in 0..ROUNDS {
        sum = sum.wrapping_add(add) ^ xor;
        xor = sum;
        add = add.wrapping_mul(FACTOR).wrapping_add(1);
    }
    format!("{sum:08X}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offsets_are_those_of_the_immediates() {
        let mut a = CodeAssembler::new(16).unwrap();
        emit(&mut a).unwrap();
        let code = a.assemble(super::super::LOADED).unwrap();
        let pop = code.iter().position(|&b| b == 0x5B).unwrap();
        let at = |offset: u32| &code[pop + offset as usize - 3..pop + offset as usize];
        assert_eq!(at(AHEAD), [0x66, 0x81, 0xC7]);
        assert_eq!(at(BEHIND), [0x66, 0x81, 0xF7]);
    }
}
