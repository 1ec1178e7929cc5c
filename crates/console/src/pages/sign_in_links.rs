//! The page of a one-time link: somebody who has no passphrase, or lost theirs, sets one and is signed in.
//!
//! Looking at it spends nothing, because mail programs and scanners follow links; the form spends it, once. A passphrase that is
//! refused leaves the link as it was. The secret is in the path, which the log masks, and no page sends its own address on.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::field::FieldProblem;
use keyward_core::secret::{PassphraseKind, Secret, SignInLinkKind};
use keyward_engine::EngineError;
use keyward_engine::sign_in_links::{LinkPurpose, SignInLinkView};

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::OpenShell;
use crate::visit::Stranger;
use crate::words::When;

use super::sign_in::{end, go_on};

/// The rule, told before it can be broken.
pub(super) const PASSPHRASE_RULE: &str = "12 to 256 characters, not your e-mail address, and nothing that is easy to guess. Four or \
     five words that do not belong together are good; a password manager makes and keeps one for you.";
/// The name of the field, here and in the engine's problems.
pub(super) const PASSPHRASE: &str = "passphrase";

#[derive(Template)]
#[template(path = "sign_in_link.html")]
struct LinkPage {
    shell: OpenShell,
    email: String,
    has_passphrase: bool,
    begins_anew: bool,
    expires: When,
    /// Who is signed in in this browser, and is not any more afterwards.
    signed_in: Option<String>,
    rule: &'static str,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "sign_in_link_over.html")]
struct OverPage {
    shell: OpenShell,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .open_page("/sign-in/link/{secret}", show)
        .open_form("/sign-in/link/{secret}", redeem)
}

fn secret_of(call: &Call) -> Secret<SignInLinkKind> {
    Secret::new(call.path("secret").to_owned())
}

async fn show(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    match call.engine().show_sign_in_link(&secret_of(&call)).await {
        Ok(view) => link_page(StatusCode::OK, &stranger, &call, view, None),
        Err(error) => over(&stranger, error),
    }
}

fn link_page(
    status: StatusCode,
    stranger: &Stranger,
    call: &Call,
    view: SignInLinkView,
    problem: Option<String>,
) -> Result<Response, Refused> {
    let page = LinkPage {
        shell: OpenShell::new("Set your passphrase", &stranger.csrf),
        email: view.email.to_string(),
        has_passphrase: view.has_passphrase,
        begins_anew: view.purpose == LinkPurpose::BeginAnew,
        expires: When::relative(view.expires_at, call.now()),
        signed_in: stranger
            .person
            .as_ref()
            .map(|person| person.session.email.to_string()),
        rule: PASSPHRASE_RULE,
        problem,
    };
    reply::page_with(status, &page)
}

/// A link that is unknown, used or over looks the same to whoever holds it.
fn over(stranger: &Stranger, error: EngineError) -> Result<Response, Refused> {
    let EngineError::NotFound(_) = error else {
        return Err(error.into());
    };
    let page = OverPage {
        shell: OpenShell::new("This link is over", &stranger.csrf),
    };
    reply::page_with(StatusCode::NOT_FOUND, &page)
}

async fn redeem(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    let engine = call.engine();
    let secret = secret_of(&call);
    let typed = call.form.raw(PASSPHRASE).unwrap_or_default();
    let passphrase = Secret::<PassphraseKind>::new(typed.to_owned());
    let redeemed = engine
        .redeem_sign_in_link(&call.info.arrival(), &call.info.client, &secret, &passphrase)
        .await;
    let refused = match redeemed {
        Ok(begun) => {
            if let Some(person) = &stranger.person {
                end(&call, &person.session).await;
            }
            return go_on(begun, &call).await;
        }
        Err(refused) => refused,
    };
    let Some((status, problem)) = passphrase_problem(&refused) else {
        return over(&stranger, refused);
    };
    match engine.show_sign_in_link(&secret).await {
        Ok(view) => link_page(status, &stranger, &call, view, Some(problem)),
        Err(error) => over(&stranger, error),
    }
}

/// What is told beside the field for a new passphrase, if that is where the refusal belongs.
pub(super) fn passphrase_problem(error: &EngineError) -> Option<(StatusCode, String)> {
    match error {
        EngineError::Invalid(problems) => Some((
            StatusCode::UNPROCESSABLE_ENTITY,
            sentence_of(problems, PASSPHRASE)?,
        )),
        EngineError::Busy => Some((
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many people are signing in at this moment. Try again in a few seconds; nothing is spent."
                .to_owned(),
        )),
        _ => None,
    }
}

/// The problem of a field as a sentence: problems come without their subject (`has to ...`).
pub(super) fn sentence_of(problems: &[FieldProblem], field: &str) -> Option<String> {
    let found = problems.iter().find(|problem| problem.field == field)?;
    Some(format!(
        "This passphrase {}.",
        found.message.trim_end_matches('.')
    ))
}
