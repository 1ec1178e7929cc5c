//! What the client is sent. Names, types and required members are those that its decoder demands; it drops the whole
//! reply if one is missing or of another type.
//!
//! Integers are integers, moments are Unix milliseconds, and a member that may not be null never is. What the client
//! does not know it ignores, so that a reply can say more than the client demands: attributes and preferences that were
//! stored are shown, although it has no place for all of them.

mod dataset;
mod deleted_dataset;
mod organization;

pub(crate) use dataset::{Dataset, SimpleDataset};
pub(crate) use deleted_dataset::DeletedDataset;
use keyward_core::ids::{DatasetId, OrganizationId};
use keyward_http::site::Site;
pub(crate) use organization::{Collaborator, Organization};
use serde::Serialize;

/// A page of a list. Without `nextPage` it is the last one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_page: Option<String>,
}

/// An object without members, where the client demands an object.
#[derive(Debug, Serialize)]
struct Empty {}

/// The absolute address of an organization.
fn organization_link(site: &Site, organization: &OrganizationId) -> String {
    format!("{}/workspaces/{organization}", site.public_url)
}

/// The absolute address of a dataset, in the form that the client makes.
fn dataset_link(site: &Site, organization: &OrganizationId, dataset: &DatasetId) -> String {
    let organization_link = organization_link(site, organization);
    format!("{organization_link}/datasets/{organization}_{dataset}")
}

/// A strong entity tag (RFC 9110, section 8.8.3) that changes with the version.
fn etag(version: i64) -> String {
    format!("\"{version}\"")
}
