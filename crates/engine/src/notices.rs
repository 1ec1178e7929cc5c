//! Notices: from the outbox to one delivery for each event and security contact, and what those who manage contacts do.
//!
//! Which events are told is [`keyward_core::notice`]'s; sending is [`crate::deliver`]'s. A contact's channel (its signing secret,
//! whether it is switched off) is made with the contact and goes with it. Signing secrets are handed out once.

use keyward_core::audit::{Detail, Event};
use keyward_core::contact::SecurityContact;
use keyward_core::ids::OrganizationId;
use keyward_core::notice::NoticeKind;
use keyward_core::record::Actor;
use keyward_core::secret::Secret;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_core::webhook_secret::{WebhookSecret, WebhookSecretKind, contact_id};
use keyward_store::deliveries::{ContactRow, Delivery, DeliveryFilter, DeliveryStatus, OutboxEvent};
use keyward_store::organizations::Organization;
use keyward_store::{StoreError, Tx};
use serde_json::Value;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::context::Context;
use crate::error::EngineError;
use crate::show_keys::Page;
use crate::standing::{acting_role, require_manager};

/// Events that are read at a time, and how often in one round.
const STEP: i64 = 200;
const STEPS: usize = 20;
/// More than so many wait for no contact: what comes then is recorded as not sent.
const MAX_WAITING: i64 = 10_000;
/// For how long deliveries that were sent or given up can be looked up.
pub const DELIVERY_LIFE_MS: i64 = 90 * DAY_MS;
/// For how long events stay in the outbox after they were turned into deliveries.
const EVENT_LIFE_MS: i64 = 30 * DAY_MS;
/// Rows that are removed at a time.
const PURGE_STEP: i64 = 500;

/// A webhook's new signing secret.
#[derive(Debug)]
pub struct SigningSecret {
    /// The contact's id.
    pub contact: String,
    /// Its URL.
    pub address: String,
    /// The secret, to be shown once.
    pub secret: Secret<WebhookSecretKind>,
}

/// The channels of an organization's contacts.
pub(crate) struct KeptContacts {
    pub(crate) rows: Vec<ContactRow>,
    /// Secrets of those that were not there before.
    pub(crate) signing_secrets: Vec<SigningSecret>,
}

/// Events of one organization up to a number, with those in between that are not told.
struct Run<'a> {
    to: i64,
    told: Vec<(&'a OutboxEvent, NoticeKind)>,
}

impl Engine {
    /// Turns events of the outbox into deliveries; how many events were told.
    pub(crate) async fn spread_events(&self, now: Timestamp) -> Result<usize, EngineError> {
        let mut told = 0;
        for _ in 0..STEPS {
            let events = self.inner.store.list_undelivered_events(STEP).await?;
            if events.is_empty() {
                break;
            }
            for run in runs(&events) {
                told += self.spread_run(&run, now).await?;
            }
        }
        Ok(told)
    }

    async fn spread_run(&self, run: &Run<'_>, now: Timestamp) -> Result<usize, EngineError> {
        let _sealing = self.inner.sealing.read().await;
        let mut tx = self.inner.store.begin().await?;
        let organization = match run.told.first() {
            Some((event, _)) => told_organization(&mut tx, &event.organization_id).await?,
            None => None,
        };
        // After the lock: who else turned these waited for it, or is waited for.
        if !tx.move_delivery_cursor(run.to).await? {
            return Ok(tx.rollback().await.map(|()| 0)?);
        }
        let mut told = 0;
        if let Some(organization) = organization {
            let contacts = self.keep_contacts(&mut tx, &organization, now).await?;
            for contact in &contacts.rows {
                let waiting = tx
                    .count_open_deliveries(&organization.id, &contact.contact, MAX_WAITING)
                    .await?;
                let room = usize::try_from(MAX_WAITING.saturating_sub(waiting)).unwrap_or(0);
                for (at, (event, kind)) in run.told.iter().enumerate() {
                    let mut delivery = delivery_of(&organization.id, contact, event, *kind);
                    let unsent = match &contact.disabled {
                        Some((_, why)) => Some(format!("the contact is switched off: {why}")),
                        None if at >= room => {
                            Some("too many notices are waiting for this contact".to_owned())
                        }
                        None => None,
                    };
                    if let Some(why) = unsent {
                        delivery = given_up(delivery, why, now);
                    }
                    tx.insert_delivery(&delivery).await?;
                }
            }
            told = run.told.len();
        }
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(told)
    }

