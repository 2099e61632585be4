//! Figures of earlier runs, in a small file beside the HTML report, which draws them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Report, Tally};
use crate::suite::reason;

/// Runs that are kept; the oldest go first.
const RUNS: usize = 500;
/// The file may not be larger: it is ours, and small.
const MAX_BYTES: u64 = 16 << 20;

/// The figures of all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Version of the format.
    pub version: u32,
    /// The runs, oldest first.
    pub runs: Vec<HistoryRun>,
}

/// The figures of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryRun {
    /// When it ended: UTC, as in `2026-05-31T12:00:00Z`.
    pub time: String,
    /// The program that ran.
    pub tool: String,
    /// The CPU under test.
    pub target: String,
    /// Counts by suite.
    pub suites: BTreeMap<String, Tally>,
}

impl History {
    /// Reads the file; there is none before the first run.
    ///
    /// # Errors
    /// One line: it can't be read, or is no history.
    pub fn read(path: &Path) -> Result<History, String> {
        let failed = |what: String| format!("{}: {what}", path.display());
        match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(History { version: 1, runs: Vec::new() }),
            Err(e) => return Err(failed(reason(&e))),
            Ok(m) if m.len() > MAX_BYTES => return Err(failed("it is too large to be a history of runs".into())),
            Ok(_) => {}
        }
        let bytes = std::fs::read(path).map_err(|e| failed(reason(&e)))?;
        let history: History = serde_json::from_slice(&bytes)
            .map_err(|e| failed(format!("it is no history of runs ({e}); move it away to begin a new one")))?;
        if history.version != 1 {
            return Err(failed(format!("it is a history of version {}; this emu knows version 1", history.version)));
        }
        Ok(history)
    }

    /// Appends a run that ended `seconds` after 1970.
    pub fn add(&mut self, report: &Report, seconds: u64) {
        let suites = report.suites.iter().map(|s| (s.name.clone(), s.tally())).collect();
        let (tool, target) = (report.tool.clone(), report.target.clone());
        self.runs.push(HistoryRun { time: utc(seconds), tool, target, suites });
        let surplus = self.runs.len().saturating_sub(RUNS);
        self.runs.drain(..surplus);
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Seconds since 1970 as a date in the Gregorian calendar, UTC.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years of 400 that begin in March: leap days come last.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_790_000_000, "2026-09-21T14:13:20Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn old_runs_go_first() {
        let mut h = History { version: 1, runs: Vec::new() };
        (0..RUNS as u64 + 3).for_each(|s| h.add(&Report::default(), s));
        assert_eq!((h.runs.len(), h.runs[0].time.as_str()), (RUNS, "1970-01-01T00:00:03Z"));
        assert_eq!(serde_json::from_slice::<History>(&h.to_json()).unwrap(), h);
    }
}
