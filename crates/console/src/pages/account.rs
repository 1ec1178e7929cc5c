//! What belongs to a person and to no organization: their passphrase, their second factor's standing, their sessions.
//!
//! Changing the passphrase gives this browser a new session and ends all others; so whoever stole one is out. What can be ended here
//! is the person's own alone. Setting up the second factor is in [`super::second_factor`].

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::ids::SessionId;
use keyward_core::secret::{PassphraseKind, Secret};
use keyward_engine::EngineError;
use keyward_engine::passphrases::ChangeRefused;
use keyward_engine::second_factor::SecondFactorStanding;
use keyward_engine::sessions::{Session, SessionStage};

use crate::call::Call;
use crate::cookies::CookieNames;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done, with_cookie};
use crate::shell::{Section, Shell, role_name};
use crate::visit::Person;
use crate::words::{When, counted, wait_words};

use super::sign_in::first_page;
use super::sign_in_links::{PASSPHRASE_RULE, sentence_of};

/// What the page says after a form.
const SENTENCES: [(&str, &str); 3] = [
    (
        "passphrase",
        "Your passphrase is changed. Every other browser you were signed in with is signed out.",
    ),
    ("ended", "That session is over: its browser has to sign in again."),
    (
        "ended-others",
        "Every other session is over. You are signed in with this browser alone.",
    ),
];
/// Where nothing is known of an address or a client.
const UNKNOWN: &str = "unknown";

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    email: String,
    organizations: Vec<OrganizationRow>,
    second_factor: SecondFactorWords,
    sessions: Vec<SessionRow>,
    has_others: bool,
    rule: &'static str,
    problems: PassphraseProblems,
}

struct OrganizationRow {
    href: String,
    id: String,
    name: String,
    role: &'static str,
}

struct SecondFactorWords {
    is_on: bool,
    since: Option<When>,
    codes_left: String,
    are_few: bool,
}

struct SessionRow {
    id: String,
    is_this: bool,
    is_half: bool,
    client: String,
    address: String,
    created: When,
    last_seen: When,
    ends: When,
}

/// What is wrong with a change of the passphrase.
#[derive(Default)]
struct PassphraseProblems {
    /// Told on top.
    notice: Option<String>,
    current: Option<String>,
    new: Option<String>,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .own_page("/account", show)
        .own_form("/account", change_passphrase)
        .own_form("/account/sessions/end-others", end_others)
        .own_form("/account/sessions/{session}/end", end_one)
}

async fn show(person: Person, call: Call) -> Result<Response, Refused> {
    account_page(StatusCode::OK, &person, &call, PassphraseProblems::default()).await
}

async fn account_page(
    status: StatusCode,
    person: &Person,
    call: &Call,
    problems: PassphraseProblems,
) -> Result<Response, Refused> {
    let (engine, now) = (call.engine(), call.now());
    let id = &person.session.person_id;
    let organizations = engine.organizations_of(id).await?;
    let standing = engine.show_second_factor(id).await?;
    let sessions = engine.list_sessions(id).await?;
    let page = AccountPage {
        shell: Shell::plain(person, call, Section::Account, "Account", &SENTENCES),
        email: person.session.email.to_string(),
        organizations: organizations
            .into_iter()
            .map(|one| OrganizationRow {
                href: first_page(&one.organization.id, one.role),
                id: one.organization.id.to_string(),
                name: one.organization.name,
                role: role_name(one.role),
            })
            .collect(),
        second_factor: second_factor_words(standing, call),
        has_others: sessions.iter().any(|one| one.id != person.session.id),
        sessions: sessions
            .iter()
            .map(|one| session_row(one, &person.session, now))
            .collect(),
        rule: PASSPHRASE_RULE,
        problems,
    };
    reply::page_with(status, &page)
}

fn second_factor_words(standing: SecondFactorStanding, call: &Call) -> SecondFactorWords {
    let left = u64::try_from(standing.recovery_codes_left).unwrap_or(0);
    SecondFactorWords {
        is_on: standing.is_on,
        since: standing.since.map(|at| When::relative(at, call.now())),
        codes_left: counted(left, "recovery code is left", "recovery codes are left"),
        are_few: left <= 3,
    }
}

fn session_row(session: &Session, own: &Session, now: keyward_core::time::Timestamp) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        is_this: session.id == own.id,
        is_half: session.stage == SessionStage::NeedsSecondFactor,
        client: browser_words(&session.client),
        address: known(&session.address),
        created: When::relative(session.created_at, now),
        last_seen: When::relative(session.last_seen_at, now),
        ends: When::relative(session.ends_at, now),
    }
}

/// A text that the request brought, or that it brought none.
fn known(text: &str) -> String {
    match text.trim() {
        "" | "(none)" | "-" | "unknown" => UNKNOWN.to_owned(),
        other => other.to_owned(),
    }
}

