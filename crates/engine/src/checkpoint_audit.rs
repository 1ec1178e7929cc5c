//! Checkpoints of the audit trail: signed at an interval and on demand, and kept where the database's writers do not reach.
//!
//! A checkpoint goes to the sink first and into the database after it: what the sink did not take is made again, and one
//! that the sink holds twice tells the same. Only what is committed is signed. The public key of the keyring's present
//! version signs; a rotation has it endorsed by the one before, while both are held.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::{Detail, Event, NO_ORGANIZATION};
use keyward_core::checkpoint::{AuditSigner, PublishedKey, SignedCheckpoint};
use keyward_core::keyring::Keyring;
use keyward_core::random::RandomUnavailable;
use keyward_store::StoreError;
use keyward_store::audit_checkpoints::ChainHead;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;

/// Chains that are looked at together.
const STEP: i64 = 100;

/// Where checkpoints are kept besides the database. To be written from a thread that may wait.
pub trait CheckpointSink: Send + Sync {
    /// Keeps checkpoints durably; when it returns, they outlive a crash.
    ///
    /// # Errors
    /// What went wrong; none of them counts as kept then.
    fn keep(&self, checkpoints: &[SignedCheckpoint]) -> std::io::Result<()>;
}

impl Engine {
    /// Keeps every checkpoint that is made from now on in `sink`, too. Only the first call counts.
    pub fn keep_checkpoints_in(&self, sink: Arc<dyn CheckpointSink>) {
        let _ = self.inner.checkpoint_sink.set(sink);
    }

