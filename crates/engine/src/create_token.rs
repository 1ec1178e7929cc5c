//! Create a management token: within what its maker holds, written with its audit entry, its text handed out once.
//!
//! A token never makes one that may do more or lives longer than itself, and none after its own end: its row is locked
//! and asked in the transaction that writes the new one.

use keyward_core::audit::{Detail, Event};
use keyward_core::field::FieldProblems;
use keyward_core::ids::{OrganizationId, TokenId};
use keyward_core::key_text::{KeyText, Prefix, new_key_id, new_token_text};
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::management_token::{Token, TokenRecord, TokenState};
use keyward_core::random::{RandomSource, RandomUnavailable};
use keyward_core::record::{Actor, KeyName};
use keyward_core::seal::seal;
use keyward_core::secret::{Secret, TokenTextKind};
use keyward_core::time::Timestamp;
use keyward_store::{StoreError, Tx};
use sha2::{Digest as _, Sha256};

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;

/// What a new token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDraft {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub rights: RightSet,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// What the maker of a token holds: the new one gets no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCeiling {
    /// Its rights.
    pub rights: RightSet,
    /// Its own end.
    pub ends_at: Option<Timestamp>,
}

/// A new token with its text.
#[derive(Debug)]
pub struct CreatedToken {
    /// The token.
    pub token: Token,
    /// Its text, to be shown once.
    pub value: Secret<TokenTextKind>,
}

/// What became of a form that may be sent twice.
#[derive(Debug)]
pub enum TokenMade {
    /// The token was made.
    Now(Box<CreatedToken>),
    /// It had been made before; its text is shown to nobody any more.
    Before(Box<Token>),
}

/// Bytes that follow from a seed. They choose an id and nothing else: no secret is drawn from here.
struct DrawnFrom {
    seed: [u8; 32],
    drawn: u64,
}

impl DrawnFrom {
    fn form(organization: &str, actor: &str, form: &str) -> Self {
        let mut hasher = Sha256::new_with_prefix(b"keyward form of a management token v1");
        // Each with its length: no two differ only in where one part ends.
        for part in [organization, actor, form] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self {
            seed: hasher.finalize().into(),
            drawn: 0,
        }
    }
}

impl RandomSource for DrawnFrom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        for part in bytes.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.seed)
                .chain_update(self.drawn.to_be_bytes())
                .finalize();
            self.drawn += 1;
            for (byte, drawn) in part.iter_mut().zip(block) {
                *byte = drawn;
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Creates a management token for an organization.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] with every field's problem, [`EngineError::NotFound`] without the organization, ...
    pub async fn create_token(
        &self,
        context: Context,
        organization: OrganizationId,
        draft: TokenDraft,
        ceiling: TokenCeiling,
    ) -> Result<CreatedToken, EngineError> {
        let id = new_key_id(&self.keyring(), &mut SystemRandom)?;
        let made = self
            .create_token_with(context, organization, draft, ceiling, TokenId::of_text(id))
            .await?;
        match made {
            TokenMade::Now(created) => Ok(*created),
            TokenMade::Before(_) => Err(EngineError::Unavailable(StoreError::AlreadyExists)),
        }
    }

    /// Creates a management token for a form that may be sent twice: the same `form`, from the same person, makes one token.
    /// Nothing is kept for that. The token's id, which is no secret, is drawn from the form's, so that the second sending meets
    /// the row of the first.
    ///
    /// # Errors
    /// As [`Engine::create_token`].
    pub async fn create_token_once(
        &self,
        context: Context,
        organization: OrganizationId,
        draft: TokenDraft,
        ceiling: TokenCeiling,
        form: &str,
    ) -> Result<TokenMade, EngineError> {
        let random = &mut DrawnFrom::form(organization.as_str(), &context.actor.to_string(), form);
        let id = new_key_id(&self.keyring(), random)?;
        self.create_token_with(context, organization, draft, ceiling, TokenId::of_text(id))
            .await
    }

    async fn create_token_with(
        &self,
        context: Context,
        organization: OrganizationId,
        draft: TokenDraft,
        ceiling: TokenCeiling,
        id: TokenId,
    ) -> Result<TokenMade, EngineError> {
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move {
            engine
                .create_token_here(&context, organization, draft, ceiling, id)
                .await
        });
        task.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn create_token_here(
        &self,
        context: &Context,
        organization: OrganizationId,
        draft: TokenDraft,
        ceiling: TokenCeiling,
        id: TokenId,
    ) -> Result<TokenMade, EngineError> {
        if !self.inner.right.is_held() {
            return Err(EngineError::Unavailable(StoreError::NotTheWriter));
        }
        let now = self.now();
        let name = check(&draft, ceiling, now)?;
        self.undeleted_organization(&organization).await?;

        let _sealing = self.inner.sealing.read().await;
        let keyring = self.keyring();
        let random = &mut SystemRandom;
        let value = new_token_text(id, random)?;
        let text = KeyText::parse(value.reveal(), &Prefix::management_token())
            .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))?;
        let record = TokenRecord {
            id,
            organization_id: organization,
            version: 1,
            rights: draft.rights,
            expires_at: draft.expires_at,
            state: TokenState::Active,
        };
        let sealed = seal(&keyring, &text.digest(), &record.seal_binding(), random)?;
        let token = Token {
            record,
            name,
            created_by: context.actor.clone(),
            created_at: now,
            last_used_at: None,
            hint: text.hint().to_string(),
        };
        let event = created_event(context, &token)?;
        let mut tx = self.inner.store.begin().await?;
        confirm_maker(&mut tx, context, &token, now).await?;
        match tx.insert_token(&token, &sealed).await {
            Ok(()) => {}
            Err(StoreError::AlreadyExists) => {
                tx.rollback().await?;
                let before = self.show_token(&token.record.organization_id, id).await?;
                return Ok(TokenMade::Before(Box::new(before)));
            }
            Err(error) => return Err(error.into()),
        }
        tx.append_audit(token.record.organization_id.as_str(), &event, now)
            .await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(TokenMade::Now(Box::new(CreatedToken { token, value })))
    }
}

