//! Points in time and spans, in milliseconds, everywhere.
//!
//! No clock here: whoever decides brings `now` along. Display for people is the edges' business.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z; the only form of time that is stored or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix milliseconds.
    pub const fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// As Unix milliseconds.
    pub const fn as_unix_ms(self) -> i64 {
        self.0
    }

    /// This moment moved by `ms` (negative: earlier); stops at the ends of the range instead of wrapping.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// One second, minute, hour and day in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// See [`SECOND_MS`].
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// See [`SECOND_MS`].
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// See [`SECOND_MS`].
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A duration as people write it: a whole number and `ms`, `s`, `m`, `h` or `d` (`90d`, `2s`), in milliseconds.
///
/// # Errors
/// [`DurationRefused`] for anything else, zero and overflow included.
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationRefused> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).ok_or(DurationRefused)?;
    let (digits, unit) = text.split_at_checked(digits_end).ok_or(DurationRefused)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return Err(DurationRefused),
    };
    let count: i64 = digits.parse().map_err(|_| DurationRefused)?;
    count
        .checked_mul(unit_ms)
        .filter(|ms| *ms > 0)
        .ok_or(DurationRefused)
}

/// A duration as [`parse_duration_ms`] reads it, in the largest unit that fits without a rest: `90d`.
pub fn write_duration_ms(ms: i64) -> String {
    let units = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s")];
    let (unit_ms, unit) = units
        .into_iter()
        .find(|(unit_ms, _)| ms != 0 && ms % unit_ms == 0)
        .unwrap_or((1, "ms"));
    format!("{}{unit}", ms / unit_ms)
}

/// A duration in words, in the largest unit that fits without a rest: `90 days`, `36 hours`.
pub fn duration_words(ms: i64) -> String {
    let units = [
        (DAY_MS, "day"),
        (HOUR_MS, "hour"),
        (MINUTE_MS, "minute"),
        (SECOND_MS, "second"),
    ];
    let (unit_ms, unit) = units
        .into_iter()
        .find(|(unit_ms, _)| ms != 0 && ms % unit_ms == 0)
        .unwrap_or((1, "millisecond"));
    let count = ms / unit_ms;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number above zero and a unit: `30s`, `15m`, `12h`, `90d`")]
pub struct DurationRefused;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_use_the_largest_unit_that_fits() {
        for (ms, words) in [
            (90 * DAY_MS, "90 days"),
            (DAY_MS, "1 day"),
            (36 * HOUR_MS, "36 hours"),
            (90_500, "90500 milliseconds"),
        ] {
            assert_eq!(duration_words(ms), words);
        }
        assert_eq!(duration_words(0), "0 milliseconds");
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(parse_duration_ms("2s"), Ok(2_000));
        assert_eq!(parse_duration_ms("90d"), Ok(90 * DAY_MS));
        assert_eq!(parse_duration_ms("5ms"), Ok(5));
        for ms in [1, 999, 1_000, 90 * DAY_MS, 36 * HOUR_MS] {
            assert_eq!(parse_duration_ms(&write_duration_ms(ms)), Ok(ms));
        }
        for bad in [
            "",
            "s",
            "0s",
            "1",
            "1.5h",
            "-1s",
            "1w",
            "99999999999999999d",
            "1 d",
        ] {
            assert_eq!(parse_duration_ms(bad), Err(DurationRefused), "{bad}");
        }
    }
}
