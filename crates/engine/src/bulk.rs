//! Many keys at once: first a dry run that shows exactly what would happen, then the run that does that and nothing else.
//!
//! A dry run leaves a token. The real run takes it, once; what appeared, changed or fell out of the filter since is left out and
//! named. It goes in chunks, each of one transaction and true when it was confirmed; if a chunk fails, what came before it stays
//! done and is told.

use std::collections::{HashMap, HashSet};

use keyward_core::audit::Event;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::random::fill_base36;
use keyward_core::record::{Key, ShownState};
use keyward_core::secret::{BulkTokenKind, Secret};
use keyward_core::state::{DeleteReason, KeyState, PauseReason};
use keyward_core::time::{MINUTE_MS, Timestamp};
use keyward_store::StoreError;
use keyward_store::bulk::StoredPreview;
use keyward_store::key_list::{KeyQuery, Place};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Engine;
use crate::changes::filter_detail;
use crate::clock::SystemRandom;
use crate::confirmations::all_survive;
use crate::context::Context;
use crate::delete_key::deletion;
use crate::error::EngineError;
use crate::key_write::{BrokenSeals, Plan, Written};
use crate::keys_write::CHUNK;
use crate::resume_key::state_change;
use crate::standing::confirm_key_writer;

/// Most keys of one bulk operation.
pub const MAX_BULK: usize = 10_000;
/// For how long a dry run can be carried out.
pub const PREVIEW_LIFE_MS: i64 = 15 * MINUTE_MS;

/// What is to be done with many keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAction {
    /// End them for good.
    Delete(DeleteReason),
    /// Pause them.
    Pause,
}

/// What a dry run shows.
#[derive(Debug)]
pub struct BulkPreview {
    /// To be sent with the real run.
    pub token: Secret<BulkTokenKind>,
    /// Until when.
    pub token_ends_at: Timestamp,
    /// The keys that it would happen to.
    pub keys: Vec<Key>,
}

/// Why a key was left out of the real run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// It fits the filter now and did not when the dry run was made.
    Appeared,
    /// It was changed since, or used so that it does not fit any more.
    Changed,
    /// It does not exist any more, or ended.
    Ended,
    /// Its seals do not open: it can be deleted, and nothing else.
    Broken,
}

impl LeftOut {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Changed => "changed",
            Self::Ended => "ended",
            Self::Broken => "broken",
        }
    }
}

/// What the real run did.
#[derive(Debug)]
pub struct BulkOutcome {
    /// What.
    pub action: BulkAction,
    /// The keys that it was done to, each confirmed.
    pub done: Vec<Written>,
    /// The keys that it was not done to, and why.
    pub left_out: Vec<(KeyId, LeftOut)>,
    /// What stopped it before its end; what is not in `done` was not changed, unless its outcome is not known.
    pub stopped_by: Option<EngineError>,
}

impl BulkOutcome {
    /// Whether all of it is on a standby too; `None` if nothing was done, and on SQLite.
    pub fn survives_failover(&self) -> Option<bool> {
        let each = self.done.iter().map(|written| written.known.survives_failover);
        each.fold(None, all_survive)
    }
}

#[derive(Serialize, Deserialize)]
struct Request {
    action: String,
    reason: Option<String>,
    filter: KeyFilter,
}

impl Engine {
    /// Shows what `action` would do to the keys that `filter` means.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] if there are more than [`MAX_BULK`].
    pub async fn preview_bulk(
        &self,
        context: &Context,
        organization: &OrganizationId,
        (action, filter): (BulkAction, KeyFilter),
    ) -> Result<BulkPreview, EngineError> {
        self.show_organization(organization).await?;
        if filter.unused_since.is_some() {
            // A key that was used a moment ago must not be shown as one that can go.
            self.settle_usage().await?;
        }
        let now = self.now();
        let keys = self.meant(organization, action, &filter, now).await?;
        let mut drawn = [0_u8; 40];
        fill_base36(&mut SystemRandom, &mut drawn)?;
        let token = Secret::new(String::from_utf8_lossy(&drawn).into_owned());
        let items: Vec<(KeyId, i64)> = keys
            .iter()
            .map(|key| (key.record.id, key.record.version))
            .collect();
        let preview = StoredPreview {
            request: json(&Request {
                action: action.name().to_owned(),
                reason: action.reason().map(|reason| reason.name().to_owned()),
                filter,
            })?,
            items: json(&items)?,
            created_at: now,
        };
        let principal = context.actor.to_string();
        self.inner
            .store
            .insert_preview(organization, (&digest_of(token.reveal()), &principal), &preview)
            .await?;
        Ok(BulkPreview {
            token,
            token_ends_at: now.plus_ms(PREVIEW_LIFE_MS),
            keys,
        })
    }

