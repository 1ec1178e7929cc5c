//! What is done to many keys, on the wire: dry run, real run, emergency stop, looking up.

use keyward_core::field::FieldProblem;
use keyward_core::key_filter::KeyFilter;
use keyward_core::state::DeleteReason;
use keyward_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::key_filter::{FilterBody, take_filter, take_required_filter};
use crate::keys::KeyView;
use crate::schema::{BulkActionName, DeleteReasonName};

/// What can be done to many keys.
pub const ACTIONS: [&str; 2] = ["delete", "pause"];
const LONGEST_TEXT: usize = 1_000;

/// What [`read_preview`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkDryRun)]
pub struct PreviewBody {
    /// What is to be done.
    #[schema(value_type = BulkActionName)]
    pub action: String,
    /// With `delete`: why. `removed` if absent.
    #[schema(value_type = Option<DeleteReasonName>)]
    pub reason: Option<String>,
    /// To which keys; `{}` means all of them.
    pub filter: FilterBody,
}

/// A request for a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewRequest {
    /// Why keys are to be deleted; `None` is to pause them.
    pub delete_as: Option<DeleteReason>,
    /// Which keys.
    pub filter: KeyFilter,
}

/// Reads a request for a dry run.
///
/// # Errors
/// Every problem.
pub fn read_preview(mut fields: Fields, now: Timestamp) -> Result<PreviewRequest, Vec<FieldProblem>> {
    fields.require("action");
    let action = fields.parsed("action", |text| {
        ACTIONS
            .into_iter()
            .find(|action| *action == text)
            .ok_or("is one of delete, pause")
    });
    let has_reason = fields.has("reason");
    let reason = fields.parsed("reason", |text| {
        DeleteReason::from_name(&text.replace('-', "_"))
            .ok_or("is one of removed, compromised, replaced, creator_left, unused, other")
    });
    if has_reason && action == Some("pause") {
        fields.problem("reason", "belongs to the action `delete`");
    }
    let filter = take_required_filter(&mut fields, now);
    let is_deletion = action != Some("pause");
    fields.finish_strictly(PreviewRequest {
        delete_as: is_deletion.then(|| reason.unwrap_or(DeleteReason::Removed)),
        filter: filter.unwrap_or_default(),
    })
}

/// What a dry run shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BulkPreview)]
pub struct PreviewView {
    /// To be sent with the real run, once.
    pub token: String,
    /// Until when it can be.
    #[schema(format = DateTime)]
    pub token_ends_at: String,
    /// How many keys it would happen to.
    pub count: usize,
    /// How many of them were used within the last 24 hours.
    pub used_within_a_day: usize,
    /// The keys, each with its last use.
    pub keys: Vec<KeyView>,
}

impl std::fmt::Debug for PreviewView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PreviewView({} keys)", self.count)
    }
}

/// What [`read_run`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkRun)]
pub struct RunBody {
    /// The dry run's token.
    #[schema(min_length = 1, max_length = 200)]
    pub token: String,
}

/// Reads the token of a real run.
///
/// # Errors
/// Every problem.
pub fn read_run(mut fields: Fields) -> Result<String, Vec<FieldProblem>> {
    let token = fields.required_text("token").unwrap_or_default();
    fields.finish_strictly(token)
}

/// What the real run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BulkOutcome)]
pub struct OutcomeView {
    /// What was done.
    #[schema(value_type = BulkActionName)]
    pub action: String,
    /// Whether it came to its end. If not, `problem` says why, and what is not in `done` was not changed or is not known.
    pub complete: bool,
    /// What stopped it.
    pub problem: Option<String>,
    /// The ids of the keys that it was done to; none of them is accepted any more.
    pub done: Vec<String>,
    /// The keys that were left out.
    pub left_out: Vec<LeftOutView>,
    /// Whether all of it is on a second server too. False: it is true while this primary lives, and not over a failover, since no
    /// commit waits for a standby. Left out where nothing was done, and where the database is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives_failover: Option<bool>,
}

