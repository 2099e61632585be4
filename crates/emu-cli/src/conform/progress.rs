//! The progress bar, on the standard error if that is a terminal.

use std::sync::atomic::{AtomicU64, Ordering};

use emu_conform::run::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts files, and tells cases.
pub(crate) struct Bar {
    bar: ProgressBar,
    cases: AtomicU64,
    failed: AtomicU64,
}

impl Bar {
    /// A bar; an invisible one if `quiet`.
    pub(crate) fn new(quiet: bool) -> Bar {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(8) };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{elapsed:>4} {wide_bar} {pos}/{len} files, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Bar { bar, cases: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    /// So many random cases have run, and so many differ.
    pub(crate) fn fuzzing(&self, cases: u64, differing: u64) {
        if cases.is_multiple_of(1024) {
            self.bar.set_message(format!("{cases} cases, {differing} differ"));
            self.bar.tick();
        }
    }

    /// A sign of life where nobody knows how far it is.
    pub(crate) fn endless(self) -> Bar {
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {spinner} {msg}") {
            self.bar.set_style(style);
        }
        self
    }

    /// Takes it away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, files: usize) {
        self.bar.set_length(files as u64);
    }

    fn file_done(&self) {
        self.bar.inc(1);
    }

    fn cases(&self, cases: u64, failed: u64) {
        let cases = self.cases.fetch_add(cases, Ordering::Relaxed) + cases;
        let failed = self.failed.fetch_add(failed, Ordering::Relaxed) + failed;
        self.bar.set_message(format!("{cases} cases, {failed} failed"));
    }
}
