//! List and show keys, as their owners see them: never a value, never a digest.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::record::Key;
use keyward_core::state::SecretLife;
use keyward_core::time::Timestamp;
use keyward_store::keys::StoredSecret;

use crate::Engine;
use crate::error::EngineError;

/// A secret as its key's owners see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSecret {
    /// Counted from 1 within its key.
    pub number: i64,
    /// What it is.
    pub life: SecretLife,
    /// Head and tail of its text.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
}

impl ShownSecret {
    pub(crate) fn of(secret: &StoredSecret) -> Self {
        Self {
            number: secret.number,
            life: secret.life,
            hint: secret.hint.clone(),
            created_at: secret.created_at,
            ended_at: secret.ended_at,
        }
    }
}

/// A page of something, with where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to ask for the next page; `None` at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` out of `limit + 1` rows that were asked for.
    pub(crate) fn cut(mut rows: Vec<T>, limit: u32, position: impl Fn(&T) -> String) -> Self {
        let limit = limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Self::of(rows, has_more, position)
    }

    /// A page of all `rows`, after which there are more or not.
    pub(crate) fn of(rows: Vec<T>, has_more: bool, position: impl Fn(&T) -> String) -> Self {
        let next = rows.last().filter(|_| has_more).map(position);
        Self { items: rows, next }
    }
}

impl Engine {
    /// One key of an organization.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn show_key(&self, organization: &OrganizationId, id: KeyId) -> Result<Key, EngineError> {
        let found = self.inner.store.find_key(organization, id).await?;
        found.ok_or(EngineError::NotFound("secret key"))
    }

    /// One key of an organization with its secrets, newest first.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn show_key_whole(
        &self,
        organization: &OrganizationId,
        id: KeyId,
    ) -> Result<(Key, Vec<ShownSecret>), EngineError> {
        let found = self.inner.store.find_whole_key(organization, id).await?;
        let stored = found.ok_or(EngineError::NotFound("secret key"))?;
        let secrets = stored.secrets.iter().map(ShownSecret::of).collect();
        Ok((stored.key, secrets))
    }

    /// Keys of an organization, after a position, in the order of their ids.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_keys(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: u32,
    ) -> Result<Page<Key>, EngineError> {
        let rows = self
            .inner
            .store
            .list_keys(organization, after, i64::from(limit) + 1)
            .await?;
        Ok(Page::cut(rows, limit, |key| key.record.id.to_string()))
    }

    /// The organization that a key belongs to; for the operator on the machine only.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn organization_of_key(&self, id: KeyId) -> Result<OrganizationId, EngineError> {
        let found = self.inner.store.organization_of_key(id).await?;
        found.ok_or(EngineError::NotFound("secret key"))
    }
}
