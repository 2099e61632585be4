//! Differences between CPUs that are no error of either: each with what the makers say of it. docs/CONFORMANCE.md,
//! section "Fuzzing against silicon", tells how often each was met.
//!
//! emu's x86-64 models do as Intel's CPUs do. A rule here takes a case only if the other CPU did exactly what the rule
//! says, so that nothing else hides behind it.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind};

use crate::{Case, Comparison, Environment, Event, Outcome, Place, Reg, Tolerance};

/// One rule: whether it explains a difference, and the explanation.
type Rule = (fn(&Difference<'_>) -> bool, &'static str);

/// A case about which the two CPUs differ.
struct Difference<'a> {
    insn: &'a Instruction,
    case: &'a Case,
    outcome: &'a Outcome,
    found: &'a Comparison,
}

const RULES: &[Rule] = &[
    (
        near_branch_of_16_bits,
        "AMD: 66h makes a near branch of 64-bit code one of 16 bits; Intel ignores it [APM-3 1.2.3, SDM-2 JMP]",
    ),
    (prefetch_of_a_register, "AMD: #UD for 0F 0D with a register; Intel: NOP [APM-3 PREFETCHW]"),
    (pause_of_r8, "AMD: 90h with REX.B is XCHG with R8, with F3h before it too; Intel: PAUSE"),
    (sha_unaligned, "AMD: SHA instructions take unaligned memory; Intel: #GP [SDM-2 SHA256MSG1, type 4]"),
    (dot_product_of_nans, "DPPS and VDPPS: which of several NaNs is the result is the implementation's [SDM-2 DPPS]"),
    (
        transition_before_fault,
        "AMD: a conversion to an MMX register that raises #XM, and a MASKMOVQ that faults, have made the x87 tags valid; Intel is not known",
    ),
    (
        tiny_transcendental,
        "x87 transcendentals: where the result is about to underflow, UE and PE go with the last bit",
    ),
    (misaligned_mode, "AMD: MXCSR has bit 17, misaligned exception mask; elsewhere it is reserved, #GP [APM-1 4.2.2]"),
    (arpl_that_changes_nothing, "AMD: ARPL checks that its operand is writable only if it writes [SDM-2 ARPL: always]"),
    (
        wide_element_in_32_bits,
        "AMD: #UD for VPEXTRD and VPINSRD with VEX.W in 32-bit code; Intel ignores it there [SDM-2 2.3.5.2]",
    ),
    (
        masked_store_of_nothing,
        "MASKMOVQ and MASKMOVDQU with a mask of zeros: faults are the implementation's [SDM-2 MASKMOVQ]",
    ),
    (loop_by_prefix, "AMD: F3h makes LOOPNE, and F2h LOOPE, the other of the two; nobody documents it"),
];

/// Why a difference is none to report, if it is known.
#[must_use]
pub fn known(insn: &Instruction, case: &Case, outcome: &Outcome, found: &Comparison) -> Option<&'static str> {
    let d = Difference { insn, case, outcome, found };
    RULES.iter().find(|rule| rule.0(&d)).map(|rule| rule.1)
}

impl Difference<'_> {
    fn has_prefix(&self, byte: u8) -> bool {
        let is = |b: &u8| matches!(b, 0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3 | 0x40..=0x4F);
        self.case.code.iter().take_while(|b| is(b)).any(|b| *b == byte)
    }

    /// The other CPU's value of a register afterwards.
    fn silicon(&self, reg: Reg) -> u64 {
        self.case.last.get(reg).or(self.case.initial.get(reg)).unwrap_or(0)
    }

    /// All that differs is RIP.
    fn only_rip(&self) -> bool {
        self.found.event.is_none() && self.found.differences.iter().all(|d| d.place == Place::Reg(Reg::Rip))
    }
}

fn near_branch_of_16_bits(d: &Difference<'_>) -> bool {
    let branch = !matches!(d.insn.flow_control(), FlowControl::Next | FlowControl::Interrupt | FlowControl::Exception);
    // A displacement of 16 bits makes the instruction shorter.
    let shorter = d.case.address() + d.case.code.len() as u64 - 2;
    let narrow = d.case.exception.is_some() || d.silicon(Reg::Rip) <= 0xFFFF || d.silicon(Reg::Rip) == shorter;
    d.case.environment == Environment::Flat64 && d.has_prefix(0x66) && branch && narrow
}

fn prefetch_of_a_register(d: &Difference<'_>) -> bool {
    let reserved = matches!(
        d.insn.code(),
        Code::Reservednop_rm16_r16_0F0D | Code::Reservednop_rm32_r32_0F0D | Code::Reservednop_rm64_r64_0F0D
    );
    reserved && d.case.exception == Some(6) && d.outcome.event == Event::Retired
}

fn loop_by_prefix(d: &Difference<'_>) -> bool {
    let swapped = match d.insn.mnemonic() {
        Mnemonic::Loopne => d.has_prefix(0xF3),
        Mnemonic::Loope => d.has_prefix(0xF2),
        _ => false,
    };
    swapped && d.only_rip()
}

