//! Deliver notices: what is due goes out, at least once, in order per key and contact, and what became of it is written down.
//!
//! A delivery is marked after the answer, so that a crash in between repeats it; its id stays the same. Different keys and contacts
//! do not wait for each other: each contact has a few places of its own. How a notice is sent is a [`Channels`]'s, which the server
//! hands in; nothing here knows HTTP or SMTP. Driven by a tick of the server; tests call [`Engine::deliver_due`].

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use keyward_core::audit::Detail;
use keyward_core::contact::SecurityContact;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::notice::{Notice, NoticeKind, harmless};
use keyward_core::random::RandomSource;
use keyward_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use keyward_core::webhook_secret::WebhookSecret;
use keyward_store::deliveries::{ContactRow, Delivery, DeliveryStatus};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::Engine;
use crate::clock::SystemRandom;
use crate::error::EngineError;
use crate::notices::{given_up, system_contact_event};

const TICK: Duration = Duration::from_secs(1);
/// The longest that one attempt takes, whatever a channel does.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(45);
/// Attempts at a time, of all and of one contact.
const AT_ONCE: usize = 32;
const AT_ONCE_PER_CONTACT: usize = 2;
/// Contacts that are looked at in one round.
const CONTACTS: i64 = 500;
/// After how long it is tried again: after the first attempt, the second, ...; then it is given up.
const WAITS_MS: [i64; 9] = [
    5 * SECOND_MS,
    MINUTE_MS,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    24 * HOUR_MS,
    24 * HOUR_MS,
];
/// A contact to which nothing came through for so long is switched off.
const LASTING_FAILURE_MS: i64 = 3 * DAY_MS;
/// The longest wait that a contact can ask for.
const MAX_ASKED_WAIT_MS: i64 = HOUR_MS;

/// A notice on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The same for every attempt, and for nothing else.
    pub id: String,
    /// To whom.
    pub contact: SecurityContact,
    /// What a webhook's call is signed with.
    pub secret: Option<WebhookSecret>,
    /// What is told.
    pub notice: Notice,
    /// The moment of the attempt.
    pub now: Timestamp,
}

/// What became of one attempt. A text is for those who manage the contact: it says what would help, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Sent {
        /// The answer's status.
        status: Option<u16>,
    },
    /// The contact wants to hear nothing any more.
    Gone {
        /// The answer's status.
        status: u16,
    },
    /// It may arrive later.
    Failed {
        /// The answer's status.
        status: Option<u16>,
        /// Why.
        why: String,
        /// How long the contact asks to be left alone.
        retry_after_ms: Option<i64>,
    },
    /// This one will never arrive.
    Refused {
        /// The answer's status.
        status: Option<u16>,
        /// Why.
        why: String,
    },
    /// This installation has no way to such contacts.
    NoChannel {
        /// What is missing.
        why: String,
    },
}

/// What a channel's attempt is.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Sends notices.
pub trait Channels: Send + Sync + 'static {
    /// Tries once.
    fn send(&self, outgoing: Outgoing) -> Attempt<'_>;
}

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Events that became deliveries.
    pub told: usize,
    /// Attempts that were made.
    pub attempts: usize,
    /// Deliveries that arrived.
    pub sent: usize,
}

/// What is on its way.
pub(crate) struct Deliveries {
    channels: OnceLock<Arc<dyn Channels>>,
    under_way: Mutex<HashMap<(OrganizationId, String), HashSet<i64>>>,
    places: Arc<Semaphore>,
    /// Held while it is written whether a contact fails or is switched off: two outcomes must not overwrite each other.
    pub(crate) standing: tokio::sync::Mutex<()>,
    purged_at_ms: AtomicI64,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            channels: OnceLock::new(),
            under_way: Mutex::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            standing: tokio::sync::Mutex::default(),
            purged_at_ms: AtomicI64::new(0),
        }
    }
}

