//! `cargo bench --bench console`: how long the Secret Keys page of an organization with a hundred thousand keys takes.
//!
//! On SQLite, or with `-- postgres` on the PostgreSQL server whose URL `KEYWARD_TEST_POSTGRES_URL` holds, in a database of its own that
//! is dropped at the end. A number among the arguments is another number of keys.
//!
//! Each view is asked for through the console's router by an Owner who signed in, and its whole answer is read. A fifth of the keys is
//! deleted, seven of ten were used. What the pages say is looked at by the tests of `crates/console`; here only the time and
//! the weight are.

#![expect(
    clippy::print_stdout,
    reason = "printing the figures is what this program is for"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use keyward_core::environment::Environment;
use keyward_core::ids::{KeyId, OrganizationId, PersonId};
use keyward_core::keyring::Keyring;
use keyward_core::record::{Actor, Key};
use keyward_core::secret::{PassphraseKind, Secret};
use keyward_core::state::{DeleteReason, KeyState, PauseReason};
use keyward_core::time::{DAY_MS, HOUR_MS, Timestamp};
use keyward_core::usage::ClientName;
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_http::site::Site;
use keyward_store::uses::{LastUse, SecretUse};
use keyward_testkit::engine::{Kind, TestEngine, arrival, context};
use keyward_testkit::seed;
use tower::ServiceExt as _;

const KEYS: usize = 100_000;
/// How often each view is asked for.
const ROUNDS: usize = 20;
/// What a page may take.
const GOAL: Duration = Duration::from_millis(150);
const PAGE: &str = "/org/org-1/settings/secret-keys";

/// A browser that the Owner signed in with.
struct Visitor {
    router: Router,
    cookie: String,
}

#[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
fn main() {
    // `cargo bench` adds a `--bench` of its own, which says nothing here.
    let given: Vec<String> = std::env::args().skip(1).collect();
    let keys = given.iter().find_map(|argument| argument.parse::<usize>().ok());
    let kind = if given.iter().any(|argument| argument == "postgres") {
        Kind::Postgres
    } else {
        Kind::Sqlite
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(kind, keys.unwrap_or(KEYS).max(100)));
}

async fn run(kind: Kind, keys: usize) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    seed_keys(&test, &organization, keys).await;
    if kind == Kind::Postgres {
        // As the server does by itself within a minute or so after so many new rows.
        test.place.run("VACUUM ANALYZE").await;
    }
    let visitor = sign_in(&test).await;
    println!("{keys} keys of one organization, {kind:?}\n");
    println!("{:<58} {:>12} {:>12} {:>9}", "", "median", "p95", "bytes");
    let mut slow = 0_usize;
    for view in views() {
        slow += usize::from(visitor.time(&view).await);
        // The page after the first, which begins at a place in the middle of an order.
        if let Some(next) = visitor.next_of(&view).await {
            slow += usize::from(visitor.time(&next).await);
        }
    }
    println!("\n{slow} views missed the goal of {} ms", GOAL.as_millis());
}

/// Every order, every filter alone, and filters and orders that go against each other.
fn views() -> Vec<String> {
    let orders = [
        "",
        "sort=created&direction=ascending",
        "sort=name",
        "sort=name&direction=descending",
        "sort=last_used",
        "sort=last_used&direction=ascending",
        "sort=due",
        "sort=due&direction=descending",
    ];
    let filters = [
        "",
        "environment=production",
        "environment=none",
        "state=active",
        "state=paused",
        "state=expired",
        "state=deleted",
        "state=all",
        "unused=30",
        "unused=90",
        "due=soon",
        "due=due",
        "creator=person%2Frare",
        "creator=person%2Fcommon",
        "text=key+99",
        "text=nowhere+to+be+found",
        "environment=staging&state=paused&creator=person%2Frare",
        "unused=90&environment=ci_cd&due=due",
    ];
    let mut views = Vec::new();
    for filter in filters {
        for order in orders {
            let parts = [filter, order].join("&");
            views.push(format!("{PAGE}?{}", parts.trim_matches('&')));
        }
    }
    views
}

#[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
async fn seed_keys(test: &TestEngine, organization: &OrganizationId, keys: usize) {
    let begun = Instant::now();
    let now = test.engine.now();
    let keyring = Keyring::from_text(&test.keyring_text).expect("the engine's keyring");
    let store = test.place.store().await;
    let ids = seed::insert_keys_into(&store, &keyring, organization, keys, |index, key| {
        vary(index, key, now);
    })
    .await;
    let uses: Vec<SecretUse> = ids
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 10 < 7)
        .map(|(index, id)| last_use(organization, index, *id, now))
        .collect();
    let mut tx = store.begin().await.expect("a transaction can be begun");
    tx.record_uses(&uses).await.expect("uses can be written");
    tx.commit().await.expect("uses can be committed");
    store.close().await;
    println!("seeded in {:.0} s", begun.elapsed().as_secs_f64());
}

