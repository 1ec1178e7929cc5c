//! What was sent to the security contacts, the newest first: state, attempts, what comes next.

use askama::Template;
use axum::response::Response;
use keyward_core::management_right::ManagementRight;
use keyward_core::notice::NoticeKind;
use keyward_store::deliveries::{Delivery, DeliveryFilter, DeliveryStatus};

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::When;

const PATH: &str = "/org/{organization}/settings/security/deliveries";
const LIMIT: u32 = 50;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    shell: Shell,
    security: String,
    states: Vec<StateChip>,
    deliveries: Vec<DeliveryRow>,
    next: Option<String>,
}

struct StateChip {
    label: &'static str,
    query: String,
    is_current: bool,
}

/// One line of the table.
pub(super) struct DeliveryRow {
    pub(super) what: &'static str,
    pub(super) key: Option<(String, String)>,
    pub(super) to: String,
    pub(super) happened: When,
    pub(super) state: &'static str,
    pub(super) tone: &'static str,
    pub(super) attempts: i64,
    pub(super) next: Option<When>,
    pub(super) error: Option<String>,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page(PATH, ManagementRight::OrganizationWrite, show)
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let wanted = call.query.text("state").and_then(DeliveryStatus::from_name);
    let filter = DeliveryFilter {
        status: wanted.map_or("", DeliveryStatus::name).to_owned(),
        ..no_filter()
    };
    let after = call.query.text("after").unwrap_or_default();
    let engine = call.engine();
    let found = engine.list_deliveries(visit.id(), &filter, after, LIMIT).await?;
    let all = StateChip {
        label: "All",
        query: String::new(),
        is_current: wanted.is_none(),
    };
    let states = DeliveryStatus::ALL.map(|status| StateChip {
        label: state_of(status).0,
        query: format!("?state={}", status.name()),
        is_current: wanted == Some(status),
    });
    reply::page(&DeliveriesPage {
        shell: Shell::of(&visit, &call, Section::Security, "What was sent", &[]),
        security: visit.url("settings/security"),
        states: std::iter::once(all).chain(states).collect(),
        next: found.next.map(|next| call.query.with("after", Some(&next))),
        deliveries: rows(&visit, &call, found.items).await?,
    })
}

/// The newest few.
///
/// # Errors
/// [`Refused`].
pub(super) async fn latest(visit: &Visit, call: &Call, limit: u32) -> Result<Vec<DeliveryRow>, Refused> {
    let found = call
        .engine()
        .list_deliveries(visit.id(), &no_filter(), "", limit)
        .await?;
    rows(visit, call, found.items).await
}

fn no_filter() -> DeliveryFilter {
    DeliveryFilter {
        contact: String::new(),
        status: String::new(),
        key_id: String::new(),
    }
}

async fn rows(visit: &Visit, call: &Call, found: Vec<Delivery>) -> Result<Vec<DeliveryRow>, Refused> {
    let now = call.now();
    let contacts = call.engine().list_contacts(visit.id()).await?;
    let rows = found.into_iter().map(|delivery| {
        let (state, tone) = state_of(delivery.status);
        let to = contacts.iter().find(|row| row.contact == delivery.contact);
        let key = (!delivery.key_id.is_empty()).then(|| {
            let href = visit.url(&format!("settings/secret-keys/{}", delivery.key_id));
            (href, delivery.key_id.clone())
        });
        DeliveryRow {
            what: NoticeKind::from_name(&delivery.kind).map_or("Something else", notice_words),
            key,
            to: to.map_or_else(
                || "a contact that was removed".to_owned(),
                |row| row.address.clone(),
            ),
            happened: When::relative(delivery.happened_at, now),
            state,
            tone,
            attempts: delivery.attempts,
            next: delivery.next_attempt_at.map(|at| When::relative(at, now)),
            error: delivery.last_error.clone(),
        }
    });
    Ok(rows.collect())
}

const fn state_of(status: DeliveryStatus) -> (&'static str, &'static str) {
    match status {
        DeliveryStatus::Pending => ("Waiting", ""),
        DeliveryStatus::Failed => ("Tried in vain", "warn"),
        DeliveryStatus::Sent => ("Arrived", "ok"),
        DeliveryStatus::GivenUp => ("Given up", "danger"),
    }
}

/// What a notice is about.
fn notice_words(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::RotationDueSoon => "Rotation due in 14 days",
        NoticeKind::RotationDueIn3Days => "Rotation due in 3 days",
        NoticeKind::RotationDue => "Rotation due today",
        NoticeKind::RotationOverdue => "Rotation overdue",
        NoticeKind::ExpiresSoon => "Key expires in 14 days",
        NoticeKind::ExpiresIn3Days => "Key expires in 3 days",
        NoticeKind::Expired => "Key expired",
        NoticeKind::FirstUseFromAddress => "First use from an address",
        NoticeKind::RefusalsRise => "Refusals rise",
        NoticeKind::Compromised => "Key compromised",
        NoticeKind::Replaced => "Key replaced",
        NoticeKind::Deleted => "Key ended",
        NoticeKind::KeysStopped => "Keys stopped",
        NoticeKind::OrganizationStopped => "Every key stopped",
        _ => "Test",
    }
}
