//! What is told of a key's use: events in the outbox, of each kind and key at most one in a while.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use serde_json::Value;

use crate::backend::Tx;
use crate::error::StoreError;

/// A key was used from an address for the first time.
pub const FIRST_USE_FROM_ADDRESS: &str = "key.first_use_from_address";
/// A key is refused far more often than is usual for it.
pub const REFUSALS_RISE: &str = "key.refusals_rise";

const TELL: &str = "INSERT INTO key_told (organization_id, key_id, kind, at) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (key_id, kind) DO UPDATE SET at = excluded.at WHERE key_told.at <= $5";

impl Tx {
    /// Puts an event of a key's use into the outbox, unless one of its kind was put there within `pause_ms`; whether it was
    /// put.
    ///
    /// # Errors
    /// [`StoreError::NotTheWriter`] if `epoch` is over: then nothing was told.
    pub async fn tell_of_use(
        &mut self,
        (organization, key): (&OrganizationId, KeyId),
        (kind, payload): (&str, &Value),
        pause_ms: i64,
        epoch: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let subject = (organization.as_str(), key.as_str());
        let told = in_tx!(self, on => sqlx::query(TELL)
            .bind(subject.0).bind(subject.1).bind(kind)
            .bind(now.as_unix_ms()).bind(now.plus_ms(-pause_ms).as_unix_ms())
            .execute(on).await.map(|done| done.rows_affected()))?;
        if told == 0 {
            return Ok(false);
        }
        let number = self.next_change(epoch).await?;
        self.put_event(number, subject, (kind, &payload.to_string()), now)
            .await?;
        Ok(true)
    }
}
