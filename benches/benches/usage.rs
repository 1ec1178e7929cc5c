//! `cargo bench --bench usage`: ten million uses of a hundred thousand keys on SQLite, and how long questions about them take.
//!
//! The uses are written through the store's own write side, in large batches. Then the file's size is
//! told, per million uses, and each question is asked many times, with an empty cache of SQLite's pages as often as it gets
//! one. Arguments: the number of uses, then the number of keys. A hundredth of it runs as a test
//! (`crates/store/tests/it/usage_queries.rs`), which looks at the answers instead of the time.

#![expect(
    clippy::print_stdout,
    reason = "printing the figures is what this program is for"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use keyward_core::ids::KeyId;
use keyward_core::keyring::Keyring;
use keyward_core::time::DAY_MS;
use keyward_core::usage::hour_of;
use keyward_core::usage_rise::RiseHours;
use keyward_store::usage_overview::AddressPlace;
use keyward_store::usage_queries::{HistoryFilter, HistoryPlace, Hours, Of, OutcomeFilter, Step};
use keyward_store::{Database, Store};
use keyward_testkit::seed;
use keyward_testkit::usage::{DAYS, UsageLoad};

const EVENTS: u64 = 10_000_000;
const KEYS: usize = 100_000;
/// How often each question is asked.
const ROUNDS: usize = 40;
/// What history and unused keys may take.
const GOAL: Duration = Duration::from_millis(100);
/// Ten days: the program writes as little as a second's uses at a time, and each of them touches pages all over the file. Sixty
/// days of that are no work for an afternoon; the rows are the same.
const BATCH_MS: i64 = 10 * DAY_MS;

#[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
fn main() {
    // What `cargo bench` passes on with its own `--bench` may be numbers.
    let mut given = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<u64>().ok());
    let events = given.next().unwrap_or(EVENTS);
    let keys = given
        .next()
        .and_then(|keys| usize::try_from(keys).ok())
        .unwrap_or(KEYS);
    let folder = tempfile::tempdir().expect("a folder for the database");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(folder.path(), events, keys.max(10)));
}

#[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
async fn run(folder: &Path, events: u64, keys: usize) {
    let file = folder.join("keyward.db");
    let store = Store::open(&Database::Sqlite(file.clone()))
        .await
        .expect("a database");
    store.migrate().await.expect("its schema");
    let until = seed::CREATED_AT.plus_ms(200 * DAY_MS);
    let keyring = Keyring::generate(&mut seed::SystemRandom, seed::CREATED_AT).expect("a keyring");
    let (organization, ids) = seed::insert_keys_of_one(&store, &keyring, keys).await;
    let before = size_of(folder);
    let load = UsageLoad {
        organization,
        keys: ids,
        events,
        until,
        batch_ms: BATCH_MS,
    };
    println!("{events} uses of {keys} keys over {DAYS} days");
    let begun = Instant::now();
    let mut told = 0;
    let written = load
        .write(&store, |done| {
            if done * 20 / events > told {
                told = done * 20 / events;
                println!("  {:3} % after {:.0} s", told * 5, begun.elapsed().as_secs_f64());
            }
        })
        .await;
    let seconds = begun.elapsed().as_secs_f64();
    // The log of writes is folded into the file when the last connection goes.
    store.close().await;
    let grown = size_of(folder) - before;
    println!(
        "written in {seconds:.0} s ({:.0} uses a second), {} counts; {:.0} MB, {:.1} MB per million uses\n",
        events as f64 / seconds,
        written.counts,
        grown as f64 / 1e6,
        grown as f64 / events as f64
    );
    let store = Store::open(&Database::Sqlite(file)).await.expect("the database");
    ask(&store, &load).await;
    store.close().await;
}

/// What the folder holds.
fn size_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}

/// How long a question takes: the median and what 19 of 20 stay below.
async fn time<F: Future<Output = usize>>(what: &str, goal: Option<Duration>, question: impl Fn(usize) -> F) {
    let mut times = Vec::with_capacity(ROUNDS);
    let mut rows = 0;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        rows = question(round).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let (median, high) = (at(50), at(95));
    let verdict = match goal {
        Some(goal) if high > goal => "  MISSED",
        Some(_) => "  ok",
        None => "",
    };
    println!(
        "{what:<44} {:>9.2} ms {:>9.2} ms {rows:>7}{verdict}",
        median.as_secs_f64() * 1e3,
        high.as_secs_f64() * 1e3
    );
}

