//! Loads, stores, FXCH and FCMOVcc [SDM-1 8.3.3, 8.3.4].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{begin, begin_read, end, note_instruction, note_operand, place, read_f80, ready, st_i, write_f80};
use crate::System;
use crate::cpu::Outcome;
use crate::fpu::constants::Constant;
use crate::fpu::{Fpu, Operand, Store, int};
use crate::mem::Scalar;

fn fld_m32(sys: &mut System, insn: &Instruction) -> Outcome {
    let operand = Operand::f32(begin_read(sys, insn)?);
    sys.cpu.fpu.load(operand);
    end(sys, insn)
}

fn fld_m64(sys: &mut System, insn: &Instruction) -> Outcome {
    let operand = Operand::f64(begin_read(sys, insn)?);
    sys.cpu.fpu.load(operand);
    end(sys, insn)
}

fn fld_m80(sys: &mut System, insn: &Instruction) -> Outcome {
    ready(sys)?;
    let (s, offset) = place(sys, insn);
    let v = read_f80(sys, s, offset)?;
    note_instruction(sys);
    note_operand(sys, s, offset);
    sys.cpu.fpu.load_exact(v);
    end(sys, insn)
}

fn fbld(sys: &mut System, insn: &Instruction) -> Outcome {
    ready(sys)?;
    let (s, offset) = place(sys, insn);
    let v = read_f80(sys, s, offset)?;
    note_instruction(sys);
    note_operand(sys, s, offset);
    sys.cpu.fpu.load_exact(int::from_bcd(v.to_bytes()));
    end(sys, insn)
}

/// FILD: the operand's bits and how to extend their sign.
fn fild<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v: T = begin_read(sys, insn)?;
    let unused = 64 - 8 * T::SIZE as u32;
    sys.cpu.fpu.load_exact(int::from_int((v.to_u64() << unused) as i64 >> unused));
    end(sys, insn)
}

fn fld_sti(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.load_st(st_i(insn));
    end(sys, insn)
}

fn constant(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.load_constant(match insn.code() {
        Code::Fld1 => Constant::One,
        Code::Fldl2t => Constant::Log2Of10,
        Code::Fldl2e => Constant::Log2OfE,
        Code::Fldpi => Constant::Pi,
        Code::Fldlg2 => Constant::Log10Of2,
        Code::Fldln2 => Constant::LnOf2,
        _ => Constant::Zero,
    });
    end(sys, insn)
}

/// A store to memory of `size` bytes: prepared, written (which may fault), and only then done. Memory is checked even if
/// an unmasked exception keeps the result back (measured on an AMD Zen 5).
#[inline]
fn store<T: Copy>(
    sys: &mut System,
    insn: &Instruction,
    size: u64,
    pops: u8,
    prepare: impl Fn(&Fpu) -> Store<T>,
    write: impl Fn(&mut System, usize, u64, T) -> Outcome,
) -> Outcome {
    ready(sys)?;
    let (s, offset) = place(sys, insn);
    let store = prepare(&sys.cpu.fpu);
    match store.value {
        Some(v) => write(sys, s, offset, v)?,
        None => sys.probe(s, offset, size, true).map(|_| ())?,
    }
    note_instruction(sys);
    note_operand(sys, s, offset);
    sys.cpu.fpu.stored(store, pops);
    end(sys, insn)
}

fn fst_m32<const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    store(sys, insn, 4, POPS, Fpu::prepare_f32, System::write)
}

fn fst_m64<const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    store(sys, insn, 8, POPS, Fpu::prepare_f64, System::write)
}

fn fstp_m80(sys: &mut System, insn: &Instruction) -> Outcome {
    store(sys, insn, 10, 1, Fpu::prepare_f80, write_f80)
}

fn fbstp(sys: &mut System, insn: &Instruction) -> Outcome {
    store(sys, insn, 10, 1, Fpu::prepare_bcd, |sys, s, offset, v| sys.write_bytes(s, offset, &v))
}

fn fist<T: Scalar, const POPS: u8, const TRUNCATE: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    let prepare = |fpu: &Fpu| fpu.prepare_int(8 * T::SIZE as u32, TRUNCATE);
    store(sys, insn, T::SIZE, POPS, prepare, |sys, s, offset, v| sys.write(s, offset, T::from_u64(v as u64)))
}

fn fst_sti<const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.store_st(st_i(insn), POPS);
    end(sys, insn)
}

fn fstpnce(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.store_st_no_check(st_i(insn));
    end(sys, insn)
}

fn fxch(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.exchange(st_i(insn));
    end(sys, insn)
}

/// FCMOVcc; `CC` is the condition as Jcc numbers it.
fn fcmov<const CC: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    let condition = sys.cpu.flags.condition(CC);
    sys.cpu.fpu.move_if(st_i(insn), condition);
    end(sys, insn)
}

#[rustfmt::skip]
pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Fld_m32fp => fld_m32, Fld_m64fp => fld_m64, Fld_m80fp => fld_m80, Fbld_m80bcd => fbld,
        Fild_m16int => fild::<u16>, Fild_m32int => fild::<u32>, Fild_m64int => fild::<u64>,
        Fld_sti => fld_sti,
        Fld1 | Fldl2t | Fldl2e | Fldpi | Fldlg2 | Fldln2 | Fldz => constant,
        Fst_m32fp => fst_m32::<0>, Fstp_m32fp => fst_m32::<1>,
        Fst_m64fp => fst_m64::<0>, Fstp_m64fp => fst_m64::<1>,
        Fstp_m80fp => fstp_m80, Fbstp_m80bcd => fbstp,
        Fist_m16int => fist::<u16, 0, false>, Fist_m32int => fist::<u32, 0, false>,
        Fistp_m16int => fist::<u16, 1, false>, Fistp_m32int => fist::<u32, 1, false>,
        Fistp_m64int => fist::<u64, 1, false>,
        Fisttp_m16int => fist::<u16, 1, true>, Fisttp_m32int => fist::<u32, 1, true>,
        Fisttp_m64int => fist::<u64, 1, true>,
        Fst_sti => fst_sti::<0>,
        Fstp_sti | Fstp_sti_DFD0 | Fstp_sti_DFD8 => fst_sti::<1>,
        Fstpnce_sti => fstpnce,
        Fxch_st0_sti | Fxch_st0_sti_DDC8 | Fxch_st0_sti_DFC8 => fxch,
        Fcmovb_st0_sti => fcmov::<2>, Fcmovnb_st0_sti => fcmov::<3>,
        Fcmove_st0_sti => fcmov::<4>, Fcmovne_st0_sti => fcmov::<5>,
        Fcmovbe_st0_sti => fcmov::<6>, Fcmovnbe_st0_sti => fcmov::<7>,
        Fcmovu_st0_sti => fcmov::<10>, Fcmovnu_st0_sti => fcmov::<11>,
        _ => return None,
    })
}