/// Everything that is wrong with a draft.
fn check(draft: &TokenDraft, ceiling: TokenCeiling, now: Timestamp) -> Result<KeyName, EngineError> {
    let mut problems = FieldProblems::new();
    let name = problems.keep("name", draft.name.parse::<KeyName>());
    if draft.rights.is_empty() {
        problems.add(
            "rights",
            "name at least one right; a token without any may do nothing",
        );
    }
    let held = ceiling.rights.and(RightSet::all_of_tokens());
    let beyond: Vec<&str> = draft
        .rights
        .without(held)
        .iter()
        .map(ManagementRight::name)
        .collect();
    if !beyond.is_empty() {
        let message = format!(
            "may not hold {}, which whoever makes it does not hold",
            beyond.join(", ")
        );
        problems.add("rights", message);
    }
    if draft.expires_at.is_some_and(|end| end <= now) {
        problems.add("expires_at", "is in the past; the token would never be accepted");
    }
    if let Some(most) = ceiling.ends_at
        && draft.expires_at.is_none_or(|end| end > most)
    {
        problems.add(
            "expires_at",
            "must not be later than the end of the token that makes it",
        );
    }
    match name {
        Some(name) => problems.finish(name).map_err(EngineError::Invalid),
        None => Err(EngineError::Invalid(
            problems.finish(()).err().unwrap_or_default(),
        )),
    }
}

/// Makes sure that the token that makes another is still accepted, and stays so until the new one is written.
async fn confirm_maker(
    tx: &mut Tx,
    context: &Context,
    made: &Token,
    now: Timestamp,
) -> Result<(), EngineError> {
    let organization = &made.record.organization_id;
    let maker = match &context.actor {
        Actor::Token(maker) => *maker,
        Actor::Person(person) => {
            let role = tx.lock_member(organization, person).await?;
            let held = role.map_or(RightSet::NONE, RightSet::of_role);
            let is_held =
                held.contains(ManagementRight::TokensWrite) && made.record.rights.without(held).is_empty();
            return if is_held {
                Ok(())
            } else {
                Err(EngineError::Conflict(
                    "your role changed meanwhile; nothing was made".to_owned(),
                ))
            };
        }
        Actor::LocalAdministrator | Actor::System | Actor::Key(_) => return Ok(()),
    };
    let found = tx.lock_token(organization, maker).await?;
    let is_held = found.is_some_and(|maker| {
        let record = maker.token.record;
        record.state == TokenState::Active
            && !record.is_over(now)
            && made.record.rights.without(record.rights).is_empty()
    });
    if is_held {
        Ok(())
    } else {
        Err(EngineError::Conflict(
            "the token that makes this one ended meanwhile; nothing was made".to_owned(),
        ))
    }
}

fn created_event(context: &Context, token: &Token) -> Result<Event, EngineError> {
    let record = &token.record;
    let mut detail = Detail::new().fact("rights", record.rights.to_text()).personal(
        "name",
        token.name.as_str(),
        &mut SystemRandom,
    )?;
    if let Some(end) = record.expires_at {
        detail = detail.fact("expires_at_ms", end.as_unix_ms());
    }
    Ok(Event {
        actor: context.actor.to_string(),
        action: "token.create",
        target: format!("token/{}", record.id),
        request_id: context.request_id.to_string(),
        detail,
    })
}
