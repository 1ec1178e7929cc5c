//! Erase personal values from the audit trail: names, e-mail and network addresses that lie beside the chain.
//!
//! The chain holds commitments to them, made with a salt that goes with the value, so it stays whole and says no more. An
//! erasure is an entry itself, in the same transaction, and tells how many values went, never which. Backups and exports
//! that were made before still hold them; that is for whoever keeps those.

use std::collections::BTreeMap;

use keyward_core::audit::{Detail, Personal};
use keyward_store::audit::StoredEntry;

use crate::Engine;
use crate::checkpoint_audit::audit_event;
use crate::context::Context;
use crate::error::EngineError;

/// Entries that are looked at together, and whose values go in one transaction.
const STEP: i64 = 500;

/// Which values are erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasure {
    /// This value, wherever it is: an e-mail address, a name. Capitals make no difference.
    Value(String),
    /// Those of every entry about this target: `person/...`, `key/...`.
    Target(String),
    /// Those of one entry.
    Entry(i64),
}

impl Erasure {
    const fn name(&self) -> &'static str {
        match self {
            Self::Value(_) => "value",
            Self::Target(_) => "target",
            Self::Entry(_) => "entry",
        }
    }

    fn means(&self, entry: &StoredEntry, value: &Personal) -> bool {
        match self {
            Self::Value(wanted) => value.value.to_lowercase() == wanted.to_lowercase(),
            Self::Target(wanted) => entry.target == *wanted,
            Self::Entry(wanted) => entry.sequence == *wanted,
        }
    }
}

/// What an erasure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Values that are gone.
    pub values: u64,
    /// Entries that they were of.
    pub entries: u64,
}

impl Engine {
    /// Erases personal values of a chain. Asked again, it finds none.
    ///
    /// # Errors
    /// [`EngineError`]; what was erased stays so, and asking again goes on.
    pub async fn erase_personal(
        &self,
        context: Context,
        chain: String,
        erasure: Erasure,
    ) -> Result<Erased, EngineError> {
        let engine = self.clone();
        // A client that goes away leaves no erasure half done.
        let running = self.run_to_its_end(async move { engine.erase(&context, &chain, &erasure).await });
        running.await.map_err(|_| EngineError::OutcomeUnknown)?
    }

    async fn erase(&self, context: &Context, chain: &str, erasure: &Erasure) -> Result<Erased, EngineError> {
        let head = self.audit_head(chain).await?.sequence;
        let mut done = Erased::default();
        let (mut after, until) = match erasure {
            Erasure::Entry(sequence) => (sequence.saturating_sub(1), head.min(*sequence)),
            Erasure::Value(_) | Erasure::Target(_) => (0, head),
        };
        while after < until {
            let limit = STEP.min(until.saturating_sub(after));
            let page = self.inner.store.list_audit(chain, after, limit).await?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            let step = self.erase_of(context, chain, erasure, &page).await?;
            done.values += step.values;
            done.entries += step.entries;
        }
        Ok(done)
    }

    async fn erase_of(
        &self,
        context: &Context,
        chain: &str,
        erasure: &Erasure,
        page: &[StoredEntry],
    ) -> Result<Erased, EngineError> {
        let mut step = Erased::default();
        let changed: Vec<_> = page.iter().filter_map(|entry| left_of(entry, erasure)).collect();
        if changed.is_empty() {
            return Ok(step);
        }
        let mut tx = self.inner.store.begin().await?;
        for (entry, left, values) in changed {
            // One that somebody else changed meanwhile was changed by an erasure; the next call sees what is left.
            if tx.replace_personal(entry, &left).await? {
                step.values += values;
                step.entries += 1;
            }
        }
        let detail = Detail::new()
            .fact("by", erasure.name())
            .fact("values", step.values)
            .fact("entries", step.entries);
        let detail = match erasure {
            Erasure::Value(_) => detail,
            Erasure::Target(target) => detail.fact("of", target.as_str()),
            Erasure::Entry(sequence) => detail.fact("of", *sequence),
        };
        let event = audit_event(context, chain, "audit.erase", detail);
        tx.append_audit(chain, &event, self.now()).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(step)
    }
}

/// What is left beside an entry, as text, and how many values go; `None` if none does.
fn left_of<'a>(entry: &'a StoredEntry, erasure: &Erasure) -> Option<(&'a StoredEntry, String, u64)> {
    let Ok(mut personal) = serde_json::from_str::<BTreeMap<String, Personal>>(&entry.personal) else {
        // It was changed by other means, which the check tells; whoever wants it gone by its entry or target gets that.
        let is_meant = match erasure {
            Erasure::Value(_) => false,
            Erasure::Target(target) => entry.target == *target,
            Erasure::Entry(sequence) => entry.sequence == *sequence,
        };
        return is_meant.then(|| (entry, "{}".to_owned(), 1));
    };
    let before = personal.len();
    personal.retain(|_, value| !erasure.means(entry, value));
    let gone = before - personal.len();
    let left = serde_json::to_string(&personal).unwrap_or_else(|_| "{}".to_owned());
    (gone > 0).then_some((entry, left, gone as u64))
}
