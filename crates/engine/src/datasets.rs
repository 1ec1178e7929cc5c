//! Datasets of the resource API: create, list, show, edit, delete.
//!
//! Every function takes the permit of its request. A write asks in its own transaction whether the key still allows it,
//! so that nothing commits for a key that ended while the request was under way.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward_core::access::Visible;
use keyward_core::audit::{Detail, Event};
use keyward_core::decision::{OrganizationClaim, OrganizationState, Purpose, Question, decide};
use keyward_core::field::FieldProblem;
use keyward_core::ids::{DatasetId, OrganizationId};
use keyward_core::operation::Operation;
use keyward_core::refusal::Refusal;
use keyward_core::resource::ResourceType;
use keyward_store::Tx;
use keyward_store::datasets::{Dataset, DatasetDeletion, DatasetFilter};
use serde_json::{Map, Value};
use tokio::sync::SemaphorePermit;

use crate::Engine;
use crate::changes::{map_change, personal, personal_change};
use crate::context::Context;
use crate::edit_organization::{merge_attributes, merge_preference};
use crate::error::EngineError;
use crate::permit::Permit;
use crate::sealing;
use crate::show_keys::Page;

/// What a new dataset is made from; checked by the API that took it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDataset {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// `phrase-grounding`, `vqa` or `freeform`.
    pub kind: String,
    /// `Image`.
    pub content: String,
    /// The owner, as the client named it.
    pub owner: String,
    /// The client's status number.
    pub status: i64,
    /// The client's localization.
    pub localization: Option<String>,
    /// The client's data localization.
    pub data_localization: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, i64>,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What is to be changed; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DatasetEdit {
    /// The name.
    pub name: Option<String>,
    /// The description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// Preferences that are added or replaced.
    pub preference: Option<Map<String, Value>>,
    /// Attributes that are added, replaced, or (with `None`) removed.
    pub attributes: BTreeMap<String, Option<String>>,
}

