//! Erase personal values from the audit trail: for Owners, in two steps.
//!
//! The first step says what goes and what stays, the second does it; it can't be taken back. The trail stays provable, because it holds
//! commitments only, and tells of the erasure how many values went, never which.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_api::audit::{ErasureAsked, read_erasure};
use keyward_api::fields::Fields;
use keyward_core::field::FieldProblem;
use keyward_core::management_right::ManagementRight;
use keyward_engine::erase_personal::{Erased, Erasure};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::counted;

#[derive(Template)]
#[template(path = "audit_erase.html")]
struct ErasePage {
    shell: Shell,
    base: String,
    asked: Asked,
    /// What is about to be erased; the second step.
    confirm: Option<String>,
    /// What was erased.
    erased: Option<String>,
}

/// The form as it was typed.
#[derive(Default)]
struct Asked {
    what: &'static str,
    value: String,
    target: String,
    sequence: String,
    value_problem: Option<String>,
    target_problem: Option<String>,
    sequence_problem: Option<String>,
}

impl Asked {
    fn has_problem(&self) -> bool {
        [&self.value_problem, &self.target_problem, &self.sequence_problem]
            .iter()
            .any(|problem| problem.is_some())
    }
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let erase = ManagementRight::AuditErase;
    routes.page("/org/{organization}/audit/erase", erase, show).form(
        "/org/{organization}/audit/erase",
        erase,
        send,
    )
}

fn erase_page(
    (visit, call): (&Visit, &Call),
    status: StatusCode,
    asked: Asked,
    confirm: Option<String>,
    erased: Option<String>,
) -> Result<Response, Refused> {
    let page = ErasePage {
        shell: Shell::of(visit, call, Section::Audit, "Erase personal values", &[]),
        base: visit.url("audit"),
        asked,
        confirm,
        erased,
    };
    reply::page_with(status, &page)
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let asked = Asked {
        what: "value",
        ..Asked::default()
    };
    erase_page((&visit, &call), StatusCode::OK, asked, None, None)
}

async fn send(visit: Visit, call: Call) -> Result<Response, Refused> {
    let typed = |name: &str| call.form.text(name).unwrap_or_default().to_owned();
    let mut asked = Asked {
        what: match call.form.text("what") {
            Some("target") => "target",
            Some("sequence") => "sequence",
            _ => "value",
        },
        value: typed("value"),
        target: typed("target"),
        sequence: typed("sequence"),
        ..Asked::default()
    };
    let (erasure, words) = match read(&asked) {
        Ok(read) => read,
        Err(problems) => {
            let problem = |name: &str| {
                let found = problems.iter().find(|problem| problem.field == name);
                found.map(|problem| format!("This {}.", problem.message))
            };
            (asked.value_problem, asked.target_problem) = (problem("value"), problem("target"));
            asked.sequence_problem = problem("sequence");
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return erase_page((&visit, &call), status, asked, None, None);
        }
    };
    if !call.form.has("confirm", "erase") {
        return erase_page((&visit, &call), StatusCode::OK, asked, Some(words), None);
    }
    let chain = visit.id().as_str().to_owned();
    let erased = call
        .engine()
        .erase_personal(call.context.clone(), chain, erasure)
        .await?;
    let told = told(erased);
    erase_page(
        (&visit, &call),
        StatusCode::OK,
        Asked::default(),
        None,
        Some(told),
    )
}

fn told(erased: Erased) -> String {
    if erased.values == 0 {
        return "Nothing was found that could be erased, and nothing was changed.".to_owned();
    }
    let verb = if erased.values == 1 { "is" } else { "are" };
    format!(
        "{} of {} {verb} erased. The newest entry of the trail tells so.",
        counted(erased.values, "value", "values"),
        counted(erased.entries, "entry", "entries")
    )
}

/// What is to be erased, and how the second step says it.
fn read(asked: &Asked) -> Result<(Erasure, String), Vec<FieldProblem>> {
    let mut values = Map::new();
    match asked.what {
        "target" => values.insert("target".to_owned(), Value::from(asked.target.as_str())),
        "sequence" => {
            let number = asked.sequence.parse::<i64>();
            let number = number.map_or_else(|_| Value::from(asked.sequence.as_str()), Value::from);
            values.insert("sequence".to_owned(), number)
        }
        _ => values.insert("value".to_owned(), Value::from(asked.value.as_str())),
    };
    Ok(match read_erasure(Fields::of_object(values, String::new()))? {
        ErasureAsked::Value(value) => {
            let words = format!("\u{201c}{value}\u{201d}, wherever an entry of this organization holds it");
            (Erasure::Value(value), words)
        }
        ErasureAsked::Target(target) => {
            let words = format!("the personal values of every entry about {target}");
            (Erasure::Target(target), words)
        }
        ErasureAsked::Sequence(sequence) => (
            Erasure::Entry(sequence),
            format!("the personal values of entry {sequence}"),
        ),
    })
}
