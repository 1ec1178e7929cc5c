//! Management tokens: made within bounds, true ends, sealed rows, rotation and restore.

use std::sync::Mutex;

use keyward_core::ids::TokenId;
use keyward_core::keyring::Keyring;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::record::Actor;
use keyward_core::time::{MINUTE_MS, Timestamp};
use keyward_engine::EngineError;
use keyward_engine::context::Context;
use keyward_engine::create_token::{CreatedToken, TokenCeiling, TokenDraft};
use keyward_engine::restore::{OldState, restore};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place, TestEngine, context, start};
use keyward_testkit::forgery::with_other_secret;
use keyward_testkit::on_both_databases;

const ALL: TokenCeiling = TokenCeiling {
    rights: RightSet::NONE
        .with(ManagementRight::KeysRead)
        .with(ManagementRight::KeysWrite)
        .with(ManagementRight::TokensWrite),
    ends_at: None,
};

fn draft(rights: &str, expires_at: Option<Timestamp>) -> TokenDraft {
    TokenDraft {
        name: "CI".to_owned(),
        rights: RightSet::from_text(rights).unwrap(),
        expires_at,
    }
}

fn by(token: &CreatedToken) -> Context {
    Context::new(Actor::Token(token.token.record.id), "r-1".parse().unwrap())
}

fn fields(outcome: Result<CreatedToken, EngineError>) -> Vec<String> {
    match outcome {
        Err(EngineError::Invalid(problems)) => problems.into_iter().map(|one| one.field).collect(),
        other => panic!("{other:?}"),
    }
}

async fn a_token_is_accepted_from_its_creation_to_its_end(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let end = START.plus_ms(10_000);
    let made = test
        .engine
        .create_token(
            context(),
            organization.clone(),
            draft("keys:read", Some(end)),
            ALL,
        )
        .await
        .unwrap();
    let value = made.value.reveal();
    assert!(value.starts_with("kwmt_") && value.len() == 103);
    let verified = test.sign_in(value).await.unwrap();
    assert_eq!(
        (verified.id, verified.organization_id, verified.rights.to_text()),
        (made.token.record.id, organization, "keys:read".to_owned())
    );
    test.clock.advance_ms(9_999);
    assert!(test.sign_in(value).await.is_ok());
    test.clock.advance_ms(1);
    assert_eq!(test.sign_in(value).await, Err(ManagementCode::TokenExpired));
}

async fn who_has_not_the_whole_text_is_unknown(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = test.token(&organization, "keys:read").await;
    let forged = with_other_secret(made.value.reveal());
    assert_eq!(test.sign_in(&forged).await, Err(ManagementCode::TokenUnknown));
    let elsewhere = TestEngine::new(Kind::Sqlite).await;
    let theirs = elsewhere.organization("org-1").await;
    let theirs = elsewhere.token(&theirs, "keys:read").await;
    // The id's MAC is another keyring's, so that not even a database that is away is noticed.
    test.engine.store().close().await;
    assert_eq!(
        test.sign_in(theirs.value.reveal()).await,
        Err(ManagementCode::TokenUnknown)
    );
    assert_eq!(
        test.sign_in(made.value.reveal()).await,
        Err(ManagementCode::CheckUnavailable)
    );
}

async fn a_deleted_token_is_refused_when_the_call_returned_and_stays_so(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    let made = test.token(&organization, "keys:read").await;
    let id = made.token.record.id;
    let verified = test.sign_in(made.value.reveal()).await.unwrap();
    let elsewhere = test.engine.delete_token(context(), other, id).await;
    assert!(matches!(elsewhere, Err(EngineError::NotFound(_))));
    assert_eq!(test.engine.confirm_token(&verified).await, Ok(()));

    for is_changed in [true, false] {
        let deleted = test.engine.delete_token(context(), organization.clone(), id);
        assert_eq!(deleted.await.unwrap().is_changed, is_changed);
        assert_eq!(
            test.sign_in(made.value.reveal()).await,
            Err(ManagementCode::TokenDeleted)
        );
        let confirmed = test.engine.confirm_token(&verified).await;
        assert_eq!(confirmed.unwrap_err().code(), ManagementCode::TokenDeleted);
    }
    let shown = test.engine.show_token(&organization, id).await.unwrap();
    assert_eq!(shown.shown_state(START), "deleted");
    let chain = test.engine.store().list_audit("org-1", 0, 100).await.unwrap();
    let actions: Vec<&str> = chain.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "organization.create",
            "token.create",
            "token.sign_in",
            "token.delete"
        ]
    );
    assert!(chain.iter().all(|entry| entry.is_intact()));
    assert!(
        chain
            .iter()
            .all(|entry| !entry.facts.contains("A token of a test")),
        "a name is personal"
    );
}

