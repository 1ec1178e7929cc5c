//! The organization and its people.

use std::collections::BTreeMap;

use keyward_core::decision::OrganizationState;
use keyward_core::ids::DatasetId;
use keyward_http::site::Site;
use keyward_store::members::Member;
use keyward_store::organizations;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Empty, etag, organization_link};

/// The organization.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Organization {
    kind: &'static str,
    workspace_id: String,
    name: String,
    last_access: i64,
    datasets: Vec<DatasetId>,
    billing: Billing,
    users: BTreeMap<String, User>,
    preference: Map<String, Value>,
    metadata: Metadata,
    features: Empty,
    lock_status: LockStatus,
    self_link: String,
    etag: String,
}

/// There is no billing here; the client demands its members all the same.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Billing {
    payer: &'static str,
    email: &'static str,
    subscriber_id: &'static str,
    tier: &'static str,
    ledger: [(); 0],
}

/// A member, by their id.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    workspace_role: String,
    /// Roles in single datasets; nobody has one.
    datasets: Empty,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    create_date: i64,
    is_public: bool,
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LockStatus {
    is_locked: bool,
}

/// A member in a list; the client has no type for it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Collaborator {
    user_id: String,
    email: String,
    workspace_role: String,
}

impl Organization {
    /// An organization with those of its datasets and members that may be shown.
    pub(crate) fn of(
        site: &Site,
        organization: organizations::Organization,
        datasets: Vec<DatasetId>,
        members: Vec<Member>,
    ) -> Self {
        let users = members.into_iter().map(|member| {
            let user = User {
                workspace_role: member.role.name().to_owned(),
                datasets: Empty {},
            };
            (member.person_id.to_string(), user)
        });
        Self {
            kind: "Workspace",
            workspace_id: organization.id.to_string(),
            last_access: organization.last_access_at.as_unix_ms(),
            datasets,
            billing: Billing::default(),
            users: users.collect(),
            preference: organization.preference,
            metadata: Metadata {
                create_date: organization.created_at.as_unix_ms(),
                is_public: false,
                attributes: organization.attributes,
            },
            features: Empty {},
            lock_status: LockStatus {
                is_locked: organization.state != OrganizationState::Open,
            },
            self_link: organization_link(site, &organization.id),
            etag: etag(organization.version),
            name: organization.name,
        }
    }
}

impl Collaborator {
    pub(crate) fn of(member: Member) -> Self {
        Self {
            user_id: member.person_id.to_string(),
            email: member.email,
            workspace_role: member.role.name().to_owned(),
        }
    }
}
