//! What people are told of the use of keys: a use from a new address, and a rise of refusals by the rule of
//! [`keyward_core::usage_rise`]. Here it goes into the outbox; sending is done elsewhere.
//!
//! A key that is used from many new addresses, or is refused all day, is told of once in a while, not each time.

use keyward_core::ids::OrganizationId;
use keyward_core::time::{DAY_MS, HOUR_MS};
use keyward_core::usage::{NO_SECRET, Outcome};
use keyward_core::usage_rise::BASELINE_DAYS;
use keyward_store::usage::{NewAddress, UsageCount};
use keyward_store::usage_notices::{FIRST_USE_FROM_ADDRESS, REFUSALS_RISE};
use keyward_store::{StoreError, Tx};
use serde_json::json;

use crate::Engine;
use crate::error::EngineError;

/// Most organizations that wait to be looked at; of others the next refusal reminds.
const MAX_REFUSED: usize = 10_000;

impl Engine {
    /// Tells that keys were used from new addresses, in the transaction that records them; of each key at most once an hour.
    /// A key's very first address is not news.
    pub(crate) async fn tell_new_addresses(&self, tx: &mut Tx, new: &[NewAddress]) -> Result<(), StoreError> {
        let (now, epoch) = (self.now(), self.inner.right.epoch());
        for of_key in new.chunk_by(|a, b| a.key_id == b.key_id) {
            // The first one's key had no address before; those of the same batch came with it.
            let Some(first) = of_key.first().filter(|first| !first.is_first_of_key) else {
                continue;
            };
            let payload = json!({
                "address": first.address,
                "client": first.client,
                "at_ms": first.at.as_unix_ms(),
                "further_addresses": of_key.len() - 1,
            });
            let subject = (&first.organization_id, first.key_id);
            let told = tx.tell_of_use(subject, (FIRST_USE_FROM_ADDRESS, &payload), HOUR_MS, epoch, now);
            match told.await {
                Ok(_) => {}
                // Whoever has the right now tells; the counts are right whoever writes them.
                Err(StoreError::NotTheWriter) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Remembers the organizations whose keys were refused, to be looked at soon.
    pub(crate) fn remember_refused(&self, counts: &[UsageCount]) {
        let mut refused = self.inner.writing.refused();
        for count in counts {
            let is_refused = count.outcome != Outcome::Accepted && count.secret != NO_SECRET;
            if is_refused && refused.len() < MAX_REFUSED && !refused.contains(&count.organization_id) {
                refused.insert(count.organization_id.clone());
            }
        }
    }

    /// Looks at the organizations whose keys were refused since the last look, and tells of keys whose refusals rise; of
    /// each at most once a day. How many were told of.
    ///
    /// # Errors
    /// [`EngineError`]; what was not looked at is looked at the next time.
    pub async fn tell_rises(&self) -> Result<usize, EngineError> {
        let refused = std::mem::take(&mut *self.inner.writing.refused());
        let mut told = 0;
        for organization in &refused {
            match self.tell_rises_of(organization).await {
                Ok(of_this) => told += of_this,
                Err(error) => {
                    self.inner.writing.refused().extend(refused);
                    return Err(error);
                }
            }
        }
        Ok(told)
    }

    async fn tell_rises_of(&self, organization: &OrganizationId) -> Result<usize, EngineError> {
        let mut told = 0;
        for rise in self.rises(organization).await? {
            let payload = json!({
                "refusals": rise.recent,
                "in_hours": 24,
                "usual_per_day": rise.baseline / BASELINE_DAYS,
                "last_at_ms": rise.last_at.as_unix_ms(),
            });
            let mut tx = self.inner.store.begin().await?;
            let (epoch, now) = (self.inner.right.epoch(), self.now());
            let subject = (organization, rise.key_id);
            if tx
                .tell_of_use(subject, (REFUSALS_RISE, &payload), DAY_MS, epoch, now)
                .await?
            {
                tx.commit().await?;
                told += 1;
            }
        }
        Ok(told)
    }
}
