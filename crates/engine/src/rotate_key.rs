//! Rotate a key: a new secret for the same key, with or without a time in which both are accepted.
//!
//! Id, name, settings and history stay, and so does the key's end. At most two secrets live at a time: a rotation that is under
//! way is finished or cancelled before the next begins. Of two rotations at once one is done and the other told so. A secret that
//! takes effect with its first use is switched to by [`Engine::activate_secret`], which the flush of uses asks for.

use keyward_core::audit::Detail;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_text::{KeyText, new_key_text};
use keyward_core::record::{Key, ShownState};
use keyward_core::rotation::{DEFAULT_OVERLAP_MS, RotationChoice, RotationMode, end_of_grace};
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_core::state::SecretLife;
use keyward_core::time::Timestamp;
use keyward_store::keys::{StoredKey, StoredSecret};

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::edit_key::check_version;
use crate::error::EngineError;
use crate::key_write::{Beside, BrokenSeals, Change, NewSecret, Plan, SecretsChange, Written};
use crate::once::{Attempt, Once};

/// A rotated key with its new value.
#[derive(Debug)]
pub struct RotatedKey {
    /// The key.
    pub written: Written,
    /// The new secret's value, to be shown once.
    pub value: Secret<KeyTextKind>,
}

impl Engine {
    /// Rotates a key that is at `expected_version`, or at any if that is `None`.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] for an ended key and while another rotation is under way, [`EngineError::Invalid`],
    /// [`EngineError::Stale`].
    pub async fn rotate_key(
        &self,
        context: Context,
        (organization, id): (OrganizationId, KeyId),
        (choice, expected_version): (RotationChoice, Option<i64>),
        attempt: Option<Attempt>,
    ) -> Result<Once<RotatedKey>, EngineError> {
        let first = match self.begin_once(&context, &organization, attempt).await? {
            Once::Now(first) => first,
            Once::Before(repeated) => return Ok(Once::Before(repeated)),
        };
        self.undeleted_organization(&organization).await?;
        // The secret that this rotation replaces: whoever began with the same one and came first has won.
        let (_, secrets) = self.show_key_whole(&organization, id).await?;
        let newest_seen = secrets.iter().map(|secret| secret.number).max();
        let random = &mut SystemRandom;
        let value = new_key_text(&self.inner.prefix, id, random)?;
        let text = KeyText::parse(value.reveal(), &self.inner.prefix)
            .map_err(|_| EngineError::Random(keyward_core::random::RandomUnavailable))?;
        let (digest, hint) = (text.digest(), text.hint().to_string());
        let outcome = first
            .as_ref()
            .map(|first| first.outcome(self, id, &value, self.now()))
            .transpose()?;
        let written = self
            .write_key(
                context,
                (organization, id),
                BrokenSeals::Refuse,
                move |stored, _, now| {
                    let rotation = check_version(&stored.key, expected_version)
                        .and_then(|()| begin(stored, newest_seen, now))
                        .and_then(|live| Ok((live, mode_of(choice, &stored.key, now)?)));
                    match rotation {
                        Err(refused) => Plan::Refuse(refused),
                        Ok((live, mode)) => Plan::Change(Box::new(rotation_of(
                            stored,
                            (live, mode),
                            (digest, hint),
                            Beside {
                                outcome,
                                first,
                                ..Beside::default()
                            },
                            now,
                        ))),
                    }
                },
            )
            .await?;
        Ok(Once::Now(RotatedKey { written, value }))
    }

