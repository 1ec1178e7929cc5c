//! Usage, read: rows and their pages, sums, curves, who used what, unused keys, new addresses, rising refusals.

use keyward_core::address::CallerAddress;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::time::{DAY_MS, HOUR_MS, Timestamp};
use keyward_core::usage::{ClientName, Outcome, Source, UsedFor, hour_of};
use keyward_core::usage_rise::{RiseHours, is_rise};
use keyward_store::Store;
use keyward_store::usage::UsageCount;
use keyward_store::usage_overview::{AddressPlace, KeyAt};
use keyward_store::usage_queries::{HistoryFilter, HistoryPlace, Hours, Of, OutcomeFilter, Step};
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;
use keyward_testkit::usage::UsageLoad;

use crate::support::{key, key_id, organization_id, with_key, with_organization};

const READ: UsedFor = UsedFor::Perform(Operation::DatasetRead);
const ACCEPTED: Outcome = Outcome::Accepted;
const REFUSED: Outcome = Outcome::Refused(Code::KeyExpired);

/// One row of counts; `at` says the hour.
fn count(
    key: u32,
    at: Timestamp,
    secret: i64,
    used_for: UsedFor,
    outcome: Outcome,
    address: &str,
) -> UsageCount {
    let client = ClientName::from_user_agent(Some(b"curl/8.5"), [b"dtvi_", b"kwmt_"]);
    UsageCount {
        organization_id: organization_id(),
        key_id: key_id(key),
        hour: hour_of(at),
        secret,
        used_for,
        outcome,
        source: Source::Of(CallerAddress::Known(address.parse().unwrap()), client),
        uses: 10,
        first_at: at,
        last_at: at,
    }
}

async fn record(store: &Store, counts: &[UsageCount]) {
    let mut tx = store.begin().await.unwrap();
    tx.record_usage(counts).await.unwrap();
    tx.commit().await.unwrap();
}

fn ago(hours: i64) -> Timestamp {
    START.plus_ms(-hours * HOUR_MS)
}

const fn last_days(days: i64) -> Hours {
    let until = hour_of(START);
    Hours {
        from: until - days * 24,
        until,
    }
}

async fn a_history_goes_back_page_by_page_and_misses_nothing(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let mut counts = Vec::new();
    for hours in 0..5 {
        counts.push(count(1, ago(hours), 1, READ, ACCEPTED, "10.0.0.1"));
        counts.push(count(1, ago(hours), 1, UsedFor::Identify, REFUSED, "10.0.0.2"));
        counts.push(count(1, ago(hours), 0, READ, REFUSED, "2001:db8::1"));
        counts.push(count(2, ago(hours), 1, READ, ACCEPTED, "10.0.0.1"));
    }
    record(&store, &counts).await;
    let from = hour_of(ago(3));
    let page = async |filter: &HistoryFilter, before: &HistoryPlace, limit| {
        store
            .usage_history(&organization, key_id(1), filter, (before, from), limit)
            .await
            .unwrap()
    };
    let everything = HistoryFilter::default();
    let top = HistoryPlace::after_hour(hour_of(START));
    let whole = page(&everything, &top, 100).await;
    assert_eq!(whole.len(), 12, "4 hours of one key, and none of the other's");
    assert!(whole.windows(2).all(|pair| pair[0].hour >= pair[1].hour));
    // In steps of every size the same rows come in the same order.
    for limit in [1, 5, 12] {
        let (mut found, mut before) = (Vec::new(), top.clone());
        loop {
            let rows = page(&everything, &before, limit).await;
            let Some(last) = rows.last() else { break };
            before = last.place();
            found.extend(rows);
        }
        assert_eq!(found, whole, "pages of {limit}");
    }
    let refused = HistoryFilter {
        outcome: Some(OutcomeFilter::Refused),
        ..HistoryFilter::default()
    };
    assert_eq!(page(&refused, &top, 100).await.len(), 8);
    let narrow = HistoryFilter {
        outcome: Some(OutcomeFilter::One(REFUSED)),
        used_for: Some(UsedFor::Identify),
        address: Some("10.0.0.2".to_owned()),
        client: Some("curl/8.5".to_owned()),
        secret: Some(1),
    };
    let found = page(&narrow, &top, 100).await;
    assert_eq!(found.len(), 4);
    assert!(
        found
            .iter()
            .all(|row| row.operation == "identify" && row.uses == 10)
    );
    let other = HistoryFilter {
        client: Some("vi-sdk".to_owned()),
        ..narrow
    };
    assert!(page(&other, &top, 100).await.is_empty());
    let elsewhere = "org-2".parse().unwrap();
    let found = store
        .usage_history(&elsewhere, key_id(1), &everything, (&top, 0), 10)
        .await;
    assert!(found.unwrap().is_empty(), "another organization sees nothing");
}

