//! Comparing what a target did with what a case wants.

use iced_x86::{Decoder, DecoderOptions, OpKind, Register};

use crate::{Case, End, Environment, Event, F80, Outcome, Place, Reg, Tolerance};

/// A place that holds another value than the case wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// What the target has there: 256 bits, low half first.
    pub got: [u128; 2],
    /// What the case wants.
    pub want: [u128; 2],
    /// The difference is one of undefined bits only.
    pub undefined: bool,
}

/// How an outcome agrees with its case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The case ended otherwise than it should: what was wanted, and what came.
    pub event: Option<(Event, Event)>,
    /// Places that differ; those in undefined bits only too.
    pub differences: Vec<Difference>,
    /// Memory was written that the case does not mention. [`compare`] can't know; who asked [`crate::Target::strayed`] does.
    pub strayed: bool,
}

impl Comparison {
    /// Every bit is as the case says.
    #[must_use]
    pub fn strict(&self) -> bool {
        self.event.is_none() && !self.strayed && self.differences.is_empty()
    }

    /// Every bit that is defined is as the case says.
    #[must_use]
    pub fn masked(&self) -> bool {
        self.event.is_none() && !self.strayed && self.differences.iter().all(|d| d.undefined)
    }
}

/// Compares the outcome of a case with the case. `outcome.state` holds what [`crate::Target::run`] reads back: every
/// register that the case names, and its memory's bytes in the case's order, those of `initial` first.
#[must_use]
pub fn compare(case: &Case, outcome: &Outcome) -> Comparison {
    let want = expected_event(case);
    let event = (want != outcome.event).then_some((want, outcome.event));
    let mut found = Comparison { event, ..Comparison::default() };
    registers(case, outcome, &mut found.differences);
    memory(case, outcome, &mut found.differences);
    if !found.differences.is_empty() {
        forgive(case, &mut found.differences);
    }
    found
}

/// How the case should end.
fn expected_event(case: &Case) -> Event {
    match (case.environment, case.exception, case.end) {
        (Environment::Flat32 | Environment::Flat64, Some(vector), _) => Event::Exception(vector),
        (_, _, End::Halt) => Event::Halted,
        (_, _, End::Step) => Event::Retired,
    }
}

/// The bits of `place` that the case compares at all.
fn spoken_of(case: &Case, place: Place) -> u128 {
    match place {
        Place::Reg(Reg::Rflags) => case.status.into(),
        Place::Byte(at) => pushed_bits(case, at, case.status).into(),
        _ => u128::MAX,
    }
}

/// The bits of `flags` that the byte at `at` holds, if FLAGS were pushed there; else all.
fn pushed_bits(case: &Case, at: u64, flags: u64) -> u8 {
    match case.pushed_flags.map(|pushed| at.wrapping_sub(pushed)) {
        Some(0) => flags as u8,
        Some(1) => (flags >> 8) as u8,
        _ => 0xFF,
    }
}

fn note(case: &Case, place: Place, got: [u128; 2], want: [u128; 2], differences: &mut Vec<Difference>) {
    let bits = spoken_of(case, place);
    if (got[0] ^ want[0]) & bits != 0 || got[1] != want[1] {
        let low = |v: [u128; 2]| [v[0] & bits, v[1]];
        differences.push(Difference { place, got: low(got), want: low(want), undefined: false });
    }
}

fn registers(case: &Case, outcome: &Outcome, differences: &mut Vec<Difference>) {
    for place in outcome.state.places() {
        let want = case.last.value(place).or_else(|| case.initial.value(place));
        if let (Some(got), Some(want)) = (outcome.state.value(place), want) {
            note(case, place, got, want, differences);
        }
    }
}

fn memory(case: &Case, outcome: &Outcome, differences: &mut Vec<Difference>) {
    let (initial, last) = (&case.initial.memory, &case.last.memory);
    for ((at, got), (_, want)) in outcome.state.memory.iter().zip(initial.iter().chain(last)) {
        if got == want {
            // An address of `initial` that should have changed stands in `last` too.
            continue;
        }
        let Some(want) = case.last.byte(*at).or_else(|| case.initial.byte(*at)) else { continue };
        let place = Place::Byte(*at);
        if differences.iter().all(|d| d.place != place) {
            note(case, place, [(*got).into(), 0], [want.into(), 0], differences);
        }
    }
}

/// Finds out which differences are ones of undefined bits only.
fn forgive(case: &Case, differences: &mut [Difference]) {
    let destination = case.undefined_destination.as_ref().and_then(|_| destination(case));
    for d in differences {
        let undefined = match d.place {
            Place::Reg(Reg::Fsw) => case.undefined(Reg::Fsw) | rounding_bit(case),
            Place::Reg(reg) => case.undefined(reg),
            Place::Byte(at) => (!pushed_bits(case, at, !case.undefined(Reg::Rflags))).into(),
            Place::St(_) | Place::Ymm(_) => 0,
        };
        let defined = (d.got[0] ^ d.want[0]) & !u128::from(undefined) | (d.got[1] ^ d.want[1]);
        d.undefined = defined == 0 || tolerates(case.tolerance, d) || destination.is_some_and(|p| covers(p, d.place));
    }
}

/// C1 tells how a result was rounded, and goes with it.
fn rounding_bit(case: &Case) -> u64 {
    if case.tolerance == Tolerance::OneUlp { 0x200 } else { 0 }
}

fn tolerates(tolerance: Tolerance, d: &Difference) -> bool {
    match (tolerance, d.place) {
        (Tolerance::Approximate, Place::Ymm(_) | Place::Byte(_)) => true,
        (Tolerance::OneUlp, Place::St(_)) => neighbours(d.got[0], d.want[0]),
        _ => false,
    }
}

