//! The opcode word of an instruction, as FOP keeps it [SDM-1 8.1.9].

use iced_x86::{Code, Instruction, OpKind, Register};

/// Low three bits of the first opcode byte and the whole of the ModRM byte; 0 for what leaves FOP alone.
pub(crate) fn opcode(insn: &Instruction) -> u16 {
    let fixed = fixed_bits(insn.code());
    if insn.op_count() > 0 && insn.op0_kind() == OpKind::Memory {
        return fixed | memory_bits(insn);
    }
    // The one operand that is not ST(0), if there is one, is in the low bits.
    let i = (0..insn.op_count()).map(|n| insn.op_register(n)).filter(|r| r.is_st()).map(|r| r.number()).max();
    fixed | i.unwrap_or(0) as u16
}

/// Mod and R/M of a memory operand.
fn memory_bits(insn: &Instruction) -> u16 {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    let displacement = match insn.memory_displ_size() {
        0 => 0,
        1 => 0x40,
        _ => 0x80,
    };
    if base.is_ip() {
        return 5;
    }
    if base.size() == 2 || index.size() == 2 {
        return displacement | rm16(base, index);
    }
    match (base, index) {
        (Register::None, Register::None) if insn.memory_displ_size() == 2 => 6,
        (Register::None, Register::None) => {
            if insn.memory_displ_size() == 8 {
                4
            } else {
                5
            }
        }
        (Register::None, _) => 4,
        (_, Register::None) if base.number() & 7 != 4 => displacement | (base.number() as u16 & 7),
        _ => displacement | 4,
    }
}

/// R/M of 16-bit addresses.
fn rm16(base: Register, index: Register) -> u16 {
    match (base, index) {
        (Register::BX, Register::SI) => 0,
        (Register::BX, Register::DI) => 1,
        (Register::BP, Register::SI) => 2,
        (Register::BP, Register::DI) => 3,
        (Register::SI, Register::None) => 4,
        (Register::DI, Register::None) => 5,
        (Register::BP, Register::None) => 6,
        _ => 7,
    }
}

#[rustfmt::skip]
fn fixed_bits(code: Code) -> u16 {
    use Code::*;
    match code {
        Fadd_m32fp => 0x000, Fmul_m32fp => 0x008, Fcom_m32fp => 0x010, Fcomp_m32fp => 0x018, Fsub_m32fp => 0x020,
        Fsubr_m32fp => 0x028, Fdiv_m32fp => 0x030, Fdivr_m32fp => 0x038, Fadd_st0_sti => 0x0c0,
        Fmul_st0_sti => 0x0c8, Fcom_st0_sti => 0x0d0, Fcomp_st0_sti => 0x0d8, Fsub_st0_sti => 0x0e0,
        Fsubr_st0_sti => 0x0e8, Fdiv_st0_sti => 0x0f0, Fdivr_st0_sti => 0x0f8, Fld_m32fp => 0x100,
        Fst_m32fp => 0x110, Fstp_m32fp => 0x118, Fld_sti => 0x1c0, Fxch_st0_sti => 0x1c8, Fnop => 0x1d0,
        Fstpnce_sti => 0x1d8, Fchs => 0x1e0, Fabs => 0x1e1, Ftst => 0x1e4, Fxam => 0x1e5, Fld1 => 0x1e8,
        Fldl2t => 0x1e9, Fldl2e => 0x1ea, Fldpi => 0x1eb, Fldlg2 => 0x1ec, Fldln2 => 0x1ed, Fldz => 0x1ee,
        F2xm1 => 0x1f0, Fyl2x => 0x1f1, Fptan => 0x1f2, Fpatan => 0x1f3, Fxtract => 0x1f4, Fprem1 => 0x1f5,
        Fdecstp => 0x1f6, Fincstp => 0x1f7, Fprem => 0x1f8, Fyl2xp1 => 0x1f9, Fsqrt => 0x1fa, Fsincos => 0x1fb,
        Frndint => 0x1fc, Fscale => 0x1fd, Fsin => 0x1fe, Fcos => 0x1ff, Fiadd_m32int => 0x200,
        Fimul_m32int => 0x208, Ficom_m32int => 0x210, Ficomp_m32int => 0x218, Fisub_m32int => 0x220,
        Fisubr_m32int => 0x228, Fidiv_m32int => 0x230, Fidivr_m32int => 0x238, Fcmovb_st0_sti => 0x2c0,
        Fcmove_st0_sti => 0x2c8, Fcmovbe_st0_sti => 0x2d0, Fcmovu_st0_sti => 0x2d8, Fucompp => 0x2e9,
        Fild_m32int => 0x300, Fisttp_m32int => 0x308, Fist_m32int => 0x310, Fistp_m32int => 0x318,
        Fld_m80fp => 0x328, Fstp_m80fp => 0x338, Fcmovnb_st0_sti => 0x3c0, Fcmovne_st0_sti => 0x3c8,
        Fcmovnbe_st0_sti => 0x3d0, Fcmovnu_st0_sti => 0x3d8, Fucomi_st0_sti => 0x3e8, Fcomi_st0_sti => 0x3f0,
        Fadd_m64fp => 0x400, Fmul_m64fp => 0x408, Fcom_m64fp => 0x410, Fcomp_m64fp => 0x418, Fsub_m64fp => 0x420,
        Fsubr_m64fp => 0x428, Fdiv_m64fp => 0x430, Fdivr_m64fp => 0x438, Fadd_sti_st0 => 0x4c0,
        Fmul_sti_st0 => 0x4c8, Fcom_st0_sti_DCD0 => 0x4d0, Fcomp_st0_sti_DCD8 => 0x4d8, Fsubr_sti_st0 => 0x4e0,
        Fsub_sti_st0 => 0x4e8, Fdivr_sti_st0 => 0x4f0, Fdiv_sti_st0 => 0x4f8, Fld_m64fp => 0x500,
        Fisttp_m64int => 0x508, Fst_m64fp => 0x510, Fstp_m64fp => 0x518, Ffree_sti => 0x5c0,
        Fxch_st0_sti_DDC8 => 0x5c8, Fst_sti => 0x5d0, Fstp_sti => 0x5d8, Fucom_st0_sti => 0x5e0,
        Fucomp_st0_sti => 0x5e8, Fiadd_m16int => 0x600, Fimul_m16int => 0x608, Ficom_m16int => 0x610,
        Ficomp_m16int => 0x618, Fisub_m16int => 0x620, Fisubr_m16int => 0x628, Fidiv_m16int => 0x630,
        Fidivr_m16int => 0x638, Faddp_sti_st0 => 0x6c0, Fmulp_sti_st0 => 0x6c8, Fcomp_st0_sti_DED0 => 0x6d0,
        Fcompp => 0x6d9, Fsubrp_sti_st0 => 0x6e0, Fsubp_sti_st0 => 0x6e8, Fdivrp_sti_st0 => 0x6f0,
        Fdivp_sti_st0 => 0x6f8, Fild_m16int => 0x700, Fisttp_m16int => 0x708, Fist_m16int => 0x710,
        Fistp_m16int => 0x718, Fbld_m80bcd => 0x720, Fild_m64int => 0x728, Fbstp_m80bcd => 0x730,
        Fistp_m64int => 0x738, Ffreep_sti => 0x7c0, Fxch_st0_sti_DFC8 => 0x7c8, Fstp_sti_DFD0 => 0x7d0,
        Fstp_sti_DFD8 => 0x7d8, Fucomip_st0_sti => 0x7e8, Fcomip_st0_sti => 0x7f0,
        _ => 0,
    }
}
