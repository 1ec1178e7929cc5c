//! A restore revives nothing that ended later, as far as an export of the trail tells it.

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::keyring::Keyring;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::refusal::Code;
use keyward_core::role::Role;
use keyward_core::rotation::{RotationChoice, RotationMode};
use keyward_core::state::{DeleteReason, KeyState};
use keyward_core::time::DAY_MS;
use keyward_engine::clock::{Clock as _, SystemRandom};
use keyward_engine::later_deletions::{ExportRefused, LaterDeletions, check_export, read_later_deletions};
use keyward_engine::once::Once;
use keyward_engine::remove_member::KeysOfLeaver;
use keyward_engine::replay_deletions::{Replay, ReplayedDeletion};
use keyward_engine::restore::{OldState, restore};
use keyward_testkit::engine::{Kind, Place, TestEngine, arrival, context, start};
use keyward_testkit::export::export;
use keyward_testkit::on_both_databases;

use crate::people::{first_owner, invite, member, roles, trail};

const ENTRIES: &str = "SELECT CAST(COUNT(*) AS TEXT) FROM audit_entry";

async fn dump(test: &TestEngine) -> Vec<u8> {
    let (mut out, engine) = (Vec::new(), &test.engine);
    let keyring = engine.keyring();
    engine.store().dump(&mut out, keyring.id(), 0).await.unwrap();
    out
}

/// An engine on a restored copy, in the other kind of database.
async fn restored(test: &TestEngine, copy: &[u8], old_state: OldState) -> TestEngine {
    let place = Place::new(match test.place.kind() {
        Kind::Sqlite => Kind::Postgres,
        Kind::Postgres => Kind::Sqlite,
    });
    let store = place.store().await;
    let (keyring, now) = (test.engine.keyring(), test.clock.now());
    let mut copy = copy;
    restore(&store, &keyring, &mut copy, old_state, &context(), now)
        .await
        .unwrap();
    store.close().await;
    let engine = start(&place.database(), &test.keyring_text, &test.clock, 100).await;
    TestEngine {
        engine: engine.unwrap(),
        clock: test.clock.clone(),
        keyring_text: test.keyring_text.clone(),
        place,
    }
}

async fn exported(test: &TestEngine, chain: &str) -> String {
    let mut text = String::new();
    let mut exporting = test.engine.export_audit(context(), chain, 1).await.unwrap();
    while let Some(lines) = exporting.next_lines().await.unwrap() {
        text.push_str(&lines);
    }
    text
}

async fn read(test: &TestEngine, text: &str) -> Result<LaterDeletions, ExportRefused> {
    let engine = &test.engine;
    read_later_deletions(engine.store(), &engine.keyring(), &mut text.as_bytes()).await
}

async fn replay(test: &TestEngine, text: &str) -> Vec<ReplayedDeletion> {
    let later = read(test, text).await.unwrap();
    test.engine.replay_deletions(&context(), &later).await.unwrap()
}

fn outcomes(replayed: &[ReplayedDeletion]) -> Vec<(&'static str, String, &'static str)> {
    let one = |one: &ReplayedDeletion| {
        let ended = &one.deletion.ended;
        (ended.kind(), ended.id(), one.outcome.name())
    };
    replayed.iter().map(one).collect()
}

async fn rotate(test: &TestEngine, organization: &OrganizationId, id: KeyId, mode: RotationMode) -> String {
    let choice = (RotationChoice::Mode(mode), None);
    let subject = (organization.clone(), id);
    match test.engine.rotate_key(context(), subject, choice, None).await {
        Ok(Once::Now(rotated)) => rotated.value.reveal().to_owned(),
        other => panic!("{other:?}"),
    }
}

async fn count_entries(test: &TestEngine) -> String {
    test.place.texts(&[ENTRIES]).await.concat()
}

