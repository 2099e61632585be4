//! The report as one HTML file that needs nothing else: no other file, no network.

mod chart;

use std::fmt::Write;

use super::{Failure, History, Mark, Report, Row, SuiteReport, Tally, percent};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Runs of the history that the table shows; the charts show all.
const TABLE_RUNS: usize = 20;

/// The report as HTML, with the figures of `history`, of which this run is the last.
#[must_use]
pub fn html(report: &Report, history: &History) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Conformance of {target}</title>\n<style>\n{STYLE}</style>\n\
         <h1>Conformance of {target}</h1>\n<p class=\"dim\">{tool}",
        target = escape(&report.target),
        tool = escape(&report.tool),
    );
    if let Some(run) = history.runs.last() {
        let _ = write!(out, ", {}", escape(&run.time.replace('T', " ").replace('Z', " UTC")));
    }
    if let Some(shard) = report.shard {
        let _ = write!(out, ", shard {} of {}", shard.index, shard.count);
    }
    out.push_str("</p>\n");
    explanation(&mut out);
    problems(&mut out, report);
    summary(&mut out, report);
    runs(&mut out, report, history);
    report.suites.iter().enumerate().for_each(|(n, suite)| section(&mut out, n, suite));
    let _ = write!(out, "<script>\n{SCRIPT}</script>\n");
    out
}

fn explanation(out: &mut String) {
    out.push_str(
        "<p class=\"dim\"><b>Strict</b>: every bit is what the suite says. <b>Masked</b>: every bit is, but for those \
         that nobody defines; each row tells which these are, and who says so.</p>\n",
    );
}

fn problems(out: &mut String, report: &Report) {
    if report.problems.is_empty() {
        return;
    }
    out.push_str("<div class=\"problems\"><b class=\"bad\">Files that could not be used</b><ul>\n");
    for problem in &report.problems {
        let _ = writeln!(out, "<li>{}</li>", escape(problem));
    }
    out.push_str("</ul></div>\n");
}

/// Which colour a tally has.
fn state(t: Tally) -> &'static str {
    match t {
        t if t.masked < t.cases => "bad",
        t if t.strict < t.cases || t.cases == 0 => "warn",
        _ => "good",
    }
}

fn figures(out: &mut String, t: Tally) {
    let _ = write!(out, "<td class=\"n\">{}</td>", t.cases);
    for (passed, bad) in [(t.strict, "warn"), (t.masked, "bad")] {
        let class = if passed == t.cases { "good" } else { bad };
        let p = percent(passed, t.cases);
        let _ = write!(out, "<td class=\"n meter {class}\" style=\"--part:{p}%\">{p} %</td>");
    }
    let skipped = if t.skipped > 0 { t.skipped.to_string() } else { String::new() };
    let _ = write!(out, "<td class=\"n dim\">{skipped}</td>");
}

