//! Moments as people and programs write them: RFC 3339 in UTC, to the millisecond.

use keyward_core::time::Timestamp;

/// The text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is a date and time with its offset, such as 2027-01-31T12:00:00Z (RFC 3339)")]
pub struct MomentRefused;

/// `2027-01-31T12:00:00Z`; a moment that no four-digit year holds is written as its Unix milliseconds.
pub fn write(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_unix_ms())
        .map_or_else(|_| at.as_unix_ms().to_string(), |moment| moment.to_string())
}

/// Reads an RFC 3339 text.
///
/// # Errors
/// [`MomentRefused`].
pub fn read(text: &str) -> Result<Timestamp, MomentRefused> {
    let moment: jiff::Timestamp = text.trim().parse().map_err(|_| MomentRefused)?;
    Ok(Timestamp::from_unix_ms(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_back_and_offsets_count() {
        let at = Timestamp::from_unix_ms(1_767_225_600_123);
        assert_eq!(write(at), "2026-01-01T00:00:00.123Z");
        assert_eq!(read(&write(at)), Ok(at));
        assert_eq!(read("2026-01-01T01:00:00.123+01:00"), Ok(at));
        for bad in ["", "tomorrow", "2026-01-01", "2026-01-01T00:00:00"] {
            assert_eq!(read(bad), Err(MomentRefused), "{bad}");
        }
    }
}
