//! Sizes, dates and names as people read them.

use std::path::Path;

use emu_machine::image::Kind;

use crate::run::Failure;

/// `4 MiB`, `1.5 GiB`: at most three digits behind the point that say something.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    let thousandths = (u128::from(bytes) * 1000) >> (unit * 10);
    let text = match thousandths {
        t if t >= 100_000 => format!("{}", t / 1000),
        t if t >= 10_000 => format!("{}.{}", t / 1000, t % 1000 / 100),
        t => format!("{}.{:02}", t / 1000, t % 1000 / 10),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", UNITS[unit])
}

/// Seconds since 1970 as `2026-01-31 12:00:00`, in UTC.
pub(super) fn date(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let leap = |y: u64| y.is_multiple_of(4) && !y.is_multiple_of(100) || y.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (h, m, s) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{:02}-{:02} {h:02}:{m:02}:{s:02}", month + 1, days + 1)
}

/// Nanoseconds as `00:00:00.000`.
pub(super) fn clock(ns: u64) -> String {
    let ms = ns / 1_000_000;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// The format that a new image's name asks for.
pub(super) fn format_of_name(path: &Path) -> Result<Kind, Failure> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "img" | "raw" | "iso" | "ima" | "flp" | "dsk" | "bin" => Ok(Kind::Raw),
        "001" | "000" => Ok(Kind::Split),
        "vpc" => Ok(Kind::Vhd),
        other => Kind::parse(other).ok_or_else(|| {
            Failure::usage(format!("{}: the name does not tell the format; say which (raw, qcow2, …)", path.display()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_dates_read_well() {
        let sizes =
            [(0, "0 B"), (512, "512 B"), (4 << 20, "4 MiB"), (1_610_612_736, "1.5 GiB"), (35_913_728, "34.2 MiB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(clock(3_723_004_000_000), "01:02:03.004");
    }
}
