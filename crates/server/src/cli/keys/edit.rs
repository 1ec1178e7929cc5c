//! `keyward keys edit`: other settings for a key, true for its next request; what was before and what is now.
//!
//! The key is read first and changed at the version that was read, so that nobody's change in between is lost.

use anyhow::Result;
use clap::Args;
use http::{Method, header};
use keyward_api::keys::{KeyDetailView, KeyView};
use keyward_api::problem::RequestCode;
use serde_json::{Map, Value};

use super::fields::KeyFields;
use super::show::{find, settings};
use crate::cli::client::{Client, Refused};
use crate::cli::org::segment;
use crate::cli::{Surroundings, WrongUsage, output};

/// What is to be different. What is not named stays.
#[derive(Args, Debug)]
pub(in crate::cli) struct Changes {
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    fields: KeyFields,
    /// Of no environment
    #[arg(long, conflicts_with = "environment")]
    no_environment: bool,
    /// It does not end by itself any more
    #[arg(long, conflicts_with_all = ["expires_in", "expires_at"])]
    no_expiry: bool,
    /// It is accepted from its creation on
    #[arg(long, conflicts_with = "not_before")]
    no_not_before: bool,
    /// It may be used from anywhere
    #[arg(long, conflicts_with = "allowed_addresses")]
    any_address: bool,
    /// It may be used as often as one likes
    #[arg(long, conflicts_with = "rate_limit")]
    no_rate_limit: bool,
    /// Without the tags that it has; --tag gives others in their place
    #[arg(long, conflicts_with_all = ["tags", "add_tag", "remove_tag"])]
    clear_tags: bool,
    /// One more tag, beside those that it has
    #[arg(long, value_name = "TAG", value_delimiter = ',', conflicts_with = "tags")]
    add_tag: Vec<String>,
    /// One tag less
    #[arg(long, value_name = "TAG", value_delimiter = ',', conflicts_with = "tags")]
    remove_tag: Vec<String>,
}

impl Changes {
    /// The body of a request that changes `key`, or makes another out of it.
    pub(super) fn into_body(self, key: &KeyView) -> Result<Map<String, Value>> {
        let mut body = self.fields.into_body()?;
        body.extend(self.name.map(|name| ("name".to_owned(), name.into())));
        let taken_off = [
            (self.no_environment, "environment"),
            (self.no_expiry, "expires_at"),
            (self.no_not_before, "not_before"),
            (self.any_address, "allowed_addresses"),
            (self.no_rate_limit, "rate_limit"),
        ];
        for (_, field) in taken_off.into_iter().filter(|(is_asked, _)| *is_asked) {
            body.insert(field.to_owned(), Value::Null);
        }
        if self.clear_tags {
            body.insert("tags".to_owned(), Value::Array(Vec::new()));
        } else if !(self.add_tag.is_empty() && self.remove_tag.is_empty()) {
            // Tags are kept in small letters.
            let removed: Vec<String> = self.remove_tag.iter().map(|tag| tag.to_lowercase()).collect();
            let kept = key.tags.iter().filter(|tag| !removed.contains(tag));
            let tags: Vec<String> = kept.cloned().chain(self.add_tag).collect();
            body.insert("tags".to_owned(), tags.into());
        }
        Ok(body)
    }
}

pub(super) async fn edit(surroundings: &Surroundings, id: &str, changes: Changes) -> Result<()> {
    let target = &surroundings.target;
    let before = find(target, id).await?;
    let body = changes.into_body(&before.key)?;
    if body.is_empty() {
        return Err(WrongUsage(
            "say what is to be different; `keyward keys edit --help` names it".to_owned(),
        )
        .into());
    }
    let path = format!("/v1/keys/{}", segment(id)?);
    let version = format!("\"{}\"", before.key.version);
    let client = Client::connect(target).await?.with(header::IF_MATCH, &version)?;
    let edited = client.call(Method::PATCH, &path, Some(body.into())).await;
    let after: KeyDetailView = edited.map_err(told_to_repeat)?;
    if surroundings.is_json {
        return output::json(&after);
    }
    let rows = differences(&before.key, &after.key);
    if rows.is_empty() {
        output::note("the key is that way already; nothing is different");
    } else {
        output::table(&["SETTING", "BEFORE", "NOW"], rows);
        output::note(&format!(
            "changed `{}` ({}); its next request is decided by what it is now",
            after.key.name, after.key.id
        ));
        output::note_failover(after.survives_failover);
    }
    Ok(())
}

fn told_to_repeat(error: anyhow::Error) -> anyhow::Error {
    let is_stale = error
        .downcast_ref::<Refused>()
        .is_some_and(|Refused(problem)| problem.code == RequestCode::VersionMismatch.name());
    if is_stale {
        error.context("somebody else changed the key at the same moment, and nothing was changed now; look at it with `keyward keys show`, and repeat the command")
    } else {
        error
    }
}

/// Every setting that is not the same, with what it was and what it is.
fn differences(before: &KeyView, after: &KeyView) -> Vec<Vec<String>> {
    let (before, after) = (grouped(before), grouped(after));
    let mut names: Vec<&str> = before.iter().chain(&after).map(|(name, _)| *name).collect();
    let mut seen = Vec::new();
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(*name);
        is_new
    });
    let value = |settings: &[(&str, String)], name: &str| {
        let found = settings.iter().find(|(other, _)| *other == name);
        found.map_or_else(|| "none".to_owned(), |(_, value)| value.clone())
    };
    let rows = names.into_iter().filter_map(|name| {
        let (was, is) = (value(&before, name), value(&after, name));
        (was != is).then(|| vec![name.to_owned(), was, is])
    });
    rows.collect()
}

/// The settings, with several values of one name in one.
fn grouped(key: &KeyView) -> Vec<(&'static str, String)> {
    let mut grouped: Vec<(&'static str, String)> = vec![("Name", key.name.clone())];
    for (name, value) in settings(key) {
        match grouped.iter_mut().find(|(other, _)| *other == name) {
            Some((_, values)) => {
                values.push_str("; ");
                values.push_str(&value);
            }
            None => grouped.push((name, value)),
        }
    }
    grouped
}
