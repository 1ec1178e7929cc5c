//! Sessions of people. Of the token that a browser brings there is only a digest here.
//!
//! Whether a session is over is for the caller to say, who has the clock; lists and clean-ups get their moments as arguments.
//! Nothing here lengthens a session's absolute end.

use keyward_core::email::EmailAddress;
use keyward_core::ids::{PersonId, SessionId};
use keyward_core::session::{self, SessionDigest, SessionStage};
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const SELECT: &str = "SELECT s.id, s.person_id, p.email, s.stage, s.created_at, s.last_seen_at, s.ends_at, s.confirmed_at, \
    s.address, s.client FROM person_session s JOIN person p ON p.id = s.person_id";
const INSERT: &str = "INSERT INTO person_session (id, person_id, digest, stage, created_at, last_seen_at, ends_at, \
    confirmed_at, address, client, wrong_codes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)";
/// Keeps the newest ones of a stage.
const KEEP_NEWEST: &str = "DELETE FROM person_session WHERE person_id = $1 AND stage = $2 AND id NOT IN \
    (SELECT id FROM person_session WHERE person_id = $1 AND stage = $2 ORDER BY created_at DESC, id DESC LIMIT $3)";
const TOUCH: &str = "UPDATE person_session SET last_seen_at = $2 \
    WHERE id = $1 AND last_seen_at < $2 AND last_seen_at > $3 AND ends_at > $2";
const CONFIRM: &str = "UPDATE person_session SET confirmed_at = $3 WHERE person_id = $1 AND id = $2";
const DELETE: &str = "DELETE FROM person_session WHERE person_id = $1 AND id = $2";
const DELETE_OTHERS: &str = "DELETE FROM person_session WHERE person_id = $1 AND id <> $2";
const COUNT_WRONG: &str = "UPDATE person_session SET wrong_codes = wrong_codes + 1 WHERE person_id = $1 AND id = $2 \
    RETURNING wrong_codes";
const FORGET_OVER: &str = "DELETE FROM person_session WHERE ends_at <= $1 OR last_seen_at <= $2";

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

impl Session {
    /// Whether it is over at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        session::is_over(now, self.last_seen_at, self.ends_at)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    person_id: String,
    email: String,
    stage: String,
    created_at: i64,
    last_seen_at: i64,
    ends_at: i64,
    confirmed_at: i64,
    address: String,
    client: String,
}

impl TryFrom<Row> for Session {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable { what: "session" };
        Ok(Self {
            id: row.id.parse().map_err(|_| unreadable())?,
            person_id: row.person_id.parse().map_err(|_| unreadable())?,
            email: row.email.parse().map_err(|_| unreadable())?,
            stage: SessionStage::from_name(&row.stage).ok_or_else(unreadable)?,
            created_at: Timestamp::from_unix_ms(row.created_at),
            last_seen_at: Timestamp::from_unix_ms(row.last_seen_at),
            ends_at: Timestamp::from_unix_ms(row.ends_at),
            confirmed_at: Timestamp::from_unix_ms(row.confirmed_at),
            address: row.address,
            client: row.client,
        })
    }
}

impl Store {
    /// The session whose token has this digest, over or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_session_by_digest(
        &self,
        digest: &SessionDigest,
    ) -> Result<Option<Session>, StoreError> {
        let sql = format!("{SELECT} WHERE s.digest = $1");
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(digest.as_bytes().to_vec()).fetch_optional(on).await)?;
        row.map(Session::try_from).transpose()
    }

    /// Sessions of a person, newest first, over or not; there are few.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_sessions(&self, person: &PersonId) -> Result<Vec<Session>, StoreError> {
        let sql = format!("{SELECT} WHERE s.person_id = $1 ORDER BY s.created_at DESC, s.id DESC");
        let rows = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(person.as_str()).fetch_all(on).await)?;
        rows.into_iter().map(Session::try_from).collect()
    }
}

impl Tx {
    /// One session of a person, as this transaction sees it. Whoever decides by it has locked the person.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_session(
        &mut self,
        person: &PersonId,
        id: &SessionId,
    ) -> Result<Option<Session>, StoreError> {
        let sql = format!("{SELECT} WHERE s.person_id = $1 AND s.id = $2");
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(person.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        row.map(Session::try_from).transpose()
    }

    /// Begins a session, and ends the oldest of the same stage beyond `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_session(
        &mut self,
        session: &Session,
        digest: &SessionDigest,
        most: i64,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(session.id.as_str())
            .bind(session.person_id.as_str())
            .bind(digest.as_bytes().to_vec())
            .bind(session.stage.name())
            .bind(session.created_at.as_unix_ms())
            .bind(session.last_seen_at.as_unix_ms())
            .bind(session.ends_at.as_unix_ms())
            .bind(session.confirmed_at.as_unix_ms())
            .bind(&session.address)
            .bind(&session.client)
            .execute(on)
            .await
            .map(drop))?;
        in_tx!(self, on => sqlx::query(KEEP_NEWEST)
            .bind(session.person_id.as_str()).bind(session.stage.name()).bind(most).execute(on).await
            .map(drop))?;
        Ok(())
    }

    /// Notes that a session is used; not of one that is over, or was used later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch_session(
        &mut self,
        id: &SessionId,
        now: Timestamp,
        idle_since: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(TOUCH)
            .bind(id.as_str()).bind(now.as_unix_ms()).bind(idle_since.as_unix_ms()).execute(on).await
            .map(drop))?;
        Ok(())
    }

    /// Notes that passphrase or second factor were given in a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn confirm_session(
        &mut self,
        person: &PersonId,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(CONFIRM)
            .bind(person.as_str()).bind(id.as_str()).bind(now.as_unix_ms()).execute(on).await.map(drop))?;
        Ok(())
    }

    /// Ends a session; whether it was there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_session(&mut self, person: &PersonId, id: &SessionId) -> Result<bool, StoreError> {
        let deleted = in_tx!(self, on => sqlx::query(DELETE)
            .bind(person.as_str()).bind(id.as_str()).execute(on).await.map(|done| done.rows_affected()))?;
        Ok(deleted == 1)
    }

    /// Ends every session of a person but one; how many. Without one, all of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_sessions(
        &mut self,
        person: &PersonId,
        but: Option<&SessionId>,
    ) -> Result<u64, StoreError> {
        // No session has an empty id.
        let but = but.map_or("", SessionId::as_str);
        Ok(in_tx!(self, on => sqlx::query(DELETE_OTHERS)
            .bind(person.as_str()).bind(but).execute(on).await.map(|done| done.rows_affected()))?)
    }

    /// Counts a wrong code; how many there were in this session. `None` if it is not there any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_wrong_code(
        &mut self,
        person: &PersonId,
        id: &SessionId,
    ) -> Result<Option<i64>, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, i64>(COUNT_WRONG)
            .bind(person.as_str()).bind(id.as_str()).fetch_optional(on).await)?)
    }

    /// Removes sessions that ended by `now`, or were not used since `idle_since`; how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_sessions(
        &mut self,
        now: Timestamp,
        idle_since: Timestamp,
    ) -> Result<u64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query(FORGET_OVER)
            .bind(now.as_unix_ms()).bind(idle_since.as_unix_ms()).execute(on).await
            .map(|done| done.rows_affected()))?)
    }
}
