//! Results: of a case, a row (an opcode, a form, a test), a suite, a run.
//!
//! A report is plain data that is written as JSON and read back by `emu report merge`. The same inputs give the same
//! report, byte by byte: it holds no time, no host, and nothing that depends on how many threads ran.

mod failure;
mod history;
mod html;
mod junit;
mod merge;
pub mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use failure::{Failure, Line, Mark};
pub use history::{History, HistoryRun};
pub use html::html;
pub use junit::junit;
pub use merge::merge;

/// Version of the JSON format.
pub const VERSION: u32 = 1;

/// Results of one run, or of one shard of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The program that made it, with its version.
    pub tool: String,
    /// The CPU under test.
    pub target: String,
    /// Which part of the cases it is about, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// The suites, in the order in which they were given.
    pub suites: Vec<SuiteReport>,
    /// Files that could not be used, or not to their end; one line each.
    pub problems: Vec<String>,
}

/// One of `count` parts of the cases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Its number, from 1.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

impl Shard {
    /// Whether the case with this hash belongs to it.
    #[must_use]
    pub fn holds(self, hash: u64) -> bool {
        hash % u64::from(self.count) == u64::from(self.index - 1)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    /// Reads `i/n`, both from 1.
    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, count)) if index >= 1 && index <= count => Ok(Shard { index, count }),
            _ => Err(format!("`{text}` is no shard: write i/n with i from 1 to n, as in 2/4")),
        }
    }
}

/// Results of a suite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteReport {
    /// Its name.
    pub name: String,
    /// How it is written.
    pub format: String,
    /// The CPU that it was captured from.
    pub cpu: String,
    /// The model that ran it.
    pub model: String,
    /// What is to be known before the figures are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Digest of all its files: shards of one run have the same.
    pub digest: String,
    /// Its rows, in order.
    pub rows: Vec<Row>,
}

/// How many cases there were, and how many of them passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Cases that ran.
    pub cases: u64,
    /// Agree in every bit.
    pub strict: u64,
    /// Agree in every bit that is defined.
    pub masked: u64,
    /// Did not run, because the target or the host can't.
    pub skipped: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.strict += other.strict;
        self.masked += other.masked;
        self.skipped += other.skipped;
    }

    /// Whether every case that ran agrees in every defined bit.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.masked == self.cases
    }
}

/// Results of an opcode, a form, a test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// An instruction of it, to tell people what the name stands for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub example: String,
    /// Counts.
    #[serde(flatten)]
    pub tally: Tally,
    /// Bits that the masked column leaves out, and who says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<String>,
    /// Why cases were skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_because: Option<String>,
    /// The first cases that fail: in defined bits before others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

impl SuiteReport {
    /// Counts of all rows.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.rows.iter().fold(Tally::default(), |mut sum, row| {
            sum.add(row.tally);
            sum
        })
    }
}

impl Report {
    /// Counts of all suites.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.suites.iter().fold(Tally::default(), |mut sum, suite| {
            sum.add(suite.tally());
            sum
        })
    }
}

impl Report {
    /// As JSON, with a line for each value.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // A struct of strings and numbers always has a JSON form.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// One line: it is no report, or one of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Report, String> {
        let head: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| format!("it is no JSON: {e}"))?;
        match head["version"].as_u64() {
            Some(v) if v == u64::from(VERSION) => {}
            Some(v) => return Err(format!("it is a report of version {v}; this emu reads version {VERSION}")),
            None => return Err("it is no report of emu conform".into()),
        }
        serde_json::from_value(head).map_err(|e| format!("it is no report of emu conform: {e}"))
    }
}

/// `part` of `whole` in hundredths of a percent, rounded down, so that 100 % means all.
#[must_use]
pub fn basis_points(part: u64, whole: u64) -> u64 {
    if whole == 0 { 10_000 } else { (u128::from(part) * 10_000 / u128::from(whole)) as u64 }
}

/// `part` of `whole` as a percentage with two digits.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    let points = basis_points(part, whole);
    format!("{}.{:02}", points / 100, points % 100)
}

/// Keeps the `limit` first failures: those in defined bits first, then in the order of cases.
pub(crate) fn keep_first(failures: &mut Vec<Failure>, limit: usize) {
    failures.sort_by_key(|f| (f.undefined_only, f.case));
    failures.truncate(limit);
}

/// Rows by name, with those of the same name added up.
pub(crate) fn add_rows(into: &mut BTreeMap<String, Row>, rows: impl IntoIterator<Item = Row>, limit: usize) {
    for row in rows {
        match into.get_mut(&row.name) {
            None => {
                into.insert(row.name.clone(), row);
            }
            Some(sum) => {
                sum.tally.add(row.tally);
                sum.masks.extend(row.masks);
                sum.masks.sort();
                sum.masks.dedup();
                sum.skipped_because = sum.skipped_because.take().or(row.skipped_because);
                sum.failures.extend(row.failures);
                keep_first(&mut sum.failures, limit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_down() {
        assert_eq!(percent(0, 0), "100.00");
        assert_eq!(percent(9_999_999, 10_000_000), "99.99");
        assert_eq!(percent(1, 3), "33.33");
    }

    #[test]
    fn shards_read_as_people_write_them() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for bad in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"] {
            assert!(bad.parse::<Shard>().unwrap_err().contains("i/n"), "{bad}");
        }
        let held = (1..=3).filter(|i| Shard { index: *i, count: 3 }.holds(77)).count();
        assert_eq!(held, 1);
    }
}
