//! How moments, spans and what a key may do are written for people.
//!
//! A moment is shown relative to now and has the exact one, in UTC, within reach: as a tooltip and in the markup.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use keyward_core::access::Access;
use keyward_core::environment::Environment;
use keyward_core::level::PermissionLevel;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};

/// A moment on a page: `<time>` with its relative text, the exact one on hover.
#[derive(Template, Debug, Clone, PartialEq, Eq)]
#[template(
    source = r#"<time datetime="{{ iso }}" title="{{ exact }}">{{ text }}</time>"#,
    ext = "html"
)]
pub(crate) struct When {
    pub(crate) text: String,
    pub(crate) exact: String,
    pub(crate) iso: String,
}

// Its own template escapes every value of it.
impl HtmlSafe for When {}

impl When {
    /// `3 days ago`, `in 2 hours`, or the date for what is further away than a month.
    pub(crate) fn relative(at: Timestamp, now: Timestamp) -> Self {
        Self::with_text(at, relative(at, now))
    }

    /// `24 Sep 2026`.
    pub(crate) fn date(at: Timestamp) -> Self {
        Self::with_text(at, date(at))
    }

    /// `24 Sep 2026, 14:03 UTC`.
    pub(crate) fn exact(at: Timestamp) -> Self {
        Self::with_text(at, exact(at))
    }

    fn with_text(at: Timestamp, text: String) -> Self {
        Self {
            text,
            exact: exact(at),
            iso: formatted(at, "%Y-%m-%dT%H:%M:%SZ"),
        }
    }
}

/// A moment relative to now, as people say it.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let ms = now.as_unix_ms().saturating_sub(at.as_unix_ms());
    let (past, span) = (ms >= 0, ms.saturating_abs());
    let count = |unit: i64, name: &str| {
        let count = span / unit;
        let plural = if count == 1 { "" } else { "s" };
        if past {
            format!("{count} {name}{plural} ago")
        } else {
            format!("in {count} {name}{plural}")
        }
    };
    match span {
        0..MINUTE_MS if past => "just now".to_owned(),
        0..MINUTE_MS => "in a moment".to_owned(),
        MINUTE_MS..HOUR_MS => count(MINUTE_MS, "minute"),
        HOUR_MS..DAY_MS => count(HOUR_MS, "hour"),
        _ if span < 2 * DAY_MS => if past { "yesterday" } else { "tomorrow" }.to_owned(),
        _ if span < 31 * DAY_MS => count(DAY_MS, "day"),
        _ => date(at),
    }
}

/// `24 Sep 2026`, in UTC.
pub(crate) fn date(at: Timestamp) -> String {
    formatted(at, "%-d %b %Y")
}

/// `24 Sep 2026, 14:03 UTC`.
pub(crate) fn exact(at: Timestamp) -> String {
    formatted(at, "%-d %b %Y, %H:%M UTC")
}

/// `2026-09-24`, as date fields have it.
pub(crate) fn day_text(at: Timestamp) -> String {
    formatted(at, "%Y-%m-%d")
}

/// The beginning of a day that a date field holds (`2026-09-24`), in UTC.
pub(crate) fn read_day(text: &str) -> Option<Timestamp> {
    // A date with a time would be read as well, and its time forgotten.
    if text.len() != "2026-09-24".len() {
        return None;
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    let zoned = date.to_zoned_datetime(TimeZone::UTC).ok()?;
    Some(Timestamp::from_unix_ms(zoned.timestamp().as_millisecond()))
}

fn formatted(at: Timestamp, format: &str) -> String {
    // Moments outside of jiff's range are no moments of ours; they get a text all the same.
    jiff::Timestamp::from_millisecond(at.as_unix_ms())
        .map(|moment| moment.strftime(format).to_string())
        .unwrap_or_else(|_| "at no date".to_owned())
}

/// `1 key`, `2 keys`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// `12 345`: digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// An environment as people read it; `None` for a key without one.
pub(crate) const fn environment_name(environment: Option<Environment>) -> &'static str {
    match environment {
        Some(Environment::Production) => "Production",
        Some(Environment::Staging) => "Staging",
        Some(Environment::Development) => "Development",
        Some(Environment::CiCd) => "CI/CD",
        None => "None",
    }
}

