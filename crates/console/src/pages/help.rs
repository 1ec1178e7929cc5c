//! Help inside an organization: with its own id and this server's own address filled in, for every member, without the internet.
//!
//! What a refusal means comes from the tables that the refusals themselves are made from. Pages that a member may not open are named
//! and not linked. The same without an organization is at `/help`, for whoever has not signed in.

use askama::Template;
use axum::response::Response;
use keyward_api::problem::RequestCode;
use keyward_core::environment::Environment;
use keyward_core::level::PermissionLevel;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::management_right::ManagementRight;
use keyward_core::refusal::Code;
use keyward_core::scope::Scope;

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{environment_name, level_name, level_sentence, scope_name, scope_sentence};

/// What every help page knows.
struct Place {
    base: String,
    keys: String,
    general: String,
    /// Whether they manage keys; others are told whom to ask.
    may_manage: bool,
    public_url: String,
    organization_id: String,
}

#[derive(Template)]
#[template(path = "help.html")]
struct HelpPage {
    shell: Shell,
    place: Place,
}

#[derive(Template)]
#[template(path = "help_sdk.html")]
struct SdkPage {
    shell: Shell,
    place: Place,
}

#[derive(Template)]
#[template(path = "help_create.html")]
struct CreatePage {
    shell: Shell,
    place: Place,
    environments: Vec<EnvironmentRow>,
    scopes: Vec<(&'static str, &'static str)>,
    levels: Vec<(&'static str, &'static str)>,
}

/// What an environment proposes.
struct EnvironmentRow {
    name: &'static str,
    level: &'static str,
    scopes: &'static str,
    rotation: &'static str,
}

#[derive(Template)]
#[template(path = "help_remove.html")]
struct RemovePage {
    shell: Shell,
    place: Place,
}

#[derive(Template)]
#[template(path = "help_errors.html")]
struct ErrorsPage {
    shell: Shell,
    place: Place,
    groups: Vec<CodeGroup>,
}

struct CodeGroup {
    id: &'static str,
    title: &'static str,
    codes: Vec<CodeRow>,
}

/// A code as the page shows it.
struct CodeRow {
    name: &'static str,
    status: u16,
    title: &'static str,
    remedy: Vec<Words>,
}

/// A run of words; what stands in backticks is code.
struct Words {
    text: &'static str,
    is_code: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let read = ManagementRight::OrganizationRead;
    routes
        .page("/org/{organization}/settings/help", read, start)
        .page("/org/{organization}/settings/help/sdk", read, sdk)
        .page("/org/{organization}/settings/help/create", read, create)
        .page("/org/{organization}/settings/help/remove", read, remove)
        .page("/org/{organization}/settings/help/errors", read, errors)
}

fn place(visit: &Visit, call: &Call) -> Place {
    Place {
        base: visit.url("settings/help"),
        keys: visit.url("settings/secret-keys"),
        general: visit.url("settings/general"),
        may_manage: visit.may(ManagementRight::KeysRead),
        public_url: call.site.public_url.clone(),
        organization_id: visit.id().to_string(),
    }
}

fn shell(visit: &Visit, call: &Call, title: &str) -> Shell {
    Shell::of(visit, call, Section::Help, title, &[])
}

async fn start(visit: Visit, call: Call) -> Result<Response, Refused> {
    reply::page(&HelpPage {
        shell: shell(&visit, &call, "Help"),
        place: place(&visit, &call),
    })
}

async fn sdk(visit: Visit, call: Call) -> Result<Response, Refused> {
    reply::page(&SdkPage {
        shell: shell(&visit, &call, "Use the Vi SDK"),
        place: place(&visit, &call),
    })
}

async fn create(visit: Visit, call: Call) -> Result<Response, Refused> {
    let environments = [
        (Some(Environment::Production), "all three", "every 90 days"),
        (Some(Environment::Staging), "all three", "every 180 days"),
        (Some(Environment::Development), "all three", "as needed"),
        (Some(Environment::CiCd), "none, until you choose", "every 90 days"),
        (None, "all three", "as needed"),
    ];
    let rows = environments
        .into_iter()
        .map(|(environment, scopes, rotation)| EnvironmentRow {
            name: environment_name(environment),
            level: level_name(match environment {
                Some(Environment::Development | Environment::CiCd) => PermissionLevel::ReadOnly,
                _ => PermissionLevel::Full,
            }),
            scopes,
            rotation,
        });
    let levels = [
        PermissionLevel::Full,
        PermissionLevel::ReadOnly,
        PermissionLevel::LabelerOnly,
        PermissionLevel::Restricted,
    ];
    reply::page(&CreatePage {
        shell: shell(&visit, &call, "Create a secret key"),
        place: place(&visit, &call),
        environments: rows.collect(),
        scopes: Scope::ALL
            .into_iter()
            .map(|scope| (scope_name(scope), scope_sentence(scope)))
            .collect(),
        levels: levels
            .into_iter()
            .map(|level| (level_name(level), level_sentence(level)))
            .collect(),
    })
}

async fn remove(visit: Visit, call: Call) -> Result<Response, Refused> {
    reply::page(&RemovePage {
        shell: shell(&visit, &call, "Remove a secret key"),
        place: place(&visit, &call),
    })
}

async fn errors(visit: Visit, call: Call) -> Result<Response, Refused> {
    let row = |name, status, title, remedy| CodeRow {
        name,
        status,
        title,
        remedy: words(remedy),
    };
    let of_keys = Code::ALL
        .iter()
        .map(|code| row(code.name(), code.status(), code.title(), code.remedy()));
    let of_tokens = ManagementCode::ALL
        .iter()
        .map(|code| row(code.name(), code.status(), code.title(), code.remedy()));
    let of_requests = RequestCode::ALL
        .iter()
        .map(|code| row(code.name(), code.status(), code.title(), code.remedy()));
    reply::page(&ErrorsPage {
        shell: shell(&visit, &call, "What a refusal means"),
        place: place(&visit, &call),
        groups: vec![
            CodeGroup {
                id: "keys",
                title: "About the key",
                codes: of_keys.collect(),
            },
            CodeGroup {
                id: "tokens",
                title: "About the management token",
                codes: of_tokens.collect(),
            },
            CodeGroup {
                id: "requests",
                title: "About the request",
                codes: of_requests.collect(),
            },
        ],
    })
}

fn words(text: &'static str) -> Vec<Words> {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, text)| Words {
            text,
            is_code: at % 2 == 1,
        })
        .collect()
}
