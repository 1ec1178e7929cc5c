//! Forgetting uses of keys that are older than an organization keeps them, in steps of a bounded size.
//!
//! When a secret was used last, and how often, stays apart from this: the last use is the key's for as long as it has a row.

use keyward_core::ids::OrganizationId;
use keyward_core::usage::start_of_hour;

use crate::backend::Tx;
use crate::error::StoreError;

const OLD_HOURS: &str = "SELECT DISTINCT hour, key_id FROM key_usage WHERE organization_id = $1 AND hour < $2 \
    ORDER BY hour, key_id LIMIT $3";
const FORGET_HOUR: &str = "DELETE FROM key_usage WHERE organization_id = $1 AND hour = $2 AND key_id = $3";
const OLD_TOTALS: &str = "SELECT DISTINCT hour FROM organization_usage WHERE organization_id = $1 AND hour < $2 \
    ORDER BY hour LIMIT $3";
const FORGET_TOTALS: &str = "DELETE FROM organization_usage WHERE organization_id = $1 AND hour <= $2";
const OLD_ADDRESSES: &str = "SELECT key_id, address FROM key_address WHERE organization_id = $1 AND first_at < $2 \
    AND last_at < $2 ORDER BY first_at LIMIT $3";
const FORGET_ADDRESS: &str =
    "DELETE FROM key_address WHERE organization_id = $1 AND key_id = $2 AND address = $3";

impl Tx {
    /// Forgets some of what an organization's keys were used for before an hour; how many places in its tables that were.
    /// Nothing older is left when it is zero.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_usage(
        &mut self,
        organization: &OrganizationId,
        before_hour: i64,
        limit: i64,
    ) -> Result<usize, StoreError> {
        let id = organization.as_str();
        let hours = in_tx!(self, on => sqlx::query_as::<_, (i64, String)>(OLD_HOURS)
            .bind(id).bind(before_hour).bind(limit).fetch_all(on).await)?;
        // One by one along an index: for a list of pairs SQLite reads a whole one.
        for (hour, key) in &hours {
            in_tx!(self, on => sqlx::query(FORGET_HOUR).bind(id).bind(*hour).bind(key).execute(on).await.map(drop))?;
        }
        let totals: Vec<i64> = in_tx!(self, on => sqlx::query_scalar(OLD_TOTALS)
            .bind(id).bind(before_hour).bind(limit).fetch_all(on).await)?;
        if let Some(last) = totals.last() {
            in_tx!(self, on => sqlx::query(FORGET_TOTALS).bind(id).bind(*last).execute(on).await.map(drop))?;
        }
        let before = start_of_hour(before_hour).as_unix_ms();
        let addresses = in_tx!(self, on => sqlx::query_as::<_, (String, String)>(OLD_ADDRESSES)
            .bind(id).bind(before).bind(limit).fetch_all(on).await)?;
        for (key, address) in &addresses {
            in_tx!(self, on => sqlx::query(FORGET_ADDRESS).bind(id).bind(key).bind(address).execute(on).await.map(drop))?;
        }
        Ok(hours.len() + totals.len() + addresses.len())
    }
}
