//! The right of this process to write keys, and with it to answer from memory.
//!
//! On SQLite the data folder's lock gives it for the process's life. On PostgreSQL it is a lease: the database is asked
//! again and again, and memory may be used only for a short time counted from *before* the last question that was
//! answered well. A right that was just taken waits until the holder before it must have stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use keyward_store::node::WriterRight;
use keyward_store::{Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::VerificationCache;

/// How often the right is confirmed.
pub const CONFIRM_EVERY: Duration = Duration::from_millis(250);
/// How long a confirmation lasts, counted from before it was asked for.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// How long a new right waits before it is used, so that the former holder's lease is over.
pub const HANDOVER: Duration = Duration::from_millis(2_000);

/// The state of the right; read on every verify.
pub struct Right {
    started: Instant,
    is_permanent: AtomicBool,
    /// Milliseconds since `started` until which memory may be used; 0: not at all.
    until_ms: AtomicU64,
    epoch: AtomicI64,
}

impl Right {
    pub(crate) fn none() -> Self {
        Self {
            started: Instant::now(),
            is_permanent: AtomicBool::new(false),
            until_ms: AtomicU64::new(0),
            epoch: AtomicI64::new(0),
        }
    }

    /// Whether keys may be written, and answers given from memory, at this moment.
    pub fn is_held(&self) -> bool {
        self.is_permanent.load(Ordering::Acquire) || self.elapsed_ms() < self.until_ms.load(Ordering::Acquire)
    }

    /// The epoch to write under; a wrong one is refused by the database.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn hold_for_ever(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
        self.is_permanent.store(true, Ordering::Release);
    }

    fn hold_until(&self, epoch: i64, asked_at: Instant) {
        let until = asked_at.saturating_duration_since(self.started) + LEASE;
        self.epoch.store(epoch, Ordering::Release);
        self.until_ms.store(
            u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
            Ordering::Release,
        );
    }

    fn lose(&self) {
        self.until_ms.store(0, Ordering::Release);
    }
}

/// Takes the right and starts what keeps it.
///
/// # Errors
/// [`StoreError::NotTheWriter`] if another process holds it.
pub(crate) async fn take(
    store: Store,
    right: Arc<Right>,
    cache: Arc<VerificationCache>,
    stop: CancellationToken,
) -> Result<Option<impl Future<Output = ()> + Send + 'static>, StoreError> {
    let held = store.take_writer_right().await?;
    if !held.can_be_lost() {
        right.hold_for_ever(held.epoch());
        return Ok(None);
    }
    // Counted from after the lock was had: connecting may take any time, and only now its former holder is gone.
    tokio::time::sleep(HANDOVER).await;
    let held = confirmed(held, &right).await.ok_or(StoreError::NotTheWriter)?;
    Ok(Some(keep(store, right, cache, held, stop)))
}

/// Confirms the right until told to stop; when it is lost, memory is given up first and then the right is sought again.
async fn keep(
    store: Store,
    right: Arc<Right>,
    cache: Arc<VerificationCache>,
    held: WriterRight,
    stop: CancellationToken,
) {
    let mut held = Some(held);
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(CONFIRM_EVERY) => {}
        }
        held = match held {
            Some(current) => {
                let kept = confirmed(current, &right).await;
                if kept.is_none() {
                    right.lose();
                    cache.clear();
                    tracing::error!("the right to this database was lost; serving from memory has stopped");
                }
                kept
            }
            None => tokio::select! {
                () = stop.cancelled() => None,
                taken = take_again(&store, &right, &cache) => taken,
            },
        };
    }
    right.lose();
    if let Some(held) = held {
        // A database that does not answer notices by itself that the connection is gone.
        let _ = tokio::time::timeout(LEASE, held.release()).await;
    }
}

async fn confirmed(mut held: WriterRight, right: &Right) -> Option<WriterRight> {
    let asked_at = Instant::now();
    match tokio::time::timeout(LEASE / 2, held.confirm()).await {
        Ok(Ok(())) => {
            right.hold_until(held.epoch(), asked_at);
            Some(held)
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the right to this database was not confirmed");
            None
        }
        Err(_) => {
            tracing::warn!("the database did not confirm the right in time");
            None
        }
    }
}

async fn take_again(store: &Store, right: &Right, cache: &VerificationCache) -> Option<WriterRight> {
    let held = store.take_writer_right().await.ok()?;
    tokio::time::sleep(HANDOVER).await;
    // What was read while another process may have held the right must not be answered from: nobody told us of its
    // writes. From here on nobody else writes.
    cache.clear();
    let held = confirmed(held, right).await?;
    tracing::info!("the right to this database was taken again");
    Some(held)
}
