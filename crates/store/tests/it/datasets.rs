use keyward_store::StoreError;
use keyward_store::datasets::{DatasetDeletion, DatasetFilter};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

use crate::support::{dataset, with_organization};

async fn a_dataset_is_stored_changed_and_deleted(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let made = dataset(&organization, "d-1");
    let mut tx = store.begin().await.unwrap();
    tx.insert_dataset(&made).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        store
            .find_dataset(&organization, &made.id)
            .await
            .unwrap()
            .as_ref(),
        Some(&made)
    );
    assert!(
        store
            .find_dataset(&"org-2".parse().unwrap(), &made.id)
            .await
            .unwrap()
            .is_none()
    );

    let mut tx = store.begin().await.unwrap();
    assert!(matches!(
        tx.insert_dataset(&made).await,
        Err(StoreError::AlreadyExists)
    ));
    drop(tx);

    let mut tx = store.begin().await.unwrap();
    let mut locked = tx.lock_dataset(&organization, &made.id).await.unwrap().unwrap();
    locked.description = Some("with \u{1f980}".to_owned());
    tx.update_dataset(&locked).await.unwrap();
    assert!(matches!(
        tx.update_dataset(&locked).await,
        Err(StoreError::Unreadable { .. })
    ));
    tx.commit().await.unwrap();
    let found = store
        .find_dataset(&organization, &made.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.version, found.description.as_deref()),
        (2, Some("with \u{1f980}"))
    );

    let deletion = DatasetDeletion {
        dataset_id: made.id.clone(),
        deleted_by: "local_administrator".to_owned(),
        deleted_at: START,
        attributes: made.attributes.clone(),
    };
    let mut tx = store.begin().await.unwrap();
    tx.delete_dataset(&organization, &deletion).await.unwrap();
    tx.commit().await.unwrap();
    assert!(
        store
            .find_dataset(&organization, &made.id)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        store
            .find_dataset_deletion(&organization, &made.id)
            .await
            .unwrap(),
        Some(deletion)
    );
}

async fn lists_are_filtered_and_paged(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let mut tx = store.begin().await.unwrap();
    for number in [3, 1, 2, 5, 4] {
        tx.insert_dataset(&dataset(&organization, &format!("d-{number}")))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let list = async |filter: DatasetFilter, after: &str, limit| {
        let (rows, _) = store
            .list_datasets(&organization, &filter, after, limit)
            .await
            .unwrap();
        rows.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(DatasetFilter::All, "", 2).await, ["d-1", "d-2"]);
    assert_eq!(list(DatasetFilter::All, "d-2", 10).await, ["d-3", "d-4", "d-5"]);
    let only = |ids: &[&str]| DatasetFilter::Only(ids.iter().map(|&id| id.to_owned()).collect());
    assert_eq!(list(only(&["d-5", "d-2", "d-9"]), "", 10).await, ["d-2", "d-5"]);
    assert_eq!(list(only(&["d-5", "d-2"]), "d-2", 10).await, ["d-5"]);
    assert!(list(only(&[]), "", 10).await.is_empty());
    // As many as the rules of a key can name.
    let many: Vec<String> = (0..5_000).map(|number| format!("d-{number}")).collect();
    assert_eq!(list(DatasetFilter::Only(many), "", 10).await.len(), 5);

    let ids = async |filter: DatasetFilter, limit| {
        let ids = store
            .list_dataset_ids(&organization, &filter, limit)
            .await
            .unwrap();
        ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(DatasetFilter::All, 2).await, ["d-1", "d-2"]);
    assert_eq!(ids(only(&["d-5", "d-2", "d-9"]), 10).await, ["d-2", "d-5"]);
    assert!(ids(only(&[]), 10).await.is_empty());
}

async fn a_page_of_large_datasets_is_short(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let mut tx = store.begin().await.unwrap();
    for number in 0..6 {
        let mut large = dataset(&organization, &format!("d-{number}"));
        large.attributes.insert("large".to_owned(), "x".repeat(1 << 20));
        tx.insert_dataset(&large).await.unwrap();
    }
    let mut huge = dataset(&organization, "e-0");
    huge.attributes.insert("huge".to_owned(), "x".repeat(5 << 20));
    tx.insert_dataset(&huge).await.unwrap();
    tx.commit().await.unwrap();
    let mut after = String::new();
    let mut pages = Vec::new();
    loop {
        let listed = store.list_datasets(&organization, &DatasetFilter::All, &after, 1_000);
        let (rows, has_more) = listed.await.unwrap();
        pages.push(rows.len());
        after = rows.last().unwrap().id.to_string();
        if !has_more {
            break;
        }
    }
    // Four megabytes, less what the rest of each row takes.
    assert_eq!(pages, [3, 3, 1]);
}

on_both_databases!(
    a_dataset_is_stored_changed_and_deleted,
    a_page_of_large_datasets_is_short,
    lists_are_filtered_and_paged
);
