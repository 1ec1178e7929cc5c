//! Sessions of people: find, list and end them. Beginning one is a sign-in ([`crate::sign_in`]).

use keyward_core::ids::{PersonId, SessionId};
use keyward_core::secret::{Secret, SessionKind};
pub use keyward_core::session::SessionStage;
pub use keyward_store::sessions::Session;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;

/// A session that just began, with the token that it is known by.
#[derive(Debug)]
pub struct NewSession {
    /// The token, for the browser alone.
    pub token: Secret<SessionKind>,
    /// The session.
    pub session: Session,
}

impl Engine {
    /// The session of a token; `None` if there is none, or it is over. That it was used is noted beside the request.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn find_session(&self, token: &Secret<SessionKind>) -> Result<Option<Session>, EngineError> {
        todo!("{token:?}")
    }

    /// Live sessions of a person, newest first.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_sessions(&self, person: &PersonId) -> Result<Vec<Session>, EngineError> {
        todo!("{person}")
    }

    /// Ends a session of a person; one that is over already stays so.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn end_session(
        &self,
        context: &Context,
        person: &PersonId,
        id: &SessionId,
    ) -> Result<(), EngineError> {
        todo!("{context:?} {person} {id}")
    }

    /// Ends every other session of the person; how many.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn end_other_sessions(&self, context: &Context, session: &Session) -> Result<u64, EngineError> {
        todo!("{context:?} {session:?}")
    }
}