/// A key that was left out of a bulk operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LeftOut)]
pub struct LeftOutView {
    /// The key.
    pub id: String,
    /// `appeared` or `changed` since the dry run, `ended` meanwhile, or `broken` (its seals do not open).
    pub why: String,
}

/// What [`read_stop`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = EmergencyStop)]
pub struct StopBody {
    /// Which keys are paused. Leave it out to stop the whole organization at once.
    pub filter: Option<FilterBody>,
}

/// Reads an emergency stop: the filter, or `None` for the whole organization.
///
/// # Errors
/// Every problem.
pub fn read_stop(mut fields: Fields, now: Timestamp) -> Result<Option<KeyFilter>, Vec<FieldProblem>> {
    if fields.is_null("filter") {
        fields.problem(
            "filter",
            "must be an object, `{}` for every key; leave it out to stop the whole organization",
        );
        fields.take("filter");
    }
    let filter = fields
        .has("filter")
        .then(|| take_required_filter(&mut fields, now))
        .flatten();
    fields.finish_strictly(filter)
}

/// What an emergency stop did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Stopped)]
pub struct StoppedView {
    /// Whether the whole organization is stopped: every key of it counts as paused then, and `paused` is empty.
    pub organization_stopped: bool,
    /// Whether it came to its end.
    pub complete: bool,
    /// What stopped it.
    pub problem: Option<String>,
    /// The ids of the keys that this call paused.
    pub paused: Vec<String>,
    /// Keys whose seals do not open: no request is accepted with them, and they can be deleted.
    pub broken: Vec<String>,
    /// Whether all of it is on a second server too. False: it is true while this primary lives, and not over a failover, since no
    /// commit waits for a standby. Left out where the database is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives_failover: Option<bool>,
}

/// What [`read_look_up`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = LookUp)]
pub struct LookUpBody {
    /// A key's value, its first characters (`dtvi_` and six more), a hint such as `dtvi_MDl1MD...x7Qw`, its end `...x7Qw`, or an
    /// id. It is kept nowhere.
    #[schema(min_length = 1, max_length = 1000)]
    pub text: String,
}

/// Reads a text to look up.
///
/// # Errors
/// Every problem.
pub fn read_look_up(mut fields: Fields) -> Result<String, Vec<FieldProblem>> {
    let text = fields.required_text("text").unwrap_or_default();
    if text.chars().count() > LONGEST_TEXT || text.contains('\u{0}') {
        fields.problem("text", format!("at most {LONGEST_TEXT} characters"));
    }
    fields.finish_strictly(text)
}

/// Reads the filter out of the parameters of a list, which were made fields.
pub fn read_list_filter(fields: &mut Fields, now: Timestamp) -> KeyFilter {
    take_filter(fields, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

    fn stop(body: &str) -> Result<Option<KeyFilter>, Vec<String>> {
        read_stop(Fields::of_body(body.as_bytes()).unwrap(), NOW)
            .map_err(|problems| problems.into_iter().map(|problem| problem.field).collect())
    }

    #[test]
    fn a_stop_without_a_filter_is_of_the_organization_and_null_is_a_mistake() {
        assert_eq!(stop("{}"), Ok(None));
        assert_eq!(stop(r#"{"filter": {}}"#), Ok(Some(KeyFilter::default())));
        assert_eq!(stop(r#"{"filter": null}"#), Err(vec!["filter".to_owned()]));
    }

    #[test]
    fn a_key_is_no_text_of_a_filter() {
        let vectors = include_str!("../../core/testdata/key-vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let key = vectors["valid"][0]["text"].as_str().unwrap();
        let body = format!(r#"{{"filter": {{"text": "{key}"}}}}"#);
        assert_eq!(stop(&body), Err(vec!["filter.text".to_owned()]));
    }
}
