//! Named settings of the installation: the keyring it belongs to, the key prefix, the schema's needs.
//!
//! Not for settings of an organization, and never for secrets.

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const FIND: &str = "SELECT value FROM setting WHERE name = $1";
const PUT: &str = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const CLAIM: &str = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

impl Store {
    /// The setting of that name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar::<_, String>(FIND).bind(name).fetch_optional(on).await)?)
    }

    /// Sets a setting in a transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.put_setting(name, value).await?;
        tx.commit().await
    }

    /// Sets a setting unless it is there, and returns what is there then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_setting(&self, name: &str, value: &str) -> Result<String, StoreError> {
        let mut tx = self.begin().await?;
        in_tx!(tx, on => sqlx::query(CLAIM).bind(name).bind(value).execute(on).await.map(drop))?;
        let now_there =
            in_tx!(tx, on => sqlx::query_scalar::<_, String>(FIND).bind(name).fetch_one(on).await)?;
        tx.commit().await?;
        Ok(now_there)
    }
}

impl Tx {
    /// The setting of that name, as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn setting(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(in_tx!(self, on => sqlx::query_scalar::<_, String>(FIND).bind(name).fetch_optional(on).await)?)
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn put_setting(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(PUT).bind(name).bind(value).execute(on).await.map(drop))?;
        Ok(())
    }
}
