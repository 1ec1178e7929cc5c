//! Signing in: passphrase, second factor, signing out, and where to go then.
//!
//! A session is begun with a new token each time, so that nobody can be given one that somebody else knows. What is wrong is never
//! told apart. Where a visitor is led afterwards is a path of this site, whatever the address says.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::ids::OrganizationId;
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::secret::{PassphraseKind, Secret};
use keyward_engine::EngineError;
use keyward_engine::context::Context;
use keyward_engine::sessions::{NewSession, Session, SessionStage};
use keyward_engine::sign_in::SignInRefused;

use crate::call::Call;
use crate::cookies::CookieNames;
use crate::refused::{Refused, is_own_path};
use crate::reply;
use crate::routes::{ConsoleRoutes, with_cookie};
use crate::shell::{OpenShell, Section, Shell, role_name};
use crate::visit::{Person, Stranger};
use crate::words::wait_words;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    shell: OpenShell,
    email: &'a str,
    next: &'a str,
    problem: Option<String>,
    /// What happened before, of our own words.
    told: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "sign_in_code.html")]
struct CodePage<'a> {
    shell: OpenShell,
    email: String,
    next: &'a str,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "organizations.html")]
struct OrganizationsPage {
    shell: Shell,
    organizations: Vec<OrganizationRow>,
}

struct OrganizationRow {
    id: String,
    name: String,
    role: &'static str,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .open_page("/", start)
        .open_page("/sign-in", show)
        .open_form("/sign-in", sign_in)
        .open_page("/sign-in/code", show_code)
        .open_form("/sign-in/code", pass_code)
        .open_form("/sign-out", sign_out)
        .own_page("/organizations", organizations)
}

async fn start(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    match stranger.person {
        None => Err(Refused::SignIn),
        Some(person) => home(&person.session, &call).await,
    }
}

/// The first page of somebody who signed in: that of their one organization, or the choice.
async fn home(session: &Session, call: &Call) -> Result<Response, Refused> {
    let organizations = call.engine().organizations_of(&session.person_id).await?;
    Ok(match organizations.as_slice() {
        [one] => reply::see_other(&first_page(&one.organization.id, one.role)),
        _ => reply::see_other("/organizations"),
    })
}

/// Where a member begins: managers at the overview, others at what they may see.
pub(super) fn first_page(id: &OrganizationId, role: Role) -> String {
    if role.is_manager() {
        format!("/org/{id}")
    } else {
        format!("/org/{id}/settings/general")
    }
}

async fn organizations(person: Person, call: Call) -> Result<Response, Refused> {
    let found = call.engine().organizations_of(&person.session.person_id).await?;
    let rows = found.iter().map(|one| OrganizationRow {
        id: one.organization.id.to_string(),
        name: one.organization.name.clone(),
        role: role_name(one.role),
    });
    let organizations = rows.collect();
    reply::page(&OrganizationsPage {
        shell: Shell::plain(&person, &call, Section::Organizations, "Organizations", &[]),
        organizations,
    })
}

async fn show(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    if let Some(person) = &stranger.person {
        return match next_of(&call) {
            "" => home(&person.session, &call).await,
            next => Ok(reply::see_other(next)),
        };
    }
    let told = match call.query.text("told") {
        Some("signed-out") => Some("You are signed out."),
        Some("half") => Some("That took too long, or too many codes were wrong. Sign in again."),
        _ => None,
    };
    reply::page(&SignInPage {
        shell: OpenShell::new("Sign in", &stranger.csrf),
        email: "",
        next: next_of(&call),
        problem: None,
        told,
    })
}

/// Where to go afterwards; empty if the address names nothing of this site.
fn next_of(call: &Call) -> &str {
    let asked = call.form.text("next").or_else(|| call.query.text("next"));
    asked.filter(|next| is_own_path(next)).unwrap_or_default()
}

async fn sign_in(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    let email = call.form.text("email").unwrap_or_default();
    let passphrase =
        Secret::<PassphraseKind>::new(call.form.raw("passphrase").unwrap_or_default().to_owned());
    let signed_in = call
        .engine()
        .sign_in(&call.info.arrival(), &call.info.client, email, &passphrase)
        .await;
    let refused = match signed_in {
        Ok(begun) => {
            // Whose session was here before is over: two in one browser help nobody but who borrowed it.
            if let Some(person) = &stranger.person {
                end(&call, &person.session).await;
            }
            return go_on(begun, &call).await;
        }
        Err(refused) => refused,
    };
    let told = words_of(refused, "E-mail address and passphrase do not fit together.")?;
    let page = SignInPage {
        shell: OpenShell::new("Sign in", &stranger.csrf),
        email,
        next: next_of(&call),
        problem: Some(told.text),
        told: None,
    };
    let response = reply::page_with(told.status, &page)?;
    Ok(reply::worth_again_after(response, told.retry_after_ms))
}

