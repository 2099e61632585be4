//! Packed integers in XMM registers: two-operand, shift, and immediate-controlled forms [SDM-2B].

use iced_x86::{Code, Instruction, Register};

use super::super::Exec;
use super::{enter, exec_table, set_xmm, source, xmm};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::shift::Shift;
use crate::simd::{Binary, BinaryImm, aes, gfni, int, lane, sha, shift, shuffle, widen};

/// Destination OP source; `M` is the source's size in memory.
fn sized<O: Binary, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = source::<M>(sys, insn, 1)?;
    let a = xmm(sys, insn.op0_register());
    set_xmm(sys, insn.op0_register(), O::apply(a, b));
    Ok(())
}

fn binary<O: Binary>(sys: &mut System, insn: &Instruction) -> Outcome {
    sized::<O, 16>(sys, insn)
}

fn controlled<O: BinaryImm>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = source::<16>(sys, insn, 1)?;
    let a = xmm(sys, insn.op0_register());
    set_xmm(sys, insn.op0_register(), O::apply(a, b, insn.immediate8()));
    Ok(())
}

/// INSERTPS: from memory there is one doubleword and nothing to choose.
fn insertps(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = source::<4>(sys, insn, 1)?;
    let from_memory = insn.op1_register() == Register::None;
    let imm = insn.immediate8() & if from_memory { 0x3f } else { 0xff };
    let a = xmm(sys, insn.op0_register());
    set_xmm(sys, insn.op0_register(), shuffle::Insertps::apply(a, b, imm));
    Ok(())
}

fn shift_by_vector<O: Shift>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let count = lane::Lane::get(&source::<16>(sys, insn, 1)?, 0);
    let a = xmm(sys, insn.op0_register());
    set_xmm(sys, insn.op0_register(), O::shift(a, count));
    Ok(())
}

fn shift_by_immediate<O: Shift>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let a = xmm(sys, insn.op0_register());
    set_xmm(sys, insn.op0_register(), O::shift(a, insn.immediate8().into()));
    Ok(())
}

type Select = fn([u8; 16], [u8; 16], [u8; 16]) -> [u8; 16];

/// Forms with XMM0 as a third, implicit source.
fn with_xmm0(sys: &mut System, insn: &Instruction, select: Select) -> Outcome {
    enter(sys)?;
    let b = source::<16>(sys, insn, 1)?;
    let (a, c) = (xmm(sys, insn.op0_register()), xmm(sys, Register::XMM0));
    set_xmm(sys, insn.op0_register(), select(a, b, c));
    Ok(())
}

fn pblendvb(sys: &mut System, insn: &Instruction) -> Outcome {
    with_xmm0(sys, insn, shuffle::blend_by_sign::<u8, 16>)
}

fn blendvps(sys: &mut System, insn: &Instruction) -> Outcome {
    with_xmm0(sys, insn, shuffle::blend_by_sign::<u32, 16>)
}

fn blendvpd(sys: &mut System, insn: &Instruction) -> Outcome {
    with_xmm0(sys, insn, shuffle::blend_by_sign::<u64, 16>)
}

fn sha256rnds2(sys: &mut System, insn: &Instruction) -> Outcome {
    with_xmm0(sys, insn, sha::sha256rnds2)
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    two_operand(code).or_else(|| shifts(code)).or_else(|| immediates(code)).or_else(|| narrow_sources(code))
}