    /// Makes the channels those of the organization's contacts: new ones are added, and what belongs to none any more goes. The
    /// organization's row must be locked, and the keyring held from being rotated.
    pub(crate) async fn keep_contacts(
        &self,
        tx: &mut Tx,
        organization: &Organization,
        now: Timestamp,
    ) -> Result<KeptContacts, EngineError> {
        let id = &organization.id;
        let contacts = &organization.settings.security_contacts;
        let wanted: Vec<String> = contacts.iter().map(|one| contact_id(id, one)).collect();
        let (mut rows, gone): (Vec<_>, Vec<_>) = tx
            .list_contacts(id)
            .await?
            .into_iter()
            .partition(|row| wanted.contains(&row.contact));
        for row in gone {
            tx.give_up_deliveries((id, &row.contact), "the contact was removed", now)
                .await?;
            tx.delete_contact(id, &row.contact).await?;
        }
        let mut signing_secrets = Vec::new();
        for (contact, contact_id) in contacts.iter().zip(wanted) {
            if rows.iter().any(|row| row.contact == contact_id) {
                continue;
            }
            let sealed = match contact {
                SecurityContact::Email(_) => None,
                SecurityContact::Webhook(url) => {
                    let secret = WebhookSecret::generate(&mut SystemRandom)?;
                    signing_secrets.push(SigningSecret {
                        contact: contact_id.clone(),
                        address: url.as_str().to_owned(),
                        secret: secret.text(),
                    });
                    Some(secret.seal(&self.keyring(), (id, &contact_id), &mut SystemRandom)?)
                }
            };
            let row = ContactRow {
                organization_id: id.clone(),
                contact: contact_id,
                kind: contact.kind().to_owned(),
                address: contact.address().to_owned(),
                sealed,
                failing_since: None,
                retry_at: None,
                disabled: None,
                created_at: now,
            };
            tx.insert_contact(&row).await?;
            rows.push(row);
        }
        Ok(KeptContacts {
            rows,
            signing_secrets,
        })
    }

    /// Forgets what was told long ago, in one small step.
    pub(crate) async fn purge_told(&self, now: Timestamp) -> Result<u64, EngineError> {
        let before = (now.plus_ms(-DELIVERY_LIFE_MS), now.plus_ms(-EVENT_LIFE_MS));
        Ok(self.inner.store.purge_deliveries(before, PURGE_STEP).await?)
    }

