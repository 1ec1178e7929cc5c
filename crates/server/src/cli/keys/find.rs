//! `keyward keys find`: whose a pasted text is.
//!
//! Of a whole value only the id in it is sent, and of a beginning only what the key's hint shows anyway: a value never leaves
//! this machine, nor stands in a URL.

use std::io::BufRead as _;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use http::Method;
use keyward_api::keys::KeyView;
use keyward_core::ids::KeyId;
use keyward_core::key_text::{KeyText, Prefix};
use keyward_http::management::ListView;
use serde_json::json;

use super::list::key_table;
use crate::cli::client::call;
use crate::cli::org::{reachable, segment};
use crate::cli::{Surroundings, output};

/// A hint shows so many characters behind the prefix.
const HEAD_BODY: usize = 6;
/// More than the longest key; what comes after it is no part of one.
const LONGEST_LINE: u64 = 4_096;

/// `keyward keys find`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Find {
    /// The value, its first characters, a hint such as `dtvi_MmQxNz...E5Nw`, its end `...E5Nw`, or an id; `-` reads it from
    /// standard input, so that it stays out of the shell's history
    text: String,
    /// Only this organization's keys [default: all]
    #[arg(long, short, value_name = "ID")]
    organization: Option<String>,
}

pub(super) async fn find(surroundings: &Surroundings, command: Find) -> Result<()> {
    let target = &surroundings.target;
    let text = pasted(command.text)?;
    let text = sent_of(&text);
    let organizations = match command.organization {
        Some(id) => vec![segment(&id)?],
        None => reachable(target).await?,
    };
    let mut items = Vec::new();
    for organization in organizations {
        let path = format!("/v1/organizations/{organization}/keys/lookup");
        let found: ListView<KeyView> = call(target, Method::POST, &path, Some(json!({"text": text}))).await?;
        items.extend(found.items);
    }
    if surroundings.is_json {
        return output::json(&ListView { items, next: None });
    }
    if items.is_empty() {
        bail!(
            "no key of this server is meant by that; give the whole value, or at least its first 11 characters. For a name: \
             `keyward keys list --text NAME`"
        );
    }
    output::data(&key_table(items));
    Ok(())
}

/// The text itself, or with `-` the first line of standard input.
pub(in crate::cli) fn pasted(text: String) -> Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut line = String::new();
    std::io::Read::take(std::io::stdin().lock(), LONGEST_LINE)
        .read_line(&mut line)
        .context("could not read standard input")?;
    Ok(line)
}

/// The id of a key, which may be given as a value: then it is read out of it.
pub(in crate::cli) fn id_of(text: &str) -> Option<KeyId> {
    let text = unquoted(text);
    let pasted = KeyText::parse(text, &Prefix::dtvi());
    pasted
        .map(|pasted| pasted.id())
        .ok()
        .or_else(|| text.parse().ok())
}

/// As much of a text as a look-up needs.
fn sent_of(text: &str) -> String {
    let text = unquoted(text);
    if let Some(id) = id_of(text) {
        return id.to_string();
    }
    let lead = format!("{}_", Prefix::dtvi().as_str());
    if text.starts_with(&lead) && !text.contains("...") {
        return text.chars().take(lead.len() + HEAD_BODY).collect();
    }
    text.to_owned()
}

/// As it stands in a file or a message.
fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'', '`'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_sent_than_a_hint_shows() {
        assert_eq!(sent_of("'dtvi_MmQxNzE5Nw12345' \n"), "dtvi_MmQxNz");
        for as_it_is in ["dtvi_MmQxNz...E5Nw", "...E5Nw", "0123456789abcdef", "Lost"] {
            assert_eq!(sent_of(as_it_is), as_it_is);
        }
    }
}
