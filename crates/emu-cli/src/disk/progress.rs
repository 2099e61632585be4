//! A bar with rate and time left, if somebody sees it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for `size` bytes; none if the standard error is not a terminal.
pub(crate) fn bar(size: u64, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(size), target);
    let style = "{wide_bar} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
    bar
}
