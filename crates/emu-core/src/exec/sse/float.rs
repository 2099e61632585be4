//! Floating-point arithmetic on XMM registers, and the conversions among them: everything that has the shape
//! destination, source, MXCSR [SDM-2A, SDM-2B].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{enter, environment, exec_table, set_xmm, settle, source, xmm};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::float::packed::*;
use crate::simd::float::{F32, F64};

fn vector<V: Vector>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = match V::SOURCE {
        4 => source::<4>(sys, insn, 1)?,
        8 => source::<8>(sys, insn, 1)?,
        _ => source::<16>(sys, insn, 1)?,
    };
    let mut env = environment(sys);
    let a = xmm(sys, insn.op0_register());
    let r = V::apply(a, b, insn.immediate8(), &mut env);
    settle(sys, &env)?;
    set_xmm(sys, insn.op0_register(), r);
    Ok(())
}

#[rustfmt::skip]
pub(super) fn lookup(code: Code) -> Option<Exec> {
    exec_table!(code;
        vector {
            Addps_xmm_xmmm128 => Packed<F32, Add>,
            Addpd_xmm_xmmm128 => Packed<F64, Add>,
            Addss_xmm_xmmm32 => Scalar<F32, Add>,
            Addsd_xmm_xmmm64 => Scalar<F64, Add>,
            Subps_xmm_xmmm128 => Packed<F32, Sub>,
            Subpd_xmm_xmmm128 => Packed<F64, Sub>,
            Subss_xmm_xmmm32 => Scalar<F32, Sub>,
            Subsd_xmm_xmmm64 => Scalar<F64, Sub>,
            Mulps_xmm_xmmm128 => Packed<F32, Mul>,
            Mulpd_xmm_xmmm128 => Packed<F64, Mul>,
            Mulss_xmm_xmmm32 => Scalar<F32, Mul>,
            Mulsd_xmm_xmmm64 => Scalar<F64, Mul>,
            Divps_xmm_xmmm128 => Packed<F32, Div>,
            Divpd_xmm_xmmm128 => Packed<F64, Div>,
            Divss_xmm_xmmm32 => Scalar<F32, Div>,
            Divsd_xmm_xmmm64 => Scalar<F64, Div>,
            Minps_xmm_xmmm128 => Packed<F32, Min>,
            Minpd_xmm_xmmm128 => Packed<F64, Min>,
            Minss_xmm_xmmm32 => Scalar<F32, Min>,
            Minsd_xmm_xmmm64 => Scalar<F64, Min>,
            Maxps_xmm_xmmm128 => Packed<F32, Max>,
            Maxpd_xmm_xmmm128 => Packed<F64, Max>,
            Maxss_xmm_xmmm32 => Scalar<F32, Max>,
            Maxsd_xmm_xmmm64 => Scalar<F64, Max>,
            Sqrtps_xmm_xmmm128 => Packed<F32, Sqrt>,
            Sqrtpd_xmm_xmmm128 => Packed<F64, Sqrt>,
            Sqrtss_xmm_xmmm32 => Scalar<F32, Sqrt>,
            Sqrtsd_xmm_xmmm64 => Scalar<F64, Sqrt>,
            Cmpps_xmm_xmmm128_imm8 => Packed<F32, Compare>,
            Cmppd_xmm_xmmm128_imm8 => Packed<F64, Compare>,
            Cmpss_xmm_xmmm32_imm8 => Scalar<F32, Compare>,
            Cmpsd_xmm_xmmm64_imm8 => Scalar<F64, Compare>,
            Roundps_xmm_xmmm128_imm8 => Packed<F32, Round>,
            Roundpd_xmm_xmmm128_imm8 => Packed<F64, Round>,
            Roundss_xmm_xmmm32_imm8 => Scalar<F32, Round>,
            Roundsd_xmm_xmmm64_imm8 => Scalar<F64, Round>,
            Rcpps_xmm_xmmm128 => Packed<F32, Rcp>,
            Rcpss_xmm_xmmm32 => Scalar<F32, Rcp>,
            Rsqrtps_xmm_xmmm128 => Packed<F32, Rsqrt>,
            Rsqrtss_xmm_xmmm32 => Scalar<F32, Rsqrt>,
            Haddps_xmm_xmmm128 => HorizontalAdd<F32>,
            Haddpd_xmm_xmmm128 => HorizontalAdd<F64>,
            Hsubps_xmm_xmmm128 => HorizontalSub<F32>,
            Hsubpd_xmm_xmmm128 => HorizontalSub<F64>,
            Addsubps_xmm_xmmm128 => AddSub<F32>,
            Addsubpd_xmm_xmmm128 => AddSub<F64>,
            Dpps_xmm_xmmm128_imm8 => DotProduct<F32>,
            Dppd_xmm_xmmm128_imm8 => DotProduct<F64>,
            Cvtps2pd_xmm_xmmm64 => SinglesToDoubles,
            Cvtpd2ps_xmm_xmmm128 => DoublesToSingles,
            Cvtss2sd_xmm_xmmm32 => SingleToDouble,
            Cvtsd2ss_xmm_xmmm64 => DoubleToSingle,
            Cvtdq2ps_xmm_xmmm128 => IntegersToSingles,
            Cvtdq2pd_xmm_xmmm64 => IntegersToDoubles,
            Cvtps2dq_xmm_xmmm128 => SinglesToIntegers,
            Cvttps2dq_xmm_xmmm128 => SinglesTruncated,
            Cvtpd2dq_xmm_xmmm128 => DoublesToIntegers,
            Cvttpd2dq_xmm_xmmm128 => DoublesTruncated,
        }
    )
}