async fn a_token_makes_none_that_may_do_more_or_lives_longer(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let maker = test.token(&organization, "keys:read,tokens:write").await;
    let ceiling = TokenCeiling {
        rights: maker.token.record.rights,
        ends_at: Some(START.plus_ms(1_000)),
    };
    let make = |rights: &'static str, end: Option<i64>| {
        let draft = draft(rights, end.map(|ms| START.plus_ms(ms)));
        test.engine
            .create_token(by(&maker), organization.clone(), draft, ceiling)
    };
    assert_eq!(
        fields(make("keys:read,keys:write", Some(1_000)).await),
        ["rights"]
    );
    assert_eq!(fields(make("keys:read", Some(1_001)).await), ["expires_at"]);
    assert_eq!(fields(make("keys:read", None).await), ["expires_at"]);
    assert_eq!(fields(make("", Some(0)).await), ["rights", "expires_at"]);
    let made = make("keys:read", Some(1_000)).await.unwrap();
    assert_eq!(made.token.created_by, by(&maker).actor);

    let id = maker.token.record.id;
    let delete = test.engine.delete_token(context(), organization.clone(), id);
    delete.await.unwrap();
    let after = make("keys:read", Some(1_000)).await;
    assert!(
        matches!(after, Err(EngineError::Conflict(_))),
        "a token that ended makes none"
    );
}

async fn no_changed_row_is_accepted_and_each_can_be_ended(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    test.organization("org-2").await;
    for change in [
        "UPDATE management_token SET rights = 'keys:read,keys:write'",
        "UPDATE management_token SET rights = 'everything'",
        "UPDATE management_token SET rights = ''",
        "UPDATE management_token SET expires_at = 4102444800000",
        "UPDATE management_token SET organization_id = 'org-2'",
        "UPDATE management_token SET version = version + 1",
        "UPDATE management_token SET state = 'deleted', deleted_at = 1",
        "UPDATE management_token SET keyring_version = 2",
        "UPDATE management_token SET sealed = o.sealed FROM (SELECT id, sealed FROM management_token) o \
         WHERE o.id <> management_token.id",
    ] {
        test.place.run("DELETE FROM management_token").await;
        let made = test.token(&organization, "keys:read").await;
        test.token(&organization, "keys:read").await;
        assert!(test.place.run(change).await > 0, "{change}");
        assert_eq!(
            test.sign_in(made.value.reveal()).await,
            Err(ManagementCode::CheckUnavailable),
            "{change}"
        );
        let at = if change.contains("organization_id") {
            "org-2"
        } else {
            "org-1"
        };
        let id = made.token.record.id;
        let deleted = test.engine.delete_token(context(), at.parse().unwrap(), id).await;
        assert!(deleted.unwrap().is_changed, "{change}");
        assert_eq!(
            test.sign_in(made.value.reveal()).await,
            Err(ManagementCode::TokenUnknown),
            "{change}: what is left of it opens nothing"
        );
        let again = test.engine.delete_token(context(), at.parse().unwrap(), id).await;
        assert!(!again.unwrap().is_changed, "{change}");
    }
}

async fn an_ended_row_that_is_made_alive_again_is_not(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = test.token(&organization, "keys:read").await;
    let id = made.token.record.id;
    let delete = test.engine.delete_token(context(), organization, id);
    delete.await.unwrap();
    let revive = "UPDATE management_token SET state = 'active', deleted_at = NULL, version = 1";
    assert_eq!(test.place.run(revive).await, 1);
    assert_eq!(
        test.sign_in(made.value.reveal()).await,
        Err(ManagementCode::CheckUnavailable)
    );
}

async fn a_use_is_noted_once_a_minute(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = test.token(&organization, "keys:read").await;
    let id = made.token.record.id;
    let last_use = async || {
        let shown = test.engine.show_token(&organization, id).await.unwrap();
        shown.last_used_at
    };
    assert_eq!(last_use().await, None);
    test.sign_in(made.value.reveal()).await.unwrap();
    until(async || last_use().await == Some(START)).await;
    test.clock.advance_ms(MINUTE_MS);
    test.sign_in(made.value.reveal()).await.unwrap();
    assert_eq!(last_use().await, Some(START), "a minute is not over yet");
    test.clock.advance_ms(1);
    test.sign_in(made.value.reveal()).await.unwrap();
    until(async || last_use().await == Some(START.plus_ms(MINUTE_MS + 1))).await;
    assert!(
        test.sign_in(made.value.reveal()).await.is_ok(),
        "no seal is bound to it"
    );
}

