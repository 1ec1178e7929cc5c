//! One-time links that set a passphrase: create, show, redeem.
//!
//! A link is for whoever has no passphrase yet, or lost what they had; only whoever operates the machine makes one. Looking at a link
//! spends nothing, because mail programs and chats look at links on their own.

use keyward_core::audit::Detail;
use keyward_core::email::EmailAddress;
use keyward_core::field::FieldProblem;
use keyward_core::random::RandomUnavailable;
use keyward_core::record::Actor;
use keyward_core::secret::{PassphraseKind, Secret, SignInLinkKind};
pub use keyward_core::sign_in_link::LinkPurpose;
use keyward_core::sign_in_link::{LIFETIME_MS, SignInLinkDigest, new_link_secret};
use keyward_core::time::Timestamp;
use keyward_core::totp::SeedStanding;
use keyward_core::usage::ClientName;
use keyward_store::sign_in_links::SignInLink;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::person_write::{PersonEvent, with_address};
use crate::sessions::{NewSession, begin_session};
use crate::sign_in::stage_of;
use crate::sign_ins::Arrival;

const UNKNOWN: EngineError = EngineError::NotFound("sign-in link");

/// A new link.
#[derive(Debug)]
pub struct CreatedSignInLink {
    /// The secret, to be shown once.
    pub secret: Secret<SignInLinkKind>,
    /// Whom it lets in.
    pub email: EmailAddress,
    /// It is good before this moment.
    pub expires_at: Timestamp,
}

/// What whoever opens a link is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInLinkView {
    /// Whom it lets in.
    pub email: EmailAddress,
    /// What for.
    pub purpose: LinkPurpose,
    /// Whether they have a passphrase, which the new one takes the place of.
    pub has_passphrase: bool,
    /// It is good before this moment.
    pub expires_at: Timestamp,
}

impl Engine {
    /// Makes a link for whoever has this address, in place of earlier ones. For the local administrator: its callers see to that.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if nobody has the address.
    pub async fn create_sign_in_link(
        &self,
        context: &Context,
        email: &str,
        purpose: LinkPurpose,
    ) -> Result<CreatedSignInLink, EngineError> {
        let email: EmailAddress = email.trim().parse().map_err(|problem| {
            EngineError::Invalid(vec![FieldProblem {
                field: "email".to_owned(),
                message: format!("{problem}"),
            }])
        })?;
        let now = self.now();
        let secret = new_link_secret(&mut SystemRandom)?;
        let digest = SignInLinkDigest::of(secret.reveal()).ok_or(RandomUnavailable)?;
        let mut tx = self.inner.store.begin().await?;
        let found = tx.find_person_to_sign_in(&email).await?;
        let person = found.ok_or(EngineError::NotFound("person"))?.person_id;
        tx.lock_person(&person).await?;
        let link = SignInLink {
            person_id: person.clone(),
            email: email.clone(),
            purpose,
            expires_at: now.plus_ms(LIFETIME_MS),
        };
        tx.put_sign_in_link(&link, &digest, &context.actor.to_string(), now)
            .await?;
        let detail = Detail::new()
            .fact("purpose", purpose.name())
            .fact("expires_at_ms", link.expires_at.as_unix_ms())
            .personal("email", email.as_str(), &mut SystemRandom)?;
        let event = PersonEvent::in_context(context, "sign_in_link.create", &person, detail);
        self.append_person_event(&mut tx, event, now).await?;
        self.commit_fenced(tx).await?;
        Ok(CreatedSignInLink {
            secret,
            email,
            expires_at: link.expires_at,
        })
    }

    /// What a link is for. Spends nothing.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for one that is unknown, used or over.
    pub async fn show_sign_in_link(
        &self,
        secret: &Secret<SignInLinkKind>,
    ) -> Result<SignInLinkView, EngineError> {
        let (link, _) = self.live_link(secret).await?;
        let passphrase = self.inner.store.find_passphrase(&link.person_id).await?;
        Ok(SignInLinkView {
            email: link.email,
            purpose: link.purpose,
            has_passphrase: passphrase.is_some(),
            expires_at: link.expires_at,
        })
    }

    async fn live_link(
        &self,
        secret: &Secret<SignInLinkKind>,
    ) -> Result<(SignInLink, SignInLinkDigest), EngineError> {
        let digest = SignInLinkDigest::of(secret.reveal()).ok_or(UNKNOWN)?;
        let found = self.inner.store.find_sign_in_link(&digest).await?;
        let now = self.now();
        let link = found.filter(|link| now < link.expires_at).ok_or(UNKNOWN)?;
        Ok((link, digest))
    }

    /// Sets the passphrase, spends the link, ends every other session of the person and begins a new one. It needs the
    /// second factor if the person has one and the link does not begin anew.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] as for [`Engine::show_sign_in_link`]; [`EngineError::Invalid`] with the field `passphrase`, which
    /// loses nothing; [`EngineError::Busy`].
    pub async fn redeem_sign_in_link(
        &self,
        arrival: &Arrival,
        client: &ClientName,
        secret: &Secret<SignInLinkKind>,
        passphrase: &Secret<PassphraseKind>,
    ) -> Result<NewSession, EngineError> {
        // Asked before anything is hashed: whoever has no link costs one look-up.
        let (seen, digest) = self.live_link(secret).await?;
        let phc = self.hash_passphrase(arrival, passphrase, &seen.email).await?;
        let now = self.now();
        let person = &seen.person_id;
        let mut tx = self.inner.store.begin().await?;
        let email = tx.lock_person(person).await?.ok_or(UNKNOWN)?;
        let found = tx.find_sign_in_link(&digest).await?;
        let link = found.filter(|link| now < link.expires_at).ok_or(UNKNOWN)?;
        tx.delete_sign_in_link(person).await?;
        tx.put_passphrase(person, &phc, now).await?;
        let ended = tx.delete_sessions(person, None).await?;
        tx.delete_second_factor(person, SeedStanding::Offered).await?;
        let is_factor_removed = match link.purpose {
            LinkPurpose::SetPassphrase => false,
            LinkPurpose::BeginAnew => {
                tx.replace_recovery_codes(person, &[]).await?;
                tx.delete_second_factor(person, SeedStanding::On).await?
            }
        };
        let stage = stage_of(&mut tx, person).await?;
        let begun = begin_session(&mut tx, (person, &email), stage, (arrival, client), now).await?;
        let detail = Detail::new()
            .fact("purpose", link.purpose.name())
            .fact("ended_sessions", ended)
            .fact("removed_second_factor", is_factor_removed);
        let event = PersonEvent {
            actor: &Actor::Person(person.clone()),
            request_id: &arrival.request_id,
            action: "sign_in_link.redeem",
            person,
            detail: with_address(detail, arrival)?,
        };
        self.append_person_event(&mut tx, event, now).await?;
        self.append_begun(&mut tx, &begun, (arrival, Detail::new()), now)
            .await?;
        self.commit_fenced(tx).await?;
        self.tell_begun(&begun, arrival).await?;
        Ok(begun)
    }
}
