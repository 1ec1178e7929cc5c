//! How those who did something are called on a page: an e-mail address, a token's or key's name, or what is left of them.

use std::collections::HashMap;

use keyward_core::ids::OrganizationId;
use keyward_core::record::Actor;
use keyward_engine::describe_keys::ActorName;
use keyward_engine::{Engine, EngineError};

/// Whoever acts on the machine itself, by the socket in the data folder.
pub(crate) const OPERATOR: &str = "the server's operator";

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

    /// The e-mail address of somebody who left; `None` for everybody else.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) async fn left(&mut self, actor: &str) -> Result<Option<String>, EngineError> {
        let Ok(actor @ Actor::Person(_)) = actor.parse() else {
            return Ok(None);
        };
        let named = self.engine.name_actors(self.organization, &[actor]).await?;
        Ok(named.into_iter().find_map(|(_, name)| match name {
            ActorName::Left(email) => Some(email),
            _ => None,
        }))
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
        let named = self
            .engine
            .name_actors(self.organization, std::slice::from_ref(actor))
            .await?;
        let name = words_of(named.first().map(|(_, name)| name));
        self.known.insert(id, name.clone());
        Ok(name)
    }
}

/// The name of an actor in words, the same on every page.
pub(crate) fn words_of(name: Option<&ActorName>) -> String {
    match name {
        Some(ActorName::Member(email)) => email.clone(),
        Some(ActorName::Left(email)) => format!("left: {email}"),
        Some(ActorName::Token(name)) => format!("token: {name}"),
        Some(ActorName::Key) => "a secret key".to_owned(),
        Some(ActorName::LocalAdministrator) => OPERATOR.to_owned(),
        Some(ActorName::System) => "Keyward".to_owned(),
        Some(ActorName::Unknown) | None => "unknown".to_owned(),
    }
}
