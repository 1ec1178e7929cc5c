use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

async fn every_epoch_is_a_later_one(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let first = store.epoch().await.unwrap();
    assert_eq!(store.begin_epoch().await.unwrap(), first + 1);
    assert_eq!(store.epoch().await.unwrap(), first + 1);
}

on_both_databases!(every_epoch_is_a_later_one);
