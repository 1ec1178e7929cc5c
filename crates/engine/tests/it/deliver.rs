//! Notices reach their contacts: at least once, in order per key, and nobody waits for somebody else's dead address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use keyward_core::contact::SecurityContact;
use keyward_core::ids::OrganizationId;
use keyward_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use keyward_core::webhook_secret::contact_id;
use keyward_engine::EngineError;
use keyward_engine::deliver::{Attempt, Channels, Outcome, Outgoing};
use keyward_engine::edit_settings::SettingsEdit;
use keyward_store::deliveries::{Delivery, DeliveryFilter, DeliveryStatus};
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

const GOOD: &str = "https://good.example.com/hook";
const BAD: &str = "https://bad.example.com/hook";

/// Answers by address: what is to be answered next; where nothing is said, it arrives.
#[derive(Default)]
pub(crate) struct Scripted {
    answers: Mutex<HashMap<String, Vec<Outcome>>>,
    sent: Mutex<Vec<Outgoing>>,
}

impl Scripted {
    fn will_answer(&self, address: &str, outcome: Outcome, times: usize) {
        let mut answers = self.answers.lock().unwrap();
        let queue = answers.entry(address.to_owned()).or_default();
        queue.extend(std::iter::repeat_n(outcome, times));
    }

    /// What was tried at an address so far: kind and key.
    fn tried(&self, address: &str) -> Vec<(String, String)> {
        let sent = self.sent.lock().unwrap();
        let there = sent.iter().filter(|one| one.contact.address() == address);
        there
            .map(|one| {
                let notice = &one.notice;
                (
                    notice.kind.name().to_owned(),
                    notice.key_id.clone().unwrap_or_default(),
                )
            })
            .collect()
    }
}

impl Channels for Scripted {
    fn send(&self, outgoing: Outgoing) -> Attempt<'_> {
        let mut answers = self.answers.lock().unwrap();
        let queue = answers.get_mut(outgoing.contact.address());
        let answer = queue
            .filter(|queue| !queue.is_empty())
            .map(|queue| queue.remove(0));
        self.sent.lock().unwrap().push(outgoing);
        Box::pin(async move { answer.unwrap_or(Outcome::Sent { status: Some(200) }) })
    }
}

fn failed(retry_after_ms: Option<i64>) -> Outcome {
    Outcome::Failed {
        status: Some(500),
        why: "it answered 500".to_owned(),
        retry_after_ms,
    }
}

struct Scene {
    test: TestEngine,
    organization: OrganizationId,
    channels: Arc<Scripted>,
}

impl Scene {
    async fn new(kind: Kind, contacts: &[&str]) -> Self {
        let test = TestEngine::new(kind).await;
        let organization = test.organization("org-1").await;
        let channels = Arc::new(Scripted::default());
        test.engine
            .use_channels(Arc::clone(&channels) as Arc<dyn Channels>);
        let scene = Self {
            test,
            organization,
            channels,
        };
        scene.set_contacts(contacts).await;
        scene
    }

    async fn set_contacts(&self, contacts: &[&str]) -> usize {
        let edit = SettingsEdit {
            security_contacts: Some(contacts.iter().map(|address| contact(address)).collect()),
            ..SettingsEdit::default()
        };
        let engine = &self.test.engine;
        let edited = engine
            .edit_settings(&context(), &self.organization, None, edit)
            .await;
        edited.unwrap().signing_secrets.len()
    }

    /// Makes a key and ends it, which is told; its id.
    async fn end_a_key(&self) -> String {
        let key = self.test.full_key(&self.organization).await.key.record.id;
        self.test.delete(&self.organization, key).await.unwrap();
        key.to_string()
    }

    async fn round(&self) -> usize {
        self.test.engine.deliver_due().await.unwrap().attempts
    }

    async fn round_after(&self, ms: i64) -> usize {
        self.test.clock.advance_ms(ms);
        self.round().await
    }

    async fn listed(&self) -> Vec<Delivery> {
        let filter = DeliveryFilter::default();
        let engine = &self.test.engine;
        let page = engine
            .list_deliveries(&self.organization, &filter, "", 1_000)
            .await;
        page.unwrap().items
    }

    fn id(&self, address: &str) -> String {
        contact_id(&self.organization, &contact(address))
    }
}

