//! Random instructions in random states, run by two CPUs that must agree.
//!
//! One of them, the *reference*, is an adapter ([`crate::against`]), such as the host's own CPU; the other is emu. Each
//! case is drawn from the seed and its number alone, so any case can be drawn again. What the two disagree about, beyond
//! what is undefined ([`crate::undefined`]) or known ([`known`]), is shrunk to the plainest case that still shows it, and
//! written as a hardware vector.

mod catalogue;
mod class;
mod draft;
mod draw;
pub mod known;
mod rng;
mod shrink;
pub mod text;
mod values;
pub mod vector;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Case, Comparison, Environment, Event, Outcome, Place, Target, TargetError, compare, undefined};
use catalogue::Catalogue;
pub use class::Class;
use draft::Draft;
use rng::Rng;

/// What to draw, and for how long.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Two runs with the same seed draw the same cases.
    pub seed: u64,
    /// The number of the first case.
    pub first: u64,
    /// Stop after this many cases.
    pub count: Option<u64>,
    /// Stop after this time.
    pub time: Option<Duration>,
    /// Draw these classes only; empty: all.
    pub only: Vec<Class>,
    /// Go on after the first difference, and report each instruction once.
    pub keep_going: bool,
}

/// The widths of code that both CPUs run, and the features that both have.
#[derive(Clone, Debug)]
pub struct Common {
    /// 32, 64 or both.
    pub bits: Vec<u32>,
    /// Names of `--cpu +NAME`.
    pub features: BTreeSet<String>,
}

/// A difference, shrunk.
#[derive(Debug)]
pub struct Finding {
    /// The number of the case that showed it.
    pub number: u64,
    /// The class that it was drawn from.
    pub class: Class,
    /// The width of its code.
    pub bits: u32,
    /// The case: what it starts from, and what the reference did.
    pub case: Case,
    /// What emu did.
    pub outcome: Outcome,
    /// Where they differ.
    pub comparison: Comparison,
    /// The same as a line of a vector file.
    pub vector: Value,
}

/// Counts of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cases that both ran.
    pub cases: u64,
    /// Those that agreed in every bit.
    pub strict: u64,
    /// Those that agreed in every bit that is defined.
    pub masked: u64,
    /// Those that differed in a way that is known.
    pub known: u64,
    /// Cases that one of the two could not run.
    pub skipped: u64,
}

/// What a run has found.
#[derive(Debug, Default)]
pub struct Report {
    /// By class.
    pub classes: BTreeMap<Class, Counts>,
    /// Known differences that were met: which, how often.
    pub known: BTreeMap<&'static str, u64>,
    /// Reasons why cases were skipped, and how often.
    pub skipped: BTreeMap<String, u64>,
    /// Failures of the adapter.
    pub failures: Vec<String>,
    /// Differences, each with its instruction once.
    pub findings: Vec<Finding>,
    /// Cases that differ, those included whose instruction has been reported already.
    pub differing: u64,
    /// The number of the next case: where a further run could go on.
    pub next: u64,
}

impl Report {
    /// The sums over all classes.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.classes.values().fold(Counts::default(), |a, b| Counts {
            cases: a.cases + b.cases,
            strict: a.strict + b.strict,
            masked: a.masked + b.masked,
            known: a.known + b.known,
            skipped: a.skipped + b.skipped,
        })
    }

    /// Nothing differed, nothing failed, and something was run.
    #[must_use]
    pub fn good(&self) -> bool {
        self.differing == 0 && self.failures.is_empty() && self.total().cases > 0
    }
}

/// How both CPUs did in one case.
struct Judged {
    case: Case,
    outcome: Outcome,
    comparison: Comparison,
    known: Option<&'static str>,
}

impl Judged {
    fn differs(&self) -> bool {
        !self.comparison.masked() && self.known.is_none()
    }
}

/// The two CPUs.
struct Pair<'a> {
    reference: &'a mut dyn Target,
    subject: &'a mut dyn Target,
    outcome: Outcome,
}

impl Pair<'_> {
    fn judge(&mut self, draft: &Draft, row: &Arc<str>, number: u64) -> Result<Judged, TargetError> {
        let mut case = draft.case(row, number);
        self.reference.run(&case, &mut self.outcome)?;
        let elsewhere = self.reference.strayed();
        adopt(&mut case, &self.outcome);
        if elsewhere {
            return Err(TargetError::Unsupported("it writes to memory that cases do not show".into()));
        }
        undefined::apply(&mut case);
        let mut outcome = Outcome::default();
        self.subject.run(&case, &mut outcome)?;
        let comparison = compare(&case, &outcome);
        let known =
            if comparison.masked() { None } else { known::known(&draft.decode(), &case, &outcome, &comparison) };
        Ok(Judged { case, outcome, comparison, known })
    }
}

