//! Writing down what was counted about the use of keys, in the background.
//!
//! Every second: little is added up in the database at once. Much is written into the journal first (few rows, whatever
//! the number of keys) and added up every half minute; so a process that is killed loses the last second, and a server
//! under load does not spend itself on writing rows. Each batch is written under a number, so that one whose commit's answer
//! was lost is not counted twice. Counting is [`crate::usage_notes`]', what follows from a batch `after_use`'s.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_store::StoreError;
use keyward_store::usage::{UsageCount, last_uses};
use keyward_store::usage_journal::{ALONE, INHERITED, journal_place};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::usage_counts::Tally;
use crate::usage_notes::{MAX_FULL, PARTS, part_of};
use crate::{Engine, Inner};

/// How often uses are written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How long what is in the journal waits until it is added up.
const ADD_UP_EVERY: Duration = Duration::from_secs(30);
/// How long one transaction may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Up to so many different things are added up at once, without the journal; and so many in one transaction, because on
/// SQLite writes of keys wait for it.
const FEW: usize = 2_000;
/// From so many on they are added up before their time.
const MANY: usize = 200_000;

/// What is being written, and how far it came.
#[derive(Default)]
pub(crate) struct Writing {
    /// Held by the one that writes.
    writer: tokio::sync::Mutex<Writer>,
    /// The batch on its way, for those who read meanwhile.
    shown: Mutex<Option<Arc<Batch>>>,
    /// Organizations whose keys were refused, and nobody looked yet whether that is a rise.
    refused: Mutex<HashSet<OrganizationId>>,
}

impl Writing {
    pub(crate) fn refused(&self) -> MutexGuard<'_, HashSet<OrganizationId>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Writer {
    /// The number of the last batch that is known to be written; `None` before the first.
    number: Option<i64>,
    /// A batch that is not known to be written. It is written before any other, unchanged.
    unfinished: Option<Arc<Batch>>,
    added_up_at: Option<Instant>,
}

type Tallies = Vec<(KeyId, Tally)>;

#[derive(Clone, Copy)]
enum Kind {
    Journal,
    AddUp,
}

/// What one transaction writes.
struct Batch {
    kind: Kind,
    parts: Vec<usize>,
    /// What was not in the journal before.
    fresh: Tallies,
    /// What is written: with what was in the journal, where that is added up.
    counts: Vec<UsageCount>,
}

impl Engine {
    /// Writes what was counted, so that it survives; under load not yet where queries read.
    ///
    /// # Errors
    /// [`StoreError`]. What could not be written is kept, and written the next time.
    pub async fn flush_uses(&self) -> Result<(), StoreError> {
        let mut writer = self.inner.writing.writer.lock().await;
        self.begin_writing(&mut writer).await?;
        self.take_in_notes().await;
        let (mut fresh, mut kept) = (0, 0);
        for part in 0..PARTS {
            let sizes = self.inner.notes.counts(part).sizes();
            fresh += sizes.0;
            kept += sizes.1;
        }
        let is_time = writer.added_up_at.is_none_or(|at| at.elapsed() >= ADD_UP_EVERY);
        if fresh + kept <= FEW || fresh + kept >= MANY || (is_time && kept > 0) {
            return self.add_up(&mut writer).await;
        }
        let mut tallies = Vec::with_capacity(fresh);
        for part in 0..PARTS {
            tallies.append(&mut self.inner.notes.counts(part).take_fresh());
        }
        self.write(
            &mut writer,
            self.batch(Kind::Journal, Vec::new(), (tallies, Vec::new())),
        )
        .await
    }

    /// Writes everything that was counted where queries read it.
    ///
    /// # Errors
    /// [`StoreError`], as [`Engine::flush_uses`].
    pub async fn settle_usage(&self) -> Result<(), StoreError> {
        let mut writer = self.inner.writing.writer.lock().await;
        self.begin_writing(&mut writer).await?;
        self.take_in_notes().await;
        self.add_up(&mut writer).await
    }

