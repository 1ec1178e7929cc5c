//! "Could this key do that, from there, then?": a form with its answer in words. Nothing is done, and nothing counts as a use.
//!
//! The question is in the address, so that it can be sent to a colleague; it holds no secret.

use std::net::IpAddr;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::Response;
use http::StatusCode;
use keyward_core::access::Access;
use keyward_core::address::CallerAddress;
use keyward_core::management_right::ManagementRight;
use keyward_core::operation::Operation;
use keyward_core::record::Key;
use keyward_core::resource::ResourceType;
use keyward_core::time::Timestamp;
use keyward_engine::explain_key::ExplainQuestion;
use keyward_engine::permit::OwnedResource;

use super::access_words::dataset_names;
use super::access_words::rule_sentence;
use super::key_head::{KeyHead, subject};
use super::key_summary::{DatasetNames, phrase, type_names};
use super::usage_words::capitalized;
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::values::Values;
use crate::visit::Visit;
use crate::words::{exact, level_name};

#[derive(Template)]
#[template(path = "explain_key.html")]
struct ExplainPage {
    shell: Shell,
    head: KeyHead,
    form: ExplainForm,
    answer: Option<Answer>,
}

/// The form, on this page and on the key's own.
#[derive(Template)]
#[template(path = "explain_form.html")]
pub(super) struct ExplainForm {
    action: String,
    operations: Vec<Choice>,
    resource_types: Vec<Choice>,
    resource_id: String,
    address: String,
    address_problem: Option<&'static str>,
    at: String,
    at_problem: Option<&'static str>,
    resource_problem: Option<&'static str>,
}

// Its own template escapes every value of it.
impl HtmlSafe for ExplainForm {}

struct Choice {
    name: &'static str,
    label: String,
    is_chosen: bool,
}

struct Answer {
    is_allowed: bool,
    title: String,
    sentence: String,
    /// Which part of the key decided.
    decided_by: String,
    code: &'static str,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(
        "/org/{organization}/settings/secret-keys/{key}/explain",
        ManagementRight::KeysRead,
        explain,
    )
}

/// What was asked, as far as it can be read.
struct Asked {
    operation: Option<Operation>,
    resource: OwnedResource,
    address: CallerAddress,
    at: Option<Timestamp>,
}

impl ExplainForm {
    /// The form with what was typed.
    pub(super) fn of(key_url: &str, values: &Values) -> Self {
        let chosen = |name: &str| values.text(name).unwrap_or_default().to_owned();
        let (operation, of) = (chosen("operation"), chosen("resource_type"));
        Self {
            action: format!("{key_url}/explain"),
            operations: Operation::ALL
                .into_iter()
                .map(|one| Choice {
                    name: one.name(),
                    label: format!("{} ({})", capitalized(phrase(one)), one.name()),
                    is_chosen: one.name() == operation,
                })
                .collect(),
            resource_types: ResourceType::ALL
                .into_iter()
                .map(|one| Choice {
                    name: one.name(),
                    label: capitalized(type_names(one).1),
                    is_chosen: one.name() == of,
                })
                .collect(),
            resource_id: chosen("resource_id"),
            address: chosen("address"),
            address_problem: None,
            at: chosen("at"),
            at_problem: None,
            resource_problem: None,
        }
    }

    /// Reads the question; problems are put beside their fields.
    fn read(&mut self) -> Option<Asked> {
        let operation = self
            .operations
            .iter()
            .find(|choice| choice.is_chosen)
            .and_then(|choice| Operation::from_name(choice.name));
        let of = self
            .resource_types
            .iter()
            .find(|choice| choice.is_chosen)
            .and_then(|choice| ResourceType::from_name(choice.name));
        let resource = match (of, self.resource_id.as_str()) {
            (None, "") => OwnedResource::Organization,
            (None, _) => {
                self.resource_problem = Some("Choose which kind of resource this is the id of.");
                OwnedResource::Organization
            }
            (Some(of), "") => OwnedResource::Collection(of),
            (Some(of), "*") => OwnedResource::New(of),
            (Some(of), id) => OwnedResource::Item(of, id.to_owned()),
        };
        let address = match self.address.as_str() {
            "" => CallerAddress::Unknown,
            text => match text.parse::<IpAddr>() {
                Ok(ip) => CallerAddress::Known(ip.to_canonical()),
                Err(_) => {
                    self.address_problem = Some("Write an address such as 192.0.2.7 or 2001:db8::7.");
                    CallerAddress::Unknown
                }
            },
        };
        let at = match self.at.as_str() {
            "" => None,
            text => {
                let moment = read_moment(text);
                if moment.is_none() {
                    self.at_problem = Some("Write a moment in UTC such as 2027-01-31 12:00.");
                }
                moment
            }
        };
        let is_good = self
            .resource_problem
            .or(self.address_problem)
            .or(self.at_problem)
            .is_none();
        is_good.then_some(Asked {
            operation,
            resource,
            address,
            at,
        })
    }
}

