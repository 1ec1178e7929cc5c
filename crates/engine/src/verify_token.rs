//! Sign in with a management token: is it accepted, and whose is it?
//!
//! Asked of the database for every request, so that a deleted token is refused from the moment its deletion returned, on
//! whichever node. A forged id ends before that, at the MAC in it. A row whose seal does not open is an alarm and an
//! answer of 503: never an accept, and never "unknown". Nothing of a secret key is looked at here. What the trail is told of it is
//! in [`crate::sign_ins`] and [`crate::refused_sign_ins`].

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use keyward_core::ids::{OrganizationId, TokenId};
use keyward_core::key_text::KeyText;
use keyward_core::management_refusal::ManagementRefusal;
use keyward_core::management_right::RightSet;
use keyward_core::management_token::TokenState;
use keyward_core::record::KeyName;
use keyward_core::seal::{OpenRefused, open};
use keyward_core::time::{MINUTE_MS, Timestamp};
use keyward_store::tokens::StoredToken;

use crate::Engine;
use crate::loads::PATIENCE;
use crate::refused_sign_ins::RefusedSignIn;
use crate::sign_ins::Arrival;

/// How far back a noted use of a token may lie before it is noted again.
pub const USE_NOTED_EVERY_MS: i64 = MINUTE_MS;

/// A token that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Its id.
    pub id: TokenId,
    /// The organization that it manages.
    pub organization_id: OrganizationId,
    /// What people call it.
    pub name: KeyName,
    /// What it may do.
    pub rights: RightSet,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    version: i64,
}

/// Tokens whose use is being noted at this moment, so that many requests at once leave one write behind.
#[derive(Default)]
pub(crate) struct NotedUses(Mutex<HashSet<TokenId>>);

