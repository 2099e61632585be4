//! The fuzzer, with emu on both sides, and a fault planted in one.

use std::collections::BTreeSet;
use std::path::Path;

use emu_conform::fuzz::{Class, Common, Options, Report, run, vector};
use emu_conform::suite::Cases;
use emu_conform::suite::hwvec::Hwvec;
use emu_conform::{Case, EmuTarget, End, Event, Model, Outcome, Reg, State, Target, TargetError, compare};
use emu_core::cpu::model::{FEATURES, Kind};

fn emu() -> EmuTarget {
    EmuTarget::new(Model::new(Kind::X64V3))
}

fn common() -> Common {
    let model = Model::new(Kind::X64V3);
    let features = FEATURES.iter().filter(|f| model.has(f.0)).map(|f| f.1.to_owned()).collect();
    Common { bits: vec![32, 64], features }
}

/// emu, but ADC with a carry to add and SF after it inverts ZF.
struct Planted(EmuTarget);

impl Target for Planted {
    fn name(&self) -> String {
        "planted".into()
    }
    fn load(&mut self, case: &Case) -> Result<(), TargetError> {
        self.0.load(case)
    }
    fn step(&mut self, end: End) -> Result<Event, TargetError> {
        self.0.step(end)
    }
    fn read(&mut self, state: &mut State) -> Result<(), TargetError> {
        self.0.read(state)
    }
    fn run(&mut self, case: &Case, outcome: &mut Outcome) -> Result<(), TargetError> {
        self.0.run(case, outcome)?;
        let (before, after) = (case.initial.get(Reg::Rflags).unwrap_or(0), outcome.state.get(Reg::Rflags).unwrap_or(0));
        if case.name.contains("adc ") && before & 1 != 0 && after & 0x80 != 0 && outcome.event == Event::Retired {
            outcome.state.set(Reg::Rflags, after ^ 0x40);
        }
        Ok(())
    }
}

fn fuzz(options: &Options, reference: &mut dyn Target) -> Report {
    let mut report = Report::default();
    run(options, &common(), reference, &mut emu(), &mut report, &mut |_| true).expect("both CPUs run");
    report
}

#[test]
fn two_that_are_the_same_agree() {
    let report = fuzz(&Options { seed: 1, count: Some(30_000), keep_going: true, ..Options::default() }, &mut emu());
    let total = report.total();
    assert_eq!((total.strict, report.findings.len(), report.next), (total.cases, 0, 30_000));
    assert!(report.good() && total.cases > 29_000, "{total:?}");
    assert!(report.classes.len() >= 14, "{:?}", report.classes);
}

#[test]
fn a_planted_fault_is_found_and_shrunk() {
    let options =
        Options { seed: 5, count: Some(20_000), only: vec![Class::Alu], keep_going: true, ..Options::default() };
    let report = fuzz(&options, &mut Planted(emu()));
    assert!(report.findings.len() > 10, "ADC has many encodings: {}", report.findings.len());
    for found in &report.findings {
        let v = &found.vector;
        assert!(v["f"].as_str().is_some_and(|f| f.contains("adc ")), "{v}");
        // The carry to be added, and one register more than the usual ones, or one operand in memory.
        assert_eq!(v["i"]["fl"], 1, "{v}");
        let count = |key: &str| v["i"][key].as_object().map_or(0, |m| m.len());
        assert!(count("r") <= 3 && count("x") == 0, "{v}");
        let [difference] = &found.comparison.differences[..] else { panic!("{v}") };
        assert_eq!((difference.got[0] ^ difference.want[0]), 0x40, "{v}");
    }
    // The plainest of all: registers only.
    let plain = |v: &serde_json::Value| v["i"]["mem"].is_null() && v["b"].as_str().is_some_and(|b| b.len() <= 6);
    assert!(report.findings.iter().any(|f| plain(&f.vector)));
    replay(&report);
}

/// The findings as a file: emu fails in each case, the CPU that they come from in none.
fn replay(report: &Report) {
    for bits in [32, 64] {
        let lines: Vec<String> =
            report.findings.iter().filter(|f| f.bits == bits).map(|f| f.vector.to_string()).collect();
        let text = format!("{}\n{}\n", vector::header(bits, lines.len(), "planted", 5), lines.join("\n"));
        let mut cases = Hwvec::new(Path::new("found.jsonl"), text.into_bytes()).expect("a file of vectors");
        let (mut case, mut outcome, mut n) = (Case::default(), Outcome::default(), 0);
        while cases.next(&mut case).expect("a vector") {
            n += 1;
            emu().run(&case, &mut outcome).expect("emu runs it");
            assert!(!compare(&case, &outcome).masked(), "{}", case.row);
            case.name = case.row.to_string();
            Planted(emu()).run(&case, &mut outcome).expect("emu runs it");
            assert!(compare(&case, &outcome).strict(), "{}", case.row);
        }
        assert!(n == lines.len() && n > 3);
    }
}

#[test]
fn a_seed_draws_the_same_cases() {
    let vectors = |first, count| {
        let options = Options { seed: 9, first, count: Some(count), keep_going: true, ..Options::default() };
        let report = fuzz(&options, &mut Planted(emu()));
        report.findings.iter().map(|f| (f.number, f.vector.to_string())).collect::<BTreeSet<_>>()
    };
    let whole = vectors(0, 6000);
    assert!(whole == vectors(0, 6000) && !whole.is_empty());
    let number = whole.iter().next().expect("one").0;
    assert!(vectors(number, 1).is_subset(&whole), "a case can be drawn by its number alone");
    // The first difference ends a run that is not told to go on.
    let options = Options { seed: 9, count: Some(6000), ..Options::default() };
    let report = fuzz(&options, &mut Planted(emu()));
    assert_eq!((report.findings.len(), report.next), (1, number + 1));
}
