//! Removing many keys: first what would stop working, then the removal of exactly that, then what was left out and why.
//!
//! The engine's dry run is the page before; its token goes along with the form, is good once and for 15 minutes. Keys used within
//! the last 24 hours come first, with who used them: those are the ones that somebody would miss.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use keyward_core::ids::KeyId;
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::record::Key;
use keyward_core::state::DeleteReason;
use keyward_core::time::DAY_MS;
use keyward_engine::EngineError;
use keyward_engine::bulk::{BulkAction, LeftOut, MAX_BULK};
use keyward_engine::last_use::KeyUse;
use keyward_engine::list_keys::KeyPage;

use super::one::{REASONS, reason_of};
use super::row::{LastUsed, last_used};
use super::table::show_with_problem;
use super::victims::Victims;
use super::view::View;
use super::{SENTENCES, TABLE};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{counted, environment_name};

/// Most keys that the preview shows one by one; those that somebody uses are the first.
const MAX_SHOWN: usize = 50;
/// Most keys that one form names.
const MAX_PICKED: usize = 1_000;
/// Most names of what was removed.
const MAX_NAMED: usize = 100;
/// Clients and addresses of a row.
const MAX_VICTIMS: usize = 3;

#[derive(Template)]
#[template(path = "secret_keys_bulk.html")]
struct PreviewPage {
    shell: Shell,
    table: String,
    action: String,
    token: String,
    /// `3 keys`.
    count: String,
    is_empty: bool,
    /// `2 of them were used`, for the notice.
    in_use: Option<String>,
    rows: Vec<PreviewRow>,
    /// How many are not shown.
    others: Option<String>,
    reasons: Vec<(&'static str, &'static str, bool)>,
}

struct PreviewRow {
    id: String,
    name: String,
    environment: &'static str,
    last_used: Option<LastUsed>,
    is_in_use: bool,
    clients: Vec<String>,
    addresses: Vec<String>,
}

#[derive(Template)]
#[template(path = "secret_keys_removed.html")]
struct OutcomePage {
    shell: Shell,
    table: String,
    /// `3 keys were removed.`
    done: String,
    names: Vec<(String, String)>,
    more_names: Option<String>,
    left_out: Vec<LeftOutRow>,
    more_left_out: Option<String>,
    /// What stopped it.
    problem: Option<String>,
}

struct LeftOutRow {
    id: String,
    name: String,
    why: &'static str,
}

pub(super) async fn preview(visit: Visit, call: Call) -> Result<Response, Refused> {
    let view = View::read(&call.form);
    let filter = if call.form.is_on("all") {
        view.filter(call.now())
    } else {
        let picked = call.form.all("pick").filter_map(|id| id.parse().ok());
        let ids: Vec<KeyId> = picked.take(MAX_PICKED).collect();
        if ids.is_empty() {
            // An empty list of ids would mean every key.
            let problem = "No key is selected. Tick the keys that you want to remove.".to_owned();
            return show_with_problem(&visit, &call, &view, problem).await;
        }
        KeyFilter {
            ids,
            ..KeyFilter::default()
        }
    };
    let reason = if view.unused_days.is_some() {
        DeleteReason::Unused
    } else {
        DeleteReason::Removed
    };
    let engine = call.engine();
    let shown = engine
        .preview_bulk(&call.context, visit.id(), (BulkAction::Delete(reason), filter))
        .await;
    let shown = match shown {
        Ok(shown) => shown,
        Err(EngineError::Invalid(_)) => {
            let most = counted(u64::try_from(MAX_BULK).unwrap_or_default(), "key", "keys");
            let problem =
                format!("That means more than {most}. Narrow the filter, and do the rest afterwards.");
            return show_with_problem(&visit, &call, &view, problem).await;
        }
        Err(error) => return Err(error.into()),
    };
    let ids: Vec<KeyId> = shown.keys.iter().map(|key| key.record.id).collect();
    let uses = engine.last_uses(visit.id(), &ids).await;
    let uses = uses.map_err(EngineError::from)?;
    let since = call.now().plus_ms(-DAY_MS);
    let in_use = uses.values().filter(|used| used.last_used_at >= since).count();
    let mut keys = shown.keys;
    keys.sort_by_key(|key| std::cmp::Reverse(uses.get(&key.record.id).map(|used| used.last_used_at)));
    let rows = rows_of(&visit, &call, &keys, &uses).await?;
    let words = |count: usize, one, many| counted(u64::try_from(count).unwrap_or_default(), one, many);
    let table = visit.url(TABLE);
    reply::page(&PreviewPage {
        shell: Shell::of(&visit, &call, Section::SecretKeys, "Remove keys", &SENTENCES),
        action: format!("{table}/bulk/run"),
        table,
        token: shown.token.reveal().to_owned(),
        count: words(keys.len(), "key", "keys"),
        is_empty: keys.is_empty(),
        in_use: (in_use > 0).then(|| words(in_use, "of them was used", "of them were used")),
        others: (keys.len() > rows.len())
            .then(|| words(keys.len() - rows.len(), "further key", "further keys")),
        rows,
        reasons: REASONS
            .map(|(one, words)| (one.name(), words, one == reason))
            .to_vec(),
    })
}