    /// Ends the old secret now, whatever time it still had. A pending one becomes the current one.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] for a deleted key.
    pub async fn finish_rotation(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
    ) -> Result<Written, EngineError> {
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Refuse,
            |stored, _, now| match live_of(stored, now) {
                Err(refused) => Plan::Refuse(refused),
                Ok(Live { other: None, .. }) => Plan::Reached,
                Ok(Live {
                    current,
                    other: Some(other),
                }) => {
                    let (lives, rotated_at) = match other.life {
                        SecretLife::Pending { .. } => (
                            vec![
                                (other.number, SecretLife::Current),
                                (current.number, SecretLife::Ended),
                            ],
                            Some(now),
                        ),
                        _ => (vec![(other.number, SecretLife::Ended)], stored.key.rotated_at),
                    };
                    Plan::Change(Box::new(change_of(
                        stored,
                        lives,
                        rotated_at,
                        "key.rotation_finish",
                    )))
                }
            },
        )
        .await
    }

    /// Ends the new secret and goes on with the old one, as long as that lives.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] if no rotation is under way.
    pub async fn cancel_rotation(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
    ) -> Result<Written, EngineError> {
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Refuse,
            |stored, _, now| match live_of(stored, now) {
                Err(refused) => Plan::Refuse(refused),
                Ok(Live { other: None, .. }) => Plan::Refuse(EngineError::Conflict(
                    "no rotation is under way: the key has one live secret".to_owned(),
                )),
                Ok(Live {
                    current,
                    other: Some(other),
                }) => {
                    let (lives, rotated_at) = match other.life {
                        SecretLife::Pending { .. } => {
                            (vec![(other.number, SecretLife::Ended)], stored.key.rotated_at)
                        }
                        _ => (
                            vec![
                                (current.number, SecretLife::Ended),
                                (other.number, SecretLife::Current),
                            ],
                            (other.number > 1).then_some(other.created_at),
                        ),
                    };
                    Plan::Change(Box::new(change_of(
                        stored,
                        lives,
                        rotated_at,
                        "key.rotation_cancel",
                    )))
                }
            },
        )
        .await
    }

    /// Makes a pending secret the current one before it was used; the old one's grace counts from now.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] for an ended key and if no secret waits for its first use.
    pub async fn activate_rotation(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
    ) -> Result<Written, EngineError> {
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Refuse,
            |stored, _, now| {
                let live = match live_of(stored, now) {
                    Ok(live) => live,
                    Err(refused) => return Plan::Refuse(refused),
                };
                let pending = live.other.and_then(|other| match other.life {
                    SecretLife::Pending { grace_ms, .. } => Some((other.number, grace_ms)),
                    _ => None,
                });
                let Some((number, grace_ms)) = pending else {
                    return Plan::Refuse(EngineError::Conflict(
                        "no new secret waits for its first use".to_owned(),
                    ));
                };
                let end = end_of_grace(now, grace_ms, stored.key.record.conditions.expires_at);
                let lives = vec![
                    (number, SecretLife::Current),
                    (live.current.number, SecretLife::Until(end)),
                ];
                Plan::Change(Box::new(change_of(
                    stored,
                    lives,
                    Some(now),
                    "key.rotation_activate",
                )))
            },
        )
        .await
    }

    /// Makes a pending secret the current one because it was used; the old one's grace counts from that use.
    ///
    /// # Errors
    /// [`EngineError`]; a secret that is not pending any more is no error.
    pub async fn activate_secret(
        &self,
        context: Context,
        (organization, id): (OrganizationId, KeyId),
        (number, first_used_at): (i64, Timestamp),
    ) -> Result<Written, EngineError> {
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Refuse,
            move |stored, _, now| {
                let used = stored.secrets.iter().find(|secret| secret.number == number);
                let current = stored
                    .secrets
                    .iter()
                    .find(|secret| secret.life == SecretLife::Current);
                let (Some(used), Some(current)) = (used, current) else {
                    return Plan::Reached;
                };
                let SecretLife::Pending { grace_ms, until } = used.life else {
                    return Plan::Reached;
                };
                if stored.key.record.state.is_deleted() || first_used_at >= until {
                    return Plan::Reached;
                }
                let end = end_of_grace(first_used_at, grace_ms, stored.key.record.conditions.expires_at);
                let old = if end <= now {
                    SecretLife::Ended
                } else {
                    SecretLife::Until(end)
                };
                let lives = vec![(number, SecretLife::Current), (current.number, old)];
                Plan::Change(Box::new(change_of(
                    stored,
                    lives,
                    Some(first_used_at),
                    "key.rotation_first_use",
                )))
            },
        )
        .await
    }

    /// Ends the secrets of a key whose time is over, as [`crate::tend_keys`] finds them.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) async fn end_overdue_secrets(
        &self,
        context: Context,
        organization: OrganizationId,
        id: KeyId,
    ) -> Result<Written, EngineError> {
        self.write_key(
            context,
            (organization, id),
            BrokenSeals::Refuse,
            |stored, _, now| {
                let is_over = |secret: &&StoredSecret| secret.life.ends_at().is_some_and(|end| end <= now);
                let over: Vec<&StoredSecret> = stored.secrets.iter().filter(is_over).collect();
                if over.is_empty() || stored.key.record.state.is_deleted() {
                    return Plan::Reached;
                }
                let is_dropped = over
                    .iter()
                    .any(|secret| matches!(secret.life, SecretLife::Pending { .. }));
                let action = if is_dropped {
                    "key.rotation_dropped"
                } else {
                    "key.rotation_end"
                };
                let lives = over
                    .iter()
                    .map(|secret| (secret.number, SecretLife::Ended))
                    .collect();
                Plan::Change(Box::new(change_of(stored, lives, stored.key.rotated_at, action)))
            },
        )
        .await
    }
}