async fn change_passphrase(person: Person, call: Call) -> Result<Response, Refused> {
    let typed = |name| Secret::<PassphraseKind>::new(call.form.raw(name).unwrap_or_default().to_owned());
    let (current, new) = (typed("current"), typed("passphrase"));
    let changed = call
        .engine()
        .change_passphrase(
            &call.info.arrival(),
            &call.info.client,
            &person.session,
            &current,
            &new,
        )
        .await;
    let refused = match changed {
        Ok(begun) => {
            let names = CookieNames::at(&call.site.public_url);
            return with_cookie(done("/account", "passphrase"), names.begin_session(&begun.token));
        }
        Err(refused) => refused,
    };
    let mut retry_after = None;
    let (status, notice, field) = match change_problem(refused)? {
        Problem::Wrong => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Your passphrase was not changed.".to_owned(),
            Some((true, "This is not your present passphrase.".to_owned())),
        ),
        Problem::NewPassphrase(problem) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Your passphrase was not changed.".to_owned(),
            Some((false, problem)),
        ),
        Problem::Later(later) => {
            retry_after = later.retry_after_ms;
            (later.status, later.notice, None)
        }
    };
    let mut problems = PassphraseProblems {
        notice: Some(notice),
        ..PassphraseProblems::default()
    };
    match field {
        Some((true, problem)) => problems.current = Some(problem),
        Some((false, problem)) => problems.new = Some(problem),
        None => {}
    }
    let response = account_page(status, &person, &call, problems).await?;
    Ok(reply::worth_again_after(response, retry_after))
}

/// Why a change of what somebody signs in with did not happen, as a page tells it.
pub(super) enum Problem {
    /// The passphrase or the code that was asked for is wrong.
    Wrong,
    /// The new passphrase will not do.
    NewPassphrase(String),
    /// It can be tried again later.
    Later(Later),
}

/// What is told of a change that can be tried again later.
pub(super) struct Later {
    pub(super) status: StatusCode,
    pub(super) notice: String,
    /// After which time it is worth it, if that is known.
    pub(super) retry_after_ms: Option<i64>,
}

/// What a page tells of a refused change.
///
/// # Errors
/// What no page of the account can answer.
pub(super) fn change_problem(refused: ChangeRefused) -> Result<Problem, Refused> {
    match refused {
        ChangeRefused::Wrong => Ok(Problem::Wrong),
        ChangeRefused::Engine(EngineError::TooMany { retry_after_ms }) => Ok(Problem::Later(Later {
            status: StatusCode::TOO_MANY_REQUESTS,
            notice: format!(
                "Nothing was changed: too many attempts were wrong. Try again in {}.",
                wait_words(retry_after_ms)
            ),
            retry_after_ms: Some(retry_after_ms),
        })),
        ChangeRefused::Engine(EngineError::Busy) => Ok(Problem::Later(Later {
            status: StatusCode::SERVICE_UNAVAILABLE,
            notice: "Nothing was changed: too many people are signing in at this moment. Try again in a few seconds."
                .to_owned(),
            retry_after_ms: None,
        })),
        ChangeRefused::Engine(EngineError::Invalid(problems)) => {
            match sentence_of(&problems, super::sign_in_links::PASSPHRASE) {
                Some(problem) => Ok(Problem::NewPassphrase(problem)),
                None => Err(Refused::Invalid(problems)),
            }
        }
        ChangeRefused::Engine(error) => Err(error.into()),
    }
}

async fn end_one(person: Person, call: Call) -> Result<Response, Refused> {
    let id: SessionId = call.path("session").parse().map_err(|_| Refused::NotFound)?;
    call.engine()
        .end_session(&call.context, &person.session.person_id, &id)
        .await?;
    if id != person.session.id {
        return Ok(done("/account", "ended"));
    }
    let names = CookieNames::at(&call.site.public_url);
    with_cookie(reply::see_other("/sign-in?told=signed-out"), names.end_session())
}

async fn end_others(person: Person, call: Call) -> Result<Response, Refused> {
    call.engine()
        .end_other_sessions(&call.context, &person.session)
        .await?;
    Ok(done("/account", "ended-others"))
}

/// What a browser is, as far as the beginning of its name tells that is kept of it; other clients as they call themselves.
fn browser_words(client: &str) -> String {
    let systems = [
        ("Windows", "Browser on Windows"),
        ("iPhone", "Browser on an iPhone"),
        ("iPad", "Browser on an iPad"),
        ("Macintosh", "Browser on a Mac"),
        ("Android", "Browser on Android"),
        ("CrOS", "Browser on ChromeOS"),
        ("Linux", "Browser on Linux"),
    ];
    let found = systems.iter().find(|(name, _)| client.contains(name));
    match found {
        Some((_, words)) if client.starts_with("Mozilla/5.0 (") => (*words).to_owned(),
        _ => known(client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_by_their_system_and_others_by_their_name() {
        for (client, words) in [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWe", "Browser on Linux"),
            ("Mozilla/5.0 (Linux; Android 10; K) Appl", "Browser on Android"),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X", "Browser on a Mac"),
            ("Mozilla/5.0 (test)", "Mozilla/5.0 (test)"),
            ("curl/8.5.0 on Linux", "curl/8.5.0 on Linux"),
            ("(none)", UNKNOWN),
        ] {
            assert_eq!(browser_words(client), words);
        }
    }
}
