//! Every action leaves its entry: which one, on what, with which facts. And none of them tells a name, an address or a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyward_core::condition::{AddressRule, RateLimit};
use keyward_core::contact::SecurityContact;
use keyward_core::edit_key::KeyEdit;
use keyward_core::environment::Environment;
use keyward_core::idempotency::{read_idempotency_key, request_digest};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::KeyFilter;
use keyward_core::keyring::Keyring;
use keyward_core::level::PermissionLevel;
use keyward_core::new_key::KeyDraft;
use keyward_core::notice::NoticeKind;
use keyward_core::operation::Operation;
use keyward_core::organization::RotationRule;
use keyward_core::record::Actor;
use keyward_core::resource::ResourceType::Dataset;
use keyward_core::role::Role;
use keyward_core::rotation::{RotationChoice, RotationMode, ScheduleChoice, UNUSED_SECRET_LIFE_MS};
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::DeleteReason;
use keyward_core::time::{DAY_MS, MINUTE_MS};
use keyward_core::totp::TotpSeed;
use keyward_core::webhook_secret::contact_id;
use keyward_engine::bulk::BulkAction;
use keyward_engine::create_organization::OrganizationDraft;
use keyward_engine::datasets::{DatasetEdit, NewDataset};
use keyward_engine::delete_organization::RESTORABLE_MS;
use keyward_engine::edit_organization::OrganizationEdit;
use keyward_engine::edit_settings::SettingsEdit;
use keyward_engine::erase_personal::Erasure;
use keyward_engine::once::{Attempt, Once};
use keyward_engine::permit::OwnedResource;
use keyward_engine::remove_member::KeysOfLeaver;
use keyward_engine::restore::{OldState, restore};
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_store::audit::StoredEntry;
use keyward_testkit::engine::{Kind, Permission, Place, TestEngine, arrival, context, draft, start};
use keyward_testkit::on_both_databases;

use crate::deliver::Scripted;
use crate::people::{acting, first_owner, invite, key_of, member};
use crate::signing_in::{CLIENT, from, passphrase};

/// What must not be told in the clear, wherever it was written.
const PERSONAL: [&str; 15] = [
    "Zora",
    "zora@example.com",
    "yan@example.com",
    "xenia@example.com",
    "owner@example.com",
    "example.com",
    "Acmeland",
    "Renameland",
    "KeyNamed",
    "KeyDescribed",
    "tagged-by-zora",
    "192.0.2.77",
    "198.51.100",
    "127.0.0.1",
    "AttributeOfZora",
];
const IDEMPOTENCY_KEY: &str = "4f1c0a9d7be24c5f8a3e6d7c01b2a3f4";

/// What stands in a trail after a step, and did not before.
struct Trail {
    seen: BTreeMap<String, i64>,
    /// Action, kind of target, names of the facts; once each.
    told: BTreeSet<String>,
    entries: Vec<StoredEntry>,
}

impl Trail {
    fn new() -> Self {
        Self {
            seen: BTreeMap::new(),
            told: BTreeSet::new(),
            entries: Vec::new(),
        }
    }

    /// Makes sure that the step left an entry of each of these actions, all told in a request and by somebody.
    async fn step(&mut self, test: &TestEngine, actions: &[&str]) {
        let mut new = BTreeSet::new();
        for chain in ["org-1", "org-2", "-"] {
            let after = self.seen.entry(chain.to_owned()).or_insert(0);
            let entries = test
                .engine
                .store()
                .list_audit(chain, *after, 10_000)
                .await
                .unwrap();
            for entry in entries {
                *after = entry.sequence;
                assert!(entry.is_intact() && !entry.request_id.is_empty() && !entry.actor.is_empty());
                let facts: BTreeMap<String, serde_json::Value> = serde_json::from_str(&entry.facts).unwrap();
                let names: Vec<&str> = facts.keys().map(String::as_str).collect();
                let (kind, _) = entry.target.split_once('/').unwrap_or((&entry.target, ""));
                self.told.insert(
                    format!("{} {kind}: {}", entry.action, names.join(" "))
                        .trim_end()
                        .to_owned(),
                );
                new.insert(entry.action.clone());
                self.entries.push(entry);
            }
        }
        let expected: BTreeSet<String> = actions.iter().map(|action| (*action).to_owned()).collect();
        assert_eq!(new, expected);
    }
}

