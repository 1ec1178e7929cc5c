//! Security contacts and what was sent to them: list, test, switch on, give a new signing secret.
//!
//! All of it asks for the right to change the organization, also what only shows: a contact's address can be a secret of whoever is
//! called, and why something did not arrive says how their systems answer. Which contacts there are is a setting of the organization.

use axum::response::Response;
use http::StatusCode;
use keyward_api::deliveries::{
    ContactChannelView, ContactTestBody, ContactTestsView, DeliveryView, STATUSES, SigningSecretView,
    read_test,
};
use keyward_api::{cursor, moment};
use keyward_core::field::FieldProblem;
use keyward_core::management_right::ManagementRight;
use keyward_engine::notices::SigningSecret;
use keyward_store::deliveries::{ContactRow, Delivery, DeliveryFilter};
use utoipa::PartialSchema as _;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "deliveries";
const CONTACTS: &str = "/v1/organizations/{organization}/contacts";
/// Longer than any id that is filtered by.
const MAX_FILTER: usize = 100;

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::get(CONTACTS, ManagementRight::OrganizationWrite)
                .named(
                    Tag::Organizations,
                    "list_contacts",
                    "List the security contacts, and which of them are switched off",
                )
                .answers::<ListView<ContactChannelView>>(StatusCode::OK),
            list_contacts,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/contacts/test",
                ManagementRight::OrganizationWrite,
            )
            .named(
                Tag::Organizations,
                "test_contacts",
                "Send a test message now, and tell what became of it",
            )
            .may_take::<ContactTestBody>()
            .answers::<ContactTestsView>(StatusCode::OK)
            .may_refuse(&[409]),
            test,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/contacts/{contact}/enable",
                ManagementRight::OrganizationWrite,
            )
            .named(
                Tag::Organizations,
                "enable_contact",
                "Switch a contact on again; what was given up stays so",
            )
            .answers::<ContactChannelView>(StatusCode::OK),
            enable,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/contacts/{contact}/rotate-secret",
                ManagementRight::OrganizationWrite,
            )
            .named(
                Tag::Organizations,
                "rotate_signing_secret",
                "Give a webhook a new signing secret and show it, this once",
            )
            .answers::<SigningSecretView>(StatusCode::OK)
            .may_refuse(&[409]),
            rotate_secret,
        )
        .add(
            Endpoint::get(
                "/v1/organizations/{organization}/deliveries",
                ManagementRight::OrganizationWrite,
            )
            .named(
                Tag::Organizations,
                "list_deliveries",
                "List what contacts were sent and what failed, the newest first; kept for 90 days",
            )
            .asks("contact", "Only those to this contact.", String::schema)
            .asks(
                "status",
                "Only those of this status.",
                keyward_api::schema::DeliveryStatusName::schema,
            )
            .asks("key", "Only those about this key.", String::schema)
            .pages()
            .answers::<ListView<DeliveryView>>(StatusCode::OK),
            list,
        )
}

async fn list_contacts(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let rows = call.engine().list_contacts(grant.organization()?).await?;
    let shown = ListView {
        items: rows.iter().map(contact_view).collect(),
        next: None,
    };
    reply::json(StatusCode::OK, &shown)
}

async fn test(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let contact = read_test(call.optional_fields().await?)?;
    let organization = grant.organization()?.clone();
    let engine = call.engine();
    let tests = engine
        .test_contacts(call.context.clone(), organization, contact)
        .await?;
    let shown = ContactTestsView {
        items: tests.iter().map(view).collect(),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn enable(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let contact: String = call.id("contact", "security contact")?;
    let engine = call.engine();
    let enabled = engine
        .enable_contact(&call.context, grant.organization()?, &contact)
        .await?;
    reply::json(StatusCode::OK, &contact_view(&enabled))
}

async fn rotate_secret(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let contact: String = call.id("contact", "security contact")?;
    let engine = call.engine();
    let rotated = engine
        .rotate_signing_secret(&call.context, grant.organization()?, &contact)
        .await?;
    reply::json(StatusCode::OK, &secret_view(&rotated))
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?;
    let mut problems = Vec::new();
    let mut wanted = |name: &str| {
        let text = call.query.text(name).unwrap_or_default();
        let message = match name {
            "status" if !text.is_empty() && !STATUSES.contains(&text.as_str()) => {
                format!("is one of {}", STATUSES.join(", "))
            }
            _ if text.len() > MAX_FILTER || text.contains('\0') => "is no id".to_owned(),
            _ => return text,
        };
        problems.push(FieldProblem {
            field: name.to_owned(),
            message,
        });
        String::new()
    };
    let filter = DeliveryFilter {
        contact: wanted("contact"),
        status: wanted("status"),
        key_id: wanted("key"),
    };
    if !problems.is_empty() {
        return Err(Problem::invalid(problems));
    }
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    engine.show_organization(organization).await?;
    let found = engine
        .list_deliveries(organization, &filter, &page.after, page.limit)
        .await?;
    let shown = ListView {
        items: found.items.iter().map(view).collect(),
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

/// The one place where a signing secret leaves the server.
pub(super) fn secret_view(made: &SigningSecret) -> SigningSecretView {
    SigningSecretView {
        contact: made.contact.clone(),
        address: made.address.clone(),
        secret: made.secret.reveal().to_owned(),
    }
}

fn contact_view(row: &ContactRow) -> ContactChannelView {
    ContactChannelView {
        id: row.contact.clone(),
        kind: row.kind.clone(),
        address: row.address.clone(),
        failing_since: row.failing_since.map(moment::write),
        retry_at: row.retry_at.map(moment::write),
        disabled_at: row.disabled.as_ref().map(|(at, _)| moment::write(*at)),
        disabled_reason: row.disabled.as_ref().map(|(_, reason)| reason.clone()),
    }
}

fn view(delivery: &Delivery) -> DeliveryView {
    DeliveryView {
        id: keyward_engine::deliver::message_id(delivery),
        kind: delivery.kind.clone(),
        key_id: (!delivery.key_id.is_empty()).then(|| delivery.key_id.clone()),
        contact: delivery.contact.clone(),
        contact_kind: delivery.contact_kind.clone(),
        status: delivery.status.name().to_owned(),
        attempts: delivery.attempts,
        happened_at: moment::write(delivery.happened_at),
        next_attempt_at: delivery.next_attempt_at.map(moment::write),
        finished_at: delivery.finished_at.map(moment::write),
        last_status: delivery.last_status,
        last_error: delivery.last_error.clone(),
    }
}