#[rustfmt::skip]
fn two_operand(code: Code) -> Option<Exec> {
    exec_table!(code;
        binary {
            Punpcklbw_xmm_xmmm128 => shuffle::Punpcklbw,
            Punpcklwd_xmm_xmmm128 => shuffle::Punpcklwd,
            Punpckldq_xmm_xmmm128 => shuffle::Punpckldq,
            Packsswb_xmm_xmmm128 => shuffle::Packsswb,
            Pcmpgtb_xmm_xmmm128 => int::Pcmpgtb,
            Pcmpgtw_xmm_xmmm128 => int::Pcmpgtw,
            Pcmpgtd_xmm_xmmm128 => int::Pcmpgtd,
            Packuswb_xmm_xmmm128 => shuffle::Packuswb,
            Punpckhbw_xmm_xmmm128 => shuffle::Punpckhbw,
            Punpckhwd_xmm_xmmm128 => shuffle::Punpckhwd,
            Punpckhdq_xmm_xmmm128 => shuffle::Punpckhdq,
            Packssdw_xmm_xmmm128 => shuffle::Packssdw,
            Punpcklqdq_xmm_xmmm128 => shuffle::Punpcklqdq,
            Punpckhqdq_xmm_xmmm128 => shuffle::Punpckhqdq,
            Pcmpeqb_xmm_xmmm128 => int::Pcmpeqb,
            Pcmpeqw_xmm_xmmm128 => int::Pcmpeqw,
            Pcmpeqd_xmm_xmmm128 => int::Pcmpeqd,
            Paddq_xmm_xmmm128 => int::Paddq,
            Pmullw_xmm_xmmm128 => int::Pmullw,
            Psubusb_xmm_xmmm128 => int::Psubusb,
            Psubusw_xmm_xmmm128 => int::Psubusw,
            Pminub_xmm_xmmm128 => int::Pminub,
            Pand_xmm_xmmm128 => int::Pand,
            Paddusb_xmm_xmmm128 => int::Paddusb,
            Paddusw_xmm_xmmm128 => int::Paddusw,
            Pmaxub_xmm_xmmm128 => int::Pmaxub,
            Pandn_xmm_xmmm128 => int::Pandn,
            Pavgb_xmm_xmmm128 => int::Pavgb,
            Pavgw_xmm_xmmm128 => int::Pavgw,
            Pmulhuw_xmm_xmmm128 => int::Pmulhuw,
            Pmulhw_xmm_xmmm128 => int::Pmulhw,
            Psubsb_xmm_xmmm128 => int::Psubsb,
            Psubsw_xmm_xmmm128 => int::Psubsw,
            Pminsw_xmm_xmmm128 => int::Pminsw,
            Por_xmm_xmmm128 => int::Por,
            Paddsb_xmm_xmmm128 => int::Paddsb,
            Paddsw_xmm_xmmm128 => int::Paddsw,
            Pmaxsw_xmm_xmmm128 => int::Pmaxsw,
            Pxor_xmm_xmmm128 => int::Pxor,
            Pmuludq_xmm_xmmm128 => widen::Pmuludq,
            Pmaddwd_xmm_xmmm128 => widen::Pmaddwd,
            Psadbw_xmm_xmmm128 => widen::Psadbw,
            Psubb_xmm_xmmm128 => int::Psubb,
            Psubw_xmm_xmmm128 => int::Psubw,
            Psubd_xmm_xmmm128 => int::Psubd,
            Psubq_xmm_xmmm128 => int::Psubq,
            Paddb_xmm_xmmm128 => int::Paddb,
            Paddw_xmm_xmmm128 => int::Paddw,
            Paddd_xmm_xmmm128 => int::Paddd,
            Pshufb_xmm_xmmm128 => shuffle::Pshufb,
            Phaddw_xmm_xmmm128 => widen::Phaddw,
            Phaddd_xmm_xmmm128 => widen::Phaddd,
            Phaddsw_xmm_xmmm128 => widen::Phaddsw,
            Pmaddubsw_xmm_xmmm128 => widen::Pmaddubsw,
            Phsubw_xmm_xmmm128 => widen::Phsubw,
            Phsubd_xmm_xmmm128 => widen::Phsubd,
            Phsubsw_xmm_xmmm128 => widen::Phsubsw,
            Psignb_xmm_xmmm128 => int::Psignb,
            Psignw_xmm_xmmm128 => int::Psignw,
            Psignd_xmm_xmmm128 => int::Psignd,
            Pmulhrsw_xmm_xmmm128 => int::Pmulhrsw,
            Pabsb_xmm_xmmm128 => int::Pabsb,
            Pabsw_xmm_xmmm128 => int::Pabsw,
            Pabsd_xmm_xmmm128 => int::Pabsd,
            Pmuldq_xmm_xmmm128 => widen::Pmuldq,
            Pcmpeqq_xmm_xmmm128 => int::Pcmpeqq,
            Packusdw_xmm_xmmm128 => shuffle::Packusdw,
            Pcmpgtq_xmm_xmmm128 => int::Pcmpgtq,
            Pminsb_xmm_xmmm128 => int::Pminsb,
            Pminsd_xmm_xmmm128 => int::Pminsd,
            Pminuw_xmm_xmmm128 => int::Pminuw,
            Pminud_xmm_xmmm128 => int::Pminud,
            Pmaxsb_xmm_xmmm128 => int::Pmaxsb,
            Pmaxsd_xmm_xmmm128 => int::Pmaxsd,
            Pmaxuw_xmm_xmmm128 => int::Pmaxuw,
            Pmaxud_xmm_xmmm128 => int::Pmaxud,
            Pmulld_xmm_xmmm128 => int::Pmulld,
            Phminposuw_xmm_xmmm128 => widen::Phminposuw,
            Sha1nexte_xmm_xmmm128 => sha::Sha1nexte,
            Sha1msg1_xmm_xmmm128 => sha::Sha1msg1,
            Sha1msg2_xmm_xmmm128 => sha::Sha1msg2,
            Sha256msg1_xmm_xmmm128 => sha::Sha256msg1,
            Sha256msg2_xmm_xmmm128 => sha::Sha256msg2,
            Aesimc_xmm_xmmm128 => aes::Aesimc,
            Aesenc_xmm_xmmm128 => aes::Aesenc,
            Aesenclast_xmm_xmmm128 => aes::Aesenclast,
            Aesdec_xmm_xmmm128 => aes::Aesdec,
            Aesdeclast_xmm_xmmm128 => aes::Aesdeclast,
            Gf2p8mulb_xmm_xmmm128 => gfni::Gf2p8mulb,
            Andps_xmm_xmmm128 => int::Pand,
            Andpd_xmm_xmmm128 => int::Pand,
            Andnps_xmm_xmmm128 => int::Pandn,
            Andnpd_xmm_xmmm128 => int::Pandn,
            Orps_xmm_xmmm128 => int::Por,
            Orpd_xmm_xmmm128 => int::Por,
            Xorps_xmm_xmmm128 => int::Pxor,
            Xorpd_xmm_xmmm128 => int::Pxor,
            Unpcklps_xmm_xmmm128 => shuffle::Punpckldq,
            Unpcklpd_xmm_xmmm128 => shuffle::Punpcklqdq,
            Unpckhps_xmm_xmmm128 => shuffle::Punpckhdq,
            Unpckhpd_xmm_xmmm128 => shuffle::Punpckhqdq,
            Movhlps_xmm_xmm => shuffle::Movhlps,
            Movlhps_xmm_xmm => shuffle::Punpcklqdq,
            Movshdup_xmm_xmmm128 => shuffle::Movshdup,
            Movsldup_xmm_xmmm128 => shuffle::Movsldup,
        }
    )
}

