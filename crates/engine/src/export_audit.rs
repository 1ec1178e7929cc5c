//! Export a chain of the audit trail, page by page, and list it.
//!
//! That it is exported is an entry, written before the first line leaves: what can't be recorded does not happen. How far
//! the export reaches is settled then, so that entries written meanwhile are not in it and it comes to its end. Memory holds
//! one page, however long the chain is.

use keyward_core::audit::{CHAIN_START, Detail};
use keyward_core::audit_export::{ExportWriter, FORMAT, Header};
use keyward_core::checkpoint::SignedCheckpoint;
use keyward_core::hex::Hex;
use keyward_store::StoreError;
use keyward_store::audit::{AuditQuery, StoredEntry};
use keyward_store::audit_checkpoints::CheckpointPlace;

use crate::Engine;
use crate::context::Context;
use crate::error::EngineError;
use crate::show_keys::Page;

/// Entries of a page.
pub const PAGE: i64 = 500;

/// An export that is under way.
pub struct AuditExport {
    engine: Engine,
    chain: String,
    /// The last entry that was given out.
    after: i64,
    /// The last entry that belongs to it.
    until: i64,
    /// `None` once the last line was given out.
    writer: Option<ExportWriter>,
    first_line: Option<String>,
}

impl Engine {
    /// Begins the export of a chain from an entry on.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a chain that was never begun, [`EngineError::Conflict`] if it does not reach so far.
    pub async fn export_audit(
        &self,
        context: Context,
        chain: &str,
        from_sequence: i64,
    ) -> Result<AuditExport, EngineError> {
        let head = self.audit_head(chain).await?;
        if from_sequence < 1 || from_sequence > head.sequence.saturating_add(1) {
            return Err(EngineError::Conflict(format!(
                "the audit trail reaches from entry 1 to entry {}; there is none to begin with at {from_sequence}",
                head.sequence
            )));
        }
        let detail = Detail::new().fact("from_sequence", from_sequence);
        let until = self
            .record_audit_use(&context, chain, "audit.export", detail)
            .await?;
        let after = from_sequence.saturating_sub(1);
        let header = Header {
            keyward_audit_export: FORMAT,
            chain: chain.to_owned(),
            from_sequence,
            previous_hash: self.hash_of(chain, after).await?,
            exported_at_ms: self.now(),
            public_keys: self.audit_public_keys().await?,
        };
        let (writer, first_line) = ExportWriter::begin(&header);
        Ok(AuditExport {
            engine: self.clone(),
            chain: chain.to_owned(),
            after,
            until,
            writer: Some(writer),
            first_line: Some(first_line),
        })
    }

    async fn hash_of(&self, chain: &str, sequence: i64) -> Result<Hex<32>, EngineError> {
        if sequence == 0 {
            return Ok(Hex(CHAIN_START));
        }
        let found = self
            .inner
            .store
            .list_audit(chain, sequence.saturating_sub(1), 1)
            .await?;
        let entry = found.first().filter(|entry| entry.sequence == sequence);
        let entry = entry.ok_or_else(|| {
            EngineError::Conflict(format!(
                "entry {sequence} of the audit trail is missing; `keyward audit check` tells what else is"
            ))
        })?;
        Ok(entry.to_line()?.hash)
    }

    /// Entries of a chain, newest first, before a position.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a chain that was never begun.
    pub async fn list_audit(
        &self,
        chain: &str,
        query: &AuditQuery,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<StoredEntry>, EngineError> {
        self.audit_head(chain).await?;
        let before = before.unwrap_or(i64::MAX);
        let rows = self
            .inner
            .store
            .query_audit(chain, query, before, i64::from(limit) + 1)
            .await?;
        Ok(Page::cut(rows, limit, |entry| entry.sequence.to_string()))
    }

    /// Checkpoints of a chain in the order of their entries, after a position.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a chain that was never begun.
    pub async fn list_checkpoints(
        &self,
        chain: &str,
        after: CheckpointPlace<'_>,
        limit: u32,
    ) -> Result<Page<SignedCheckpoint>, EngineError> {
        self.audit_head(chain).await?;
        let rows = self
            .inner
            .store
            .list_checkpoints(chain, after, i64::from(limit) + 1)
            .await?;
        Ok(Page::cut(rows, limit, |one| {
            format!("{}.{}", one.sequence, one.public_key)
        }))
    }
}

impl AuditExport {
    /// The next lines, each with its end; `None` when all were given out.
    ///
    /// # Errors
    /// [`EngineError`]; the export has no last line then, and whoever checks it is told so.
    pub async fn next_lines(&mut self) -> Result<Option<String>, EngineError> {
        let Some(mut writer) = self.writer.take() else {
            return Ok(None);
        };
        let mut text = String::new();
        let mut add = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        if let Some(line) = self.first_line.take() {
            add(line);
        }
        let store = &self.engine.inner.store;
        let limit = PAGE.min(self.until.saturating_sub(self.after));
        let page = store.list_audit(&self.chain, self.after, limit).await?;
        let until = page
            .last()
            .map_or(self.until, |entry| entry.sequence.min(self.until));
        let checkpoints = checkpoints_between(&self.engine, &self.chain, self.after, until).await?;
        let mut checkpoints = checkpoints.into_iter().peekable();
        for entry in page.iter().filter(|entry| entry.sequence <= self.until) {
            add(writer.entry(&entry.to_line()?));
            while let Some(checkpoint) = checkpoints.next_if(|one| one.sequence <= entry.sequence) {
                add(writer.checkpoint(&checkpoint));
            }
        }
        for checkpoint in checkpoints {
            add(writer.checkpoint(&checkpoint));
        }
        self.after = until;
        if self.after >= self.until {
            add(writer.end(&self.engine.audit_signer()?));
        } else {
            self.writer = Some(writer);
        }
        Ok(Some(text))
    }
}

/// The checkpoints of the entries after one and up to another.
pub(crate) async fn checkpoints_between(
    engine: &Engine,
    chain: &str,
    after: i64,
    until: i64,
) -> Result<Vec<SignedCheckpoint>, StoreError> {
    let mut found: Vec<SignedCheckpoint> = Vec::new();
    loop {
        let last = found.last().map(|one| (one.sequence, one.public_key.to_string()));
        let place = match &last {
            None => CheckpointPlace::after(after),
            Some((sequence, public_key)) => CheckpointPlace {
                sequence: *sequence,
                public_key,
            },
        };
        let page = engine.inner.store.list_checkpoints(chain, place, PAGE).await?;
        let is_last = (page.len() as i64) < PAGE || page.iter().any(|one| one.sequence > until);
        found.extend(page.into_iter().filter(|one| one.sequence <= until));
        if is_last {
            return Ok(found);
        }
    }
}
