//! Invitations: a new person, somebody with a passphrase in another organization, and somebody without one.

use http::StatusCode;
use keyward_core::role::Role;
use keyward_core::time::DAY_MS;
use keyward_engine::invitations::{CreatedInvitation, InvitationDraft};
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::support::{OWNER, PASSPHRASE, TestConsole};

async fn invite(console: &TestConsole, organization: &str, email: &str, role: Role) -> CreatedInvitation {
    let draft = InvitationDraft {
        email: email.parse().unwrap(),
        role,
        lifetime_ms: None,
    };
    let organization = organization.parse().unwrap();
    let engine = &console.test.engine;
    engine
        .create_invitation(&context(), &organization, draft)
        .await
        .unwrap()
}

fn path(invitation: &CreatedInvitation) -> String {
    format!("/invitations/{}", invitation.secret.reveal())
}

async fn somebody_new_sets_a_passphrase_and_joins(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let invitation = invite(&console, "org-1", "new@example.com", Role::Member).await;
    let path = path(&invitation);
    let mut browser = console.browser();
    let page = browser.page(&path).await;
    for told in ["The organization org-1", "Member", "new@example.com", "in 7 days"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    let answer = browser.post(&path, &[("passphrase", "too short")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.text.contains("the invitation is still good"),
        "{}",
        answer.text
    );
    let answer = browser.post(&path, &[("passphrase", PASSPHRASE)]).await;
    assert_eq!(answer.location(), "/org/org-1/settings/general");
    let page = browser.page("/organizations").await;
    assert!(page.contains("org-1"));
    let answer = console.browser().get(&path).await;
    assert_eq!(answer.status, StatusCode::GONE);
    assert!(answer.text.contains("accepted already"), "{}", answer.text);
}

async fn who_has_a_passphrase_signs_in_first_and_the_link_alone_is_nobody(kind: Kind) {
    let console = TestConsole::new(kind).await;
    console.test.organization("org-2").await;
    drop(console.member("jo@example.com", Role::Member).await);
    let invitation = invite(&console, "org-2", "jo@example.com", Role::Admin).await;
    let path = path(&invitation);

    // Whoever holds the link, and is nobody, sets no passphrase with it.
    let mut thief = console.browser();
    let page = thief.page(&path).await;
    assert!(!page.contains("type=\"password\""), "{page}");
    let next = format!("/sign-in?next={}", path.replace('/', "%2F"));
    assert!(page.contains(&next), "{page}");
    thief.page("/sign-in").await;
    let answer = thief
        .post(&path, &[("passphrase", "four other words entirely here")])
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    assert_eq!(thief.get("/organizations").await.status, StatusCode::SEE_OTHER);

    // Nor does somebody else who is signed in accept it.
    let mut other = console.member("other@example.com", Role::Member).await;
    let page = other.page(&path).await;
    assert!(page.contains("signed in as other@example.com"), "{page}");
    let answer = other.post(&path, &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(!other.page("/organizations").await.contains("org-2"));

    let mut browser = console.browser();
    browser.page(&next).await;
    let fields = [
        ("email", "jo@example.com"),
        ("passphrase", PASSPHRASE),
        ("next", path.as_str()),
    ];
    let answer = browser.post("/sign-in", &fields).await;
    assert_eq!(answer.location(), path);
    let page = browser.page(&path).await;
    assert!(page.contains("Join The organization org-2</button>"), "{page}");
    assert_eq!(browser.post(&path, &[]).await.location(), "/org/org-2");
    let page = browser.page("/organizations").await;
    assert!(page.contains("org-1") && page.contains("org-2"), "{page}");
}

async fn who_is_known_without_a_passphrase_asks_an_operator(kind: Kind) {
    let console = TestConsole::new(kind).await;
    console.test.organization("org-2").await;
    // The Owner of both was named by the operator and has set no passphrase.
    let engine = &console.test.engine;
    let owners = engine.memberships_of(None, OWNER).await.unwrap();
    assert_eq!(owners.len(), 2);
    let draft = keyward_engine::create_organization::OrganizationDraft {
        name: "Third".to_owned(),
        id: Some("org-3".parse().unwrap()),
        owner_email: "third@example.com".to_owned(),
        owner: keyward_engine::create_organization::OwnerClaim::AddressOnly,
    };
    engine.create_organization(context(), draft).await.unwrap();
    let invitation = invite(&console, "org-3", OWNER, Role::Admin).await;
    let mut browser = console.browser();
    let page = browser.page(&path(&invitation)).await;
    assert!(
        page.contains("keyward people link owner@example.com") && !page.contains("type=\"password\""),
        "{page}"
    );
    browser.page("/sign-in").await;
    let answer = browser
        .post(&path(&invitation), &[("passphrase", PASSPHRASE)])
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}

async fn an_invitation_that_ended_says_what_helps(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let first = invite(&console, "org-1", "new@example.com", Role::Member).await;
    let second = invite(&console, "org-1", "new@example.com", Role::Member).await;
    let mut browser = console.browser();
    let answer = browser.get(&path(&first)).await;
    assert!(
        answer.text.contains("Use the link that came last"),
        "{}",
        answer.text
    );
    let engine = &console.test.engine;
    engine
        .revoke_invitation(&context(), &console.organization, &second.invitation.id)
        .await
        .unwrap();
    let answer = browser.get(&path(&second)).await;
    assert!(answer.text.contains("It was taken back"), "{}", answer.text);
    let third = invite(&console, "org-1", "new@example.com", Role::Member).await;
    console.test.clock.advance_ms(8 * DAY_MS);
    let answer = browser.get(&path(&third)).await;
    assert!(answer.text.contains("Its time is over"), "{}", answer.text);
    let answer = browser.get("/invitations/made-up").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

on_both_databases!(
    somebody_new_sets_a_passphrase_and_joins,
    who_has_a_passphrase_signs_in_first_and_the_link_alone_is_nobody,
    who_is_known_without_a_passphrase_asks_an_operator,
    an_invitation_that_ended_says_what_helps,
);
