use keyward_core::refusal::Code;
use keyward_core::role::Role;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_engine::EngineError;
use keyward_engine::remove_member::{KeysOfLeaver, MemberRemoved, Removal};
use keyward_testkit::engine::{Kind, TestEngine, arrival, context};
use keyward_testkit::on_both_databases;

use crate::people::{by, first_owner, invite, is_conflict, is_forbidden, key_of, member, roles, trail};

fn done(removal: Result<Removal, EngineError>) -> MemberRemoved {
    match removal {
        Ok(Removal::Done(removed)) => removed,
        other => panic!("{other:?}"),
    }
}

async fn whoever_removes_is_asked_about_keys_and_nothing_happens_until_they_say(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let leaver = member(&test, &organization, "leaver@example.com", Role::Admin).await;
    let (first, second) = (
        key_of(&test, &organization, &leaver).await,
        key_of(&test, &organization, &leaver).await,
    );
    test.full_key(&organization).await;
    let ended = key_of(&test, &organization, &leaver).await;
    test.delete(&organization, ended.key.record.id).await.unwrap();

    let remove = |keys| {
        test.engine
            .remove_member(context(), organization.clone(), leaver.clone(), keys)
    };
    let asked = remove(None).await.unwrap();
    let Removal::Undecided(living) = asked else {
        panic!("{asked:?}")
    };
    let mut ids = [first.key.record.id, second.key.record.id];
    ids.sort_unstable();
    let listed: Vec<_> = living.keys.iter().map(|key| key.record.id).collect();
    assert_eq!((living.count, listed.as_slice()), (2, ids.as_slice()));
    assert_eq!(roles(&test, &organization).await.len(), 2);

    let removed = done(remove(Some(KeysOfLeaver::Keep)).await);
    assert_eq!((removed.kept, removed.ended, removed.handed_over), (2, 0, 0));
    assert_eq!(roles(&test, &organization).await.len(), 1);
    assert_eq!(test.verify(first.value.reveal()).await, Ok(()));
    let again = remove(None).await;
    assert!(matches!(again, Err(EngineError::NotFound("member"))));
    let refused = test
        .engine
        .create_key(
            by(&leaver),
            organization.clone(),
            keyward_testkit::engine::draft(
                keyward_core::scope::ScopeSet::ALL,
                keyward_core::access::Permission::Full,
            ),
        )
        .await;
    assert!(matches!(refused, Err(EngineError::NotFound("organization"))));
}

async fn keys_are_ended_with_their_reason_and_no_verify_accepts_them_any_more(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let leaver = member(&test, &organization, "leaver@example.com", Role::Admin).await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let key = key_of(&test, &organization, &leaver).await;
        test.verify(key.value.reveal()).await.unwrap();
        keys.push(key);
    }
    let others = test.full_key(&organization).await;
    // A row that somebody spoiled can't keep a person from being removed.
    let spoiled = keys[1].key.record.id;
    test.place
        .run(&format!(
            "UPDATE secret_key SET level = 'god' WHERE id = '{spoiled}'"
        ))
        .await;
    let removal = test.engine.remove_member(
        context(),
        organization.clone(),
        leaver.clone(),
        Some(KeysOfLeaver::End),
    );
    let removed = done(removal.await);
    assert_eq!((removed.ended, removed.kept), (3, 0));
    for key in &keys {
        assert!(test.verify(key.value.reveal()).await.is_err());
        let shown = test
            .engine
            .show_key(&organization, key.key.record.id)
            .await
            .unwrap();
        assert!(matches!(
            shown.record.state,
            KeyState::Deleted {
                reason: DeleteReason::CreatorLeft,
                ..
            }
        ));
    }
    assert_eq!(
        test.verify_afresh(keys[0].value.reveal()).await,
        Err(Code::KeyDeleted)
    );
    assert_eq!(test.verify_afresh(others.value.reveal()).await, Ok(()));
    let (action, _, facts) = trail(&test, "org-1").await.pop().unwrap();
    assert_eq!(
        (action.as_str(), facts["ended"].as_u64()),
        ("member.remove", Some(3))
    );
    assert!(facts.get("email").is_none() && facts.get("email_commitment").is_some());
}

