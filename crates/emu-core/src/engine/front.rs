//! The reading of code by early CPUs, in front of the decoder: most of it is the 8086's.
//!
//! The 8086's decoding is partial: bits of the opcode that later CPUs made instructions of are not looked at, so that rows of the
//! opcode map are aliases of others, every opcode does something, and prefixes may be repeated without end. An instruction
//! is rewritten to the form that the decoder knows; what comes out has the length of the original.
//!
//! The aliases are as captures of an 8086 show them. What an opcode does that needs a memory operand and has a register
//! depends on the state of the chip's address latch; such instructions do nothing here.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

/// Prefixes before one instruction that are looked at; of a longer run, that
/// many become an instruction by themselves, and are forgotten.
const MAX_PREFIXES: usize = 32;
/// The most bytes that [`decode`] looks at.
pub(super) const MAX_LENGTH: usize = MAX_PREFIXES + 6;

/// The opcode that the 8086 takes `opcode` for.
fn alias(opcode: u8) -> u8 {
    match opcode {
        0x60..=0x6F => opcode | 0x10,
        0xC0 | 0xC1 | 0xC8 | 0xC9 => opcode | 2,
        _ => opcode,
    }
}

/// Opcode and ModRM byte as the decoder wants them.
fn known_form(opcode: u8, modrm: u8) -> (u8, u8) {
    let reg = modrm >> 3 & 7;
    match (opcode, reg) {
        // Two bits name a segment register.
        (0x8C | 0x8E, _) => (opcode, modrm & !0x20),
        // POP and MOV of an immediate don't look at the register field.
        (0x8F | 0xC6 | 0xC7, _) => (opcode, modrm & !0x38),
        // Byte-sized calls, jumps and PUSH: no captures of them were at hand. They are taken for the word-sized ones.
        (0xFE, 2..) => known_form(0xFF, modrm),
        (0xFF, 7) => (opcode, modrm & !8),
        _ => (opcode, modrm),
    }
}

/// Whether `opcode` has a ModRM byte.
fn has_modrm(opcode: u8) -> bool {
    match opcode {
        0x00..=0x3F => opcode & 7 < 4,
        0x80..=0x8F | 0xC4..=0xC7 | 0xD0..=0xD3 | 0xD8..=0xDF | 0xF6 | 0xF7 | 0xFE | 0xFF => true,
        _ => false,
    }
}

/// Bytes of displacement that a ModRM byte asks for.
fn displacement(modrm: u8) -> usize {
    match modrm >> 6 {
        0 if modrm & 7 == 6 => 2,
        mode @ (1 | 2) => mode.into(),
        _ => 0,
    }
}

/// Prefixes in their last word: a segment, and a repetition. LOCK (and F1, which is the same) changes nothing here.
#[derive(Default)]
struct Prefixes {
    segment: Option<u8>,
    repeat: Option<u8>,
}

impl Prefixes {
    /// Those at the start of `bytes`, and how many there are.
    fn scan(bytes: &[u8]) -> (Prefixes, usize) {
        let mut found = Prefixes::default();
        for (n, &b) in bytes.iter().enumerate() {
            match b {
                0x26 | 0x2E | 0x36 | 0x3E => found.segment = Some(b),
                0xF2 | 0xF3 => found.repeat = Some(b),
                0xF0 | 0xF1 => {}
                _ => return (found, n),
            }
        }
        (found, bytes.len())
    }
}

/// Whether the instruction at the start of `bytes` has a prefix that the 80386 brought; before it, those are no opcodes.
pub(super) fn has_late_prefix(bytes: &[u8]) -> bool {
    let (_, n) = Prefixes::scan(bytes);
    bytes.get(n).is_some_and(|b| (0x64..=0x67).contains(b))
}

