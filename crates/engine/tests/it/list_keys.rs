//! A list of keys page by page: every key once, while others come and go.

use std::collections::BTreeSet;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_engine::EngineError;
use keyward_engine::list_keys::KeyPage;
use keyward_testkit::engine::{Kind, TestEngine};
use keyward_testkit::on_both_databases;

use crate::bulk::keys;

async fn page(
    test: &TestEngine,
    organization: &OrganizationId,
    (sort, direction): (KeySort, Direction),
    after: &str,
) -> Result<(Vec<KeyId>, Option<String>), EngineError> {
    let filter = KeyFilter::default();
    let asked = KeyPage {
        filter: &filter,
        sort,
        direction,
        after,
        limit: 4,
    };
    let page = test.engine.find_keys(organization, &asked).await?;
    Ok((page.items.iter().map(|key| key.record.id).collect(), page.next))
}

async fn every_key_that_was_there_is_met_once_while_others_come_and_go(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    keys(&test, &other, 3).await;
    let there: BTreeSet<KeyId> = keys(&test, &organization, 10)
        .await
        .iter()
        .map(|key| key.key.record.id)
        .collect();
    for sort in KeySort::ALL {
        for direction in [Direction::Ascending, Direction::Descending] {
            let order = (sort, direction);
            let mut seen = Vec::new();
            let mut after = String::new();
            loop {
                let (items, next) = page(&test, &organization, order, &after).await.unwrap();
                seen.extend(items);
                let Some(next) = next else { break };
                after = next;
                // One is made and ended between two pages.
                let made = test.full_key(&organization).await;
                test.delete(&organization, made.key.record.id).await.unwrap();
            }
            let distinct: BTreeSet<KeyId> = seen.iter().copied().collect();
            assert_eq!(distinct.len(), seen.len(), "{sort:?} {direction:?}");
            assert!(distinct.is_superset(&there), "{sort:?} {direction:?}");
        }
    }
}

async fn a_position_of_another_order_is_refused(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    keys(&test, &organization, 5).await;
    let by_creation = (KeySort::Created, Direction::Ascending);
    let (_, next) = page(&test, &organization, by_creation, "").await.unwrap();
    let next = next.unwrap();
    assert!(page(&test, &organization, by_creation, &next).await.is_ok());
    let cut = &next[..next.len() - 1];
    for (order, position) in [
        ((KeySort::Created, Direction::Descending), next.as_str()),
        ((KeySort::Due, Direction::Ascending), next.as_str()),
        (by_creation, cut),
        (by_creation, "created+1"),
        (by_creation, "created+x.0123456789abcdef"),
        (by_creation, "garbage"),
    ] {
        let refused = page(&test, &organization, order, position).await;
        assert!(
            matches!(&refused, Err(EngineError::Invalid(problems)) if problems[0].field == "cursor"),
            "{position}: {refused:?}"
        );
    }
    let nowhere = page(&test, &"org-9".parse().unwrap(), by_creation, "").await;
    assert!(matches!(nowhere, Err(EngineError::NotFound(_))));
}

on_both_databases!(
    every_key_that_was_there_is_met_once_while_others_come_and_go,
    a_position_of_another_order_is_refused,
);
