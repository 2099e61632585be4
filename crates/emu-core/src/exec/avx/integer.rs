//! Packed integers: two-operand, shift, and immediate-controlled forms, and tests [SDM-2].

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::super::Exec;
use super::super::sse::{self, is_memory, set_status_flags, xmm};
use super::{Halves, Vex, each, enter, finish, halves, last_source, mnemonic_table, source, width};
use crate::System;
use crate::cpu::Outcome;
use crate::cpu::bits::{CF, ZF};
use crate::simd::float::packed::Xmm;
use crate::simd::lane::{self, Lane};
use crate::simd::shift::Shift;
use crate::simd::{Binary, BinaryImm, aes, gfni, int, shift, shuffle, widen};

/// First source (ignored by operations on one) and second, which has `M` bytes for each half.
fn sized<O: Binary, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    let b = source::<M>(sys, insn, last_source(insn), w)?;
    let a = halves(sys, insn.op1_register());
    finish(sys, insn, each(w, |h| O::apply(a[h], b[h])))
}

fn binary<O: Binary>(sys: &mut System, insn: &Instruction) -> Outcome {
    sized::<O, 16>(sys, insn)
}

fn from_8<O: Binary>(sys: &mut System, insn: &Instruction) -> Outcome {
    sized::<O, 8>(sys, insn)
}

fn from_4<O: Binary>(sys: &mut System, insn: &Instruction) -> Outcome {
    sized::<O, 4>(sys, insn)
}

fn from_2<O: Binary>(sys: &mut System, insn: &Instruction) -> Outcome {
    sized::<O, 2>(sys, insn)
}

/// Under an immediate byte, of which the upper half takes the bits from `STEP` on.
fn stepped<O: BinaryImm, const STEP: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    let b = source::<16>(sys, insn, last_source(insn), w)?;
    let a = halves(sys, insn.op1_register());
    finish(sys, insn, each(w, |h| O::apply(a[h], b[h], insn.immediate8() >> (STEP * h))))
}

fn controlled<O: BinaryImm>(sys: &mut System, insn: &Instruction) -> Outcome {
    stepped::<O, 0>(sys, insn)
}

fn controlled_2<O: BinaryImm>(sys: &mut System, insn: &Instruction) -> Outcome {
    stepped::<O, 2>(sys, insn)
}

fn controlled_3<O: BinaryImm>(sys: &mut System, insn: &Instruction) -> Outcome {
    stepped::<O, 3>(sys, insn)
}

fn controlled_4<O: BinaryImm>(sys: &mut System, insn: &Instruction) -> Outcome {
    stepped::<O, 4>(sys, insn)
}

/// Both halves by one count: an immediate, or the low quadword of an XMM register or of 16 bytes of memory.
fn shift_both<O: Shift>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let count = match insn.op2_kind() {
        OpKind::Immediate8 => insn.immediate8().into(),
        _ => u64::get(&source::<16>(sys, insn, 2, 1)?[0], 0),
    };
    let a = halves(sys, insn.op1_register());
    finish(sys, insn, each(width(insn), |h| O::shift(a[h], count)))
}

/// INSERTPS: from memory there is one doubleword and nothing to choose.
fn insertps(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let memory = is_memory(insn, 2);
    let b = if memory { source::<4>(sys, insn, 2, 1)?[0] } else { xmm(sys, insn.op2_register()) };
    let imm = insn.immediate8() & if memory { 0x3f } else { 0xff };
    let a = xmm(sys, insn.op1_register());
    finish(sys, insn, [shuffle::Insertps::apply(a, b, imm), super::ZERO])
}

/// MOVDDUP reads a quadword for each half it writes, but skips the other quadwords of a wide source.
fn movddup(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    let b = if w == 2 { source::<16>(sys, insn, 1, w)? } else { source::<8>(sys, insn, 1, w)? };
    finish(sys, insn, each(w, |h| shuffle::Movddup::apply(b[h], b[h])))
}

