//! Edit a dataset: name, description, preferences, attributes. What is absent stays; type and content never change.

use axum::response::Response;
use http::StatusCode;
use keyward_api::fields::{Fields, kind_of};
use keyward_core::field::FieldProblem;
use keyward_engine::datasets::DatasetEdit;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::Call;
use serde_json::Value;

use super::id_of;
use crate::shapes::Dataset;
use crate::values;

/// Edits a dataset.
pub(crate) async fn edit(permit: Permit, mut call: Call) -> Result<Response, Problem> {
    let id = id_of(&call)?;
    let edit = read(call.fields().await?)?;
    let engine = &call.site.engine;
    let edited = engine.edit_dataset(&permit, &call.context, &id, edit).await?;
    reply::json(StatusCode::OK, &Dataset::of(&call.site, &edited))
}

fn read(mut fields: Fields) -> Result<DatasetEdit, Vec<FieldProblem>> {
    let edit = DatasetEdit {
        name: fields.parsed("name", values::name),
        description: read_description(&mut fields),
        preference: values::preference(&mut fields),
        attributes: values::attributes(&mut fields, values::attribute_edit),
    };
    fields.finish(edit)
}

/// A description that is null is removed.
fn read_description(fields: &mut Fields) -> Option<Option<String>> {
    let read = match fields.take_nullable("description")? {
        None => Ok(None),
        Some(Value::String(text)) => values::free_text(&text).map(Some),
        Some(other) => Err(format!("must be a text, not {}", kind_of(&other))),
    };
    fields.keep("description", read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(body: &str) -> Result<DatasetEdit, Vec<FieldProblem>> {
        read(Fields::of_body(body.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_absent_or_unknown_changes_nothing() {
        let body = r#"{"type": "vqa", "content": 7, "name": null, "metadata": {}}"#;
        assert_eq!(read_body(body), Ok(DatasetEdit::default()));
    }

    #[test]
    fn null_removes_a_description_and_an_empty_one_is_kept() {
        assert_eq!(
            read_body(r#"{"description": null}"#).unwrap().description,
            Some(None)
        );
        let kept = read_body(r#"{"description": ""}"#).unwrap().description;
        assert_eq!(kept, Some(Some(String::new())));
        assert_eq!(
            read_body(r#"{"description": 1}"#).unwrap_err()[0].field,
            "description"
        );
    }
}
