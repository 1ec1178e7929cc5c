//! What is left of a deleted dataset, in the form of an operation that has ended.

use std::collections::BTreeMap;

use keyward_core::ids::{DatasetId, OrganizationId};
use keyward_http::site::Site;
use keyward_store::datasets::DatasetDeletion;
use serde::Serialize;

use super::{dataset_link, etag};

/// The deletion of a dataset.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletedDataset {
    kind: &'static str,
    workspace_id: String,
    /// Without the organization: the client does not cut this one.
    dataset_id: DatasetId,
    user: String,
    metadata: Metadata,
    status: Status,
    self_link: String,
    etag: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    time_created: i64,
    last_updated: i64,
    generation: i64,
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Status {
    /// Newest first. Never empty: the client would wait for ever.
    conditions: [Condition; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    condition: &'static str,
    status: &'static str,
    last_transition_time: i64,
}

impl DeletedDataset {
    pub(crate) fn of(site: &Site, organization: &OrganizationId, deletion: DatasetDeletion) -> Self {
        let at = deletion.deleted_at.as_unix_ms();
        let reached = |condition| Condition {
            condition,
            status: "Reached",
            last_transition_time: at,
        };
        let link = dataset_link(site, organization, &deletion.dataset_id);
        Self {
            kind: "DeletedDataset",
            workspace_id: organization.to_string(),
            dataset_id: deletion.dataset_id,
            user: deletion.deleted_by,
            metadata: Metadata {
                time_created: at,
                last_updated: at,
                generation: 1,
                attributes: deletion.attributes,
            },
            status: Status {
                conditions: [reached("Finished"), reached("Started")],
            },
            self_link: format!("{link}/deleteOperation"),
            etag: etag(1),
        }
    }
}
