//! Describe keys: what a list shows beside each of them. Who made it by name, whether it is being rotated, and how many keys
//! of which kind there are.
//!
//! Everything here is for people who look; nothing decides by it. Names are looked up for actors that the organization's own
//! rows name, so that nobody learns of others.

use std::collections::HashSet;

use keyward_core::ids::{KeyId, OrganizationId, PersonId};
use keyward_core::record::Actor;
use keyward_core::time::DAY_MS;
use keyward_store::key_list_context::{KeyCounts, NamedPerson};

use crate::Engine;
use crate::error::EngineError;

/// Keys are counted by kind for organizations of at most so many: it reads every one of them.
pub const MOST_COUNTED: i64 = 5_000;
/// Days without a use after which keys are counted as unused.
pub const UNUSED_DAYS: [i64; 2] = [30, 90];
/// Most creators that are named one by one.
const MOST_CREATORS: i64 = 100;

/// How an actor is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorName {
    /// A member, by their e-mail address.
    Member(String),
    /// Somebody who left, by their e-mail address.
    Left(String),
    /// A management token, by its name.
    Token(String),
    /// A secret key.
    Key,
    /// The operator on the machine.
    LocalAdministrator,
    /// Keyward itself.
    System,
    /// Nobody knows any more.
    Unknown,
}

impl Engine {
    /// How an organization's keys are distributed; `None` if there are more than [`MOST_COUNTED`]. `has_keys` of the pair
    /// says whether there is any, deleted ones included.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn count_keys(
        &self,
        organization: &OrganizationId,
    ) -> Result<(bool, Option<KeyCounts>), EngineError> {
        let store = &self.inner.store;
        let keys = store.count_keys_up_to(organization, MOST_COUNTED + 1).await?;
        if keys > MOST_COUNTED {
            return Ok((true, None));
        }
        self.settle_usage().await?;
        let now = self.now();
        let since = UNUSED_DAYS.map(|days| now.plus_ms(1 - days * DAY_MS));
        let counts = store.count_keys_by_kind(organization, now, since).await?;
        Ok((keys > 0, Some(counts)))
    }

    /// Those of these keys whose rotation is under way: an old or a waiting secret may be accepted beside the current one.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn rotating_keys(
        &self,
        organization: &OrganizationId,
        keys: &[KeyId],
    ) -> Result<HashSet<KeyId>, EngineError> {
        let rotating = self
            .inner
            .store
            .list_rotating(organization, keys, self.now())
            .await?;
        Ok(rotating.into_iter().collect())
    }

    /// Who made keys of an organization; at most 100.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_creators(&self, organization: &OrganizationId) -> Result<Vec<Actor>, EngineError> {
        Ok(self
            .inner
            .store
            .list_creators(organization, MOST_CREATORS)
            .await?)
    }

    /// How these actors are called, each once, seen from an organization.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn name_actors(
        &self,
        organization: &OrganizationId,
        actors: &[Actor],
    ) -> Result<Vec<(Actor, ActorName)>, EngineError> {
        let mut different: Vec<&Actor> = Vec::new();
        for actor in actors {
            if !different.contains(&actor) {
                different.push(actor);
            }
        }
        let people: Vec<PersonId> = different
            .iter()
            .filter_map(|actor| match actor {
                Actor::Person(id) => Some(id.clone()),
                _ => None,
            })
            .collect();
        let people = self.inner.store.name_people(organization, &people).await?;
        let mut named = Vec::with_capacity(different.len());
        for actor in different {
            let name = match actor {
                Actor::Person(id) => name_of(people.iter().find(|one| one.person_id == *id)),
                Actor::Token(id) => match self.show_token(organization, *id).await {
                    Ok(token) => ActorName::Token(token.name.to_string()),
                    Err(EngineError::NotFound(_)) => ActorName::Unknown,
                    Err(error) => return Err(error),
                },
                Actor::Key(_) => ActorName::Key,
                Actor::LocalAdministrator => ActorName::LocalAdministrator,
                Actor::System => ActorName::System,
            };
            named.push((actor.clone(), name));
        }
        Ok(named)
    }
}

fn name_of(person: Option<&NamedPerson>) -> ActorName {
    match person {
        Some(person) if person.is_member => ActorName::Member(person.email.clone()),
        Some(person) => ActorName::Left(person.email.clone()),
        None => ActorName::Unknown,
    }
}