/// Whether two x87 values are the same or next to each other.
fn neighbours(a: u128, b: u128) -> bool {
    let f80 = |v: u128| F80::new((v >> 64) as u16, v as u64);
    let (a, b) = (f80(a), f80(b));
    // Sign, exponent and fraction as one integer: the integer bit follows from the exponent.
    let ordered = |v: F80| (u128::from(v.sign_exp) << 63) + u128::from(v.sig & !(1 << 63));
    ordered(a).abs_diff(ordered(b)) <= 1
}

/// Where the instruction's first operand is; a byte stands for all memory.
fn destination(case: &Case) -> Option<Place> {
    let mut decoder = Decoder::new(case.environment.bits(), &case.code, DecoderOptions::NONE);
    let insn = decoder.decode();
    match insn.op0_kind() {
        OpKind::Register => {
            let full = insn.op0_register().full_register();
            let number = (full as usize).checked_sub(Register::RAX as usize).filter(|n| *n < 16)?;
            Some(Place::Reg(Reg::general(number)))
        }
        OpKind::Memory => Some(Place::Byte(0)),
        _ => None,
    }
}

fn covers(destination: Place, place: Place) -> bool {
    match (destination, place) {
        (Place::Byte(_), Place::Byte(_)) => true,
        (d, p) => d == p,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mask, MaskSource, target::ask};

    fn case() -> Case {
        let mut case = Case::new(Environment::Flat64, End::Step);
        case.initial.set(Reg::Rax, 5);
        case.initial.set(Reg::Rflags, 0x46);
        case.initial.set_bytes(0x100, &[1, 2]);
        case.last.set(Reg::Rax, 6);
        case.last.set_bytes(0x101, &[3]);
        case
    }

    /// What a target that does as the case says would answer.
    fn right(case: &Case) -> Outcome {
        let mut o = Outcome { event: Event::Retired, ..Outcome::default() };
        ask(case, &mut o.state);
        for place in o.state.places() {
            let value = case.last.value(place).or(case.initial.value(place)).unwrap();
            match place {
                Place::Reg(r) => o.state.set(r, value[0] as u64),
                Place::St(i) => o.state.set_st(i.into(), F80::new((value[0] >> 64) as u16, value[0] as u64)),
                Place::Ymm(i) => o.state.set_ymm(i.into(), value),
                Place::Byte(_) => {}
            }
        }
        o.state.memory =
            o.state.memory.iter().map(|b| (b.0, case.last.byte(b.0).or(case.initial.byte(b.0)).unwrap())).collect();
        o
    }

    #[test]
    fn every_place_counts() {
        let case = case();
        assert!(compare(&case, &right(&case)).strict());
        let mut wrong = right(&case);
        wrong.state.set(Reg::Rax, 5);
        assert_eq!(compare(&case, &wrong).differences[0].place, Place::Reg(Reg::Rax));
        for i in 0..3 {
            let mut wrong = right(&case);
            wrong.state.memory[i].1 ^= 0x80;
            let found = compare(&case, &wrong);
            assert_eq!(found.differences.len(), 1, "{i}");
            assert!(!found.masked());
        }
        let wrong = Outcome { event: Event::Exception(6), ..right(&case) };
        assert_eq!(compare(&case, &wrong).event, Some((Event::Retired, Event::Exception(6))));
    }

    #[test]
    fn masks_forgive_their_bits_only() {
        let mut case = case();
        case.masks.push(Mask { reg: Reg::Rflags, undefined: 0x10, source: MaskSource::Ours("test") });
        case.pushed_flags = Some(0x100);
        let mut wrong = right(&case);
        wrong.state.set(Reg::Rflags, 0x56);
        wrong.state.memory[0].1 ^= 0x10;
        let found = compare(&case, &wrong);
        assert!(found.masked() && !found.strict(), "{found:?}");
        wrong.state.set(Reg::Rflags, 0x57);
        assert!(!compare(&case, &wrong).masked());
        // Bits that the case does not speak of are no difference at all, in pushed flags neither.
        let mut other = right(&case);
        other.state.set(Reg::Rflags, 0x46 | 0x2 | 0x1000);
        other.state.memory[1].1 ^= 0xF0;
        assert!(compare(&case, &other).strict());
    }

    #[test]
    fn undefined_destinations_are_the_first_operand_only() {
        let mut case = case();
        case.undefined_destination = Some(MaskSource::Ours("test"));
        let mut wrong = right(&case);
        wrong.state.set(Reg::Rax, 0x77);
        case.code = vec![0x0F, 0xBC, 0xC3]; // BSF EAX, EBX
        assert!(compare(&case, &wrong).masked());
        case.code = vec![0x0F, 0xBC, 0xD8]; // BSF EBX, EAX
        assert!(!compare(&case, &wrong).masked());
    }

    #[test]
    fn tolerance_is_one_unit() {
        let mut case = case();
        case.initial.set_st(0, F80::ONE);
        case.initial.set(Reg::Fsw, 0);
        case.tolerance = Tolerance::OneUlp;
        let mut near = right(&case);
        near.state.set_st(0, F80::new(0x3FFE, u64::MAX));
        near.state.set(Reg::Fsw, 0x200);
        assert!(compare(&case, &near).masked() && !compare(&case, &near).strict());
        near.state.set_st(0, F80::new(0x3FFE, u64::MAX - 1));
        assert!(!compare(&case, &near).masked());
    }
}
