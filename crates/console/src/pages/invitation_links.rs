//! The page of an invitation's link: what it leads into, and how this very person accepts it.
//!
//! Whoever nobody knows yet sets a passphrase and joins; whoever has one signs in first, so that holding the link alone makes nobody
//! somebody else; whoever is known and has none asks an operator. Looking spends nothing, and the form decides nothing by itself:
//! the engine asks all of it again.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::invitation::InvitationOver;
use keyward_core::secret::{InvitationKind, PassphraseKind, Secret};
use keyward_engine::EngineError;
use keyward_engine::accept_invitation::AcceptedInvitation;
use keyward_engine::show_invitation::{InvitationNeeds, InvitationView};

use crate::call::Call;
use crate::cookies::CookieNames;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, with_cookie};
use crate::shell::{OpenShell, role_name};
use crate::visit::{Person, Stranger};
use crate::words::When;

use super::sign_in::first_page;
use super::sign_in_links::{PASSPHRASE, PASSPHRASE_RULE, passphrase_problem};

/// What this visitor does next.
enum Step {
    /// Set a passphrase and join.
    Passphrase,
    /// Join with a button: they are signed in as whoever is invited.
    Join,
    /// Sign in as whoever is invited; the query of the sign-in page.
    SignIn(String),
    /// They are signed in as somebody else.
    SignOut(String),
    /// Ask an operator for a link.
    AskForLink,
}

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationPage {
    shell: OpenShell,
    organization: String,
    organization_id: String,
    role: &'static str,
    role_words: &'static str,
    email: String,
    invited_by: Option<String>,
    expires: When,
    step: Step,
    rule: &'static str,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "invitation_over.html")]
struct OverPage {
    shell: OpenShell,
    what: &'static str,
    helps: &'static str,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .open_page("/invitations/{secret}", show)
        .open_form("/invitations/{secret}", accept)
}

fn secret_of(call: &Call) -> Secret<InvitationKind> {
    Secret::new(call.path("secret").to_owned())
}

async fn show(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    match call.engine().show_invitation_of(&secret_of(&call)).await {
        Ok(view) => invitation_page(StatusCode::OK, &stranger, &call, view, None),
        Err(error) => over(&stranger, error),
    }
}

fn step_of(stranger: &Stranger, call: &Call, view: &InvitationView) -> Step {
    match (&stranger.person, view.needs) {
        (Some(person), _) if person.session.email == view.email => Step::Join,
        (Some(person), _) => Step::SignOut(person.session.email.to_string()),
        (None, InvitationNeeds::Passphrase) => Step::Passphrase,
        (None, InvitationNeeds::Link) => Step::AskForLink,
        (None, InvitationNeeds::SignIn) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("next", &call.asked);
            Step::SignIn(query.finish())
        }
    }
}

fn invitation_page(
    status: StatusCode,
    stranger: &Stranger,
    call: &Call,
    view: InvitationView,
    problem: Option<String>,
) -> Result<Response, Refused> {
    use keyward_core::role::Role;
    let page = InvitationPage {
        shell: OpenShell::new("You are invited", &stranger.csrf),
        step: step_of(stranger, call, &view),
        organization: view.organization_name,
        organization_id: view.organization_id.to_string(),
        role: role_name(view.role),
        role_words: match view.role {
            Role::Owner => "Owners manage everything: keys, people, the organization itself.",
            Role::Admin => "Admins manage the organization's keys and people.",
            Role::Member => "Members see the organization's name and id, and the help; they manage no keys.",
        },
        email: view.email.to_string(),
        invited_by: view.invited_by,
        expires: When::relative(view.expires_at, call.now()),
        rule: PASSPHRASE_RULE,
        problem,
    };
    reply::page_with(status, &page)
}

/// What is told of an invitation that can't be accepted, and what helps.
fn over(stranger: &Stranger, error: EngineError) -> Result<Response, Refused> {
    let (status, what, helps) = match error {
        EngineError::InvitationOver(over) => {
            let (what, helps) = match over {
                InvitationOver::Expired => (
                    "Its time is over.",
                    "Ask whoever invited you for a new one; it takes them a minute.",
                ),
                InvitationOver::Accepted => (
                    "It was accepted already, and is good once.",
                    "If that was you, sign in. If it was not, tell an Owner of the organization: somebody else had your link.",
                ),
                InvitationOver::Revoked => (
                    "It was taken back.",
                    "Ask whoever invited you whether they still want you to join.",
                ),
                InvitationOver::Replaced => (
                    "A later invitation took its place.",
                    "Use the link that came last.",
                ),
            };
            (StatusCode::GONE, what, helps)
        }
        EngineError::NotFound(_) => (
            StatusCode::NOT_FOUND,
            "There is no invitation with this link.",
            "A part of the address may be missing: copy it whole. Otherwise ask whoever invited you for a new one.",
        ),
        other => return Err(other.into()),
    };
    let shell = OpenShell::new("This invitation can't be accepted", &stranger.csrf);
    reply::page_with(status, &OverPage { shell, what, helps })
}

async fn accept(stranger: Stranger, call: Call) -> Result<Response, Refused> {
    match &stranger.person {
        Some(person) => accept_as(person, &stranger, &call).await,
        None => accept_anew(&stranger, &call).await,
    }
}

async fn accept_as(person: &Person, stranger: &Stranger, call: &Call) -> Result<Response, Refused> {
    let accepted = call
        .engine()
        .accept_invitation_as(&call.info.arrival(), &person.session, &secret_of(call))
        .await;
    match accepted {
        Ok(accepted) => Ok(reply::see_other(&place_of(&accepted))),
        Err(error @ (EngineError::InvitationOver(_) | EngineError::NotFound(_))) => over(stranger, error),
        Err(error) => Err(error.into()),
    }
}

async fn accept_anew(stranger: &Stranger, call: &Call) -> Result<Response, Refused> {
    let secret = secret_of(call);
    let typed = call.form.raw(PASSPHRASE).unwrap_or_default();
    let passphrase = Secret::<PassphraseKind>::new(typed.to_owned());
    let accepted = call
        .engine()
        .accept_invitation_anew(&call.info.arrival(), &call.info.client, &secret, &passphrase)
        .await;
    let refused = match accepted {
        Ok((accepted, begun)) => {
            let names = CookieNames::at(&call.site.public_url);
            let response = reply::see_other(&place_of(&accepted));
            return with_cookie(response, names.begin_session(&begun.token));
        }
        Err(refused) => refused,
    };
    let (status, problem) = match passphrase_problem(&refused) {
        Some((status, problem)) => (status, Some(problem)),
        // Somebody got this address meanwhile: the page tells what they do instead.
        None if matches!(refused, EngineError::Conflict(_)) => (StatusCode::CONFLICT, None),
        None => return over(stranger, refused),
    };
    match call.engine().show_invitation_of(&secret).await {
        Ok(view) => {
            if problem.is_none() && view.needs == InvitationNeeds::Passphrase {
                return Err(refused.into());
            }
            invitation_page(status, stranger, call, view, problem)
        }
        Err(error) => over(stranger, error),
    }
}

fn place_of(accepted: &AcceptedInvitation) -> String {
    first_page(&accepted.organization.id, accepted.member.role)
}
