use keyward_core::role::Role;
use keyward_engine::EngineError;
use keyward_testkit::engine::{Kind, TestEngine, arrival, context};
use keyward_testkit::on_both_databases;

use crate::people::{by, first_owner, invite, is_conflict, is_forbidden, member, roles, trail};

async fn owners_are_an_owners_business(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    let admin = member(&test, &organization, "admin@example.com", Role::Admin).await;
    let plain = member(&test, &organization, "member@example.com", Role::Member).await;
    let change = |by, person, role| {
        let (engine, organization) = (test.engine.clone(), organization.clone());
        async move { engine.change_role(&by, &organization, &person, role).await }
    };
    for role in [Role::Admin, Role::Member] {
        assert!(is_forbidden(change(by(&admin), owner.clone(), role).await));
    }
    assert!(is_forbidden(change(by(&admin), plain.clone(), Role::Owner).await));
    assert!(is_forbidden(change(by(&admin), admin.clone(), Role::Owner).await));
    assert!(is_forbidden(change(by(&plain), plain.clone(), Role::Admin).await));
    assert!(is_forbidden(
        change(by(&plain), plain.clone(), Role::Member).await
    ));

    let made = change(by(&admin), plain.clone(), Role::Admin).await.unwrap();
    assert_eq!((made.role, &made.person_id), (Role::Admin, &plain));
    change(by(&owner), plain.clone(), Role::Owner).await.unwrap();
    change(by(&plain), owner.clone(), Role::Admin).await.unwrap();
    assert!(is_forbidden(change(by(&owner), plain.clone(), Role::Admin).await));
    let expected = [
        ("admin@example.com".to_owned(), Role::Admin),
        ("member@example.com".to_owned(), Role::Owner),
        ("owner@example.com".to_owned(), Role::Admin),
    ];
    assert_eq!(roles(&test, &organization).await, expected);

    let nobody = change(context(), "p-9".parse().unwrap(), Role::Admin).await;
    assert!(matches!(nobody, Err(EngineError::NotFound("member"))));
    let other = test.organization("org-2").await;
    let stranger = member(&test, &other, "stranger@example.com", Role::Owner).await;
    let refused = change(by(&stranger), admin.clone(), Role::Member).await;
    assert!(matches!(refused, Err(EngineError::NotFound("organization"))));
    let changes: Vec<_> = trail(&test, "org-1")
        .await
        .into_iter()
        .filter(|(action, ..)| action == "member.change_role")
        .map(|(_, actor, facts)| (actor, facts["was"].clone(), facts["is"].clone()))
        .collect();
    assert_eq!(changes.len(), 3);
    assert_eq!(
        changes[0],
        (format!("person/{admin}"), "member".into(), "admin".into())
    );
}

async fn the_last_owner_stays_one(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = first_owner(&test, &organization).await;
    for by in [by(&owner), context()] {
        let refused = test
            .engine
            .change_role(&by, &organization, &owner, Role::Admin)
            .await;
        assert!(is_conflict(refused));
    }
    // To be an Owner already is no change.
    test.engine
        .change_role(&by(&owner), &organization, &owner, Role::Owner)
        .await
        .unwrap();
    assert_eq!(trail(&test, "org-1").await.len(), 1);
}

/// All Owners step down, or are put down by each other, at once: one is left, each time.
async fn no_two_demotions_leave_nobody(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut owners = vec![first_owner(&test, &organization).await];
    for number in 0..5 {
        let email = format!("owner{number}@example.com");
        owners.push(member(&test, &organization, &email, Role::Owner).await);
    }
    for _ in 0..6 {
        for owner in &owners {
            test.engine
                .change_role(&context(), &organization, owner, Role::Owner)
                .await
                .unwrap();
        }
        let stepping: Vec<_> = (0..owners.len())
            .map(|at| {
                let (engine, organization) = (test.engine.clone(), organization.clone());
                let (who, whom) = (owners[at].clone(), owners[(at + at % 2) % owners.len()].clone());
                tokio::spawn(async move {
                    engine
                        .change_role(&by(&who), &organization, &whom, Role::Member)
                        .await
                })
            })
            .collect();
        for step in stepping {
            match step.await.unwrap() {
                Ok(_) | Err(EngineError::Conflict(_) | EngineError::Forbidden(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        let left = roles(&test, &organization).await;
        assert!(left.iter().any(|(_, role)| *role == Role::Owner), "{left:?}");
    }
}

/// Whoever loses the right to invite in a role loses the invitations that wait to be accepted: else they come back.
async fn a_demotion_takes_invitations_back_that_could_not_be_made_any_more(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let owner = member(&test, &organization, "second@example.com", Role::Owner).await;
    let mut made = Vec::new();
    for (email, role) in [("a@x", Role::Owner), ("b@x", Role::Admin), ("c@x", Role::Member)] {
        made.push(
            invite(&test, &by(&owner), &organization, (email, role))
                .await
                .unwrap(),
        );
    }
    let foreign = invite(&test, &context(), &organization, ("d@x", Role::Owner))
        .await
        .unwrap();
    test.engine
        .change_role(&context(), &organization, &owner, Role::Admin)
        .await
        .unwrap();
    let arrival = arrival();
    let accept = |at: usize| test.engine.accept_invitation(&arrival, &made[at].secret);
    let refused = accept(0).await;
    assert!(matches!(refused, Err(EngineError::InvitationOver(_))));
    accept(1).await.unwrap();
    test.engine
        .change_role(&context(), &organization, &owner, Role::Member)
        .await
        .unwrap();
    assert!(matches!(accept(2).await, Err(EngineError::InvitationOver(_))));
    test.engine
        .accept_invitation(&arrival, &foreign.secret)
        .await
        .unwrap();
}

on_both_databases!(
    owners_are_an_owners_business,
    the_last_owner_stays_one,
    no_two_demotions_leave_nobody,
    a_demotion_takes_invitations_back_that_could_not_be_made_any_more,
);
