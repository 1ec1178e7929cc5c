use keyward_core::invitation::{DEFAULT_LIFETIME_MS, InvitationEnd, InvitationOver, MAX_LIFETIME_MS};
use keyward_core::role::Role;
use keyward_core::secret::Secret;
use keyward_engine::EngineError;
use keyward_engine::accept_invitation::AcceptedInvitation;
use keyward_engine::create_organization::{OrganizationDraft, OwnerClaim};
use keyward_engine::invitations::{CreatedInvitation, InvitationDraft};
use keyward_engine::sessions::NewSession;
use keyward_engine::show_invitation::InvitationNeeds;
use keyward_testkit::engine::{Kind, TestEngine, arrival, context};
use keyward_testkit::on_both_databases;

use crate::people::{by, first_owner, invite, is_conflict, is_forbidden, member, roles, trail};
use crate::signing_in::{
    CLIENT, GOOD, OTHER, from, is_live, is_wrong, passphrase, set_passphrase, sign_in, turn_on,
};

fn over<T>(outcome: Result<T, EngineError>) -> InvitationOver {
    match outcome {
        Err(EngineError::InvitationOver(over)) => over,
        Ok(_) => panic!("it was accepted"),
        Err(other) => panic!("{other:?}"),
    }
}

async fn an_invitation_makes_one_person_a_member_once(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let made = invite(
        &test,
        &by(&owner),
        &organization,
        ("Ada@Example.com", Role::Admin),
    )
    .await
    .unwrap();
    let accepted = test
        .engine
        .accept_invitation(&arrival(), &made.secret)
        .await
        .unwrap();
    assert_eq!(accepted.organization.id, organization);
    assert_eq!(
        (accepted.member.email.as_str(), accepted.member.role),
        ("ada@example.com", Role::Admin)
    );
    let shown = test
        .engine
        .show_member(&organization, &accepted.member.person_id)
        .await
        .unwrap();
    assert_eq!(shown, accepted.member);
    assert_eq!(
        over(test.engine.accept_invitation(&arrival(), &made.secret).await),
        InvitationOver::Accepted
    );
    // The same person in another organization is the same person.
    let other = test.organization("org-2").await;
    assert_eq!(
        member(&test, &other, "ada@EXAMPLE.com", Role::Member).await,
        accepted.member.person_id
    );

    let listed = test
        .engine
        .list_invitations(&organization, "", 10)
        .await
        .unwrap()
        .items;
    assert_eq!(listed.len(), 1);
    assert!(matches!(listed[0].ended, Some((InvitationEnd::Accepted, _))));
    let trail = trail(&test, "org-1").await;
    let actions: Vec<_> = trail
        .iter()
        .map(|(action, actor, _)| (action.as_str(), actor.clone()))
        .collect();
    assert_eq!(
        actions[1..],
        [
            ("invitation.create", format!("person/{owner}")),
            (
                "invitation.accept",
                format!("person/{}", accepted.member.person_id)
            ),
        ]
    );
    assert!(!format!("{trail:?}").contains("example.com"));
}

/// Two who hold the same link: one becomes a member, the other is told.
async fn a_link_that_is_used_twice_at_once_is_good_for_one(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    for round in 0..3 {
        let email = format!("a{round}@example.com");
        let made = invite(&test, &context(), &organization, (&email, Role::Member))
            .await
            .unwrap();
        let accepting: Vec<_> = (0..6)
            .map(|_| {
                let (engine, secret) = (test.engine.clone(), made.secret.clone());
                tokio::spawn(async move { engine.accept_invitation(&arrival(), &secret).await })
            })
            .collect();
        let mut accepted = 0;
        for one in accepting {
            match one.await.unwrap() {
                Ok(_) => accepted += 1,
                other => assert_eq!(over(other), InvitationOver::Accepted),
            }
        }
        assert_eq!(accepted, 1);
    }
    assert_eq!(roles(&test, &organization).await.len(), 4);
}