#[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
async fn ask(store: &Store, load: &UsageLoad) {
    let (organization, until) = (&load.organization, load.until);
    let last = hour_of(until);
    let top = HistoryPlace::after_hour(last);
    let everything = HistoryFilter::default();
    let days = |days: i64| Hours {
        from: last - days * 24,
        until: last,
    };
    let since = |days: i64| until.plus_ms(-days * DAY_MS);
    let busiest = *load.keys.first().expect("there are keys");
    // Every round another key, so that none is warm.
    let some_key = |round: usize| {
        let at = (round * 2_477) % load.keys.len();
        load.keys.get(at).copied().unwrap_or(busiest)
    };
    println!("{:<44} {:>12} {:>12} {:>7}", "", "median", "p95", "rows");
    let history = async |key: KeyId, filter: &HistoryFilter| {
        let rows = store.usage_history(organization, key, filter, (&top, load.first_hour()), 101);
        rows.await.expect("rows").len()
    };
    time("history of a key, first page", Some(GOAL), |round| {
        history(some_key(round), &everything)
    })
    .await;
    time("history of the busiest key, first page", Some(GOAL), |_| {
        history(busiest, &everything)
    })
    .await;
    let refused = HistoryFilter {
        outcome: Some(OutcomeFilter::Refused),
        ..HistoryFilter::default()
    };
    time("its refusals, first page", Some(GOAL), |_| {
        history(busiest, &refused)
    })
    .await;
    time("sums of a key, 30 days", None, |round| async move {
        let sums = store.usage_sums(organization, some_key(round), days(30), 5_000);
        sums.await.expect("sums").len()
    })
    .await;
    time("sums of the busiest key, 30 days", None, |_| async move {
        let sums = store.usage_sums(organization, busiest, days(30), 5_000);
        sums.await.expect("sums").len()
    })
    .await;
    time("curve of the busiest key, 60 days", None, |_| async move {
        let curve = store.usage_curve(organization, busiest, days(60), Step::Day);
        curve.await.expect("points").len()
    })
    .await;
    time(
        "keys unused for 25 days, first page",
        Some(GOAL),
        |_| async move {
            let unused = store.keys_unused_since(organization, since(25), None, 101);
            unused.await.expect("keys").len()
        },
    )
    .await;
    time("keys never used, first page", Some(GOAL), |_| async move {
        let never = store.keys_never_used(organization, since(25), None, 101);
        never.await.expect("keys").len()
    })
    .await;
    time("keys never used, all of them at once", None, |_| async move {
        let never = store.keys_never_used(organization, since(25), None, i64::MAX);
        never.await.expect("keys").len()
    })
    .await;
    time("keys by last use, counted", None, |_| async move {
        let counted = store.count_keys_by_last_use(organization, [since(1), since(7), since(30)]);
        usize::try_from(counted.await.expect("figures").keys).unwrap_or_default()
    })
    .await;
    time("curve of the organization, 60 days", None, |_| async move {
        let curve = store.organization_curve(organization, days(60), Step::Day);
        curve.await.expect("points").len()
    })
    .await;
    for (what, of) in [("addresses", Of::Addresses), ("clients", Of::Clients)] {
        for span in [1, 7] {
            time(&format!("top {what}, {span} days"), None, |_| async move {
                let top = store.organization_top(organization, of, days(span), 20);
                top.await.expect("entries").len()
            })
            .await;
        }
    }
    time(
        "addresses first seen in 7 days, first page",
        None,
        |_| async move {
            let newest = AddressPlace::newest();
            let seen = store.new_addresses(organization, since(7), &newest, 101);
            seen.await.expect("addresses").len()
        },
    )
    .await;
    time("rises of refusals", None, |_| async move {
        let refused = store.keys_refused_often(organization, RiseHours::at(until), 1_000);
        refused.await.expect("keys").len()
    })
    .await;
}
