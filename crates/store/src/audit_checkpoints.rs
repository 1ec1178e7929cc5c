//! The audit trail's checkpoints, the public keys that they are checked with, and what the chains have come to.
//!
//! A checkpoint is only ever inserted. Whether one is genuine is not asked here; a row that can't be read is said to be so,
//! because whoever checks the trail has to name it.

use keyward_core::checkpoint::{AuditPublicKey, Endorsement, PublishedKey, SignedCheckpoint};
use keyward_core::hex::Hex;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

/// What stands in place of a key's id in the outbox event of a checkpoint.
const NO_KEY: &str = "";

const INSERT: &str = "INSERT INTO audit_checkpoint (chain, sequence, hash, at, public_key, signature) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (chain, sequence, public_key) DO NOTHING";
const LIST: &str = "SELECT chain, sequence, hash, at, public_key, signature FROM audit_checkpoint \
    WHERE chain = $1 AND (sequence, public_key) > ($2, $3) ORDER BY sequence, public_key LIMIT $4";
const LAST: &str = "SELECT chain, sequence, hash, at, public_key, signature FROM audit_checkpoint \
    WHERE chain = $1 ORDER BY sequence DESC, public_key LIMIT 1";
/// Chains whose head has no checkpoint by that key yet.
const LIST_GROWN: &str = "SELECT h.chain, h.sequence, h.hash FROM audit_head h WHERE h.chain > $1 AND h.sequence > 0 \
    AND NOT EXISTS (SELECT 1 FROM audit_checkpoint c WHERE c.chain = h.chain AND c.sequence = h.sequence \
    AND c.public_key = $2) ORDER BY h.chain LIMIT $3";
const FIND_HEAD: &str = "SELECT chain, sequence, hash FROM audit_head WHERE chain = $1";
const LIST_KEYS: &str =
    "SELECT public_key, since, endorsed_by, endorsement FROM audit_public_key ORDER BY since, public_key";
const INSERT_KEY: &str = "INSERT INTO audit_public_key (public_key, since, endorsed_by, endorsement) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (public_key) DO NOTHING";

/// How far a chain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHead {
    /// The chain.
    pub chain: String,
    /// The number of its last entry.
    pub sequence: i64,
    /// That entry's hash.
    pub hash: Hex<32>,
}

/// Where a page of checkpoints begins: after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPlace<'a> {
    /// The entry that it is of.
    pub sequence: i64,
    /// The key that signed it, as text.
    pub public_key: &'a str,
}

impl CheckpointPlace<'_> {
    /// Before every checkpoint of an entry after `sequence`, and after those of that entry.
    pub const fn after(sequence: i64) -> Self {
        Self {
            sequence: sequence.saturating_add(1),
            // Before every key; what comes behind them all would depend on the database's order of texts.
            public_key: "",
        }
    }
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    chain: String,
    sequence: i64,
    hash: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct CheckpointRow {
    chain: String,
    sequence: i64,
    hash: Vec<u8>,
    at: i64,
    public_key: String,
    signature: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    public_key: String,
    since: i64,
    endorsed_by: Option<String>,
    endorsement: Option<Vec<u8>>,
}

const fn unreadable(what: &'static str) -> StoreError {
    StoreError::Unreadable { what }
}

fn bytes<const N: usize>(bytes: &[u8], what: &'static str) -> Result<Hex<N>, StoreError> {
    bytes.try_into().map(Hex).map_err(|_| unreadable(what))
}

impl TryFrom<HeadRow> for ChainHead {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Self, StoreError> {
        Ok(Self {
            hash: bytes(&row.hash, "audit head")?,
            chain: row.chain,
            sequence: row.sequence,
        })
    }
}

fn checkpoint(row: CheckpointRow) -> Result<SignedCheckpoint, StoreError> {
    let what = "audit checkpoint";
    Ok(SignedCheckpoint {
        hash: bytes(&row.hash, what)?,
        signature: bytes(&row.signature, what)?,
        public_key: row.public_key.parse().map_err(|_| unreadable(what))?,
        chain: row.chain,
        sequence: row.sequence,
        at_ms: Timestamp::from_unix_ms(row.at),
    })
}

