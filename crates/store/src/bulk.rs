//! What dry runs showed, for as long as somebody may carry it out.
//!
//! A preview is taken once: taking it removes it. Its token is known by a digest alone.

use keyward_core::ids::OrganizationId;
use keyward_core::time::Timestamp;

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const INSERT: &str = "INSERT INTO bulk_preview (organization_id, token, principal, request, items, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6)";
const TAKE: &str = "DELETE FROM bulk_preview WHERE organization_id = $1 AND token = $2 AND principal = $3 \
    RETURNING request, items, created_at";
const FORGET_OLD: &str = "DELETE FROM bulk_preview WHERE created_at <= $1";

/// What a dry run showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPreview {
    /// The request, as JSON.
    pub request: String,
    /// The keys with their versions, as JSON.
    pub items: String,
    /// When.
    pub created_at: Timestamp,
}

impl Store {
    /// Keeps what a dry run showed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_preview(
        &self,
        organization: &OrganizationId,
        (token, principal): (&[u8; 32], &str),
        preview: &StoredPreview,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        in_tx!(tx, on => sqlx::query(INSERT)
            .bind(organization.as_str())
            .bind(token.to_vec())
            .bind(principal)
            .bind(&preview.request)
            .bind(&preview.items)
            .bind(preview.created_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        tx.commit().await
    }

    /// Forgets previews of `until` or before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clean_previews(&self, until: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        in_tx!(tx, on => sqlx::query(FORGET_OLD).bind(until.as_unix_ms()).execute(on).await.map(drop))?;
        tx.commit().await
    }
}

impl Tx {
    /// Takes what a dry run of this principal showed; it is gone then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_preview(
        &mut self,
        organization: &OrganizationId,
        (token, principal): (&[u8; 32], &str),
    ) -> Result<Option<StoredPreview>, StoreError> {
        let row = in_tx!(self, on => sqlx::query_as::<_, (String, String, i64)>(TAKE)
            .bind(organization.as_str())
            .bind(token.to_vec())
            .bind(principal)
            .fetch_optional(on)
            .await)?;
        Ok(row.map(|(request, items, created_at)| StoredPreview {
            request,
            items,
            created_at: Timestamp::from_unix_ms(created_at),
        }))
    }
}
