//! The overview: what needs a person first, then figures, then what was changed lately. A new organization is taught instead.
//!
//! Every line that needs somebody leads to where it is dealt with. What it costs does not depend on the number of keys.

use askama::Template;
use axum::response::Response;
use keyward_core::environment::Environment;
use keyward_core::management_right::ManagementRight;
use keyward_core::scope::Scope;
use keyward_core::usage::Outcome;
use keyward_engine::show_overview::{MOST_UNUSED, Overview, UNUSED_DAYS};
use keyward_store::audit::AuditQuery;
use keyward_store::overview_counts::KeyCount;
use keyward_store::usage_queries::Step;

use super::audit_words::{Names, done_words};
use super::chart::Chart;
use crate::call::Call;
use crate::naming::Naming;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{When, counted, environment_name, grouped, scope_name, scope_sentence};

/// Changes that are named.
const CHANGES: usize = 8;
/// Newest entries among which they are looked for.
const CHANGES_LOOKED_AT: u32 = 60;
/// Addresses and codes that are named.
const SHOWN: usize = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    base: String,
    id: String,
    public_url: String,
    /// Nobody ever made a key here.
    is_new: bool,
    scopes: Vec<(&'static str, &'static str)>,
    needs: Vec<Need>,
    addresses: Vec<AddressRow>,
    more_addresses: usize,
    refused: Vec<RefusedRow>,
    keys: String,
    environments: Vec<EnvironmentRow>,
    accepted: String,
    refused_of_days: String,
    chart: Chart,
    changes: Vec<ChangeRow>,
}

/// Something that somebody should see to.
struct Need {
    tone: &'static str,
    title: String,
    sentence: String,
    href: String,
    verb: &'static str,
}

struct AddressRow {
    address: String,
    key: String,
    href: String,
    first: When,
}

struct RefusedRow {
    code: String,
    title: &'static str,
    uses: String,
}

struct EnvironmentRow {
    name: &'static str,
    href: String,
    keys: String,
    /// For those who hear the link alone.
    spoken: String,
}

struct ChangeRow {
    actor: String,
    what: String,
    /// What it was done to, where that has a page.
    target: Option<(String, String)>,
    at: When,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page("/org/{organization}", ManagementRight::KeysRead, show)
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let overview = call.engine().show_overview(visit.id()).await?;
    let now = call.now();
    let total: i64 = overview.keys.iter().map(|count| count.keys).sum();
    let sum = |value: fn(&keyward_store::usage_queries::UsagePoint) -> i64| {
        overview.days.iter().map(value).sum::<i64>().unsigned_abs()
    };
    let addresses = overview.new_addresses.iter().take(SHOWN).map(|seen| AddressRow {
        address: seen.address.clone(),
        key: if seen.name.is_empty() {
            seen.key_id.to_string()
        } else {
            seen.name.clone()
        },
        href: visit.url(&format!("settings/secret-keys/{}/activity", seen.key_id)),
        first: When::relative(seen.first_at, now),
    });
    reply::page(&OverviewPage {
        shell: Shell::of(&visit, &call, Section::Overview, "Overview", &[]),
        base: format!("/org/{}", visit.id()),
        id: visit.organization.id.to_string(),
        public_url: call.site.public_url.clone(),
        is_new: !overview.had_keys,
        scopes: Scope::ALL
            .map(|scope| (scope_name(scope), scope_sentence(scope)))
            .into_iter()
            .collect(),
        needs: needs(&visit, &overview),
        addresses: addresses.collect(),
        more_addresses: overview.new_addresses.len().saturating_sub(SHOWN),
        refused: refused_rows(&overview),
        keys: counted(total.unsigned_abs(), "key", "keys"),
        environments: environments(&visit, &overview.keys),
        accepted: grouped(sum(|day| day.accepted)),
        refused_of_days: grouped(sum(|day| day.refused)),
        chart: Chart::of(&overview.days, Step::Day, "with all keys"),
        changes: changes(&visit, &call).await?,
    })
}

