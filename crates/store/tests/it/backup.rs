use keyward_store::schema::SCHEMA_LEVEL;
use keyward_store::{Store, StoreError, backup};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;
use sha2::{Digest as _, Sha256};

use crate::support::{dataset, event, key, organization, with_organization};

/// A store with a row in every table.
async fn filled(kind: Kind) -> (Place, Store) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization_id = with_organization(&store).await;
    let epoch = store.begin_epoch().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    // Locales sort these in other orders than bytes do.
    for id in ["B-org", "a-org", "A1", "a"] {
        tx.insert_organization(&organization(id)).await.unwrap();
    }
    for number in 1..=3 {
        let (key, secret) = key(&organization_id, number);
        tx.insert_key(&key, &secret).await.unwrap();
        tx.record_key_write(&key.record, &event("key.create"), epoch, START)
            .await
            .unwrap();
    }
    let person = tx
        .person_with_email(&"ö@example.com".parse().unwrap(), &"p-1".parse().unwrap(), START)
        .await
        .unwrap();
    tx.insert_member(&organization_id, &person, keyward_core::role::Role::Owner, START)
        .await
        .unwrap();
    tx.insert_dataset(&dataset(&organization_id, "d-1"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    place
        .run("INSERT INTO dataset_deletion VALUES ('org-1', 'd-0', 'system', 1, '{}')")
        .await;
    (place, store)
}

async fn dump(store: &Store) -> String {
    let mut out = Vec::new();
    store.dump(&mut out, "keyring-0", 5).await.unwrap();
    String::from_utf8(out).unwrap()
}

async fn load(store: &Store, text: &str) -> Result<(), StoreError> {
    backup::check(&mut text.as_bytes()).await?;
    let mut tx = store.begin().await?;
    tx.load(&mut text.as_bytes()).await?;
    tx.commit().await
}

fn refusal<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Backup(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was taken"),
    }
}

async fn a_backup_goes_through_both_databases_unchanged(kind: Kind) {
    let (_place, store) = filled(kind).await;
    let original = dump(&store).await;
    let tables: std::collections::BTreeSet<&str> = original
        .lines()
        .filter_map(|line| line.strip_prefix("{\"t\":\"")?.split('"').next())
        .collect();
    assert_eq!(tables.len(), 14, "a row of every table is in it: {tables:?}");
    for through in [kind, Kind::Postgres, Kind::Sqlite] {
        let place = Place::new(through);
        let other = place.store().await;
        load(&other, &original).await.unwrap();
        assert_eq!(dump(&other).await, original, "through {through:?}");
    }
}

async fn a_damaged_backup_is_refused(kind: Kind) {
    let (_place, store) = filled(kind).await;
    let original = dump(&store).await;
    let lines: Vec<&str> = original.lines().collect();
    let place = Place::new(kind);
    let empty = place.store().await;

    for cut in [1, lines.len() / 2, lines.len() - 1] {
        let text = lines[..cut].join("\n");
        assert!(
            refusal(load(&empty, &text).await).contains("cut off"),
            "{cut} lines"
        );
    }
    let changed = original.replacen("Näme", "Nāme", 1);
    assert!(refusal(load(&empty, &changed).await).contains("hash"));
    let mut tx = empty.begin().await.unwrap();
    assert!(
        refusal(tx.load(&mut changed.as_bytes()).await).contains("hash"),
        "also if nobody checked it before"
    );
    drop(tx);
    let missing: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| !line.contains("\"dataset\""))
        .collect();
    assert!(refusal(load(&empty, &(missing.join("\n") + "\n")).await).contains("hash"));
    assert!(
        refusal(load(&empty, &format!("{original}x")).await).contains("hash"),
        "something after the end"
    );
    assert!(refusal(load(&empty, "").await).contains("cut off"));
    for foreign in ["hello", "{\"a\":1}\n", "\u{0}\u{1}\n"] {
        assert!(
            refusal(load(&empty, foreign).await).contains("no Keyward backup"),
            "{foreign:?}"
        );
    }
    let later = original.replacen(&format!("\"schema\":{SCHEMA_LEVEL}"), "\"schema\":99", 1);
    assert!(refusal(load(&empty, &later).await).contains("later Keyward"));
    assert!(empty.is_empty().await.unwrap(), "nothing of all this stayed");
}

/// The rows as a binary of schema level 1 would have written them: without the columns that came later.
fn as_of_level_1(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.contains("schema.expiries_filled"))
    {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line.get("schema").is_some() {
            line["schema"] = 1.into();
        }
        let columns = match line["t"].as_str() {
            Some("secret_key") => 16,
            Some("secret") => 8,
            _ => usize::MAX,
        };
        if let Some(row) = line.get_mut("r").and_then(|row| row.as_array_mut()) {
            row.truncate(columns);
        }
        lines.push(line.to_string());
    }
    let _ = lines.pop();
    let rows = lines.len() - 1;
    let body = lines.join("\n") + "\n";
    let hash = keyward_core::audit::hex(&Sha256::digest(body.as_bytes()));
    format!("{body}{}\n", serde_json::json!({"rows": rows, "sha256": hash}))
}

async fn a_backup_of_an_older_version_is_taken(kind: Kind) {
    let (_place, store) = filled(kind).await;
    let older = as_of_level_1(&dump(&store).await);
    let place = Place::new(kind);
    let other = place.store().await;
    load(&other, &older).await.unwrap();
    // The next start fills what an index needs from what the rows hold.
    other.migrate().await.unwrap();
    let end = "SELECT CAST(expires_at AS TEXT) FROM secret_key WHERE expires_at IS NOT NULL";
    assert!(!place.texts(&[end]).await.is_empty());
    let current =
        as_of_level_1(&dump(&store).await).replacen("\"schema\":1", &format!("\"schema\":{SCHEMA_LEVEL}"), 1);
    let mut tx = other.begin().await.unwrap();
    assert!(
        refusal(tx.load(&mut current.as_bytes()).await).contains("does not fit"),
        "a row of this version is whole"
    );
}

async fn a_backup_is_of_one_moment(kind: Kind) {
    let (_place, store) = filled(kind).await;
    let organization = "org-1".parse().unwrap();
    let epoch = 1;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 100..160 {
                let (key, secret) = key(&organization, number);
                let mut tx = store.begin().await.unwrap();
                tx.insert_key(&key, &secret).await.unwrap();
                tx.record_key_write(&key.record, &event("key.create"), epoch, START)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
            }
        }
    });
    let mut sizes = Vec::new();
    while !writer.is_finished() || sizes.is_empty() {
        let text = dump(&store).await;
        let rows = |table: &str| {
            text.lines()
                .filter(|line| line.starts_with(&format!("{{\"t\":\"{table}\",")))
                .count()
        };
        let counter = text
            .lines()
            .find(|line| line.starts_with("{\"t\":\"change_counter\""))
            .unwrap()
            .to_owned();
        // The counter is read among the first tables and the trail among the last.
        for table in ["secret_key", "secret", "change_feed", "outbox", "audit_entry"] {
            assert_eq!(
                counter,
                format!("{{\"t\":\"change_counter\",\"r\":[1,{},1,0]}}", rows(table)),
                "{table}"
            );
        }
        sizes.push(rows("secret"));
    }
    writer.await.unwrap();
    assert!(sizes.len() > 1);
}

on_both_databases!(
    a_backup_goes_through_both_databases_unchanged,
    a_backup_of_an_older_version_is_taken,
    a_damaged_backup_is_refused,
    a_backup_is_of_one_moment,
);
