//! The shared samples through the whole runner: every capture of a real CPU that is at hand, with the figures that must
//! not fall. Without the shared folder (EMU_SHARED) there is nothing to run, which is said.

use std::path::{Path, PathBuf};

use emu_conform::report::{Report, Shard, SuiteReport, Tally, basis_points, merge};
use emu_conform::run::{Options, run};
use emu_conform::suite::find;
use emu_conform::{EmuTarget, Model, Target, TargetError};

fn shared(path: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("EMU_SHARED").map_or_else(default, PathBuf::from).join("conformance").join(path);
    if !path.exists() {
        println!("SKIPPED: no {}", path.display());
    }
    path.exists().then_some(path)
}

fn fast(model: Model) -> Result<Box<dyn Target>, TargetError> {
    Ok(Box::new(EmuTarget::new(model)))
}

fn decoded(model: Model) -> Result<Box<dyn Target>, TargetError> {
    Ok(Box::new(EmuTarget::new(model).without_fast_handlers()))
}

type Make = fn(Model) -> Result<Box<dyn Target>, TargetError>;

fn report_of(paths: &[PathBuf], shard: Option<Shard>, jobs: usize, make: Make) -> Report {
    let mut problems = Vec::new();
    let suites = find(paths, &mut problems);
    assert_eq!(problems, []);
    let make_target = make;
    let options = Options {
        model: None,
        shard,
        failures: 2,
        jobs,
        seconds: None,
        reference: None,
        target_name: "emu".into(),
        make_target: &make_target,
    };
    run(&suites, &options, &())
}

/// Checks a suite's figures: cases, and strict ones of 10,000; masked must be all.
fn check(suite: &SuiteReport, cases: u64, strict: u64) {
    let t = suite.tally();
    println!("{}: {t:?}", suite.name);
    let first = suite.rows.iter().find(|r| !r.tally.passes()).map(|r| (&r.name, &r.failures));
    assert_eq!((t.cases, t.masked, t.skipped), (cases, cases, 0), "{}: {first:#?}", suite.name);
    assert!(
        basis_points(t.strict, t.cases) >= strict,
        "{}: fewer cases agree strictly than did before: {t:?}",
        suite.name
    );
}

#[test]
fn single_steps() {
    let Some(folder) = shared("sst") else { return };
    let report = report_of(&[folder], None, 2, fast);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for suite in &report.suites {
        match suite.name.as_str() {
            "8086" => check(suite, 38_640, 10_000),
            "80286" => check(suite, 81_250, 9_931),
            "80386_partial" => check(suite, 250, 10_000),
            other => panic!("nobody knows what {other} must give"),
        }
    }
    assert_eq!(report.suites.len(), 3);
}

fn hardware_vectors(make: Make) {
    let Some(folder) = shared("hwvec") else { return };
    let report = report_of(&[folder], None, 2, make);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let known =
        [("alu32", 24_672), ("alu64", 32_182), ("avx", 12_708), ("mmx", 1_994), ("sse", 12_882), ("x87", 7_076)];
    assert_eq!(report.suites.len(), known.len());
    for (suite, (name, cases)) in report.suites.iter().zip(known) {
        assert_eq!(suite.name, name);
        check(suite, cases, if name == "x87" { 9_949 } else { 10_000 });
        if name == "x87" {
            // Transcendentals: within one unit is what the masked column says; 97.5 % are the silicon's very bits.
            let near = suite.rows.iter().filter(|r| r.masks.iter().any(|m| m.contains("one unit")));
            let sum = near.fold(Tally::default(), |mut sum, r| {
                sum.add(r.tally);
                sum
            });
            assert!(sum.cases > 1_000 && sum.strict * 1_000 >= sum.cases * 975, "{sum:?}");
        }
    }
}

#[test]
fn user_code() {
    hardware_vectors(fast);
}

/// The fast handlers and the decoded forms must both be right.
#[test]
fn user_code_off_the_fast_path() {
    hardware_vectors(decoded);
}

/// However a run is cut up, and on however many threads it runs, its report is the same.
#[test]
fn shards_make_the_whole() {
    let Some(folder) = shared("sst/80286") else { return };
    let files: Vec<PathBuf> =
        ["D0.4", "C1.7", "F6.6", "00", "A4"].iter().map(|n| folder.join(format!("{n}.MOO.gz"))).collect();
    let whole = report_of(&files, None, 1, fast);
    assert_eq!(whole, report_of(&files, None, 3, fast));
    let shards = |count: u32| -> Vec<(String, Report)> {
        (1..=count)
            .map(|i| (format!("{i}.json"), report_of(&files, Some(Shard { index: i, count }), 2, fast)))
            .collect()
    };
    let three = shards(3);
    assert!(three.iter().all(|(_, r)| (300..550).contains(&r.tally().cases)), "they are about equal");
    assert_eq!(merge(three.clone(), 2), Ok(whole.clone()));
    // As JSON and back.
    let again = |(name, r): (String, Report)| (name, Report::from_json(&r.to_json()).unwrap());
    assert_eq!(merge(three.clone().into_iter().map(again).collect(), 2), Ok(whole.clone()));

    let refused = |shards: Vec<(String, Report)>| merge(shards, 2).unwrap_err();
    assert_eq!(refused(three[..2].to_vec()), "shard 3 of 3 missing");
    assert_eq!(refused([&three[..], &three[1..2]].concat()), "shard 2/3 is there twice: 2.json and 2.json");
    assert!(refused(vec![("w".into(), whole)]).contains("w is no shard"));
    assert!(refused(vec![three[0].clone(), shards(2)[1].clone()]).contains("is one of 3 shards"));
    let mut other = three.clone();
    other[1].1.suites[0].digest = "0".into();
    assert!(refused(other).contains("ran different files of 80286"));
    let mut other = three.clone();
    other[2].1.suites[0].model = "8086".into();
    assert!(refused(other).contains("differ in their model for 80286"));
    assert_eq!(refused(Vec::new()), "there is no report to merge");
}
