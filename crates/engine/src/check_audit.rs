//! Check a chain of the audit trail as it lies in the database: every hash, every link, every checkpoint, and the head.
//!
//! What it believes is the keyring, which the database's writers do not have: a checkpoint by a key of the keyring's proves
//! the entries before it. Keys of versions that were destroyed are taken from the database and only compared. Who rewrites
//! the chain, takes its checkpoints away and sets the head is not found here, but with a checkpoint that was kept elsewhere
//! (`keyward audit verify`).

use keyward_core::audit::CHAIN_START;
use keyward_core::audit_finding::{Finding, Findings};
use keyward_core::chain_check::{Belief, ChainCheck, ChainSummary};
use keyward_core::checkpoint::AuditSigner;
use keyward_store::StoreError;

use crate::Engine;
use crate::error::EngineError;
use crate::export_audit::{PAGE, checkpoints_between};

/// What a chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditChecked {
    /// The head that the database told when the check began.
    pub head: i64,
    /// The entries.
    pub summary: ChainSummary,
    /// What is not as it was written.
    pub findings: Findings,
}

impl Engine {
    /// Checks a chain, page by page. Entries that are written meanwhile are left for the next time.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a chain that was never begun.
    pub async fn check_audit(&self, chain: &str) -> Result<AuditChecked, EngineError> {
        let head = self.audit_head(chain).await?;
        let mut check = ChainCheck::after(chain, (0, CHAIN_START), self.own_belief().await?);
        let mut unreadable = Vec::new();
        let mut after = 0;
        loop {
            let limit = PAGE.min(head.sequence.saturating_sub(after));
            let page = match limit {
                ..=0 => Vec::new(),
                limit => self.inner.store.list_audit(chain, after, limit).await?,
            };
            let until = page
                .last()
                .map_or(head.sequence, |entry| entry.sequence.min(head.sequence));
            let checkpoints = match checkpoints_between(self, chain, after, until).await {
                Err(StoreError::Unreadable { what }) => {
                    unreadable.push(format!(
                        "a row of the entries {} to {until}: {what}",
                        after.saturating_add(1)
                    ));
                    Vec::new()
                }
                other => other?,
            };
            let mut checkpoints = checkpoints.into_iter().peekable();
            for entry in page.iter().filter(|entry| entry.sequence <= head.sequence) {
                match entry.to_line() {
                    Ok(line) => check.entry(&line),
                    Err(error) => unreadable.push(format!("entry {}: {error}", entry.sequence)),
                }
                while let Some(checkpoint) = checkpoints.next_if(|one| one.sequence <= entry.sequence) {
                    check.checkpoint(&checkpoint);
                }
            }
            checkpoints.for_each(|checkpoint| check.checkpoint(&checkpoint));
            after = until;
            if after >= head.sequence {
                break;
            }
        }
        self.check_furthest(chain, head.sequence, &mut check).await?;
        let (last, hash) = check.last();
        let (summary, mut findings) = check.finish(head.sequence);
        if last == head.sequence && hash != head.hash.0 {
            findings.add(Finding::HeadDiffers {
                last,
                head: head.sequence,
            });
        }
        for why in unreadable {
            findings.add(Finding::UnreadableRow { why });
        }
        if !findings.is_empty() {
            tracing::error!(
                chain,
                findings = findings.told.len() as u64 + findings.more,
                "ALARM: the audit trail is not as it was written: the database was changed by other means"
            );
            self.inner.metrics.alarms.increment(1);
        }
        let head = head.sequence;
        Ok(AuditChecked {
            head,
            summary,
            findings,
        })
    }

    /// A checkpoint of an entry that the chain does not reach: it was cut off, and its head set back.
    async fn check_furthest(
        &self,
        chain: &str,
        head: i64,
        check: &mut ChainCheck,
    ) -> Result<(), EngineError> {
        let Ok(Some(furthest)) = self.inner.store.find_last_checkpoint(chain).await else {
            // One that can't be read was told of where it lies, or lies beyond the head and proves nothing.
            return Ok(());
        };
        // Asked after it: what was written meanwhile has moved the head on.
        if furthest.sequence > head && furthest.sequence > self.audit_head(chain).await?.sequence {
            check.checkpoint(&furthest);
        }
        Ok(())
    }

    async fn own_belief(&self) -> Result<Belief, EngineError> {
        let keyring = self.keyring();
        let versions = keyring.summary().versions.into_iter();
        let own = versions.filter_map(|(version, _)| AuditSigner::of(&keyring, version));
        let published = self.inner.store.list_audit_public_keys().await?;
        Ok(Belief {
            keys: Some(own.map(|signer| signer.public_key()).collect()),
            also: published.into_iter().map(|key| key.public_key).collect(),
        })
    }
}