/// A number that looks drawn, so that neighbours in one order are none in another.
const fn drawn(index: usize, salt: usize) -> usize {
    let mixed = (index.wrapping_add(salt)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

#[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
fn vary(index: usize, key: &mut Key, now: Timestamp) {
    let hours = i64::try_from(drawn(index, 1) % (400 * 24)).unwrap_or_default();
    key.created_at = now.plus_ms(-hours * HOUR_MS - i64::try_from(index).unwrap_or_default());
    key.updated_at = key.created_at;
    key.environment = match drawn(index, 2) % 8 {
        0..=2 => Some(Environment::Production),
        3 => Some(Environment::Staging),
        4 => Some(Environment::Development),
        5 => Some(Environment::CiCd),
        _ => None,
    };
    key.rotate_every_ms = key
        .environment
        .and_then(|environment| environment.preset().rotate_every_ms);
    key.record.conditions.expires_at = drawn(index, 3)
        .is_multiple_of(10)
        .then(|| key.created_at.plus_ms(300 * DAY_MS));
    key.record.state = match drawn(index, 4) % 20 {
        0..=3 => KeyState::Deleted {
            reason: DeleteReason::Removed,
            at: now,
        },
        4 => KeyState::Paused {
            reason: PauseReason::Requested,
        },
        _ => KeyState::Active,
    };
    let person = match drawn(index, 5) % 1_000 {
        0 => "rare".to_owned(),
        1..=599 => "common".to_owned(),
        other => format!("other-{}", other % 50),
    };
    let person: PersonId = person.parse().expect("it is an id");
    key.created_by = Actor::Person(person);
    let name = format!("{:04x} seeded key {index}", drawn(index, 6) % 0x1_0000);
    key.name = name.parse().expect("it is a name");
}

fn last_use(organization: &OrganizationId, index: usize, id: KeyId, now: Timestamp) -> SecretUse {
    let minutes = i64::try_from(drawn(index, 7) % (100 * 24 * 60)).unwrap_or_default();
    let at = now.plus_ms(-minutes * HOUR_MS / 60);
    SecretUse {
        organization_id: organization.clone(),
        key_id: id,
        number: 1,
        first_used_at: at,
        last_used_at: at,
        last: Some(LastUse {
            operation: "identify".to_owned(),
            address: "203.0.113.7".to_owned(),
            client: "vi/0.1.0b7".to_owned(),
        }),
    }
}

#[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
async fn sign_in(test: &TestEngine) -> Visitor {
    let engine = &test.engine;
    let link = engine
        .create_sign_in_link(&context(), "owner@example.com", LinkPurpose::SetPassphrase)
        .await
        .expect("a link can be made");
    let passphrase = Secret::<PassphraseKind>::new("seven violet kettles hum at dawn".to_owned());
    let begun = engine
        .redeem_sign_in_link(&arrival(), &ClientName::NONE, &link.secret, &passphrase)
        .await
        .expect("a link can be redeemed");
    let site = Site::new(engine.clone(), "http://localhost:8787".to_owned(), Vec::new());
    Visitor {
        router: keyward_console::routes().with_state(Arc::new(site)),
        cookie: format!("keyward-session={}", begun.token.reveal()),
    }
}

impl Visitor {
    #[expect(clippy::expect_used, reason = "a bench that can't go on ends")]
    async fn page(&self, path: &str) -> String {
        let request = Request::builder()
            .uri(path)
            .header(http::header::COOKIE, &self.cookie)
            .body(Body::empty())
            .expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("a router answers");
        assert_eq!(response.status(), http::StatusCode::OK, "{path}");
        let body = response
            .into_body()
            .collect()
            .await
            .expect("an answer has an end");
        String::from_utf8_lossy(&body.to_bytes()).into_owned()
    }

    async fn next_of(&self, path: &str) -> Option<String> {
        let page = self.page(path).await;
        let (before, _) = page.split_once("\" rel=\"next\"")?;
        let (_, link) = before.rsplit_once("href=\"")?;
        Some(link.replace("&#38;", "&"))
    }

    /// Median, what 19 of 20 stay below, and the weight of a view; whether it missed the goal.
    async fn time(&self, path: &str) -> bool {
        let mut times = Vec::with_capacity(ROUNDS);
        let mut weight = 0;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            weight = self.page(path).await.len();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        let is_slow = at(95) > GOAL;
        let (_, shown) = path.split_once('?').unwrap_or(("", ""));
        let shown: String = shown.split("after=").next().unwrap_or_default().to_owned();
        let page = if path.contains("after=") {
            " (next page)"
        } else {
            ""
        };
        println!(
            "{:<58} {:>9.2} ms {:>9.2} ms {weight:>9}{}",
            format!("{}{page}", shown.trim_end_matches('&')),
            at(50).as_secs_f64() * 1e3,
            at(95).as_secs_f64() * 1e3,
            if is_slow { "  MISSED" } else { "" }
        );
        is_slow
    }
}
