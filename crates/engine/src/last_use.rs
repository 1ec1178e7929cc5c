//! When keys were last used: noted in memory by verifies, and written down in the background.
//!
//! A verify notes a secret's use once in a *period*, and a flush begins the next one: so a key that is used a thousand
//! times in a second costs one entry in a list, and the rest a look at a number. A flush comes every second if something
//! was used, and once more at the shut-down; a process that is killed loses what it had not written. Refused requests and
//! questions that count as no use note nothing. What follows from a use is `after_use`'s.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::time::Timestamp;
use keyward_store::StoreError;
use keyward_store::uses::SecretUse;
use tokio_util::sync::CancellationToken;

use crate::{Engine, Inner};

/// How often uses are written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How long one transaction of a flush may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Uses of one transaction: on SQLite writes of keys wait for it, and it has to be over soon.
const USES_PER_TRANSACTION: usize = 2_000;
const LISTS: usize = 64;
/// Most uses that a list holds; more are noted when they come again after a flush.
const MAX_IN_LIST: usize = 8_192;
/// Most uses that wait for a database that does not answer; of keys beyond that nothing is kept.
const MAX_UNWRITTEN: usize = 500_000;

/// The uses of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The last use of any of its secrets.
    pub last_used_at: Timestamp,
    /// Each secret that was ever used, by number.
    pub secrets: Vec<SecretUse>,
}

/// Which period a secret's use was noted in last; a note is due once a period.
#[derive(Debug, Default)]
pub(crate) struct NotedIn(AtomicU32);

/// What was used and is not known to be written.
pub(crate) struct Uses {
    /// The number of the period, from 1 on: nothing was noted in period 0.
    period: AtomicU32,
    lists: Box<[Mutex<Vec<SecretUse>>]>,
    unwritten: Mutex<HashMap<(KeyId, i64), SecretUse>>,
    /// Held by the one flush that runs.
    flushing: tokio::sync::Mutex<()>,
}

impl NotedIn {
    /// Whether this is the first use in `period`; then it counts as noted.
    fn is_first(&self, period: u32) -> bool {
        // Written only when it changes, so that a line that is read by many is written by none.
        self.0.load(Ordering::Relaxed) != period && self.0.swap(period, Ordering::Relaxed) != period
    }

    /// Takes the note back: there was no room.
    fn take_back(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Uses {
    pub(crate) fn new() -> Self {
        Self {
            period: AtomicU32::new(1),
            lists: (0..LISTS).map(|_| Mutex::default()).collect(),
            unwritten: Mutex::default(),
            flushing: tokio::sync::Mutex::new(()),
        }
    }

    /// Notes that a secret was used, if it is the first time in this period.
    pub(crate) fn note(
        &self,
        noted_in: &NotedIn,
        (organization, key_id): (&OrganizationId, KeyId),
        number: impl FnOnce() -> i64,
        now: Timestamp,
    ) {
        if !noted_in.is_first(self.period.load(Ordering::Relaxed)) {
            return;
        }
        let mut list = locked(self.list(key_id));
        if list.len() >= MAX_IN_LIST {
            noted_in.take_back();
            return;
        }
        list.push(SecretUse {
            organization_id: organization.clone(),
            key_id,
            number: number(),
            first_used_at: now,
            last_used_at: now,
            last: None,
        });
    }

    /// Begins the next period, and gives everything that was noted before and is not written, in the order of the keys.
    fn begin_flush(&self) -> Vec<SecretUse> {
        // First, so that a use that comes now is noted anew, and may stand in a list twice.
        self.period.fetch_add(1, Ordering::Relaxed);
        let mut unwritten = locked(&self.unwritten);
        let mut noted = Vec::new();
        for list in &self.lists {
            noted.append(&mut locked(list));
        }
        for one in noted {
            if unwritten.len() < MAX_UNWRITTEN || unwritten.contains_key(&(one.key_id, one.number)) {
                merge(&mut unwritten, one);
            }
        }
        let mut batch: Vec<SecretUse> = unwritten.values().cloned().collect();
        batch.sort_unstable_by_key(|one| (one.key_id, one.number));
        batch
    }

    /// Forgets what was written. Only the one flush that runs changes what is unwritten.
    fn end_flush(&self, written: &[SecretUse]) {
        let mut unwritten = locked(&self.unwritten);
        for one in written {
            unwritten.remove(&(one.key_id, one.number));
        }
    }

    /// What is known here of these keys' uses, and not known to be written.
    fn of(&self, keys: &[KeyId]) -> HashMap<(KeyId, i64), SecretUse> {
        let mut found = HashMap::new();
        let unwritten = locked(&self.unwritten);
        for key_id in keys {
            // Under the lock of the unwritten ones, as a flush that moves them: nothing is missed between the two.
            let list = locked(self.list(*key_id));
            let noted = list.iter().filter(|one| one.key_id == *key_id);
            noted.cloned().for_each(|one| merge(&mut found, one));
        }
        let is_asked_for: std::collections::HashSet<&KeyId> = keys.iter().collect();
        let waiting = unwritten
            .values()
            .filter(|one| is_asked_for.contains(&one.key_id));
        waiting.cloned().for_each(|one| merge(&mut found, one));
        found
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is a remainder of the length, which is never zero"
    )]
    fn list(&self, id: KeyId) -> &Mutex<Vec<SecretUse>> {
        &self.lists[(id.spread() >> 48) as usize % LISTS]
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn merge(uses: &mut HashMap<(KeyId, i64), SecretUse>, one: SecretUse) {
    match uses.entry((one.key_id, one.number)) {
        std::collections::hash_map::Entry::Occupied(mut known) => {
            let known = known.get_mut();
            known.first_used_at = known.first_used_at.min(one.first_used_at);
            known.last_used_at = known.last_used_at.max(one.last_used_at);
        }
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(one);
        }
    }
}

impl Engine {
    /// When these keys of an organization were last used; a key that is not in the answer was never used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_uses(
        &self,
        organization: &OrganizationId,
        keys: &[KeyId],
    ) -> Result<HashMap<KeyId, KeyUse>, StoreError> {
        // Memory first: what is written between the two looks is found in the database.
        let mut uses = self.inner.uses.of(keys);
        uses.retain(|_, one| one.organization_id == *organization);
        for one in self.inner.store.list_uses(organization, keys).await? {
            merge(&mut uses, one);
        }
        let mut found: HashMap<KeyId, KeyUse> = HashMap::new();
        for one in uses.into_values() {
            let last_used_at = one.last_used_at;
            let key = found.entry(one.key_id).or_insert_with(|| KeyUse {
                last_used_at,
                secrets: Vec::new(),
            });
            key.last_used_at = key.last_used_at.max(last_used_at);
            key.secrets.push(one);
        }
        for key in found.values_mut() {
            key.secrets.sort_unstable_by_key(|one| one.number);
        }
        Ok(found)
    }

    /// Writes what was used and is not written yet. What could not be written is kept for the next time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn flush_uses(&self) -> Result<(), StoreError> {
        let _alone = self.inner.uses.flushing.lock().await;
        let batch = self.inner.uses.begin_flush();
        for part in batch.chunks(USES_PER_TRANSACTION) {
            tokio::time::timeout(PATIENCE, self.write_uses(part))
                .await
                .unwrap_or(Err(StoreError::TimedOut))?;
            self.inner.uses.end_flush(part);
            self.after_flush(part).await;
        }
        Ok(())
    }

