//! The civil calendar in UTC, for log lines and snapshot stamps, and lengths of time.

use std::time::{Duration, Instant};

/// A point in time, broken down in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the usual names")]
pub struct Utc {
    pub year: i64,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

impl Utc {
    /// From seconds since 1970 (the days-to-civil conversion counts eras of 400 years from
    /// March, so that the leap day is the last of its year).
    pub fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let of_day = seconds.rem_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let small = |n: i64| u8::try_from(n).unwrap_or_default();
        Self {
            year,
            month: small(month),
            day: small(day),
            hour: small(of_day / 3_600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
        }
    }

    /// `YYYYMMDDHHMMSS`, as in LXC's log lines.
    pub fn compact(self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }
}

/// A length of time, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Forever,
    /// That long.
    For(Duration),
}

impl Patience {
    /// LXC's seconds: negative is for ever.
    pub fn seconds(seconds: i64) -> Self {
        u64::try_from(seconds).map_or(Self::Forever, |s| Self::For(Duration::from_secs(s)))
    }

    /// Rounded up; 0 for ever.
    pub fn whole_seconds(self) -> u64 {
        match self {
            Self::Forever => 0,
            Self::For(time) => time.as_millis().div_ceil(1000) as u64,
        }
    }

    /// When it is over.
    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::Forever => None,
            Self::For(time) => Instant::now().checked_add(time),
        }
    }
}

/// `1.25`: a length of time in seconds, cut to hundredths. Floating-point numbers would bring the
/// standard library's eight kilobytes that print them.
pub fn seconds(time: Duration) -> String {
    format!("{}.{:02}", time.as_secs(), time.subsec_millis() / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "19700101000000"),
            (951_782_399, "20000228235959"),
            (951_782_400, "20000229000000"),
            (1_709_251_199, "20240229235959"),
            (4_102_444_800, "21000101000000"),
            (-1, "19691231235959"),
        ] {
            assert_eq!(Utc::from_unix(seconds).compact(), text);
        }
    }
}
