//! Being woken when something was changed, on PostgreSQL: quicker than asking, and nothing depends on it.
//!
//! A notification can be lost with its connection. Whoever listens asks from time to time all the same.

use sqlx::postgres::PgListener;

use crate::backend::{Backend, Store};
use crate::error::StoreError;

/// The channel that every write of a change tells.
const CHANNEL: &str = "keyward_changes";

/// Somebody who listens.
pub struct ChangeListener {
    listener: PgListener,
}

impl Store {
    /// Begins to listen; `None` on SQLite, where nobody else writes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn listen_for_changes(&self) -> Result<Option<ChangeListener>, StoreError> {
        let Backend::Postgres(postgres) = &self.backend else {
            return Ok(None);
        };
        let mut listener = PgListener::connect_with(&postgres.pool()).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(ChangeListener { listener }))
    }
}

impl ChangeListener {
    /// Waits for the next change, or for the connection to be lost, after which anything may have changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: a new one has to be made.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        self.listener.try_recv().await?;
        while self.listener.next_buffered().is_some() {}
        Ok(())
    }
}
