//! Datasets of the resource API, and what is left of deleted ones.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use keyward_core::ids::{DatasetId, OrganizationId};
use keyward_core::record::Actor;
use keyward_core::time::Timestamp;
use sqlx::{AssertSqlSafe, QueryBuilder};

use crate::backend::{Store, Tx};
use crate::error::StoreError;

const COLUMNS: &str = "organization_id, id, version, name, description, kind, content, owner, status, localization, \
    data_localization, tags, preference, attributes, created_by, created_at, updated_at";
const INSERT: &str = "INSERT INTO dataset (organization_id, id, version, name, description, kind, content, owner, \
    status, localization, data_localization, tags, preference, attributes, created_by, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
const UPDATE: &str = "UPDATE dataset SET version = version + 1, name = $4, description = $5, preference = $6, \
    attributes = $7, updated_at = $8 WHERE organization_id = $1 AND id = $2 AND version = $3";
const DELETE: &str = "DELETE FROM dataset WHERE organization_id = $1 AND id = $2";
const INSERT_DELETION: &str = "INSERT INTO dataset_deletion \
    (organization_id, dataset_id, deleted_by, deleted_at, attributes) VALUES ($1, $2, $3, $4, $5)";
const LIST_NAMES: &str =
    "SELECT id, name FROM dataset WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const FIND_DELETION: &str = "SELECT dataset_id, deleted_by, deleted_at, attributes FROM dataset_deletion \
    WHERE organization_id = $1 AND dataset_id = $2";

/// A dataset as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id within the organization.
    pub id: DatasetId,
    /// Raised with every change; the wire's `generation`.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// `phrase-grounding`, `vqa` or `freeform`.
    pub kind: String,
    /// `Image`.
    pub content: String,
    /// Its owner as the client named it.
    pub owner: String,
    /// The client's status number.
    pub status: i64,
    /// The client's localization, if it sent one.
    pub localization: Option<String>,
    /// The client's data localization, if it sent one.
    pub data_localization: Option<String>,
    /// Tags and their counts.
    pub tags: BTreeMap<String, i64>,
    /// Preferences (texts and booleans).
    pub preference: serde_json::Map<String, serde_json::Value>,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
    /// Who made it.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What is left of a deleted dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetDeletion {
    /// Its id; never given again.
    pub dataset_id: DatasetId,
    /// Who deleted it.
    pub deleted_by: String,
    /// When.
    pub deleted_at: Timestamp,
    /// The attributes it had.
    pub attributes: BTreeMap<String, String>,
}

/// A page holds no more than this of texts, so that large datasets make short pages and not large ones.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// Which datasets of an organization a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetFilter {
    /// All.
    All,
    /// Those with these ids.
    Only(Vec<String>),
}

impl DatasetFilter {
    /// Whether no dataset passes; an empty list is not valid SQL.
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Only(ids) if ids.is_empty())
    }
}

/// Goes on with the conditions of a list after `organization_id = `; a macro, because the builder's type is the
/// database's.
macro_rules! push_filtered {
    ($query:ident, $organization:expr, $filter:expr, $after:expr) => {
        $query
            .push_bind($organization.as_str())
            .push(" AND id > ")
            .push_bind($after);
        if let DatasetFilter::Only(ids) = $filter {
            $query.push(" AND id IN (");
            let mut list = $query.separated(", ");
            for id in ids {
                list.push_bind(id);
            }
            $query.push(")");
        }
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: String,
    id: String,
    version: i64,
    name: String,
    description: Option<String>,
    kind: String,
    content: String,
    owner: String,
    status: i64,
    localization: Option<String>,
    data_localization: Option<String>,
    tags: String,
    preference: String,
    attributes: String,
    created_by: String,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    /// About what it takes in memory: its texts of variable length.
    fn bytes(&self) -> usize {
        self.name.len()
            + self.description.as_ref().map_or(0, String::len)
            + self.tags.len()
            + self.preference.len()
            + self.attributes.len()
    }
}

impl TryFrom<Row> for Dataset {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Unreadable { what: "dataset" };
        Ok(Self {
            organization_id: row.organization_id.parse().map_err(|_| unreadable())?,
            id: row.id.parse().map_err(|_| unreadable())?,
            version: row.version,
            name: row.name,
            description: row.description,
            kind: row.kind,
            content: row.content,
            owner: row.owner,
            status: row.status,
            localization: row.localization,
            data_localization: row.data_localization,
            tags: serde_json::from_str(&row.tags).map_err(|_| unreadable())?,
            preference: serde_json::from_str(&row.preference).map_err(|_| unreadable())?,
            attributes: serde_json::from_str(&row.attributes).map_err(|_| unreadable())?,
            created_by: row.created_by.parse().map_err(|_| unreadable())?,
            created_at: Timestamp::from_unix_ms(row.created_at),
            updated_at: Timestamp::from_unix_ms(row.updated_at),
        })
    }
}