/// The live secrets of a key that has not ended.
struct Live<'a> {
    current: &'a StoredSecret,
    /// The other one of a rotation that is under way.
    other: Option<&'a StoredSecret>,
}

fn live_of(stored: &StoredKey, now: Timestamp) -> Result<Live<'_>, EngineError> {
    let refused = |why: &str| Err(EngineError::Conflict(why.to_owned()));
    match stored.key.shown_state(now) {
        ShownState::Deleted => return refused("the key was deleted and never comes back; make a new one"),
        ShownState::Expired => {
            return refused("the key has expired; give it a later expiry first, or make a new one");
        }
        ShownState::Active | ShownState::Paused => {}
    }
    let current = stored
        .secrets
        .iter()
        .find(|secret| secret.life == SecretLife::Current);
    let Some(current) = current else {
        return refused("the key has no current secret; delete it and make a new one");
    };
    let is_other = |secret: &&StoredSecret| {
        secret.number != current.number && secret.life.is_live() && !secret.life.is_superseded(now)
    };
    Ok(Live {
        current,
        other: stored.secrets.iter().find(is_other),
    })
}

fn begin(stored: &StoredKey, newest_seen: Option<i64>, now: Timestamp) -> Result<Live<'_>, EngineError> {
    let live = live_of(stored, now)?;
    if stored.secrets.iter().map(|secret| secret.number).max() != newest_seen {
        return Err(EngineError::Conflict(
            "another rotation of this key came first; its secret is the new one".to_owned(),
        ));
    }
    match live.other.map(|other| other.life) {
        None => Ok(live),
        Some(SecretLife::Pending { .. }) => Err(EngineError::Conflict(
            "a rotation is under way: a new secret waits for its first use; finish or cancel that rotation first".to_owned(),
        )),
        Some(_) => Err(EngineError::Conflict(
            "a rotation is under way: the old secret is still accepted; finish or cancel that rotation first".to_owned(),
        )),
    }
}

fn mode_of(choice: RotationChoice, key: &Key, now: Timestamp) -> Result<RotationMode, EngineError> {
    let key_end = key.record.conditions.expires_at;
    let mode = match choice {
        RotationChoice::Mode(mode) => mode,
        RotationChoice::UsualOverlap => {
            let until = now.plus_ms(DEFAULT_OVERLAP_MS);
            RotationMode::Overlap {
                until: key_end.map_or(until, |end| end.min(until)),
            }
        }
    };
    mode.check(key_end, now).map_err(EngineError::Invalid)
}

fn rotation_of(
    stored: &StoredKey,
    (live, mode): (Live<'_>, RotationMode),
    (digest, hint): (keyward_core::key_digest::KeyDigest, String),
    beside: Beside,
    now: Timestamp,
) -> Change {
    let (new_life, old_life) = mode.lives(now);
    let rotated_at = match new_life {
        SecretLife::Current => Some(now),
        _ => stored.key.rotated_at,
    };
    // Those whose time is over are ended along the way, so that never more than two are stored as living.
    let mut lives: Vec<(i64, SecretLife)> = stored
        .secrets
        .iter()
        .filter(|secret| secret.life.ends_at().is_some_and(|end| end <= now))
        .map(|secret| (secret.number, SecretLife::Ended))
        .collect();
    lives.push((live.current.number, old_life));
    let mut change = change_of(stored, lives, rotated_at, "key.rotate");
    let number = stored
        .secrets
        .iter()
        .map(|secret| secret.number)
        .max()
        .unwrap_or(0)
        + 1;
    change.detail = change
        .detail
        .fact("mode", mode.name())
        .fact("new_secret", number)
        .fact("new_secret_is", new_life.name());
    change.secrets.added = Some(NewSecret {
        life: new_life,
        digest,
        hint,
    });
    change.beside = beside;
    change
}

fn change_of(
    stored: &StoredKey,
    lives: Vec<(i64, SecretLife)>,
    rotated_at: Option<Timestamp>,
    action: &'static str,
) -> Change {
    let mut detail = Detail::new();
    for (number, life) in &lives {
        let was = stored.secrets.iter().find(|secret| secret.number == *number);
        detail = detail.fact(&format!("secret_{number}"), life.name()).fact(
            &format!("secret_{number}_was"),
            was.map(|secret| secret.life.name()),
        );
        if let Some(end) = life.ends_at() {
            detail = detail.fact(&format!("secret_{number}_until_ms"), end.as_unix_ms());
        }
    }
    let key = Key {
        rotated_at,
        ..stored.key.clone()
    };
    Change {
        secrets: SecretsChange { lives, added: None },
        ..Change::of_key(key, action, detail)
    }
}
