//! What test kernels print: a line for each of their checks.

/// Counts of a kernel's output, and the checks that failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    pub(super) passed: u64,
    pub(super) skipped: u64,
    /// The lines of those that failed.
    pub(super) failed: Vec<String>,
}

/// Lines of failed checks that are kept; all are counted.
const KEPT: usize = 1000;

/// Reads the lines `PASS: …`, `FAIL: …`, `SKIP: …`; `XFAIL` is a failure that is expected, `XPASS` a success that is not.
pub(super) fn checks(output: &[u8]) -> (Checks, u64) {
    let text = String::from_utf8_lossy(output);
    let (mut checks, mut failures) = (Checks::default(), 0);
    for line in text.lines() {
        let line = line.trim();
        let Some((word, rest)) = line.split_once(':') else { continue };
        match word {
            "PASS" | "XFAIL" => checks.passed += 1,
            "SKIP" => checks.skipped += 1,
            "FAIL" | "XPASS" => {
                failures += 1;
                if checks.failed.len() < KEPT {
                    checks.failed.push(rest.trim().to_owned());
                }
            }
            _ => {}
        }
    }
    (checks, failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count() {
        let text = b"enabling apic\r\nPASS: a: b\r\nFAIL: c\nXFAIL: d\nSKIP: e\nSUMMARY: 4 tests, 1 unexpected failures\nPASSED\n";
        let (checks, failures) = checks(text);
        assert_eq!((checks.passed, checks.skipped, failures), (2, 1, 1));
        assert_eq!(checks.failed, ["c"]);
    }
}