fn shifts(code: Code) -> Option<Exec> {
    exec_table!(code;
        shift_by_vector {
            Psllw_xmm_xmmm128 => shift::Psllw,
            Pslld_xmm_xmmm128 => shift::Pslld,
            Psllq_xmm_xmmm128 => shift::Psllq,
            Psrlw_xmm_xmmm128 => shift::Psrlw,
            Psrld_xmm_xmmm128 => shift::Psrld,
            Psrlq_xmm_xmmm128 => shift::Psrlq,
            Psraw_xmm_xmmm128 => shift::Psraw,
            Psrad_xmm_xmmm128 => shift::Psrad,
        }
        shift_by_immediate {
            Psllw_xmm_imm8 => shift::Psllw,
            Pslld_xmm_imm8 => shift::Pslld,
            Psllq_xmm_imm8 => shift::Psllq,
            Psrlw_xmm_imm8 => shift::Psrlw,
            Psrld_xmm_imm8 => shift::Psrld,
            Psrlq_xmm_imm8 => shift::Psrlq,
            Psraw_xmm_imm8 => shift::Psraw,
            Psrad_xmm_imm8 => shift::Psrad,
            Pslldq_xmm_imm8 => shift::Pslldq,
            Psrldq_xmm_imm8 => shift::Psrldq,
        }
    )
}

