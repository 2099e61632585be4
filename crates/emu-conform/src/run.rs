//! Running suites: on all cores, with the same report whatever their number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use emu_core::cpu::Model;
use emu_core::cpu::model::{FEATURES, MODELS};

use crate::hash::{combine, digest, stable_hash};
use crate::report::{Failure, Report, Row, Shard, SuiteReport, Tally, VERSION, add_rows, keep_first};
use crate::suite::{Cases, Format, Suite, SuiteCpu, SuiteError, hwvec::Hwvec, json::Json, moo::Moo, stem, unpack};
use crate::{Case, MaskSource, Outcome, Reg, Target, TargetError, Tolerance, compare, program, undefined};

/// Makes a CPU under test of a model; each thread has its own.
pub type MakeTarget<'a> = dyn Fn(Model) -> Result<Box<dyn Target>, TargetError> + Sync + 'a;

/// How to run.
pub struct Options<'a> {
    /// The model, in place of that which a suite is for.
    pub model: Option<Model>,
    /// The part of the cases to run.
    pub shard: Option<Shard>,
    /// Failing cases that a row keeps.
    pub failures: usize,
    /// Threads.
    pub jobs: usize,
    /// Seconds of guest time that a test kernel may take, in place of what its list says.
    pub seconds: Option<u64>,
    /// What ROMs print is compared with this file, in place of the one beside them.
    pub reference: Option<PathBuf>,
    /// What the CPU under test is called.
    pub target_name: String,
    /// Makes it.
    pub make_target: &'a MakeTarget<'a>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} threads, {:?}, {:?}", self.jobs, self.model, self.shard)
    }
}

/// Who wants to know how far it has come. Called from any thread.
pub trait Progress: Sync {
    /// So many files there are.
    fn begin(&self, files: usize);
    /// Another file is done.
    fn file_done(&self);
    /// More cases have run.
    fn cases(&self, cases: u64, failed: u64);
}

/// Nobody wants to know.
impl Progress for () {
    fn begin(&self, _files: usize) {}
    fn file_done(&self) {}
    fn cases(&self, _cases: u64, _failed: u64) {}
}

/// What came of a file.
#[derive(Default)]
struct FileReport {
    rows: Vec<Row>,
    cpu: Option<(String, String, Option<String>)>,
    digest: u64,
    problems: Vec<SuiteError>,
}

/// Runs all cases of the suites.
#[must_use]
pub fn run(suites: &[Suite], options: &Options<'_>, progress: &dyn Progress) -> Report {
    let units: Vec<(&Suite, usize)> = suites.iter().flat_map(|s| (0..s.files.len()).map(move |n| (s, n))).collect();
    let results: Vec<Mutex<FileReport>> = units.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    progress.begin(units.len());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, units.len().max(1)) {
            scope.spawn(|| {
                let mut worker = Worker { options, progress, targets: Vec::new() };
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((suite, n)) = units.get(at) else { break };
                    let report = worker.file(suite, *n);
                    if let Ok(mut slot) = results[at].lock() {
                        *slot = report;
                    }
                    progress.file_done();
                }
            });
        }
    });
    let mut results = results.into_iter().map(|m| m.into_inner().unwrap_or_default());
    let mut report = Report {
        version: VERSION,
        tool: format!("emu {}", env!("CARGO_PKG_VERSION")),
        target: options.target_name.clone(),
        shard: options.shard,
        ..Report::default()
    };
    for suite in suites {
        let files: Vec<FileReport> = results.by_ref().take(suite.files.len()).collect();
        report.problems.extend(files.iter().flat_map(|f| f.problems.iter().map(ToString::to_string)));
        report.suites.push(suite_report(suite, files, options.failures));
    }
    report
}

fn suite_report(suite: &Suite, files: Vec<FileReport>, failures: usize) -> SuiteReport {
    let digest = files.iter().fold(stable_hash(suite.name.as_bytes()), |h, f| combine(h, f.digest));
    let (cpu, mut model, note) = files.iter().find_map(|f| f.cpu.clone()).unwrap_or_default();
    if files.iter().any(|f| f.cpu.as_ref().is_some_and(|c| c.1 != model)) {
        model += " and others";
    }
    let mut rows = BTreeMap::new();
    files.into_iter().for_each(|f| add_rows(&mut rows, f.rows, failures));
    SuiteReport {
        name: suite.name.clone(),
        format: suite.format.name().to_owned(),
        cpu,
        model,
        note,
        digest: format!("{digest:016x}"),
        rows: rows.into_values().collect(),
    }
}