fn contact(address: &str) -> SecurityContact {
    if address.starts_with("https") {
        SecurityContact::Webhook(address.parse().unwrap())
    } else {
        SecurityContact::Email(address.parse().unwrap())
    }
}

async fn every_contact_is_told_once(kind: Kind) {
    let scene = Scene::new(kind, &[GOOD, "sec@example.com"]).await;
    let key = scene.end_a_key().await;
    assert_eq!(scene.round().await, 2);
    for address in [GOOD, "sec@example.com"] {
        assert_eq!(
            scene.channels.tried(address),
            [("key.compromised".to_owned(), key.clone())]
        );
    }
    assert_eq!(scene.round_after(DAY_MS).await, 0, "once");
    let listed = scene.listed().await;
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .all(|one| one.status == DeliveryStatus::Sent && one.attempts == 1)
    );
    let sent = scene.channels.sent.lock().unwrap();
    assert_eq!(sent[0].notice.key_name.as_deref(), Some("A key of a test"));
    assert_eq!(sent.iter().filter(|one| one.secret.is_some()).count(), 1);
}

async fn a_later_notice_of_a_key_waits_for_the_earlier_and_for_no_other(kind: Kind) {
    let scene = Scene::new(kind, &[BAD, GOOD]).await;
    let organization = &scene.organization;
    let slow = scene.test.full_key(organization).await.key.record.id;
    let told = async |kind: &str| {
        let mut tx = scene.test.engine.store().begin().await.unwrap();
        let subject = (organization, slow.as_str());
        let epoch: i64 = scene
            .test
            .place
            .texts(&["SELECT CAST(epoch AS TEXT) FROM change_counter"])
            .await[0]
            .parse()
            .unwrap();
        tx.tell(subject, (kind, "{}"), epoch, scene.test.engine.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    told("key.rotation_due").await;
    told("key.rotation_overdue").await;
    scene.channels.will_answer(BAD, failed(None), 1);
    scene.round().await;
    scene.round().await;
    assert_eq!(
        scene.channels.tried(BAD).len(),
        1,
        "the second waits for the first"
    );
    let at_good: Vec<_> = scene
        .channels
        .tried(GOOD)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(at_good, ["key.rotation_due", "key.rotation_overdue"]);
    let other = scene.end_a_key().await;
    scene.round().await;
    assert_eq!(
        scene.channels.tried(BAD).last().unwrap().1,
        other,
        "another key waits for nobody"
    );
    scene.round_after(7 * SECOND_MS).await;
    scene.round().await;
    let at_bad: Vec<_> = scene
        .channels
        .tried(BAD)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(
        at_bad,
        [
            "key.rotation_due",
            "key.compromised",
            "key.rotation_due",
            "key.rotation_overdue"
        ]
    );
    let ids: Vec<_> = scene
        .channels
        .sent
        .lock()
        .unwrap()
        .iter()
        .map(|one| one.id.clone())
        .collect();
    let bad = scene.id(BAD);
    let first: Vec<_> = ids.iter().filter(|id| id.ends_with(&bad)).collect();
    assert_eq!(first[0], first[2], "a repetition has the same id");
}

async fn what_fails_for_three_days_switches_the_contact_off_until_it_is_switched_on(kind: Kind) {
    let scene = Scene::new(kind, &[BAD, GOOD]).await;
    scene.channels.will_answer(BAD, failed(None), 1_000);
    scene.end_a_key().await;
    for wait in [
        0,
        6 * SECOND_MS,
        72 * SECOND_MS,
        6 * MINUTE_MS,
        36 * MINUTE_MS,
        144 * MINUTE_MS,
    ] {
        assert!(scene.round_after(wait).await > 0, "after {wait}");
    }
    scene.round_after(3 * DAY_MS).await;
    let engine = &scene.test.engine;
    let contacts = engine.list_contacts(&scene.organization).await.unwrap();
    let bad = contacts.iter().find(|one| one.address == BAD).unwrap();
    assert!(bad.disabled.as_ref().unwrap().1.contains("three days"));
    assert!(contacts.iter().any(|one| one.disabled.is_none()));
    scene.end_a_key().await;
    scene.round().await;
    assert_eq!(scene.channels.tried(GOOD).len(), 2);
    let to_bad = scene
        .listed()
        .await
        .into_iter()
        .filter(|one| one.contact == bad.contact);
    let to_bad: Vec<_> = to_bad.collect();
    assert!(to_bad.iter().all(|one| one.status == DeliveryStatus::GivenUp));
    assert!(to_bad[0].last_error.as_ref().unwrap().contains("switched off"));
    assert_eq!(to_bad[0].attempts, 0);

    scene.channels.answers.lock().unwrap().clear();
    engine
        .enable_contact(&context(), &scene.organization, &bad.contact)
        .await
        .unwrap();
    scene.end_a_key().await;
    let before = scene.channels.tried(BAD).len();
    scene.round().await;
    assert_eq!(scene.channels.tried(BAD).len(), before + 1);
    let trail = ["SELECT action FROM audit_entry WHERE action LIKE 'contact.%' ORDER BY sequence"];
    assert_eq!(
        scene.test.place.texts(&trail).await,
        ["contact.disable", "contact.enable"]
    );
}

async fn a_contact_decides_when_it_is_called_and_whether(kind: Kind) {
    let scene = Scene::new(kind, &[BAD]).await;
    scene.channels.will_answer(BAD, failed(Some(10 * MINUTE_MS)), 1);
    scene.end_a_key().await;
    scene.round().await;
    scene.end_a_key().await;
    assert_eq!(scene.round_after(9 * MINUTE_MS).await, 0, "of no key");
    assert_eq!(scene.round_after(MINUTE_MS).await, 2);
    // Nobody is kept waiting for longer than an hour by what a contact asks.
    scene.channels.will_answer(BAD, failed(Some(900 * DAY_MS)), 1);
    scene.end_a_key().await;
    scene.round().await;
    assert_eq!(scene.round_after(HOUR_MS).await, 1);
    scene.channels.will_answer(BAD, Outcome::Gone { status: 410 }, 1);
    scene.end_a_key().await;
    scene.end_a_key().await;
    scene.round().await;
    scene.round_after(3 * DAY_MS).await;
    let contacts = scene
        .test
        .engine
        .list_contacts(&scene.organization)
        .await
        .unwrap();
    assert!(contacts[0].disabled.as_ref().unwrap().1.contains("410"));
    assert!(
        scene
            .listed()
            .await
            .iter()
            .all(|one| one.next_attempt_at.is_none())
    );
}

async fn a_refused_notice_is_given_up_and_the_next_one_goes_out(kind: Kind) {
    let scene = Scene::new(kind, &["sec@example.com"]).await;
    let refused = Outcome::Refused {
        status: Some(550),
        why: "no such user\r\n\u{1b}[31mred".to_owned(),
    };
    scene.channels.will_answer("sec@example.com", refused, 1);
    scene.end_a_key().await;
    scene.round().await;
    let listed = scene.listed().await;
    assert_eq!(
        (listed[0].status, listed[0].last_status),
        (DeliveryStatus::GivenUp, Some(550))
    );
    assert!(
        !listed[0]
            .last_error
            .as_ref()
            .unwrap()
            .contains(['\r', '\n', '\u{1b}'])
    );
    scene.end_a_key().await;
    assert_eq!(scene.round().await, 1);
    assert_eq!(scene.listed().await[0].status, DeliveryStatus::Sent);
}

async fn a_test_is_sent_at_once_and_tried_once(kind: Kind) {
    let scene = Scene::new(kind, &[GOOD, BAD]).await;
    scene.channels.will_answer(BAD, failed(None), 1);
    let engine = &scene.test.engine;
    let organization = scene.organization.clone();
    let tests = engine
        .test_contacts(context(), organization.clone(), None)
        .await
        .unwrap();
    let mut became: Vec<_> = tests
        .iter()
        .map(|one| (one.contact.clone(), one.status))
        .collect();
    became.sort_by_key(|(_, status)| status.name());
    assert_eq!(
        became,
        [
            (scene.id(BAD), DeliveryStatus::GivenUp),
            (scene.id(GOOD), DeliveryStatus::Sent)
        ]
    );
    assert_eq!(scene.round_after(DAY_MS).await, 0);
    let nobody = engine
        .test_contacts(context(), organization.clone(), Some("0".repeat(20)))
        .await;
    assert!(matches!(nobody, Err(EngineError::NotFound(_))));
    scene.set_contacts(&[]).await;
    let nobody = engine.test_contacts(context(), organization, None).await;
    assert!(matches!(nobody, Err(EngineError::Conflict(_))));
}

async fn contacts_come_and_go_with_their_secrets(kind: Kind) {
    let scene = Scene::new(kind, &[]).await;
    assert_eq!(
        scene.set_contacts(&[GOOD, "sec@example.com"]).await,
        1,
        "a webhook's secret is shown"
    );
    assert_eq!(
        scene.set_contacts(&[GOOD, BAD]).await,
        1,
        "that of the new one alone"
    );
    scene.channels.will_answer(BAD, failed(None), 1);
    scene.end_a_key().await;
    scene.round().await;
    scene.set_contacts(&[GOOD]).await;
    assert_eq!(
        scene.round_after(HOUR_MS).await,
        0,
        "whoever is no contact any more is not told"
    );
    let lost = scene
        .listed()
        .await
        .into_iter()
        .find(|one| one.contact == scene.id(BAD))
        .unwrap();
    assert_eq!(lost.status, DeliveryStatus::GivenUp);
    let rotated = scene
        .test
        .engine
        .rotate_signing_secret(&context(), &scene.organization, &scene.id(GOOD))
        .await;
    let rotated = rotated.unwrap().secret;
    scene.end_a_key().await;
    scene.round().await;
    let last = scene
        .channels
        .sent
        .lock()
        .unwrap()
        .last()
        .unwrap()
        .secret
        .clone()
        .unwrap();
    assert_eq!(last.text().reveal(), rotated.reveal(), "it signs from now on");
    scene
        .test
        .engine
        .rotate_keyring(context(), &|_| Ok(()))
        .await
        .unwrap();
    scene.end_a_key().await;
    scene.round().await;
    let last = scene
        .channels
        .sent
        .lock()
        .unwrap()
        .last()
        .unwrap()
        .secret
        .clone()
        .unwrap();
    assert_eq!(
        last.text().reveal(),
        rotated.reveal(),
        "also under another keyring version"
    );
    let versions = ["SELECT CAST(keyring_version AS TEXT) FROM security_contact"];
    assert_eq!(scene.test.place.texts(&versions).await, ["2"]);
}

async fn old_deliveries_and_events_are_forgotten(kind: Kind) {
    let scene = Scene::new(kind, &[GOOD]).await;
    scene.end_a_key().await;
    scene.round().await;
    scene.round_after(89 * DAY_MS).await;
    assert_eq!(scene.listed().await.len(), 1);
    assert!(
        scene
            .test
            .place
            .texts(&["SELECT kind FROM outbox"])
            .await
            .is_empty()
    );
    scene.round_after(DAY_MS + 1).await;
    assert!(scene.listed().await.is_empty());
}

async fn what_was_not_sent_when_the_engine_stopped_is_sent_by_the_next(kind: Kind) {
    let scene = Scene::new(kind, &[BAD]).await;
    scene.channels.will_answer(BAD, failed(None), 1);
    scene.end_a_key().await;
    scene.round().await;
    scene.end_a_key().await;
    let keyring = scene.test.keyring_text.clone();
    let test = scene.test.restart(&keyring).await;
    test.engine
        .use_channels(Arc::clone(&scene.channels) as Arc<dyn Channels>);
    test.clock.advance_ms(MINUTE_MS);
    assert_eq!(test.engine.deliver_due().await.unwrap().sent, 2);
}

on_both_databases!(
    every_contact_is_told_once,
    a_later_notice_of_a_key_waits_for_the_earlier_and_for_no_other,
    what_fails_for_three_days_switches_the_contact_off_until_it_is_switched_on,
    a_contact_decides_when_it_is_called_and_whether,
    a_refused_notice_is_given_up_and_the_next_one_goes_out,
    a_test_is_sent_at_once_and_tried_once,
    contacts_come_and_go_with_their_secrets,
    old_deliveries_and_events_are_forgotten,
    what_was_not_sent_when_the_engine_stopped_is_sent_by_the_next,
);
