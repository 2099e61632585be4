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