/// A model in the words of the command line: `x86-64-v3,+adx`.
#[must_use]
pub fn model_name(model: &Model) -> String {
    let plain = Model::new(model.kind);
    let mut name = MODELS.iter().find(|m| m.1 == model.kind).map_or("?", |m| m.0).to_owned();
    for (feature, text) in FEATURES.iter().filter(|(f, _)| plain.has(*f) != model.has(*f)) {
        name += if model.has(*feature) { ",+" } else { ",-" };
        name += text;
    }
    name
}

/// A thread with its CPUs, which are kept from file to file.
struct Worker<'a> {
    options: &'a Options<'a>,
    progress: &'a dyn Progress,
    targets: Vec<(Model, Box<dyn Target>)>,
}

impl Worker<'_> {
    fn file(&mut self, suite: &Suite, n: usize) -> FileReport {
        let mut report = FileReport::default();
        let path = &suite.files[n];
        let outcome = match suite.format {
            Format::Kernels | Format::Rom => self.run_program(suite, n, &mut report),
            _ => self.run_file(suite, path, &mut report),
        };
        if let Err(e) = outcome {
            report.problems.push(e);
        }
        report
    }

    /// Runs a program on a whole machine: a single case, as far as shards are concerned.
    fn run_program(&mut self, suite: &Suite, n: usize, report: &mut FileReport) -> Result<(), SuiteError> {
        let (path, kernel) = (&suite.files[n], suite.kernels.get(n));
        let name = kernel.map_or_else(|| stem(path), |k| k.name.clone());
        let id = stable_hash(format!("{}/{name}", suite.format.name()).as_bytes());
        let data = if path.exists() || kernel.is_none() { unpack(path)? } else { Vec::new() };
        report.digest = combine(digest(&data), id);
        if self.options.shard.is_some_and(|s| !s.holds(id)) {
            return Ok(());
        }
        let options = self.options;
        let done = match kernel {
            Some(kernel) => program::kernel::run(kernel, options.model, options.seconds, options.failures)?,
            None => program::rom::run(path, &data, options.model, options.reference.as_deref())?,
        };
        for row in &done.rows {
            self.progress.cases(row.tally.cases, row.tally.cases - row.tally.masked);
        }
        report.cpu = Some((String::new(), model_name(&done.model), None));
        report.rows = done.rows;
        Ok(())
    }

    fn run_file(&mut self, suite: &Suite, path: &Path, report: &mut FileReport) -> Result<(), SuiteError> {
        let data = unpack(path)?;
        report.digest = digest(&data);
        let (mut cases, cpu) = open(suite, path, data, self.options.model)?;
        let model = self.options.model.unwrap_or(cpu.model);
        report.cpu = Some((cpu.name.to_owned(), model_name(&model), cpu.note.map(str::to_owned)));
        let target = self.target(model).map_err(|e| SuiteError::new(path, e.to_string()))?;
        let mut tallies =
            Tallies::new(self.options.failures, suite.metadata.is_none() && suite.format != Format::Hwvec);
        let id = stable_hash(format!("{}/{}", suite.format.name(), stem(path)).as_bytes());
        let (shard, progress) = (self.options.shard, self.progress);
        let target = &mut self.targets[target].1;
        let ended = run_cases(cases.as_mut(), target.as_mut(), shard, id, &mut tallies, progress, false);
        if target.strayed() && ended.is_ok() {
            // Some case wrote where it should not. Which, is found by looking after each.
            let (mut again, _) = open(suite, path, unpack(path)?, self.options.model)?;
            tallies = Tallies::new(tallies.limit, tallies.ours);
            run_cases(again.as_mut(), target.as_mut(), shard, id, &mut tallies, &(), true)?;
        }
        if let Some(what) = tallies.unanswered_in_words() {
            report.problems.push(SuiteError::new(path, what));
        }
        report.rows = tallies.rows.into_iter().map(RowTally::finish).collect();
        ended
    }

    /// The number of this thread's CPU of a model, made if need be.
    fn target(&mut self, model: Model) -> Result<usize, TargetError> {
        if let Some(n) = self.targets.iter().position(|t| t.0 == model) {
            return Ok(n);
        }
        self.targets.push((model, (self.options.make_target)(model)?));
        Ok(self.targets.len() - 1)
    }
}

