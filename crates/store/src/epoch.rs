//! Epochs: what fences off everybody who wrote before a restore, and on SQLite whoever served before this process.
//!
//! Every write names the epoch that it belongs to, and one of an epoch that is over does not commit. On SQLite each start begins
//! a new one, beside the lock of the data folder. On PostgreSQL all nodes write under the same; which of them count is for
//! [`crate::nodes`].

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const EPOCH: &str = "SELECT epoch FROM change_counter WHERE id = 1";
const IS_EPOCH: &str = "SELECT COUNT(*) FROM change_counter WHERE id = 1 AND epoch = $1";
const RAISE_EPOCH: &str = "UPDATE change_counter SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch";

impl Store {
    /// The epoch that is in force.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn epoch(&self) -> Result<i64, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar(EPOCH).fetch_one(on).await)?)
    }

    /// Begins a new epoch, in a transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_epoch(&self) -> Result<i64, StoreError> {
        let mut tx = self.begin().await?;
        let epoch = tx.raise_epoch().await?;
        tx.commit().await?;
        Ok(epoch)
    }
}

impl Tx {
    /// Begins a new epoch; writes of the former one are refused from the commit on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn raise_epoch(&mut self) -> Result<i64, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, i64>(RAISE_EPOCH).fetch_one(on).await)?)
    }

    /// Refuses to go on if `epoch` is over. For writes that leave no feed row; a write that does is fenced by its
    /// counter. To be asked last, so that the order of locks is that of every write.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`]: then the whole transaction must not commit.
    pub async fn fence(&mut self, epoch: i64) -> Result<(), StoreError> {
        let found =
            in_tx!(self, on => sqlx::query_scalar::<_, i64>(IS_EPOCH).bind(epoch).fetch_one(on).await)?;
        if found == 1 {
            Ok(())
        } else {
            Err(StoreError::NotTheWriter)
        }
    }
}
