//! Create a dataset.
//!
//! What is absent becomes what the client would have sent for it, so that a request by hand needs a name only.

use axum::response::Response;
use http::StatusCode;
use keyward_api::fields::{Fields, kind_of};
use keyward_core::field::FieldProblem;
use keyward_core::ids::OrganizationId;
use keyward_engine::datasets::NewDataset;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::Call;
use serde_json::Value;

use crate::shapes::Dataset;
use crate::values;

/// The types that the client knows; it cannot decode any other one. The first is its default.
const TYPES: [&str; 3] = ["phrase-grounding", "vqa", "freeform"];
const CONTENTS: [&str; 1] = ["Image"];
const LOCALIZATIONS: [&str; 1] = ["Datature/Multi"];
/// Longest owner, in characters.
const MAX_OWNER: usize = 100;
/// Most tags of a dataset.
const MAX_TAGS: usize = 1_000;

/// Creates a dataset.
pub(crate) async fn create(permit: Permit, mut call: Call) -> Result<Response, Problem> {
    let new = read(call.fields().await?, permit.organization_id())?;
    let engine = &call.site.engine;
    let made = engine.create_dataset(&permit, &call.context, new).await?;
    reply::json(StatusCode::CREATED, &Dataset::of(&call.site, &made))
}

fn read(mut fields: Fields, organization: &OrganizationId) -> Result<NewDataset, Vec<FieldProblem>> {
    let name = fields.required_text("name");
    let name = name.and_then(|name| fields.keep("name", values::name(&name)));
    let [default_type, ..] = TYPES;
    let [default_content] = CONTENTS;
    let new = NewDataset {
        name: name.unwrap_or_default(),
        description: fields.parsed("description", values::free_text),
        kind: fields
            .parsed("type", values::one_of(&TYPES))
            .unwrap_or_else(|| default_type.to_owned()),
        content: fields
            .parsed("content", values::one_of(&CONTENTS))
            .unwrap_or_else(|| default_content.to_owned()),
        owner: fields
            .parsed("owner", |text| values::bounded(text, MAX_OWNER))
            .unwrap_or_else(|| organization.to_string()),
        status: fields.integer("status").unwrap_or_default(),
        localization: fields.parsed("localization", values::one_of(&LOCALIZATIONS)),
        data_localization: fields.parsed("dataLocalization", values::one_of(&LOCALIZATIONS)),
        tags: values::map(&mut fields, "tags", MAX_TAGS, tag).unwrap_or_default(),
        attributes: values::attributes(&mut fields, values::attribute),
    };
    fields.finish(new)
}

fn tag(value: Value) -> Result<i64, String> {
    value
        .as_i64()
        .ok_or_else(|| format!("must be a whole number, not {}", kind_of(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(body: &str) -> Result<NewDataset, Vec<FieldProblem>> {
        let fields = Fields::of_body(body.as_bytes()).unwrap();
        read(fields, &"org-1".parse().unwrap())
    }

    #[test]
    fn a_name_is_enough() {
        let new = read_body(r#"{"name": "Drones", "anything": [1]}"#).unwrap();
        assert_eq!(
            (
                new.kind.as_str(),
                new.content.as_str(),
                new.owner.as_str(),
                new.status
            ),
            ("phrase-grounding", "Image", "org-1", 0)
        );
        assert_eq!((new.description, new.localization), (None, None));
    }

    #[test]
    fn every_problem_comes_at_once() {
        let body = r#"{"name": "\n", "type": "holograms", "content": "Video", "owner": 1, "description": "\u0007",
            "localization": "Mars", "dataLocalization": null, "status": 0.5, "tags": {"ripe": "1"},
            "metadata": {"attributes": {"season": 1}}}"#;
        let problems = read_body(body).unwrap_err();
        let names: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        let expected = [
            "name",
            "description",
            "type",
            "content",
            "owner",
            "status",
            "localization",
            "tags.ripe",
            "metadata.attributes.season",
        ];
        assert_eq!(names, expected);
        assert_eq!(
            problems[2].message,
            "must be `phrase-grounding` or `vqa` or `freeform`"
        );
    }
}
