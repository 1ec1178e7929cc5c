//! Sign-ins in the trail: accepted ones once a day and address, refused ones once a minute with their count.

use keyward_core::address::CallerAddress;
use keyward_core::key_text::{KeyText, Prefix};
use keyward_core::management_refusal::ManagementCode;
use keyward_core::role::Role;
use keyward_core::time::{DAY_MS, MINUTE_MS};
use keyward_engine::create_token::{CreatedToken, TokenCeiling, TokenDraft};
use keyward_engine::sign_ins::Arrival;
use keyward_testkit::engine::{Kind, TestEngine, arrival, context};
use keyward_testkit::on_both_databases;

use crate::people::{invite, trail};

async fn sign_in_from(test: &TestEngine, token: &CreatedToken, last: u8) -> Result<(), ManagementCode> {
    let prefix = Prefix::management_token();
    let text = KeyText::parse(token.value.reveal(), &prefix).unwrap();
    let from = Arrival {
        request_id: format!("request-{last}").parse().unwrap(),
        address: CallerAddress::Known(std::net::Ipv4Addr::new(192, 0, 2, last).into()),
    };
    let verified = test.engine.verify_token(&text, &from).await;
    verified.map(drop).map_err(|refusal| refusal.code())
}

/// The entries of these actions, as their facts.
async fn told(test: &TestEngine, action: &str) -> Vec<serde_json::Value> {
    let entries = trail(test, "org-1").await.into_iter();
    entries
        .filter(|(found, ..)| found == action)
        .map(|(_, _, facts)| facts)
        .collect()
}

async fn an_accepted_token_is_told_once_a_day_and_address(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let token = test.token(&organization, "keys:read").await;
    let at_once: Vec<_> = (0..8)
        .map(|_| {
            let (engine, value) = (test.engine.clone(), token.value.reveal().to_owned());
            tokio::spawn(async move {
                let prefix = Prefix::management_token();
                let text = KeyText::parse(&value, &prefix).unwrap();
                engine.verify_token(&text, &arrival()).await.unwrap();
            })
        })
        .collect();
    for one in at_once {
        one.await.unwrap();
    }
    assert_eq!(
        told(&test, "token.sign_in").await.len(),
        1,
        "many at once leave one"
    );
    for _ in 0..3 {
        for last in 1..=20 {
            sign_in_from(&test, &token, last).await.unwrap();
        }
    }
    let entries = told(&test, "token.sign_in").await;
    assert_eq!(entries.len(), 8, "eight addresses a day");
    assert_eq!(entries[0]["why_told"], "first_of_day");
    assert_eq!(entries[7]["why_told"], "other_address");
    assert!(
        entries
            .iter()
            .all(|facts| facts["address_commitment"].is_string())
    );
    test.clock.advance_ms(DAY_MS);
    sign_in_from(&test, &token, 1).await.unwrap();
    sign_in_from(&test, &token, 1).await.unwrap();
    assert_eq!(told(&test, "token.sign_in").await.len(), 9);
}

async fn what_cannot_be_told_is_not_let_in(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let (first, second) = (
        test.token(&organization, "keys:read").await,
        test.token(&organization, "keys:read").await,
    );
    sign_in_from(&test, &first, 1).await.unwrap();
    test.place
        .run("ALTER TABLE audit_entry RENAME TO audit_entry_away")
        .await;
    let refused = sign_in_from(&test, &second, 1).await;
    assert_eq!(refused, Err(ManagementCode::CheckUnavailable));
    assert_eq!(
        sign_in_from(&test, &first, 1).await,
        Ok(()),
        "that was told already"
    );
    test.place
        .run("ALTER TABLE audit_entry_away RENAME TO audit_entry")
        .await;
    assert_eq!(sign_in_from(&test, &second, 1).await, Ok(()));
    assert_eq!(told(&test, "token.sign_in").await.len(), 2);
}