fn attempt() -> Option<Attempt> {
    Some(Attempt {
        key: read_idempotency_key(IDEMPOTENCY_KEY.as_bytes()).unwrap(),
        request: request_digest("create", "org-1", b"body"),
    })
}

fn personal_draft() -> KeyDraft {
    let mut draft = draft(ScopeSet::ALL, Permission::Full);
    draft.name = "KeyNamed".to_owned();
    draft.description = "KeyDescribed".to_owned();
    draft.tags = vec!["tagged-by-zora".parse().unwrap()];
    draft.conditions.addresses = AddressRule::Only(vec!["127.0.0.0/8".parse().unwrap()]);
    draft
}

async fn every_action_is_an_entry(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let engine = &test.engine;
    let mut trail = Trail::new();
    let mut secrets: Vec<String> = vec![IDEMPOTENCY_KEY.to_owned()];
    trail.step(&test, &["database.begin"]).await;

    let organization: OrganizationId = "org-1".parse().unwrap();
    let made = OrganizationDraft {
        name: "Acmeland".to_owned(),
        id: Some(organization.clone()),
        owner_email: "owner@example.com".to_owned(),
        owner: keyward_engine::create_organization::OwnerClaim::AddressOnly,
    };
    engine.create_organization(context(), made).await.unwrap();
    trail.step(&test, &["organization.create"]).await;
    let hook = SecurityContact::Webhook("https://hook.example.com/zora".parse().unwrap());
    let settings = SettingsEdit {
        usage_retention_days: Some(365),
        second_factor_required: Some(false),
        name: Some("Renameland".to_owned()),
        advanced_access_control: Some(false),
        max_key_lifetime_ms: Some(Some(400 * DAY_MS)),
        rotation_policy: Some(BTreeMap::from([(
            Environment::Staging,
            RotationRule::EveryDays(30),
        )])),
        security_contacts: Some(vec![
            SecurityContact::Email("zora@example.com".parse().unwrap()),
            hook.clone(),
        ]),
    };
    engine
        .edit_settings(&context(), &organization, None, settings)
        .await
        .unwrap();
    trail.step(&test, &["organization.edit_settings"]).await;
    let back = SettingsEdit {
        advanced_access_control: Some(true),
        max_key_lifetime_ms: Some(None),
        ..SettingsEdit::default()
    };
    engine
        .edit_settings(&context(), &organization, None, back)
        .await
        .unwrap();
    trail.step(&test, &["organization.edit_settings"]).await;
    engine.use_channels(Arc::new(Scripted::default()));
    engine
        .test_contacts(context(), organization.clone(), None)
        .await
        .unwrap();
    let rotated = engine
        .rotate_signing_secret(&context(), &organization, &contact_id(&organization, &hook))
        .await;
    secrets.push(rotated.unwrap().secret.reveal().to_owned());
    trail
        .step(&test, &["contact.test", "contact.rotate_secret"])
        .await;

    // People.
    let owner = first_owner(&test, &organization).await;
    let zora = member(&test, &organization, "zora@example.com", Role::Admin).await;
    trail
        .step(&test, &["invitation.create", "invitation.accept"])
        .await;
    let made = invite(
        &test,
        &context(),
        &organization,
        ("yan@example.com", Role::Member),
    )
    .await;
    let made = made.unwrap();
    secrets.push(made.secret.reveal().to_owned());
    trail.step(&test, &["invitation.create"]).await;
    engine
        .revoke_invitation(&context(), &organization, &made.invitation.id)
        .await
        .unwrap();
    trail.step(&test, &["invitation.revoke"]).await;
    assert!(engine.accept_invitation(&arrival(), &made.secret).await.is_err());
    engine.flush_refused_sign_ins().await.unwrap();
    trail.step(&test, &["invitation.refused"]).await;
    engine
        .change_role(&context(), &organization, &zora, Role::Owner)
        .await
        .unwrap();
    trail.step(&test, &["member.change_role"]).await;
    let memberships = engine
        .memberships_of(Some(&organization), "zora@example.com")
        .await;
    let memberships = memberships.unwrap();
    for _ in 0..2 {
        engine.begin_acting_as(&context(), &memberships[0]).await.unwrap();
    }
    trail.step(&test, &["person.act_as"]).await;
    let key = key_of(&test, &organization, &zora).await;
    secrets.push(key.value.reveal().to_owned());
    trail.step(&test, &["key.create"]).await;
    engine
        .remove_member(
            context(),
            organization.clone(),
            zora,
            Some(KeysOfLeaver::HandOver(owner.clone())),
        )
        .await
        .unwrap();
    trail.step(&test, &["key.hand_over", "member.remove"]).await;

    // Keys.
    let create = async || {
        let made = engine
            .create_key_once(context(), organization.clone(), personal_draft(), attempt())
            .await
            .unwrap();
        match made {
            Once::Now(made) => (made.key.record.id, made.value.reveal().to_owned()),
            Once::Before(again) => (again.key.record.id, again.value.unwrap().reveal().to_owned()),
        }
    };
    let (id, value) = create().await;
    secrets.push(value.clone());
    trail.step(&test, &["key.create"]).await;
    assert_eq!(create().await, (id, value.clone()));
    trail.step(&test, &["key.repeat_value"]).await;
    let edit = KeyEdit {
        name: Some("Zora's KeyNamed".to_owned()),
        description: Some("Zora".to_owned()),
        environment: Some(Some(Environment::Staging)),
        scopes: Some([Scope::Dataset].into_iter().collect()),
        level: Some(PermissionLevel::ReadOnly),
        not_before: Some(Some(engine.now())),
        expires_at: Some(Some(engine.now().plus_ms(90 * DAY_MS))),
        addresses: Some(AddressRule::Only(vec!["198.51.100.0/24".parse().unwrap()])),
        rate_limit: Some(Some(RateLimit {
            requests: 5,
            per_ms: 1_000,
        })),
        tags: Some(vec!["tagged-by-zora-again".parse().unwrap()]),
        schedule: Some(ScheduleChoice::Every(10 * DAY_MS)),
        ..KeyEdit::default()
    };
    engine
        .edit_key(context(), organization.clone(), id, (edit, None))
        .await
        .unwrap();
    trail.step(&test, &["key.edit"]).await;
    engine
        .pause_key(context(), organization.clone(), id)
        .await
        .unwrap();
    trail.step(&test, &["key.pause"]).await;
    engine
        .resume_key(context(), organization.clone(), id)
        .await
        .unwrap();
    trail.step(&test, &["key.resume"]).await;
    let rotate = async |id: KeyId, mode: RotationMode| {
        let choice = (RotationChoice::Mode(mode), None);
        let done = engine
            .rotate_key(context(), (organization.clone(), id), choice, None)
            .await
            .unwrap();
        match done {
            Once::Now(rotated) => rotated.value.reveal().to_owned(),
            Once::Before(_) => panic!("there was no idempotency key"),
        }
    };
    let overlap = || RotationMode::Overlap {
        until: engine.now().plus_ms(DAY_MS),
    };
    secrets.push(rotate(id, overlap()).await);
    trail.step(&test, &["key.rotate"]).await;
    engine
        .finish_rotation(context(), organization.clone(), id)
        .await
        .unwrap();
    trail.step(&test, &["key.rotation_finish"]).await;
    secrets.push(rotate(id, overlap()).await);
    trail.step(&test, &["key.rotate"]).await;
    engine
        .cancel_rotation(context(), organization.clone(), id)
        .await
        .unwrap();
    trail.step(&test, &["key.rotation_cancel"]).await;
    secrets.push(rotate(id, RotationMode::OnFirstUse { grace_ms: DAY_MS }).await);
    trail.step(&test, &["key.rotate"]).await;
    let newest = (4, engine.now());
    engine
        .activate_secret(acting(Actor::System), (organization.clone(), id), newest)
        .await
        .unwrap();
    trail.step(&test, &["key.rotation_first_use"]).await;
    test.clock.advance_ms(2 * DAY_MS);
    engine.tend_keys(&acting(Actor::System)).await.unwrap();
    trail.step(&test, &["key.rotation_end"]).await;
    secrets.push(rotate(id, RotationMode::OnFirstUse { grace_ms: 1 }).await);
    trail.step(&test, &["key.rotate"]).await;
    engine
        .activate_rotation(context(), organization.clone(), id)
        .await
        .unwrap();
    trail.step(&test, &["key.rotation_activate"]).await;
    test.clock.advance_ms(DAY_MS);
    engine.tend_keys(&acting(Actor::System)).await.unwrap();
    trail.step(&test, &["key.rotation_end"]).await;
    secrets.push(rotate(key.key.record.id, RotationMode::OnFirstUse { grace_ms: 1 }).await);
    trail.step(&test, &["key.rotate"]).await;
    test.clock.advance_ms(UNUSED_SECRET_LIFE_MS + MINUTE_MS);
    engine.tend_keys(&acting(Actor::System)).await.unwrap();
    trail.step(&test, &["key.rotation_dropped"]).await;
    let replaced = engine
        .replace_key(
            context(),
            (organization.clone(), key.key.record.id),
            KeyEdit::default(),
            None,
        )
        .await;
    let Once::Now(replaced) = replaced.unwrap() else {
        panic!("there was no idempotency key")
    };
    secrets.push(replaced.new.value.reveal().to_owned());
    trail.step(&test, &["key.create", "key.delete"]).await;

    // Many at once.
    let by_text = KeyFilter {
        text: Some("KeyNamed".to_owned()),
        tags: vec!["tagged-by-zora-again".parse().unwrap()],
        hint_head: Some(value[..8].to_owned()),
        ..KeyFilter::default()
    };
    engine
        .stop_keys(context(), organization.clone(), by_text.clone())
        .await
        .unwrap();
    trail.step(&test, &["keys.stop", "key.pause"]).await;
    let all = KeyFilter {
        ids: vec![id],
        ..KeyFilter::default()
    };
    let preview = engine
        .preview_bulk(
            &context(),
            &organization,
            (BulkAction::Delete(DeleteReason::Unused), all),
        )
        .await
        .unwrap();
    trail.step(&test, &[]).await;
    secrets.push(preview.token.reveal().to_owned());
    let outcome = engine
        .run_bulk(context(), organization.clone(), preview.token.reveal())
        .await;
    assert_eq!(outcome.unwrap().done.len(), 1);
    trail.step(&test, &["keys.bulk", "key.delete"]).await;

    // Tokens and who signs in with them.
    let token = test.token(&organization, "keys:read").await;
    secrets.push(token.value.reveal().to_owned());
    trail.step(&test, &["token.create"]).await;
    for _ in 0..3 {
        test.sign_in(token.value.reveal()).await.unwrap();
    }
    trail.step(&test, &["token.sign_in"]).await;
    engine
        .delete_token(context(), organization.clone(), token.token.record.id)
        .await
        .unwrap();
    trail.step(&test, &["token.delete"]).await;
    assert!(test.sign_in(token.value.reveal()).await.is_err());
    engine.flush_refused_sign_ins().await.unwrap();
    trail.step(&test, &["token.refused"]).await;

    // People sign in.
    let (good, other) = (
        passphrase("correct-otter-lamp-41"),
        passphrase("seven windy pancakes!"),
    );
    secrets.extend([good.reveal().to_owned(), other.reveal().to_owned()]);
    let purpose = LinkPurpose::SetPassphrase;
    let link = engine
        .create_sign_in_link(&context(), "owner@example.com", purpose)
        .await;
    let link = link.unwrap();
    secrets.push(link.secret.reveal().to_owned());
    trail.step(&test, &["sign_in_link.create"]).await;
    let first = engine
        .redeem_sign_in_link(&from(77), &CLIENT, &link.secret, &good)
        .await
        .unwrap();
    secrets.push(first.token.reveal().to_owned());
    trail
        .step(&test, &["sign_in_link.redeem", "person.sign_in"])
        .await;
    let begun = engine
        .change_passphrase(&from(77), &CLIENT, &first.session, &good, &other)
        .await
        .unwrap();
    trail.step(&test, &["passphrase.change"]).await;
    let session = &begun.session;
    let offer = engine
        .begin_second_factor(&from(77), session, &other)
        .await
        .unwrap();
    secrets.push(offer.seed_base32.reveal().to_owned());
    trail.step(&test, &["second_factor.begin"]).await;
    let seed = TotpSeed::from_base32(&offer.seed_base32).unwrap();
    let code = seed.code_at(engine.now());
    engine
        .confirm_second_factor(&from(77), session, &code)
        .await
        .unwrap();
    trail.step(&test, &["second_factor.confirm"]).await;
    let codes = engine
        .renew_recovery_codes(&from(77), session, &other)
        .await
        .unwrap();
    secrets.extend(codes.iter().map(|code| code.reveal().to_owned()));
    trail.step(&test, &["recovery_code.renew"]).await;
    let here = from(77);
    let sign_in = || engine.sign_in(&here, &CLIENT, "owner@example.com", &other);
    let half = sign_in().await.unwrap();
    trail.step(&test, &["person.begin_sign_in"]).await;
    let passed = engine.pass_second_factor(&here, &CLIENT, &half.session, codes[0].reveal());
    let whole = passed.await.unwrap();
    trail.step(&test, &["recovery_code.use", "person.sign_in"]).await;
    let half = sign_in().await.unwrap();
    for _ in 0..5 {
        let wrong = engine
            .pass_second_factor(&from(77), &CLIENT, &half.session, "abc")
            .await;
        assert!(wrong.is_err());
    }
    engine.flush_refused_sign_ins().await.unwrap();
    trail
        .step(&test, &["person.begin_sign_in", "session.end", "person.refused"])
        .await;
    engine
        .remove_second_factor(&from(77), session, &other)
        .await
        .unwrap();
    trail.step(&test, &["second_factor.remove"]).await;
    let themselves = acting(Actor::Person(session.person_id.clone()));
    engine.end_other_sessions(&themselves, session).await.unwrap();
    trail.step(&test, &["session.end_others"]).await;
    engine
        .end_session(&themselves, &session.person_id, &whole.session.id)
        .await
        .unwrap();
    trail.step(&test, &[]).await;
    engine
        .end_session(&themselves, &session.person_id, &session.id)
        .await
        .unwrap();
    trail.step(&test, &["session.end"]).await;

    // The resource API.
    let key = test.full_key(&organization).await;
    secrets.push(key.value.reveal().to_owned());
    trail.step(&test, &["key.create"]).await;
    let permit = async |operation, resource| {
        test.permit(key.value.reveal(), operation, resource)
            .await
            .unwrap()
    };
    let write = permit(Operation::DatasetWrite, OwnedResource::New(Dataset)).await;
    let by_key = acting(write.actor());
    let new = NewDataset {
        name: "Zora".to_owned(),
        description: Some("Zora".to_owned()),
        kind: "vqa".to_owned(),
        content: "Image".to_owned(),
        owner: "org-1".to_owned(),
        status: 0,
        localization: None,
        data_localization: None,
        tags: BTreeMap::new(),
        attributes: BTreeMap::from([("AttributeOfZora".to_owned(), "1".to_owned())]),
    };
    let made = engine.create_dataset(&write, &by_key, new).await.unwrap();
    trail.step(&test, &["dataset.create"]).await;
    let preference = serde_json::Map::from_iter([("AttributeOfZora".to_owned(), serde_json::json!(true))]);
    let attributes = BTreeMap::from([("AttributeOfZora".to_owned(), Some("Zora".repeat(2_000)))]);
    let edit = DatasetEdit {
        name: Some("Zora again".to_owned()),
        description: Some(None),
        preference: Some(preference.clone()),
        attributes: attributes.clone(),
    };
    engine
        .edit_dataset(&write, &by_key, &made.id, edit)
        .await
        .unwrap();
    trail.step(&test, &["dataset.edit"]).await;
    engine.delete_dataset(&write, &by_key, &made.id).await.unwrap();
    trail.step(&test, &["dataset.delete"]).await;
    let write = permit(Operation::OrganizationWrite, OwnedResource::Organization).await;
    let edit = OrganizationEdit {
        name: Some("Acmeland".to_owned()),
        last_access_at: Some(engine.now().plus_ms(1)),
        preference: Some(preference),
        attributes,
    };
    engine.edit_organization(&write, &by_key, edit).await.unwrap();
    trail.step(&test, &["organization.edit"]).await;

    // The organization as a whole.
    let subject = || (context(), organization.clone());
    let (by, it) = subject();
    engine.lock_organization(by, it).await.unwrap();
    trail.step(&test, &["organization.lock"]).await;
    let (by, it) = subject();
    engine.unlock_organization(by, it).await.unwrap();
    trail.step(&test, &["organization.unlock"]).await;
    let (by, it) = subject();
    engine.stop_organization(by, it).await.unwrap();
    trail.step(&test, &["organization.stop"]).await;
    let (by, it) = subject();
    engine.resume_organization(by, it).await.unwrap();
    trail.step(&test, &["organization.resume"]).await;
    let (by, it) = subject();
    engine.delete_organization(by, it, "org-1").await.unwrap();
    trail.step(&test, &["organization.delete"]).await;
    let (by, it) = subject();
    engine.restore_organization(by, it).await.unwrap();
    trail.step(&test, &["organization.restore"]).await;

    // The installation.
    engine
        .rotate_keyring(context(), &|_: &Keyring| Ok(()))
        .await
        .unwrap();
    trail
        .step(&test, &["keyring.add_version", "keyring.rotate"])
        .await;
    engine.export_audit(context(), "org-1", 1).await.unwrap();
    trail.step(&test, &["audit.export"]).await;
    engine.checkpoint_audit(context(), "org-1").await.unwrap();
    trail.step(&test, &["audit.checkpoint"]).await;
    let zora = Erasure::Value("zora@example.com".to_owned());
    engine
        .erase_personal(context(), "org-1".to_owned(), zora)
        .await
        .unwrap();
    trail.step(&test, &["audit.erase"]).await;
    let other = test.organization("org-2").await;
    test.token(&other, "keys:read").await;
    test.full_key(&other).await;
    engine
        .delete_organization(context(), other.clone(), "org-2")
        .await
        .unwrap();
    trail
        .step(
            &test,
            &[
                "organization.create",
                "token.create",
                "key.create",
                "organization.delete",
            ],
        )
        .await;
    let mut copy = Vec::new();
    let store = engine.store();
    store.dump(&mut copy, engine.keyring().id(), 0).await.unwrap();
    test.clock.advance_ms(RESTORABLE_MS);
    engine.run_due_purges(engine.now()).await.unwrap();
    trail
        .step(
            &test,
            &["organization.begin_purge", "key.delete", "organization.purge"],
        )
        .await;
    let test = restored(&test, &copy).await;
    // What the purge wrote is not in the copy, and what was there before is told.
    trail.seen.insert("org-2".to_owned(), 4);
    trail
        .step(
            &test,
            &[
                "organization.postpone_purge",
                "token.delete",
                "key.pause",
                "database.restore",
            ],
        )
        .await;
    test.engine.release_held(&context()).await.unwrap();
    trail
        .step(&test, &["database.accept_old_state", "key.resume"])
        .await;

    let told: Vec<&str> = trail.told.iter().map(String::as_str).collect();
    let expected: Vec<&str> = include_str!("trail.txt").lines().collect();
    assert_eq!(told, expected, "\n{}\n", told.join("\n"));
    nothing_is_told_in_the_clear(&trail.entries, &secrets);
    every_action_of_the_code_was_seen(&trail.told);
}