fn needs(visit: &Visit, overview: &Overview) -> Vec<Need> {
    let sum = |value: fn(&KeyCount) -> i64| overview.keys.iter().map(value).sum::<i64>().unsigned_abs();
    let keys = |query: &str| format!("{}?{query}", visit.url("settings/secret-keys"));
    let mut needs = Vec::new();
    let overdue = sum(|count| count.overdue);
    if overdue > 0 {
        needs.push(Need {
            tone: "danger",
            title: format!("{} due for rotation", counted(overdue, "key is", "keys are")),
            sentence: "The longer a secret lives, the more places it has got to. A rotation gives applications time to change."
                .to_owned(),
            href: keys("due=due"),
            verb: "See what is due",
        });
    }
    let soon = sum(|count| count.due_soon);
    if soon > 0 {
        needs.push(Need {
            tone: "warn",
            title: format!("{} due within 14 days", counted(soon, "key is", "keys are")),
            sentence: match soon {
                1 => "Rotate it when it suits, before it is overdue.",
                _ => "Rotate them when it suits, before they are overdue.",
            }
            .to_owned(),
            href: keys("due=soon"),
            verb: "See what is due soon",
        });
    }
    if overview.unused > 0 {
        let count = u64::try_from(overview.unused).unwrap_or_default();
        let at_least = if overview.unused >= MOST_UNUSED {
            "At least "
        } else {
            ""
        };
        needs.push(Need {
            tone: "warn",
            title: format!(
                "{at_least}{} not used for {UNUSED_DAYS} days",
                counted(count, "key was", "keys were")
            ),
            sentence: format!(
                "What nobody uses, nobody misses, except whoever found it. Select {it} there and remove {it} with a preview.",
                it = if count == 1 { "it" } else { "them" }
            ),
            href: keys(&format!("unused={UNUSED_DAYS}")),
            verb: "See unused keys",
        });
    }
    if overview.open_invitations > 0 {
        let count = u64::try_from(overview.open_invitations).unwrap_or_default();
        needs.push(Need {
            tone: "",
            title: format!("{} open", counted(count, "invitation is", "invitations are")),
            sentence: match count {
                1 => "Nobody accepted it yet. Take it back if it is not needed.",
                _ => "Nobody accepted them yet. Take back what is not needed.",
            }
            .to_owned(),
            href: visit.url("settings/members"),
            verb: "See invitations",
        });
    }
    needs
}

fn refused_rows(overview: &Overview) -> Vec<RefusedRow> {
    let rows = overview
        .refused
        .iter()
        .take(SHOWN)
        .map(|(code, uses)| RefusedRow {
            title: match Outcome::from_name(code) {
                Some(Outcome::Refused(code)) => code.title(),
                _ => "Refused",
            },
            code: code.clone(),
            uses: grouped(uses.unsigned_abs()),
        });
    rows.collect()
}

fn environments(visit: &Visit, counts: &[KeyCount]) -> Vec<EnvironmentRow> {
    let all = Environment::ALL
        .into_iter()
        .map(Some)
        .chain(std::iter::once(None));
    let found = all.filter_map(|environment| {
        let count = counts.iter().find(|count| count.environment == environment)?;
        let name = environment.map_or("none", Environment::name);
        Some(EnvironmentRow {
            name: environment.map_or("No environment", |one| environment_name(Some(one))),
            href: format!("{}?environment={name}", visit.url("settings/secret-keys")),
            keys: grouped(count.keys.unsigned_abs()),
            spoken: counted(count.keys.unsigned_abs(), "key", "keys"),
        })
    });
    found.collect()
}

async fn changes(visit: &Visit, call: &Call) -> Result<Vec<ChangeRow>, Refused> {
    if !visit.may(ManagementRight::AuditRead) {
        return Ok(Vec::new());
    }
    let engine = call.engine();
    let found = engine
        .list_audit(
            visit.id().as_str(),
            &AuditQuery::default(),
            None,
            CHANGES_LOOKED_AT,
        )
        .await?;
    let changes = found
        .items
        .into_iter()
        .filter(|entry| is_change(&entry.action))
        .take(CHANGES);
    let mut called = Called {
        names: Names::default(),
        naming: Naming::new(engine, visit.id()),
    };
    let mut rows = Vec::new();
    for entry in changes {
        let actor = called.find(visit, call, &entry.actor).await?;
        let target = match target_of(visit, &entry.target).filter(|_| entry.target != entry.actor) {
            None => None,
            Some((href, unnamed)) => {
                let name = called.find(visit, call, &entry.target).await?;
                Some((href, name.unwrap_or_else(|| unnamed.to_owned())))
            }
        };
        rows.push(ChangeRow {
            actor: match actor {
                Some(name) if entry.actor.starts_with("token/") => format!("Token {name}"),
                Some(name) => name,
                None => called.names.words(&entry.actor),
            },
            what: done_words(&entry.action),
            target,
            at: When::relative(keyward_core::time::Timestamp::from_unix_ms(entry.at), call.now()),
        });
    }
    Ok(rows)
}

/// Whoever comes in changes nothing by that; the trail has it all the same.
fn is_change(action: &str) -> bool {
    !matches!(action, "person.sign_in" | "token.sign_in")
}

/// How those of the trail are called: also those who left, as far as the organization's own rows still name them.
struct Called<'a> {
    names: Names,
    naming: Naming<'a>,
}

impl Called<'_> {
    async fn find(&mut self, visit: &Visit, call: &Call, what: &str) -> Result<Option<String>, Refused> {
        self.names.look_up(visit, call, what).await?;
        match self.names.of(what) {
            Some(name) => Ok(Some(name.to_owned())),
            None => Ok(self.naming.left(what).await?),
        }
    }
}

/// The page of what an entry names, and what it is called where it has no name any more.
fn target_of(visit: &Visit, target: &str) -> Option<(String, &'static str)> {
    match target.split_once('/')? {
        ("key", id) => Some((visit.url(&format!("settings/secret-keys/{id}")), "a secret key")),
        ("person", _) => Some((visit.url("settings/members"), "a former member")),
        ("token", _) => Some((visit.url("settings/tokens"), "a removed token")),
        _ => None,
    }
}