async fn keys_are_handed_over_and_asked_about_when_their_new_owner_leaves(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let leaver = member(&test, &organization, "leaver@example.com", Role::Owner).await;
    let heir = member(&test, &organization, "heir@example.com", Role::Admin).await;
    let plain = member(&test, &organization, "member@example.com", Role::Member).await;
    let other = test.organization("org-2").await;
    let stranger = member(&test, &other, "stranger@example.com", Role::Owner).await;
    let key = key_of(&test, &organization, &leaver).await;
    let id = key.key.record.id;
    let remove = |person: &_, keys| {
        test.engine
            .remove_member(context(), organization.clone(), Clone::clone(person), keys)
    };
    for unfit in [&plain, &stranger, &leaver, &"p-9".parse().unwrap()] {
        let refused = remove(&leaver, Some(KeysOfLeaver::HandOver(unfit.clone()))).await;
        assert!(is_conflict(refused), "{unfit}");
    }
    let removed = done(remove(&leaver, Some(KeysOfLeaver::HandOver(heir.clone()))).await);
    assert_eq!((removed.handed_over, removed.kept, removed.ended), (1, 0, 0));
    let shown = test.engine.show_key(&organization, id).await.unwrap();
    assert_eq!(shown.responsible, Some(heir.clone()));
    assert_eq!(shown.created_by, key.key.created_by, "who made it stays");
    assert_eq!(
        test.verify_afresh(key.value.reveal()).await,
        Ok(()),
        "its seals fit"
    );
    let trail = trail(&test, "org-1").await;
    let (_, _, facts) = trail
        .iter()
        .find(|(action, ..)| action == "key.hand_over")
        .unwrap();
    assert_eq!(
        (facts["from"].as_str(), facts["to"].as_str()),
        (Some(leaver.as_str()), Some(heir.as_str()))
    );

    let asked = remove(&heir, None).await.unwrap();
    assert!(
        matches!(asked, Removal::Undecided(living) if living.count == 1 && living.keys[0].record.id == id)
    );
    done(remove(&heir, Some(KeysOfLeaver::End)).await);
    assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
}

async fn who_may_remove_whom(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let second = member(&test, &organization, "second@example.com", Role::Admin).await;
    let plain = member(&test, &organization, "member@example.com", Role::Member).await;
    let remove = |by, person: &_| {
        test.engine
            .remove_member(by, organization.clone(), Clone::clone(person), None)
    };
    assert!(is_forbidden(remove(by(&admin), &owner).await));
    assert!(is_forbidden(remove(by(&plain), &admin).await));
    for by in [by(&owner), context()] {
        assert!(is_conflict(remove(by, &owner).await), "the last Owner stays");
    }
    done(remove(by(&admin), &second).await);
    // Whoever was removed does nothing any more.
    assert!(matches!(
        remove(by(&second), &plain).await,
        Err(EngineError::NotFound("organization"))
    ));
    let heir = member(&test, &organization, "heir@example.com", Role::Owner).await;
    done(remove(by(&owner), &owner).await);
    assert!(is_conflict(remove(by(&heir), &heir).await));
}

/// A Member may not know of keys, not even of those that they made when they were more; leaving asks them nothing.
async fn a_member_leaves_without_being_asked_about_keys(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let leaver = member(&test, &organization, "leaver@example.com", Role::Admin).await;
    let key = key_of(&test, &organization, &leaver).await;
    test.engine
        .change_role(&context(), &organization, &leaver, Role::Member)
        .await
        .unwrap();
    let leave = |keys| {
        test.engine
            .remove_member(by(&leaver), organization.clone(), leaver.clone(), keys)
    };
    assert!(is_forbidden(leave(Some(KeysOfLeaver::End)).await));
    let removed = done(leave(None).await);
    assert_eq!(removed.kept, 1);
    assert_eq!(test.verify(key.value.reveal()).await, Ok(()));
}