/// A delivery's place among those under way, until it is dropped.
struct Reserved {
    engine: Engine,
    delivery: Delivery,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.engine
            .inner
            .deliveries
            .release(std::slice::from_ref(&self.delivery));
    }
}

impl Deliveries {
    /// Notes deliveries as under way, beyond any bound.
    pub(crate) fn reserve(&self, deliveries: &[Delivery]) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        for one in deliveries {
            let contact = (one.organization_id.clone(), one.contact.clone());
            under_way.entry(contact).or_default().insert(one.number);
        }
    }

    pub(crate) fn release(&self, deliveries: &[Delivery]) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        for one in deliveries {
            let contact = (one.organization_id.clone(), one.contact.clone());
            if let Some(numbers) = under_way.get_mut(&contact) {
                numbers.remove(&one.number);
                if numbers.is_empty() {
                    under_way.remove(&contact);
                }
            }
        }
    }

    /// Notes a delivery as under way, if it is not and its contact has a place.
    fn try_reserve(&self, delivery: &Delivery) -> bool {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let contact = (delivery.organization_id.clone(), delivery.contact.clone());
        let numbers = under_way.entry(contact).or_default();
        numbers.len() < AT_ONCE_PER_CONTACT && numbers.insert(delivery.number)
    }

    fn is_full(&self, contact: &(OrganizationId, String)) -> bool {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way
            .get(contact)
            .is_some_and(|numbers| numbers.len() >= AT_ONCE_PER_CONTACT)
    }
}

impl Engine {
    /// Hands in how notices are sent; the first one stays. Without any, notices wait.
    pub fn use_channels(&self, channels: Arc<dyn Channels>) {
        drop(self.inner.deliveries.channels.set(channels));
    }

