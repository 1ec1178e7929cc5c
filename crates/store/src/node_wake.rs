//! Being woken when something was changed, on PostgreSQL: quicker than asking, and nothing depends on it.
//!
//! A notification can be lost with its connection. Whoever listens asks from time to time all the same.

use sqlx::postgres::PgListener;
use tokio::sync::watch;

use crate::backend::{Backend, Store};
use crate::error::StoreError;

/// The channel that every write of a change tells.
const CHANNEL: &str = "keyward_changes";

/// Somebody who listens.
pub struct ChangeListener {
    listener: PgListener,
    /// Closed when another server is used; this one may live on, and tell of nothing.
    presence: watch::Receiver<()>,
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
        let (pool, presence) = postgres.pool_while_used();
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(ChangeListener { listener, presence }))
    }
}

impl ChangeListener {
    /// Waits for the next change. False: the connection is lost or another server is used, and whoever wants to hear more listens
    /// anew; by itself this one would stay with the server that it came from, which may not be the primary any more.
    pub async fn next(&mut self) -> bool {
        let heard = tokio::select! {
            // Nothing is ever sent.
            _ = self.presence.changed() => false,
            told = self.listener.try_recv() => matches!(told, Ok(Some(_))),
        };
        while self.listener.next_buffered().is_some() {}
        heard
    }
}