impl Store {
    /// One dataset.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_dataset(
        &self,
        organization: &OrganizationId,
        id: &DatasetId,
    ) -> Result<Option<Dataset>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM dataset WHERE organization_id = $1 AND id = $2");
        let row = on_read!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        row.map(Dataset::try_from).transpose()
    }

    /// At most `limit` datasets after an id, in the order of their ids (which is the order of their creation); fewer where
    /// they are large, but at least one. Whether there are more is said beside them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_datasets(
        &self,
        organization: &OrganizationId,
        filter: &DatasetFilter,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Dataset>, bool), StoreError> {
        if filter.is_nothing() {
            return Ok((Vec::new(), false));
        }
        on_read!(self, on => {
            let mut query = QueryBuilder::new(format!("SELECT {COLUMNS} FROM dataset WHERE organization_id = "));
            push_filtered!(query, organization, filter, after);
            query.push(" ORDER BY id LIMIT ").push_bind(i64::from(limit) + 1);
            let mut rows = query.build_query_as::<Row>().fetch(on);
            let mut datasets = Vec::new();
            let mut bytes = 0;
            while let Some(row) = rows.next().await {
                let row = row?;
                bytes += row.bytes();
                let is_full = datasets.len() >= limit as usize || bytes > MAX_PAGE_BYTES;
                if is_full && !datasets.is_empty() {
                    return Ok((datasets, true));
                }
                datasets.push(Dataset::try_from(row)?);
            }
            Ok((datasets, false))
        })
    }

    /// The first ids of an organization's datasets, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_dataset_ids(
        &self,
        organization: &OrganizationId,
        filter: &DatasetFilter,
        limit: i64,
    ) -> Result<Vec<DatasetId>, StoreError> {
        if filter.is_nothing() {
            return Ok(Vec::new());
        }
        let ids = on_read!(self, on => {
            let mut query = QueryBuilder::new("SELECT id FROM dataset WHERE organization_id = ");
            push_filtered!(query, organization, filter, "");
            query.push(" ORDER BY id LIMIT ").push_bind(limit);
            query.build_query_scalar::<String>().fetch_all(on).await
        })?;
        let read = |id: String| id.parse().map_err(|_| StoreError::Unreadable { what: "dataset" });
        ids.into_iter().map(read).collect()
    }

    /// Ids and names of an organization's datasets after an id, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_dataset_names(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(DatasetId, String)>, StoreError> {
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, String)>(LIST_NAMES)
            .bind(organization.as_str()).bind(after).bind(limit).fetch_all(on).await)?;
        let unreadable = || StoreError::Unreadable { what: "dataset" };
        let read = |(id, name): (String, String)| Ok((id.parse().map_err(|_| unreadable())?, name));
        rows.into_iter().map(read).collect()
    }

    /// What is left of a deleted dataset.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_dataset_deletion(
        &self,
        organization: &OrganizationId,
        id: &DatasetId,
    ) -> Result<Option<DatasetDeletion>, StoreError> {
        let row = on_read!(self, on => sqlx::query_as::<_, (String, String, i64, String)>(FIND_DELETION)
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        row.map(|(dataset_id, deleted_by, deleted_at, attributes)| {
            let unreadable = || StoreError::Unreadable {
                what: "dataset deletion",
            };
            Ok(DatasetDeletion {
                dataset_id: dataset_id.parse().map_err(|_| unreadable())?,
                deleted_by,
                deleted_at: Timestamp::from_unix_ms(deleted_at),
                attributes: serde_json::from_str(&attributes).map_err(|_| unreadable())?,
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Inserts a dataset.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the id is taken.
    pub async fn insert_dataset(&mut self, dataset: &Dataset) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(INSERT)
            .bind(dataset.organization_id.as_str())
            .bind(dataset.id.as_str())
            .bind(dataset.version)
            .bind(&dataset.name)
            .bind(&dataset.description)
            .bind(&dataset.kind)
            .bind(&dataset.content)
            .bind(&dataset.owner)
            .bind(dataset.status)
            .bind(&dataset.localization)
            .bind(&dataset.data_localization)
            .bind(json(&dataset.tags))
            .bind(json(&dataset.preference))
            .bind(json(&dataset.attributes))
            .bind(dataset.created_by.to_string())
            .bind(dataset.created_at.as_unix_ms())
            .bind(dataset.updated_at.as_unix_ms())
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }

    /// One dataset, its row locked until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lock_dataset(
        &mut self,
        organization: &OrganizationId,
        id: &DatasetId,
    ) -> Result<Option<Dataset>, StoreError> {
        let sql = format!(
            "UPDATE dataset SET version = version WHERE organization_id = $1 AND id = $2 RETURNING {COLUMNS}"
        );
        let row = in_tx!(self, on => sqlx::query_as::<_, Row>(AssertSqlSafe(sql))
            .bind(organization.as_str()).bind(id.as_str()).fetch_optional(on).await)?;
        row.map(Dataset::try_from).transpose()
    }

    /// Writes the changeable fields of a dataset that was locked at `dataset.version`, and raises the version.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it was not at that version although its row was locked.
    pub async fn update_dataset(&mut self, dataset: &Dataset) -> Result<(), StoreError> {
        let changed = in_tx!(self, on => sqlx::query(UPDATE)
            .bind(dataset.organization_id.as_str())
            .bind(dataset.id.as_str())
            .bind(dataset.version)
            .bind(&dataset.name)
            .bind(&dataset.description)
            .bind(json(&dataset.preference))
            .bind(json(&dataset.attributes))
            .bind(dataset.updated_at.as_unix_ms())
            .execute(on)
            .await
            .map(|done| done.rows_affected()))?;
        if changed == 1 {
            Ok(())
        } else {
            Err(StoreError::Unreadable {
                what: "version of a locked dataset",
            })
        }
    }

    /// Removes a dataset and notes that its id was used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_dataset(
        &mut self,
        organization: &OrganizationId,
        deletion: &DatasetDeletion,
    ) -> Result<(), StoreError> {
        in_tx!(self, on => sqlx::query(DELETE)
            .bind(organization.as_str()).bind(deletion.dataset_id.as_str()).execute(on).await.map(drop))?;
        in_tx!(self, on => sqlx::query(INSERT_DELETION)
            .bind(organization.as_str())
            .bind(deletion.dataset_id.as_str())
            .bind(&deletion.deleted_by)
            .bind(deletion.deleted_at.as_unix_ms())
            .bind(json(&deletion.attributes))
            .execute(on)
            .await
            .map(drop))?;
        Ok(())
    }
}

fn json(value: &impl serde::Serialize) -> String {
    // Maps with text keys always serialise; an empty text would be refused as unreadable when read.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place};
    use keyward_testkit::on_both_databases;

    use super::*;

    async fn lists_use_the_primary_key(kind: Kind) {
        let place = Place::new(kind);
        place.store().await.close().await;
        let sql = format!(
            "SELECT {COLUMNS} FROM dataset WHERE organization_id = 'org' AND id > '0' ORDER BY id LIMIT 10"
        );
        let plan = match kind {
            Kind::Sqlite => place.texts(&[&format!("EXPLAIN QUERY PLAN {sql}")]).await,
            Kind::Postgres => {
                place
                    .texts(&["SET enable_seqscan = off", &format!("EXPLAIN {sql}")])
                    .await
            }
        }
        .join("\n");
        assert!(
            plan.contains("dataset_pkey") || plan.contains("(organization_id=? AND id>?)"),
            "{plan}"
        );
        assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    on_both_databases!(lists_use_the_primary_key);
}
