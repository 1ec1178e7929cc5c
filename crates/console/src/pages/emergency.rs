//! Emergency: stop every key of the organization and resume them, lock it and unlock it. Before, who would be refused.

use askama::Template;
use axum::response::Response;
use keyward_core::management_right::ManagementRight;
use keyward_engine::show_usage::Span;
use keyward_store::usage_queries::Of;

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{When, counted, grouped};

const STOP: &str = "/org/{organization}/settings/security/stop";
const LOCK: &str = "/org/{organization}/settings/security/lock";
const RESUME: &str = "/org/{organization}/settings/security/resume";
const UNLOCK: &str = "/org/{organization}/settings/security/unlock";
/// Clients and addresses that are named.
const MOST: u32 = 10;

#[derive(Template)]
#[template(path = "emergency.html")]
struct EmergencyPage {
    shell: Shell,
    security: String,
    action: String,
    title: &'static str,
    lead: &'static str,
    button: &'static str,
    hint: &'static str,
    victims: Victims,
}

/// Who used the organization's keys in the last 24 hours.
pub(super) struct Victims {
    pub(super) keys: u64,
    pub(super) counted: String,
    pub(super) clients: Vec<VictimRow>,
    pub(super) addresses: Vec<String>,
}

pub(super) struct VictimRow {
    pub(super) name: String,
    pub(super) keys: String,
    pub(super) requests: String,
    pub(super) last: When,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let right = ManagementRight::OrganizationWrite;
    routes
        .page(STOP, right, show_stop)
        .form(STOP, right, stop)
        .form(RESUME, right, resume)
        .page(LOCK, right, show_lock)
        .form(LOCK, right, lock)
        .form(UNLOCK, right, unlock)
}

/// Who would be refused if the organization's keys were.
///
/// # Errors
/// [`Refused`].
pub(super) async fn victims(visit: &Visit, call: &Call) -> Result<Victims, Refused> {
    let (engine, now) = (call.engine(), call.now());
    let span = Span::last_days(1, now);
    let by_creator = engine.count_keys_by_creator(visit.id()).await?;
    let keys = by_creator
        .iter()
        .map(|(_, keys)| u64::try_from(*keys).unwrap_or_default())
        .sum();
    let clients = engine
        .organization_top(visit.id(), Of::Clients, span, MOST)
        .await?;
    let addresses = engine
        .organization_top(visit.id(), Of::Addresses, span, MOST)
        .await?;
    let used = clients.into_iter().filter(|client| client.accepted > 0);
    Ok(Victims {
        keys,
        counted: counted(keys, "key", "keys"),
        clients: used
            .map(|client| VictimRow {
                name: match client.name.as_str() {
                    "" => "A client without a name".to_owned(),
                    name => name.to_owned(),
                },
                keys: grouped(client.keys.unsigned_abs()),
                requests: grouped(client.accepted.unsigned_abs()),
                last: When::relative(client.last_at, now),
            })
            .collect(),
        addresses: addresses
            .into_iter()
            .filter(|address| address.accepted > 0)
            .map(|address| address.name)
            .collect(),
    })
}

async fn show_stop(visit: Visit, call: Call) -> Result<Response, Refused> {
    let page = EmergencyPage {
        shell: Shell::of(&visit, &call, Section::Security, "Stop every key", &[]),
        security: visit.url("settings/security"),
        action: visit.url("settings/security/stop"),
        title: "Stop every key",
        lead: "Every key of this organization is refused as paused from the next request on, until somebody resumes them. Nothing \
               ends: each key keeps its own state and comes back with it.",
        button: "Stop every key now",
        hint: "Security contacts are told. For one leaked key its own page has the better way: Compromised?",
        victims: victims(&visit, &call).await?,
    };
    reply::page(&page)
}

async fn show_lock(visit: Visit, call: Call) -> Result<Response, Refused> {
    let page = EmergencyPage {
        shell: Shell::of(&visit, &call, Section::Security, "Lock the organization", &[]),
        security: visit.url("settings/security"),
        action: visit.url("settings/security/lock"),
        title: "Lock the organization",
        lead: "Every operation of every key is refused as locked, until somebody unlocks it. A key is still told first what else is \
               wrong with it, and a check whether it is known still answers.",
        button: "Lock the organization now",
        hint: "A lock says that the organization may do nothing at the moment; a stop says that its keys are not to be trusted.",
        victims: victims(&visit, &call).await?,
    };
    reply::page(&page)
}

async fn stop(visit: Visit, call: Call) -> Result<Response, Refused> {
    call.engine()
        .stop_organization(call.context.clone(), visit.id().clone())
        .await?;
    Ok(done(&visit.url("settings/security"), "stopped"))
}

async fn resume(visit: Visit, call: Call) -> Result<Response, Refused> {
    call.engine()
        .resume_organization(call.context.clone(), visit.id().clone())
        .await?;
    Ok(done(&visit.url("settings/security"), "resumed"))
}

async fn lock(visit: Visit, call: Call) -> Result<Response, Refused> {
    call.engine()
        .lock_organization(call.context.clone(), visit.id().clone())
        .await?;
    Ok(done(&visit.url("settings/security"), "locked"))
}

async fn unlock(visit: Visit, call: Call) -> Result<Response, Refused> {
    call.engine()
        .unlock_organization(call.context.clone(), visit.id().clone())
        .await?;
    Ok(done(&visit.url("settings/security"), "unlocked"))
}
