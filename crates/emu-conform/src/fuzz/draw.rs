//! Drawing a case: the instruction's bytes, a state, and registers that make its memory operands lie in the window.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::catalogue::{Catalogue, Template};
use super::class::{Class, classify};
use super::draft::{CODE, Draft, WINDOW, WINDOW_SIZE};
use super::rng::Rng;
use super::values;

/// Attempts at an instruction that fits before a case is given up. About two are needed on average.
const ATTEMPTS: usize = 1000;

/// A case of some class, or `None` if the catalogue is empty.
pub(super) fn draw(catalogue: &Catalogue, bits: u32, rng: &mut Rng) -> Option<(Class, Draft)> {
    for _ in 0..ATTEMPTS {
        let (class, template) = catalogue.draw(rng)?;
        let mut draft = Draft::new(bits);
        draft.code = encode(&template, bits, rng);
        let insn = draft.decode();
        // Prefixes at random can turn it into another instruction, or into none: both are worth a try.
        if !insn.is_invalid() && classify(&insn) != Some(class) {
            continue;
        }
        draft.code.truncate(if insn.is_invalid() { 15 } else { insn.len() });
        draft.draw_integers(rng);
        match class {
            Class::X87 => draft.draw_x87(rng),
            Class::Mmx => {
                draft.draw_x87(rng);
                draft.draw_vectors(rng);
            }
            Class::Sse | Class::Avx | Class::Crypto => draft.draw_vectors(rng),
            _ => {}
        }
        if insn.is_invalid() || aim(&mut draft, rng).is_some() {
            return Some((class, draft));
        }
    }
    None
}

/// The bytes of an instruction, with more than it needs behind it.
fn encode(template: &Template, bits: u32, rng: &mut Rng) -> Vec<u8> {
    let mut code = Vec::with_capacity(40);
    noise(bits, template, rng, &mut code);
    match template.vex {
        Some(long) => vex(template, long, bits, rng, &mut code),
        None => {
            code.extend((template.prefix != 0).then_some(template.prefix));
            let rex = 0x40 | u8::from(template.wide) << 3 | rng.next() as u8 & 7;
            if bits == 64 && (template.wide || rng.chance(40)) {
                code.push(rex);
            }
            code.extend_from_slice([&[][..], &[0x0F], &[0x0F, 0x38], &[0x0F, 0x3A]][usize::from(template.map)]);
        }
    }
    code.push(template.opcode);
    if let Some(modrm) = template.modrm {
        if modrm < 0xC0 { memory(modrm, bits, rng, &mut code) } else { code.push(modrm) }
    }
    let immediate = if rng.chance(40) { values::integer(rng) } else { values::byte(rng) as i8 as u64 };
    code.extend(immediate.to_le_bytes());
    code
}

/// Now and then a prefix that the instruction has no use for.
fn noise(bits: u32, template: &Template, rng: &mut Rng, code: &mut Vec<u8>) {
    let memory = template.modrm.is_some_and(|m| m < 0xC0);
    if memory && template.vex.is_none() && rng.chance(4) {
        code.push(0xF0);
    }
    while rng.chance(6) {
        let prefix = rng.pick(&[0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x67, 0x67, 0x66, 0xF2, 0xF3]);
        // Addresses of 16 bits reach no memory that is there.
        if !(bits == 32 && prefix == 0x67 && memory) {
            code.push(prefix);
        }
    }
}

fn vex(template: &Template, long: bool, bits: u32, rng: &mut Rng, code: &mut Vec<u8>) {
    let pp = [0, 0x66, 0xF3, 0xF2].iter().position(|p| *p == template.prefix).unwrap_or(0) as u8;
    // Inverted: R, X, B; outside of 64-bit mode R and X must be 1, and vvvv's highest too.
    let rxb = if bits == 64 && rng.chance(60) { rng.next() as u8 & 0xE0 } else { 0xE0 };
    let vvvv = match rng.below(4) {
        // Not used by half of the instructions, which then demand all ones.
        0 | 1 => 0xF,
        _ if bits == 64 => rng.next() as u8 & 0xF,
        _ => rng.next() as u8 & 7 | 8,
    };
    let last = vvvv << 3 | u8::from(long) << 2 | pp;
    if template.map == 1 && !template.wide && rxb & 0x60 == 0x60 && rng.chance(60) {
        code.extend([0xC5, rxb & 0x80 | last]);
    } else {
        code.extend([0xC4, rxb | template.map, u8::from(template.wide) << 7 | last]);
    }
}

/// ModRM with memory, SIB and displacement. Where it points is settled later.
fn memory(modrm: u8, bits: u32, rng: &mut Rng, code: &mut Vec<u8>) {
    let (reg, rm) = (modrm & 0x38, rng.next() as u8 & 7);
    let mode = rng.pick(&[0, 0x40, 0x40, 0x80]);
    code.push(mode | reg | rm);
    let mut absolute = mode == 0 && rm == 5;
    if rm == 4 {
        let sib = rng.next() as u8;
        code.push(sib);
        absolute |= mode == 0 && sib & 7 == 5;
    }
    let _ = bits;
    match mode {
        0x40 => code.push(values::byte(rng)),
        0x80 => code.extend((values::byte(rng) as i8 as i32 * 3).to_le_bytes()),
        _ if absolute => code.extend((WINDOW as u32 + rng.below(64) as u32).to_le_bytes()),
        _ => {}
    }
}

