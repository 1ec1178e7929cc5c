//! Security contacts: add and remove, test, switch on again, a new signing secret.
//!
//! All of it is shown on the page of [`super::security`]. A signing secret leaves in the answer to the form that made it, and in
//! no other.

use axum::response::Response;
use keyward_core::contact::SecurityContact;
use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblem;
use keyward_core::management_right::ManagementRight;
use keyward_engine::EngineError;
use keyward_engine::edit_settings::SettingsEdit;
use keyward_engine::notices::SigningSecret;
use keyward_store::deliveries::{Delivery, DeliveryStatus};

use super::general::version_of;
use super::security::{Shown, page};
use crate::call::Call;
use crate::mending::Mending;
use crate::refused::Refused;
use crate::routes::{ConsoleRoutes, done};
use crate::visit::Visit;
use crate::words::When;

const CONTACTS: &str = "/org/{organization}/settings/security/contacts";
const TEST_ALL: &str = "/org/{organization}/settings/security/contacts/test";
const TEST: &str = "/org/{organization}/settings/security/contacts/{contact}/test";
const ENABLE: &str = "/org/{organization}/settings/security/contacts/{contact}/enable";
const ROTATE: &str = "/org/{organization}/settings/security/contacts/{contact}/rotate-secret";
const REMOVE: &str = "/org/{organization}/settings/security/contacts/{contact}/remove";

/// A contact in the page's table.
pub(super) struct ContactRow {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) kind: &'static str,
    pub(super) is_webhook: bool,
    pub(super) state: &'static str,
    pub(super) tone: &'static str,
    pub(super) since: Option<When>,
    pub(super) retry: Option<When>,
    pub(super) why: Option<String>,
    pub(super) can_enable: bool,
}

/// A signing secret that is shown once.
pub(super) struct OnceSecret {
    pub(super) address: String,
    pub(super) value: String,
    pub(super) is_rotated: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let right = ManagementRight::OrganizationWrite;
    routes
        .form(CONTACTS, right, add_contact)
        .form(TEST_ALL, right, test)
        .form(TEST, right, test)
        .form(ENABLE, right, enable)
        .form(ROTATE, right, rotate_secret)
        .form(REMOVE, right, remove)
}

/// The contacts with how they stand.
///
/// # Errors
/// [`Refused`].
pub(super) async fn contact_rows(visit: &Visit, call: &Call) -> Result<Vec<ContactRow>, Refused> {
    let now = call.now();
    let found = call.engine().list_contacts(visit.id()).await?;
    let rows = found.into_iter().map(|row| {
        let is_webhook = row.kind == "webhook";
        let (state, tone) = match (&row.disabled, row.failing_since) {
            (Some(_), _) => ("Switched off", "danger"),
            (None, Some(_)) => ("Failing", "warn"),
            (None, None) => ("On", "ok"),
        };
        let since = row.disabled.as_ref().map(|(at, _)| *at).or(row.failing_since);
        ContactRow {
            id: row.contact,
            address: row.address,
            kind: if is_webhook { "Webhook" } else { "E-mail" },
            is_webhook,
            state,
            tone,
            since: since.map(|at| When::relative(at, now)),
            retry: row.retry_at.map(|at| When::relative(at, now)),
            can_enable: row.disabled.is_some() || row.failing_since.is_some() || row.retry_at.is_some(),
            why: row.disabled.map(|(_, why)| why),
        }
    });
    Ok(rows.collect())
}

async fn add_contact(visit: Visit, call: Call) -> Result<Response, Refused> {
    let contact = match read(&call) {
        Ok(contact) => contact,
        Err(message) => return mended(&visit, &call, Mending::of(vec![problem(message)])).await,
    };
    let mut contacts = visit.organization.settings.security_contacts.clone();
    if contacts.contains(&contact) {
        let message = "is a contact already".to_owned();
        return mended(&visit, &call, Mending::of(vec![problem(message)])).await;
    }
    contacts.push(contact);
    let added = edit(&visit, &call, contacts).await;
    match added {
        Ok(mut secrets) => match secrets.pop() {
            Some(secret) => once(&visit, &call, secret, false).await,
            None => Ok(done(&visit.url("settings/security"), "contact-added")),
        },
        Err(EngineError::Invalid(problems)) => {
            // The list as a whole, or its last entry: both are this field's.
            let problems = problems.into_iter().map(|one| problem(one.message)).collect();
            mended(&visit, &call, Mending::of(problems)).await
        }
        Err(error) => mended(&visit, &call, Mending::after(error)?).await,
    }
}