impl NotedUses {
    fn begin(&self, id: TokenId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    fn end(&self, id: TokenId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Engine {
    /// Checks a token's text, which was parsed with the prefix of management tokens.
    ///
    /// # Errors
    /// The refusal; counted.
    pub async fn verify_token(
        &self,
        text: &KeyText<'_>,
        arrival: &Arrival,
    ) -> Result<VerifiedToken, ManagementRefusal> {
        let outcome = match self.check_token(text, arrival).await {
            Ok(token) => self.admit(token, arrival).await,
            refused => refused,
        };
        match &outcome {
            Ok(_) => self.inner.metrics.signed_in.increment(1),
            Err(refusal) => self.inner.metrics.count_management_refusal(refusal.code()),
        }
        outcome
    }

    /// Counts a refusal that was decided before any token was looked at.
    pub fn count_management_refusal(&self, refusal: &ManagementRefusal) {
        self.inner.metrics.count_management_refusal(refusal.code());
    }

    /// Tells the trail of an accepted token where that is due; one that can't be told of is not let in.
    async fn admit(
        &self,
        token: VerifiedToken,
        arrival: &Arrival,
    ) -> Result<VerifiedToken, ManagementRefusal> {
        let told = self.tell_token_sign_in(&token.organization_id, token.id, arrival);
        match told.await {
            Ok(()) => Ok(token),
            Err(error) => {
                tracing::warn!(token.id = %token.id, %error, "a sign-in could not be written to the trail, and was refused");
                Err(ManagementRefusal::CheckUnavailable)
            }
        }
    }

    async fn check_token(
        &self,
        text: &KeyText<'_>,
        arrival: &Arrival,
    ) -> Result<VerifiedToken, ManagementRefusal> {
        if !self.keyring().knows_key_id(text.id()) {
            return Err(ManagementRefusal::TokenUnknown);
        }
        let id = TokenId::of_text(text.id());
        let now = self.now();
        let mut last = OpenRefused::Changed;
        // Twice: the keyring may have been rotated between the two reads.
        for _ in 0..2 {
            let keyring = self.keyring();
            let Some(stored) = self.read_token(id).await? else {
                return Err(ManagementRefusal::TokenUnknown);
            };
            if is_wiped(&stored) {
                return Err(ManagementRefusal::TokenUnknown);
            }
            match open(&keyring, &stored.sealed, &stored.token.record.seal_binding()) {
                Ok(digest) if !digest.matches(&text.digest()) => return Err(ManagementRefusal::TokenUnknown),
                Ok(_) => return self.accept_token(stored, arrival, now),
                Err(refused) => last = refused,
            }
        }
        self.token_alarm(id, last);
        Err(ManagementRefusal::CheckUnavailable)
    }

    /// Decides about a token whose whole text matched.
    fn accept_token(
        &self,
        stored: StoredToken,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<VerifiedToken, ManagementRefusal> {
        let record = stored.token.record;
        let note = |reason| {
            let refused = RefusedSignIn::of_token(&record.organization_id, record.id, reason);
            self.inner.refused_sign_ins.note(refused, arrival, now);
        };
        if let TokenState::Deleted { at } = record.state {
            note("deleted");
            return Err(ManagementRefusal::TokenDeleted { at });
        }
        if let Some(at) = record.expires_at.filter(|_| record.is_over(now)) {
            note("expired");
            return Err(ManagementRefusal::TokenExpired { at });
        }
        let before = now.plus_ms(-USE_NOTED_EVERY_MS);
        if stored.token.last_used_at.is_none_or(|last| last < before) {
            self.note_use(record.organization_id.clone(), record.id, now, before);
        }
        Ok(VerifiedToken {
            id: record.id,
            organization_id: record.organization_id,
            name: stored.token.name,
            rights: record.rights,
            expires_at: record.expires_at,
            version: record.version,
        })
    }

    /// Asks whether a token that was accepted still is: after a body was waited for, which may have taken long.
    ///
    /// # Errors
    /// The refusal that the token meets now.
    pub async fn confirm_token(&self, token: &VerifiedToken) -> Result<(), ManagementRefusal> {
        let found = self.read_token(token.id).await?;
        let record = found.ok_or(ManagementRefusal::TokenUnknown)?.token.record;
        if let TokenState::Deleted { at } = record.state {
            return Err(ManagementRefusal::TokenDeleted { at });
        }
        if let Some(at) = record.expires_at.filter(|_| record.is_over(self.now())) {
            return Err(ManagementRefusal::TokenExpired { at });
        }
        if record.version == token.version && record.rights == token.rights {
            Ok(())
        } else {
            Err(ManagementRefusal::CheckUnavailable)
        }
    }

    async fn read_token(&self, id: TokenId) -> Result<Option<StoredToken>, ManagementRefusal> {
        match tokio::time::timeout(PATIENCE, self.inner.store.load_token(id)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tracing::warn!(token.id = %id, %error, "a management token could not be read");
                Err(ManagementRefusal::CheckUnavailable)
            }
            Err(_) => Err(ManagementRefusal::CheckUnavailable),
        }
    }

    /// Beside the request, and for nobody's waiting: a use that could not be noted is noted by a later one.
    fn note_use(&self, organization: OrganizationId, id: TokenId, now: Timestamp, before: Timestamp) {
        if !self.inner.right.is_held() || !self.inner.noted_uses.begin(id) {
            return;
        }
        let engine = self.clone();
        self.inner.tasks.spawn(async move {
            let store = &engine.inner.store;
            let noting = tokio::time::timeout(PATIENCE, store.touch_token(&organization, id, now, before));
            if let Ok(Err(error)) = noting.await {
                tracing::debug!(token.id = %id, %error, "the use of a management token was not noted");
            }
            engine.inner.noted_uses.end(id);
        });
    }

    pub(crate) fn token_alarm(&self, id: TokenId, refused: OpenRefused) {
        self.inner.metrics.alarms.increment(1);
        tracing::error!(token.id = %id, error = %refused, "ALARM: a sealed management token does not open");
    }
}

/// Whether the seal was wiped when the token was deleted: it opens nothing, and that is no alarm.
pub(crate) fn is_wiped(stored: &StoredToken) -> bool {
    stored.token.record.state.is_deleted() && stored.sealed.bytes.is_empty()
}