async fn an_invitation_is_good_until_its_millisecond(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = invite(&test, &context(), &organization, ("a@x", Role::Member))
        .await
        .unwrap();
    let late = invite(&test, &context(), &organization, ("b@x", Role::Member))
        .await
        .unwrap();
    assert_eq!(
        made.invitation.expires_at,
        test.engine.now().plus_ms(DEFAULT_LIFETIME_MS)
    );
    test.clock.advance_ms(DEFAULT_LIFETIME_MS - 1);
    test.engine
        .accept_invitation(&arrival(), &made.secret)
        .await
        .unwrap();
    test.clock.advance_ms(1);
    let refused = test.engine.accept_invitation(&arrival(), &late.secret).await;
    assert_eq!(over(refused), InvitationOver::Expired);
    assert_eq!(roles(&test, &organization).await.len(), 2);

    for (lifetime_ms, is_good) in [
        (0, false),
        (1, true),
        (MAX_LIFETIME_MS, true),
        (MAX_LIFETIME_MS + 1, false),
    ] {
        let draft = InvitationDraft {
            email: "c@x".parse().unwrap(),
            role: Role::Member,
            lifetime_ms: Some(lifetime_ms),
        };
        let made = test
            .engine
            .create_invitation(&context(), &organization, draft)
            .await;
        assert_eq!(made.is_ok(), is_good, "{lifetime_ms}");
    }
}

async fn a_later_invitation_replaces_and_one_that_is_taken_back_is_over(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let first = invite(&test, &context(), &organization, ("a@x", Role::Member))
        .await
        .unwrap();
    let second = invite(&test, &context(), &organization, ("A@X", Role::Admin))
        .await
        .unwrap();
    let elsewhere = test.organization("org-2").await;
    let foreign = invite(&test, &context(), &elsewhere, ("a@x", Role::Member))
        .await
        .unwrap();
    let refused = test.engine.accept_invitation(&arrival(), &first.secret).await;
    assert_eq!(over(refused), InvitationOver::Replaced);
    let revoke = |id: &_| {
        let id = Clone::clone(id);
        let (engine, organization) = (test.engine.clone(), organization.clone());
        async move { engine.revoke_invitation(&context(), &organization, &id).await }
    };
    for _ in 0..2 {
        let revoked = revoke(&second.invitation.id).await.unwrap();
        assert!(matches!(revoked.ended, Some((InvitationEnd::Revoked, _))));
    }
    let refused = test.engine.accept_invitation(&arrival(), &second.secret).await;
    assert_eq!(over(refused), InvitationOver::Revoked);
    let unknown = revoke(&foreign.invitation.id).await;
    assert!(
        matches!(unknown, Err(EngineError::NotFound("invitation"))),
        "another organization's"
    );
    test.engine
        .accept_invitation(&arrival(), &foreign.secret)
        .await
        .unwrap();

    let third = invite(&test, &context(), &organization, ("a@x", Role::Member))
        .await
        .unwrap();
    test.engine
        .accept_invitation(&arrival(), &third.secret)
        .await
        .unwrap();
    assert!(
        is_conflict(revoke(&third.invitation.id).await),
        "a member is removed otherwise"
    );
    let again = invite(&test, &context(), &organization, ("a@x", Role::Admin)).await;
    assert!(is_conflict(again), "whoever is there is not invited");
    let revocations = trail(&test, "org-1").await;
    let revocations = revocations
        .iter()
        .filter(|(action, ..)| action == "invitation.revoke");
    assert_eq!(revocations.count(), 1);
}

async fn who_may_invite_whom(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let plain = member(&test, &organization, "member@example.com", Role::Member).await;
    for role in Role::ALL {
        assert!(
            invite(&test, &by(&owner), &organization, ("a@x", role))
                .await
                .is_ok()
        );
        let by_admin = invite(&test, &by(&admin), &organization, ("b@x", role)).await;
        assert_eq!(by_admin.is_ok(), role != Role::Owner);
        assert!(is_forbidden(
            invite(&test, &by(&plain), &organization, ("c@x", role)).await
        ));
    }
    let made = invite(&test, &by(&admin), &organization, ("d@x", Role::Member))
        .await
        .unwrap();
    let refused = test
        .engine
        .revoke_invitation(&by(&plain), &organization, &made.invitation.id)
        .await;
    assert!(is_forbidden(refused));
}