/// A reader of the file, and the CPU that its cases are for.
fn open(
    suite: &Suite,
    path: &Path,
    data: Vec<u8>,
    model: Option<Model>,
) -> Result<(Box<dyn Cases>, SuiteCpu), SuiteError> {
    let row = stem(path);
    let masks = suite.metadata.as_ref().map(|m| m.masks(&row)).unwrap_or_default();
    match suite.format {
        Format::Kernels | Format::Rom => Err(SuiteError::new(path, "it holds a program, and no cases")),
        Format::Hwvec => Ok((Box::new(Hwvec::new(path, data)?), SuiteCpu::ice_lake())),
        Format::Moo => {
            let mut moo = Moo::new(path, data, &row, masks)?;
            let id = moo.cpu().to_owned();
            let cpu = SuiteCpu::by_id(&id).or_else(|| model.and_then(|_| suite.cpu()));
            let unknown = || SuiteError::at(path, 16, format!("CPU id {id:?} is not known; name a model with --cpu"));
            let cpu = cpu.or_else(|| model.map(SuiteCpu::of_model)).ok_or_else(unknown)?;
            moo.set_halts(cpu.halts);
            Ok((Box::new(moo), cpu))
        }
        Format::Json => {
            let cpu = suite.cpu().or_else(|| model.map(SuiteCpu::of_model));
            let unknown = || {
                let named = suite.metadata.as_ref().and_then(|m| m.cpu.as_ref());
                let what = named
                    .map_or("neither metadata.json nor the path tells which CPU this is".to_owned(), |id| {
                        format!("CPU id {id:?} of metadata.json is not known")
                    });
                SuiteError::new(path, what + "; name a model with --cpu")
            };
            let cpu = cpu.ok_or_else(unknown)?;
            Ok((Box::new(Json::new(path, data, &row, masks, cpu.halts)?), cpu))
        }
    }
}

/// Runs the cases of a file that belong to the shard.
fn run_cases(
    cases: &mut dyn Cases,
    target: &mut dyn Target,
    shard: Option<Shard>,
    id: u64,
    tallies: &mut Tallies,
    progress: &dyn Progress,
    look_for_strays: bool,
) -> Result<(), SuiteError> {
    let (mut case, mut outcome, mut ordinal) = (Case::default(), Outcome::default(), 0);
    let (mut told, mut ran, mut failed) = ((0, 0), 0, 0);
    while cases.next(&mut case)? {
        ordinal += 1;
        if shard.is_some_and(|s| !s.holds(combine(id, ordinal))) {
            tallies.row(&case); // so that every shard names the row by the same case
            continue;
        }
        match target.run(&case, &mut outcome) {
            Ok(()) => {
                let strayed = look_for_strays && target.strayed();
                failed += u64::from(!tallies.judge(&mut case, &outcome, strayed));
            }
            Err(TargetError::Unsupported(why)) => tallies.skip(&case, why),
            Err(TargetError::Failed(why)) => {
                failed += 1;
                tallies.unanswered(&case, why);
            }
            Err(TargetError::Broken(why)) => return Err(cases.error_here(format!("case {}: {why}", case.index))),
        }
        ran += 1;
        if ran - told.0 == 1024 {
            progress.cases(ran - told.0, failed - told.1);
            told = (ran, failed);
        }
    }
    progress.cases(ran - told.0, failed - told.1);
    Ok(())
}

/// Results by row, while they come.
struct Tallies {
    rows: Vec<RowTally>,
    by_name: BTreeMap<Arc<str>, usize>,
    limit: usize,
    /// The suite has no masks: emu's own hold.
    ours: bool,
    /// Cases that the target did not answer, and the first of them.
    silent: (u64, String),
}

struct RowTally {
    row: Row,
    name: Arc<str>,
    masks: Vec<(Reg, u64, MaskSource)>,
}

impl RowTally {
    fn new(case: &Case) -> RowTally {
        let row = Row { name: case.row.to_string(), example: case.name.clone(), ..Row::default() };
        RowTally { row, name: case.row.clone(), masks: Vec::new() }
    }

