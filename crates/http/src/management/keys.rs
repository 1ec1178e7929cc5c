//! List and show secret keys; what the other key routes share.
//!
//! A key is made and listed under its organization. Where only its id is given, the organization is the caller's own; for the
//! local administrator, who has none, it is looked up. Values are [`super::key_values`]'s, changes [`super::key_changes`]'s.

use axum::response::Response;
use http::StatusCode;
use keyward_api::cursor;
use keyward_api::fields::Fields;
use keyward_api::key_bulk::read_list_filter;
use keyward_api::keys::{KeyDetailView, KeyView, SecretView, secret_state};
use keyward_api::moment;
use keyward_api::schema::{
    DirectionName, DueStatusName, EnvironmentOrNoneName, KeySortName, KeyStateName, LevelName, ScopeName,
};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Key;
use keyward_core::time::Timestamp;
use keyward_engine::Engine;
use keyward_engine::last_use::KeyUse;
use keyward_engine::list_keys::KeyPage;
use keyward_engine::show_keys::ShownSecret;
use serde_json::{Map, Value};
use utoipa::PartialSchema as _;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::usage::last_use_view;
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "keys";
/// The path of an organization's keys.
pub(super) const KEYS: &str = "/v1/organizations/{organization}/keys";
/// Parameters of a list that hold several values, separated by commas.
const LISTS: [&str; 7] = [
    "state",
    "environment",
    "scope",
    "level",
    "creator",
    "tag",
    "rotation",
];

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::get(KEYS, ManagementRight::KeysRead)
                .named(Tag::Keys, "list_keys", "List secret keys, deleted ones included")
                .asks("state", "Only keys in one of these states, separated by commas.", KeyStateName::schema)
                .asks(
                    "environment",
                    "Only keys of one of these environments, separated by commas; `none` for keys without one.",
                    EnvironmentOrNoneName::schema,
                )
                .asks("scope", "Only keys with every one of these scopes.", ScopeName::schema)
                .asks("level", "Only keys of one of these levels.", LevelName::schema)
                .asks(
                    "creator",
                    "Only keys made by one of these: `person/ID`, `token/ID`, `local_administrator`.",
                    String::schema,
                )
                .asks("tag", "Only keys with one of these tags.", String::schema)
                .asks("rotation", "Only keys so far from their next rotation.", DueStatusName::schema)
                .asks(
                    "unused_for_days",
                    "Only keys not used for so many days; one that was never used counts from its creation.",
                    super::openapi::days,
                )
                .asks(
                    "text",
                    "Only keys with this in name or description, or with this id. To find a key by its value, use the look-up: \
                     a key must not stand in a URL.",
                    String::schema,
                )
                .asks("sort", "By what; `created` if absent.", KeySortName::schema)
                .asks("direction", "In which direction; `ascending` if absent.", DirectionName::schema)
                .pages()
                .answers::<ListView<KeyView>>(StatusCode::OK),
            list,
        )
        .add(
            Endpoint::get("/v1/keys/{key}", ManagementRight::KeysRead)
                .named(Tag::Keys, "show_key", "Show a secret key with its secrets")
                .answers::<KeyDetailView>(StatusCode::OK),
            show,
        )
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let now = call.engine().now();
    let (filter, sort, direction) = read_query(&mut call, now)?;
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    let asked = KeyPage {
        filter: &filter,
        sort,
        direction,
        after: &page.after,
        limit: page.limit,
    };
    let found = engine.find_keys(&organization, &asked).await?;
    let items = with_uses(engine, &organization, found.items).await?;
    let shown = ListView {
        items,
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

/// The filter is read as that of a bulk operation is, so that the two mean the same.
fn read_query(
    call: &mut ManagementCall,
    now: keyward_core::time::Timestamp,
) -> Result<(KeyFilter, KeySort, Direction), Problem> {
    let mut values = Map::new();
    for name in LISTS {
        if let Some(text) = call.query.text(name) {
            let entries: Vec<Value> = text.split(',').map(|entry| Value::from(entry.trim())).collect();
            values.insert(name.to_owned(), entries.into());
        }
    }
    if let Some(text) = call.query.text("text") {
        values.insert("text".to_owned(), text.into());
    }
    if let Some(text) = call.query.text("unused_for_days") {
        // What is no number stays a text, and is refused as one.
        let number = text.parse::<i64>().map_or(Value::from(text), Value::from);
        values.insert("unused_for_days".to_owned(), number);
    }
    for name in ["sort", "direction"] {
        if let Some(text) = call.query.text(name) {
            values.insert(name.to_owned(), text.into());
        }
    }
    let mut fields = Fields::of_object(values, String::new());
    let filter = read_list_filter(&mut fields, now);
    let sort = fields.parsed("sort", |text| {
        KeySort::from_name(text).ok_or("is one of created, name, last_used, expires, due")
    });
    let direction = fields.parsed("direction", |text| match text {
        "ascending" => Ok(Direction::Ascending),
        "descending" => Ok(Direction::Descending),
        _ => Err("is ascending or descending"),
    });
    let read = (filter, sort.unwrap_or_default(), direction.unwrap_or_default());
    Ok(fields.finish_strictly(read)?)
}

async fn show(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let (organization, id) = subject(&grant, &call).await?;
    let engine = call.engine();
    let (key, secrets) = engine.show_key_whole(&organization, id).await?;
    let version = key.record.version;
    let shown = detail(engine, &key, &secrets).await?;
    reply::json_at_version(StatusCode::OK, version, &shown)
}

/// The key of the path and its organization: the caller's, in which another's key is not found.
pub(super) async fn subject(
    grant: &Grant,
    call: &ManagementCall,
) -> Result<(OrganizationId, KeyId), Problem> {
    let id = call.id("key", "secret key")?;
    let organization = match grant.only_organization() {
        Some(own) => own.clone(),
        None => call.engine().organization_of_key(id).await?,
    };
    Ok((organization, id))
}

/// Keys as they are shown, each with its last use.
pub(super) async fn with_uses(
    engine: &Engine,
    organization: &OrganizationId,
    keys: Vec<Key>,
) -> Result<Vec<KeyView>, Problem> {
    let now = engine.now();
    let ids: Vec<KeyId> = keys.iter().map(|key| key.record.id).collect();
    let uses = engine
        .last_uses(organization, &ids)
        .await
        .map_err(keyward_engine::EngineError::from)?;
    let shown = keys
        .iter()
        .map(|key| shown_key(key, uses.get(&key.record.id), now));
    Ok(shown.collect())
}

/// A key with its secrets, as they are shown.
pub(super) async fn detail(
    engine: &Engine,
    key: &Key,
    secrets: &[ShownSecret],
) -> Result<KeyDetailView, Problem> {
    let now = engine.now();
    let id = key.record.id;
    let uses = engine
        .last_uses(&key.record.organization_id, &[id])
        .await
        .map_err(keyward_engine::EngineError::from)?;
    let used = uses.get(&id);
    let secrets = secrets.iter().map(|secret| {
        let of_secret = used.and_then(|used| used.secrets.iter().find(|one| one.number == secret.number));
        SecretView {
            number: secret.number,
            state: secret_state(secret.life, now).to_owned(),
            hint: secret.hint.clone(),
            created_at: moment::write(secret.created_at),
            ends_at: secret.life.ends_at().map(moment::write),
            ended_at: secret.ended_at.map(moment::write),
            first_used_at: of_secret.map(|one| moment::write(one.first_used_at)),
            last_used_at: of_secret.map(|one| moment::write(one.last_used_at)),
            last_use: of_secret.and_then(last_use_view),
        }
    });
    Ok(KeyDetailView {
        secrets: secrets.collect(),
        key: shown_key(key, used, now),
        survives_failover: None,
    })
}

/// A key with its last use: that of the secret that was used last.
fn shown_key(key: &Key, used: Option<&KeyUse>, now: Timestamp) -> KeyView {
    let last = used.and_then(|used| used.secrets.iter().max_by_key(|one| one.last_used_at));
    let last_used_at = used.map(|used| used.last_used_at);
    KeyView::of(key, now).used(last_used_at, last.and_then(last_use_view))
}