/// Whoever asked goes away after any number of steps: asking again ends what is left.
async fn a_removal_that_was_interrupted_is_finished_by_the_next(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let leaver = member(&test, &organization, "leaver@example.com", Role::Admin).await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(key_of(&test, &organization, &leaver).await);
    }
    for polls in 0..3 {
        let remove = test.engine.remove_member(
            context(),
            organization.clone(),
            leaver.clone(),
            Some(KeysOfLeaver::End),
        );
        let mut remove = Box::pin(remove);
        for _ in 0..polls {
            let _ = futures_util::poll!(&mut remove);
            tokio::task::yield_now().await;
        }
    }
    let last = test.engine.remove_member(
        context(),
        organization.clone(),
        leaver.clone(),
        Some(KeysOfLeaver::End),
    );
    match last.await {
        // The one whose caller went away was quicker.
        Err(EngineError::NotFound("member")) => {}
        other => drop(done(other)),
    }
    for key in &keys {
        assert_eq!(test.verify(key.value.reveal()).await, Err(Code::KeyDeleted));
    }
    assert_eq!(roles(&test, &organization).await.len(), 1);
    let removals = trail(&test, "org-1").await;
    let removals = removals.iter().filter(|(action, ..)| action == "member.remove");
    assert_eq!(removals.count(), 1);
}

/// Keys that are made while their maker is removed: each is ended with the others, or was never made.
async fn no_key_of_somebody_removed_is_left_behind(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    for round in 0..4 {
        let leaver = member(
            &test,
            &organization,
            &format!("l{round}@example.com"),
            Role::Admin,
        )
        .await;
        let making: Vec<_> = (0..8)
            .map(|_| {
                let (engine, organization, maker) = (test.engine.clone(), organization.clone(), by(&leaver));
                tokio::spawn(async move {
                    let draft = keyward_testkit::engine::draft(
                        keyward_core::scope::ScopeSet::ALL,
                        keyward_core::access::Permission::Full,
                    );
                    engine.create_key(maker, organization, draft).await
                })
            })
            .collect();
        let removed = test
            .engine
            .remove_member(
                context(),
                organization.clone(),
                leaver.clone(),
                Some(KeysOfLeaver::End),
            )
            .await;
        done(removed);
        for made in making {
            if let Ok(made) = made.await.unwrap() {
                assert_eq!(test.verify(made.value.reveal()).await, Err(Code::KeyDeleted));
            }
        }
        let store = test.engine.store();
        assert_eq!(
            store.count_keys_of_person(&organization, &leaver).await.unwrap(),
            0
        );
    }
}

async fn invitations_of_somebody_removed_are_taken_back(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let leaver = member(&test, &organization, "leaver@example.com", Role::Admin).await;
    let way_back = invite(&test, &by(&leaver), &organization, ("other@me", Role::Member))
        .await
        .unwrap();
    done(
        test.engine
            .remove_member(context(), organization.clone(), leaver, None)
            .await,
    );
    let refused = test.engine.accept_invitation(&arrival(), &way_back.secret).await;
    assert!(matches!(refused, Err(EngineError::InvitationOver(_))));
}

on_both_databases!(
    whoever_removes_is_asked_about_keys_and_nothing_happens_until_they_say,
    keys_are_ended_with_their_reason_and_no_verify_accepts_them_any_more,
    keys_are_handed_over_and_asked_about_when_their_new_owner_leaves,
    who_may_remove_whom,
    a_member_leaves_without_being_asked_about_keys,
    a_removal_that_was_interrupted_is_finished_by_the_next,
    no_key_of_somebody_removed_is_left_behind,
    invitations_of_somebody_removed_are_taken_back,
);