async fn sums_curves_and_tops_agree(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let counts = [
        count(1, ago(0), 2, READ, ACCEPTED, "10.0.0.1"),
        count(1, ago(1), 1, READ, REFUSED, "10.0.0.2"),
        count(1, ago(30), 1, UsedFor::Identify, ACCEPTED, "10.0.0.1"),
        count(1, ago(30), 0, UsedFor::Identify, REFUSED, "10.0.0.3"),
        count(2, ago(30), 1, READ, ACCEPTED, "10.0.0.1"),
        count(1, ago(24 * 50), 1, READ, ACCEPTED, "10.0.0.9"),
    ];
    record(&store, &counts).await;
    let hours = last_days(2);
    let sums = store
        .usage_sums(&organization, key_id(1), hours, 100)
        .await
        .unwrap();
    assert_eq!(sums.len(), 4);
    assert_eq!((sums[0].secret, sums[0].uses), (2, 10));
    let curve = store
        .usage_curve(&organization, key_id(1), hours, Step::Hour)
        .await
        .unwrap();
    let points: Vec<_> = curve
        .iter()
        .map(|point| (point.at, point.accepted, point.refused, point.only_id_matched))
        .collect();
    assert_eq!(
        points,
        [(ago(30), 10, 0, 10), (ago(1), 0, 10, 0), (ago(0), 10, 0, 0)]
    );
    let days = store
        .organization_curve(&organization, hours, Step::Day)
        .await
        .unwrap();
    let days: Vec<_> = days
        .iter()
        .map(|point| (point.at, point.accepted, point.refused))
        .collect();
    // The test begins at midnight, so that 30 hours ago was the day before yesterday.
    assert_eq!(
        days,
        [(ago(48), 20, 10), (ago(24), 0, 10), (ago(0), 10, 0)],
        "days of UTC"
    );
    let of_key = store
        .usage_top(&organization, key_id(1), Of::Addresses, hours, 2)
        .await
        .unwrap();
    assert_eq!(of_key[0].name, "10.0.0.1");
    assert_eq!((of_key[0].accepted, of_key[0].refused, of_key.len()), (20, 0, 2));
    let of_all = store
        .organization_top(&organization, Of::Addresses, hours, 10)
        .await
        .unwrap();
    assert_eq!(
        (of_all[0].name.as_str(), of_all[0].accepted, of_all[0].keys),
        ("10.0.0.1", 30, 2)
    );
    let clients = store
        .organization_top(&organization, Of::Clients, hours, 10)
        .await
        .unwrap();
    assert_eq!((clients[0].name.as_str(), clients[0].refused), ("curl/8.5", 20));
    let sums = store.organization_sums(&organization, hours).await.unwrap();
    assert_eq!(sums.iter().map(|sum| sum.uses).sum::<i64>(), 50);
}

async fn the_unused_come_in_order_and_the_deleted_not_at_all(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    for number in 1..=5 {
        with_key(&store, &organization, number).await;
    }
    let now = START.plus_ms(100 * DAY_MS);
    let counts = [
        count(1, START.plus_ms(99 * DAY_MS), 1, READ, ACCEPTED, "10.0.0.1"),
        count(2, START.plus_ms(10 * DAY_MS), 1, READ, ACCEPTED, "10.0.0.1"),
        count(3, START.plus_ms(5 * DAY_MS), 1, READ, ACCEPTED, "10.0.0.1"),
        // Refusals are no use.
        count(4, START.plus_ms(99 * DAY_MS), 1, READ, REFUSED, "10.0.0.1"),
    ];
    record(&store, &counts).await;
    let since = now.plus_ms(-30 * DAY_MS);
    let ids = |keys: &[KeyAt]| keys.iter().map(|key| key.key_id).collect::<Vec<KeyId>>();
    let unused = store
        .keys_unused_since(&organization, since, None, 10)
        .await
        .unwrap();
    assert_eq!(
        ids(&unused),
        [key_id(3), key_id(2)],
        "the longest unused is the first"
    );
    let rest = store
        .keys_unused_since(&organization, since, Some(unused[0]), 10)
        .await;
    assert_eq!(ids(&rest.unwrap()), [key_id(2)]);
    let never = store
        .keys_never_used(&organization, since, None, 10)
        .await
        .unwrap();
    assert_eq!(ids(&never), [key_id(4), key_id(5)]);
    let young = store
        .keys_never_used(&organization, START, None, 10)
        .await
        .unwrap();
    assert!(young.is_empty(), "made no earlier than that");
    place
        .run(&format!(
            "UPDATE secret_key SET state = 'deleted', state_reason = 'removed', deleted_at = 1 WHERE id IN ('{}', '{}')",
            key_id(3),
            key_id(5)
        ))
        .await;
    let unused = store.keys_unused_since(&organization, since, None, 10).await;
    assert_eq!(ids(&unused.unwrap()), [key_id(2)]);
    let never = store.keys_never_used(&organization, since, None, 10).await;
    assert_eq!(ids(&never.unwrap()), [key_id(4)]);
    let counted = store
        .count_keys_by_last_use(
            &organization,
            [now.plus_ms(-7 * DAY_MS), since, now.plus_ms(-95 * DAY_MS)],
        )
        .await
        .unwrap();
    assert_eq!((counted.keys, counted.ever, counted.since), (3, 2, [1, 1, 2]));
    let last = store.keys_last_used(&organization, 10).await.unwrap();
    assert_eq!(
        last.iter().map(|key| key.key_id).collect::<Vec<_>>(),
        [key_id(1), key_id(2)]
    );
}

