//! The audit chain's rows, and the feed and outbox rows that go with the write of a key or of an organization.
//!
//! The head row of a chain is updated first: its lock makes sequence and hash follow commit order. Entries are only
//! ever inserted; no statement here changes or removes one, but for the personal values beside it, which can be erased.

use std::fmt::Write as _;

use keyward_core::audit::{CHAIN_START, Entry, EntryHash, Event, NO_ORGANIZATION, Personal};
use keyward_core::audit_export::EntryLine;
use keyward_core::hex::Hex;
use keyward_core::ids::OrganizationId;
use keyward_core::record::KeyRecord;
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::{Store, Tx, TxInner};
use crate::error::StoreError;

const START_CHAIN: &str =
    "INSERT INTO audit_head (chain, sequence, hash) VALUES ($1, 0, $2) ON CONFLICT (chain) DO NOTHING";
const NEXT_IN_CHAIN: &str =
    "UPDATE audit_head SET sequence = sequence + 1 WHERE chain = $1 RETURNING sequence, hash";
const SET_HEAD: &str = "UPDATE audit_head SET hash = $2 WHERE chain = $1";
const INSERT: &str = "INSERT INTO audit_entry \
    (chain, sequence, previous_hash, hash, at, actor, action, target, request_id, facts, personal) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const LIST: &str = "SELECT chain, sequence, previous_hash, hash, at, actor, action, target, request_id, facts, personal \
    FROM audit_entry WHERE chain = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
const QUERY: &str = "SELECT chain, sequence, previous_hash, hash, at, actor, action, target, request_id, facts, personal \
    FROM audit_entry WHERE chain = $1 AND sequence < $2";
/// Expects what was read, so that two at once do not bring back what one of them erased.
const SET_PERSONAL: &str =
    "UPDATE audit_entry SET personal = $4 WHERE chain = $1 AND sequence = $2 AND personal = $3";

const LAST_RESTORE: &str = "SELECT MAX(at) FROM audit_entry WHERE chain = $1 AND action = $2";

const NEXT_CHANGE: &str =
    "UPDATE change_counter SET value = value + 1 WHERE id = 1 AND epoch = $1 RETURNING value";
/// As above, and wakes the nodes once it is committed.
const NEXT_CHANGE_TOLD: &str = "WITH next AS \
    (UPDATE change_counter SET value = value + 1 WHERE id = 1 AND epoch = $1 RETURNING value) \
    SELECT value FROM next, pg_notify('keyward_changes', '')";
/// What every node knows already.
const FORGET: &str = "UPDATE change_counter SET forgotten = COALESCE((SELECT MAX(number) FROM change_feed \
    WHERE at < $1 AND number <= COALESCE((SELECT MIN(applied) FROM node WHERE lapsed_at IS NULL), value)), forgotten) \
    WHERE id = 1 RETURNING forgotten";
const FORGET_ROWS: &str = "DELETE FROM change_feed WHERE number <= $1";
/// What stands in place of a key's id where an organization itself was written.
const NO_KEY: &str = "";
const INSERT_FEED: &str =
    "INSERT INTO change_feed (number, organization_id, key_id, version, at) VALUES ($1, $2, $3, $4, $5)";
const INSERT_OUTBOX: &str = "INSERT INTO outbox (number, organization_id, key_id, kind, payload, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6)";

/// The action of the entry that every trail begins with: the first start bound the database to its keyring.
pub const BEGIN_DATABASE: &str = "database.begin";

/// The action of the entry that a restore leaves.
pub const RESTORE_DATABASE: &str = "database.restore";

/// An entry as it is stored, with its clear personal values.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredEntry {
    /// The chain.
    pub chain: String,
    /// The number in the chain.
    pub sequence: i64,
    /// The hash of the entry before.
    pub previous_hash: Vec<u8>,
    /// This entry's hash.
    pub hash: Vec<u8>,
    /// Unix milliseconds.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// In which request.
    pub request_id: String,
    /// Facts as JSON text.
    pub facts: String,
    /// Personal values as JSON text.
    pub personal: String,
}

/// Which entries of a chain, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// By whom.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// To what.
    pub target: Option<String>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