    /// One transaction. If the answer to its commit is lost, it is repeated, which changes nothing.
    async fn write_uses(&self, uses: &[SecretUse]) -> Result<(), StoreError> {
        let mut tx = self.inner.store.begin().await?;
        tx.record_uses(uses).await?;
        tx.commit().await
    }
}

/// Writes uses until the engine stops or is dropped. The last ones are written by the shut-down itself, when no task is
/// left that could note another.
pub(crate) async fn keep_writing(engine: Weak<Inner>, stop: CancellationToken) {
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FLUSH_EVERY) => {}
        }
        let Some(inner) = engine.upgrade() else { return };
        match (Engine { inner }.flush_uses().await, has_failed) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => {
                has_failed = false;
                tracing::info!("uses of keys are written again");
            }
            (Err(error), false) => {
                has_failed = true;
                tracing::warn!(%error, "uses of keys could not be written; they are kept, and tried again every second");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000);

    fn key(number: u32) -> KeyId {
        format!("{number:016}").parse().unwrap()
    }

    fn note(uses: &Uses, noted_in: &NotedIn, number: i64, at: Timestamp) {
        let organization = "org-1".parse().unwrap();
        uses.note(noted_in, (&organization, key(1)), || number, at);
    }

    #[test]
    fn a_use_is_noted_once_a_period() {
        let (uses, noted_in) = (Uses::new(), NotedIn::default());
        note(&uses, &noted_in, 1, NOW);
        note(&uses, &noted_in, 1, NOW.plus_ms(1));
        let batch = uses.begin_flush();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].last_used_at, NOW);
        uses.end_flush(&batch);
        assert!(uses.begin_flush().is_empty());
        note(&uses, &noted_in, 1, NOW.plus_ms(2));
        assert_eq!(uses.begin_flush().len(), 1);
    }

    #[test]
    fn what_was_not_written_is_kept_and_merged() {
        let uses = Uses::new();
        note(&uses, &NotedIn::default(), 1, NOW);
        assert_eq!(uses.begin_flush().len(), 1, "and the database does not answer");
        note(&uses, &NotedIn::default(), 1, NOW.plus_ms(9));
        note(&uses, &NotedIn::default(), 2, NOW.plus_ms(5));
        let batch = uses.begin_flush();
        let spans: Vec<_> = batch
            .iter()
            .map(|one| (one.number, one.first_used_at, one.last_used_at))
            .collect();
        assert_eq!(
            spans,
            [(1, NOW, NOW.plus_ms(9)), (2, NOW.plus_ms(5), NOW.plus_ms(5))]
        );
    }

    #[test]
    fn a_full_list_takes_no_more_until_it_was_flushed() {
        let uses = Uses::new();
        for _ in 0..MAX_IN_LIST {
            note(&uses, &NotedIn::default(), 1, NOW);
        }
        let late = NotedIn::default();
        note(&uses, &late, 2, NOW);
        assert_eq!(uses.begin_flush().len(), 1);
        note(&uses, &late, 2, NOW);
        assert_eq!(uses.begin_flush().len(), 2);
    }
}
