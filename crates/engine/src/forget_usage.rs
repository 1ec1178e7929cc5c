//! Forgetting uses of keys that are older than their organization keeps them ([`OrganizationSettings`]), every hour, in small
//! steps that others need not wait for. The audit trail is kept apart and is not touched.
//!
//! [`OrganizationSettings`]: keyward_core::organization::OrganizationSettings

use keyward_core::ids::OrganizationId;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_core::usage::hour_of;
use keyward_store::StoreError;

use crate::Engine;

/// Organizations that are read at a time.
const PAGE: i64 = 200;
/// Hours of keys that are forgotten in one transaction.
const STEP: i64 = 100;

impl Engine {
    /// Forgets what is older at `now` than each organization keeps; how many places in tables that were.
    ///
    /// # Errors
    /// [`StoreError`]; what was forgotten is, and the next call goes on.
    pub async fn forget_old_usage(&self, now: Timestamp) -> Result<usize, StoreError> {
        let (mut after, mut forgotten) = (String::new(), 0);
        loop {
            let page = self.inner.store.list_organizations(&after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(forgotten);
            };
            after = last.id.to_string();
            for organization in &page {
                let kept_ms = i64::from(organization.settings.usage_retention_days) * DAY_MS;
                let before_hour = hour_of(now.plus_ms(-kept_ms));
                forgotten += self.forget_before(&organization.id, before_hour).await?;
            }
        }
    }

    async fn forget_before(&self, id: &OrganizationId, before_hour: i64) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        while !self.inner.stop.is_cancelled() {
            let mut tx = self.inner.store.begin().await?;
            let step = tx.forget_usage(id, before_hour, STEP).await?;
            if step == 0 {
                break;
            }
            tx.commit().await?;
            forgotten += step;
        }
        Ok(forgotten)
    }
}
