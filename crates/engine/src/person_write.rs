//! What every write of what a person signs in with has in common: the person's row is locked, the entry goes into the chain of what
//! belongs to no organization, and the transaction is refused to a process that lost the right to write.

use keyward_core::audit::{Detail, Event, NO_ORGANIZATION};
use keyward_core::email::EmailAddress;
use keyward_core::ids::{PersonId, RequestId};
use keyward_core::record::Actor;
use keyward_core::session::SessionStage;
use keyward_core::time::Timestamp;
use keyward_store::sessions::Session;
use keyward_store::{StoreError, Tx};

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::sign_ins::Arrival;

/// An entry about a person.
pub(crate) struct PersonEvent<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) request_id: &'a RequestId,
    pub(crate) action: &'static str,
    pub(crate) person: &'a PersonId,
    pub(crate) detail: Detail,
}

impl<'a> PersonEvent<'a> {
    /// What somebody does in a context.
    pub(crate) fn in_context(
        context: &'a Context,
        action: &'static str,
        person: &'a PersonId,
        detail: Detail,
    ) -> Self {
        Self {
            actor: &context.actor,
            request_id: &context.request_id,
            action,
            person,
            detail,
        }
    }

    fn into_event(self) -> Event {
        Event {
            actor: self.actor.to_string(),
            action: self.action,
            target: format!("person/{}", self.person),
            request_id: self.request_id.to_string(),
            detail: self.detail,
        }
    }
}

/// The address of an arrival as a personal value.
///
/// # Errors
/// [`EngineError::Random`].
pub(crate) fn with_address(detail: Detail, arrival: &Arrival) -> Result<Detail, EngineError> {
    Ok(detail.personal("address", &arrival.address.to_string(), &mut SystemRandom)?)
}

/// Whoever is signed in with this session, as the one who acts.
pub(crate) fn as_person(session: &Session) -> Actor {
    Actor::Person(session.person_id.clone())
}

/// Locks whoever is signed in, and makes sure that they still are, all the way.
///
/// # Errors
/// [`EngineError::NotFound`] for a session that ended meanwhile, [`EngineError::Forbidden`] for a half one.
pub(crate) async fn lock_whole_session(
    tx: &mut Tx,
    session: &Session,
    now: Timestamp,
) -> Result<EmailAddress, EngineError> {
    require_whole(session)?;
    let gone = || EngineError::NotFound("session");
    let email = tx.lock_person(&session.person_id).await?.ok_or_else(gone)?;
    let found = tx.find_session(&session.person_id, &session.id).await?;
    let found = found.filter(|found| !found.is_over(now)).ok_or_else(gone)?;
    require_whole(&found)?;
    Ok(email)
}

/// Refuses a session whose second factor is still to come.
///
/// # Errors
/// [`EngineError::Forbidden`].
pub(crate) fn require_whole(session: &Session) -> Result<(), EngineError> {
    match session.stage {
        SessionStage::Whole => Ok(()),
        SessionStage::NeedsSecondFactor => Err(EngineError::Forbidden(
            "the second factor is to be given first".to_owned(),
        )),
    }
}

impl Engine {
    /// Appends an entry about a person. To be done after everything else, so that the order of locks is that of every write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn append_person_event(
        &self,
        tx: &mut Tx,
        event: PersonEvent<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        tx.append_audit(NO_ORGANIZATION, &event.into_event(), now)
            .await
            .map(drop)
    }

    /// Commits, if this process may write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn commit_fenced(&self, mut tx: Tx) -> Result<(), StoreError> {
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await
    }
}