async fn mended(visit: &Visit, call: &Call, adding: Mending) -> Result<Response, Refused> {
    let shown = Shown {
        adding,
        ..Shown::default()
    };
    page(visit, call, shown).await
}

/// An address with `://` is a URL, and nobody's mailbox.
fn read(call: &Call) -> Result<SecurityContact, String> {
    let text = call.form.text("address").unwrap_or_default();
    if text.contains("://") {
        let url = text.parse();
        return url
            .map(SecurityContact::Webhook)
            .map_err(|refused: keyward_core::contact::WebhookRefused| refused.to_string());
    }
    let email: Result<EmailAddress, _> = text.parse();
    email
        .map(SecurityContact::Email)
        .map_err(|_| "must be an e-mail address, or a URL such as https://example.com/hook".to_owned())
}

fn problem(message: String) -> FieldProblem {
    FieldProblem {
        field: "address".to_owned(),
        message,
    }
}

async fn edit(
    visit: &Visit,
    call: &Call,
    contacts: Vec<SecurityContact>,
) -> Result<Vec<SigningSecret>, EngineError> {
    let edit = SettingsEdit {
        security_contacts: Some(contacts),
        ..SettingsEdit::default()
    };
    let edited = call
        .engine()
        .edit_settings(&call.context, visit.id(), Some(version_of(call)), edit)
        .await?;
    Ok(edited.signing_secrets)
}

async fn once(
    visit: &Visit,
    call: &Call,
    secret: SigningSecret,
    is_rotated: bool,
) -> Result<Response, Refused> {
    let shown = Shown {
        secret: Some(OnceSecret {
            address: secret.address,
            // The one place where a signing secret leaves the console.
            value: secret.secret.reveal().to_owned(),
            is_rotated,
        }),
        ..Shown::default()
    };
    page(visit, call, shown).await
}

async fn test(visit: Visit, call: Call) -> Result<Response, Refused> {
    let contact = Some(call.path("contact"))
        .filter(|contact| !contact.is_empty())
        .map(str::to_owned);
    visit.count_costly(call.engine())?;
    let tests = call
        .engine()
        .test_contacts(call.context.clone(), visit.id().clone(), contact)
        .await?;
    let shown = Shown {
        tested: Some(told_of(&tests)),
        ..Shown::default()
    };
    page(&visit, &call, shown).await
}

/// What became of the tests, in words.
fn told_of(tests: &[Delivery]) -> String {
    let failed: Vec<_> = tests
        .iter()
        .filter(|test| test.status != DeliveryStatus::Sent)
        .collect();
    let why = failed.first().and_then(|test| test.last_error.as_deref());
    match (failed.len(), tests.len()) {
        (0, 1) => "The test arrived.".to_owned(),
        (0, all) => format!("The test arrived at all {all} contacts."),
        (1, 1) => format!(
            "The test did not arrive: {}.",
            why.unwrap_or("there was no answer")
        ),
        (failed, all) => format!(
            "The test did not arrive at {failed} of {all} contacts: {}.",
            why.unwrap_or("there was no answer")
        ),
    }
}

async fn enable(visit: Visit, call: Call) -> Result<Response, Refused> {
    call.engine()
        .enable_contact(&call.context, visit.id(), call.path("contact"))
        .await?;
    Ok(done(&visit.url("settings/security"), "contact-enabled"))
}

async fn rotate_secret(visit: Visit, call: Call) -> Result<Response, Refused> {
    let secret = call
        .engine()
        .rotate_signing_secret(&call.context, visit.id(), call.path("contact"))
        .await?;
    once(&visit, &call, secret, true).await
}

async fn remove(visit: Visit, call: Call) -> Result<Response, Refused> {
    let rows = call.engine().list_contacts(visit.id()).await?;
    let row = rows.iter().find(|row| row.contact == call.path("contact"));
    let row = row.ok_or(Refused::NotFound)?;
    let mut contacts = visit.organization.settings.security_contacts.clone();
    contacts.retain(|contact| contact.kind() != row.kind || contact.address() != row.address);
    match edit(&visit, &call, contacts).await {
        Ok(_) => Ok(done(&visit.url("settings/security"), "contact-removed")),
        Err(error) => mended(&visit, &call, Mending::after(error)?).await,
    }
}
