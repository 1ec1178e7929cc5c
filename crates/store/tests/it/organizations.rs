use keyward_store::StoreError;
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

use crate::support::{organization, organization_id, with_organization};

async fn an_organization_is_stored_changed_and_listed(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let id = with_organization(&store).await;
    assert_eq!(
        store.find_organization(&id).await.unwrap(),
        Some(organization("org-1"))
    );

    let mut tx = store.begin().await.unwrap();
    let mut locked = tx.lock_organization(&id).await.unwrap().unwrap();
    locked.name = "Another".to_owned();
    tx.update_organization(&locked).await.unwrap();
    let stale = tx.update_organization(&locked).await;
    assert!(matches!(stale, Err(StoreError::Unreadable { .. })));
    tx.commit().await.unwrap();
    let found = store.find_organization(&id).await.unwrap().unwrap();
    assert_eq!((found.version, found.name.as_str()), (2, "Another"));

    let mut tx = store.begin().await.unwrap();
    assert!(matches!(
        tx.insert_organization(&organization("org-1")).await,
        Err(StoreError::AlreadyExists)
    ));
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    tx.insert_organization(&organization("org-2")).await.unwrap();
    tx.commit().await.unwrap();
    let listed = store.list_organizations("org-1", 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(!store.is_empty().await.unwrap());
}

async fn one_person_is_made_once_even_at_once(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    with_organization(&store).await;
    let at_once = (0..6).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let own = format!("person-{number}").parse().unwrap();
            let person = tx
                .person_with_email(&"a@example.com".parse().unwrap(), &own, START)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            person
        })
    });
    let mut people = Vec::new();
    for one in at_once.collect::<Vec<_>>() {
        people.push(one.await.unwrap());
    }
    people.dedup();
    assert_eq!(people.len(), 1);

    let mut tx = store.begin().await.unwrap();
    tx.insert_member(
        &organization_id(),
        &people[0],
        keyward_core::role::Role::Owner,
        START,
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let members = store.list_members(&organization_id(), "", 10).await.unwrap();
    assert_eq!(
        (members[0].email.as_str(), members[0].role.name()),
        ("a@example.com", "owner")
    );
}

on_both_databases!(
    an_organization_is_stored_changed_and_listed,
    one_person_is_made_once_even_at_once
);
