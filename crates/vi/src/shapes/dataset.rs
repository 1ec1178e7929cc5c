//! A dataset, whole and in a few words.

use std::collections::BTreeMap;

use keyward_http::site::Site;
use keyward_store::datasets;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Empty, dataset_link, etag};

/// A dataset.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dataset<'a> {
    /// Exactly `Dataset`, or the client does not decode the reply.
    kind: &'static str,
    workspace_id: &'a str,
    dataset_id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    owner: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    localization: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_localization: Option<&'a str>,
    create_date: i64,
    last_accessed: i64,
    status: i64,
    is_locked: bool,
    access: Access,
    statistic: Statistic,
    /// Roles in this dataset alone; nobody has one.
    users: Empty,
    tags: &'a BTreeMap<String, i64>,
    cohorts: [(); 0],
    preference: &'a Map<String, Value>,
    asset_statuses: Empty,
    metadata: Metadata<'a>,
    self_link: String,
    etag: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    is_public: bool,
    is_read_only: bool,
    is_hidden: bool,
}

/// Of assets, which are not built: none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistic {
    asset_total: i64,
    annotation_total: i64,
    asset_annotated: i64,
    tags_count: Empty,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    attributes: &'a BTreeMap<String, String>,
}

/// A dataset as a picker needs it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SimpleDataset<'a> {
    dataset_id: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
}

impl<'a> Dataset<'a> {
    pub(crate) fn of(site: &Site, dataset: &'a datasets::Dataset) -> Self {
        Self {
            kind: "Dataset",
            workspace_id: dataset.organization_id.as_str(),
            dataset_id: dataset.id.as_str(),
            name: &dataset.name,
            description: dataset.description.as_deref(),
            owner: &dataset.owner,
            type_name: &dataset.kind,
            content: &dataset.content,
            localization: dataset.localization.as_deref(),
            data_localization: dataset.data_localization.as_deref(),
            create_date: dataset.created_at.as_unix_ms(),
            // Reading is not recorded: it would be a write for every read.
            last_accessed: dataset.updated_at.as_unix_ms(),
            status: dataset.status,
            is_locked: false,
            access: Access {
                is_public: false,
                is_read_only: false,
                is_hidden: false,
            },
            statistic: Statistic {
                asset_total: 0,
                annotation_total: 0,
                asset_annotated: 0,
                tags_count: Empty {},
            },
            users: Empty {},
            tags: &dataset.tags,
            cohorts: [],
            preference: &dataset.preference,
            asset_statuses: Empty {},
            metadata: Metadata {
                attributes: &dataset.attributes,
            },
            self_link: dataset_link(site, &dataset.organization_id, &dataset.id),
            etag: etag(dataset.version),
        }
    }
}

impl<'a> SimpleDataset<'a> {
    pub(crate) fn of(dataset: &'a datasets::Dataset) -> Self {
        Self {
            dataset_id: dataset.id.as_str(),
            name: &dataset.name,
            type_name: &dataset.kind,
        }
    }
}
