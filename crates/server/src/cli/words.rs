//! Times, states and dates as a person says them. The server says what is so; this only words it.

use keyward_api::keys::{KeyView, LastUseView, RateLimitView};
use keyward_api::moment;
use keyward_core::rotation::DueStatus;
use keyward_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp, duration_words};

/// `never`, `just now`, `3 hours ago`. A moment that this machine's clock has not reached is just now.
pub(super) fn ago(at: Option<&str>, now: Timestamp) -> String {
    let Some(at) = at else {
        return "never".to_owned();
    };
    match moment::read(at) {
        Err(_) => at.to_owned(),
        Ok(at) => match now.as_unix_ms().saturating_sub(at.as_unix_ms()) {
            ..SECOND_MS => "just now".to_owned(),
            passed => format!("{} ago", roughly(passed)),
        },
    }
}

/// `dataset.read from 192.0.2.7 by curl/8.5.0`.
pub(super) fn last_use(last: &LastUseView) -> String {
    format!("{} from {} by {}", last.operation, last.address, last.client)
}

/// How a key stands to its next rotation: `as needed`, `in 80 days`, `due in 9 days`, `due now`, `overdue by 3 days`.
pub(super) fn rotation(key: &KeyView, now: Timestamp) -> String {
    let due_at = key
        .rotation_due_at
        .as_deref()
        .and_then(|at| moment::read(at).ok());
    let Some(due_at) = due_at else {
        return "as needed".to_owned();
    };
    if matches!(key.state.as_str(), "deleted" | "expired") {
        return "ended".to_owned();
    }
    let ahead = due_at.as_unix_ms().saturating_sub(now.as_unix_ms());
    match DueStatus::from_name(&key.rotation) {
        Some(DueStatus::NotDue) => format!("in {}", roughly(ahead)),
        Some(DueStatus::DueSoon) => format!("due in {}", roughly(ahead)),
        Some(DueStatus::Due) => "due now".to_owned(),
        Some(DueStatus::Overdue) => format!("overdue by {}", roughly(ahead.saturating_neg())),
        // A later server's word.
        None => key.rotation.replace('_', " "),
    }
}

/// `paused (requested)`.
pub(super) fn state(state: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{state} ({})", reason.replace('_', " ")),
        None => state.to_owned(),
    }
}

/// `100 requests in 1 minute`.
pub(super) fn rate_limit(limit: RateLimitView) -> String {
    let period = duration_words(i64::from(limit.per_seconds) * SECOND_MS);
    format!("{} requests in {period}", limit.requests)
}

/// `1 key`, `2 keys`.
pub(super) fn keys(count: usize) -> String {
    format!("{count} key{}", if count == 1 { "" } else { "s" })
}

/// In the largest unit of which there is one, rounded down: `3 hours`.
fn roughly(ms: i64) -> String {
    let units = [
        (DAY_MS, "day"),
        (HOUR_MS, "hour"),
        (MINUTE_MS, "minute"),
        (SECOND_MS, "second"),
    ];
    match units.into_iter().find(|(unit_ms, _)| ms >= *unit_ms) {
        Some((unit_ms, unit)) => {
            let count = ms / unit_ms;
            format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
        }
        None => "less than a second".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

    fn before(ms: i64) -> String {
        ago(Some(&moment::write(NOW.plus_ms(-ms))), NOW)
    }

    #[test]
    fn a_last_use_is_told_from_now() {
        assert_eq!(ago(None, NOW), "never");
        for (ms, words) in [
            (-5_000, "just now"),
            (0, "just now"),
            (999, "just now"),
            (1_000, "1 second ago"),
            (59_999, "59 seconds ago"),
            (3 * HOUR_MS + 59 * MINUTE_MS, "3 hours ago"),
            (24 * HOUR_MS, "1 day ago"),
            (100 * DAY_MS + 5, "100 days ago"),
        ] {
            assert_eq!(before(ms), words);
        }
    }

    #[test]
    fn a_due_date_is_told_in_words() {
        let mut key: KeyView = serde_json::from_value(serde_json::json!({
            "id": "", "organization_id": "", "name": "", "description": "", "state": "active", "scopes": [], "level": "full",
            "rules": [], "tags": [], "rotation": "not_due", "hint": "", "created_by": "", "created_at": "", "updated_at": "",
            "version": 1
        }))
        .unwrap();
        assert_eq!(rotation(&key, NOW), "as needed");
        for (status, days, words) in [
            ("not_due", 80, "in 80 days"),
            ("due_soon", 9, "due in 9 days"),
            ("due", 0, "due now"),
            ("overdue", -3, "overdue by 3 days"),
            ("past_help", -3, "past help"),
        ] {
            key.rotation = status.to_owned();
            key.rotation_due_at = Some(moment::write(NOW.plus_ms(days * DAY_MS)));
            assert_eq!(rotation(&key, NOW), words);
        }
        key.state = "deleted".to_owned();
        assert_eq!(rotation(&key, NOW), "ended");
    }
}
