//! Emergency stop: every key that a filter means is paused, now, in one call. Ending them is a second call.
//!
//! There is no dry run and no bound on how many: whoever stops has no time to look. It is in the trail once, with what was meant,
//! and once for each key. The stop of a whole organization is one row ([`crate::stop_organization`]).

use keyward_core::audit::Event;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::record::ShownState;
use keyward_core::state::{KeyState, PauseReason};
use keyward_store::key_list::{KeyQuery, Place};

use crate::Engine;
use crate::changes::filter_detail;
use crate::confirmations::all_survive;
use crate::context::Context;
use crate::error::EngineError;
use crate::key_write::BrokenSeals;
use crate::keys_write::CHUNK;
use crate::resume_key::state_change;
use crate::standing::confirm_key_writer;

/// What an emergency stop did.
#[derive(Debug)]
pub struct Stopped {
    /// Keys that are paused now and were not before.
    pub paused: Vec<KeyId>,
    /// Keys that could not be paused, because their seals do not open: no verify accepts them, and they can be deleted.
    pub broken: Vec<KeyId>,
    /// What stopped it before its end; those in `paused` are paused all the same.
    pub stopped_by: Option<EngineError>,
    /// Whether all of it is on a standby too, what was found so included; `None` on SQLite.
    pub survives_failover: Option<bool>,
}

impl Engine {
    /// Pauses every active key that `filter` means.
    ///
    /// # Errors
    /// [`EngineError`] before anything was paused.
    pub async fn stop_keys(
        &self,
        context: Context,
        organization: OrganizationId,
        filter: KeyFilter,
    ) -> Result<Stopped, EngineError> {
        self.show_organization(&organization).await?;
        let engine = self.clone();
        let stopping = self.run_to_its_end(async move {
            let mut stopped = engine.stop_here(context, organization, filter).await?;
            // Keys that it did not find active may have been paused by a stop that was not answered.
            match engine.confirm_found().await {
                Ok(known) => {
                    stopped.survives_failover =
                        all_survive(stopped.survives_failover, known.survives_failover);
                }
                Err(error) => {
                    stopped.stopped_by.get_or_insert(error);
                }
            }
            Ok(stopped)
        });
        stopping.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn stop_here(
        &self,
        context: Context,
        organization: OrganizationId,
        filter: KeyFilter,
    ) -> Result<Stopped, EngineError> {
        self.audit_stop(&context, &organization, &filter).await?;
        let mut stopped = Stopped {
            paused: Vec::new(),
            broken: Vec::new(),
            stopped_by: None,
            survives_failover: None,
        };
        // Only what is active can be paused: a filter that means other states alone means nothing here, and not everything.
        if !filter.states.is_empty() && !filter.states.contains(&ShownState::Active) {
            return Ok(stopped);
        }
        let filter = KeyFilter {
            states: vec![ShownState::Active],
            ..filter
        };
        let mut after: Option<Place> = None;
        let mut paused_before = 0;
        loop {
            let query = KeyQuery {
                filter: &filter,
                sort: KeySort::Created,
                direction: Direction::Ascending,
                after: after.as_ref(),
                limit: CHUNK as i64,
                now: self.now(),
            };
            // A row that can't be read holds up none of the others.
            let page = match self.inner.store.query_key_places(&organization, &query).await {
                Ok(page) => page,
                Err(error) => {
                    stopped.stopped_by = Some(error.into());
                    return Ok(stopped);
                }
            };
            let Some(last) = page.last() else {
                // Those that came while it ran are found by another pass, until one finds none.
                if stopped.paused.len() == paused_before {
                    return Ok(stopped);
                }
                paused_before = stopped.paused.len();
                after = None;
                continue;
            };
            after = Some(last.clone());
            let ids = page.iter().map(|place| place.id).collect();
            let paused = KeyState::Paused {
                reason: PauseReason::Requested,
            };
            let written = self
                .write_keys(
                    context.clone(),
                    organization.clone(),
                    (ids, BrokenSeals::Refuse),
                    Box::new(move |stored, _, _| state_change(stored, paused, "key.pause")),
                )
                .await;
            match written {
                Ok(written) => {
                    for (id, one) in written {
                        match one {
                            Ok(one) if one.is_changed => {
                                stopped.paused.push(id);
                                stopped.survives_failover =
                                    all_survive(stopped.survives_failover, one.known.survives_failover);
                            }
                            Err(EngineError::SealBroken) if !stopped.broken.contains(&id) => {
                                stopped.broken.push(id);
                            }
                            // Paused or ended by somebody else meanwhile.
                            Ok(_) | Err(_) => {}
                        }
                    }
                }
                Err(error) => {
                    stopped.stopped_by = Some(error);
                    return Ok(stopped);
                }
            }
        }
    }

    async fn audit_stop(
        &self,
        context: &Context,
        organization: &OrganizationId,
        filter: &KeyFilter,
    ) -> Result<(), EngineError> {
        let event = Event {
            actor: context.actor.to_string(),
            action: "keys.stop",
            target: format!("organization/{organization}"),
            request_id: context.request_id.to_string(),
            detail: filter_detail(filter)?,
        };
        let now = self.now();
        let facts = event.detail.facts_json();
        let mut tx = self.inner.store.begin().await?;
        confirm_key_writer(&mut tx, organization, &context.actor).await?;
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.tell(
            (organization, ""),
            (event.action, &facts),
            self.inner.right.epoch(),
            now,
        )
        .await?;
        Ok(tx.commit().await?)
    }
}
