//! What the architecture leaves undefined, instruction by instruction: emu's own list, for cases whose suite has none.
//!
//! Every rule is the section "Flags Affected" (or the operation) of the mnemonic's page in \[SDM-2\]. x87 condition codes
//! that the manual calls undefined are *not* in the list: every CPU measured so far leaves them alone or clears them as
//! emu does, and a comparison that forgave them would be blind to half of the status word.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use crate::{Case, Environment, Mask, MaskSource, Reg, Tolerance};

/// Status flags.
pub const CF: u64 = 0x001;
/// Parity.
pub const PF: u64 = 0x004;
/// Auxiliary carry.
pub const AF: u64 = 0x010;
/// Zero.
pub const ZF: u64 = 0x040;
/// Sign.
pub const SF: u64 = 0x080;
/// Overflow.
pub const OF: u64 = 0x800;

/// What one instruction, in one state, leaves undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Undefined {
    /// Bits of RFLAGS.
    pub flags: u64,
    /// The destination operand as a whole.
    pub destination: bool,
    /// How exact the results are defined.
    pub tolerance: Tolerance,
    /// Where it says so.
    pub source: &'static str,
}

/// Adds to `case` what its instruction leaves undefined. Does nothing if the case raises an exception: then nothing is.
pub fn apply(case: &mut Case) {
    let mut decoder = Decoder::new(case.environment.bits(), &case.code, DecoderOptions::NONE);
    let insn = decoder.decode();
    if insn.is_invalid() || case.exception.is_some() {
        return;
    }
    let undefined = of(&insn, case);
    let source = || MaskSource::Ours(undefined.source);
    if undefined.flags != 0 {
        case.masks.push(Mask { reg: Reg::Rflags, undefined: undefined.flags, source: source() });
    }
    if undefined.destination {
        case.undefined_destination = Some(source());
    }
    case.tolerance = undefined.tolerance;
}

/// What `insn` leaves undefined in the state that `case` starts from.
#[must_use]
pub fn of(insn: &Instruction, case: &Case) -> Undefined {
    use Mnemonic as M;
    let only = |flags: u64, source: &'static str| Undefined { flags, source, ..Undefined::default() };
    match insn.mnemonic() {
        M::And | M::Or | M::Xor | M::Test => only(AF, "SDM-2 AND, OR, XOR, TEST: AF"),
        M::Mul | M::Imul => only(SF | ZF | AF | PF, "SDM-2 MUL, IMUL: SF, ZF, AF, PF"),
        M::Div | M::Idiv => only(CF | OF | SF | ZF | AF | PF, "SDM-2 DIV, IDIV: all status flags"),
        M::Aaa | M::Aas => only(OF | SF | ZF | PF, "SDM-2 AAA, AAS: OF, SF, ZF, PF"),
        M::Aad | M::Aam => only(OF | AF | CF, "SDM-2 AAD, AAM: OF, AF, CF"),
        M::Daa | M::Das => only(OF, "SDM-2 DAA, DAS: OF"),
        M::Bt | M::Bts | M::Btr | M::Btc => only(OF | SF | AF | PF, "SDM-2 BT, BTC, BTR, BTS: OF, SF, AF, PF"),
        M::Bsf | M::Bsr => scan(insn, case),
        M::Lzcnt | M::Tzcnt => only(OF | SF | PF | AF, "SDM-2 LZCNT, TZCNT: OF, SF, PF, AF"),
        M::Bextr => only(AF | SF | PF, "SDM-2 BEXTR: AF, SF, PF"),
        M::Andn | M::Blsi | M::Blsmsk | M::Blsr | M::Bzhi => only(AF | PF, "SDM-2 ANDN, BLSI, BZHI: AF, PF"),
        M::Shl | M::Sal | M::Shr | M::Sar => shift(insn, case),
        M::Rol | M::Ror | M::Rcl | M::Rcr => rotate(insn, case),
        M::Shld | M::Shrd => double_shift(insn, case),
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss | M::Vrcpps | M::Vrcpss | M::Vrsqrtps | M::Vrsqrtss => {
            Undefined {
                tolerance: Tolerance::Approximate,
                ..only(0, "SDM-2 RCPPS, RSQRTPS: relative error 1.5 * 2^-12")
            }
        }
        M::Fsin | M::Fcos | M::Fsincos | M::Fptan | M::Fpatan | M::F2xm1 | M::Fyl2x | M::Fyl2xp1 => {
            Undefined { tolerance: Tolerance::OneUlp, ..only(0, "SDM-1 8.3.10: within one unit in the last place") }
        }
        _ => Undefined::default(),
    }
}