async fn restored(test: &TestEngine, copy: &[u8]) -> TestEngine {
    let place = Place::new(test.place.kind());
    let store = place.store().await;
    let keyring = test.engine.keyring();
    let mut copy = copy;
    restore(
        &store,
        &keyring,
        &mut copy,
        OldState::Hold,
        &context(),
        test.engine.now(),
    )
    .await
    .unwrap();
    store.close().await;
    let keyring_text = keyring.to_text().to_string();
    let engine = start(&place.database(), &keyring_text, &test.clock, 100).await;
    TestEngine {
        engine: engine.unwrap(),
        clock: test.clock.clone(),
        keyring_text,
        place,
    }
}

fn nothing_is_told_in_the_clear(entries: &[StoredEntry], secrets: &[String]) {
    for entry in entries {
        let told = format!(
            "{} {} {} {}",
            entry.actor, entry.target, entry.request_id, entry.facts
        );
        let mut clear = PERSONAL.into_iter().chain(secrets.iter().map(String::as_str));
        let found = clear.find(|text| told.contains(text));
        assert_eq!(found, None, "{told}");
        let everything = format!("{told} {}", entry.personal);
        for prefix in ["dtvi_", "kwmt_"] {
            assert!(!everything.contains(prefix), "{everything}");
        }
        let secret = secrets.iter().find(|secret| everything.contains(secret.as_str()));
        assert_eq!(secret, None, "{everything}");
    }
}