fn pause_of_r8(d: &Difference<'_>) -> bool {
    let silicon = (d.silicon(Reg::Rax), d.silicon(Reg::R8));
    let before = (d.case.initial.get(Reg::R8).unwrap_or(0), d.case.initial.get(Reg::Rax).unwrap_or(0));
    d.insn.mnemonic() == Mnemonic::Pause && silicon.0 as u16 == before.0 as u16 && silicon.1 as u16 == before.1 as u16
}

fn sha_unaligned(d: &Difference<'_>) -> bool {
    use Mnemonic as M;
    let sha = matches!(
        d.insn.mnemonic(),
        M::Sha1msg1 | M::Sha1msg2 | M::Sha1nexte | M::Sha1rnds4 | M::Sha256msg1 | M::Sha256msg2 | M::Sha256rnds2
    );
    sha && d.outcome.event == Event::Exception(13) && d.case.exception != Some(13)
}

/// Every lane that differs is a NaN on both sides.
fn dot_product_of_nans(d: &Difference<'_>) -> bool {
    let (bits, infinity) = match d.insn.mnemonic() {
        Mnemonic::Dpps | Mnemonic::Vdpps => (32, 0x7F80_0000),
        Mnemonic::Dppd | Mnemonic::Vdppd => (64, 0x7FF0_0000_0000_0000),
        _ => return false,
    };
    let lane = |v: u128, n: u32| v >> (bits * n) & (u128::MAX >> (128 - bits));
    let nan = |v: u128, n: u32| lane(v, n) & (u128::MAX >> (129 - bits)) > infinity;
    let lanes =
        |got: u128, want: u128| (0..128 / bits).all(|n| lane(got, n) == lane(want, n) || nan(got, n) && nan(want, n));
    d.found.event.is_none()
        && d.found
            .differences
            .iter()
            .all(|x| matches!(x.place, Place::Ymm(_)) && lanes(x.got[0], x.want[0]) && lanes(x.got[1], x.want[1]))
}

fn transition_before_fault(d: &Difference<'_>) -> bool {
    let to_mmx = d.insn.op0_kind() == OpKind::Register && d.insn.op0_register().is_mm() && d.case.exception == Some(19);
    let masked = d.insn.mnemonic() == Mnemonic::Maskmovq && d.case.exception.is_some();
    let place = |p: Place| matches!(p, Place::Reg(Reg::Ftw | Reg::Fsw) | Place::St(_));
    (to_mmx || masked) && d.found.event.is_none() && d.found.differences.iter().all(|x| place(x.place))
}

fn tiny_transcendental(d: &Difference<'_>) -> bool {
    let place = |p: Place| matches!(p, Place::Reg(Reg::Fsw) | Place::St(_));
    // A result that underflows unmasked has 6000h added to its exponent.
    let tiny = |v: crate::F80| matches!(v.sign_exp & 0x7FFF, 0 | 1 | 0x5FF0..=0x6001) && v.sig != 0;
    d.case.tolerance == Tolerance::OneUlp
        && d.found.event.is_none()
        && (0..8).any(|n| d.case.last.st(n).is_some_and(tiny))
        && d.found.differences.iter().all(|x| place(x.place))
}

fn wide_element_in_32_bits(d: &Difference<'_>) -> bool {
    let narrow = d.case.environment == Environment::Flat32 && d.case.exception == Some(6);
    narrow && matches!(d.insn.mnemonic(), Mnemonic::Vpextrd | Mnemonic::Vpinsrd)
}

fn masked_store_of_nothing(d: &Difference<'_>) -> bool {
    let masked = matches!(d.insn.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu);
    if !masked {
        return false;
    }
    let mask = match d.insn.op_register(d.insn.op_count() - 1) {
        r if r.is_mm() => {
            // MMn is physical register n; the registers of a case count from the top of the stack.
            let top = d.case.initial.get(Reg::Fsw).unwrap_or(0) as usize >> 11 & 7;
            u128::from(d.case.initial.st((r.number() + 8 - top) % 8).unwrap_or_default().sig) & 0x8080_8080_8080_8080
        }
        r => d.case.initial.ymm(r.number()).unwrap_or_default()[0] & 0x8080_8080_8080_8080_8080_8080_8080_8080,
    };
    mask == 0 && d.case.exception.is_some() && d.outcome.event == Event::Retired
}

fn misaligned_mode(d: &Difference<'_>) -> bool {
    let loads = matches!(d.insn.mnemonic(), Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr);
    loads && d.outcome.event == Event::Exception(13) && d.silicon(Reg::Mxcsr) >> 16 == 2
}

fn arpl_that_changes_nothing(d: &Difference<'_>) -> bool {
    d.insn.mnemonic() == Mnemonic::Arpl && d.outcome.event == Event::Exception(13) && d.case.exception != Some(13)
}
