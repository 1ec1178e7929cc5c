//! What follows from uses that were written down, off the way of the requests that used the keys.
//!
//! A secret that waits for its first use becomes the current one here ([`Engine::activate_secret`]), and the old one's grace
//! counts from that use. Should the process end in between, the next use comes this way again.

use keyward_core::ids::KeyId;
use keyward_core::record::Actor;
use keyward_core::state::SecretLife;
use keyward_store::usage::NewAddress;
use keyward_store::uses::SecretUse;
use keyward_store::{StoreError, Tx};

use crate::Engine;
use crate::cache::Look;
use crate::context::Context;
use crate::error::EngineError;

/// A key's first secret never waits for a use.
const FIRST_THAT_MAY_WAIT: i64 = 2;

impl Engine {
    /// Told of the last uses in every batch after it was committed, in the task that writes uses; the same use can come again
    /// after an answer of the database was lost. Whatever takes long or may fail is spawned, because the next flush waits
    /// for this.
    pub(crate) fn after_flush(&self, noted: &[SecretUse]) {
        for one in noted {
            if one.number < FIRST_THAT_MAY_WAIT || self.is_surely_not_pending(one.key_id, one.number) {
                continue;
            }
            let (engine, one) = (self.clone(), one.clone());
            self.inner.tasks.spawn(async move {
                if let Err(error) = engine.activate_if_pending(&one).await {
                    tracing::warn!(key.id = %one.key_id, %error, "a secret's first use could not be taken in; the next one is");
                }
            });
        }
    }

    /// Puts into the outbox that keys were used from new addresses, in the transaction that records them; of each key at most
    /// once an hour. A key's very first address is not news.
    pub(crate) async fn tell_new_addresses(&self, tx: &mut Tx, new: &[NewAddress]) -> Result<(), StoreError> {
        let (now, epoch) = (self.now(), self.inner.right.epoch());
        for of_key in new.chunk_by(|a, b| a.key_id == b.key_id) {
            // The first one's key had no address before; those of the same batch came with it.
            let Some(first) = of_key.first().filter(|first| !first.is_first_of_key) else {
                continue;
            };
            match tx.tell_of_addresses((first, of_key.len() - 1), epoch, now).await {
                Ok(()) => {}
                // Whoever has the right now tells; the counts are right whoever writes them.
                Err(StoreError::NotTheWriter) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether memory knows that the secret does not wait for its first use.
    fn is_surely_not_pending(&self, id: KeyId, number: i64) -> bool {
        let is_pending = self.inner.cache.look(id, |key, _| {
            key.secrets
                .iter()
                .any(|secret| secret.number == number && matches!(secret.life, SecretLife::Pending { .. }))
        });
        matches!(is_pending, Look::Here(false))
    }

    async fn activate_if_pending(&self, one: &SecretUse) -> Result<(), EngineError> {
        let (_, secrets) = self.show_key_whole(&one.organization_id, one.key_id).await?;
        let is_pending = secrets
            .iter()
            .any(|secret| secret.number == one.number && matches!(secret.life, SecretLife::Pending { .. }));
        if is_pending {
            let request_id = uuid::Uuid::now_v7().simple().to_string();
            let request_id = request_id
                .parse()
                .map_err(|_| EngineError::NotFound("request id"))?;
            let context = Context::new(Actor::System, request_id);
            let subject = (one.organization_id.clone(), one.key_id);
            self.activate_secret(context, subject, (one.number, one.first_used_at))
                .await?;
        }
        Ok(())
    }
}
