//! Who would be refused if a key ended now: its last use, and the clients and addresses that used it within the last 24 hours.
//!
//! Shown before every end, so that nobody has to guess. What was refused already loses nothing and is left out.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::Key;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_engine::Engine;
use keyward_engine::show_usage::Span;
use keyward_store::usage_queries::TopEntry;

use super::row::{LastUsed, last_used};
use crate::refused::Refused;
use crate::words::{When, counted};

/// A client or an address that would be refused.
pub(super) struct Victim {
    pub(super) name: String,
    /// `12 requests`.
    pub(super) uses: String,
    pub(super) last: When,
}

/// Those of one key.
pub(super) struct Victims {
    pub(super) last_used: Option<LastUsed>,
    pub(super) clients: Vec<Victim>,
    pub(super) addresses: Vec<Victim>,
}

impl Victims {
    /// Whether anybody would be refused who was accepted within the last 24 hours.
    pub(super) fn is_in_use(&self) -> bool {
        !self.clients.is_empty() || !self.addresses.is_empty()
    }

    /// Asks for those of a key.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Unavailable`].
    pub(super) async fn of_key(
        engine: &Engine,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<(Key, Self), Refused> {
        let now = engine.now();
        let summary = engine
            .usage_summary(organization, id, Span::last_days(1, now))
            .await?;
        let uses = engine.last_uses(organization, &[id]).await;
        let uses = uses.map_err(keyward_engine::EngineError::from)?;
        let victims = Self {
            last_used: uses.get(&id).map(|used| last_used(used, now)),
            clients: still_served(summary.clients, client_words, now),
            addresses: still_served(summary.addresses, address_words, now),
        };
        Ok((summary.key, victims))
    }
}

fn still_served(entries: Vec<TopEntry>, words: fn(&str) -> String, now: Timestamp) -> Vec<Victim> {
    // Usage is kept by the hour: the first hour reaches a little further back.
    let since = now.plus_ms(-DAY_MS);
    let served = entries
        .into_iter()
        .filter(|entry| entry.accepted > 0 && entry.last_at >= since);
    let victims = served.map(|entry| Victim {
        name: words(&entry.name),
        uses: counted(
            u64::try_from(entry.accepted).unwrap_or_default(),
            "request",
            "requests",
        ),
        last: When::relative(entry.last_at, now),
    });
    victims.collect()
}

/// An address as it is kept, for people.
pub(super) fn address_words(address: &str) -> String {
    match address {
        "unknown" | "" => "unknown address".to_owned(),
        "(other)" => "further addresses".to_owned(),
        address => address.to_owned(),
    }
}

/// What a client called itself, for people.
pub(super) fn client_words(client: &str) -> String {
    match client {
        "(none)" | "" => "a client without a name".to_owned(),
        "(other)" => "further clients".to_owned(),
        client => client.to_owned(),
    }
}
