//! A fuzzing run's report as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Counts, Finding, Report};
use crate::Place;

/// The report as text for a terminal. `who` are the two CPUs, the reference first.
#[must_use]
pub fn text(report: &Report, who: (&str, &str)) -> String {
    let mut out = String::new();
    let _ =
        writeln!(out, "{:<12}{:>12}{:>12}{:>12}{:>9}{:>9}", "class", "cases", "strict", "masked", "known", "skipped");
    let mut row = |name: &str, c: &Counts| {
        let Counts { cases, strict, masked, known, skipped } = c;
        let _ = writeln!(out, "{name:<12}{cases:>12}{strict:>12}{masked:>12}{known:>9}{skipped:>9}");
    };
    report.classes.iter().for_each(|(class, counts)| row(class.name(), counts));
    row("all", &report.total());
    for (what, times) in &report.known {
        let _ = writeln!(out, "known, {times} times: {what}");
    }
    for (why, times) in &report.skipped {
        let _ = writeln!(out, "skipped, {times} times: {why}");
    }
    report.findings.iter().for_each(|f| finding(&mut out, f, who));
    for failure in &report.failures {
        let _ = writeln!(out, "failed: {failure}");
    }
    let more = report.differing.saturating_sub(report.findings.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "{more} more cases of these instructions differ");
    }
    out
}

/// A value in hexadecimal, without the zeros above it.
fn digits(v: [u128; 2]) -> String {
    if v[1] == 0 { format!("{:x}", v[0]) } else { format!("{:x}{:032x}", v[1], v[0]) }
}

fn finding(out: &mut String, f: &Finding, who: (&str, &str)) {
    let code: String = f.case.code.iter().map(|b| format!("{b:02x}")).collect();
    let _ =
        writeln!(out, "\ncase {}, shrunk: {} ({code}, {}-bit code, {})", f.number, f.case.row, f.bits, f.class.name());
    let _ = writeln!(out, "  from {}", f.vector["i"]);
    if let Some((want, got)) = f.comparison.event {
        let _ = writeln!(out, "  {:<12}{}: {want:?}; {}: {got:?}", "end", who.0, who.1);
    }
    for d in &f.comparison.differences {
        let note = if d.undefined { " (undefined)" } else { "" };
        let place = d.place.to_string();
        let _ = writeln!(out, "  {place:<12}{}: {}; {}: {}{note}", who.0, digits(d.want), who.1, digits(d.got));
    }
}

/// The same for programs.
#[must_use]
pub fn to_json(report: &Report, seed: u64, who: (&str, &str)) -> Value {
    let counts = |c: &Counts| json!({ "cases": c.cases, "strict": c.strict, "masked": c.masked, "known": c.known, "skipped": c.skipped });
    let classes: serde_json::Map<String, Value> =
        report.classes.iter().map(|(class, c)| (class.name().to_owned(), counts(c))).collect();
    let findings: Vec<Value> = report.findings.iter().map(finding_json).collect();
    json!({
        "reference": who.0, "target": who.1, "seed": seed, "next": report.next, "total": counts(&report.total()),
        "classes": classes, "known": report.known, "skipped": report.skipped, "failures": report.failures,
        "differing": report.differing, "findings": findings,
    })
}

fn finding_json(f: &Finding) -> Value {
    let place = |p: Place| p.to_string();
    let differences: Vec<Value> = f
        .comparison
        .differences
        .iter()
        .map(|d| {
            json!({ "place": place(d.place), "reference": digits(d.want), "target": digits(d.got), "undefined": d.undefined })
        })
        .collect();
    let end = f.comparison.event.map(|(want, got)| json!([format!("{want:?}"), format!("{got:?}")]));
    json!({
        "case": f.number, "class": f.class.name(), "bits": f.bits, "end": end, "differences": differences,
        "vector": f.vector,
    })
}
