//! The URL that checkpoints of the audit trail are posted to, so that they are kept where nobody who can write the database
//! reaches.
//!
//! A request holds a line of JSON for each checkpoint; they are signed themselves, so that the request is not. What is
//! not answered with a 2xx counts as not kept, and comes again. The same addresses are called as for notices, and no
//! others.

use std::io;
use std::sync::Arc;

use http::{HeaderValue, header};
use keyward_core::checkpoint::SignedCheckpoint;
use keyward_core::contact::WebhookUrl;
use keyward_engine::checkpoint_audit::CheckpointSink;
use tokio::runtime::Handle;

use crate::delivery::webhook::WebhookClient;

/// An address that every checkpoint is posted to.
pub(crate) struct CheckpointUrl {
    pub(crate) url: WebhookUrl,
    pub(crate) client: WebhookClient,
    pub(crate) runtime: Handle,
}

impl CheckpointSink for CheckpointUrl {
    /// Waits for the answer; to be called where waiting is allowed.
    fn keep(&self, checkpoints: &[SignedCheckpoint]) -> io::Result<()> {
        let lines: Vec<String> = checkpoints
            .iter()
            .map(|checkpoint| checkpoint.to_line() + "\n")
            .collect();
        let headers = [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/jsonl"),
        )];
        let posted = self.client.post(&self.url, &headers, lines.concat().into_bytes());
        let answer = self.runtime.block_on(posted).map_err(io::Error::other)?;
        if answer.status.is_success() {
            Ok(())
        } else {
            let status = answer.status.as_u16();
            Err(io::Error::other(format!(
                "the address for checkpoints answered with {status}"
            )))
        }
    }
}

/// Several places, all of which have to keep a checkpoint.
pub(crate) struct Everywhere(pub(crate) Vec<Arc<dyn CheckpointSink>>);

impl CheckpointSink for Everywhere {
    fn keep(&self, checkpoints: &[SignedCheckpoint]) -> io::Result<()> {
        self.0.iter().try_for_each(|place| place.keep(checkpoints))
    }
}