/// An action that is new in the code has to be added here.
fn every_action_of_the_code_was_seen(told: &BTreeSet<String>) {
    // These have tests of their own: what is told when a thousand refusals are kept apart already, the replay of an export,
    // and a contact that is switched off after it failed for days.
    const ELSEWHERE: [&str; 4] = [
        "sign_ins.refused_others",
        "database.replay_deletions",
        "contact.disable",
        "contact.enable",
    ];
    let seen: BTreeSet<&str> = told
        .iter()
        .filter_map(|line| line.split_once(' ').map(|(action, _)| action))
        .chain(ELSEWHERE)
        .collect();
    let mut missing = BTreeSet::new();
    for (name, source) in sources() {
        // What goes into the outbox alone is no action, and a right is none either.
        let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for text in lines.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            let is_action = text.split_once('.').is_some_and(|(noun, verb)| {
                let is_word =
                    |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                is_word(noun) && is_word(verb)
            });
            let is_setting =
                ["keyring.id", "keyring.check", "key.prefix", "metadata.attributes"].contains(&text);
            let is_reminder = matches!(
                NoticeKind::from_name(text),
                Some(
                    NoticeKind::RotationDueSoon
                        | NoticeKind::RotationDue
                        | NoticeKind::RotationOverdue
                        | NoticeKind::ExpiresSoon
                        | NoticeKind::Expired
                )
            );
            if is_action && !is_setting && !is_reminder && !seen.contains(text) {
                missing.insert(format!("{name}: {text}"));
            }
        }
    }
    assert!(missing.is_empty(), "no test brings these about: {missing:?}");
}