    /// Deliveries of an organization, the newest first.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_deliveries(
        &self,
        organization: &OrganizationId,
        filter: &DeliveryFilter,
        after: &str,
        limit: u32,
    ) -> Result<Page<Delivery>, EngineError> {
        // What is no position of ours begins at the start, as an empty one does.
        let (number, contact) = after
            .split_once('.')
            .and_then(|(number, contact)| Some((number.parse().ok()?, contact)))
            .unwrap_or((i64::MAX, ""));
        let limit_and_one = i64::from(limit) + 1;
        let rows = self
            .inner
            .store
            .list_deliveries(organization, filter, (number, contact), limit_and_one);
        Ok(Page::cut(rows.await?, limit, |delivery| {
            format!("{}.{}", delivery.number, delivery.contact)
        }))
    }

    /// The security contacts of an organization with their channels.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] without the organization.
    pub async fn list_contacts(&self, organization: &OrganizationId) -> Result<Vec<ContactRow>, EngineError> {
        let _sealing = self.inner.sealing.read().await;
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        let found = found.ok_or(EngineError::NotFound("organization"))?;
        let kept = self.keep_contacts(&mut tx, &found, self.now()).await?;
        tx.commit().await?;
        Ok(kept.rows)
    }

    /// Switches a contact on again, that was switched off or fails; what was given up meanwhile stays so.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Forbidden`].
    pub async fn enable_contact(
        &self,
        context: &Context,
        organization: &OrganizationId,
        contact: &str,
    ) -> Result<ContactRow, EngineError> {
        let _standing = self.inner.deliveries.standing.lock().await;
        let (mut tx, row) = self.lock_contact(context, organization, contact).await?;
        if row.disabled.is_none() && row.failing_since.is_none() && row.retry_at.is_none() {
            tx.rollback().await?;
            return Ok(row);
        }
        let reason = row.disabled.as_ref().map(|(_, reason)| reason.clone());
        let row = ContactRow {
            failing_since: None,
            retry_at: None,
            disabled: None,
            ..row
        };
        tx.update_contact_standing(&row).await?;
        let detail = Detail::new().fact("was_disabled", reason);
        tx.append_audit(
            organization.as_str(),
            &contact_event(context, "contact.enable", contact, detail),
            self.now(),
        )
        .await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Gives a webhook a new signing secret; the old one signs nothing from now on.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Forbidden`], [`EngineError::Conflict`] for a contact without one.
    pub async fn rotate_signing_secret(
        &self,
        context: &Context,
        organization: &OrganizationId,
        contact: &str,
    ) -> Result<SigningSecret, EngineError> {
        let _sealing = self.inner.sealing.read().await;
        let (mut tx, row) = self.lock_contact(context, organization, contact).await?;
        if row.kind != "webhook" {
            return Err(EngineError::Conflict(
                "mail is not signed; only a webhook has a signing secret".to_owned(),
            ));
        }
        let secret = WebhookSecret::generate(&mut SystemRandom)?;
        let sealed = secret.seal(&self.keyring(), (organization, contact), &mut SystemRandom)?;
        tx.update_contact_seal(organization, contact, &sealed).await?;
        let event = contact_event(context, "contact.rotate_secret", contact, Detail::new());
        tx.append_audit(organization.as_str(), &event, self.now()).await?;
        tx.fence(self.inner.right.epoch()).await?;
        tx.commit().await?;
        Ok(SigningSecret {
            contact: row.contact,
            address: row.address,
            secret: secret.text(),
        })
    }

    /// Sends a test message to one contact or to all of them, now, and tells what became of each. It is tried once.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Forbidden`], [`EngineError::Conflict`] if there is no contact.
    pub async fn test_contacts(
        &self,
        context: Context,
        organization: OrganizationId,
        contact: Option<String>,
    ) -> Result<Vec<Delivery>, EngineError> {
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move {
            let tests = engine
                .write_tests(&context, &organization, contact.as_deref())
                .await?;
            engine.deliver_at_once(tests).await
        });
        task.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    async fn write_tests(
        &self,
        context: &Context,
        organization: &OrganizationId,
        contact: Option<&str>,
    ) -> Result<Vec<Delivery>, EngineError> {
        let now = self.now();
        let _sealing = self.inner.sealing.read().await;
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        let found = found.ok_or(EngineError::NotFound("organization"))?;
        require_manager(acting_role(&mut tx, organization, &context.actor).await?)?;
        let rows = self.keep_contacts(&mut tx, &found, now).await?.rows;
        let meant: Vec<&ContactRow> = rows
            .iter()
            .filter(|row| contact.is_none_or(|contact| row.contact == contact))
            .collect();
        if meant.is_empty() {
            return Err(match contact {
                Some(_) => EngineError::NotFound("security contact"),
                None => EngineError::Conflict(
                    "the organization has no security contact; name one first".to_owned(),
                ),
            });
        }
        let detail = Detail::new().fact("contacts", meant.len());
        let event = contact_event(context, "contact.test", contact.unwrap_or("all"), detail);
        tx.append_audit(organization.as_str(), &event, now).await?;
        // Not told by way of the outbox, in which it would be told to all.
        let number = tx.take_change(self.inner.right.epoch()).await?;
        let mut tests = Vec::new();
        for row in meant {
            let test = Delivery {
                organization_id: organization.clone(),
                number,
                contact: row.contact.clone(),
                contact_kind: row.kind.clone(),
                key_id: String::new(),
                kind: NoticeKind::Test.name().to_owned(),
                payload: "{}".to_owned(),
                happened_at: now,
                status: DeliveryStatus::Pending,
                attempts: 0,
                next_attempt_at: Some(now),
                finished_at: None,
                last_status: None,
                last_error: None,
            };
            tx.insert_delivery(&test).await?;
            tests.push(test);
        }
        // Before anybody can find them: nobody else must send them.
        self.inner.deliveries.reserve(&tests);
        match tx.commit().await {
            Ok(()) => Ok(tests),
            Err(error) => {
                self.inner.deliveries.release(&tests);
                Err(error.into())
            }
        }
    }

    /// The channel of a contact, its organization's row locked, for somebody who manages it.
    async fn lock_contact(
        &self,
        context: &Context,
        organization: &OrganizationId,
        contact: &str,
    ) -> Result<(Tx, ContactRow), EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let found = tx.lock_organization(organization).await?;
        found.ok_or(EngineError::NotFound("organization"))?;
        require_manager(acting_role(&mut tx, organization, &context.actor).await?)?;
        let rows = tx.list_contacts(organization).await?;
        let row = rows.into_iter().find(|row| row.contact == contact);
        Ok((tx, row.ok_or(EngineError::NotFound("security contact"))?))
    }
}