async fn what_ended_later_ends_again_and_the_others_live(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let engine = &test.engine;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(test.full_key(&organization).await);
    }
    let id = |index: usize| keys[index].key.record.id;
    let value = |index: usize| keys[index].value.reveal();
    let token = test.token(&organization, "keys:read").await;
    let zora = member(&test, &organization, "zora@example.com", Role::Admin).await;
    let yan = member(&test, &organization, "yan@example.com", Role::Member).await;
    let link = invite(&test, &context(), &organization, ("x@example.com", Role::Admin)).await;
    let link = link.unwrap();
    let copy = dump(&test).await;

    // After the backup.
    test.clock.advance_ms(1_000);
    let deleted_at = test.clock.now();
    engine
        .delete_key(context(), organization.clone(), id(1), DeleteReason::CreatorLeft)
        .await
        .unwrap();
    rotate(&test, &organization, id(2), RotationMode::Immediate).await;
    let until = test.clock.now().plus_ms(DAY_MS);
    rotate(&test, &organization, id(3), RotationMode::Overlap { until }).await;
    // Rotated, and taken back: the old secret lives on.
    rotate(&test, &organization, id(4), RotationMode::Overlap { until }).await;
    engine
        .cancel_rotation(context(), organization.clone(), id(4))
        .await
        .unwrap();
    let later = test.full_key(&organization).await.key.record.id;
    test.delete(&organization, later).await.unwrap();
    engine
        .delete_token(context(), organization.clone(), token.token.record.id)
        .await
        .unwrap();
    for person in [&zora, &yan] {
        let keep = Some(KeysOfLeaver::Keep);
        engine
            .remove_member(context(), organization.clone(), person.clone(), keep)
            .await
            .unwrap();
    }
    // Who came back is a member.
    member(&test, &organization, "yan@example.com", Role::Member).await;
    engine
        .revoke_invitation(&context(), &organization, &link.invitation.id)
        .await
        .unwrap();
    let export = exported(&test, "org-1").await;
    test.clock.advance_ms(1_000);

    for old_state in [OldState::Hold, OldState::Accept] {
        let other = restored(&test, &copy, old_state).await;
        let before = count_entries(&other).await;
        let later_deletions = read(&other, &export).await.unwrap();
        assert_eq!(count_entries(&other).await, before, "to look changes nothing");
        assert_eq!(later_deletions.deletions.len(), 9);
        let replayed = replay(&other, &export).await;
        let token_outcome = if old_state == OldState::Hold {
            "already_so"
        } else {
            "replayed"
        };
        let came_back = replayed
            .iter()
            .find(|one| one.deletion.ended.kind() == "invitation" && one.outcome == Replay::NotFound);
        let expected = [
            ("key", id(1).to_string(), "replayed"),
            ("secrets", id(2).to_string(), "replayed"),
            ("secrets", id(3).to_string(), "replayed"),
            // The secret that was new then is not in the backup.
            ("secrets", id(4).to_string(), "not_found"),
            ("key", later.to_string(), "not_found"),
            ("token", token.token.record.id.to_string(), token_outcome),
            ("member", zora.to_string(), "replayed"),
            (
                "invitation",
                came_back.map_or_else(String::new, |one| one.deletion.ended.id()),
                "not_found",
            ),
            ("invitation", link.invitation.id.to_string(), "replayed"),
        ];
        let told: Vec<_> = outcomes(&replayed);
        assert_eq!(told, expected, "{old_state:?}");

        let shown = other.engine.show_key(&organization, id(1)).await.unwrap();
        let state = KeyState::Deleted {
            reason: DeleteReason::CreatorLeft,
            at: deleted_at,
        };
        assert_eq!(shown.record.state, state);
        let people = roles(&other, &organization).await;
        assert!(
            !people.iter().any(|(email, _)| email == "zora@example.com"),
            "{people:?}"
        );
        assert!(
            people.iter().any(|(email, _)| email == "yan@example.com"),
            "{people:?}"
        );
        let accepted = other.engine.accept_invitation(&arrival(), &link.secret).await;
        assert!(accepted.is_err());
        assert_eq!(
            other.sign_in(token.value.reveal()).await,
            Err(ManagementCode::TokenDeleted)
        );
        let entries = trail(&other, "org-1").await;
        let (_, _, facts) = entries
            .iter()
            .find(|(action, ..)| action == "key.delete")
            .unwrap();
        assert_eq!(facts["replays_sequence"], replayed[0].deletion.sequence);

        other.engine.flush_refused_sign_ins().await.unwrap();
        let before = count_entries(&other).await;
        let again = replay(&other, &export).await;
        let changed = again.iter().find(|one| one.outcome == Replay::Replayed);
        assert_eq!(changed, None);
        assert_eq!(
            count_entries(&other).await,
            before,
            "the second time nothing is changed or told"
        );

        other.engine.release_held(&context()).await.unwrap();
        for (index, expected) in [
            (0, Ok(())),
            (1, Err(Code::KeyDeleted)),
            (2, Err(Code::KeySuperseded)),
            (3, Ok(())),
            (4, Ok(())),
        ] {
            assert_eq!(other.verify(value(index)).await, expected, "{index}");
            assert_eq!(other.verify_afresh(value(index)).await, expected, "{index}");
        }
        // The overlap ends when it would have ended.
        other.clock.advance_ms(DAY_MS);
        assert_eq!(other.verify(value(3)).await, Err(Code::KeySuperseded));
        // A key without a current secret can be replaced.
        other.clock.advance_ms(-DAY_MS);
        let subject = (organization.clone(), id(2));
        let replaced = other.engine.replace_key(
            context(),
            subject,
            keyward_core::edit_key::KeyEdit::default(),
            None,
        );
        assert!(matches!(replaced.await, Ok(Once::Now(_))));
        assert_eq!(
            replay(&other, &export).await.len(),
            replayed.len(),
            "also when it has gone on"
        );
        other.engine.shut_down().await;
    }
}