    /// Counts what was noted, a piece at a time, so that requests of this thread do not wait for all of it.
    async fn take_in_notes(&self) {
        for _ in 0..MAX_FULL {
            if !self.inner.notes.take_in_one() {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.inner.notes.take_in();
    }

    /// What was counted of a key and is not added up yet.
    pub(crate) fn counted_of(&self, key: KeyId) -> Vec<UsageCount> {
        let shown = &self.inner.writing.shown;
        // Memory before the batch on its way: what moves from one to the other meanwhile is found twice, and not missed.
        let tallies = self.inner.notes.of_key(key);
        let on_its_way = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut counts: Vec<UsageCount> = tallies
            .iter()
            .filter_map(|tally| self.count(key, tally))
            .collect();
        if let Some(batch) = on_its_way {
            counts.extend(batch.counts.iter().filter(|count| count.key_id == key).cloned());
        }
        counts
    }

    /// Finds out where the numbers stand, adds up what an earlier process left in the journal, and ends what was begun.
    async fn begin_writing(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if writer.number.is_none() {
            // What is in memory and in the journal is added up from the journal, by us now or by an heir before.
            self.drop_kept();
            writer.number = Some(self.add_up_journal_of(self.slot(), 1).await?);
        }
        match writer.unfinished.clone() {
            Some(batch) => self.finish(writer, batch).await,
            None => Ok(()),
        }
    }

    /// This process's place among those that count.
    fn slot(&self) -> i64 {
        self.inner.node.as_ref().map_or(ALONE, |node| node.slot)
    }

    /// Where a part of this process's journal is.
    fn place_of(&self, part: usize) -> i64 {
        journal_place(self.slot(), part)
    }

    fn drop_kept(&self) {
        for part in 0..PARTS {
            drop(self.inner.notes.counts(part).take_kept());
        }
    }

    /// Adds up what is in the journal of a slot; the number that it stands at after it.
    async fn add_up_journal_of(&self, slot: i64, step: i64) -> Result<i64, StoreError> {
        let store = &self.inner.store;
        let mut number = store.usage_mark(slot).await?;
        for part in store.usage_journal_parts(slot).await? {
            let counts = store.usage_journal(part).await?;
            let mut tx = store.begin().await?;
            if !tx.claim_usage_number(slot, (number, number + step)).await? {
                return Err(StoreError::NotTheWriter);
            }
            number += step;
            // What was new then was not told of then; it is not told of now either, when it is old.
            tx.record_usage(&counts).await?;
            tx.clear_usage_journal(part).await?;
            tx.commit().await?;
        }
        Ok(number)
    }

    /// Adds up what nodes had in the journal that are gone and will not come back for it. One that comes back all the same
    /// finds its number raised, and knows that its journal was added up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inherit_usage(&self) -> Result<(), StoreError> {
        let store = &self.inner.store;
        // Before the nodes, so that one which joins meanwhile is seen.
        let slots = store.usage_journal_slots().await?;
        if slots.iter().all(|slot| *slot == self.slot()) {
            return Ok(());
        }
        let nodes = store.node_slots().await?;
        for slot in slots {
            if slot != self.slot() && !nodes.contains(&slot) {
                self.add_up_journal_of(slot, INHERITED).await?;
            }
        }
        Ok(())
    }

    async fn add_up(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let (mut parts, mut fresh, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for part in 0..PARTS {
            let (mut new, mut old) = self.inner.notes.counts(part).take_all();
            if new.is_empty() && old.is_empty() {
                continue;
            }
            parts.push(part);
            fresh.append(&mut new);
            kept.append(&mut old);
            if fresh.len() + kept.len() >= FEW {
                let all = (std::mem::take(&mut fresh), std::mem::take(&mut kept));
                let batch = self.batch(Kind::AddUp, std::mem::take(&mut parts), all);
                self.write(writer, batch).await?;
            }
        }
        self.write(writer, self.batch(Kind::AddUp, parts, (fresh, kept)))
            .await?;
        writer.added_up_at = Some(Instant::now());
        Ok(())
    }

    fn batch(&self, kind: Kind, parts: Vec<usize>, (fresh, kept): (Tallies, Tallies)) -> Batch {
        let all = fresh.iter().chain(&kept);
        let counts = all.filter_map(|(key, tally)| self.count(*key, tally)).collect();
        Batch {
            kind,
            parts,
            fresh,
            counts,
        }
    }

    fn count(&self, key: KeyId, tally: &Tally) -> Option<UsageCount> {
        let organization = self.inner.notes.names().id_of(tally.organization)?;
        Some(tally.count(key, organization))
    }

    async fn write(&self, writer: &mut Writer, batch: Batch) -> Result<(), StoreError> {
        if batch.counts.is_empty() {
            return Ok(());
        }
        let batch = Arc::new(batch);
        writer.unfinished = Some(Arc::clone(&batch));
        self.show(Some(Arc::clone(&batch)));
        self.finish(writer, batch).await
    }

    /// Writes the unfinished batch, unless it turns out to be written already.
    async fn finish(&self, writer: &mut Writer, batch: Arc<Batch>) -> Result<(), StoreError> {
        let known = writer.number.unwrap_or_default();
        let written = tokio::time::timeout(PATIENCE, self.write_once(&batch, known + 1));
        let outcome = written.await.unwrap_or(Err(StoreError::TimedOut));
        match outcome {
            Ok(number) => writer.number = Some(number),
            Err(error) => {
                if matches!(error, StoreError::NotTheWriter) {
                    // An heir took this process for gone and added its journal up: what is not written is only what never was in it.
                    writer.number = None;
                    let fresh = (batch.fresh.clone(), Vec::new());
                    let rest = Arc::new(self.batch(batch.kind, batch.parts.clone(), fresh));
                    writer.unfinished = Some(Arc::clone(&rest));
                    self.show(Some(rest));
                }
                return Err(error);
            }
        }
        writer.unfinished = None;
        if let Kind::Journal = batch.kind {
            for (part, tallies) in by_part(batch.fresh.iter().copied(), |(key, _)| *key) {
                self.inner.notes.counts(part).keep(tallies);
            }
        }
        self.show(None);
        if let Kind::AddUp = batch.kind {
            self.remember_refused(&batch.counts);
        }
        self.after_flush(&last_uses(batch.counts.iter()));
        Ok(())
    }

    /// One transaction, under `number`; the number that the database stands at after it.
    async fn write_once(&self, batch: &Batch, number: i64) -> Result<i64, StoreError> {
        let mut tx = self.inner.store.begin().await?;
        if !tx.claim_usage_number(self.slot(), (number - 1, number)).await? {
            tx.rollback().await?;
            // It is written, and the answer was lost; any other number of ours is another process's.
            return match self.inner.store.usage_mark(self.slot()).await? {
                found if found % INHERITED == number % INHERITED => Ok(found),
                _ => Err(StoreError::NotTheWriter),
            };
        }
        match batch.kind {
            Kind::Journal => {
                for (part, counts) in by_part(batch.counts.iter(), |count| count.key_id) {
                    tx.put_usage_journal((self.place_of(part), number), &counts)
                        .await?;
                }
            }
            Kind::AddUp => {
                let new = tx.record_usage(&batch.counts).await?;
                for part in &batch.parts {
                    tx.clear_usage_journal(self.place_of(*part)).await?;
                }
                self.tell_new_addresses(&mut tx, &new).await?;
            }
        }
        tx.commit().await?;
        Ok(number)
    }

    fn show(&self, batch: Option<Arc<Batch>>) {
        let shown = &self.inner.writing.shown;
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = batch;
    }
}

fn by_part<T>(items: impl Iterator<Item = T>, key: impl Fn(&T) -> KeyId) -> BTreeMap<usize, Vec<T>> {
    let mut parts: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for item in items {
        parts.entry(part_of(key(&item))).or_default().push(item);
    }
    parts
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
        let engine = Engine { inner };
        engine.report_lost();
        match (engine.flush_uses().await, has_failed) {
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

impl Engine {
    /// Says how many uses there was no memory for.
    fn report_lost(&self) {
        let lost: u64 = (0..PARTS)
            .map(|part| self.inner.notes.counts(part).take_lost())
            .sum();
        if lost > 0 {
            self.inner.metrics.uncounted_uses.increment(lost);
            tracing::error!(
                uses = lost,
                "uses of keys could not be counted: too many wait for the database"
            );
        }
    }
}