/// Looks again until it holds: a use is noted beside the request.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if holds().await {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("it never came to be");
}

async fn a_rotation_seals_tokens_anew_and_an_unreadable_one_keeps_the_old_version(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(test.token(&organization, "keys:read").await);
    }
    let saved = Mutex::new(String::new());
    let save = |keyring: &Keyring| {
        *saved.lock().unwrap() = keyring.to_text().to_string();
        Ok(())
    };
    let ended = made[2].token.record.id;
    let delete = test.engine.delete_token(context(), organization.clone(), ended);
    delete.await.unwrap();
    let rotated = test.engine.rotate_keyring(context(), &save).await.unwrap();
    assert_eq!(
        (
            rotated.resealed_tokens,
            rotated.broken,
            rotated.keyring.versions.len()
        ),
        (3, 0, 1)
    );
    assert!(test.sign_in(made[0].value.reveal()).await.is_ok());
    assert_eq!(
        test.sign_in(made[2].value.reveal()).await,
        Err(ManagementCode::TokenDeleted)
    );

    let spoil = format!(
        "UPDATE management_token SET rights = 'verify' WHERE id = '{}'",
        made[0].token.record.id
    );
    assert_eq!(test.place.run(&spoil).await, 1);
    let rotated = test.engine.rotate_keyring(context(), &save).await.unwrap();
    assert_eq!((rotated.broken, rotated.keyring.versions.len()), (1, 2));
    // A keyring without the version that a token is sealed under does not start.
    let text = saved.lock().unwrap().clone();
    let test = test.restart(&text).await;
    let active_only = Keyring::from_text(&text).unwrap().with_active_only().unwrap();
    test.engine.shut_down().await;
    let refused = test.start_another(&active_only.to_text()).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("version")));
}

async fn a_restored_backup_ends_tokens_unless_the_old_state_is_accepted(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = test.token(&organization, "keys:read").await;
    let gone = test.token(&organization, "keys:read").await;
    let gone_id: TokenId = gone.token.record.id;
    let delete = test.engine.delete_token(context(), organization, gone_id);
    delete.await.unwrap();
    let mut copy = Vec::new();
    let store = test.engine.store();
    store
        .dump(&mut copy, test.engine.keyring().id(), 0)
        .await
        .unwrap();
    let keyring = Keyring::from_text(&test.keyring_text).unwrap();
    for (old_state, ended) in [(OldState::Hold, 1), (OldState::Accept, 0)] {
        let place = Place::new(kind);
        let store = place.store().await;
        let restored = restore(
            &store,
            &keyring,
            &mut copy.as_slice(),
            old_state,
            &context(),
            START,
        )
        .await
        .unwrap();
        assert_eq!(restored.ended_tokens, ended);
        store.close().await;
        let engine = start(&place.database(), &test.keyring_text, &test.clock, 100)
            .await
            .unwrap();
        let other = TestEngine {
            engine,
            clock: test.clock.clone(),
            keyring_text: test.keyring_text.clone(),
            place,
        };
        let outcome = other.sign_in(made.value.reveal()).await.map(|_| ());
        let expected = match old_state {
            OldState::Hold => Err(ManagementCode::TokenDeleted),
            OldState::Accept => Ok(()),
        };
        assert_eq!(outcome, expected);
        assert_eq!(
            other.sign_in(gone.value.reveal()).await,
            Err(ManagementCode::TokenDeleted)
        );
        other.engine.shut_down().await;
    }
}

on_both_databases!(
    a_token_is_accepted_from_its_creation_to_its_end,
    who_has_not_the_whole_text_is_unknown,
    a_deleted_token_is_refused_when_the_call_returned_and_stays_so,
    a_token_makes_none_that_may_do_more_or_lives_longer,
    no_changed_row_is_accepted_and_each_can_be_ended,
    an_ended_row_that_is_made_alive_again_is_not,
    a_use_is_noted_once_a_minute,
    a_rotation_seals_tokens_anew_and_an_unreadable_one_keeps_the_old_version,
    a_restored_backup_ends_tokens_unless_the_old_state_is_accepted,
);