/// Makes what the reference did what the case wants.
fn adopt(case: &mut Case, outcome: &Outcome) {
    let last = &mut case.last;
    last.clear();
    for place in outcome.state.places() {
        let value = outcome.state.value(place);
        if value == case.initial.value(place) {
            continue;
        }
        match place {
            Place::Reg(r) => last.set(r, outcome.state.get(r).unwrap_or(0)),
            Place::St(i) => last.set_st(i.into(), outcome.state.st(i.into()).unwrap_or_default()),
            Place::Ymm(i) => last.set_ymm(i.into(), outcome.state.ymm(i.into()).unwrap_or_default()),
            Place::Byte(_) => {}
        }
    }
    let changed = outcome.state.memory.iter().zip(&case.initial.memory).filter(|(new, old)| new != old);
    last.memory.extend(changed.map(|(new, _)| *new));
    case.exception = match outcome.event {
        Event::Exception(vector) => Some(vector),
        _ => None,
    };
}

/// Runs until the options say that it is enough. `progress` is told the report after every case, and may end the run by
/// returning false.
///
/// # Errors
/// [`TargetError::Broken`], if one of the two can't go on; what was found until then is in `report`.
pub fn run(
    options: &Options,
    common: &Common,
    reference: &mut dyn Target,
    subject: &mut dyn Target,
    report: &mut Report,
    progress: &mut dyn FnMut(&Report) -> bool,
) -> Result<(), TargetError> {
    let catalogues = catalogues(options, common)?;
    let deadline = options.time.map(|time| Instant::now() + time);
    let mut pair = Pair { reference, subject, outcome: Outcome::default() };
    let (row, mut seen): (Arc<str>, _) = ("fuzz".into(), BTreeSet::new());
    report.next = options.first;
    let last = options.count.map(|n| options.first.saturating_add(n));
    while last.is_none_or(|n| report.next < n) && deadline.is_none_or(|d| Instant::now() < d) {
        let number = report.next;
        let mut rng = Rng::new(options.seed, number);
        let (bits, catalogue) = &catalogues[rng.below(catalogues.len())];
        let drawn = draw::draw(catalogue, *bits, &mut rng);
        let (class, draft) = drawn.ok_or_else(|| TargetError::Broken("no instruction can be drawn".into()))?;
        report.next += 1;
        match pair.judge(&draft, &row, number) {
            Ok(judged) => count(report, class, &judged),
            Err(TargetError::Unsupported(why)) => {
                report.classes.entry(class).or_default().skipped += 1;
                *report.skipped.entry(why).or_default() += 1;
                continue;
            }
            Err(TargetError::Failed(why)) => {
                report.failures.push(why);
                continue;
            }
            Err(broken) => return Err(broken),
        }
        .then(|| examine(&mut pair, &draft, &row, number, class, &mut seen, report));
        if !progress(report) || report.differing > 0 && !options.keep_going {
            break;
        }
    }
    Ok(())
}

fn catalogues(options: &Options, common: &Common) -> Result<Vec<(u32, Catalogue)>, TargetError> {
    let make = |bits: u32| {
        let all = Catalogue::new(bits, |insn, class| {
            let wanted = options.only.is_empty() || options.only.contains(&class);
            let features = class::features(insn).unwrap_or_default();
            wanted && features.iter().all(|f| f.is_empty() || common.features.contains(*f))
        });
        (bits, all)
    };
    let list: Vec<_> = common.bits.iter().map(|bits| make(*bits)).filter(|(_, all)| all.len() > 0).collect();
    if list.is_empty() {
        return Err(TargetError::Broken("the two CPUs have no instruction of these classes in common".into()));
    }
    Ok(list)
}

/// Notes how a case went; true if it differs.
fn count(report: &mut Report, class: Class, judged: &Judged) -> bool {
    let counts = report.classes.entry(class).or_default();
    counts.cases += 1;
    counts.strict += u64::from(judged.comparison.strict());
    counts.masked += u64::from(judged.comparison.masked());
    if let Some(why) = judged.known {
        counts.known += 1;
        *report.known.entry(why).or_default() += 1;
    }
    report.differing += u64::from(judged.differs());
    judged.differs()
}

/// Shrinks a case that differs, unless its instruction has been reported.
fn examine(
    pair: &mut Pair<'_>,
    draft: &Draft,
    row: &Arc<str>,
    number: u64,
    class: Class,
    seen: &mut BTreeSet<(u32, u16)>,
    report: &mut Report,
) {
    if !seen.insert((draft.bits, draft.decode().code() as u16)) {
        return;
    }
    // The same instruction all the way: a shorter one could differ for another reason, or be none that is to be drawn.
    let mnemonic = draft.decode().mnemonic();
    let mut differs = |d: &Draft| {
        !d.code.is_empty() && d.decode().mnemonic() == mnemonic && pair.judge(d, row, number).is_ok_and(|j| j.differs())
    };
    let least = shrink::shrink(draft, &mut differs);
    let row: Arc<str> = least.text().into();
    // It differed a moment ago; should the adapter fail now, the case itself is still worth telling.
    match pair.judge(&least, &row, number) {
        Ok(Judged { case, outcome, comparison, .. }) => {
            let vector = vector::line(&least, &case);
            report.findings.push(Finding { number, class, bits: least.bits, case, outcome, comparison, vector });
        }
        Err(error) => report.failures.push(error.to_string()),
    }
}

/// The environments of some widths of code.
#[must_use]
pub fn bits_of(modes: &[Environment]) -> Vec<u32> {
    let has = |e: Environment| modes.contains(&e).then(|| e.bits());
    [has(Environment::Flat32), has(Environment::Flat64)].into_iter().flatten().collect()
}