async fn new_addresses_are_told_with_their_first_use(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    with_key(&store, &organization, 1).await;
    record(&store, &[count(1, ago(24 * 20), 1, READ, ACCEPTED, "10.0.0.1")]).await;
    let counts = [
        count(1, ago(5), 1, READ, ACCEPTED, "10.0.0.2"),
        count(1, ago(2), 1, READ, ACCEPTED, "10.0.0.1"),
        count(1, ago(1), 1, READ, REFUSED, "10.0.0.3"),
        count(2, ago(1), 1, READ, ACCEPTED, "10.0.0.4"),
    ];
    record(&store, &counts).await;
    let seen = store
        .new_addresses(&organization, ago(24 * 7), &AddressPlace::newest(), 10)
        .await
        .unwrap();
    let shown: Vec<_> = seen
        .iter()
        .map(|one| (one.address.as_str(), one.name.as_str(), one.is_first_of_key))
        .collect();
    assert_eq!(
        shown,
        [("10.0.0.4", "", true), ("10.0.0.2", "nightly", false)],
        "newest first"
    );
    let before = AddressPlace {
        first_at: seen[0].first_at,
        key_id: seen[0].key_id.to_string(),
        address: seen[0].address.clone(),
    };
    let rest = store
        .new_addresses(&organization, ago(24 * 7), &before, 10)
        .await
        .unwrap();
    assert_eq!(rest, seen[1..]);
}

/// What has its row in an hour is added to without a look at the addresses.
async fn the_last_use_from_an_address_is_exact_to_an_hour(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    with_key(&store, &organization, 1).await;
    let start_of_hour = START.as_unix_ms().div_euclid(HOUR_MS) * HOUR_MS;
    let minute = |minute: i64| Timestamp::from_unix_ms(start_of_hour + minute * 60_000);
    // The last use from each, in the order in which they came: the newest first.
    for (at, from, expected) in [
        (5, "10.0.0.1", [5].as_slice()),
        (50, "10.0.0.1", &[5]),
        (59, "10.0.0.2", &[59, 5]),
        // Within an hour of the first, and the first use of another hour.
        (61, "10.0.0.1", &[59, 61]),
        (119, "10.0.0.1", &[59, 61]),
        (121, "10.0.0.1", &[59, 121]),
    ] {
        let one = count(1, minute(at), 1, READ, ACCEPTED, from);
        // The same twice in one batch is one row.
        record(&store, &[one.clone(), one]).await;
        let last: Vec<Timestamp> = store
            .addresses_of_key(&organization, key_id(1), 10)
            .await
            .unwrap()
            .iter()
            .map(|address| address.last_at)
            .collect();
        let expected: Vec<Timestamp> = expected.iter().map(|at| minute(*at)).collect();
        assert_eq!(last, expected, "after a use at minute {at}");
        let uses = store.list_uses(&organization, &[key_id(1)]).await.unwrap();
        assert_eq!(uses[0].last_used_at, minute(at), "a key's own last use is exact");
    }
    let sums = "SELECT address || ' ' || uses FROM key_usage ORDER BY hour, address";
    let expected = ["10.0.0.1 40", "10.0.0.2 20", "10.0.0.1 40", "10.0.0.1 20"];
    assert_eq!(place.texts(&[sums]).await, expected);
}