/// The organization that is told of its event; `None` if it is gone, is going, or can't be read.
async fn told_organization(tx: &mut Tx, id: &str) -> Result<Option<Organization>, EngineError> {
    let Ok(id) = id.parse::<OrganizationId>() else {
        return Ok(None);
    };
    match tx.lock_organization(&id).await {
        Ok(found) => Ok(found.filter(|organization| organization.deletion.is_none())),
        Err(StoreError::Unreadable { what }) => {
            // Others must still be told of theirs.
            tracing::error!(organization.id = %id, what, "an organization can't be read, so that nobody is told of its events");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn runs(events: &[OutboxEvent]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for event in events {
        let payload = serde_json::from_str(&event.payload).unwrap_or(Value::Null);
        let kind = NoticeKind::of_event(&event.kind, &payload);
        let joins = |run: &&mut Run<'_>| {
            let first = run.told.first();
            kind.is_none() || first.is_none_or(|(first, _)| first.organization_id == event.organization_id)
        };
        let told = kind.map(|kind| (event, kind));
        match runs.last_mut().filter(joins) {
            Some(run) => {
                run.to = event.number;
                run.told.extend(told);
            }
            None => runs.push(Run {
                to: event.number,
                told: told.into_iter().collect(),
            }),
        }
    }
    runs
}

fn delivery_of(
    organization: &OrganizationId,
    contact: &ContactRow,
    event: &OutboxEvent,
    kind: NoticeKind,
) -> Delivery {
    let happened_at = Timestamp::from_unix_ms(event.created_at);
    Delivery {
        organization_id: organization.clone(),
        number: event.number,
        contact: contact.contact.clone(),
        contact_kind: contact.kind.clone(),
        key_id: event.key_id.clone(),
        kind: kind.name().to_owned(),
        payload: event.payload.clone(),
        happened_at,
        status: DeliveryStatus::Pending,
        attempts: 0,
        next_attempt_at: Some(happened_at),
        finished_at: None,
        last_status: None,
        last_error: None,
    }
}

pub(crate) fn given_up(delivery: Delivery, why: String, now: Timestamp) -> Delivery {
    Delivery {
        status: DeliveryStatus::GivenUp,
        next_attempt_at: None,
        finished_at: Some(now),
        last_error: Some(why),
        ..delivery
    }
}

fn contact_event(context: &Context, action: &'static str, contact: &str, detail: Detail) -> Event {
    Event {
        actor: context.actor.to_string(),
        action,
        target: format!("contact/{contact}"),
        request_id: context.request_id.to_string(),
        detail,
    }
}

/// What the system itself did to a contact, in the trail.
pub(crate) fn system_contact_event(
    action: &'static str,
    (contact, number): (&str, i64),
    detail: Detail,
) -> Event {
    Event {
        actor: Actor::System.to_string(),
        action,
        target: format!("contact/{contact}"),
        request_id: format!("delivery-{number}"),
        detail,
    }
}
