//! What the clock chip says at power-on.

use super::ConfigError;

/// A moment of the proleptic Gregorian calendar, to the second, without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcStart {
    /// Year, 1980 to 2099: what a PC's clock can hold.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute.
    pub minute: u8,
    /// Second.
    pub second: u8,
}

/// A fixed moment, so that two runs are alike unless somebody wants otherwise.
impl Default for RtcStart {
    fn default() -> Self {
        RtcStart { year: 2026, month: 1, day: 1, hour: 0, minute: 0, second: 0 }
    }
}

impl RtcStart {
    /// Reads `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for anything else, and for moments that no calendar has.
    pub fn parse(text: &str) -> Result<RtcStart, ConfigError> {
        let error = || ConfigError::Value(format!("`{text}` is not a date from 1980 to 2099 like 1994-05-31T12:00:00"));
        let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
        let [year, month, day] = numbers(date, '-').ok_or_else(error)?;
        let [hour, minute, second] = numbers(time, ':').ok_or_else(error)?;
        let valid = (1980..2100).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !valid {
            return Err(error());
        }
        let byte = |n: u16| n as u8;
        let (month, day, hour) = (byte(month), byte(day), byte(hour));
        Ok(RtcStart { year, month, day, hour, minute: byte(minute), second: byte(second) })
    }

    /// The moment `seconds` after 1970-01-01T00:00:00, kept within the years that the clock can hold.
    #[must_use]
    pub fn from_unix(seconds: u64) -> RtcStart {
        let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
        let (mut year, mut month) = (1970u16, 1u16);
        while year < 2100 && days >= days_in_year(year) {
            days -= days_in_year(year);
            year += 1;
        }
        if !(1980..2100).contains(&year) {
            return RtcStart::default();
        }
        while days >= u64::from(days_in(year, month)) {
            days -= u64::from(days_in(year, month));
            month += 1;
        }
        let byte = |n: u64| n as u8;
        let (hour, minute, second) = (byte(rest / 3600), byte(rest / 60 % 60), byte(rest % 60));
        RtcStart { year, month: month as u8, day: byte(days + 1), hour, minute, second }
    }

    /// Seconds from 1970-01-01T00:00:00 to this moment.
    #[must_use]
    pub fn to_unix(&self) -> u64 {
        let days: u64 = (1970..self.year).map(days_in_year).sum::<u64>()
            + (1..u16::from(self.month)).map(|m| u64::from(days_in(self.year, m))).sum::<u64>()
            + u64::from(self.day - 1);
        days * 86_400 + u64::from(self.hour) * 3600 + u64::from(self.minute) * 60 + u64::from(self.second)
    }
}

fn numbers(text: &str, separator: char) -> Option<[u16; 3]> {
    let parts: Vec<u16> = text.split(separator).map(|p| p.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: u16, month: u16) -> u16 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_and_convert() {
        let d = RtcStart::parse("1999-12-31T23:59:58").unwrap();
        assert_eq!(RtcStart::from_unix(946_684_798), d);
        assert_eq!(d.to_unix(), 946_684_798);
        assert_eq!(RtcStart::from_unix(951_782_400), RtcStart::parse("2000-02-29").unwrap());
        assert_eq!(RtcStart::from_unix(u64::MAX), RtcStart::default());
    }

    #[test]
    fn impossible_dates_are_refused() {
        for text in ["", "2026", "2026-13-01", "2025-02-29", "1979-12-31", "2026-01-01T24:00:00", "2026-1-x"] {
            assert!(RtcStart::parse(text).is_err(), "{text}");
        }
    }
}