async fn a_deleted_organization_is_deleted_again(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let copy = dump(&test).await;
    let delete = || {
        test.engine
            .delete_organization(context(), organization.clone(), "org-1")
    };
    delete().await.unwrap();
    let deleted = exported(&test, "org-1").await;
    test.engine
        .restore_organization(context(), organization.clone())
        .await
        .unwrap();
    let taken_back = exported(&test, "org-1").await;
    let other = restored(&test, &copy, OldState::Accept).await;
    assert!(replay(&other, &taken_back).await.is_empty());
    assert_eq!(other.verify(key.value.reveal()).await, Ok(()));
    assert_eq!(
        outcomes(&replay(&other, &deleted).await),
        [("organization", String::new(), "replayed")]
    );
    assert_eq!(other.verify(key.value.reveal()).await, Err(Code::KeyPaused));
    assert_eq!(
        outcomes(&replay(&other, &deleted).await),
        [("organization", String::new(), "already_so")]
    );
}

async fn the_last_owner_is_not_removed_again(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let copy = dump(&test).await;
    member(&test, &organization, "zora@example.com", Role::Owner).await;
    test.engine
        .remove_member(context(), organization.clone(), owner, Some(KeysOfLeaver::Keep))
        .await
        .unwrap();
    let other = restored(&test, &copy, OldState::Hold).await;
    let replayed = replay(&other, &exported(&test, "org-1").await).await;
    let refused = replayed.iter().find(|one| one.deletion.ended.kind() == "member");
    assert!(matches!(&refused.unwrap().outcome, Replay::Refused(why) if why.contains("last Owner")));
    assert_eq!(roles(&other, &organization).await.len(), 1);
}

async fn an_export_that_does_not_fit_is_refused_and_changes_nothing(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let early = export(test.engine.store(), &test.engine.keyring(), "org-1", 1).await;
    let copy = dump(&test).await;
    test.delete(&organization, key.key.record.id).await.unwrap();
    test.full_key(&organization).await;
    let whole = exported(&test, "org-1").await;
    let gap = export(test.engine.store(), &test.engine.keyring(), "org-1", 4).await;
    let from_head = export(test.engine.store(), &test.engine.keyring(), "org-1", 3).await;
    test.clock.advance_ms(1);
    let other = restored(&test, &copy, OldState::Hold).await;
    let before = count_entries(&other).await;

    let without = |action: &str| {
        let lines = whole.lines().filter(|line| !line.contains(action));
        lines.collect::<Vec<_>>().join("\n")
    };
    let cut = whole.rsplit_once("{\"end\"").unwrap().0.to_owned();
    let stranger = Keyring::generate(&mut SystemRandom, test.clock.now()).unwrap();
    let forged = export(test.engine.store(), &stranger, "org-1", 1).await;
    for (what, text) in [
        ("changed", whole.replace("compromised", "removed")),
        ("an entry less", without("key.delete")),
        ("cut", cut),
        ("signed by somebody else", forged),
        ("nothing", String::new()),
        ("no export", "{}\n".to_owned()),
        ("no text", "\u{0}\n".to_owned()),
    ] {
        let refused = read(&other, &text).await;
        assert!(
            matches!(refused, Err(ExportRefused::NotWhole(_))),
            "{what}: {refused:?}"
        );
        let keyring = other.engine.keyring();
        let refused = check_export(&keyring, &mut text.as_bytes()).await;
        assert!(
            matches!(refused, Err(ExportRefused::NotWhole(_))),
            "{what}: {refused:?}"
        );
    }
    let refused = read(&other, &gap).await;
    assert!(
        matches!(&refused, Err(ExportRefused::DoesNotContinue(why)) if why.contains("begins with entry 4")),
        "{refused:?}"
    );
    // Of the same name, keyring and all, but with another history.
    let twin = restored(&test, &dump_of_a_new(&test).await, OldState::Accept).await;
    let refused = read(&twin, &whole).await;
    assert!(
        matches!(&refused, Err(ExportRefused::DoesNotContinue(why)) if why.contains("another installation")),
        "{refused:?}"
    );
    assert_eq!(count_entries(&other).await, before);
    // One that is older than the backup tells nothing; one that begins where the backup ends tells all.
    assert_eq!(read(&other, &early).await.unwrap().deletions, []);
    let later = read(&other, &from_head).await.unwrap();
    assert_eq!((later.common, later.last, later.deletions.len()), (2, 5, 1));
}

/// A copy of an installation with the same keyring, in which the organization has another past.
async fn dump_of_a_new(test: &TestEngine) -> Vec<u8> {
    let place = Place::new(test.place.kind());
    let engine = start(&place.database(), &test.keyring_text, &test.clock, 100).await;
    let twin = TestEngine {
        engine: engine.unwrap(),
        clock: test.clock.clone(),
        keyring_text: test.keyring_text.clone(),
        place,
    };
    let organization = twin.organization("org-1").await;
    twin.full_key(&organization).await;
    let copy = dump(&twin).await;
    twin.clock.advance_ms(1);
    copy
}

on_both_databases!(
    what_ended_later_ends_again_and_the_others_live,
    a_deleted_organization_is_deleted_again,
    the_last_owner_is_not_removed_again,
    an_export_that_does_not_fit_is_refused_and_changes_nothing,
);