/// BSF and BSR.
fn scan(insn: &Instruction, case: &Case) -> Undefined {
    Undefined {
        flags: CF | OF | SF | AF | PF,
        destination: operand(insn, 1, case) == Some(0),
        source: "SDM-2 BSF, BSR: all but ZF; the destination if the source is 0",
        ..Undefined::default()
    }
}

fn shift(insn: &Instruction, case: &Case) -> Undefined {
    let (count, size) = count(insn, 1, case);
    let mut flags = if count == 0 { 0 } else { AF };
    if count > 1 {
        flags |= OF;
    }
    if count >= size && insn.mnemonic() != Mnemonic::Sar {
        flags |= CF;
    }
    Undefined {
        flags,
        source: "SDM-2 SAL/SAR/SHL/SHR: AF; OF unless by 1; CF if by the size or more",
        ..Undefined::default()
    }
}

fn rotate(insn: &Instruction, case: &Case) -> Undefined {
    let (count, _) = count(insn, 1, case);
    let flags = if count > 1 { OF } else { 0 };
    Undefined { flags, source: "SDM-2 RCL/RCR/ROL/ROR: OF unless by 1", ..Undefined::default() }
}

fn double_shift(insn: &Instruction, case: &Case) -> Undefined {
    let (count, size) = count(insn, 2, case);
    let flags = match count {
        0 => 0,
        1 => AF,
        n if n <= size => AF | OF,
        _ => CF | OF | SF | ZF | AF | PF,
    };
    let source = "SDM-2 SHLD, SHRD: AF; OF unless by 1; all flags and the destination if by more than the size";
    Undefined { flags, destination: count > size, source, ..Undefined::default() }
}

/// The masked count of a shift, which is operand `n`, and the width of what is shifted, in bits.
fn count(insn: &Instruction, n: u32, case: &Case) -> (u64, u64) {
    let size = match insn.op0_kind() {
        OpKind::Register => insn.op0_register().size(),
        _ => insn.memory_size().size(),
    };
    let given = match insn.op_kind(n) {
        OpKind::Register => case.initial.get(Reg::Rcx).unwrap_or(0),
        _ => insn.immediate(n),
    };
    // The 8086 does not mask the count, and a case of real mode does not say whose it is.
    let mask = match (case.environment, size) {
        (Environment::Real, _) => 0xFF,
        (_, 8) => 63,
        _ => 31,
    };
    (given & mask, size as u64 * 8)
}

/// The value of a register or memory operand before, as far as the case tells.
fn operand(insn: &Instruction, n: u32, case: &Case) -> Option<u64> {
    let general = |r: Register| {
        let number = (r.full_register() as usize).checked_sub(Register::RAX as usize).filter(|n| *n < 16)?;
        let value = case.initial.get(Reg::general(number))?;
        Some(if r.size() == 8 { value } else { value & ((1 << (8 * r.size())) - 1) })
    };
    match insn.op_kind(n) {
        OpKind::Register => general(insn.op_register(n)),
        OpKind::Memory => {
            let at = address(insn, n, case)?;
            (0..insn.memory_size().size() as u64)
                .try_fold(0, |value, i| Some(value | u64::from(case.initial.byte(at.wrapping_add(i))?) << (8 * i)))
        }
        _ => None,
    }
}

