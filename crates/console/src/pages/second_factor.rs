//! The second factor of whoever is signed in: set up, replace, renew its recovery codes, remove.
//!
//! Each step asks for the passphrase or a code, so that an unlocked browser alone changes nothing. One address has all of it; the
//! form's field `step` says which form it was. A factor that is on stays in force until the app that takes its place has shown a code
//! that fits. Recovery codes are on one page, once.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::secret::{PassphraseKind, RecoveryCodeKind, Secret};
use keyward_engine::EngineError;
use keyward_engine::passphrases::ChangeRefused;
use keyward_engine::second_factor::SecondFactorOffer;

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell};
use crate::visit::Person;
use crate::words::{When, counted};

use super::account::{Problem, change_problem};

const PATH: &str = "/account/second-factor";
/// What the page says after a form.
const SENTENCES: [(&str, &str); 2] = [
    (
        "removed",
        "Your second factor is removed. Your passphrase alone signs you in now.",
    ),
    (
        "over",
        "Setting up took longer than 15 minutes, or was begun in another session. Begin once more.",
    ),
];

/// Which of the page's forms was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Begin,
    Confirm,
    Renew,
    Remove,
}

impl Form {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "begin" => Some(Self::Begin),
            "confirm" => Some(Self::Confirm),
            "renew" => Some(Self::Renew),
            "remove" => Some(Self::Remove),
            _ => None,
        }
    }
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct SecondFactorPage {
    shell: Shell,
    email: String,
    is_on: bool,
    since: Option<When>,
    codes_left: String,
    /// Organizations that demand it of this person, by name.
    demanded_by: Vec<String>,
    /// Whether they were led here because one does.
    is_led_here: bool,
    offer: Option<Offer>,
    notice: Option<String>,
    begin_problem: Option<String>,
    code_problem: Option<String>,
    renew_problem: Option<String>,
    remove_problem: Option<String>,
}

struct Offer {
    /// The engine's own picture, the one text that a template takes as it is.
    qr_svg: String,
    seed: String,
}

#[derive(Template)]
#[template(path = "recovery_codes.html")]
struct RecoveryCodesPage {
    shell: Shell,
    codes: Vec<String>,
    is_renewed: bool,
    /// The codes as a file, in the link itself: nothing is kept of them here.
    file: String,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.own_page(PATH, show).own_form(PATH, send)
}

/// What is wrong with the form that was sent.
struct Sent {
    form: Form,
    status: StatusCode,
    notice: String,
    beside: Option<&'static str>,
}

async fn show(person: Person, call: Call) -> Result<Response, Refused> {
    factor_page(&person, &call, None, None).await
}

/// The names of organizations that demand a second factor of them.
async fn demanding(person: &Person, call: &Call) -> Result<Vec<String>, Refused> {
    let found = call.engine().organizations_of(&person.session.person_id).await?;
    let demanding = found
        .into_iter()
        .filter(|one| one.organization.settings.second_factor_required && one.role.is_manager());
    Ok(demanding.map(|one| one.organization.name).collect())
}

async fn factor_page(
    person: &Person,
    call: &Call,
    offered: Option<SecondFactorOffer>,
    sent: Option<Sent>,
) -> Result<Response, Refused> {
    let engine = call.engine();
    let standing = engine.show_second_factor(&person.session.person_id).await?;
    let offered = match offered {
        Some(offered) => Some(offered),
        None => engine.show_offered_second_factor(&person.session).await?,
    };
    let left = u64::try_from(standing.recovery_codes_left).unwrap_or(0);
    let problem_of = |form: Form| {
        let own = sent.as_ref().filter(|sent| sent.form == form);
        own.and_then(|sent| sent.beside).map(str::to_owned)
    };
    let page = SecondFactorPage {
        shell: Shell::plain(person, call, Section::Account, "Second factor", &SENTENCES),
        email: person.session.email.to_string(),
        is_on: standing.is_on,
        since: standing.since.map(|at| When::relative(at, call.now())),
        codes_left: counted(left, "recovery code is left", "recovery codes are left"),
        demanded_by: demanding(person, call).await?,
        is_led_here: call.query.has("why", "demanded") && !standing.is_on,
        offer: offered.map(|offer| Offer {
            qr_svg: offer.qr_svg,
            seed: offer.seed_base32.reveal().to_owned(),
        }),
        begin_problem: problem_of(Form::Begin),
        code_problem: problem_of(Form::Confirm),
        renew_problem: problem_of(Form::Renew),
        remove_problem: problem_of(Form::Remove),
        notice: sent.as_ref().map(|sent| sent.notice.clone()),
    };
    let status = sent.map_or(StatusCode::OK, |sent| sent.status);
    reply::page_with(status, &page)
}