async fn refused_tokens_are_told_with_their_count_and_never_hold_up_a_request(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let draft = TokenDraft {
        name: "Ends".to_owned(),
        rights: keyward_core::management_right::RightSet::from_text("keys:read").unwrap(),
        expires_at: Some(test.engine.now().plus_ms(1_000)),
    };
    let ceiling = TokenCeiling {
        rights: keyward_core::management_right::RightSet::all(),
        ends_at: None,
    };
    let token = test
        .engine
        .create_token(context(), organization.clone(), draft, ceiling)
        .await
        .unwrap();
    test.clock.advance_ms(1_000);
    test.place
        .run("ALTER TABLE audit_entry RENAME TO audit_entry_away")
        .await;
    for last in 1..=100 {
        let refused = sign_in_from(&test, &token, last).await;
        assert_eq!(refused, Err(ManagementCode::TokenExpired), "told or not");
    }
    assert!(test.engine.flush_refused_sign_ins().await.is_err());
    test.place
        .run("ALTER TABLE audit_entry_away RENAME TO audit_entry")
        .await;
    test.engine.flush_refused_sign_ins().await.unwrap();
    let entries = told(&test, "token.refused").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entries[0]["reason"], &entries[0]["count"]),
        (&"expired".into(), &100.into())
    );

    // A deletion is another reason; more of the same waits for its minute.
    sign_in_from(&test, &token, 1).await.unwrap_err();
    test.engine
        .delete_token(context(), organization.clone(), token.token.record.id)
        .await
        .unwrap();
    sign_in_from(&test, &token, 1).await.unwrap_err();
    test.engine.flush_refused_sign_ins().await.unwrap();
    let reasons = |entries: &[serde_json::Value]| {
        let reasons = entries
            .iter()
            .map(|facts| facts["reason"].as_str().unwrap_or_default().to_owned());
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(
        reasons(&told(&test, "token.refused").await),
        ["expired", "deleted"]
    );
    test.clock.advance_ms(MINUTE_MS);
    test.engine.flush_refused_sign_ins().await.unwrap();
    assert_eq!(
        reasons(&told(&test, "token.refused").await),
        ["expired", "deleted", "expired"]
    );

    // A stranger leaves nothing, and a shut-down writes what waits.
    let before = trail(&test, "org-1").await.len();
    let other = test.token(&organization, "keys:read").await;
    let half = token.value.reveal().split_at(60).0;
    assert!(!other.value.reveal().starts_with(half));
    sign_in_from(&test, &token, 1).await.unwrap_err();
    let keyring_text = test.keyring_text.clone();
    let test = test.restart(&keyring_text).await;
    let entries = trail(&test, "org-1").await;
    let new: Vec<&str> = entries[before..]
        .iter()
        .map(|(action, ..)| action.as_str())
        .collect();
    assert_eq!(new, ["token.create", "token.refused"]);
}

async fn a_used_link_is_told_when_it_comes_again(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = invite(
        &test,
        &context(),
        &organization,
        ("zora@example.com", Role::Member),
    )
    .await;
    let made = made.unwrap();
    test.engine
        .accept_invitation(&arrival(), &made.secret)
        .await
        .unwrap();
    for _ in 0..5 {
        test.engine
            .accept_invitation(&arrival(), &made.secret)
            .await
            .unwrap_err();
    }
    test.clock.advance_ms(MINUTE_MS);
    test.engine.flush_refused_sign_ins().await.unwrap();
    let entries = told(&test, "invitation.refused").await;
    let counts: u64 = entries.iter().filter_map(|facts| facts["count"].as_u64()).sum();
    assert_eq!((counts, &entries[0]["reason"]), (5, &"accepted".into()));
    assert!(entries.len() <= 2, "the first at once, the others after a minute");
}

on_both_databases!(
    an_accepted_token_is_told_once_a_day_and_address,
    what_cannot_be_told_is_not_let_in,
    refused_tokens_are_told_with_their_count_and_never_hold_up_a_request,
    a_used_link_is_told_when_it_comes_again,
);
