//! The report as JUnit XML, which build servers show: a suite each, a test case for each row.
//!
//! A row fails if one of its cases fails in defined bits. What is left undefined fails no build: that is what the strict
//! threshold is for; the figures stand in the properties.

use quick_junit::{NonSuccessKind, Property, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::text::failure_text;
use super::{Report, Row, SuiteReport};

/// The report as JUnit XML.
///
/// # Errors
/// One line, should the XML writer fail.
pub fn junit(report: &Report) -> Result<Vec<u8>, String> {
    let mut junit = Junit::new("emu conform");
    for suite in &report.suites {
        junit.add_test_suite(suite_xml(suite));
    }
    if !report.problems.is_empty() {
        let mut problems = TestSuite::new("files");
        for (n, problem) in report.problems.iter().enumerate() {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(problem.as_str());
            problems.add_test_case(TestCase::new(format!("problem {}", n + 1), status));
        }
        junit.add_test_suite(problems);
    }
    let mut bytes = Vec::new();
    junit.serialize(&mut bytes).map_err(|e| format!("the JUnit report can't be made: {e}"))?;
    Ok(bytes)
}

fn suite_xml(suite: &SuiteReport) -> TestSuite {
    let mut xml = TestSuite::new(suite.name.as_str());
    let t = suite.tally();
    let figures = [("cases", t.cases), ("strict", t.strict), ("masked", t.masked), ("skipped", t.skipped)];
    for (name, value) in figures {
        xml.add_property(Property::new(name, value.to_string()));
    }
    for (name, value) in [("format", &suite.format), ("cpu", &suite.cpu), ("model", &suite.model)] {
        xml.add_property(Property::new(name, value.as_str()));
    }
    suite.rows.iter().for_each(|row| {
        xml.add_test_case(row_xml(suite, row));
    });
    xml
}

fn row_xml(suite: &SuiteReport, row: &Row) -> TestCase {
    let t = row.tally;
    let status = if !t.passes() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!(
            "{} of {} cases fail ({} strictly)",
            t.cases - t.masked,
            t.cases,
            t.cases - t.strict
        ));
        let mut text = String::new();
        row.failures.iter().filter(|f| !f.undefined_only).for_each(|f| failure_text(&mut text, row, f));
        status.set_description(text);
        status
    } else if t.cases == 0 && t.skipped > 0 {
        let mut status = TestCaseStatus::skipped();
        status.set_message(row.skipped_because.clone().unwrap_or_default());
        status
    } else {
        TestCaseStatus::success()
    };
    let mut case = TestCase::new(row.name.as_str(), status);
    case.set_classname(suite.name.as_str());
    case
}
