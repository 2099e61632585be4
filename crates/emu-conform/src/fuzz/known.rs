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
        "AMD: a conversion to an MMX register that raises #XM has made the x87 tags valid; Intel is not known",
    ),
    (
        tiny_transcendental,
        "x87 transcendentals: where the result is about to underflow, UE and PE go with the last bit",
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
    let narrow =
        d.case.exception.is_some() || d.silicon(Reg::Rip) <= 0xFFFF || d.silicon(Reg::Rip) == d.case.address() + 5;
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
    d.insn.mnemonic() == Mnemonic::Pause && silicon.0 as u32 == before.0 as u32 && silicon.1 as u32 == before.1 as u32
}

fn sha_unaligned(d: &Difference<'_>) -> bool {
    use Mnemonic as M;
    let sha = matches!(
        d.insn.mnemonic(),
        M::Sha1msg1 | M::Sha1msg2 | M::Sha1nexte | M::Sha1rnds4 | M::Sha256msg1 | M::Sha256msg2 | M::Sha256rnds2
    );
    sha && d.outcome.event == Event::Exception(13) && d.case.exception != Some(13)
}

/// Every 32-bit lane that differs is a NaN on both sides.
fn dot_product_of_nans(d: &Difference<'_>) -> bool {
    let nan = |v: u128, lane: u32| (v >> (32 * lane)) as u32 & 0x7FFF_FFFF > 0x7F80_0000;
    let lanes = |got: u128, want: u128| {
        (0..4).all(|lane| (got ^ want) >> (32 * lane) & 0xFFFF_FFFF == 0 || nan(got, lane) && nan(want, lane))
    };
    matches!(d.insn.mnemonic(), Mnemonic::Dpps | Mnemonic::Vdpps)
        && d.found.event.is_none()
        && d.found
            .differences
            .iter()
            .all(|x| matches!(x.place, Place::Ymm(_)) && lanes(x.got[0], x.want[0]) && lanes(x.got[1], x.want[1]))
}

fn transition_before_fault(d: &Difference<'_>) -> bool {
    let to_mmx = d.insn.op0_kind() == OpKind::Register && d.insn.op0_register().is_mm();
    let place = |p: Place| matches!(p, Place::Reg(Reg::Ftw | Reg::Fsw));
    to_mmx
        && d.case.exception == Some(19)
        && d.found.event.is_none()
        && d.found.differences.iter().all(|x| place(x.place))
}

fn tiny_transcendental(d: &Difference<'_>) -> bool {
    let flags = |x: &crate::Difference| x.place == Place::Reg(Reg::Fsw) && (x.got[0] ^ x.want[0]) & !0x230 == 0;
    let near_zero = (0..8).any(|n| d.case.last.st(n).is_some_and(|v| v.sign_exp & 0x7FFF <= 1));
    d.case.tolerance == Tolerance::OneUlp
        && d.found.event.is_none()
        && near_zero
        && d.found.differences.iter().all(|x| x.undefined || flags(x))
}