type Select = fn(Xmm, Xmm, Xmm) -> Xmm;

/// Forms with a fourth operand, a register of which the top bits choose.
fn blend(sys: &mut System, insn: &Instruction, select: Select) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    let b = source::<16>(sys, insn, 2, w)?;
    let (a, mask) = (halves(sys, insn.op1_register()), halves(sys, insn.op3_register()));
    finish(sys, insn, each(w, |h| select(a[h], b[h], mask[h])))
}

fn sign_mask<T: Lane>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let v = halves(sys, insn.op1_register());
    let low = lane::sign_mask::<T, 16>(v[0]);
    let high = if width(insn) == 2 { lane::sign_mask::<T, 16>(v[1]) << lane::count::<T, 16>() } else { 0 };
    sys.set_register(insn.op0_register(), (low | high).into());
    Ok(())
}

/// ZF: no common bit in `mask`; CF: no bit of the source, in `mask`, outside of the destination.
fn test(sys: &mut System, insn: &Instruction, mask: u128) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    let b: Halves = source::<16>(sys, insn, 1, w)?;
    let a = halves(sys, insn.op0_register());
    let none =
        |f: fn(u128, u128) -> u128| (0..w).all(|h| f(u128::from_le_bytes(a[h]), u128::from_le_bytes(b[h])) & mask == 0);
    let (zf, cf) = (none(|a, b| a & b), none(|a, b| !a & b));
    set_status_flags(sys, (u32::from(zf) * ZF) | (u32::from(cf) * CF));
    Ok(())
}

const TOP_OF_DOUBLEWORDS: u128 = 0x8000_0000_8000_0000_8000_0000_8000_0000;
const TOP_OF_QUADWORDS: u128 = 0x8000_0000_0000_0000_8000_0000_0000_0000;

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Exec> {
    two_operand(mnemonic).or_else(|| others(mnemonic)).or_else(|| by_name(mnemonic))
}