async fn what_is_no_secret_of_an_invitation_is_unknown_and_the_secret_is_kept_nowhere(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = invite(&test, &context(), &organization, ("a@x", Role::Member))
        .await
        .unwrap();
    let text = made.secret.reveal();
    let mut other = text.to_owned();
    other.replace_range(..1, if text.starts_with('0') { "1" } else { "0" });
    for bad in [
        "",
        "x",
        &text[1..],
        &text.to_uppercase(),
        &format!(" {text}"),
        &other,
    ] {
        let secret = Secret::new(bad.to_owned());
        let refused = test.engine.accept_invitation(&arrival(), &secret).await;
        assert!(
            matches!(refused, Err(EngineError::NotFound("invitation"))),
            "{}",
            bad.len()
        );
    }
    assert!(!format!("{made:?}").contains(text));
    let mut copy = Vec::new();
    test.engine.store().dump(&mut copy, "k", 0).await.unwrap();
    let copy = String::from_utf8(copy).unwrap();
    assert!(copy.contains(made.invitation.id.as_str()) && !copy.contains(text));
}

async fn invitations_are_listed_page_by_page_in_their_order(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut made = Vec::new();
    for number in 0..5 {
        let email = format!("a{number}@x");
        let one = invite(&test, &context(), &organization, (&email, Role::Member))
            .await
            .unwrap();
        made.push(one.invitation);
    }
    let list = |after: String| {
        let (engine, organization) = (test.engine.clone(), organization.clone());
        async move { engine.list_invitations(&organization, &after, 3).await.unwrap() }
    };
    let first = list(String::new()).await;
    let second = list(first.next.clone().unwrap()).await;
    assert_eq!(second.next, None);
    assert_eq!([first.items, second.items].concat(), made);
    let other = test.organization("org-2").await;
    assert!(
        test.engine
            .list_invitations(&other, "", 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

async fn anew(
    test: &TestEngine,
    made: &CreatedInvitation,
    text: &str,
) -> Result<(AcceptedInvitation, NewSession), EngineError> {
    test.engine
        .accept_invitation_anew(&from(1), &CLIENT, &made.secret, &passphrase(text))
        .await
}

/// Somebody whom nobody knows sets a passphrase; whoever has one signs in; a person without one asks the operator.
async fn a_link_opens_nobody_elses_account(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let (first, second) = (test.organization("org-1").await, test.organization("org-2").await);
    let engine = &test.engine;
    let ada = ("ada@example.com", Role::Admin);
    let made = invite(&test, &context(), &first, ada).await.unwrap();
    let shown = engine.show_invitation_of(&made.secret).await.unwrap();
    assert_eq!(
        (
            shown.organization_id.as_str(),
            shown.email.as_str(),
            shown.role,
            shown.needs
        ),
        (
            "org-1",
            "ada@example.com",
            Role::Admin,
            InvitationNeeds::Passphrase
        )
    );
    let weak = anew(&test, &made, "password1234").await;
    assert!(matches!(weak, Err(EngineError::Invalid(problems)) if problems[0].field == "passphrase"));
    let (accepted, begun) = anew(&test, &made, GOOD).await.unwrap();
    assert_eq!(accepted.member.person_id, begun.session.person_id);
    assert!(is_live(&test, &begun).await);
    assert_eq!(
        over(engine.show_invitation_of(&made.secret).await),
        InvitationOver::Accepted
    );

    // Another organization invites her: whoever gets hold of that link sets no passphrase and joins in nobody's name.
    let made = invite(&test, &context(), &second, ada).await.unwrap();
    assert_eq!(
        engine.show_invitation_of(&made.secret).await.unwrap().needs,
        InvitationNeeds::SignIn
    );
    assert!(is_conflict(anew(&test, &made, OTHER).await));
    assert!(is_conflict(
        engine.accept_invitation(&from(2), &made.secret).await
    ));
    assert!(is_wrong(sign_in(&test, &from(2), "ada@example.com", OTHER).await));
    let bob = member(&test, &first, "bob@example.com", Role::Member).await;
    let bobs = set_passphrase(&test, "bob@example.com", OTHER).await;
    assert_eq!(bobs.session.person_id, bob);
    assert!(is_forbidden(
        engine
            .accept_invitation_as(&from(3), &bobs.session, &made.secret)
            .await
    ));
    assert_eq!(roles(&test, &second).await.len(), 1);
    let accepted = engine
        .accept_invitation_as(&from(1), &begun.session, &made.secret)
        .await
        .unwrap();
    assert_eq!(accepted.member.person_id, begun.session.person_id);
    let belongs: Vec<_> = engine
        .organizations_of(&begun.session.person_id)
        .await
        .unwrap()
        .into_iter()
        .map(|one| (one.organization.id.to_string(), one.role))
        .collect();
    assert_eq!(
        belongs,
        [
            ("org-1".to_owned(), Role::Admin),
            ("org-2".to_owned(), Role::Admin)
        ]
    );

    // A person without a passphrase.
    member(&test, &first, "carla@example.com", Role::Member).await;
    let made = invite(&test, &context(), &second, ("carla@example.com", Role::Member))
        .await
        .unwrap();
    assert_eq!(
        engine.show_invitation_of(&made.secret).await.unwrap().needs,
        InvitationNeeds::Link
    );
    assert!(is_conflict(anew(&test, &made, OTHER).await));
    assert!(is_wrong(
        sign_in(&test, &from(2), "carla@example.com", OTHER).await
    ));
    engine.accept_invitation(&from(2), &made.secret).await.unwrap();
}

async fn half_a_session_and_an_ended_one_accept_nothing(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    member(&test, &organization, "ada@example.com", Role::Member).await;
    let begun = set_passphrase(&test, "ada@example.com", GOOD).await;
    turn_on(&test, &begun.session, GOOD).await;
    let half = sign_in(&test, &from(1), "ada@example.com", GOOD).await.unwrap();
    let made = invite(&test, &context(), &other, ("ada@example.com", Role::Member))
        .await
        .unwrap();
    let engine = &test.engine;
    let refused = engine
        .accept_invitation_as(&from(1), &half.session, &made.secret)
        .await;
    assert!(is_forbidden(refused));
    let session = &begun.session;
    engine
        .end_session(&by(&session.person_id), &session.person_id, &session.id)
        .await
        .unwrap();
    let refused = engine.accept_invitation_as(&from(1), session, &made.secret).await;
    assert!(matches!(refused, Err(EngineError::NotFound("session"))));
    assert_eq!(roles(&test, &other).await.len(), 1);
}

/// The same link by two at once: one person, with the passphrase of the one whose acceptance it was.
async fn two_who_set_a_passphrase_by_one_link_are_one(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let made = invite(
        &test,
        &context(),
        &organization,
        ("ada@example.com", Role::Member),
    )
    .await
    .unwrap();
    let all: Vec<_> = (1..=4)
        .map(|last| {
            let (engine, secret) = (test.engine.clone(), made.secret.clone());
            tokio::spawn(async move {
                let text = passphrase(&format!("{GOOD}-{last}"));
                let accepted = engine
                    .accept_invitation_anew(&from(last), &CLIENT, &secret, &text)
                    .await;
                (last, accepted)
            })
        })
        .collect();
    let mut accepted = Vec::new();
    for one in all {
        match one.await.unwrap() {
            (last, Ok(_)) => accepted.push(last),
            (_, Err(EngineError::InvitationOver(InvitationOver::Accepted) | EngineError::Conflict(_))) => {}
            (_, Err(other)) => panic!("{other:?}"),
        }
    }
    let [winner] = accepted[..] else {
        panic!("{accepted:?}");
    };
    for last in 1..=4 {
        let text = format!("{GOOD}-{last}");
        let signed_in = sign_in(&test, &from(last), "ada@example.com", &text).await;
        assert_eq!(signed_in.is_ok(), last == winner);
    }
}

/// Nothing of a role is in a session: whoever asks finds the membership as it is now.
async fn a_role_that_changes_is_true_at_once(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let ada = member(&test, &organization, "ada@example.com", Role::Admin).await;
    let begun = set_passphrase(&test, "ada@example.com", GOOD).await;
    let engine = &test.engine;
    let role = || async {
        let all = engine.organizations_of(&begun.session.person_id).await.unwrap();
        all.first().map(|one| one.role)
    };
    assert_eq!(role().await, Some(Role::Admin));
    engine
        .change_role(&context(), &organization, &ada, Role::Member)
        .await
        .unwrap();
    assert_eq!(role().await, Some(Role::Member));
    engine
        .remove_member(context(), organization, ada, None)
        .await
        .unwrap();
    assert_eq!(role().await, None);
    assert!(is_live(&test, &begun).await, "the person stays");
}

/// Whoever holds an invitation's link chose the passphrase; that the address is theirs, nobody proved.
async fn whoever_was_let_in_elsewhere_becomes_no_owner_unseen(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let made = invite(
        &test,
        &by(&owner),
        &organization,
        ("boss@example.com", Role::Member),
    )
    .await
    .unwrap();
    test.engine
        .accept_invitation_anew(&from(1), &CLIENT, &made.secret, &passphrase(GOOD))
        .await
        .unwrap();
    let draft = |owner| OrganizationDraft {
        name: "Another".to_owned(),
        id: Some("org-2".parse().unwrap()),
        owner_email: "boss@example.com".to_owned(),
        owner,
    };
    let refused = test
        .engine
        .create_organization(context(), draft(OwnerClaim::AddressOnly))
        .await;
    assert!(is_conflict(refused));
    let none = test.engine.show_organization(&"org-2".parse().unwrap()).await;
    assert!(matches!(none, Err(EngineError::NotFound(_))));
    test.engine
        .create_organization(context(), draft(OwnerClaim::Known))
        .await
        .unwrap();
}

async fn an_admin_takes_back_and_replaces_no_invitation_of_an_owner(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let made = invite(
        &test,
        &by(&owner),
        &organization,
        ("next@example.com", Role::Owner),
    )
    .await
    .unwrap();
    let id = &made.invitation.id;
    let revoked = test
        .engine
        .revoke_invitation(&by(&admin), &organization, id)
        .await;
    assert!(is_forbidden(revoked));
    let replaced = invite(
        &test,
        &by(&admin),
        &organization,
        ("next@example.com", Role::Member),
    )
    .await;
    assert!(is_forbidden(replaced));
    assert!(
        test.engine
            .accept_invitation(&arrival(), &made.secret)
            .await
            .is_ok()
    );
}

on_both_databases!(
    an_invitation_makes_one_person_a_member_once,
    a_link_that_is_used_twice_at_once_is_good_for_one,
    an_invitation_is_good_until_its_millisecond,
    a_later_invitation_replaces_and_one_that_is_taken_back_is_over,
    who_may_invite_whom,
    what_is_no_secret_of_an_invitation_is_unknown_and_the_secret_is_kept_nowhere,
    invitations_are_listed_page_by_page_in_their_order,
    a_link_opens_nobody_elses_account,
    half_a_session_and_an_ended_one_accept_nothing,
    two_who_set_a_passphrase_by_one_link_are_one,
    a_role_that_changes_is_true_at_once,
    whoever_was_let_in_elsewhere_becomes_no_owner_unseen,
    an_admin_takes_back_and_replaces_no_invitation_of_an_owner,
);
