use keyward_core::access::Permission;
use keyward_core::scope::ScopeSet;
use keyward_engine::EngineError;
use keyward_engine::create_organization::OrganizationDraft;
use keyward_testkit::engine::{Kind, TestEngine, context, draft};
use keyward_testkit::on_both_databases;

async fn a_key_is_made_shown_and_listed(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(test.full_key(&organization).await);
    }
    for created in &made {
        assert_eq!(test.verify(created.value.reveal()).await, Ok(()));
        let shown = test
            .engine
            .show_key(&organization, created.key.record.id)
            .await
            .unwrap();
        assert_eq!(shown, created.key);
        assert_eq!(
            test.engine.organization_of_key(shown.record.id).await.unwrap(),
            organization
        );
    }
    let first = test.engine.list_keys(&organization, "", 3).await.unwrap();
    let second = test
        .engine
        .list_keys(&organization, first.next.as_deref().unwrap(), 3)
        .await
        .unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (3, 2, None));
    let mut ids: Vec<_> = made.iter().map(|created| created.key.record.id).collect();
    ids.sort_unstable();
    let listed: Vec<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|key| key.record.id)
        .collect();
    assert_eq!(listed, ids);

    let stranger = test.organization("org-2").await;
    let hidden = test.engine.show_key(&stranger, ids[0]).await;
    assert!(matches!(hidden, Err(EngineError::NotFound(_))));
    assert!(
        test.engine
            .list_keys(&stranger, "", 3)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let chain = test.engine.store().list_audit("org-1", 0, 100).await.unwrap();
    assert_eq!(chain.len(), 6);
    assert!(chain.iter().all(|entry| entry.is_intact()));
}

async fn a_bad_draft_is_refused_with_every_problem(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut bad = draft(ScopeSet::NONE, Permission::Full);
    bad.name = String::new();
    let refused = test.engine.create_key(context(), organization, bad).await;
    let Err(EngineError::Invalid(problems)) = refused else {
        panic!("{refused:?}")
    };
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["name", "scopes"]);
    let nowhere = test.engine.create_key(
        context(),
        "org-9".parse().unwrap(),
        draft(ScopeSet::ALL, Permission::Full),
    );
    assert!(matches!(
        nowhere.await,
        Err(EngineError::NotFound("organization"))
    ));
    let again = OrganizationDraft {
        name: "x".to_owned(),
        id: Some("org-1".parse().unwrap()),
        owner_email: "a@example.com".to_owned(),
        owner: keyward_engine::create_organization::OwnerClaim::AddressOnly,
    };
    assert!(matches!(
        test.engine.create_organization(context(), again).await,
        Err(EngineError::Conflict(_))
    ));
    let nameless = OrganizationDraft {
        name: " ".to_owned(),
        id: None,
        owner_email: "nobody".to_owned(),
        owner: keyward_engine::create_organization::OwnerClaim::AddressOnly,
    };
    let refused = test.engine.create_organization(context(), nameless).await;
    assert!(matches!(refused, Err(EngineError::Invalid(problems)) if problems.len() == 2));
    assert_eq!(
        test.engine.list_organizations("", 10).await.unwrap().items.len(),
        1
    );
}

/// A request that goes away while its key is made leaves a whole key or none, and no stuck database.
async fn a_caller_that_goes_away_leaves_a_whole_key_or_none(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    for polls in 0..4 {
        let mut making = Box::pin(test.engine.create_key(
            context(),
            organization.clone(),
            draft(ScopeSet::ALL, Permission::Full),
        ));
        for _ in 0..polls {
            let _ = futures_util::poll!(&mut making);
            tokio::task::yield_now().await;
        }
    }
    test.full_key(&organization).await;
    let keys = test.engine.list_keys(&organization, "", 100).await.unwrap().items;
    for key in keys {
        let stored = test
            .engine
            .store()
            .load_live_key(key.record.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored.secrets.len(), 1);
    }
}

on_both_databases!(
    a_key_is_made_shown_and_listed,
    a_bad_draft_is_refused_with_every_problem,
    a_caller_that_goes_away_leaves_a_whole_key_or_none,
);
