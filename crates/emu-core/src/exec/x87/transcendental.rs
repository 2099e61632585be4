//! The transcendental instructions [SDM-1 8.3.7 to 8.3.11].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{begin, end};
use crate::System;
use crate::cpu::Outcome;
use crate::fpu::trans;

macro_rules! instructions {
    ($($name:ident: $fpu:ident => $body:expr;)*) => {$(
        fn $name(sys: &mut System, insn: &Instruction) -> Outcome {
            begin(sys)?;
            let $fpu = &mut sys.cpu.fpu;
            $body;
            end(sys, insn)
        }
    )*};
}

instructions! {
    f2xm1: fpu => fpu.unary(trans::f2xm1);
    fyl2x: fpu => fpu.binary(1, 1, 0, 1, trans::yl2x);
    fyl2xp1: fpu => fpu.binary(1, 1, 0, 1, trans::yl2xp1);
    fpatan: fpu => fpu.binary(1, 1, 0, 1, trans::atan2);
    fptan: fpu => fpu.tangent();
    fsincos: fpu => fpu.sine_cosine();
    fsin: fpu => fpu.trigonometric(trans::sin);
    fcos: fpu => fpu.trigonometric(trans::cos);
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::F2xm1 => f2xm1,
        Code::Fyl2x => fyl2x,
        Code::Fyl2xp1 => fyl2xp1,
        Code::Fpatan => fpatan,
        Code::Fptan => fptan,
        Code::Fsincos => fsincos,
        Code::Fsin => fsin,
        Code::Fcos => fcos,
        _ => return None,
    })
}