/// `2027-01-31`, `2027-01-31 12:00`, `2027-01-31T12:00`, or RFC 3339; in UTC if nothing else is said.
pub(super) fn read_moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = keyward_api::moment::read(text) {
        return Some(moment);
    }
    if let Some(day) = crate::words::read_day(text) {
        return Some(day);
    }
    let text = text.trim().trim_end_matches("UTC").trim().replacen(' ', "T", 1);
    let seconds = if text.matches(':').count() == 1 { ":00" } else { "" };
    keyward_api::moment::read(&format!("{text}{seconds}Z")).ok()
}

async fn explain(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let (key, secrets) = call.engine().show_key_whole(visit.id(), id).await?;
    let head = KeyHead::of(&visit, &key, &secrets, call.now());
    let mut form = ExplainForm::of(&head.url, &call.query);
    let asked = form.read();
    let status = if asked.is_some() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let answer = match asked {
        Some(asked) => Some(answer(&visit, &call, &key, asked).await?),
        None => None,
    };
    let title = format!("What {} may do", head.name);
    reply::page_with(
        status,
        &ExplainPage {
            shell: Shell::of(&visit, &call, Section::SecretKeys, &title, &[]),
            head,
            form,
            answer,
        },
    )
}

async fn answer(visit: &Visit, call: &Call, key: &Key, asked: Asked) -> Result<Answer, Refused> {
    let what = asked.operation.map_or_else(
        || "be accepted".to_owned(),
        |operation| phrase(operation).to_owned(),
    );
    let on = match (&asked.operation, &asked.resource) {
        (None, _) | (_, OwnedResource::Organization) => String::new(),
        (_, OwnedResource::Collection(of)) => format!(" in the list of {}", type_names(*of).1),
        (_, OwnedResource::New(of)) => format!(" for new {}", type_names(*of).1),
        (_, OwnedResource::Item(of, id)) => format!(" on the {} {id}", type_names(*of).0),
    };
    let from = match asked.address {
        CallerAddress::Known(ip) => format!(" from {ip}"),
        CallerAddress::Unknown => String::new(),
    };
    let at = asked
        .at
        .map(|at| format!(" at {}", exact(at)))
        .unwrap_or_default();
    let question = ExplainQuestion {
        what: asked.operation.map(|operation| (operation, asked.resource)),
        address: asked.address,
        at: asked.at,
    };
    let explained = call
        .engine()
        .explain_key(visit.id(), key.record.id, &question)
        .await?;
    let datasets = dataset_names(visit, call).await?;
    let is_allowed = explained.refusal.is_none();
    let can = if is_allowed {
        "Yes: it can"
    } else {
        "No: it cannot"
    };
    let (sentence, code) = match &explained.refusal {
        None => ("A request like this would be accepted.".to_owned(), "ok"),
        Some(refusal) => (refusal.sentence(), refusal.code().name()),
    };
    Ok(Answer {
        is_allowed,
        title: format!("{can} {what}{on}{from}{at}"),
        sentence,
        decided_by: decided_words(&explained.decided_by, &key.record.access, &datasets),
        code,
    })
}

/// The part of the key that decided, in words.
fn decided_words(field: &str, access: &Access, datasets: &DatasetNames) -> String {
    let level = level_name(access.permission().level());
    let rule_at = field
        .strip_prefix("rules[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|at| at.parse::<usize>().ok());
    let rule = rule_at.and_then(|at| access.permission().rules().get(at));
    if let Some(sentence) = rule.and_then(|rule| rule_sentence(rule, access.scopes(), datasets)) {
        return format!("A rule decides: {sentence}");
    }
    match field {
        "level" => format!("Its permission decides: {level}."),
        "rules" => "None of its rules allows it.".to_owned(),
        "scopes" => "Its access decides: a scope is missing.".to_owned(),
        "state" => "Its state decides.".to_owned(),
        "secret" => "Its secret decides.".to_owned(),
        "not_before" => "The moment from which it is valid decides.".to_owned(),
        "expires_at" => "Its expiry decides.".to_owned(),
        "allowed_addresses" => "Its list of allowed addresses decides.".to_owned(),
        "rate_limit" => "Its rate limit decides.".to_owned(),
        "organization" => "The organization decides.".to_owned(),
        other => format!("Decided by {other}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_people_write_it() {
        let noon = read_moment("2027-01-31T12:00:00Z");
        assert!(noon.is_some());
        for text in [
            "2027-01-31 12:00",
            "2027-01-31T12:00",
            "2027-01-31 12:00 UTC",
            "2027-01-31T13:00:00+01:00",
        ] {
            assert_eq!(read_moment(text), noon, "{text}");
        }
        assert!(read_moment("2027-01-31").is_some_and(|at| Some(at) < noon));
        assert_eq!(read_moment("tomorrow"), None);
    }
}