impl DatasetEdit {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Writes of the resource API that are in the database, or wait in front of it, at a time.
pub(crate) const RESOURCE_WRITES: usize = 8;
/// For how long a write of the resource API waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes of a dataset's tags, preferences and attributes together, as JSON.
pub const MAX_DATASET_BYTES: usize = 128 * 1024;

/// Refuses a dataset that has grown too large, by the field that is the largest.
fn check_size(dataset: &Dataset) -> Result<(), EngineError> {
    let sizes = [
        ("tags", json_bytes(&dataset.tags)),
        ("preference", json_bytes(&dataset.preference)),
        ("metadata.attributes", json_bytes(&dataset.attributes)),
    ];
    let sum: usize = sizes.iter().map(|(_, size)| size).sum();
    match sizes.iter().max_by_key(|(_, size)| size) {
        Some((field, _)) if sum > MAX_DATASET_BYTES => Err(EngineError::Invalid(vec![FieldProblem {
            field: (*field).to_owned(),
            message: format!(
                "tags, preferences and attributes of a dataset may have {MAX_DATASET_BYTES} bytes together, and would have {sum}"
            ),
        }])),
        _ => Ok(()),
    }
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    // What can't be written as JSON is as large as can be, and refused.
    serde_json::to_string(value).map_or(usize::MAX / 4, |text| text.len())
}

impl Engine {
    /// Creates a dataset with a new id; ids sort by the time of creation.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn create_dataset(
        &self,
        permit: &Permit,
        context: &Context,
        new: NewDataset,
    ) -> Result<Dataset, EngineError> {
        let now = self.now();
        let id: DatasetId = uuid::Uuid::now_v7()
            .to_string()
            .parse()
            .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))?;
        let dataset = Dataset {
            organization_id: permit.organization_id().clone(),
            id,
            version: 1,
            name: new.name,
            description: new.description,
            kind: new.kind,
            content: new.content,
            owner: new.owner,
            status: new.status,
            localization: new.localization,
            data_localization: new.data_localization,
            tags: new.tags,
            preference: Map::new(),
            attributes: new.attributes,
            created_by: permit.actor(),
            created_at: now,
            updated_at: now,
        };
        check_size(&dataset)?;
        let (mut tx, _turn) = self.begin_resource_write().await?;
        self.confirm_permit(&mut tx, permit).await?;
        tx.insert_dataset(&dataset).await?;
        let detail = personal(
            Detail::new().fact("type", dataset.kind.as_str()),
            "name",
            &dataset.name,
        )?;
        self.audit_dataset(&mut tx, permit, context, "dataset.create", &dataset.id, detail)
            .await?;
        tx.commit().await?;
        Ok(dataset)
    }

    /// Datasets that the permit's key may see, after a position, oldest first.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_datasets(
        &self,
        permit: &Permit,
        after: &str,
        limit: u32,
    ) -> Result<Page<Dataset>, EngineError> {
        let filter = filter_of(permit.visible(ResourceType::Dataset));
        let store = &self.inner.store;
        let listed = store.list_datasets(permit.organization_id(), &filter, after, limit);
        let (rows, has_more) = listed.await?;
        Ok(Page::of(rows, has_more, |dataset| dataset.id.to_string()))
    }

    /// Ids and names of an organization's datasets after an id, for members who choose among them. It asks for no key's permit:
    /// whoever calls it has checked that the member may manage keys.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_datasets_of(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: u32,
    ) -> Result<Page<(DatasetId, String)>, EngineError> {
        let listed = self
            .inner
            .store
            .list_dataset_names(organization, after, i64::from(limit) + 1);
        Ok(Page::cut(listed.await?, limit, |(id, _)| id.to_string()))
    }

    /// The first ids of those datasets that the permit's key may read, whatever the permit itself is for.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_readable_dataset_ids(
        &self,
        permit: &Permit,
        limit: u32,
    ) -> Result<Vec<DatasetId>, EngineError> {
        let access = permit.identity().access();
        let filter = filter_of(access.visible(Operation::DatasetRead, ResourceType::Dataset));
        let store = &self.inner.store;
        let ids = store.list_dataset_ids(permit.organization_id(), &filter, i64::from(limit));
        Ok(ids.await?)
    }

    /// One dataset.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn show_dataset(&self, permit: &Permit, id: &DatasetId) -> Result<Dataset, EngineError> {
        let found = self
            .inner
            .store
            .find_dataset(permit.organization_id(), id)
            .await?;
        found.ok_or(EngineError::NotFound("dataset"))
    }

    /// What is left of a deleted dataset.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if it was not deleted.
    pub async fn show_dataset_deletion(
        &self,
        permit: &Permit,
        id: &DatasetId,
    ) -> Result<DatasetDeletion, EngineError> {
        let found = self
            .inner
            .store
            .find_dataset_deletion(permit.organization_id(), id)
            .await?;
        found.ok_or(EngineError::NotFound("delete operation"))
    }

    /// Edits a dataset; an edit of nothing changes nothing, not even its version.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn edit_dataset(
        &self,
        permit: &Permit,
        context: &Context,
        id: &DatasetId,
        edit: DatasetEdit,
    ) -> Result<Dataset, EngineError> {
        if edit.is_empty() {
            return self.show_dataset(permit, id).await;
        }
        let (mut tx, _turn) = self.begin_resource_write().await?;
        self.confirm_permit(&mut tx, permit).await?;
        let found = tx.lock_dataset(permit.organization_id(), id).await?;
        let mut dataset = found.ok_or(EngineError::NotFound("dataset"))?;
        let mut detail = Detail::new();
        if let Some(name) = edit.name {
            detail = personal_change(detail, "name", &dataset.name, &name)?;
            dataset.name = name;
        }
        if let Some(description) = edit.description {
            let text = |description: &Option<String>| description.clone().unwrap_or_default();
            let (before, after) = (text(&dataset.description), text(&description));
            detail = personal_change(detail, "description", &before, &after)?;
            dataset.description = description;
        }
        if let Some(preference) = edit.preference {
            let before = dataset.preference.clone();
            merge_preference(&mut dataset.preference, preference)?;
            detail = map_change(detail, "preference", &before, &dataset.preference)?;
        }
        if !edit.attributes.is_empty() {
            let before = dataset.attributes.clone();
            merge_attributes(&mut dataset.attributes, edit.attributes)?;
            detail = map_change(detail, "attributes", &before, &dataset.attributes)?;
        }
        check_size(&dataset)?;
        dataset.updated_at = self.now();
        tx.update_dataset(&dataset).await?;
        self.audit_dataset(&mut tx, permit, context, "dataset.edit", id, detail)
            .await?;
        tx.commit().await?;
        dataset.version += 1;
        Ok(dataset)
    }

    /// Deletes a dataset for good; its id is never given again.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] also for one that was deleted before.
    pub async fn delete_dataset(
        &self,
        permit: &Permit,
        context: &Context,
        id: &DatasetId,
    ) -> Result<DatasetDeletion, EngineError> {
        let (mut tx, _turn) = self.begin_resource_write().await?;
        self.confirm_permit(&mut tx, permit).await?;
        let found = tx.lock_dataset(permit.organization_id(), id).await?;
        let dataset = found.ok_or(EngineError::NotFound("dataset"))?;
        let deletion = DatasetDeletion {
            dataset_id: id.clone(),
            deleted_by: context.actor.to_string(),
            deleted_at: self.now(),
            attributes: dataset.attributes,
        };
        tx.delete_dataset(permit.organization_id(), &deletion).await?;
        let detail = personal(
            Detail::new()
                .fact("type", dataset.kind.as_str())
                .fact("version", dataset.version),
            "name",
            &dataset.name,
        )?;
        self.audit_dataset(&mut tx, permit, context, "dataset.delete", id, detail)
            .await?;
        tx.commit().await?;
        Ok(deletion)
    }

    /// Begins a write of the resource API when it is its turn. So many wait in front of the database and no more, so that a key
    /// that writes without end can't keep anybody from ending it: writes of keys go past this queue.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if its turn does not come soon.
    pub(crate) async fn begin_resource_write(&self) -> Result<(Tx, SemaphorePermit<'_>), EngineError> {
        let turn = tokio::time::timeout(TURN_PATIENCE, self.inner.resource_writes.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(EngineError::Busy);
        };
        Ok((self.inner.store.begin().await?, turn))
    }

    async fn audit_dataset(
        &self,
        tx: &mut Tx,
        permit: &Permit,
        context: &Context,
        action: &'static str,
        id: &DatasetId,
        detail: Detail,
    ) -> Result<(), EngineError> {
        let event = Event {
            actor: context.actor.to_string(),
            action,
            target: format!("dataset/{id}"),
            request_id: context.request_id.to_string(),
            detail,
        };
        tx.append_audit(permit.organization_id().as_str(), &event, self.now())
            .await?;
        Ok(())
    }

    /// Asks once more, in the transaction that writes, whether the permit's key allows it; the answer stays true until
    /// the transaction ends.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if it does not any more.
    pub(crate) async fn confirm_permit(&self, tx: &mut Tx, permit: &Permit) -> Result<(), EngineError> {
        let record = &permit.identity.key.record;
        let id = record.id;
        // The organization first, as in every write that locks both.
        let standing = tx.hold_organization(&record.organization_id).await?;
        let (_, state) = standing.ok_or(EngineError::Refused(Refusal::StoreUnavailable))?;
        if tx.is_key_at(&record.organization_id, id, record.version).await? {
            return self.decide_again(permit, state);
        }
        let stored = tx.lock_key(&record.organization_id, id).await?;
        let stored = stored.ok_or(EngineError::Refused(Refusal::StoreUnavailable))?;
        let number = permit.identity.secret_number;
        let secret = stored.secrets.iter().find(|secret| secret.number == number);
        let secret = secret.ok_or(EngineError::Refused(Refusal::KeySuperseded))?;
        sealing::open_one(&self.keyring(), &stored.key.record, secret)
            .map_err(|refused| EngineError::Refused(self.alarm(id, refused)))?;
        let question = self.question_of(permit);
        decide(&stored.key.record, secret.life, state, &question).map_err(EngineError::Refused)
    }

    /// The same record at a later moment: it may have expired between.
    fn decide_again(&self, permit: &Permit, state: OrganizationState) -> Result<(), EngineError> {
        let key = &permit.identity.key;
        let number = permit.identity.secret_number;
        let life = key
            .secrets
            .iter()
            .find(|secret| secret.number == number)
            .map(|secret| secret.life);
        let life = life.ok_or(EngineError::Refused(Refusal::KeySuperseded))?;
        decide(&key.record, life, state, &self.question_of(permit)).map_err(EngineError::Refused)
    }

    fn question_of<'a>(&self, permit: &'a Permit) -> Question<'a> {
        let (now, earliest) = self.inner.time.moment();
        Question {
            // The claim was checked when the permit was made, and a key never changes its organization.
            claim: OrganizationClaim::NotAsked,
            purpose: Purpose::Perform {
                operation: permit.operation,
                resource: permit.resource.as_resource(),
            },
            address: permit.address,
            now,
            earliest,
        }
    }
}

fn filter_of(visible: Visible<'_>) -> DatasetFilter {
    match visible {
        Visible::All => DatasetFilter::All,
        Visible::Only(ids) => DatasetFilter::Only(ids.into_iter().map(ToString::to_string).collect()),
    }
}