async fn send(person: Person, call: Call) -> Result<Response, Refused> {
    let form = call.form.text("step").and_then(Form::from_name);
    let form = form.ok_or(Refused::NotFound)?;
    let engine = call.engine();
    let (arrival, session) = (call.info.arrival(), &person.session);
    let typed = call.form.raw("passphrase").unwrap_or_default();
    let passphrase = Secret::<PassphraseKind>::new(typed.to_owned());
    let refused = match form {
        Form::Begin => match engine.begin_second_factor(&arrival, session, &passphrase).await {
            Ok(offered) => return factor_page(&person, &call, Some(offered), None).await,
            Err(refused) => refused,
        },
        Form::Confirm => {
            let code = call.form.text("code").unwrap_or_default();
            match engine.confirm_second_factor(&arrival, session, code).await {
                Ok(codes) => return codes_page(&person, &call, &codes, form),
                Err(ChangeRefused::Engine(EngineError::Conflict(_))) => return Ok(done(PATH, "over")),
                Err(refused) => refused,
            }
        }
        Form::Renew => match engine.renew_recovery_codes(&arrival, session, &passphrase).await {
            Ok(codes) => return codes_page(&person, &call, &codes, form),
            Err(refused) => refused,
        },
        Form::Remove => match engine.remove_second_factor(&arrival, session, &passphrase).await {
            Ok(()) => return Ok(done(PATH, "removed")),
            Err(refused) => refused,
        },
    };
    let mut retry_after = None;
    let (status, notice, beside) = match change_problem(refused)? {
        Problem::Wrong if form == Form::Confirm => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Nothing was changed.".to_owned(),
            Some(
                "This code does not fit. Type the one that the app shows now; codes change every 30 seconds. If none fits, check the \
                 clock of your phone.",
            ),
        ),
        Problem::Wrong | Problem::NewPassphrase(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Nothing was changed.".to_owned(),
            Some("This is not your passphrase."),
        ),
        Problem::Later(later) => {
            retry_after = later.retry_after_ms;
            (later.status, later.notice, None)
        }
    };
    let sent = Sent {
        form,
        status,
        notice,
        beside,
    };
    let response = factor_page(&person, &call, None, Some(sent)).await?;
    Ok(reply::worth_again_after(response, retry_after))
}

fn codes_page(
    person: &Person,
    call: &Call,
    codes: &[Secret<RecoveryCodeKind>],
    form: Form,
) -> Result<Response, Refused> {
    let codes: Vec<String> = codes.iter().map(|code| code.reveal().to_owned()).collect();
    let text = format!(
        "Keyward recovery codes of {} at {}\nEach is good once, in place of a code of the authenticator app.\n\n{}\n",
        person.session.email,
        call.site.public_url,
        codes.join("\n")
    );
    let encoded: String = text
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    reply::page(&RecoveryCodesPage {
        shell: Shell::plain(person, call, Section::Account, "Recovery codes", &[]),
        codes,
        is_renewed: form == Form::Renew,
        file: format!("data:text/plain;charset=utf-8,{encoded}"),
    })
}