async fn rows_of(
    visit: &Visit,
    call: &Call,
    keys: &[Key],
    uses: &HashMap<KeyId, KeyUse>,
) -> Result<Vec<PreviewRow>, Refused> {
    let now = call.now();
    let since = now.plus_ms(-DAY_MS);
    let mut rows = Vec::new();
    for key in keys.iter().take(MAX_SHOWN) {
        let id = key.record.id;
        let used = uses.get(&id);
        let is_in_use = used.is_some_and(|used| used.last_used_at >= since);
        let mut row = PreviewRow {
            id: id.to_string(),
            name: key.name.to_string(),
            environment: environment_name(key.environment),
            last_used: used.map(|used| last_used(used, now)),
            is_in_use,
            clients: Vec::new(),
            addresses: Vec::new(),
        };
        if is_in_use {
            let (_, victims) = Victims::of_key(call.engine(), visit.id(), id).await?;
            row.clients = some_of(victims.clients.into_iter().map(|one| one.name).collect());
            row.addresses = some_of(victims.addresses.into_iter().map(|one| one.name).collect());
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The first names, and how many there are beside them.
fn some_of(mut names: Vec<String>) -> Vec<String> {
    if names.len() > MAX_VICTIMS {
        let more = names.len() - MAX_VICTIMS;
        names.truncate(MAX_VICTIMS);
        names.push(format!("and {more} more"));
    }
    names
}

pub(super) async fn run(visit: Visit, call: Call) -> Result<Response, Refused> {
    let token = call.form.text("token").unwrap_or_default();
    let engine = call.engine();
    let outcome = engine
        .run_bulk_as(
            call.context.clone(),
            visit.id().clone(),
            (token, reason_of(&call)),
        )
        .await?;
    let words = |count: usize, one, many| counted(u64::try_from(count).unwrap_or_default(), one, many);
    let more = |count: usize, most: usize, one, many| (count > most).then(|| words(count - most, one, many));
    let left_ids: Vec<KeyId> = outcome
        .left_out
        .iter()
        .map(|(id, _)| *id)
        .take(MAX_NAMED)
        .collect();
    let names = names_of(&visit, &call, &left_ids).await?;
    let left_out = outcome
        .left_out
        .iter()
        .take(MAX_NAMED)
        .map(|(id, why)| LeftOutRow {
            id: id.to_string(),
            name: names.get(id).cloned().unwrap_or_else(|| id.to_string()),
            why: why_words(*why),
        });
    let removed = outcome.done.iter().take(MAX_NAMED).map(|written| {
        let key = &written.key;
        (key.record.id.to_string(), key.name.to_string())
    });
    reply::page(&OutcomePage {
        shell: Shell::of(&visit, &call, Section::SecretKeys, "Keys removed", &SENTENCES),
        table: visit.url(TABLE),
        done: words(outcome.done.len(), "key was removed", "keys were removed"),
        names: removed.collect(),
        more_names: more(outcome.done.len(), MAX_NAMED, "more key", "more keys"),
        left_out: left_out.collect(),
        more_left_out: more(outcome.left_out.len(), MAX_NAMED, "more key", "more keys"),
        problem: outcome.stopped_by.map(|error| problem_words(&error)),
    })
}

const fn why_words(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Appeared => "It appeared after the preview, which did not show it.",
        LeftOut::Changed => "It was changed or used after the preview.",
        LeftOut::Ended => "It ended meanwhile by somebody else's hand.",
        LeftOut::Broken => "Its stored form was tampered with. No request is accepted with it.",
    }
}

fn problem_words(error: &EngineError) -> String {
    match error {
        EngineError::OutcomeUnknown => {
            "The connection to the database was lost while keys were being removed. Some more may be removed than are named \
             here; look at the list again."
                .to_owned()
        }
        _ => "The removal stopped half-way, because the database could not be reached or had too much to do. What is named here is \
              removed; remove the rest again."
            .to_owned(),
    }
}

async fn names_of(visit: &Visit, call: &Call, ids: &[KeyId]) -> Result<HashMap<KeyId, String>, Refused> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let filter = KeyFilter {
        ids: ids.to_vec(),
        ..KeyFilter::default()
    };
    let page = KeyPage {
        filter: &filter,
        sort: KeySort::Created,
        direction: Direction::Ascending,
        after: "",
        limit: u32::try_from(MAX_NAMED).unwrap_or(u32::MAX),
    };
    let found = call.engine().find_keys(visit.id(), &page).await?;
    let names = found
        .items
        .iter()
        .map(|key| (key.record.id, key.name.to_string()));
    Ok(names.collect())
}