impl StoredEntry {
    /// The entry as an export has it.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where a hash is none. Personal values that can't be read come as one that the chain
    /// never committed to, so that whoever checks finds them.
    pub fn to_line(&self) -> Result<EntryLine, StoreError> {
        let hash = |bytes: &[u8]| {
            let hash = EntryHash::try_from(bytes).map(Hex);
            hash.map_err(|_| StoreError::Unreadable { what: "audit entry" })
        };
        let unreadable = || {
            let (salt, value) = (String::new(), self.personal.clone());
            [("?".to_owned(), Personal { salt, value })].into()
        };
        Ok(EntryLine {
            chain: self.chain.clone(),
            sequence: self.sequence,
            previous_hash: hash(&self.previous_hash)?,
            hash: hash(&self.hash)?,
            at_ms: Timestamp::from_unix_ms(self.at),
            actor: self.actor.clone(),
            action: self.action.clone(),
            target: self.target.clone(),
            request_id: self.request_id.clone(),
            facts: self.facts.clone(),
            personal: serde_json::from_str(&self.personal).unwrap_or_else(|_| unreadable()),
        })
    }

    /// Whether the stored hash is that of the stored content.
    pub fn is_intact(&self) -> bool {
        let Ok(previous) = EntryHash::try_from(self.previous_hash.as_slice()) else {
            return false;
        };
        let entry = Entry {
            chain: &self.chain,
            sequence: self.sequence,
            previous: &previous,
            at: Timestamp::from_unix_ms(self.at),
            actor: &self.actor,
            action: &self.action,
            target: &self.target,
            request_id: &self.request_id,
            facts: &self.facts,
        };
        entry.hash().as_slice() == self.hash.as_slice()
    }
}

impl Store {
    /// When the database was last restored from a backup; `None` if it never was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn last_restore_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let at = on_read!(self, on => sqlx::query_scalar::<_, Option<i64>>(LAST_RESTORE)
            .bind(NO_ORGANIZATION).bind(RESTORE_DATABASE).fetch_one(on).await)?;
        Ok(at.map(Timestamp::from_unix_ms))
    }

    /// Entries of a chain after a sequence number, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_audit(
        &self,
        chain: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        Ok(on_read!(self, on =>
            sqlx::query_as::<_, StoredEntry>(LIST).bind(chain).bind(after).bind(limit).fetch_all(on).await)?)
    }

    /// Entries of a chain that a query means, before a sequence number, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn query_audit(
        &self,
        chain: &str,
        query: &AuditQuery,
        before: i64,
        limit: i64,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let mut sql = QUERY.to_owned();
        let mut place = 2;
        let mut and = |condition: &str| {
            place += 1;
            // Writing into a text does not fail.
            let _ = write!(sql, " AND {condition} ${place}");
        };
        let texts = [
            ("actor =", &query.actor),
            ("action =", &query.action),
            ("target =", &query.target),
        ];
        let times = [("at >=", query.from), ("at <", query.to)];
        let texts: Vec<_> = texts
            .iter()
            .filter_map(|(column, value)| value.as_ref().map(|value| (column, value)))
            .collect();
        let times: Vec<_> = times
            .iter()
            .filter_map(|(column, value)| value.map(|value| (column, value)))
            .collect();
        texts.iter().for_each(|(condition, _)| and(condition));
        times.iter().for_each(|(condition, _)| and(condition));
        let _ = write!(sql, " ORDER BY sequence DESC LIMIT ${}", place + 1);
        Ok(on_read!(self, on => {
            let mut prepared = sqlx::query_as::<_, StoredEntry>(AssertSqlSafe(sql)).bind(chain).bind(before);
            for (_, text) in texts {
                prepared = prepared.bind(text);
            }
            for (_, time) in times {
                prepared = prepared.bind(time.as_unix_ms());
            }
            prepared.bind(limit).fetch_all(on).await
        })?)
    }
}

