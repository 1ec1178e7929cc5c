use keyward_core::management_right::RightSet;
use keyward_core::management_token::{Token, TokenRecord, TokenState};
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::seal::Sealed;
use keyward_store::{Store, StoreError};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

use crate::support::{organization, with_organization};

fn token(number: u32) -> (Token, Sealed) {
    let record = TokenRecord {
        id: format!("{number:016}").parse().unwrap(),
        organization_id: "org-1".parse().unwrap(),
        version: 1,
        rights: RightSet::all_of_tokens(),
        expires_at: Some(START.plus_ms(1_000)),
        state: TokenState::Active,
    };
    let token = Token {
        record,
        name: "näme 🦀".parse().unwrap(),
        created_by: Actor::Person("p-1".parse().unwrap()),
        created_at: START,
        last_used_at: None,
        hint: "kwmt_MDl1MD...x7Qw".to_owned(),
    };
    let sealed = Sealed {
        keyring_version: 1,
        bytes: vec![0, 255, 39],
    };
    (token, sealed)
}

async fn with_token(store: &Store, number: u32) -> Token {
    let (token, sealed) = token(number);
    let mut tx = store.begin().await.unwrap();
    tx.insert_token(&token, &sealed).await.unwrap();
    tx.commit().await.unwrap();
    token
}

async fn a_token_comes_back_as_it_was_and_to_nobody_else(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization_id = with_organization(&store).await;
    let (token, sealed) = token(1);
    with_token(&store, 1).await;
    let id = token.record.id;
    let loaded = store.load_token(id).await.unwrap().unwrap();
    assert_eq!((&loaded.token, &loaded.sealed), (&token, &sealed));
    assert_eq!(
        store.find_token(&organization_id, id).await.unwrap(),
        Some(token.clone())
    );
    let other = "org-2".parse().unwrap();
    assert_eq!(store.find_token(&other, id).await.unwrap(), None);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.lock_token(&other, id).await.unwrap(), None);
    let again = tx.insert_token(&token, &sealed).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));
}

async fn tokens_are_listed_in_pages(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    for number in [3, 1, 2] {
        with_token(&store, number).await;
    }
    let first = store.list_tokens(&organization, "", 2).await.unwrap();
    let ids: Vec<String> = first.iter().map(|token| token.record.id.to_string()).collect();
    assert_eq!(ids, ["0000000000000001", "0000000000000002"]);
    let second = store.list_tokens(&organization, &ids[1], 2).await.unwrap();
    assert_eq!(second.len(), 1);
    let others = store.list_tokens(&"org-2".parse().unwrap(), "", 2).await.unwrap();
    assert!(others.is_empty());
}

async fn a_write_expects_the_version_that_was_read(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    with_organization(&store).await;
    let token = with_token(&store, 1).await;
    let record = TokenRecord {
        version: 2,
        state: TokenState::Deleted { at: START },
        ..token.record
    };
    let sealed = Sealed {
        keyring_version: 2,
        bytes: vec![1],
    };
    let mut tx = store.begin().await.unwrap();
    assert!(tx.update_token(&record, 7, &sealed).await.is_err());
    tx.rollback().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.update_token(&record, 1, &sealed).await.unwrap();
    tx.commit().await.unwrap();
    let found = store.load_token(record.id).await.unwrap().unwrap();
    assert_eq!((found.token.record, found.sealed), (record, sealed));
}

async fn versions_of_tokens_count_among_those_that_are_sealed_under(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    with_organization(&store).await;
    assert_eq!(store.sealed_under().await.unwrap(), None);
    let (token, sealed) = token(1);
    let sealed = Sealed {
        keyring_version: 3,
        ..sealed
    };
    let mut tx = store.begin().await.unwrap();
    tx.insert_token(&token, &sealed).await.unwrap();
    assert_eq!(tx.sealed_under().await.unwrap(), Some((3, 3)));
    tx.commit().await.unwrap();
    crate::support::with_key(&store, &token.record.organization_id, 1).await;
    assert_eq!(store.sealed_under().await.unwrap(), Some((1, 3)));
    let before = |active| store.list_tokens_sealed_before(active, "", 10);
    assert_eq!(before(3).await.unwrap(), []);
    assert_eq!(before(4).await.unwrap().len(), 1);
}

async fn a_member_is_found_by_id_or_address_in_one_organization_or_all(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let mut tx = store.begin().await.unwrap();
    let person = "p-1".parse().unwrap();
    for id in ["org-1", "org-2", "org-3"] {
        tx.insert_organization(&organization(id)).await.unwrap();
    }
    tx.person_with_email(&"ada@example.com".parse().unwrap(), &person, START)
        .await
        .unwrap();
    for (id, role) in [("org-1", "owner"), ("org-2", "member")] {
        tx.insert_member(
            &id.parse().unwrap(),
            &person,
            keyward_core::role::Role::from_name(role).unwrap(),
            START,
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    for name in ["p-1", "ada@example.com", "Ada@Example.com"] {
        let found = store.find_memberships(None, name, 10).await.unwrap();
        let roles: Vec<Role> = found.iter().map(|one| one.role).collect();
        assert_eq!(roles, [Role::Owner, Role::Member], "{name}");
        let second = "org-2".parse().unwrap();
        let found = store.find_memberships(Some(&second), name, 10).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].person_id, person);
        let third = "org-3".parse().unwrap();
        assert_eq!(store.find_memberships(Some(&third), name, 10).await.unwrap(), []);
    }
    assert_eq!(store.find_memberships(None, "", 10).await.unwrap(), []);
}

on_both_databases!(
    a_token_comes_back_as_it_was_and_to_nobody_else,
    tokens_are_listed_in_pages,
    a_write_expects_the_version_that_was_read,
    versions_of_tokens_count_among_those_that_are_sealed_under,
    a_member_is_found_by_id_or_address_in_one_organization_or_all,
);