async fn a_rise_is_measured_by_the_keys_own_past(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    with_key(&store, &organization, 1).await;
    let mut counts = Vec::new();
    for hours in 0..3 {
        counts.push(count(1, ago(hours), 1, READ, REFUSED, "10.0.0.1"));
        counts.push(count(2, ago(hours), 1, READ, REFUSED, "10.0.0.1"));
        // Whoever knows only an id raises no alarm.
        counts.push(count(3, ago(hours), 0, READ, REFUSED, "10.0.0.1"));
    }
    counts.push(count(4, ago(0), 1, READ, REFUSED, "10.0.0.1"));
    for day in 1..=14 {
        for hours in 0..3 {
            // Refused as often every day.
            counts.push(count(2, ago(day * 24 + hours), 1, READ, REFUSED, "10.0.0.1"));
        }
    }
    record(&store, &counts).await;
    let refused = store
        .keys_refused_often(&organization, RiseHours::at(START), 10)
        .await
        .unwrap();
    let shown: Vec<_> = refused
        .iter()
        .map(|key| (key.key_id, key.recent, key.baseline))
        .collect();
    assert_eq!(shown, [(key_id(1), 30, 0), (key_id(2), 30, 420)]);
    assert_eq!(
        (refused[0].name.as_str(), refused[1].name.as_str()),
        ("nightly", "")
    );
    let rising: Vec<_> = refused
        .iter()
        .filter(|key| is_rise(key.recent, key.baseline))
        .collect();
    assert_eq!(rising.len(), 1);
}

on_both_databases!(
    a_history_goes_back_page_by_page_and_misses_nothing,
    sums_curves_and_tops_agree,
    the_unused_come_in_order_and_the_deleted_not_at_all,
    new_addresses_are_told_with_their_first_use,
    the_last_use_from_an_address_is_exact_to_an_hour,
    a_rise_is_measured_by_the_keys_own_past,
);

/// A hundredth of what `cargo bench --bench usage` measures.
#[tokio::test]
async fn a_hundred_thousand_uses_are_answered_rightly() {
    let place = Place::new(Kind::Sqlite);
    let store = place.store().await;
    let organization: OrganizationId = with_organization(&store).await;
    let mut tx = store.begin().await.unwrap();
    for number in 0..1_000 {
        let (mut key, secret) = key(&organization, number);
        key.created_at = ago(24 * 200);
        tx.insert_key(&key, &secret).await.unwrap();
    }
    tx.commit().await.unwrap();
    let load = UsageLoad {
        organization: organization.clone(),
        keys: (0..1_000).map(key_id).collect(),
        events: 100_000,
        until: START,
        batch_ms: 6 * HOUR_MS,
    };
    let written = load.write(&store, |_| ()).await;

    let everything = Hours {
        from: load.first_hour(),
        until: hour_of(START),
    };
    let sums = store.organization_sums(&organization, everything).await.unwrap();
    assert_eq!(sums.iter().map(|sum| sum.uses).sum::<i64>(), 100_000);
    for number in [0, 3, 8, 500, 999] {
        let id = key_id(number);
        let top = HistoryPlace::after_hour(everything.until);
        let rows = store
            .usage_history(
                &organization,
                id,
                &HistoryFilter::default(),
                (&top, everything.from),
                1_000_000,
            )
            .await
            .unwrap();
        let uses: i64 = rows.iter().map(|row| row.uses).sum();
        let drawn = |of: &std::collections::HashMap<KeyId, i64>| of.get(&id).copied().unwrap_or_default();
        assert_eq!(
            uses,
            drawn(&written.accepted) + drawn(&written.refused),
            "key {number}"
        );
        let curve = store
            .usage_curve(&organization, id, everything, Step::Day)
            .await
            .unwrap();
        assert_eq!(
            curve.iter().map(|point| point.accepted).sum::<i64>(),
            drawn(&written.accepted)
        );
    }
    let since = ago(24 * 25);
    let mut unused: Vec<KeyId> = Vec::new();
    let mut after = None;
    loop {
        let page = store
            .keys_unused_since(&organization, since, after, 50)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(*last);
        unused.extend(page.iter().map(|key| key.key_id));
    }
    let expected = written.last_used_at.values().filter(|at| **at < since).count();
    assert_eq!(unused.len(), expected);
    assert!(unused.iter().all(|id| written.last_used_at[id] < since));
    let never = store
        .keys_never_used(&organization, since, None, 2_000)
        .await
        .unwrap();
    assert_eq!(never.len(), 1_000 - written.last_used_at.len());
    let top = store
        .organization_top(&organization, Of::Addresses, everything, 3)
        .await
        .unwrap();
    let most = written.by_address.values().max().unwrap();
    assert_eq!(top[0].accepted + top[0].refused, *most);
    let since = ago(24 * 20);
    let seen = store
        .new_addresses(&organization, since, &AddressPlace::newest(), 100_000)
        .await
        .unwrap();
    let expected = written.first_seen.values().filter(|at| **at >= since).count();
    assert_eq!(seen.len(), expected);
    // Less than is drawn: what happens again within an hour is one row.
    let rows = place
        .texts(&["SELECT CAST(COUNT(*) AS TEXT) FROM key_usage"])
        .await;
    let rows: u64 = rows[0].parse().unwrap();
    assert!(
        rows > 10_000 && rows <= written.counts,
        "{rows} rows of {}",
        written.counts
    );
}