fn sources() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let source = std::fs::read_to_string(&path).unwrap();
            // Without the tests of the file itself.
            let product = source.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (name, product)
        })
        .collect()
}

/// A file that opens a transaction and commits it tells the trail of it, or is named here with its reason.
#[test]
fn whoever_commits_tells_the_trail() {
    const TELLS: [&str; 4] = [
        "append_audit(",
        "append_person_event(",
        "record_key_write(",
        "record_organization_write(",
    ];
    const EXCEPT: [(&str, &str); 6] = [
        ("usage.rs", "uses are no changes"),
        ("shared_rates.rs", "what a use spends"),
        ("forget_usage.rs", "that they are kept so long is in the settings"),
        ("tell_usage.rs", "notices of uses"),
        (
            "tend_keys.rs",
            "reminders; what it ends is told by the key's write",
        ),
        ("keys_write.rs", "every key goes through key_write.rs"),
    ];
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, source)| source.contains("tx.commit()") || source.contains("commit_fenced(tx)"))
        .filter(|(_, source)| !TELLS.iter().any(|tells| source.contains(tells)))
        .map(|(name, _)| name)
        .collect();
    let mut expected: Vec<&str> = EXCEPT.iter().map(|(name, _)| *name).collect();
    let mut silent: Vec<&str> = silent.iter().map(String::as_str).collect();
    expected.sort_unstable();
    silent.sort_unstable();
    assert_eq!(silent, expected);
}

on_both_databases!(every_action_is_an_entry);
