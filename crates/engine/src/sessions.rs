//! Sessions of people: find, list and end them. Beginning one is a sign-in ([`crate::sign_in`]).
//!
//! A session is asked of the database at every request, so that one that was ended is refused from then on. Whether its person may do
//! something is not here: that is asked of the membership, at every request as well.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use keyward_core::audit::Detail;
use keyward_core::email::EmailAddress;
use keyward_core::ids::{PersonId, SessionId};
use keyward_core::random::RandomUnavailable;
use keyward_core::record::Actor;
use keyward_core::secret::{Secret, SessionKind};
pub use keyward_core::session::SessionStage;
use keyward_core::session::{IDLE_MS, MAX_HALF, MAX_WHOLE, SessionDigest, TOUCH_EVERY_MS, new_session_token};
use keyward_core::time::Timestamp;
use keyward_core::usage::ClientName;
use keyward_store::Tx;
pub use keyward_store::sessions::Session;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::loads::PATIENCE;
use crate::person_write::PersonEvent;
use crate::sign_ins::Arrival;

/// A session that just began, with the token that it is known by.
#[derive(Debug)]
pub struct NewSession {
    /// The token, for the browser alone.
    pub token: Secret<SessionKind>,
    /// The session.
    pub session: Session,
}

/// Sessions of which it is being noted that they are used, so that many requests at once leave one write behind.
#[derive(Default)]
pub(crate) struct TouchedSessions(Mutex<HashSet<SessionId>>);

impl TouchedSessions {
    fn begin(&self, id: &SessionId) -> bool {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.insert(id.clone())
    }

    fn end(&self, id: &SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Begins a session in a transaction that has locked the person. Always under a new token: what a browser brought before a sign-in
/// is worth nothing after it.
///
/// # Errors
/// [`EngineError`].
pub(crate) async fn begin_session(
    tx: &mut Tx,
    (person, email): (&PersonId, &EmailAddress),
    stage: SessionStage,
    (arrival, client): (&Arrival, &ClientName),
    now: Timestamp,
) -> Result<NewSession, EngineError> {
    let token = new_session_token(&mut SystemRandom)?;
    let digest = SessionDigest::of(&token).ok_or(RandomUnavailable)?;
    let id = uuid::Uuid::now_v7().to_string();
    let session = Session {
        id: id.parse().map_err(|_| RandomUnavailable)?,
        person_id: person.clone(),
        email: email.clone(),
        stage,
        created_at: now,
        last_seen_at: now,
        ends_at: now.plus_ms(stage.lifetime_ms()),
        confirmed_at: now,
        address: arrival.address.to_string(),
        client: client.as_str().to_owned(),
    };
    let most = match stage {
        SessionStage::Whole => MAX_WHOLE,
        SessionStage::NeedsSecondFactor => MAX_HALF,
    };
    tx.insert_session(&session, &digest, most).await?;
    Ok(NewSession { token, session })
}

impl Engine {
    /// The session of a token; `None` if there is none, or it is over. That it was used is noted beside the request.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn find_session(&self, token: &Secret<SessionKind>) -> Result<Option<Session>, EngineError> {
        let Some(digest) = SessionDigest::of(token) else {
            return Ok(None);
        };
        let found = self.inner.store.find_session_by_digest(&digest).await?;
        let now = self.now();
        let Some(session) = found.filter(|session| !session.is_over(now)) else {
            return Ok(None);
        };
        if now >= session.last_seen_at.plus_ms(TOUCH_EVERY_MS) {
            self.note_session_use(session.id.clone(), now);
        }
        Ok(Some(session))
    }

    fn note_session_use(&self, id: SessionId, now: Timestamp) {
        if !self.inner.touched_sessions.begin(&id) {
            return;
        }
        let engine = self.clone();
        self.inner.tasks.spawn(async move {
            let touching = async {
                let mut tx = engine.inner.store.begin().await?;
                tx.touch_session(&id, now, now.plus_ms(-IDLE_MS)).await?;
                engine.commit_fenced(tx).await
            };
            match tokio::time::timeout(PATIENCE, touching).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "that a session is used could not be noted"),
                Err(_) => tracing::warn!("that a session is used could not be noted in time"),
            }
            engine.inner.touched_sessions.end(&id);
        });
    }

    /// Live sessions of a person, newest first.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_sessions(&self, person: &PersonId) -> Result<Vec<Session>, EngineError> {
        let now = self.now();
        let sessions = self.inner.store.list_sessions(person).await?;
        Ok(sessions
            .into_iter()
            .filter(|session| !session.is_over(now))
            .collect())
    }

    /// Ends a session of a person; one that is over already stays so.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] for another person's.
    pub async fn end_session(
        &self,
        context: &Context,
        person: &PersonId,
        id: &SessionId,
    ) -> Result<(), EngineError> {
        require_self(context, person)?;
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        if !tx.delete_session(person, id).await? {
            return Ok(());
        }
        let detail = Detail::new().fact("session", id.as_str());
        let event = PersonEvent::in_context(context, "session.end", person, detail);
        self.append_person_event(&mut tx, event, now).await?;
        Ok(self.commit_fenced(tx).await?)
    }

    /// Ends every other session of the person; how many.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn end_other_sessions(&self, context: &Context, session: &Session) -> Result<u64, EngineError> {
        let person = &session.person_id;
        require_self(context, person)?;
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        tx.lock_person(person).await?;
        let ended = tx.delete_sessions(person, Some(&session.id)).await?;
        if ended == 0 {
            return Ok(0);
        }
        let detail = Detail::new()
            .fact("ended", ended)
            .fact("kept", session.id.as_str());
        let event = PersonEvent::in_context(context, "session.end_others", person, detail);
        self.append_person_event(&mut tx, event, now).await?;
        self.commit_fenced(tx).await?;
        Ok(ended)
    }
}

fn require_self(context: &Context, person: &PersonId) -> Result<(), EngineError> {
    match &context.actor {
        Actor::Person(actor) if actor == person => Ok(()),
        Actor::LocalAdministrator => Ok(()),
        _ => Err(EngineError::Forbidden(
            "everybody ends their own sessions alone".to_owned(),
        )),
    }
}
