//! When a key's refusals have risen: the one rule for what people are shown and for what they are told.
//!
//! The refusals of the last 24 hours are at least [`LEAST_REFUSALS`], and at least [`TIMES_BASELINE`] times the average of a
//! day in the 14 days before. A key that was refused never before has an average of zero, and rises at the least number.
//! Refusals count where the secret matched, an ended one included: whoever knows no more than a key's id can't raise an alarm.

use crate::time::Timestamp;
use crate::usage::hour_of;

/// The hours that are looked at, the present one included.
pub const RECENT_HOURS: i64 = 24;
/// The days before them, which say what is usual for the key.
pub const BASELINE_DAYS: i64 = 14;
/// Fewer refusals are no rise, whatever was usual.
pub const LEAST_REFUSALS: i64 = 20;
/// So many times what is usual is a rise.
pub const TIMES_BASELINE: i64 = 3;
/// The rule in a sentence, for descriptions.
pub const RULE: &str = "the refusals of the last 24 hours are at least 20, and at least 3 times the key's own average of a day in the \
    14 days before; attempts where only the key's id matched do not count";

/// Which hours a rise is seen in, as numbers of hours of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiseHours {
    /// The first hour of the baseline.
    pub baseline_from: i64,
    /// The first recent hour; the baseline ends before it.
    pub recent_from: i64,
    /// The present hour, the last that is looked at.
    pub until: i64,
}

impl RiseHours {
    /// Those of a moment.
    pub const fn at(now: Timestamp) -> Self {
        let until = hour_of(now);
        let recent_from = until.saturating_sub(RECENT_HOURS - 1);
        Self {
            baseline_from: recent_from.saturating_sub(BASELINE_DAYS * 24),
            recent_from,
            until,
        }
    }
}

/// Whether `recent` refusals are a rise over `baseline` of them in all of the [`BASELINE_DAYS`].
pub const fn is_rise(recent: i64, baseline: i64) -> bool {
    // Wide enough for any two counts.
    recent >= LEAST_REFUSALS
        && recent as i128 * BASELINE_DAYS as i128 >= TIMES_BASELINE as i128 * baseline as i128
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{DAY_MS, HOUR_MS};

    #[test]
    fn a_rise_is_many_and_unusual() {
        assert!(is_rise(20, 0));
        assert!(!is_rise(19, 0), "too few to be told");
        // 10 a day is usual: 30 is three times as much.
        assert!(is_rise(30, 140));
        assert!(!is_rise(29, 140));
        assert!(!is_rise(1_000, 14_000), "as usual");
        assert!(is_rise(i64::MAX, i64::MAX));
    }

    #[test]
    fn the_hours_lie_side_by_side() {
        let now = Timestamp::from_unix_ms(100 * DAY_MS + 5 * HOUR_MS + 1);
        let hours = RiseHours::at(now);
        assert_eq!(hours.until, 100 * 24 + 5);
        assert_eq!(hours.recent_from, 99 * 24 + 6, "24 hours with the present one");
        assert_eq!(hours.recent_from - hours.baseline_from, 14 * 24);
    }

    proptest! {
        #[test]
        fn more_refusals_never_end_a_rise(recent in 0..i64::MAX, more in 0..i64::MAX, baseline in 0..i64::MAX) {
            if is_rise(recent, baseline) {
                prop_assert!(is_rise(recent.saturating_add(more), baseline));
            }
        }

        #[test]
        fn more_usual_refusals_never_make_one(recent in 0..i64::MAX, more in 0..i64::MAX, baseline in 0..i64::MAX) {
            if !is_rise(recent, baseline) {
                prop_assert!(!is_rise(recent, baseline.saturating_add(more)));
            }
        }

        #[test]
        fn what_is_usual_is_no_rise(a_day in 1..1_000_000_i64) {
            prop_assert!(!is_rise(a_day, a_day * BASELINE_DAYS));
            prop_assert!(!is_rise(2 * a_day, a_day * BASELINE_DAYS));
        }
    }
}