    /// Makes the checkpoints of all chains that grew, every so often until the engine shuts down. To be run in a task of
    /// its own.
    pub async fn checkpoint_audit_until_stopped(&self, every: Duration) {
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            if !self.inner.right.is_held_first() {
                continue;
            }
            if let Err(error) = self.checkpoint_grown_chains().await {
                tracing::error!(%error, "checkpoints of the audit trail could not be made or kept; they are tried again");
            }
        }
    }

    /// Makes the checkpoints of all chains that grew since their last one; how many.
    ///
    /// # Errors
    /// [`EngineError`]; what was made stays, and the rest is found again.
    pub async fn checkpoint_grown_chains(&self) -> Result<u64, EngineError> {
        let (mut after, mut made) = (String::new(), 0);
        loop {
            let public_key = self.audit_signer()?.public_key();
            let grown = self
                .inner
                .store
                .list_grown_chains(&after, public_key, STEP)
                .await?;
            let Some(last) = grown.last() else {
                return Ok(made);
            };
            after.clone_from(&last.chain);
            made += grown.len() as u64;
            self.checkpoint(grown).await?;
        }
    }

    /// Makes a checkpoint of one chain now. That somebody asked for it is an entry, and part of what is signed.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a chain that was never begun.
    pub async fn checkpoint_audit(
        &self,
        context: Context,
        chain: &str,
    ) -> Result<SignedCheckpoint, EngineError> {
        self.audit_head(chain).await?;
        self.record_audit_use(&context, chain, "audit.checkpoint", Detail::new())
            .await?;
        let head = self.audit_head(chain).await?;
        let made = self.checkpoint(vec![head]).await?;
        made.into_iter()
            .next()
            .ok_or(EngineError::NotFound("audit trail"))
    }

    async fn checkpoint(&self, heads: Vec<ChainHead>) -> Result<Vec<SignedCheckpoint>, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let now = self.now();
        let signer = self.audit_signer()?;
        let sign = |head: ChainHead| signer.checkpoint(&head.chain, head.sequence, head.hash.0, now);
        let checkpoints: Arc<Vec<SignedCheckpoint>> = Arc::new(heads.into_iter().map(sign).collect());
        if let Some(sink) = self.inner.checkpoint_sink.get().map(Arc::clone) {
            let given = Arc::clone(&checkpoints);
            let kept = tokio::task::spawn_blocking(move || sink.keep(&given)).await;
            kept.map_err(std::io::Error::other)
                .and_then(|kept| kept)
                .map_err(|error| {
                    EngineError::Conflict(format!(
                        "the checkpoint could not be kept outside the database: {error}"
                    ))
                })?;
        }
        let mut tx = self.inner.store.begin().await?;
        for key in own_keys(&self.keyring()) {
            tx.insert_audit_public_key(&key).await?;
        }
        for checkpoint in checkpoints.iter() {
            tx.insert_checkpoint(checkpoint, self.inner.right.epoch()).await?;
        }
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(Arc::unwrap_or_clone(checkpoints))
    }

    /// Every key that signs, or signed, the oldest first.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn audit_public_keys(&self) -> Result<Vec<PublishedKey>, EngineError> {
        let mut keys = self.inner.store.list_audit_public_keys().await?;
        let kept: BTreeSet<_> = keys.iter().map(|key| key.public_key).collect();
        // Before the first checkpoint none is stored; what the keyring derives is there all the same.
        let own = own_keys(&self.keyring()).into_iter();
        keys.extend(own.filter(|key| !kept.contains(&key.public_key)));
        keys.sort_by_key(|key| (key.since_ms, key.public_key));
        Ok(keys)
    }

    /// Keeps the public keys of all versions for good, each endorsed by the one before. To be called while both are held.
    pub(crate) async fn publish_audit_keys(&self) -> Result<(), EngineError> {
        let mut tx = self.inner.store.begin().await?;
        for key in own_keys(&self.keyring()) {
            tx.insert_audit_public_key(&key).await?;
        }
        tx.fence(self.inner.right.epoch()).await?;
        Ok(tx.commit().await?)
    }

    pub(crate) fn audit_signer(&self) -> Result<AuditSigner, EngineError> {
        let keyring = self.keyring();
        // A keyring holds its active version always.
        let signer = AuditSigner::of(&keyring, keyring.active());
        signer.ok_or(EngineError::Random(RandomUnavailable))
    }

    pub(crate) async fn audit_head(&self, chain: &str) -> Result<ChainHead, EngineError> {
        match self.inner.store.find_audit_head(chain).await? {
            Some(head) => Ok(head),
            // The installation's own chain is there from the start, with nothing in it.
            None if chain == NO_ORGANIZATION => Ok(ChainHead {
                chain: chain.to_owned(),
                sequence: 0,
                hash: keyward_core::hex::Hex(keyward_core::audit::CHAIN_START),
            }),
            None => Err(EngineError::NotFound("organization")),
        }
    }

    /// Writes that the trail itself was used, into the chain that it was done with.
    pub(crate) async fn record_audit_use(
        &self,
        context: &Context,
        chain: &str,
        action: &'static str,
        detail: Detail,
    ) -> Result<i64, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let event = audit_event(context, chain, action, detail);
        let sequence = tx.append_audit(chain, &event, self.now()).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(sequence)
    }
}

/// What is written of a use of the trail.
pub(crate) fn audit_event(context: &Context, chain: &str, action: &'static str, detail: Detail) -> Event {
    Event {
        actor: context.actor.to_string(),
        action,
        target: format!("audit/{chain}"),
        request_id: context.request_id.to_string(),
        detail,
    }
}

/// The keys of the versions that the keyring holds, each endorsed by that of the version before it.
fn own_keys(keyring: &Keyring) -> Vec<PublishedKey> {
    let mut before: Option<AuditSigner> = None;
    let mut keys = Vec::new();
    for (version, since_ms) in keyring.summary().versions {
        let Some(signer) = AuditSigner::of(keyring, version) else {
            continue;
        };
        let public_key = signer.public_key();
        let endorsement = before.map(|before| before.endorse(public_key, since_ms));
        keys.push(PublishedKey {
            public_key,
            since_ms,
            endorsement,
        });
        before = Some(signer);
    }
    keys
}