fn published(row: KeyRow) -> Result<PublishedKey, StoreError> {
    let what = "audit public key";
    let endorsement = match (row.endorsed_by, row.endorsement) {
        (None, None) => None,
        (Some(by), Some(signature)) => Some(Endorsement {
            by: by.parse().map_err(|_| unreadable(what))?,
            signature: bytes(&signature, what)?,
        }),
        _ => return Err(unreadable(what)),
    };
    Ok(PublishedKey {
        public_key: row.public_key.parse().map_err(|_| unreadable(what))?,
        since_ms: Timestamp::from_unix_ms(row.since),
        endorsement,
    })
}

impl Store {
    /// How far a chain has come; `None` for one that was never begun.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_audit_head(&self, chain: &str) -> Result<Option<ChainHead>, StoreError> {
        let row = on_read!(self, on =>
            sqlx::query_as::<_, HeadRow>(FIND_HEAD).bind(chain).fetch_optional(on).await)?;
        row.map(ChainHead::try_from).transpose()
    }

    /// Chains after one, in their order, whose head `public_key` has not signed yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_grown_chains(
        &self,
        after: &str,
        public_key: AuditPublicKey,
        limit: i64,
    ) -> Result<Vec<ChainHead>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, HeadRow>(LIST_GROWN)
            .bind(after)
            .bind(public_key.to_string())
            .bind(limit)
            .fetch_all(on)
            .await)?;
        rows.into_iter().map(ChainHead::try_from).collect()
    }

    /// Checkpoints of a chain after a place, in the order of their entries.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_checkpoints(
        &self,
        chain: &str,
        after: CheckpointPlace<'_>,
        limit: i64,
    ) -> Result<Vec<SignedCheckpoint>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, CheckpointRow>(LIST)
            .bind(chain)
            .bind(after.sequence)
            .bind(after.public_key)
            .bind(limit)
            .fetch_all(on)
            .await)?;
        rows.into_iter().map(checkpoint).collect()
    }

    /// The checkpoint of a chain that reaches furthest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_last_checkpoint(&self, chain: &str) -> Result<Option<SignedCheckpoint>, StoreError> {
        let row = on_read!(self, on =>
            sqlx::query_as::<_, CheckpointRow>(LAST).bind(chain).fetch_optional(on).await)?;
        row.map(checkpoint).transpose()
    }

    /// Every public key that signed at any time, the oldest first. One comes with each rotation of the keyring.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_audit_public_keys(&self) -> Result<Vec<PublishedKey>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, KeyRow>(LIST_KEYS).fetch_all(on).await)?;
        rows.into_iter().map(published).collect()
    }
}

impl Tx {
    /// Writes a checkpoint and tells others of it; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then the whole transaction must not commit.
    pub async fn insert_checkpoint(
        &mut self,
        checkpoint: &SignedCheckpoint,
        epoch: i64,
    ) -> Result<(), StoreError> {
        let inserted = in_tx!(self, on => sqlx::query(INSERT)
            .bind(&checkpoint.chain)
            .bind(checkpoint.sequence)
            .bind(checkpoint.hash.0.to_vec())
            .bind(checkpoint.at_ms.as_unix_ms())
            .bind(checkpoint.public_key.to_string())
            .bind(checkpoint.signature.0.to_vec())
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        if inserted == 0 {
            return Ok(());
        }
        let number = self.next_change(epoch).await?;
        let told = ("audit.checkpoint", checkpoint.to_line());
        self.put_event(
            number,
            (&checkpoint.chain, NO_KEY),
            (told.0, &told.1),
            checkpoint.at_ms,
        )
        .await
    }

    /// Keeps a public key for good; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn insert_audit_public_key(&mut self, key: &PublishedKey) -> Result<(), StoreError> {
        let endorsement = key.endorsement.as_ref();
        in_tx!(self, on => sqlx::query(INSERT_KEY)
            .bind(key.public_key.to_string())
            .bind(key.since_ms.as_unix_ms())
            .bind(endorsement.map(|word| word.by.to_string()))
            .bind(endorsement.map(|word| word.signature.0.to_vec()))
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }
}