/// A level as people read it.
pub(crate) const fn level_name(level: PermissionLevel) -> &'static str {
    match level {
        PermissionLevel::Full => "Full",
        PermissionLevel::ReadOnly => "Read Only",
        PermissionLevel::LabelerOnly => "Labeler Only",
        PermissionLevel::Restricted => "Restricted",
    }
}

/// One sentence about a level.
pub(crate) const fn level_sentence(level: PermissionLevel) -> &'static str {
    match level {
        PermissionLevel::Full => "Read and write everything within its access.",
        PermissionLevel::ReadOnly => "See everything within its access and change nothing.",
        PermissionLevel::LabelerOnly => {
            "See datasets and images, create and change annotations, nothing else."
        }
        PermissionLevel::Restricted => "Only the operations and resources that you list.",
    }
}

/// A scope as people read it.
pub(crate) const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Dataset => "Dataset",
        Scope::Training => "Training",
        Scope::Deployment => "Deployment",
    }
}

/// What a scope opens.
pub(crate) const fn scope_sentence(scope: Scope) -> &'static str {
    match scope {
        Scope::Dataset => "View, create and modify datasets and annotations",
        Scope::Training => "Create workflows, start runs, download models",
        Scope::Deployment => "Deploy models and run inference",
    }
}

/// `All`, `Dataset, Training`, or `None`.
pub(crate) fn access_text(scopes: ScopeSet) -> String {
    let names: Vec<_> = Scope::ALL
        .into_iter()
        .filter(|scope| scopes.contains(*scope))
        .map(scope_name)
        .collect();
    match names.len() {
        0 => "None".to_owned(),
        3 => "All".to_owned(),
        _ => names.join(", "),
    }
}

/// Access and permission in one line: `Dataset, Training · Read Only`.
pub(crate) fn access_line(access: &Access) -> String {
    format!(
        "{} \u{b7} {}",
        access_text(access.scopes()),
        level_name(access.permission().level())
    )
}

/// How long to wait, rounded up.
pub(crate) fn wait_words(retry_after_ms: i64) -> String {
    let seconds = retry_after_ms.max(0).div_euclid(1_000) + 1;
    if seconds > 90 {
        format!("{} minutes", seconds.div_euclid(60) + 1)
    } else {
        counted(seconds.unsigned_abs(), "second", "seconds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_said_as_people_say_them() {
        let now = Timestamp::from_unix_ms(1_790_000_000_000);
        for (ms, text) in [
            (0, "just now"),
            (-59_999, "just now"),
            (-60_000, "1 minute ago"),
            (-2 * HOUR_MS, "2 hours ago"),
            (-DAY_MS, "yesterday"),
            (-3 * DAY_MS, "3 days ago"),
            (5_000, "in a moment"),
            (2 * DAY_MS, "in 2 days"),
            (-60 * DAY_MS, "23 Jul 2026"),
        ] {
            assert_eq!(relative(now.plus_ms(ms), now), text);
        }
        assert_eq!(exact(now), "21 Sep 2026, 14:13 UTC");
        assert_eq!(
            read_day(&day_text(now)).map(day_text).as_deref(),
            Some("2026-09-21")
        );
        assert_eq!(
            When::relative(now, now).to_string(),
            "<time datetime=\"2026-09-21T14:13:20Z\" title=\"21 Sep 2026, 14:13 UTC\">just now</time>"
        );
    }

    #[test]
    fn numbers_have_groups() {
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(counted(1, "key", "keys"), "1 key");
        assert_eq!(wait_words(0), "1 second");
    }
}
