//! Sessions of people. Of the token that a browser brings there is only a digest here.

use keyward_core::email::EmailAddress;
use keyward_core::ids::{PersonId, SessionId};
use keyward_core::session::SessionStage;
use keyward_core::time::Timestamp;

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id, which opens nothing.
    pub id: SessionId,
    /// Whose it is.
    pub person_id: PersonId,
    /// Their address.
    pub email: EmailAddress,
    /// How far they have signed in.
    pub stage: SessionStage,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen_at: Timestamp,
    /// Its absolute end.
    pub ends_at: Timestamp,
    /// When passphrase or second factor were last given in it.
    pub confirmed_at: Timestamp,
    /// The address that it began from, as it is shown.
    pub address: String,
    /// The program that it began in.
    pub client: String,
}
