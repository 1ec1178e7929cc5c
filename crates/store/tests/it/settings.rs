use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

async fn a_setting_is_claimed_once(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    assert_eq!(store.setting("a").await.unwrap(), None);
    let claims = (0..8).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.claim_setting("a", &number.to_string()).await.unwrap() })
    });
    let mut answers = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        answers.push(claim.await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "everybody hears of the one that won");
    store.put_setting("a", "later").await.unwrap();
    assert_eq!(store.setting("a").await.unwrap().as_deref(), Some("later"));

    let mut tx = store.begin().await.unwrap();
    tx.put_setting("a", "never").await.unwrap();
    assert_eq!(tx.setting("a").await.unwrap().as_deref(), Some("never"));
    drop(tx);
    assert_eq!(
        store.setting("a").await.unwrap().as_deref(),
        Some("later"),
        "dropped is rolled back"
    );
}

on_both_databases!(a_setting_is_claimed_once);