#[rustfmt::skip]
fn two_operand(mnemonic: Mnemonic) -> Option<Exec> {
    mnemonic_table!(mnemonic;
        binary {
            Vpunpcklbw => shuffle::Punpcklbw,
            Vpunpcklwd => shuffle::Punpcklwd,
            Vpunpckldq => shuffle::Punpckldq,
            Vpunpcklqdq => shuffle::Punpcklqdq,
            Vpunpckhbw => shuffle::Punpckhbw,
            Vpunpckhwd => shuffle::Punpckhwd,
            Vpunpckhdq => shuffle::Punpckhdq,
            Vpunpckhqdq => shuffle::Punpckhqdq,
            Vpacksswb => shuffle::Packsswb,
            Vpackssdw => shuffle::Packssdw,
            Vpackuswb => shuffle::Packuswb,
            Vpackusdw => shuffle::Packusdw,
            Vpcmpeqb => int::Pcmpeqb,
            Vpcmpeqw => int::Pcmpeqw,
            Vpcmpeqd => int::Pcmpeqd,
            Vpcmpeqq => int::Pcmpeqq,
            Vpcmpgtb => int::Pcmpgtb,
            Vpcmpgtw => int::Pcmpgtw,
            Vpcmpgtd => int::Pcmpgtd,
            Vpcmpgtq => int::Pcmpgtq,
            Vpaddb => int::Paddb,
            Vpaddw => int::Paddw,
            Vpaddd => int::Paddd,
            Vpaddq => int::Paddq,
            Vpaddsb => int::Paddsb,
            Vpaddsw => int::Paddsw,
            Vpaddusb => int::Paddusb,
            Vpaddusw => int::Paddusw,
            Vpsubb => int::Psubb,
            Vpsubw => int::Psubw,
            Vpsubd => int::Psubd,
            Vpsubq => int::Psubq,
            Vpsubsb => int::Psubsb,
            Vpsubsw => int::Psubsw,
            Vpsubusb => int::Psubusb,
            Vpsubusw => int::Psubusw,
            Vpmullw => int::Pmullw,
            Vpmulld => int::Pmulld,
            Vpmulhw => int::Pmulhw,
            Vpmulhuw => int::Pmulhuw,
            Vpmulhrsw => int::Pmulhrsw,
            Vpavgb => int::Pavgb,
            Vpavgw => int::Pavgw,
            Vpminub => int::Pminub,
            Vpminuw => int::Pminuw,
            Vpminud => int::Pminud,
            Vpminsb => int::Pminsb,
            Vpminsw => int::Pminsw,
            Vpminsd => int::Pminsd,
            Vpmaxub => int::Pmaxub,
            Vpmaxuw => int::Pmaxuw,
            Vpmaxud => int::Pmaxud,
            Vpmaxsb => int::Pmaxsb,
            Vpmaxsw => int::Pmaxsw,
            Vpmaxsd => int::Pmaxsd,
            Vpand => int::Pand,
            Vpandn => int::Pandn,
            Vpor => int::Por,
            Vpxor => int::Pxor,
            Vandps => int::Pand,
            Vandpd => int::Pand,
            Vandnps => int::Pandn,
            Vandnpd => int::Pandn,
            Vorps => int::Por,
            Vorpd => int::Por,
            Vxorps => int::Pxor,
            Vxorpd => int::Pxor,
            Vpsignb => int::Psignb,
            Vpsignw => int::Psignw,
            Vpsignd => int::Psignd,
            Vpabsb => int::Pabsb,
            Vpabsw => int::Pabsw,
            Vpabsd => int::Pabsd,
            Vpsllvd => int::Psllvd,
            Vpsllvq => int::Psllvq,
            Vpsrlvd => int::Psrlvd,
            Vpsrlvq => int::Psrlvq,
            Vpsravd => int::Psravd,
            Vpmuludq => widen::Pmuludq,
            Vpmuldq => widen::Pmuldq,
            Vpmaddwd => widen::Pmaddwd,
            Vpmaddubsw => widen::Pmaddubsw,
            Vpsadbw => widen::Psadbw,
            Vphaddw => widen::Phaddw,
            Vphaddd => widen::Phaddd,
            Vphaddsw => widen::Phaddsw,
            Vphsubw => widen::Phsubw,
            Vphsubd => widen::Phsubd,
            Vphsubsw => widen::Phsubsw,
            Vphminposuw => widen::Phminposuw,
            Vpshufb => shuffle::Pshufb,
            Vunpcklps => shuffle::Punpckldq,
            Vunpcklpd => shuffle::Punpcklqdq,
            Vunpckhps => shuffle::Punpckhdq,
            Vunpckhpd => shuffle::Punpckhqdq,
            Vmovhlps => shuffle::Movhlps,
            Vmovlhps => shuffle::Punpcklqdq,
            Vmovshdup => shuffle::Movshdup,
            Vmovsldup => shuffle::Movsldup,
            Vaesimc => aes::Aesimc,
            Vaesenc => aes::Aesenc,
            Vaesenclast => aes::Aesenclast,
            Vaesdec => aes::Aesdec,
            Vaesdeclast => aes::Aesdeclast,
            Vgf2p8mulb => gfni::Gf2p8mulb,
        }
        from_8 {
            Vpmovsxbw => widen::Pmovsxbw,
            Vpmovsxwd => widen::Pmovsxwd,
            Vpmovsxdq => widen::Pmovsxdq,
            Vpmovzxbw => widen::Pmovzxbw,
            Vpmovzxwd => widen::Pmovzxwd,
            Vpmovzxdq => widen::Pmovzxdq,
        }
        from_4 {
            Vpmovsxbd => widen::Pmovsxbd,
            Vpmovsxwq => widen::Pmovsxwq,
            Vpmovzxbd => widen::Pmovzxbd,
            Vpmovzxwq => widen::Pmovzxwq,
        }
        from_2 {
            Vpmovsxbq => widen::Pmovsxbq,
            Vpmovzxbq => widen::Pmovzxbq,
        }
    )
}