/// After the passphrase: to the second factor, or to where they wanted.
pub(super) async fn go_on(begun: NewSession, call: &Call) -> Result<Response, Refused> {
    let names = CookieNames::at(&call.site.public_url);
    let response = match begun.session.stage {
        SessionStage::NeedsSecondFactor => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if !next_of(call).is_empty() {
                query.append_pair("next", next_of(call));
            }
            reply::see_other(&format!("/sign-in/code?{}", query.finish()))
        }
        SessionStage::Whole => match next_of(call) {
            "" => home(&begun.session, call).await?,
            next => reply::see_other(next),
        },
    };
    with_cookie(response, names.begin_session(&begun.token))
}

/// The half session of whoever gave a passphrase and owes a code.
async fn half_session(stranger: &Stranger, call: &Call) -> Result<Option<Session>, Refused> {
    if stranger.person.is_some() {
        return Ok(None);
    }
    let Some(token) = &call.session_token else {
        return Ok(None);
    };
    let found = call.engine().find_session(token).await?;
    Ok(found.filter(|session| session.stage == SessionStage::NeedsSecondFactor))
}

async fn show_code(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    let Some(session) = half_session(&stranger, &call).await? else {
        return Ok(reply::see_other("/sign-in"));
    };
    reply::page(&CodePage {
        shell: OpenShell::new("Second factor", &stranger.csrf),
        email: session.email.to_string(),
        next: next_of(&call),
        problem: None,
    })
}

async fn pass_code(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    let Some(session) = half_session(&stranger, &call).await? else {
        return Ok(reply::see_other("/sign-in?told=half"));
    };
    let code = call.form.text("code").unwrap_or_default();
    let passed = call
        .engine()
        .pass_second_factor(&call.info.arrival(), &call.info.client, &session, code)
        .await;
    let refused = match passed {
        Ok(begun) => return go_on(begun, &call).await,
        Err(SignInRefused::Over) => return Ok(reply::see_other("/sign-in?told=half")),
        Err(refused) => refused,
    };
    let otherwise = "This code does not fit. Codes change every 30 seconds and are good once; check the clock of your phone.";
    let told = words_of(refused, otherwise)?;
    let page = CodePage {
        shell: OpenShell::new("Second factor", &stranger.csrf),
        email: session.email.to_string(),
        next: next_of(&call),
        problem: Some(told.text),
    };
    let response = reply::page_with(told.status, &page)?;
    Ok(reply::worth_again_after(response, told.retry_after_ms))
}

async fn sign_out(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    match (&stranger.person, half_session(&stranger, &call).await) {
        (Some(person), _) => end(&call, &person.session).await,
        // Whoever gave a passphrase and no code yet acts as nobody, and ends what they began all the same.
        (None, Ok(Some(half))) => {
            let actor = Actor::Person(half.person_id.clone());
            let context = Context::new(actor, call.info.id.clone());
            end_as(&call, &context, &half).await;
        }
        (None, Ok(None)) => {}
        (None, Err(refused)) => {
            tracing::warn!(
                outcome = refused.code(),
                "a sign-in under way could not be looked up to be ended"
            );
        }
    }
    let names = CookieNames::at(&call.site.public_url);
    with_cookie(reply::see_other("/sign-in?told=signed-out"), names.end_session())
}

/// Ends a session; the browser forgets its token in any case.
pub(super) async fn end(call: &Call, session: &Session) {
    end_as(call, &call.context, session).await;
}

async fn end_as(call: &Call, context: &Context, session: &Session) {
    let ended = call
        .engine()
        .end_session(context, &session.person_id, &session.id);
    if let Err(error) = ended.await {
        tracing::warn!(person.id = %session.person_id, %error, "a session could not be ended when somebody signed out");
    }
}

/// What a person is told of a refused attempt.
struct Told {
    status: StatusCode,
    text: String,
    /// After which time another attempt is worth it, if it is not at once.
    retry_after_ms: Option<i64>,
}

/// What a person is told of a refused attempt; `wrong` is the sentence for what they got wrong.
///
/// # Errors
/// What no page of the sign-in can answer.
fn words_of(refused: SignInRefused, wrong: &str) -> Result<Told, Refused> {
    match refused {
        SignInRefused::Wrong => Ok(Told {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            text: wrong.to_owned(),
            retry_after_ms: None,
        }),
        SignInRefused::Engine(EngineError::TooMany { retry_after_ms }) => Ok(Told {
            status: StatusCode::TOO_MANY_REQUESTS,
            text: format!(
                "Too many wrong attempts came from your network. Try again in {}; others are not held up by it.",
                wait_words(retry_after_ms)
            ),
            retry_after_ms: Some(retry_after_ms),
        }),
        SignInRefused::Engine(EngineError::Busy) => Ok(Told {
            status: StatusCode::SERVICE_UNAVAILABLE,
            text: "Too many people are signing in at this moment. Try again in a few seconds.".to_owned(),
            retry_after_ms: None,
        }),
        SignInRefused::Over => Err(Refused::SignIn),
        SignInRefused::Engine(error) => Err(error.into()),
    }
}
