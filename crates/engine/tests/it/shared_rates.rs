//! Rate limits that hold over all nodes: however requests are spread, no more is accepted than the bucket gives.

use std::sync::Arc;

use keyward_core::condition::RateLimit;
use keyward_core::refusal::Code;
use keyward_core::scope::ScopeSet;
use keyward_engine::{Engine, RateLimits};
use keyward_testkit::engine::{Kind, Permission, TestEngine, context, draft, start_with, verify};

const CACHE: usize = 1 << 20;
const REQUESTS: u32 = 100;
/// A twentieth is taken at once.
const PART: usize = 5;

/// Two nodes that spend together, and a key with a limit.
async fn scene() -> (TestEngine, [Engine; 2], String) {
    let test = TestEngine::new(Kind::Postgres).await;
    let organization = test.organization("org-1").await;
    let mut limited = draft(ScopeSet::ALL, Permission::Full);
    limited.conditions.rate_limit = Some(RateLimit {
        requests: REQUESTS,
        per_ms: 100_000,
    });
    let made = test
        .engine
        .create_key(context(), organization, limited)
        .await
        .unwrap();
    let start = async || {
        let options = (CACHE, RateLimits::Cluster);
        let database = test.place.database();
        let started = start_with(&database, &test.keyring_text, &test.clock, options);
        started.await.unwrap()
    };
    let nodes = [start().await, start().await];
    let value = made.value.reveal().to_owned();
    (test, nodes, value)
}

/// Asks `times` at each node, all at once; how many were accepted.
async fn accepted(nodes: &[Engine; 2], value: &str, times: usize) -> usize {
    let value: Arc<str> = value.into();
    let asked = (0..2 * times).map(|number| {
        let (node, value) = (nodes[number % 2].clone(), Arc::clone(&value));
        tokio::spawn(async move { verify(&node, &value).await })
    });
    let mut accepted = 0;
    for answer in asked.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Ok(()) => accepted += 1,
            Err(code) => assert_eq!(code, Code::RateLimited),
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_spend_from_one_bucket() {
    let (test, nodes, value) = scene().await;
    let all = accepted(&nodes, &value, 150).await;
    let limit = REQUESTS as usize;
    // What one node took and did not spend is lost to the other for a moment.
    assert!((limit - PART..=limit).contains(&all), "{all}");
    // A tenth of the period gives a tenth of the requests back, to both together.
    test.clock.advance_ms(10_000);
    let more = accepted(&nodes, &value, 150).await;
    assert!((10 - PART..=10).contains(&more), "{more}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_gets_the_whole_limit() {
    let (_test, nodes, value) = scene().await;
    let mut accepted = 0;
    while verify(&nodes[0], &value).await.is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, REQUESTS);
    assert_eq!(verify(&nodes[1], &value).await, Err(Code::RateLimited));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_survives_its_nodes() {
    let (test, nodes, value) = scene().await;
    while verify(&nodes[0], &value).await.is_ok() {}
    for node in &nodes {
        node.shut_down().await;
    }
    let options = (CACHE, RateLimits::Cluster);
    let database = test.place.database();
    let later = start_with(&database, &test.keyring_text, &test.clock, options);
    assert_eq!(
        verify(&later.await.unwrap(), &value).await,
        Err(Code::RateLimited)
    );
}

/// What was taken may be spent for a second; what is in the bucket then is asked of it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_not_kept_for_long() {
    let (test, nodes, value) = scene().await;
    for _ in 0..20 {
        verify(&nodes[0], &value).await.unwrap();
        test.clock.advance_ms(100_000);
    }
    // Both buckets would be full many times over; together they hold one limit, and what was just taken.
    verify(&nodes[1], &value).await.unwrap();
    let all = accepted(&nodes, &value, 150).await;
    let limit = REQUESTS as usize;
    assert!((limit - 2 * PART..=limit).contains(&all), "{all}");
}
