//! Every endpoint, asked without a key, with a bad or an ended one, and for another organization: each refused as the
//! table of answers says, before anything else is looked at.

use keyward_core::condition::Conditions;
use keyward_core::ids::OrganizationId;
use keyward_core::new_key::KeyDraft;
use keyward_core::scope::ScopeSet;
use keyward_core::state::DeleteReason;
use keyward_engine::clock::Clock as _;
use keyward_testkit::engine::{Permission, context, draft};
use keyward_testkit::forgery;

use crate::cases::{Case, ask, assert_refused, cases};
use crate::support::Vi;

#[tokio::test]
async fn a_request_without_a_good_key_is_refused_everywhere() {
    let vi = Vi::new().await;
    let organization: OrganizationId = "org-1".parse().expect("it is an id");
    let other = vi.test.organization("org-2").await;
    let engine = &vi.test.engine;
    let full = vi.test.full_key(&organization).await;
    let full = full.value.reveal();
    let stranger = vi.test.full_key(&other).await;
    let forged = forgery::with_other_secret(full);

    let deleted = vi.test.full_key(&organization).await;
    engine
        .delete_key(
            context(),
            organization.clone(),
            deleted.key.record.id,
            DeleteReason::Removed,
        )
        .await
        .expect("a key can be deleted");
    let paused = vi.test.full_key(&organization).await;
    engine
        .pause_key(context(), organization.clone(), paused.key.record.id)
        .await
        .expect("a key can be paused");
    let rights = "organization:read,organization:write,keys:read,keys:write,members:read,members:write,tokens:read,\
                  tokens:write,audit:read,verify";
    let token = vi.test.token(&organization, rights).await;
    let now = vi.test.clock.now();
    let mut made = Vec::new();
    for conditions in [
        Conditions {
            expires_at: Some(now.plus_ms(1_000)),
            ..Conditions::NONE
        },
        Conditions {
            not_before: Some(now.plus_ms(60_000)),
            ..Conditions::NONE
        },
    ] {
        let draft = KeyDraft {
            conditions,
            ..draft(ScopeSet::ALL, Permission::Full)
        };
        let key = engine.create_key(context(), organization.clone(), draft).await;
        made.push(key.expect("a key can be made"));
    }
    vi.test.clock.advance_ms(2_000);

    let own = Some("org-1");
    let callers = [
        ("no key", None, own, "key_missing"),
        ("no key and no organization", None, None, "key_missing"),
        (
            "a management token",
            Some(token.value.reveal()),
            own,
            "key_malformed",
        ),
        ("half a key", full.get(..60), own, "key_malformed"),
        ("a wrong secret", Some(forged.as_str()), own, "key_unknown"),
        ("no organization", Some(full), None, "organization_missing"),
        (
            "another organization",
            Some(full),
            Some("org-2"),
            "organization_mismatch",
        ),
        (
            "an organization that is not",
            Some(full),
            Some("org-3"),
            "organization_mismatch",
        ),
        (
            "another's key",
            Some(stranger.value.reveal()),
            own,
            "organization_mismatch",
        ),
        ("a deleted key", Some(deleted.value.reveal()), own, "key_deleted"),
        ("a paused key", Some(paused.value.reveal()), own, "key_paused"),
        ("an expired key", Some(made[0].value.reveal()), own, "key_expired"),
        (
            "an early key",
            Some(made[1].value.reveal()),
            own,
            "key_not_yet_valid",
        ),
    ];
    let cases = cases();
    println!(
        "matrix of the resource API: {} endpoints x {} callers without a good key",
        cases.len(),
        callers.len()
    );
    for case in cases {
        for (who, key, organization, code) in callers {
            let reply = ask(&vi, &case, key, organization).await;
            assert_refused(&case, who, &reply, 401, code);
        }
        // The key's own header, and the path of another organization.
        if case.path.contains("/org-1") {
            let elsewhere = Case {
                path: case.path.replace("org-1", "org-2"),
                ..case
            };
            let reply = ask(&vi, &elsewhere, Some(full), own).await;
            assert_refused(
                &elsewhere,
                "a path elsewhere",
                &reply,
                401,
                "organization_mismatch",
            );
        }
    }
}
