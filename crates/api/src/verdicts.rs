//! Questions of a server whose callers hold secret keys, and the answers: may this key do this?
//!
//! A question holds a key, so it is never printed and its `Debug` shows none; an answer holds none. A key that is no key
//! is answered like any other refusal, not as a fault of the request.

use std::net::IpAddr;

use keyward_core::field::FieldProblem;
use keyward_core::operation::Operation;
use keyward_core::resource::ResourceType;
use keyward_core::secret::{KeyTextKind, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::{Fields, bounded, kind_of};
use crate::schema::{LevelName, OperationName, ScopeName};

/// Most questions of one request.
pub const MAX_QUESTIONS: usize = 100;

/// One question.
#[derive(Debug)]
pub struct KeyQuestion {
    /// What was presented as a key.
    pub key: Secret<KeyTextKind>,
    /// What it is for; `None` asks only whether it is accepted, and whose it is.
    pub operation: Option<Operation>,
    /// On what.
    pub resource: AskedResource,
    /// From where, as the asking server saw it.
    pub address: Option<IpAddr>,
    /// The caller's `User-Agent`.
    pub user_agent: Option<String>,
}

/// The resource of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedResource {
    /// The organization.
    Organization,
    /// A list of a type: `dataset`.
    Collection(ResourceType),
    /// A new one of a type: `dataset/*`.
    New(ResourceType),
    /// One: `dataset/abc`.
    Item(ResourceType, String),
}

/// What a request asks.
#[derive(Debug)]
pub enum Asked {
    /// One question, answered by one verdict.
    One(KeyQuestion),
    /// Several, answered in their order.
    Several(Vec<KeyQuestion>),
}

/// What [`read`] reads of one question, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyQuestion, description = "May this key do this?")]
pub struct KeyQuestionBody {
    /// The key, as it was presented.
    pub key: String,
    /// What it is for; absent: only whether it is accepted, and whose it is.
    #[schema(value_type = Option<OperationName>)]
    pub operation: Option<String>,
    /// On what: `dataset/abc`, `dataset/*` for a new one, `dataset` for a list; absent: the organization.
    #[schema(example = "dataset/abc")]
    pub resource: Option<String>,
    /// From where, as your server saw it; absent: unknown, which every address list refuses.
    #[schema(example = "203.0.113.9")]
    pub address: Option<String>,
    /// What your caller's client called itself (its `User-Agent`), for the key's history; it decides nothing.
    pub user_agent: Option<String>,
}

/// Up to 100 questions.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyQuestions)]
pub struct KeyQuestionsBody {
    /// The questions.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Vec<KeyQuestionBody>,
}

/// What [`read`] reads, for the API's description.
#[derive(ToSchema, Deserialize)]
#[serde(untagged)]
#[schema(as = KeyQuestionOrSeveral, description = "One question, or up to 100.")]
pub enum AskedBody {
    /// One question.
    One(KeyQuestionBody),
    /// Several questions.
    Several(KeyQuestionsBody),
}

/// Reads one question, or `items` with several.
///
/// # Errors
/// Every problem of the request; what stands in the place of a key is none, as long as it is a text.
pub fn read(mut fields: Fields) -> Result<Asked, Vec<FieldProblem>> {
    if !fields.has("items") {
        return read_question(fields).map(Asked::One);
    }
    let items = fields.list("items").unwrap_or_default();
    if items.is_empty() {
        fields.problem("items", "at least one question");
    }
    if items.len() > MAX_QUESTIONS {
        fields.problem("items", format!("at most {MAX_QUESTIONS} questions"));
        return fields.finish_strictly(Asked::Several(Vec::new()));
    }
    let mut questions = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let path = format!("items[{at}]");
        match item {
            Value::Object(values) => match read_question(Fields::of_object(values, path)) {
                Ok(question) => questions.push(question),
                Err(problems) => fields.absorb(problems),
            },
            other => fields.problem(
                &path,
                format!("must be an object with a key, not {}", kind_of(&other)),
            ),
        }
    }
    fields.finish_strictly(Asked::Several(questions)).map_err(bounded)
}

/// Takes the resource of a question.
pub(crate) fn take_resource(fields: &mut Fields) -> AskedResource {
    fields
        .parsed("resource", read_resource)
        .unwrap_or(AskedResource::Organization)
}