    /// Carries out what a dry run showed.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] if the token is none of this caller's, or its time is over.
    pub async fn run_bulk(
        &self,
        context: Context,
        organization: OrganizationId,
        token: &str,
    ) -> Result<BulkOutcome, EngineError> {
        self.run_bulk_as(context, organization, (token, None)).await
    }

    /// As [`Engine::run_bulk`], and a deletion is for this reason instead of the one that the dry run was made with: what a dry
    /// run shows does not depend on it, so people may choose it when they have seen that.
    ///
    /// # Errors
    /// As [`Engine::run_bulk`].
    pub async fn run_bulk_as(
        &self,
        context: Context,
        organization: OrganizationId,
        (token, reason): (&str, Option<DeleteReason>),
    ) -> Result<BulkOutcome, EngineError> {
        let now = self.now();
        let principal = context.actor.to_string();
        let mut tx = self.inner.store.begin().await?;
        confirm_key_writer(&mut tx, &organization, &context.actor).await?;
        let found = tx
            .take_preview(&organization, (&digest_of(token), &principal))
            .await?;
        let Some(preview) = found.filter(|preview| now < preview.created_at.plus_ms(PREVIEW_LIFE_MS)) else {
            // Whoever comes too late has taken it all the same.
            tx.commit().await?;
            return Err(EngineError::Conflict(
                "the token belongs to no dry run of yours that is still open: it is good once and for 15 minutes; make \
                 the dry run again and look at what it shows"
                    .to_owned(),
            ));
        };
        let request: Request = read(&preview.request)?;
        let items: Vec<(KeyId, i64)> = read(&preview.items)?;
        let action = match (BulkAction::of(&request).ok_or(unreadable())?, reason) {
            (BulkAction::Delete(_), Some(reason)) => BulkAction::Delete(reason),
            (action, _) => action,
        };
        // Told once what was meant, with what takes the token; each key has an entry of its own.
        let event = Event {
            actor: principal,
            action: "keys.bulk",
            target: format!("organization/{organization}"),
            request_id: context.request_id.to_string(),
            detail: filter_detail(&request.filter)?
                .fact("does", action.name())
                .fact("reason", action.reason().map(DeleteReason::name))
                .fact("shown", items.len()),
        };
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        let engine = self.clone();
        // A caller that goes away half-way leaves no half that nobody looked at.
        let running = self.run_to_its_end(async move {
            let mut outcome = engine
                .run_items(context, organization, (action, request.filter), items)
                .await?;
            // A key that was left out may have been ended or paused by a request that was not answered.
            let was_found_so = |why: &LeftOut| matches!(why, LeftOut::Ended | LeftOut::Changed);
            if outcome.left_out.iter().any(|(_, why)| was_found_so(why))
                && let Err(error) = engine.confirm_found().await
            {
                outcome.stopped_by.get_or_insert(error);
            }
            Ok(outcome)
        });
        running.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn run_items(
        &self,
        context: Context,
        organization: OrganizationId,
        (action, filter): (BulkAction, KeyFilter),
        items: Vec<(KeyId, i64)>,
    ) -> Result<BulkOutcome, EngineError> {
        let meant_now = self.meant_ids(&organization, action, &filter).await?;
        let mut outcome = BulkOutcome {
            action,
            done: Vec::new(),
            left_out: Vec::new(),
            stopped_by: None,
        };
        let shown: HashSet<KeyId> = items.iter().map(|(id, _)| *id).collect();
        let mut appeared: Vec<KeyId> = meant_now.difference(&shown).copied().collect();
        appeared.sort_unstable();
        outcome
            .left_out
            .extend(appeared.into_iter().map(|id| (id, LeftOut::Appeared)));
        let (fitting, fallen): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|(id, _)| meant_now.contains(id));
        for (id, _) in fallen {
            let why = match self.show_key(&organization, id).await {
                Ok(key) if key.record.state.is_deleted() => LeftOut::Ended,
                Ok(_) => LeftOut::Changed,
                Err(EngineError::NotFound(_)) => LeftOut::Ended,
                Err(error) => return Err(error),
            };
            outcome.left_out.push((id, why));
        }
        for chunk in fitting.chunks(CHUNK) {
            let versions: HashMap<KeyId, i64> = chunk.iter().copied().collect();
            let ids = versions.keys().copied().collect();
            let plan = move |stored: &keyward_store::keys::StoredKey, _, now| {
                let record = &stored.key.record;
                if record.state.is_deleted() {
                    return Plan::Refuse(EngineError::NotFound("secret key"));
                }
                if versions.get(&record.id) != Some(&record.version) {
                    return Plan::Refuse(EngineError::Stale {
                        current_version: record.version,
                    });
                }
                action.plan(stored, now)
            };
            let written = self
                .write_keys(
                    context.clone(),
                    organization.clone(),
                    (ids, action.broken_seals()),
                    Box::new(plan),
                )
                .await;
            let written = match written {
                Ok(written) => written,
                Err(error) => {
                    outcome.stopped_by = Some(error);
                    break;
                }
            };
            for (id, one) in written {
                match one {
                    Ok(written) => outcome.done.push(written),
                    Err(EngineError::Stale { .. }) => outcome.left_out.push((id, LeftOut::Changed)),
                    Err(EngineError::SealBroken) => outcome.left_out.push((id, LeftOut::Broken)),
                    Err(_) => outcome.left_out.push((id, LeftOut::Ended)),
                }
            }
        }
        Ok(outcome)
    }