    /// Delivers every second until the engine shuts down. To be run in a task of its own.
    pub async fn deliver_until_stopped(&self) {
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            if !self.inner.right.is_held_first() {
                continue;
            }
            // What is under way is not waited for: a slow contact must not hold up the next round.
            if let Err(error) = self.begin_round().await {
                tracing::warn!(%error, "notices could not be delivered; it is tried again");
            }
        }
    }

    /// Delivers what is due now, and waits for it.
    ///
    /// # Errors
    /// [`EngineError`]; what was sent so far stays so.
    pub async fn deliver_due(&self) -> Result<Delivered, EngineError> {
        let (told, under_way) = self.begin_round().await?;
        let mut delivered = Delivered {
            told,
            attempts: under_way.len(),
            sent: 0,
        };
        for one in under_way {
            let became = one.await.unwrap_or(None);
            delivered.sent += usize::from(became == Some(DeliveryStatus::Sent));
        }
        Ok(delivered)
    }

    async fn begin_round(&self) -> Result<(usize, Vec<JoinHandle<Option<DeliveryStatus>>>), EngineError> {
        let now = self.now();
        let told = self.spread_events(now).await?;
        let state = &self.inner.deliveries;
        // A write, so not at every tick.
        if now.as_unix_ms()
            >= state
                .purged_at_ms
                .load(Ordering::Relaxed)
                .saturating_add(MINUTE_MS)
        {
            self.purge_told(now).await?;
            state.purged_at_ms.store(now.as_unix_ms(), Ordering::Relaxed);
        }
        let mut under_way = Vec::new();
        if state.channels.get().is_none() {
            return Ok((told, under_way));
        }
        let store = &self.inner.store;
        for contact in store.list_due_contacts(now, CONTACTS).await? {
            if state.is_full(&contact) {
                continue;
            }
            // Those that are under way are found too.
            let limit = 2 * AT_ONCE_PER_CONTACT as i64;
            for delivery in store
                .list_due_deliveries((&contact.0, &contact.1), now, limit)
                .await?
            {
                let Ok(place) = Arc::clone(&state.places).try_acquire_owned() else {
                    return Ok((told, under_way));
                };
                if !state.try_reserve(&delivery) {
                    continue;
                }
                let reserved = Reserved {
                    engine: self.clone(),
                    delivery,
                    _place: Some(place),
                };
                under_way.push(self.inner.tasks.spawn(async move { reserved.deliver().await }));
            }
        }
        Ok((told, under_way))
    }

    /// Tries deliveries that were reserved once each, all at a time, and tells what became of them; one that fails is given up.
    pub(crate) async fn deliver_at_once(&self, tests: Vec<Delivery>) -> Result<Vec<Delivery>, EngineError> {
        let mut under_way = Vec::new();
        for delivery in tests {
            let reserved = Reserved {
                engine: self.clone(),
                delivery,
                _place: None,
            };
            under_way.push(self.inner.tasks.spawn(async move {
                let one = &reserved.delivery;
                reserved.engine.attempt_delivery(one, Retries::None).await
            }));
        }
        let mut done = Vec::new();
        for one in under_way {
            done.push(one.await.unwrap_or(Err(EngineError::OutcomeUnknown))?);
        }
        Ok(done)
    }

    /// Sends one delivery and writes down what became of it.
    async fn attempt_delivery(&self, delivery: &Delivery, retries: Retries) -> Result<Delivery, EngineError> {
        let (organization, contact) = (&delivery.organization_id, delivery.contact.as_str());
        let found = self.inner.store.find_contact(organization, contact).await?;
        let outcome = match found {
            None => Outcome::NoChannel {
                why: "the contact was removed".to_owned(),
            },
            Some(row) => match &row.disabled {
                // Whoever asks for a test wants to know whether it works again.
                Some((_, why)) if retries == Retries::Scheduled => Outcome::NoChannel {
                    why: format!("the contact is switched off: {why}"),
                },
                _ => self.send(delivery, &row).await?,
            },
        };
        self.note_delivery(delivery, outcome, retries).await
    }

    async fn send(&self, delivery: &Delivery, row: &ContactRow) -> Result<Outcome, EngineError> {
        let Some(channels) = self.inner.deliveries.channels.get() else {
            return Ok(Outcome::NoChannel {
                why: "this program sends no notices; a server does".to_owned(),
            });
        };
        let Some(contact) = contact_of(row) else {
            return Ok(Outcome::NoChannel {
                why: "the contact's address can't be read".to_owned(),
            });
        };
        let opened = row
            .sealed
            .as_ref()
            .map(|sealed| WebhookSecret::open(&self.keyring(), sealed, (&row.organization_id, &row.contact)));
        let secret = match opened.transpose() {
            Ok(secret) => secret,
            Err(refused) => {
                tracing::error!(contact = row.contact, %refused, "ALARM: a signing secret does not open");
                self.inner.metrics.alarms.increment(1);
                return Ok(Outcome::Refused {
                    status: None,
                    why: "the signing secret does not open; rotate it".to_owned(),
                });
            }
        };
        let outgoing = Outgoing {
            id: message_id(delivery),
            contact,
            secret,
            notice: self.notice_of(delivery).await?,
            now: self.now(),
        };
        let sending = tokio::time::timeout(ATTEMPT_PATIENCE, channels.send(outgoing));
        tokio::select! {
            // Not marked: it is sent again by the next start.
            () = self.inner.stop.cancelled() => Err(EngineError::OutcomeUnknown),
            outcome = sending => Ok(outcome.unwrap_or_else(|_| Outcome::Failed {
                status: None,
                why: "it took too long".to_owned(),
                retry_after_ms: None,
            })),
        }
    }

    async fn notice_of(&self, delivery: &Delivery) -> Result<Notice, EngineError> {
        let store = &self.inner.store;
        let id = &delivery.organization_id;
        let organization = store.find_organization(id).await?;
        let key_name = match delivery.key_id.parse::<KeyId>() {
            // What can't be read any more is told without its name.
            Ok(key) => store.find_key(id, key).await.unwrap_or(None),
            Err(_) => None,
        };
        Ok(Notice {
            kind: NoticeKind::from_name(&delivery.kind).unwrap_or(NoticeKind::Test),
            organization_id: id.clone(),
            organization_name: organization.map_or_else(|| id.to_string(), |found| found.name),
            key_id: (!delivery.key_id.is_empty()).then(|| delivery.key_id.clone()),
            key_name: key_name.map(|key| key.name.as_str().to_owned()),
            facts: serde_json::from_str(&delivery.payload).unwrap_or_default(),
            at: delivery.happened_at,
        })
    }

    /// Writes down what became of an attempt, and what follows for the contact.
    async fn note_delivery(
        &self,
        delivery: &Delivery,
        outcome: Outcome,
        retries: Retries,
    ) -> Result<Delivery, EngineError> {
        let now = self.now();
        let _standing = self.inner.deliveries.standing.lock().await;
        let (organization, contact) = (&delivery.organization_id, delivery.contact.as_str());
        let row = self.inner.store.find_contact(organization, contact).await?;
        let after = after_attempt(delivery, &outcome, (now, retries), &mut SystemRandom);
        let mut tx = self.inner.store.begin().await?;
        tx.update_delivery(&after).await?;
        if let Some(row) = row {
            let standing = standing_after(&row, &outcome, after.next_attempt_at, now);
            let newly_disabled = standing.disabled.as_ref().filter(|_| row.disabled.is_none());
            if let Some((_, why)) = newly_disabled {
                let told = format!("the contact is switched off: {why}");
                tx.give_up_deliveries((organization, contact), &told, now).await?;
                let detail = Detail::new().fact("reason", why.as_str());
                let event = system_contact_event("contact.disable", (contact, delivery.number), detail);
                tx.append_audit(organization.as_str(), &event, now).await?;
                tracing::warn!(organization.id = %organization, contact, why, "a security contact is switched off");
            }
            if standing != row {
                tx.update_contact_standing(&standing).await?;
            }
        }
        tx.commit().await?;
        Ok(after)
    }
}

