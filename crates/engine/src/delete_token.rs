//! Delete a management token: for good, and true on the next request.
//!
//! A second delete finds the state reached and changes nothing. A token whose seal does not open, or whose row can't be
//! read, is ended and wiped all the same: nobody must be able to keep a token from being deleted by spoiling its row.

use keyward_core::audit::{Detail, Event};
use keyward_core::ids::{OrganizationId, TokenId};
use keyward_core::management_token::{Token, TokenRecord, TokenState};
use keyward_core::seal::{open, seal};
use keyward_store::StoreError;
use keyward_store::tokens::StoredToken;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::verify_token::is_wiped;

/// A token after its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedToken {
    /// The token as it is now.
    pub token: Token,
    /// Whether this call ended it, or found it so.
    pub is_changed: bool,
}

impl Engine {
    /// Deletes a management token.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], ...; after `OutcomeUnknown`, asking again is safe.
    pub async fn delete_token(
        &self,
        context: Context,
        organization: OrganizationId,
        id: TokenId,
    ) -> Result<DeletedToken, EngineError> {
        let detail = Detail::new().fact("reason", "removed");
        self.end_token(context, organization, id, detail).await
    }

    /// Deletes a management token, and tells what is in `detail` of it.
    ///
    /// # Errors
    /// As [`Engine::delete_token`].
    pub(crate) async fn end_token(
        &self,
        context: Context,
        organization: OrganizationId,
        id: TokenId,
        detail: Detail,
    ) -> Result<DeletedToken, EngineError> {
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move {
            engine
                .delete_token_here(&context, &organization, id, detail)
                .await
        });
        task.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn delete_token_here(
        &self,
        context: &Context,
        organization: &OrganizationId,
        id: TokenId,
        detail: Detail,
    ) -> Result<DeletedToken, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let _sealing = self.inner.sealing.read().await;
        let keyring = self.keyring();
        let now = self.now();
        let mut tx = self.inner.store.begin().await?;
        let was = match tx.lock_token(organization, id).await {
            Ok(found) => Some(found.ok_or(EngineError::NotFound("management token"))?),
            Err(StoreError::Unreadable { what }) => {
                tracing::error!(token.id = %id, what, "ALARM: a management token whose row can't be read is ended");
                self.inner.metrics.alarms.increment(1);
                None
            }
            Err(error) => return Err(error.into()),
        };
        let state_was = was.as_ref().map_or("unreadable", |was| {
            if was.token.record.state.is_deleted() {
                "deleted"
            } else {
                "active"
            }
        });
        let digest = was.as_ref().and_then(|was| {
            let opened = open(&keyring, &was.sealed, &was.token.record.seal_binding());
            opened
                .inspect_err(|refused| {
                    if !is_wiped(was) {
                        self.token_alarm(id, *refused);
                    }
                })
                .ok()
        });
        let is_wiped_now = digest.is_none();
        match (was, digest) {
            // One that says `deleted` and does not fit its seal could be put back as it was: it is ended here.
            (Some(was), Some(_)) if was.token.record.state.is_deleted() => return Ok(reached(was)),
            (Some(was), None) if is_wiped(&was) => return Ok(reached(was)),
            (Some(was), Some(digest)) => {
                let version = was.token.record.version;
                let record = TokenRecord {
                    version: version.saturating_add(1),
                    state: TokenState::Deleted { at: now },
                    ..was.token.record
                };
                let sealed = seal(&keyring, &digest, &record.seal_binding(), &mut SystemRandom)?;
                tx.update_token(&record, version, &sealed).await?;
            }
            _ => tx.wipe_token(organization, id, now, keyring.active()).await?,
        }
        let ended = tx.lock_token(organization, id).await?;
        let token = ended.ok_or(EngineError::NotFound("management token"))?.token;
        let event = Event {
            actor: context.actor.to_string(),
            action: "token.delete",
            target: format!("token/{id}"),
            request_id: context.request_id.to_string(),
            detail: detail.fact("was", state_was).fact("wiped", is_wiped_now),
        };
        tx.append_audit(organization.as_str(), &event, now).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(DeletedToken {
            token,
            is_changed: true,
        })
    }
}

fn reached(found: StoredToken) -> DeletedToken {
    DeletedToken {
        token: found.token,
        is_changed: false,
    }
}
