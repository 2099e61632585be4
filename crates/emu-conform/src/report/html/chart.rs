//! A suite's figures over the runs, as a small drawing.

use std::fmt::Write;

use super::super::{History, Tally, basis_points, percent};
use super::escape;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 80.0;
/// Room at the left for the scale, and at the other sides for the dots.
const LEFT: f64 = 40.0;
const MARGIN: f64 = 8.0;

/// Draws strict and masked percentages of `suite` over all runs that had it.
pub(super) fn chart(out: &mut String, suite: &str, history: &History) {
    let runs: Vec<(&str, Tally)> =
        history.runs.iter().filter_map(|r| r.suites.get(suite).map(|t| (r.time.as_str(), *t))).collect();
    let Some((_, last)) = runs.last() else { return };
    let points = |f: fn(&Tally) -> u64| -> Vec<u64> { runs.iter().map(|(_, t)| basis_points(f(t), t.cases)).collect() };
    let (strict, masked) = (points(|t| t.strict), points(|t| t.masked));
    let least = strict.iter().chain(&masked).min().copied().unwrap_or(0);
    // The scale begins at a round number below all figures: differences near 100 % are what people look for.
    let step = match 10_000 - least {
        0..=20 => 20,
        d => [100, 500, 1_000, 2_500, 5_000, 10_000].into_iter().find(|s| *s >= d).unwrap_or(10_000),
    };
    let bottom = 10_000 - step;
    let _ = write!(
        out,
        "<figure><figcaption><b>{}</b> masked {} %, strict {} %</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\" aria-label=\"percentages over {} runs\">",
        escape(suite),
        percent(last.masked, last.cases),
        percent(last.strict, last.cases),
        runs.len(),
    );
    let y = |v: u64| MARGIN + (HEIGHT - 2.0 * MARGIN) * (10_000 - v.max(bottom)) as f64 / step as f64;
    let x = |i: usize| match runs.len() {
        1 => WIDTH - MARGIN,
        n => LEFT + (WIDTH - LEFT - MARGIN) * i as f64 / (n - 1) as f64,
    };
    for v in [10_000, bottom] {
        let (at, label) =
            (y(v), if v % 100 == 0 { (v / 100).to_string() } else { format!("{}.{:02}", v / 100, v % 100) });
        let _ = write!(out, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        let _ = write!(out, "<text x=\"0\" y=\"{:.1}\">{label} %</text>", at + 3.0);
    }
    for (class, values) in [("strict", &strict), ("masked", &masked)] {
        let line: Vec<String> = values.iter().enumerate().map(|(i, v)| format!("{:.1},{:.1}", x(i), y(*v))).collect();
        let _ = write!(out, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
        if runs.len() <= 40 {
            for (i, v) in values.iter().enumerate() {
                let tip = format!("{} {class} {}.{:02} %", runs[i].0, v / 100, v % 100);
                let _ = write!(
                    out,
                    "<circle class=\"dot-{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{}</title></circle>",
                    x(i),
                    y(*v),
                    escape(&tip)
                );
            }
        }
    }
    out.push_str("</svg></figure>\n");
}