impl Reserved {
    async fn deliver(self) -> Option<DeliveryStatus> {
        let (engine, listed) = (&self.engine, &self.delivery);
        // It was listed before it was reserved, and may have been sent in between.
        let subject = (listed.number, listed.contact.as_str());
        let found = engine
            .inner
            .store
            .find_delivery(&listed.organization_id, subject)
            .await;
        let is_still_due =
            matches!(&found, Ok(Some(found)) if found.next_attempt_at == listed.next_attempt_at);
        if !is_still_due {
            return None;
        }
        match engine.attempt_delivery(listed, Retries::Scheduled).await {
            Ok(after) => Some(after.status),
            Err(EngineError::OutcomeUnknown) => None,
            Err(error) => {
                tracing::warn!(number = listed.number, contact = listed.contact, %error, "what became of a notice is not written down; it is sent again");
                None
            }
        }
    }
}

/// What a contact knows a delivery by.
pub fn message_id(delivery: &Delivery) -> String {
    format!("msg_{}_{}", delivery.number, delivery.contact)
}

/// Whether an attempt that fails is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retries {
    Scheduled,
    None,
}

fn contact_of(row: &ContactRow) -> Option<SecurityContact> {
    match row.kind.as_str() {
        "email" => row.address.parse().ok().map(SecurityContact::Email),
        "webhook" => row.address.parse().ok().map(SecurityContact::Webhook),
        _ => None,
    }
}