/// The instruction at the start of `bytes`, which stands `at` bytes behind its block's start; `None` if the bytes end
/// inside of it.
pub(super) fn decode(bytes: &[u8], at: usize) -> Option<Instruction> {
    let (prefixes, n) = Prefixes::scan(&bytes[..bytes.len().min(MAX_PREFIXES)]);
    let rest = &bytes[n..];
    if n == MAX_PREFIXES {
        return Some(nothing(n));
    }
    let &opcode = rest.first()?;
    let mut text = [0x90; 12];
    let mut len = 0;
    for prefix in [prefixes.segment, prefixes.repeat].into_iter().flatten() {
        text[len] = prefix;
        len += 1;
    }
    let skipped = n - len;
    let room = rest.len().min(text.len() - len);
    text[len..len + room].copy_from_slice(&rest[..room]);
    text[len] = alias(opcode);
    let mut shortest = 1;
    if has_modrm(opcode) {
        let modrm = *rest.get(1)?;
        (text[len], text[len + 1]) = known_form(opcode, modrm);
        shortest = 2 + displacement(modrm);
    }
    if rest.len() < shortest {
        return None;
    }
    if opcode == 0x0F {
        return Some(pop_cs(n + 1));
    }
    let text = &text[..len + room];
    let mut decoder = Decoder::with_ip(16, text, (at + skipped) as u64, DecoderOptions::NO_INVALID_CHECK);
    let mut insn = decoder.decode();
    if decoder.last_error() == iced_x86::DecoderError::NoMoreBytes {
        return None;
    }
    let latched = matches!(opcode, 0xC4 | 0xC5 | 0x8D) && rest.get(1).is_some_and(|m| m >> 6 == 3);
    if insn.code() == Code::INVALID || latched {
        return Some(nothing(n + shortest));
    }
    insn.set_len(skipped + insn.len());
    Some(insn)
}

fn bare(code: Code, len: usize) -> Instruction {
    let mut insn = Instruction::default();
    insn.set_code(code);
    insn.set_len(len);
    insn
}

fn nothing(len: usize) -> Instruction {
    bare(Code::Nopw, len)
}

/// The decoder has a name for it, but never decodes it.
fn pop_cs(len: usize) -> Instruction {
    let mut insn = bare(Code::Popw_CS, len);
    insn.set_op0_register(Register::CS);
    insn
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::Mnemonic;

    fn one(bytes: &[u8]) -> (Code, usize) {
        let insn = decode(bytes, 0).expect("enough bytes");
        (insn.code(), insn.len())
    }

    #[test]
    fn aliases() {
        assert_eq!(one(&[0x0F, 0x05]), (Code::Popw_CS, 1));
        assert_eq!(one(&[0x64, 0x10]), (Code::Je_rel8_16, 2));
        assert_eq!(one(&[0xC1]), (Code::Retnw, 1));
        assert_eq!(one(&[0xC8, 1, 0]), (Code::Retfw_imm16, 3));
        assert_eq!(one(&[0x8F, 0xF8]), (Code::Pop_rm16, 2));
        assert_eq!(one(&[0xC6, 0x7F, 1, 2]), (Code::Mov_rm8_imm8, 4));
        assert_eq!(one(&[0xFF, 0x3C]), (Code::Push_rm16, 2));
        assert_eq!(one(&[0xFE, 0xF0]), (Code::Push_rm16, 2));
        assert_eq!(one(&[0x8E, 0xE8]), (Code::Mov_Sreg_rm16, 2));
        assert_eq!(one(&[0xD8, 0x06, 1, 2]), (Code::Fadd_m32fp, 4));
        assert_eq!(one(&[0xF1, 0x90]), (Code::Nopw, 2));
    }

    #[test]
    fn jumps_count_from_the_end_of_what_was_rewritten() {
        let insn = decode(&[0x26, 0x2E, 0xF0, 0x60, 0x10], 7).unwrap();
        assert_eq!((insn.len(), insn.near_branch_target()), (5, 7 + 5 + 0x10));
    }

    #[test]
    fn the_last_prefix_of_a_kind_counts_and_there_may_be_many() {
        let mut bytes = [0x26u8; 30];
        bytes[27..].copy_from_slice(&[0xF3, 0x36, 0xA4]);
        let insn = decode(&bytes, 0).unwrap();
        assert_eq!((insn.mnemonic(), insn.len()), (Mnemonic::Movsb, 30));
        assert!(insn.has_rep_prefix() && insn.segment_prefix() == Register::SS);
        assert_eq!(decode(&bytes[..20], 0), None);
        assert_eq!(one(&[0x2E; 100]), (Code::Nopw, MAX_PREFIXES));
    }

    /// Whatever the bytes are, there is an instruction, no longer than its bytes.
    #[test]
    fn every_opcode_does_something() {
        for n in 0..=0xFFFFu16 {
            let [opcode, modrm] = n.to_le_bytes();
            let insn = decode(&[opcode, modrm, 0x12, 0x34, 0x56, 0x78], 0).expect("enough bytes");
            assert!(insn.code() != Code::INVALID && (1..=6).contains(&insn.len()), "{opcode:02x} {modrm:02x}");
            assert_eq!(decode(&[opcode, modrm, 0x12, 0x34, 0x56, 0x78][..insn.len() - 1], 0), None, "{opcode:02x}");
        }
    }
}