impl Tx {
    /// Puts other personal values beside an entry, in place of those that were read; whether they were still there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replace_personal(
        &mut self,
        entry: &StoredEntry,
        personal: &str,
    ) -> Result<bool, StoreError> {
        let changed = in_tx!(self, on => sqlx::query(SET_PERSONAL)
            .bind(&entry.chain)
            .bind(entry.sequence)
            .bind(&entry.personal)
            .bind(personal)
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Appends `event` to a chain and returns its sequence number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn append_audit(
        &mut self,
        chain: &str,
        event: &Event,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        in_tx!(self, on => sqlx::query(START_CHAIN).bind(chain).bind(CHAIN_START.to_vec()).execute(on).await.map(drop))?;
        let (sequence, previous) = in_tx!(self, on =>
            sqlx::query_as::<_, (i64, Vec<u8>)>(NEXT_IN_CHAIN).bind(chain).fetch_one(on).await)?;
        let previous = EntryHash::try_from(previous.as_slice())
            .map_err(|_| StoreError::Unreadable { what: "audit head" })?;
        let facts = event.detail.facts_json();
        let hash = Entry {
            chain,
            sequence,
            previous: &previous,
            at: now,
            actor: &event.actor,
            action: event.action,
            target: &event.target,
            request_id: &event.request_id,
            facts: &facts,
        }
        .hash();
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(chain)
            .bind(sequence)
            .bind(previous.to_vec())
            .bind(hash.to_vec())
            .bind(now.as_unix_ms())
            .bind(&event.actor)
            .bind(event.action)
            .bind(&event.target)
            .bind(&event.request_id)
            .bind(&facts)
            .bind(event.detail.personal_json())
            .execute(on)
            .await
            .map(drop))?;
        in_tx!(self, on => sqlx::query(SET_HEAD).bind(chain).bind(hash.to_vec()).execute(on).await.map(drop))?;
        Ok(sequence)
    }

    /// Writes what every write to a key leaves besides the change itself: the audit entry, the feed row and the
    /// outbox event. The feed's counter comes last, because its lock is held by everybody in turn.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then the whole transaction must not commit.
    pub async fn record_key_write(
        &mut self,
        record: &KeyRecord,
        event: &Event,
        epoch: i64,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let changed = (&record.organization_id, record.id.as_str(), record.version);
        self.record_write(changed, event, epoch, now).await
    }

    /// Writes what every write of what decides about an organization leaves besides the change itself: as
    /// [`Tx::record_key_write`], with an empty key id.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then the whole transaction must not commit.
    pub async fn record_organization_write(
        &mut self,
        (organization, version): (&OrganizationId, i64),
        event: &Event,
        epoch: i64,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        self.record_write((organization, NO_KEY, version), event, epoch, now)
            .await
    }

    async fn record_write(
        &mut self,
        (organization, key_id, version): (&OrganizationId, &str, i64),
        event: &Event,
        epoch: i64,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let organization = organization.as_str();
        self.append_audit(organization, event, now).await?;
        let number = self.next_change(epoch).await?;
        in_tx!(self, on => sqlx::query(INSERT_FEED)
            .bind(number)
            .bind(organization)
            .bind(key_id)
            .bind(version)
            .bind(now.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        let payload = event.detail.facts_json();
        self.put_event(number, (organization, key_id), (event.action, &payload), now)
            .await?;
        Ok(number)
    }

    /// Puts an event into the outbox that no change of a key or an organization goes with; its number. The key's id is empty where
    /// it is about none.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then the whole transaction must not commit.
    pub async fn tell(
        &mut self,
        (organization, key_id): (&OrganizationId, &str),
        (kind, payload): (&str, &str),
        epoch: i64,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let number = self.next_change(epoch).await?;
        let subject = (organization.as_str(), key_id);
        self.put_event(number, subject, (kind, payload), now).await?;
        Ok(number)
    }

    /// Takes a number for what is told to others without an event in the outbox.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then the whole transaction must not commit.
    pub async fn take_change(&mut self, epoch: i64) -> Result<i64, StoreError> {
        self.next_change(epoch).await
    }

    /// Takes the next number of what is told to others. Its row stays locked until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then the whole transaction must not commit.
    pub(crate) async fn next_change(&mut self, epoch: i64) -> Result<i64, StoreError> {
        let sql = match &self.inner {
            TxInner::Sqlite(_) => NEXT_CHANGE,
            TxInner::Postgres(_) => NEXT_CHANGE_TOLD,
        };
        in_tx!(self, on =>
            sqlx::query_scalar::<_, i64>(sql).bind(epoch).fetch_optional(on).await)?
        .ok_or(StoreError::NotTheWriter)
    }

    /// Removes the changes of before `before_ms` that every node that counts knows; how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn forget_changes(&mut self, before_ms: i64) -> Result<u64, StoreError> {
        let upto = in_tx!(self, on =>
            sqlx::query_scalar::<_, i64>(FORGET).bind(before_ms).fetch_one(on).await)?;
        Ok(in_tx!(self, on =>
            sqlx::query(FORGET_ROWS).bind(upto).execute(on).await.map(|done| done.rows_affected()))?)
    }

    /// Puts an event into the outbox under a number of [`Tx::next_change`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn put_event(
        &mut self,
        number: i64,
        (organization, key_id): (&str, &str),
        (kind, payload): (&str, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT_OUTBOX)
            .bind(number)
            .bind(organization)
            .bind(key_id)
            .bind(kind)
            .bind(payload)
            .bind(now.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }
}