/// Linear address of the explicit memory operand, with all segment bases zero.
fn address(insn: &Instruction, n: u32, case: &Case) -> Option<u64> {
    let next = case.initial.get(Reg::Rip)?.wrapping_add(insn.len() as u64);
    let at = insn.virtual_address(n, 0, |r, _, _| {
        if r.is_segment_register() {
            return Some(0);
        }
        let number = (r.full_register() as usize).checked_sub(Register::RAX as usize).filter(|n| *n < 16)?;
        let value = case.initial.get(Reg::general(number))?;
        Some(if r.size() == 8 { value } else { value & ((1 << (8 * r.size())) - 1) })
    });
    // The decoder was not told where the instruction is.
    let relative = matches!(insn.memory_base(), Register::RIP | Register::EIP);
    if relative { Some(insn.memory_displacement64().wrapping_add(next).wrapping_sub(insn.len() as u64)) } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;

    fn case(code: &[u8], rcx: u64) -> Case {
        let mut case = Case::new(Environment::Flat64, End::Step);
        case.code = code.to_vec();
        case.initial.set(Reg::Rcx, rcx);
        case.initial.set(Reg::Rbx, 0);
        case.initial.set(Reg::Rip, 0x1000);
        case.initial.set_bytes(0x2000, &[0, 0, 1, 0]);
        apply(&mut case);
        case
    }

    #[test]
    fn shifts_go_by_the_masked_count() {
        for (code, rcx, flags) in [
            (&[0xD3, 0xE0][..], 0, 0), // SHL EAX, CL
            (&[0xD3, 0xE0], 0x20, 0),
            (&[0xD3, 0xE0], 0x21, AF),
            (&[0xD3, 0xE0], 2, AF | OF),
            (&[0xD2, 0xE0], 8, AF | OF | CF),            // SHL AL, CL
            (&[0xD2, 0xF8], 8, AF | OF),                 // SAR AL, CL
            (&[0x48, 0xD3, 0xE0], 0x21, AF | OF),        // SHL RAX, CL
            (&[0xD1, 0xC0], 9, 0),                       // ROL EAX, 1
            (&[0xC1, 0xC0, 3], 0, OF),                   // ROL EAX, 3
            (&[0x0F, 0xA4, 0xC3, 1], 0, AF),             // SHLD EBX, EAX, 1
            (&[0x66, 0x0F, 0xA4, 0xC3, 16], 0, AF | OF), // SHLD BX, AX, 16
        ] {
            assert_eq!(case(code, rcx).undefined(Reg::Rflags), flags, "{code:x?} {rcx:x}");
        }
        let far = case(&[0x66, 0x0F, 0xA4, 0xC3, 17], 0);
        assert_eq!(far.undefined(Reg::Rflags), CF | OF | SF | ZF | AF | PF);
        assert!(far.undefined_destination.is_some());
    }

    #[test]
    fn scans_of_zero_have_no_result() {
        for (code, undefined) in [
            (&[0x0F, 0xBC, 0xC3][..], true),                        // BSF EAX, EBX
            (&[0x0F, 0xBC, 0xC1], false),                           // BSF EAX, ECX
            (&[0x0F, 0xBC, 0x04, 0x25, 0, 0x20, 0, 0], false),      // BSF EAX, [2000h]
            (&[0x66, 0x0F, 0xBC, 0x04, 0x25, 0, 0x20, 0, 0], true), // BSF AX, [2000h]
            (&[0x66, 0x0F, 0xBC, 0x05, 0xF8, 0x0F, 0, 0], true),    // BSF AX, [RIP+FF8h]
        ] {
            assert_eq!(case(code, 5).undefined_destination.is_some(), undefined, "{code:x?}");
        }
    }

    #[test]
    fn faults_define_everything() {
        let mut div = Case::new(Environment::Flat64, End::Step);
        (div.code, div.exception) = (vec![0xF7, 0xF1], Some(0)); // DIV ECX
        apply(&mut div);
        assert!(div.masks.is_empty());
        div.exception = None;
        apply(&mut div);
        assert_eq!(div.undefined(Reg::Rflags), CF | OF | SF | ZF | AF | PF);
        let fsin = case(&[0xD9, 0xFE], 0);
        assert_eq!((fsin.tolerance, fsin.masks.len()), (Tolerance::OneUlp, 0));
    }
}
