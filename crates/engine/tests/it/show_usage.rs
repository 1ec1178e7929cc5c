//! Usage, shown: pages that miss nothing, spans that are bounded, advice by what was used, on both databases.

use keyward_core::access::Access;
use keyward_core::address::CallerAddress;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::level::PermissionLevel;
use keyward_core::operation::Operation;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::{DAY_MS, HOUR_MS};
use keyward_core::usage::{ClientName, Outcome, Source, UsedFor, hour_of};
use keyward_engine::EngineError;
use keyward_engine::advise_key::Verdict;
use keyward_engine::show_usage::{HistoryPage, Span};
use keyward_store::usage::UsageCount;
use keyward_store::usage_queries::{HistoryFilter, Of, Step};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, TestEngine};
use keyward_testkit::on_both_databases;

/// Uses of a key at so many days after the test's begin.
fn used(organization: &OrganizationId, key_id: KeyId, day: i64, operation: Operation) -> UsageCount {
    let at = START.plus_ms(day * DAY_MS);
    UsageCount {
        organization_id: organization.clone(),
        key_id,
        hour: hour_of(at),
        secret: 1,
        used_for: UsedFor::Perform(operation),
        outcome: Outcome::Accepted,
        source: Source::Of(
            CallerAddress::Unknown,
            ClientName::from_user_agent(Some(b"a client/1 %20"), [b"dtvi_", b"kwmt_"]),
        ),
        uses: 3,
        first_at: at,
        last_at: at,
    }
}

async fn record(test: &TestEngine, counts: &[UsageCount]) {
    let mut tx = test.engine.store().begin().await.unwrap();
    tx.record_usage(counts).await.unwrap();
    tx.commit().await.unwrap();
}

fn fields(error: EngineError) -> Vec<String> {
    match error {
        EngineError::Invalid(problems) => problems.into_iter().map(|problem| problem.field).collect(),
        other => panic!("{other}"),
    }
}

async fn a_history_is_paged_and_its_span_is_bounded(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let other = test.organization("org-2").await;
    let id = test.full_key(&organization).await.key.record.id;
    let counts: Vec<UsageCount> = (0..10)
        .flat_map(|day| {
            [Operation::DatasetRead, Operation::DatasetWrite].map(|one| used(&organization, id, day, one))
        })
        .collect();
    record(&test, &counts).await;
    test.clock.advance_ms(10 * DAY_MS);
    let now = test.engine.now();
    let page = |after: String| HistoryPage {
        filter: HistoryFilter::default(),
        span: Span::last_days(30, now),
        after,
        limit: 3,
    };
    let (mut hours, mut after) = (Vec::new(), String::new());
    loop {
        let (key, rows) = test
            .engine
            .usage_history(&organization, id, &page(after))
            .await
            .unwrap();
        assert_eq!(key.record.id, id);
        hours.extend(rows.items.iter().map(|row| row.hour));
        match rows.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(hours.len(), 20);
    assert!(hours.windows(2).all(|pair| pair[0] >= pair[1]));

    let history = async |page: &HistoryPage| test.engine.usage_history(&organization, id, page).await;
    let nowhere = history(&page("elsewhere".to_owned())).await.unwrap_err();
    assert_eq!(fields(nowhere), ["cursor"]);
    for span in [
        Span::last_days(401, now),
        Span {
            from: now.plus_ms(HOUR_MS),
            until: now,
        },
    ] {
        let page = HistoryPage {
            span,
            ..page(String::new())
        };
        assert_eq!(fields(history(&page).await.unwrap_err()), ["from"]);
    }
    let by_hour = test
        .engine
        .usage_series(&organization, id, Span::last_days(32, now), Step::Hour)
        .await;
    assert_eq!(fields(by_hour.unwrap_err()), ["from"]);
    let (_, by_day) = test
        .engine
        .usage_series(&organization, id, Span::last_days(32, now), Step::Day)
        .await
        .unwrap();
    assert_eq!((by_day.len(), by_day[22].accepted), (33, 6));
    let theirs = test.engine.usage_history(&other, id, &page(String::new())).await;
    assert!(matches!(theirs, Err(EngineError::NotFound(_))));
    let top = test
        .engine
        .organization_top(&organization, Of::Clients, Span::last_days(31, now), 5)
        .await
        .unwrap();
    assert_eq!((top[0].name.as_str(), top[0].accepted), ("a client/1 %20", 60));
}

async fn unused_keys_come_on_pages_of_any_size(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(test.full_key(&organization).await.key.record.id);
        test.clock.advance_ms(1_000);
    }
    test.clock.advance_ms(90 * DAY_MS);
    // 2 and 3 were used long ago, 4 lately, 5 was deleted, 0 and 1 were never used.
    record(
        &test,
        &[
            used(&organization, ids[2], 20, Operation::DatasetRead),
            used(&organization, ids[3], 10, Operation::DatasetRead),
            used(&organization, ids[4], 89, Operation::DatasetRead),
        ],
    )
    .await;
    test.delete(&organization, ids[5]).await.unwrap();
    let expected = [ids[3], ids[2], ids[0], ids[1]];
    for limit in 1..=5 {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = test
                .engine
                .unused_keys(&organization, 30, &after, limit)
                .await
                .unwrap();
            found.extend(page.items.iter().map(|key| key.record.id));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(found, expected, "pages of {limit}");
    }
    let none = test.engine.unused_keys(&organization, 100, "", 10).await.unwrap();
    assert!(none.items.is_empty(), "they are younger than that");
}

async fn advice_follows_what_was_used(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let id = test.full_key(&organization).await.key.record.id;
    let advice = async |days| test.engine.advise_key(&organization, id, days).await.unwrap();
    assert_eq!(advice(30).await.verdict, Verdict::Wait);
    test.clock.advance_ms(60 * DAY_MS);
    assert_eq!(advice(30).await.verdict, Verdict::Remove);
    record(
        &test,
        &[
            used(&organization, id, 10, Operation::TrainingWrite),
            used(&organization, id, 50, Operation::DatasetRead),
            used(&organization, id, 51, Operation::DatasetExport),
        ],
    )
    .await;
    let narrow = advice(30).await;
    assert_eq!((narrow.verdict, narrow.uses), (Verdict::Narrow, 6));
    let least: &Access = narrow.advice.least().unwrap();
    assert_eq!(least.scopes(), ScopeSet::NONE.with(Scope::Dataset));
    assert_eq!(least.permission().level(), PermissionLevel::ReadOnly);
    let longer = advice(60).await;
    let least = longer.advice.least().unwrap();
    assert!(
        least.scopes().contains(Scope::Training),
        "what is used rarely is seen in more days"
    );
    let operations: Vec<Operation> = longer.uses_by_operation.iter().map(|(one, _)| *one).collect();
    assert_eq!(
        operations,
        [
            Operation::DatasetExport,
            Operation::DatasetRead,
            Operation::TrainingWrite
        ]
    );
    test.delete(&organization, id).await.unwrap();
    assert_eq!(advice(30).await.verdict, Verdict::Deleted);
    let none = test.engine.advise_key(&organization, id, 0).await.unwrap_err();
    assert_eq!(fields(none), ["days"]);
}

on_both_databases!(
    a_history_is_paged_and_its_span_is_bounded,
    unused_keys_come_on_pages_of_any_size,
    advice_follows_what_was_used,
);