    /// Notes which bits the masked column leaves out.
    fn note_masks(&mut self, case: &Case) {
        for mask in &case.masks {
            match self.masks.iter_mut().find(|m| m.0 == mask.reg && m.2 == mask.source) {
                Some(m) => m.1 |= mask.undefined,
                None => self.masks.push((mask.reg, mask.undefined, mask.source.clone())),
            }
        }
    }

    fn finish(mut self) -> Row {
        let text = |(reg, bits, source): &(Reg, u64, MaskSource)| format!("{} {bits:x}h: {source}", reg.name());
        self.row.masks.extend(self.masks.iter().map(text));
        self.row.masks.sort();
        self.row.masks.dedup();
        self.row
    }
}

impl Tallies {
    fn new(limit: usize, ours: bool) -> Tallies {
        Tallies { rows: Vec::new(), by_name: BTreeMap::new(), limit, ours, silent: (0, String::new()) }
    }

    fn row(&mut self, case: &Case) -> usize {
        if let Some(last) = self.rows.last()
            && Arc::ptr_eq(&last.name, &case.row)
        {
            return self.rows.len() - 1;
        }
        if let Some(n) = self.by_name.get(&case.row) {
            return *n;
        }
        self.rows.push(RowTally::new(case));
        self.by_name.insert(case.row.clone(), self.rows.len() - 1);
        self.rows.len() - 1
    }

    /// Enters a case that ran; returns whether it passes.
    fn judge(&mut self, case: &mut Case, outcome: &Outcome, strayed: bool) -> bool {
        let n = self.row(case);
        let mut found = compare(case, outcome);
        let own = self.ours && (!found.differences.is_empty() || self.rows[n].row.tally.cases == 0);
        let masks = case.masks.len();
        if own {
            undefined::apply(case);
            found = compare(case, outcome);
        }
        found.strayed = strayed;
        let row = &mut self.rows[n];
        row.row.tally.add(Tally { cases: 1, strict: found.strict().into(), masked: found.masked().into(), skipped: 0 });
        row.note_masks(case);
        for remark in remarks(case) {
            if !row.row.masks.contains(&remark) {
                row.row.masks.push(remark);
            }
        }
        if !found.strict() {
            let failures = &mut row.row.failures;
            let worse = |f: &Failure| (f.undefined_only, f.case) < (found.masked(), case.index);
            if failures.iter().filter(|f| worse(f)).count() < self.limit {
                failures.push(Failure::new(case, outcome, &found));
                keep_first(failures, self.limit);
            }
        }
        if own {
            case.masks.truncate(masks);
            (case.undefined_destination, case.tolerance) = (None, Tolerance::Exact);
        }
        found.masked()
    }

    /// Enters a case that the target should have run, and did not: it fails.
    fn unanswered(&mut self, case: &Case, why: String) {
        let n = self.row(case);
        let row = &mut self.rows[n].row;
        row.tally.cases += 1;
        if self.silent.0 == 0 {
            self.silent.1 = format!("case {}: {why}", case.index);
        }
        self.silent.0 += 1;
        row.failures.push(Failure::unanswered(case, why));
        keep_first(&mut row.failures, self.limit);
    }

    fn unanswered_in_words(&self) -> Option<String> {
        match &self.silent {
            (0, _) => None,
            (1, first) => Some(format!("the CPU under test gave no answer: {first}")),
            (n, first) => Some(format!("the CPU under test gave no answer to {n} cases; the first: {first}")),
        }
    }

    fn skip(&mut self, case: &Case, why: String) {
        let n = self.row(case);
        let row = &mut self.rows[n].row;
        row.tally.skipped += 1;
        row.skipped_because.get_or_insert(why);
    }
}

/// What the masked column allows beside undefined bits.
fn remarks(case: &Case) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(source) = &case.undefined_destination {
        list.push(format!("destination: {source}"));
    }
    match case.tolerance {
        Tolerance::Exact => {}
        Tolerance::Approximate => list.push("result: an approximation by its definition [SDM-2]".to_owned()),
        Tolerance::OneUlp => list.push("result and C1: within one unit in the last place [SDM-1 8.3.10]".to_owned()),
    }
    list
}
