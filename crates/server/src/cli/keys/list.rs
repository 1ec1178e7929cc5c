//! `keyward keys list`: which keys there are, and when each was last used.

use anyhow::Result;
use clap::Args;
use keyward_api::keys::KeyView;
use keyward_core::key_filter::KeySort;
use keyward_http::management::ListView;

use super::filter::{Filter, names, query_of};
use crate::cli::client::call_for_all;
use crate::cli::org::meant;
use crate::cli::{Surroundings, output, words};
use crate::clock;

/// The columns of every table of keys.
const COLUMNS: [&str; 10] = [
    "NAME",
    "ID",
    "ENVIRONMENT",
    "STATE",
    "LAST USED",
    "ROTATION",
    "ACCESS",
    "PERMISSION",
    "EXPIRES",
    "HINT",
];

/// Which keys, in which order.
#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    /// The organization [default: the only one there is]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Deleted ones, too
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// In which order
    #[arg(long, value_name = "ORDER", value_parser = names(KeySort::ALL.map(KeySort::name)), default_value = KeySort::Created.name())]
    sort: String,
    /// The other way round
    #[arg(long)]
    descending: bool,
}

pub(super) async fn list(surroundings: &Surroundings, command: List) -> Result<()> {
    let target = &surroundings.target;
    let shows_deleted = command.all || command.filter.names_states();
    let mut asked = command.filter.into_body();
    let is_narrowed = !asked.is_empty();
    asked.insert("sort".to_owned(), command.sort.replace('-', "_").into());
    if command.descending {
        asked.insert("direction".to_owned(), "descending".into());
    }
    let organization = meant(target, command.organization).await?;
    let path = format!("/v1/organizations/{organization}/keys?{}", query_of(&asked));
    let all: Vec<KeyView> = call_for_all(target, &path).await?;
    // Asked for with the others, so that what is not shown is counted.
    let (items, hidden): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|key| shows_deleted || key.state != "deleted");
    let is_empty = items.is_empty();
    if surroundings.is_json {
        output::json(&ListView { items, next: None })?;
    } else if !is_empty {
        output::data(&key_table(items));
    }
    if !hidden.is_empty() {
        let it = if hidden.len() == 1 { "it" } else { "them" };
        output::note(&format!(
            "not shown: {}, deleted; --all shows {it}",
            words::keys(hidden.len())
        ));
    } else if is_empty && is_narrowed {
        output::note(&format!(
            "no key of {organization} fits; leave a filter out, or look among all with `keyward keys list --organization \
             {organization} --all`"
        ));
    } else if is_empty {
        output::note(&format!(
            "{organization} has no keys yet. A key lets a program in without a person: make one with\n  keyward keys \
             create --organization {organization} --name \"My key\""
        ));
    }
    Ok(())
}

/// A table of keys.
pub(in crate::cli) fn key_table(items: Vec<KeyView>) -> String {
    let now = clock::now();
    let rows = items.into_iter().map(|key| {
        // Worded from the whole key, before its parts are taken out.
        let rotation = words::rotation(&key, now);
        vec![
            key.name,
            key.id,
            key.environment
                .map_or_else(|| "none".to_owned(), |name| name.replace('_', "-")),
            words::state(&key.state, key.state_reason.as_deref()),
            words::ago(key.last_used_at.as_deref(), now),
            rotation,
            key.scopes.join(","),
            key.level.replace('_', " "),
            key.expires_at.unwrap_or_else(|| "never".to_owned()),
            key.hint,
        ]
    });
    output::table_text(&COLUMNS, rows.collect())
}