fn read_question(mut fields: Fields) -> Result<KeyQuestion, Vec<FieldProblem>> {
    let key = fields.required_text("key").unwrap_or_default();
    let has_operation = fields.has("operation");
    let operation = fields.parsed("operation", |name| {
        Operation::from_name(name).ok_or("is an operation such as `dataset.read`")
    });
    let resource = fields.parsed("resource", read_resource);
    if resource.is_some() && !has_operation {
        fields.problem("resource", "needs an operation beside it");
    }
    let address = fields.parsed("address", |text| {
        text.parse::<IpAddr>()
            .map_err(|_| "is an IP address such as 203.0.113.9 or 2001:db8::1")
    });
    let user_agent = fields.text("user_agent");
    fields.finish_strictly(KeyQuestion {
        key: Secret::new(key),
        operation,
        resource: resource.unwrap_or(AskedResource::Organization),
        address,
        user_agent,
    })
}

/// `dataset`, `dataset/*`, `dataset/abc`. What stands after the slash is not looked at: the decision comes before any
/// look-up.
fn read_resource(text: &str) -> Result<AskedResource, &'static str> {
    const EXPECTED: &str = "is `type/id`, `type/*` for a new one, or `type` for a list; a type is one of dataset, \
                            training_project, flow, run, deployment, deployment_project, deployment_endpoint";
    let (of, id) = text
        .split_once('/')
        .map_or((text, None), |(of, id)| (of, Some(id)));
    let of = ResourceType::from_name(of).ok_or(EXPECTED)?;
    match id {
        None => Ok(AskedResource::Collection(of)),
        Some("") => Err(EXPECTED),
        Some("*") => Ok(AskedResource::New(of)),
        Some(id) => Ok(AskedResource::Item(of, id.to_owned())),
    }
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Verdict)]
pub struct VerdictView {
    /// Whether the key may.
    pub allowed: bool,
    /// `ok`, or the code of the refusal; see `/help/errors`.
    pub code: String,
    /// What happened and what would help, for whoever presented the key.
    pub message: String,
    /// The key's id, if its whole secret matched and it is a key of the asking token's organization.
    pub key_id: Option<String>,
    /// Its organization, under the same condition.
    pub organization_id: Option<String>,
    /// Its scopes, if it may.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub scopes: Option<Vec<String>>,
    /// Its level, if it may.
    #[schema(value_type = Option<LevelName>)]
    pub level: Option<String>,
}

/// The answers to several questions, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Verdicts)]
pub struct VerdictsView {
    /// The answers.
    pub items: Vec<VerdictView>,
}

/// What the API's description says of the answer: one verdict to one question, several to several.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
#[schema(as = VerdictOrSeveral, description = "One verdict to one question, several to several.")]
pub enum AnsweredView {
    /// To one question.
    One(VerdictView),
    /// To several.
    Several(VerdictsView),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &str) -> Vec<String> {
        let fields = Fields::of_body(body.as_bytes()).unwrap();
        let problems = read(fields).unwrap_err();
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn what_is_no_key_is_a_question_all_the_same() {
        for body in [r#"{"key": ""}"#, r#"{"key": "no key"}"#] {
            assert!(read(Fields::of_body(body.as_bytes()).unwrap()).is_ok(), "{body}");
        }
        assert_eq!(problems(r#"{"key": 1}"#), ["key"]);
        assert_eq!(problems("{}"), ["key"]);
    }

    #[test]
    fn resources_are_lists_new_ones_and_single_ones() {
        use ResourceType::Dataset;
        assert_eq!(read_resource("dataset"), Ok(AskedResource::Collection(Dataset)));
        assert_eq!(read_resource("dataset/*"), Ok(AskedResource::New(Dataset)));
        let item = AskedResource::Item(Dataset, "a/b".to_owned());
        assert_eq!(read_resource("dataset/a/b"), Ok(item));
        for bad in ["", "*", "organization", "dataset/", "Dataset/a"] {
            assert!(read_resource(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_problem_of_every_question_comes_at_once() {
        let body = r#"{"items": [{"key": "a", "operation": "fly", "address": "home"}, 3, {"resource": "dataset/a"}],
            "key": "b"}"#;
        assert_eq!(
            problems(body),
            [
                "items[0].operation",
                "items[0].address",
                "items[1]",
                "items[2].key",
                "items[2].resource",
                "key"
            ]
        );
        assert_eq!(problems(r#"{"items": []}"#), ["items"]);
        let many = format!(r#"{{"items": [{}]}}"#, vec!["{}"; 101].join(","));
        assert_eq!(problems(&many), ["items"]);
    }

    #[test]
    fn a_question_shows_no_key() {
        let Asked::One(question) = read(Fields::of_body(br#"{"key": "dtvi_x"}"#).unwrap()).unwrap() else {
            panic!("it is one question");
        };
        assert!(!format!("{question:?}").contains("dtvi"));
    }
}