fn summary(out: &mut String, report: &Report) {
    out.push_str(
        "<h2>Suites</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>Suite<th>Written as<th>Captured from\
                  <th>Run as<th class=\"n\">Rows<th class=\"n\">Cases<th class=\"n\">Strict<th class=\"n\">Masked\
                  <th class=\"n\">Skipped</tr></thead>\n<tbody>\n",
    );
    for (n, s) in report.suites.iter().enumerate() {
        let _ = write!(
            out,
            "<tr><td><a href=\"#suite{n}\">{}</a><td>{}<td>{}<td>{}<td class=\"n\">{}</td>",
            escape(&s.name),
            escape(&s.format),
            escape(&s.cpu),
            escape(&s.model),
            s.rows.len(),
        );
        figures(out, s.tally());
        out.push_str("</tr>\n");
    }
    if report.suites.len() > 1 {
        let rows: usize = report.suites.iter().map(|s| s.rows.len()).sum();
        let _ = write!(out, "<tr><td><b>All</b><td><td><td><td class=\"n\">{rows}</td>");
        figures(out, report.tally());
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn runs(out: &mut String, report: &Report, history: &History) {
    if history.runs.len() < 2 {
        return;
    }
    out.push_str("<h2>History</h2>\n<div class=\"charts\">\n");
    for suite in &report.suites {
        chart::chart(out, &suite.name, history);
    }
    out.push_str(
        "</div>\n<details><summary>Runs</summary><div class=\"scroll\"><table>\n<thead><tr><th>When<th>Program<th>CPU",
    );
    for suite in &report.suites {
        let _ = write!(out, "<th class=\"n\">{}", escape(&suite.name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for run in history.runs.iter().rev().take(TABLE_RUNS) {
        let time = run.time.replace('T', " ").replace('Z', "");
        let _ = write!(out, "<tr><td>{}<td>{}<td>{}", escape(&time), escape(&run.tool), escape(&run.target));
        for suite in &report.suites {
            let text = run.suites.get(&suite.name).map(|t| percent(t.masked, t.cases) + " %").unwrap_or_default();
            let _ = write!(out, "<td class=\"n\">{text}");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div></details>\n");
}

fn section(out: &mut String, id: usize, suite: &SuiteReport) {
    let t = suite.tally();
    let open = if t.passes() { "" } else { " open" };
    let _ = writeln!(
        out,
        "<section id=\"suite{id}\"><details{open}><summary>{} <span class=\"{}\">{} %</span></summary>",
        escape(&suite.name),
        state(t),
        percent(t.masked, t.cases),
    );
    if let Some(note) = &suite.note {
        let _ = writeln!(out, "<p class=\"warn\">{}</p>", escape(note));
    }
    let checked = if t.strict < t.cases { " checked" } else { "" };
    let _ = write!(
        out,
        "<div class=\"tools\"><input type=\"search\" placeholder=\"find a row\"> <label><input type=\"checkbox\"{checked}> \
         only rows in which something differs</label></div>\n<div class=\"scroll\"><table>\n<thead><tr><th>Row\
         <th class=\"n\">Cases<th class=\"n\">Strict<th class=\"n\">Masked<th class=\"n\">Skipped<th>Masks, and failing \
         cases</tr></thead>\n<tbody class=\"rows\">\n"
    );
    suite.rows.iter().for_each(|row| row_html(out, row));
    out.push_str("</tbody></table></div></details></section>\n");
}

fn row_html(out: &mut String, row: &Row) {
    let name = escape(&row.name);
    let hidden = if row.tally.strict < row.tally.cases { "bad" } else { state(row.tally) };
    let example = if row.example == row.name { String::new() } else { escape(&row.example) };
    let search = format!("{} {}", row.name, row.example).to_lowercase();
    let _ = write!(
        out,
        "<tr data-name=\"{}\" data-state=\"{hidden}\"><td><code>{name}</code><br><span class=\"dim\">{example}</span></td>",
        escape(&search)
    );
    figures(out, row.tally);
    out.push_str("<td>");
    for mask in &row.masks {
        let _ = write!(out, "<div class=\"dim\">{}</div>", escape(mask));
    }
    if let Some(why) = &row.skipped_because {
        let _ = write!(out, "<div class=\"dim\">skipped: {}</div>", escape(why));
    }
    row.failures.iter().for_each(|f| failure_html(out, f));
    out.push_str("</td></tr>\n");
}

fn failure_html(out: &mut String, f: &Failure) {
    let class = if f.undefined_only { "warn" } else { "bad" };
    let _ = write!(
        out,
        "<details><summary class=\"{class}\">case {}: <code>{}</code></summary>",
        f.case,
        escape(&f.title())
    );
    for remark in &f.remarks {
        let _ = write!(out, "<p>{}</p>", escape(remark));
    }
    if !f.lines.is_empty() {
        out.push_str("<table class=\"states\"><tr class=\"dim\"><td><td>before<td>wanted<td>got</tr>\n");
        for l in &f.lines {
            let class = match l.mark {
                Mark::Same => "",
                Mark::Undefined => " class=\"undefined\"",
                Mark::Wrong => " class=\"wrong\"",
            };
            let [place, before, want, got] = [&l.place, &l.before, &l.want, &l.got].map(|t| escape(t));
            let _ = writeln!(out, "<tr{class}><td>{place}<td>{before}<td>{want}<td>{got}</tr>");
        }
        out.push_str("</table>");
    }
    out.push_str("</details>\n");
}

/// Text that can stand in an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_suite_says_stays_text() {
        let row = Row { name: "<script>alert(1)</script>".into(), example: "\"><b>".into(), ..Row::default() };
        let suite = SuiteReport { name: "a&b".into(), rows: vec![row], ..SuiteReport::default() };
        let report = Report { suites: vec![suite], problems: vec!["<i>".into()], ..Report::default() };
        let page = html(&report, &History::default());
        assert!(!page.contains("<script>alert") && !page.contains("<b>\"") && !page.contains("<i>"));
        assert!(page.contains("a&amp;b") && page.contains("&lt;script&gt;alert(1)"));
        // Nothing is fetched from elsewhere.
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("src="));
    }
}