#[rustfmt::skip]
fn others(mnemonic: Mnemonic) -> Option<Exec> {
    mnemonic_table!(mnemonic;
        shift_both {
            Vpsllw => shift::Psllw,
            Vpslld => shift::Pslld,
            Vpsllq => shift::Psllq,
            Vpsrlw => shift::Psrlw,
            Vpsrld => shift::Psrld,
            Vpsrlq => shift::Psrlq,
            Vpsraw => shift::Psraw,
            Vpsrad => shift::Psrad,
            Vpslldq => shift::Pslldq,
            Vpsrldq => shift::Psrldq,
        }
        controlled {
            Vpshufd => shuffle::Pshufd,
            Vpshufhw => shuffle::Pshufhw,
            Vpshuflw => shuffle::Pshuflw,
            Vshufps => shuffle::Shufps,
            Vpalignr => shuffle::Palignr,
            Vpblendw => shuffle::Pblendw,
            Vpclmulqdq => widen::Pclmulqdq,
            Vaeskeygenassist => aes::Aeskeygenassist,
            Vgf2p8affineqb => gfni::Gf2p8affineqb,
            Vgf2p8affineinvqb => gfni::Gf2p8affineinvqb,
        }
        controlled_2 {
            Vshufpd => shuffle::Shufpd,
            Vblendpd => shuffle::Blendpd,
        }
        controlled_3 {
            Vmpsadbw => widen::Mpsadbw,
        }
        controlled_4 {
            Vblendps => shuffle::Blendps,
            Vpblendd => shuffle::Blendps,
        }
        sign_mask {
            Vpmovmskb => u8,
            Vmovmskps => u32,
            Vmovmskpd => u64,
        }
    )
}

fn permilps(sys: &mut System, insn: &Instruction) -> Outcome {
    if insn.op2_kind() == OpKind::Immediate8 {
        controlled::<shuffle::Pshufd>(sys, insn)
    } else {
        binary::<shuffle::Permilps>(sys, insn)
    }
}

fn permilpd(sys: &mut System, insn: &Instruction) -> Outcome {
    if insn.op2_kind() == OpKind::Immediate8 {
        controlled_2::<shuffle::PermilpdByImmediate>(sys, insn)
    } else {
        binary::<shuffle::Permilpd>(sys, insn)
    }
}

fn by_name(mnemonic: Mnemonic) -> Option<Exec> {
    Some(match mnemonic {
        Mnemonic::Vpermilps => permilps,
        Mnemonic::Vpermilpd => permilpd,
        Mnemonic::Vinsertps => insertps,
        Mnemonic::Vmovddup => movddup,
        Mnemonic::Vpblendvb => |sys, insn| blend(sys, insn, shuffle::blend_by_sign::<u8, 16>),
        Mnemonic::Vblendvps => |sys, insn| blend(sys, insn, shuffle::blend_by_sign::<u32, 16>),
        Mnemonic::Vblendvpd => |sys, insn| blend(sys, insn, shuffle::blend_by_sign::<u64, 16>),
        Mnemonic::Vptest => |sys, insn| test(sys, insn, u128::MAX),
        Mnemonic::Vtestps => |sys, insn| test(sys, insn, TOP_OF_DOUBLEWORDS),
        Mnemonic::Vtestpd => |sys, insn| test(sys, insn, TOP_OF_QUADWORDS),
        Mnemonic::Vpcmpestri | Mnemonic::Vpcmpestri64 => sse::text::pcmpestri::<Vex>,
        Mnemonic::Vpcmpestrm | Mnemonic::Vpcmpestrm64 => sse::text::pcmpestrm::<Vex>,
        Mnemonic::Vpcmpistri => sse::text::pcmpistri::<Vex>,
        Mnemonic::Vpcmpistrm => sse::text::pcmpistrm::<Vex>,
        _ => return None,
    })
}
