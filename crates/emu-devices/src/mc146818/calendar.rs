//! The clock's registers as counters: one second on, in the format that register B chooses [MC146818 p.9-12].

/// Register numbers.
pub(super) const SECONDS: usize = 0;
pub(super) const SECONDS_ALARM: usize = 1;
pub(super) const MINUTES: usize = 2;
pub(super) const HOURS: usize = 4;
pub(super) const DAY_OF_WEEK: usize = 6;
pub(super) const DAY: usize = 7;
pub(super) const MONTH: usize = 8;
pub(super) const YEAR: usize = 9;
/// Where PCs keep the century.
pub(super) const CENTURY: usize = 0x32;

const PM: u8 = 0x80;

/// How the registers hold numbers: register B's DM and 24/12 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) binary: bool,
    pub(super) hours_24: bool,
}

impl Format {
    pub(super) fn encode(self, n: u8) -> u8 {
        if self.binary { n } else { ((n / 10 % 10) << 4) | (n % 10) }
    }

    pub(super) fn decode(self, v: u8) -> u8 {
        if self.binary { v } else { (v >> 4).wrapping_mul(10).wrapping_add(v & 15) }
    }

    /// The hour register for hour 0 to 23.
    pub(super) fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let half = match hour % 12 {
            0 => 12,
            h => h,
        };
        self.encode(half) | if hour >= 12 { PM } else { 0 }
    }

    pub(super) fn decode_hour(self, v: u8) -> u8 {
        if self.hours_24 {
            return self.decode(v);
        }
        self.decode(v & !PM) % 12 + if v & PM != 0 { 12 } else { 0 }
    }
}

/// Days in `month` (1 to 12) of `year`, whose last two digits decide: the chip takes every fourth year for a leap year.
fn days_in(month: u8, year: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Moves the clock registers in `r` on by one second.
pub(super) fn tick(r: &mut [u8; 128], f: Format) {
    let count = |v: u8, limit: u8| if v.wrapping_add(1) >= limit { (0, true) } else { (v + 1, false) };
    for i in [SECONDS, MINUTES] {
        let (v, carry) = count(f.decode(r[i]), 60);
        r[i] = f.encode(v);
        if !carry {
            return;
        }
    }
    let (hour, carry) = count(f.decode_hour(r[HOURS]), 24);
    r[HOURS] = f.encode_hour(hour);
    if carry {
        next_day(r, f);
    }
}

/// Moves the date on by one day.
pub(super) fn next_day(r: &mut [u8; 128], f: Format) {
    r[DAY_OF_WEEK] = r[DAY_OF_WEEK] % 7 + 1;
    let (day, month, year) = (f.decode(r[DAY]), f.decode(r[MONTH]), f.decode(r[YEAR]));
    if day < days_in(month, year) {
        r[DAY] = f.encode(day + 1);
        return;
    }
    r[DAY] = f.encode(1);
    if month < 12 {
        r[MONTH] = f.encode(month + 1);
        return;
    }
    r[MONTH] = f.encode(1);
    if year < 99 {
        r[YEAR] = f.encode(year + 1);
        return;
    }
    r[YEAR] = 0;
    // The century is always BCD, as firmware reads it.
    let bcd = Format { binary: false, hours_24: true };
    r[CENTURY] = bcd.encode(bcd.decode(r[CENTURY]).wrapping_add(1) % 100);
}

/// Sets the clock registers to `seconds` since 1970-01-01 00:00 UTC; years beyond 9999 wrap.
pub(super) fn set(r: &mut [u8; 128], f: Format, seconds: u64) {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    r[SECONDS] = f.encode((second % 60) as u8);
    r[MINUTES] = f.encode((second / 60 % 60) as u8);
    r[HOURS] = f.encode_hour((second / 3600) as u8);
    r[DAY_OF_WEEK] = ((days + 4) % 7) as u8 + 1; // 1970-01-01 was a Thursday; Sunday is 1

    // Civil date from days since 0000-03-01, in eras of 400 years.
    let z = days % 3_652_059 + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = (era * 400 + year_of_era + u64::from(month <= 2)) % 10_000;
    r[DAY] = f.encode(day as u8);
    r[MONTH] = f.encode(month as u8);
    r[YEAR] = f.encode((year % 100) as u8);
    r[CENTURY] = Format { binary: false, hours_24: true }.encode((year / 100) as u8);
}