/// Sets registers so that what the instruction reads and writes lies in the window. `None`: it can't be.
fn aim(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    implicit(draft, rng);
    let insn = draft.decode();
    let has_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
    if !has_memory {
        return Some(());
    }
    let size = insn.memory_size().size().clamp(1, 128);
    let room = WINDOW_SIZE - size;
    let mut at = rng.below(room + 1);
    if rng.chance(75) {
        at &= !(size.next_power_of_two().min(32) - 1);
    }
    if matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc) {
        at = bit_offset(draft, &insn, rng)?;
    }
    if insn.mnemonic() == Mnemonic::Lea && rng.chance(80) {
        return Some(());
    }
    point(draft, &insn, WINDOW + at as u64, rng)
}

/// A bit offset in a register counts from the memory operand on, in both directions: keeps it within the window.
fn bit_offset(draft: &mut Draft, insn: &Instruction, rng: &mut Rng) -> Option<usize> {
    if insn.op1_kind() == OpKind::Register {
        let n = number(insn.op1_register())?;
        if [insn.memory_base(), insn.memory_index()].into_iter().any(|r| number(r) == Some(n)) {
            return None;
        }
        let offset = rng.below(1600) as i64 - 800;
        let width = if draft.bits == 64 { u64::MAX } else { 0xFFFF_FFFF };
        draft.gpr[n] = offset as u64 & width;
    }
    Some(112 + rng.below(16))
}

/// The number of the general register that `r` is part of.
fn number(r: Register) -> Option<usize> {
    (r.full_register() as usize).checked_sub(Register::RAX as usize).filter(|n| *n < 16)
}

/// Makes the explicit memory operand lie at `target`.
fn point(draft: &mut Draft, insn: &Instruction, target: u64, rng: &mut Rng) -> Option<()> {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    if base.size() == 2 || index.size() == 2 {
        return None;
    }
    let scale = u64::from(insn.memory_index_scale());
    let displacement = insn.memory_displacement64();
    if index.is_vector_register() {
        lanes(draft, index, scale, rng);
        return set(draft, base, target.wrapping_sub(displacement), insn);
    }
    match (base, index) {
        (Register::RIP | Register::EIP, _) => displace(draft, target.wrapping_sub(CODE + insn.len() as u64)),
        (Register::None, Register::None) => displace(draft, target),
        (Register::None, index) => {
            let offset = target.wrapping_sub(displacement);
            (offset < 1 << 34).then(|| set(draft, index, offset / scale, insn))?
        }
        (base, Register::None) => set(draft, base, target.wrapping_sub(displacement), insn),
        (base, index) if number(base) == number(index) => None,
        (base, index) => {
            let value = if rng.chance(70) { rng.below(16) as u64 } else { (rng.below(32) as u64).wrapping_neg() };
            set(draft, index, value, insn)?;
            let moved = draft.gpr[number(index)?];
            set(draft, base, target.wrapping_sub(displacement).wrapping_sub(moved.wrapping_mul(scale)), insn)
        }
    }
}

/// Sets a register of an address; the stack pointer stays in the window for what is pushed.
fn set(draft: &mut Draft, r: Register, value: u64, _insn: &Instruction) -> Option<()> {
    let n = number(r)?;
    let narrow = draft.bits == 32 || r.size() == 4;
    draft.gpr[n] = if narrow { value & 0xFFFF_FFFF } else { value };
    Some(())
}

/// Puts a displacement of 32 bits into the code.
fn displace(draft: &mut Draft, value: u64) -> Option<()> {
    let mut decoder = Decoder::with_ip(draft.bits, &draft.code, CODE, DecoderOptions::NONE);
    let insn = decoder.decode();
    let offsets = decoder.get_constant_offsets(&insn);
    let (at, size) = (offsets.displacement_offset(), offsets.displacement_size());
    let bytes = value.to_le_bytes();
    let field = draft.code.get_mut(at..at + size).filter(|f| f.len() >= 4)?;
    field.copy_from_slice(&bytes[..size]);
    Some(())
}

/// Indices of a gather: small, now and then negative.
fn lanes(draft: &mut Draft, index: Register, scale: u64, rng: &mut Rng) {
    let n = index.number();
    let reach = 100 / scale as usize + 1;
    for lane in draft.ymm[n].chunks_mut(4) {
        lane.copy_from_slice(&(rng.below(reach) as u32).to_le_bytes());
    }
    if rng.chance(50) {
        // As indices of 64 bits.
        draft.ymm[n].chunks_mut(8).for_each(|lane| lane[4..].fill(0));
    }
}

/// Registers that instructions use for addresses and counts without naming them.
fn implicit(draft: &mut Draft, rng: &mut Rng) {
    let insn = draft.decode();
    let near = |rng: &mut Rng| WINDOW + 120 + rng.below(16) as u64;
    match insn.mnemonic() {
        _ if insn.is_string_instruction() => {
            (draft.gpr[6], draft.gpr[7]) = (near(rng), near(rng));
            if rng.chance(95) {
                draft.gpr[1] = rng.below(16) as u64;
            }
        }
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu => draft.gpr[7] = near(rng),
        Mnemonic::Xlatb => draft.gpr[3] = WINDOW,
        Mnemonic::Enter | Mnemonic::Leave => {
            draft.gpr[5] = WINDOW + 8 * (16 + rng.below(12)) as u64;
            let n = draft.code.len();
            if insn.mnemonic() == Mnemonic::Enter && rng.chance(90) {
                draft.code[n - 3..].copy_from_slice(&[rng.below(64) as u8, 0, rng.below(6) as u8]);
            }
        }
        // Dividends whose quotient fits.
        Mnemonic::Div | Mnemonic::Idiv if rng.chance(75) => draft.gpr[2] = rng.below(4) as u64,
        _ => {}
    }
}
