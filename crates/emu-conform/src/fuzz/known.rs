//! Differences between CPUs that are no error of either: each with what the makers say of it. docs/CONFORMANCE.md,
//! section "Fuzzing against silicon", tells how often each was met.
//!
//! emu's x86-64 models do as Intel's CPUs do. A rule here takes a case only if the other CPU did exactly what the rule
//! says, so that nothing else hides behind it.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic};

use crate::{Case, Comparison, Environment, Event, Outcome, Place, Reg};

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