    /// The keys that an action would do something to, unless there are more than can be shown.
    async fn meant(
        &self,
        organization: &OrganizationId,
        action: BulkAction,
        filter: &KeyFilter,
        now: Timestamp,
    ) -> Result<Vec<Key>, EngineError> {
        let mut keys = Vec::new();
        let Some(filter) = action.narrowed(filter) else {
            return Ok(keys);
        };
        let mut after: Option<Place> = None;
        loop {
            let query = chunk_of(&filter, after.as_ref(), now);
            let page = self.inner.store.query_keys(organization, &query).await?;
            let count = page.len();
            after = page.last().map(|placed| placed.place.clone());
            keys.extend(page.into_iter().map(|placed| placed.key));
            if keys.len() > MAX_BULK {
                return Err(EngineError::Invalid(vec![keyward_core::field::FieldProblem {
                    field: "filter".to_owned(),
                    message: format!(
                        "means more than {MAX_BULK} keys; narrow it, and do the rest afterwards"
                    ),
                }]));
            }
            if count < CHUNK {
                return Ok(keys);
            }
        }
    }

    /// Which keys an action would do something to, however many: what is not shown is only named.
    async fn meant_ids(
        &self,
        organization: &OrganizationId,
        action: BulkAction,
        filter: &KeyFilter,
    ) -> Result<HashSet<KeyId>, EngineError> {
        let mut ids = HashSet::new();
        let Some(filter) = action.narrowed(filter) else {
            return Ok(ids);
        };
        let mut after: Option<Place> = None;
        loop {
            let query = chunk_of(&filter, after.as_ref(), self.now());
            let page = self.inner.store.query_key_places(organization, &query).await?;
            let count = page.len();
            ids.extend(page.iter().map(|place| place.id));
            after = page.into_iter().last();
            if count < CHUNK {
                return Ok(ids);
            }
        }
    }
}

const fn chunk_of<'a>(filter: &'a KeyFilter, after: Option<&'a Place>, now: Timestamp) -> KeyQuery<'a> {
    KeyQuery {
        filter,
        sort: KeySort::Created,
        direction: Direction::Ascending,
        after,
        limit: CHUNK as i64,
        now,
    }
}

impl BulkAction {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delete(_) => "delete",
            Self::Pause => "pause",
        }
    }

    /// Why keys are deleted.
    pub const fn reason(self) -> Option<DeleteReason> {
        match self {
            Self::Delete(reason) => Some(reason),
            Self::Pause => None,
        }
    }

    fn of(request: &Request) -> Option<Self> {
        match request.action.as_str() {
            "pause" => Some(Self::Pause),
            "delete" => DeleteReason::from_name(request.reason.as_deref()?).map(Self::Delete),
            _ => None,
        }
    }

    /// What a filter means of the keys to which it does something; `None` if that is nothing.
    fn narrowed(self, filter: &KeyFilter) -> Option<KeyFilter> {
        let is_meant = |state: &ShownState| filter.states.is_empty() || filter.states.contains(state);
        let states: Vec<ShownState> = self.states().iter().copied().filter(is_meant).collect();
        (!states.is_empty()).then(|| KeyFilter {
            states,
            ..filter.clone()
        })
    }

    /// The states of keys to which it does something.
    const fn states(self) -> &'static [ShownState] {
        match self {
            Self::Delete(_) => &[ShownState::Active, ShownState::Paused, ShownState::Expired],
            Self::Pause => &[ShownState::Active],
        }
    }

    const fn broken_seals(self) -> BrokenSeals {
        match self {
            Self::Delete(_) => BrokenSeals::Wipe,
            Self::Pause => BrokenSeals::Refuse,
        }
    }

    fn plan(self, stored: &keyward_store::keys::StoredKey, now: Timestamp) -> Plan {
        match self {
            Self::Delete(reason) => Plan::Change(Box::new(deletion(stored, reason, now))),
            Self::Pause => state_change(
                stored,
                KeyState::Paused {
                    reason: PauseReason::Requested,
                },
                "key.pause",
            ),
        }
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn json(value: &impl Serialize) -> Result<String, EngineError> {
    serde_json::to_string(value).map_err(|_| unreadable())
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, EngineError> {
    serde_json::from_str(text).map_err(|_| unreadable())
}

const fn unreadable() -> EngineError {
    EngineError::Unavailable(StoreError::Unreadable {
        what: "preview of a bulk operation",
    })
}
