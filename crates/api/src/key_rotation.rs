//! A rotation on the wire: which mode, and what comes of it.

use keyward_core::field::FieldProblem;
use keyward_core::rotation::{DEFAULT_OVERLAP_MS, RotationChoice, RotationMode};
use keyward_core::time::{Timestamp, parse_duration_ms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::keys::KeyDetailView;
use crate::moment;
use crate::schema::RotationModeName;

/// The names of the modes.
pub const MODES: [&str; 3] = ["immediate", "overlap", "on_first_use"];

/// What [`read_rotation`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = Rotation)]
pub struct RotationBody {
    /// `immediate` refuses the old secret from now on; `overlap` (the usual one) accepts both until a moment; `on_first_use` keeps the
    /// old one until the new one is used, and for a grace after that.
    #[schema(value_type = Option<RotationModeName>)]
    pub mode: Option<String>,
    /// With `overlap`: when the old secret ends, at most 30 days ahead and not after the key itself.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// With `overlap`: for how long the old secret is accepted; a day if neither is given.
    #[schema(pattern = "^[0-9]+(ms|s|m|h|d)$", example = "24h")]
    pub overlap: Option<String>,
    /// With `on_first_use`: for how long the old secret stays after the first use of the new one; a day if absent.
    #[schema(pattern = "^[0-9]+(ms|s|m|h|d)$", example = "24h")]
    pub grace: Option<String>,
}

/// Reads a rotation; the mode is `overlap` if none is given.
///
/// # Errors
/// Every problem that shows without the key.
pub fn read_rotation(mut fields: Fields, now: Timestamp) -> Result<RotationChoice, Vec<FieldProblem>> {
    let has_mode = fields.has("mode");
    let mode = fields.parsed("mode", |text| {
        let text = text.replace('-', "_");
        MODES
            .into_iter()
            .find(|mode| *mode == text)
            .ok_or("is one of immediate, overlap, on_first_use")
    });
    let (has_until, has_overlap, has_grace) =
        (fields.has("until"), fields.has("overlap"), fields.has("grace"));
    let until = fields.parsed("until", moment::read);
    let overlap = fields.parsed("overlap", parse_duration_ms);
    let grace = fields.parsed("grace", parse_duration_ms);
    if has_until && has_overlap {
        fields.problem("overlap", "give either until or overlap");
    }
    // What belongs to a mode that can't be read is not known.
    let is_known = mode.is_some() || !has_mode;
    let mode = mode.unwrap_or("overlap");
    for (field, is_there, of) in [
        ("until", has_until, "overlap"),
        ("overlap", has_overlap, "overlap"),
        ("grace", has_grace, "on_first_use"),
    ] {
        if is_there && is_known && mode != of {
            fields.problem(field, format!("belongs to the mode `{of}`, and this is `{mode}`"));
        }
    }
    let choice = match (mode, until, overlap) {
        ("immediate", ..) => RotationChoice::Mode(RotationMode::Immediate),
        ("on_first_use", ..) => RotationChoice::Mode(RotationMode::OnFirstUse {
            grace_ms: grace.unwrap_or(DEFAULT_OVERLAP_MS),
        }),
        (_, Some(until), _) => RotationChoice::Mode(RotationMode::Overlap { until }),
        (_, None, Some(span)) => RotationChoice::Mode(RotationMode::Overlap {
            until: now.plus_ms(span),
        }),
        (_, None, None) => RotationChoice::UsualOverlap,
    };
    fields.finish_strictly(choice)
}

/// A rotated key with its new value: one of the replies that hold one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RotatedKey)]
pub struct RotatedKeyView {
    /// The key with its secrets.
    #[serde(flatten)]
    pub key: KeyDetailView,
    /// The new secret's value, shown this once. Null where a request with an Idempotency-Key is repeated too late.
    pub value: Option<String>,
    /// The address of the resource API, for the snippets beside the value.
    pub endpoint: String,
}

impl std::fmt::Debug for RotatedKeyView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "RotatedKeyView({})", self.key.key.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

    fn read(body: &str) -> Result<RotationChoice, Vec<String>> {
        read_rotation(Fields::of_body(body.as_bytes()).unwrap(), NOW)
            .map_err(|problems| problems.into_iter().map(|problem| problem.field).collect())
    }

    #[test]
    fn a_rotation_overlaps_unless_it_says_otherwise() {
        let mode = |mode| Ok(RotationChoice::Mode(mode));
        assert_eq!(read("{}"), Ok(RotationChoice::UsualOverlap));
        assert_eq!(read(r#"{"mode": "immediate"}"#), mode(RotationMode::Immediate));
        let until = NOW.plus_ms(3_600_000);
        assert_eq!(
            read(r#"{"overlap": "1h"}"#),
            mode(RotationMode::Overlap { until })
        );
        assert_eq!(
            read(r#"{"mode": "on-first-use", "grace": "5s"}"#),
            mode(RotationMode::OnFirstUse { grace_ms: 5_000 })
        );
    }

    #[test]
    fn what_does_not_belong_to_the_mode_is_named() {
        let fields = |fields: &[&str]| Err(fields.iter().map(|field| (*field).to_owned()).collect());
        assert_eq!(
            read(r#"{"mode": "immediate", "grace": "1h"}"#),
            fields(&["grace"])
        );
        assert_eq!(read(r#"{"grace": "1h"}"#), fields(&["grace"]));
        assert_eq!(
            read(r#"{"until": "2026-01-02T00:00:00Z", "overlap": "1h", "x": 1}"#),
            fields(&["overlap", "x"])
        );
        assert_eq!(
            read(r#"{"mode": "soon", "until": "soon"}"#),
            fields(&["mode", "until"])
        );
        assert_eq!(read(r#"{"mode": "soon", "grace": "1h"}"#), fields(&["mode"]));
    }
}