fn after_attempt(
    delivery: &Delivery,
    outcome: &Outcome,
    (now, retries): (Timestamp, Retries),
    random: &mut dyn RandomSource,
) -> Delivery {
    let status_of = |status: Option<u16>| status.map(i64::from);
    let tried = Delivery {
        attempts: delivery.attempts + 1,
        ..delivery.clone()
    };
    match outcome {
        Outcome::Sent { status } => Delivery {
            status: DeliveryStatus::Sent,
            next_attempt_at: None,
            finished_at: Some(now),
            last_status: status_of(*status),
            last_error: None,
            ..tried
        },
        Outcome::Gone { status } => Delivery {
            last_status: Some(i64::from(*status)),
            ..given_up(
                tried,
                "the contact wants to hear nothing any more".to_owned(),
                now,
            )
        },
        Outcome::Refused { status, why } => Delivery {
            last_status: status_of(*status),
            ..given_up(tried, harmless(why), now)
        },
        // It was not tried at all.
        Outcome::NoChannel { why } => given_up(delivery.clone(), harmless(why), now),
        Outcome::Failed {
            status,
            why,
            retry_after_ms,
        } => {
            let wait = match retries {
                Retries::Scheduled => wait_ms(tried.attempts, random),
                Retries::None => None,
            };
            let Some(wait) = wait else {
                return Delivery {
                    last_status: status_of(*status),
                    ..given_up(tried, harmless(why), now)
                };
            };
            let asked = retry_after_ms.unwrap_or(0).clamp(0, MAX_ASKED_WAIT_MS);
            Delivery {
                status: DeliveryStatus::Failed,
                next_attempt_at: Some(now.plus_ms(wait.max(asked))),
                last_status: status_of(*status),
                last_error: Some(harmless(why)),
                ..tried
            }
        }
    }
}

/// How long is waited after so many attempts, up to a fifth longer than planned, so that many do not come back at once. `None`: no
/// more.
fn wait_ms(attempts: i64, random: &mut dyn RandomSource) -> Option<i64> {
    let at = usize::try_from(attempts).ok()?.checked_sub(1)?;
    let planned = *WAITS_MS.get(at)?;
    let mut byte = [0_u8];
    // Without chance all come back at once, which is no reason not to come back.
    let chance = random.fill(&mut byte).map_or(0, |()| i64::from(byte[0]));
    Some(planned + planned / 5 * chance / 255)
}

fn standing_after(
    row: &ContactRow,
    outcome: &Outcome,
    next_attempt_at: Option<Timestamp>,
    now: Timestamp,
) -> ContactRow {
    let mut after = row.clone();
    match outcome {
        Outcome::Sent { .. } => {
            after.failing_since = None;
            after.retry_at = None;
        }
        Outcome::NoChannel { .. } => {}
        Outcome::Gone { status } => {
            let why = format!("it answered {status}: it wants to hear nothing any more");
            after.disabled.get_or_insert((now, why));
        }
        Outcome::Failed { why, .. } | Outcome::Refused { why, .. } => {
            let since = *after.failing_since.get_or_insert(now);
            if since.plus_ms(LASTING_FAILURE_MS) <= now {
                let why = format!(
                    "nothing came through for three days; the last time: {}",
                    harmless(why)
                );
                after.disabled.get_or_insert((now, why));
            }
            if let Outcome::Failed {
                retry_after_ms: Some(_),
                ..
            } = outcome
            {
                after.retry_at = next_attempt_at;
            }
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(u8);
    impl RandomSource for Always {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), keyward_core::random::RandomUnavailable> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn waits_grow_and_end_after_about_three_days() {
        let (mut shortest, mut longest) = (0, 0);
        let mut attempts = 1;
        while let Some(wait) = wait_ms(attempts, &mut Always(0)) {
            let most = wait_ms(attempts, &mut Always(255)).unwrap();
            assert!(most >= wait && most <= wait + wait / 5);
            shortest += wait;
            longest += most;
            attempts += 1;
        }
        assert_eq!(attempts, 10);
        assert!(
            shortest > 2 * DAY_MS && longest < 4 * DAY_MS,
            "{shortest} {longest}"
        );
        assert_eq!(wait_ms(1, &mut Always(0)), Some(5_000));
        assert_eq!(wait_ms(0, &mut Always(0)), None);
    }
}
