//! What follows from uses that were written down, off the way of the requests that used the keys.
//!
//! A secret that waits for its first use becomes the current one here ([`Engine::activate_secret`]), and the old one's grace
//! counts from that use. Should the process end in between, the next use comes this way again.

use keyward_core::ids::KeyId;
use keyward_core::record::Actor;
use keyward_core::state::SecretLife;
use keyward_store::uses::SecretUse;

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
