//! How a change is told in the trail: what changed, from what to what, and only that.
//!
//! Ids, names of states, numbers and times are facts. Whatever a person wrote or is known by (names, descriptions, tags,
//! attributes, e-mail and network addresses) goes through [`Detail::personal`], so that it can be erased later. Nothing here
//! decides whether a change is allowed.

use std::collections::BTreeMap;

use keyward_core::audit::Detail;
use keyward_core::condition::{AddressRule, Conditions};
use keyward_core::key_filter::KeyFilter;
use keyward_core::random::RandomUnavailable;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock::SystemRandom;

/// Most bytes of a personal value that the trail keeps. Of a longer one it keeps what tells whether it was the same: an entry
/// must not grow with what somebody stores.
const MAX_PERSONAL_BYTES: usize = 4_096;

/// Adds `{name}_before` and `{name}_after`, if the two differ.
#[must_use]
pub(crate) fn fact_change(
    detail: Detail,
    name: &str,
    before: impl Into<Value>,
    after: impl Into<Value>,
) -> Detail {
    let (before, after) = (before.into(), after.into());
    if before == after {
        return detail;
    }
    detail
        .fact(&format!("{name}_before"), before)
        .fact(&format!("{name}_after"), after)
}

/// As [`fact_change`], for what a person wrote.
///
/// # Errors
/// [`RandomUnavailable`].
pub(crate) fn personal_change(
    detail: Detail,
    name: &str,
    before: &str,
    after: &str,
) -> Result<Detail, RandomUnavailable> {
    if before == after {
        return Ok(detail);
    }
    let detail = personal(detail, &format!("{name}_before"), before)?;
    personal(detail, &format!("{name}_after"), after)
}

/// Adds what a person wrote, however long it is.
///
/// # Errors
/// [`RandomUnavailable`].
pub(crate) fn personal(detail: Detail, name: &str, value: &str) -> Result<Detail, RandomUnavailable> {
    if value.len() <= MAX_PERSONAL_BYTES {
        return detail.personal(name, value, &mut SystemRandom);
    }
    let digest = keyward_core::audit::hex(&Sha256::digest(value.as_bytes()));
    let stands_for_it = json!({ "bytes": value.len(), "sha256": digest }).to_string();
    detail.personal(name, &stands_for_it, &mut SystemRandom)
}

/// The entries of a map that an edit changed, before and after. Their names are a client's, and told as personal too.
///
/// # Errors
/// [`RandomUnavailable`].
pub(crate) fn map_change<'a, T: serde::Serialize + PartialEq + 'a>(
    detail: Detail,
    name: &str,
    before: impl IntoIterator<Item = (&'a String, &'a T)>,
    after: impl IntoIterator<Item = (&'a String, &'a T)>,
) -> Result<Detail, RandomUnavailable> {
    let mut before: BTreeMap<&String, &T> = before.into_iter().collect();
    let mut after: BTreeMap<&String, &T> = after.into_iter().collect();
    before.retain(|key, value| {
        let is_same = after.get(key).is_some_and(|other| other == value);
        if is_same {
            after.remove(key);
        }
        !is_same
    });
    if before.is_empty() && after.is_empty() {
        return Ok(detail);
    }
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let detail = detail.fact(&format!("{name}_changed"), names.len());
    personal_change(
        detail,
        name,
        &json!(before).to_string(),
        &json!(after).to_string(),
    )
}

/// What differs between two sets of conditions. Networks say where somebody sits.
///
/// # Errors
/// [`RandomUnavailable`].
pub(crate) fn condition_changes(
    detail: Detail,
    before: &Conditions,
    after: &Conditions,
) -> Result<Detail, RandomUnavailable> {
    let ms = |at: Option<keyward_core::time::Timestamp>| at.map(keyward_core::time::Timestamp::as_unix_ms);
    let detail = fact_change(
        detail,
        "not_before_ms",
        ms(before.not_before),
        ms(after.not_before),
    );
    let detail = fact_change(
        detail,
        "expires_at_ms",
        ms(before.expires_at),
        ms(after.expires_at),
    );
    let detail = fact_change(
        detail,
        "rate_limit",
        json!(before.rate_limit),
        json!(after.rate_limit),
    );
    let detail = fact_change(detail, "networks", networks(before), networks(after));
    personal_change(
        detail,
        "addresses",
        &json!(before.addresses).to_string(),
        &json!(after.addresses).to_string(),
    )
}

/// How many networks a list has; nothing where there is no list.
pub(crate) fn networks(conditions: &Conditions) -> Option<usize> {
    match &conditions.addresses {
        AddressRule::Anywhere => None,
        AddressRule::Only(networks) => Some(networks.len()),
    }
}

/// What a filter means. What is searched for, and tags, may be somebody's name; a hint is a piece of a key.
///
/// # Errors
/// [`RandomUnavailable`].
pub(crate) fn filter_detail(filter: &KeyFilter) -> Result<Detail, RandomUnavailable> {
    let in_the_clear = KeyFilter {
        text: None,
        tags: Vec::new(),
        hint_head: None,
        hint_tail: None,
        ..filter.clone()
    };
    let has_hint = filter.hint_head.is_some() || filter.hint_tail.is_some();
    let mut detail = Detail::new()
        .fact("filter", serde_json::to_value(&in_the_clear).unwrap_or_default())
        .fact("by_hint", has_hint);
    if let Some(text) = &filter.text {
        detail = personal(detail, "text", text)?;
    }
    if !filter.tags.is_empty() {
        detail = personal(detail, "tags", &json!(filter.tags).to_string())?;
    }
    Ok(detail)
}
