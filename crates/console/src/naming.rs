//! How those who did something are called on a page: an e-mail address, a token's or key's name, or what is left of them.

use std::collections::HashMap;

use keyward_core::ids::OrganizationId;
use keyward_core::record::Actor;
use keyward_engine::{Engine, EngineError};

/// Names of actors, each looked up once.
pub(crate) struct Naming<'a> {
    engine: &'a Engine,
    organization: &'a OrganizationId,
    known: HashMap<String, String>,
}

impl<'a> Naming<'a> {
    pub(crate) fn new(engine: &'a Engine, organization: &'a OrganizationId) -> Self {
        Self {
            engine,
            organization,
            known: HashMap::new(),
        }
    }

    /// The name of an actor, as the trail and the tables write them (`person/ID`).
    ///
    /// # Errors
    /// [`EngineError`], where the name could not be looked up.
    pub(crate) async fn text(&mut self, actor: &str) -> Result<String, EngineError> {
        match actor.parse() {
            Ok(actor) => self.of(&actor).await,
            Err(_) => Ok(actor.to_owned()),
        }
    }

    /// The name of an actor.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) async fn of(&mut self, actor: &Actor) -> Result<String, EngineError> {
        let id = actor.to_string();
        if let Some(name) = self.known.get(&id) {
            return Ok(name.clone());
        }
        let found = match actor {
            Actor::Person(person) => self
                .engine
                .show_member(self.organization, person)
                .await
                .map(|member| member.email),
            Actor::Token(token) => self
                .engine
                .show_token(self.organization, *token)
                .await
                .map(|token| format!("token {}", token.name)),
            Actor::Key(key) => self
                .engine
                .show_key(self.organization, *key)
                .await
                .map(|key| format!("key {}", key.name)),
            Actor::LocalAdministrator => Ok("the server's operator".to_owned()),
            Actor::System => Ok("Keyward".to_owned()),
        };
        let name = match found {
            Ok(name) => name,
            Err(EngineError::NotFound(_)) => match actor {
                Actor::Person(_) => "somebody who left".to_owned(),
                _ => id.clone(),
            },
            Err(error) => return Err(error),
        };
        self.known.insert(id, name.clone());
        Ok(name)
    }
}