fn immediates(code: Code) -> Option<Exec> {
    exec_table!(code;
        controlled {
            Pshufd_xmm_xmmm128_imm8 => shuffle::Pshufd,
            Pshufhw_xmm_xmmm128_imm8 => shuffle::Pshufhw,
            Pshuflw_xmm_xmmm128_imm8 => shuffle::Pshuflw,
            Shufps_xmm_xmmm128_imm8 => shuffle::Shufps,
            Shufpd_xmm_xmmm128_imm8 => shuffle::Shufpd,
            Palignr_xmm_xmmm128_imm8 => shuffle::Palignr,
            Pblendw_xmm_xmmm128_imm8 => shuffle::Pblendw,
            Blendps_xmm_xmmm128_imm8 => shuffle::Blendps,
            Blendpd_xmm_xmmm128_imm8 => shuffle::Blendpd,
            Mpsadbw_xmm_xmmm128_imm8 => widen::Mpsadbw,
            Pclmulqdq_xmm_xmmm128_imm8 => widen::Pclmulqdq,
            Sha1rnds4_xmm_xmmm128_imm8 => sha::Sha1rnds4,
            Aeskeygenassist_xmm_xmmm128_imm8 => aes::Aeskeygenassist,
            Gf2p8affineqb_xmm_xmmm128_imm8 => gfni::Gf2p8affineqb,
            Gf2p8affineinvqb_xmm_xmmm128_imm8 => gfni::Gf2p8affineinvqb,
        }
    )
}

fn narrow_sources(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Movddup_xmm_xmmm64 => sized::<shuffle::Movddup, 8>,
        Code::Pmovsxbw_xmm_xmmm64 => sized::<widen::Pmovsxbw, 8>,
        Code::Pmovsxwd_xmm_xmmm64 => sized::<widen::Pmovsxwd, 8>,
        Code::Pmovsxdq_xmm_xmmm64 => sized::<widen::Pmovsxdq, 8>,
        Code::Pmovzxbw_xmm_xmmm64 => sized::<widen::Pmovzxbw, 8>,
        Code::Pmovzxwd_xmm_xmmm64 => sized::<widen::Pmovzxwd, 8>,
        Code::Pmovzxdq_xmm_xmmm64 => sized::<widen::Pmovzxdq, 8>,
        Code::Pmovsxbd_xmm_xmmm32 => sized::<widen::Pmovsxbd, 4>,
        Code::Pmovsxwq_xmm_xmmm32 => sized::<widen::Pmovsxwq, 4>,
        Code::Pmovzxbd_xmm_xmmm32 => sized::<widen::Pmovzxbd, 4>,
        Code::Pmovzxwq_xmm_xmmm32 => sized::<widen::Pmovzxwq, 4>,
        Code::Pmovsxbq_xmm_xmmm16 => sized::<widen::Pmovsxbq, 2>,
        Code::Pmovzxbq_xmm_xmmm16 => sized::<widen::Pmovzxbq, 2>,
        Code::Insertps_xmm_xmmm32_imm8 => insertps,
        Code::Pblendvb_xmm_xmmm128 => pblendvb,
        Code::Blendvps_xmm_xmmm128 => blendvps,
        Code::Blendvpd_xmm_xmmm128 => blendvpd,
        Code::Sha256rnds2_xmm_xmmm128 => sha256rnds2,
        _ => return None,
    })
}
