//! The report for people at a terminal.

use std::fmt::Write;

use super::{Failure, Mark, Report, Row, SuiteReport, Tally, percent};

/// How much to show.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// All rows, instead of those in which something fails.
    pub all: bool,
    /// Failing cases to show of a suite, in whole.
    pub cases: usize,
    /// Show rows and cases at all, not just the summary.
    pub rows: bool,
}

/// Rows that are shown of a suite unless all are wanted.
const ROWS: usize = 40;

/// The report as text.
#[must_use]
pub fn text(report: &Report, detail: Detail) -> String {
    let mut out = String::new();
    if let Some(shard) = report.shard {
        let _ = writeln!(out, "shard {}/{} of all cases", shard.index, shard.count);
    }
    for suite in report.suites.iter().filter(|_| detail.rows) {
        suite_text(&mut out, suite, detail);
    }
    for problem in &report.problems {
        let _ = writeln!(out, "error: {problem}");
    }
    if !report.problems.is_empty() {
        out.push('\n');
    }
    summary(&mut out, report);
    out
}

fn suite_text(out: &mut String, suite: &SuiteReport, detail: Detail) {
    let as_model = if suite.model.is_empty() { String::new() } else { format!(", run as {}", suite.model) };
    let cpu = if suite.cpu.is_empty() { String::new() } else { format!(" of {}", suite.cpu) };
    let _ = writeln!(out, "{}: {}{cpu}{as_model}", suite.name, suite.format);
    if let Some(note) = &suite.note {
        let _ = writeln!(out, "  note: {note}");
    }
    let shown: Vec<&Row> = suite.rows.iter().filter(|r| detail.all || imperfect(r)).collect();
    let limit = if detail.all { shown.len() } else { ROWS };
    if !shown.is_empty() {
        table(out, &shown[..shown.len().min(limit)]);
    }
    if shown.len() > limit {
        let _ = writeln!(out, "  … {} more rows with failing cases (--all shows them)", shown.len() - limit);
    }
    let perfect = suite.rows.iter().filter(|r| !imperfect(r)).count();
    if perfect > 0 && !detail.all {
        let rest = if perfect == suite.rows.len() { "all" } else { "the other" };
        let _ = writeln!(out, "  {rest} {perfect} rows agree in every bit");
    }
    let mut left = detail.cases;
    for (row, failure) in first_failures(suite) {
        if left == 0 {
            break;
        }
        left -= 1;
        failure_text(out, row, failure);
    }
    out.push('\n');
}

/// Whether a row is not right in every bit of every case.
fn imperfect(row: &Row) -> bool {
    row.tally.strict < row.tally.cases || row.tally.skipped > 0
}

/// The first failing case of each row, those that fail in defined bits first.
fn first_failures(suite: &SuiteReport) -> Vec<(&Row, &Failure)> {
    let mut list: Vec<_> = suite.rows.iter().filter_map(|r| r.failures.first().map(|f| (r, f))).collect();
    list.sort_by_key(|(_, f)| f.undefined_only);
    list
}

fn table(out: &mut String, rows: &[&Row]) {
    let width = rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).clamp(6, 44);
    let skipped = rows.iter().any(|r| r.tally.skipped > 0);
    let head = if skipped { "  skipped" } else { "" };
    let _ = writeln!(out, "  {:width$}  {:>7}  {:>9}  {:>9}{head}", "", "cases", "strict %", "masked %");
    for row in rows {
        let t = row.tally;
        let name: String = row.name.chars().take(width).collect();
        let (strict, masked) = (percent(t.strict, t.cases), percent(t.masked, t.cases));
        let _ = write!(out, "  {name:width$}  {:>7}  {strict:>9}  {masked:>9}", t.cases);
        if skipped {
            let _ = write!(out, "  {:>7}", t.skipped);
        }
        if row.example != row.name && !row.example.is_empty() {
            let _ = write!(out, "  {}", row.example);
        }
        if let Some(why) = &row.skipped_because {
            let _ = write!(out, "  ({why})");
        }
        end_line(out);
    }
}

/// Ends a line, without blanks at its end.
fn end_line(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

/// A failing case: what it is, and the states side by side.
pub(super) fn failure_text(out: &mut String, row: &Row, failure: &Failure) {
    let kind = if failure.undefined_only { "differs in undefined bits" } else { "fails" };
    let number = failure.number();
    let blank = if number.is_empty() { "" } else { " " };
    let _ = writeln!(out, "\n  {} {number}{blank}{kind}: {}", row.name, failure.title());
    for remark in &failure.remarks {
        let _ = writeln!(out, "    {remark}");
    }
    if failure.lines.is_empty() {
        return;
    }
    let width = |f: fn(&super::Line) -> &String| failure.lines.iter().map(|l| f(l).len()).max().unwrap_or(0).max(6);
    let (a, b, c, d) = (width(|l| &l.place), width(|l| &l.before), width(|l| &l.want), width(|l| &l.got));
    let _ = write!(out, "    {:a$}  {:b$}  {:c$}  {:d$}", "", "before", "wanted", "got");
    end_line(out);
    for line in &failure.lines {
        let mark = match line.mark {
            Mark::Same => "",
            Mark::Undefined => "  (undefined)",
            Mark::Wrong => "  <--",
        };
        let _ = write!(out, "    {:a$}  {:b$}  {:c$}  {:d$}{mark}", line.place, line.before, line.want, line.got);
        end_line(out);
    }
    for mask in &row.masks {
        let _ = writeln!(out, "    masked: {mask}");
    }
}

/// A line for each suite, and one for all.
fn summary(out: &mut String, report: &Report) {
    let width = report.suites.iter().map(|s| s.name.chars().count()).max().unwrap_or(0).max(5);
    let _ = writeln!(out, "{:width$}  {:>6}  {:>9}  {:>9}  {:>9}", "suite", "rows", "cases", "strict %", "masked %");
    let line = |out: &mut String, name: &str, rows: usize, t: Tally| {
        let (strict, masked) = (percent(t.strict, t.cases), percent(t.masked, t.cases));
        let skipped = if t.skipped > 0 { format!("  {} skipped", t.skipped) } else { String::new() };
        let _ = writeln!(out, "{name:width$}  {rows:>6}  {:>9}  {strict:>9}  {masked:>9}{skipped}", t.cases);
    };
    for suite in &report.suites {
        line(out, &suite.name, suite.rows.len(), suite.tally());
    }
    if report.suites.len() > 1 {
        line(out, "all", report.suites.iter().map(|s| s.rows.len()).sum(), report.tally());
    }
}
