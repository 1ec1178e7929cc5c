//! The two ways in which a filter is read, in SQL and of a single key, say the same; and orders have a place for every key.

use keyward_core::access::{Access, Permission};
use keyward_core::environment::Environment;
use keyward_core::ids::OrganizationId;
use keyward_core::key_filter::{Direction, KeyFilter, KeySort, search_text};
use keyward_core::level::PermissionLevel;
use keyward_core::record::{Actor, Key, ShownState};
use keyward_core::rotation::DueStatus;
use keyward_core::rule::Rule;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::{DeleteReason, KeyState, PauseReason};
use keyward_core::tag::{Tag, Tags};
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_store::Store;
use keyward_store::key_list::{KeyQuery, Place as ListPlace};
use keyward_store::uses::SecretUse;
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::support::{key, key_id, with_organization};

/// The moment that all is told at.
const NOW: Timestamp = START;
const KEYS: u32 = 120;
const FILTERS: usize = 400;

/// Moments around [`NOW`], and around the borders that days make.
fn moment() -> impl Strategy<Value = Timestamp> {
    let days = select(vec![-30, -14, -1, 0, 1, 14, 30]);
    (days, -2_i64..=2).prop_map(|(days, ms)| NOW.plus_ms(days * DAY_MS + ms))
}

fn creator() -> impl Strategy<Value = Actor> {
    let names = [
        "local_administrator",
        "system",
        "person/ada",
        "person/Ada",
        "token/0123456789abcdef",
    ];
    select(names.map(|name| name.parse().unwrap()).to_vec())
}

fn tag() -> impl Strategy<Value = Tag> {
    select(
        ["a", "ab", "a_b", "a.b", "a-b"]
            .map(|tag| tag.parse().unwrap())
            .to_vec(),
    )
}

/// Words with what SQL, capitals and alphabets make of them.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "a",
        "A",
        "%",
        "_",
        "!",
        "!%",
        "50%",
        "a_b",
        "aXb",
        "'",
        "\"",
        "Äpfel",
        "äpfel",
        "straße",
        "STRASSE",
        "ΌΣΟΣ",
        "όσος",
        "İstanbul",
        "\u{212a}elvin",
        "🦀",
        "nightly",
        "Nightly",
    ];
    select(words.map(str::to_owned).to_vec())
}

fn state() -> impl Strategy<Value = KeyState> {
    select(vec![
        KeyState::Active,
        KeyState::Active,
        KeyState::Paused {
            reason: PauseReason::Requested,
        },
        KeyState::Deleted {
            reason: DeleteReason::Unused,
            at: NOW,
        },
    ])
}

fn access() -> impl Strategy<Value = Access> {
    let rules: Vec<Rule> =
        serde_json::from_str(r#"[{"operations":["dataset.read"],"resources":["*"]}]"#).unwrap();
    let permission = select(vec![
        Permission::Full,
        Permission::ReadOnly,
        Permission::LabelerOnly,
        Permission::Restricted(rules),
    ]);
    (1_u8..=7, permission).prop_map(|(bits, permission)| {
        let scopes = ScopeSet::from_bits(bits).unwrap();
        Access::new(scopes, permission).unwrap_or_else(|_| Access::new(scopes, Permission::Full).unwrap())
    })
}

/// Hints whose parts differ in capitals alone.
fn hint() -> impl Strategy<Value = String> {
    let heads = select(vec!["dtvi_MDl1MD", "dtvi_mdl1md", "dtvi_MDl1ME"]);
    let tails = select(vec!["x7Qw", "X7QW", "x7Qa", "Qw__"]);
    (heads, tails).prop_map(|(head, tail)| format!("{head}...{tail}"))
}

/// What a filter can look at: the key without its id, and its last use.
#[derive(Debug, Clone)]
struct Looks {
    key: Key,
    last_used_at: Option<Timestamp>,
}

fn looks(organization: &OrganizationId) -> impl Strategy<Value = Looks> + use<> {
    let (template, _) = key(organization, 0);
    let texts = (word(), word(), proptest::option::of(word()));
    let lists = (
        subsequence(vec![0_usize, 1, 2, 3, 4], 0..=3),
        proptest::option::of(select(Environment::ALL.to_vec())),
    );
    let times = (
        moment(),
        proptest::option::of(moment()),
        proptest::option::of(select(vec![DAY_MS, 14 * DAY_MS, 15 * DAY_MS])),
        proptest::option::of(moment()),
        proptest::option::of(moment()),
    );
    (texts, lists, times, state(), access(), creator(), hint()).prop_map(move |parts| {
        let (texts, (tags, environment), times, state, access, created_by, hint) = parts;
        let (created_at, expires_at, rotate_every_ms, rotated_at, last_used_at) = times;
        let tags: Vec<Tag> = tags
            .into_iter()
            .map(|at| ["a", "ab", "a_b", "a.b", "a-b"][at].parse().unwrap())
            .collect();
        let mut key = template.clone();
        key.record.state = state;
        key.record.access = access;
        key.record.conditions.expires_at = expires_at;
        key.name = format!("{} {}", texts.0, texts.1).parse().unwrap();
        key.description = texts.2.unwrap_or_default();
        key.environment = environment;
        key.created_by = created_by;
        key.created_at = created_at;
        key.tags = Tags::try_from(tags).unwrap();
        key.rotate_every_ms = rotate_every_ms;
        key.rotated_at = rotated_at;
        key.hint = hint;
        Looks { key, last_used_at }
    })
}

/// Some of these values, or none at all, which narrows nothing.
fn some<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let most = values.len();
    prop_oneof![3 => Just(Vec::new()), 1 => subsequence(values, 1..=most)]
}

fn filter() -> impl Strategy<Value = KeyFilter> {
    let states = [
        ShownState::Active,
        ShownState::Paused,
        ShownState::Expired,
        ShownState::Deleted,
    ];
    let mut environments: Vec<Option<Environment>> = Environment::ALL.map(Some).to_vec();
    environments.push(None);
    let what = (
        some(states.to_vec()),
        some(environments),
        some(Scope::ALL.to_vec()),
        some(PermissionLevel::ALL.to_vec()),
        some(DueStatus::ALL.to_vec()),
    );
    let which = (
        some((0..KEYS + 3).step_by(7).map(key_id).collect()),
        proptest::collection::vec(creator(), 0..=2),
        proptest::collection::vec(tag(), 0..=2),
    );
    let whole_id = (0..KEYS).prop_map(|number| key_id(number).to_string().to_uppercase());
    let text = prop_oneof![4 => Just(None), 3 => word().prop_map(Some), 1 => whole_id.prop_map(Some)];
    let head = proptest::option::weighted(
        0.2,
        select(vec!["", "dtvi_MDl1MD", "dtvi_m", "dtvi_MDl1MD...x7Qw and more"]),
    );
    let tail = proptest::option::weighted(
        0.2,
        select(vec!["", "x7Qw", "W", "w", "dtvi_MDl1MD...x7Qw and more"]),
    );
    let since = proptest::option::weighted(0.3, moment());
    (what, which, since, text, head, tail).prop_map(|(what, which, unused_since, text, head, tail)| {
        let (states, environments, scopes, levels, due) = what;
        let (ids, creators, tags) = which;
        KeyFilter {
            ids,
            states,
            environments,
            scopes,
            levels,
            creators,
            tags,
            due,
            unused_since,
            text,
            hint_head: head.map(str::to_owned),
            hint_tail: tail.map(str::to_owned),
        }
    })
}

/// Keys as they were drawn; every second one was something else before, and was changed.
async fn with_drawn_keys(
    store: &Store,
    organization: &OrganizationId,
    runner: &mut TestRunner,
) -> Vec<Looks> {
    let strategy = looks(organization);
    let mut draw = || strategy.new_tree(runner).unwrap().current();
    let mut drawn = Vec::new();
    let mut tx = store.begin().await.unwrap();
    let mut uses = Vec::new();
    for number in 0..KEYS {
        let (before, mut now) = (draw(), draw());
        let (template, mut secret) = key(organization, number);
        now.key.record.id = template.record.id;
        secret.hint.clone_from(&now.key.hint);
        if number % 2 == 0 {
            tx.insert_key(&now.key, &secret).await.unwrap();
        } else {
            let mut first = before.key;
            first.record.id = template.record.id;
            // Who made it and when never changes.
            first.created_at = now.key.created_at;
            first.created_by = now.key.created_by.clone();
            first.hint.clone_from(&now.key.hint);
            tx.insert_key(&first, &secret).await.unwrap();
            now.key.record.version = 2;
            tx.update_key(&now.key, 1, &[secret]).await.unwrap();
        }
        if let Some(at) = now.last_used_at {
            uses.push(SecretUse {
                organization_id: organization.clone(),
                key_id: now.key.record.id,
                number: 1,
                first_used_at: at,
                last_used_at: at,
                last: None,
            });
        }
        drawn.push(now);
    }
    tx.record_uses(&uses).await.unwrap();
    tx.commit().await.unwrap();
    drawn
}

fn query(filter: &KeyFilter) -> KeyQuery<'_> {
    KeyQuery {
        filter,
        sort: KeySort::Created,
        direction: Direction::Ascending,
        after: None,
        limit: 1_000,
        now: NOW,
    }
}

async fn a_filter_means_the_same_in_sql_as_of_a_single_key(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let mut runner = TestRunner::deterministic();
    let drawn = with_drawn_keys(&store, &organization, &mut runner).await;
    let filters = filter();
    let (mut found_some, mut found_part) = (0, 0);
    for _ in 0..FILTERS {
        let filter = filters.new_tree(&mut runner).unwrap().current();
        let found = store.query_keys(&organization, &query(&filter)).await.unwrap();
        let mut found: Vec<Key> = found.into_iter().map(|placed| placed.key).collect();
        found.sort_unstable_by_key(|key| key.record.id);
        let admitted: Vec<Key> = drawn
            .iter()
            .filter(|one| filter.admits(&one.key, one.last_used_at, NOW))
            .map(|one| one.key.clone())
            .collect();
        let differing: Vec<&Key> = admitted
            .iter()
            .filter(|key| !found.contains(key))
            .chain(found.iter().filter(|key| !admitted.contains(key)))
            .collect();
        assert!(
            differing.is_empty(),
            "{filter:?}: one says yes and the other no of {differing:?}"
        );
        found_some += usize::from(!found.is_empty());
        found_part += usize::from(!found.is_empty() && found.len() < drawn.len());
    }
    assert!(
        found_some > FILTERS / 4 && found_part > FILTERS / 5,
        "{found_some} {found_part}"
    );
}

async fn every_part_of_a_filter_narrows_by_itself(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let mut runner = TestRunner::deterministic();
    let drawn = with_drawn_keys(&store, &organization, &mut runner).await;
    let all = KeyFilter::default();
    let mut filters = Vec::new();
    for word in [
        "a", "%", "_", "!", "'", "äpfel", "ÄPFEL", "straße", "strasse", "Όσος", "k", "i", "🦀", "NIGHTLY",
    ] {
        filters.push(KeyFilter {
            text: Some(word.to_owned()),
            ..all.clone()
        });
    }
    for state in [
        ShownState::Active,
        ShownState::Paused,
        ShownState::Expired,
        ShownState::Deleted,
    ] {
        filters.push(KeyFilter {
            states: vec![state],
            ..all.clone()
        });
    }
    for due in DueStatus::ALL {
        filters.push(KeyFilter {
            due: vec![due],
            ..all.clone()
        });
    }
    for level in PermissionLevel::ALL {
        filters.push(KeyFilter {
            levels: vec![level],
            ..all.clone()
        });
    }
    for tag in ["a", "ab", "a_b", "a.b", "a-b"] {
        filters.push(KeyFilter {
            tags: vec![tag.parse().unwrap()],
            ..all.clone()
        });
    }
    for days in [-14, -1, 0] {
        for ms in -2..=2 {
            let since = NOW.plus_ms(days * DAY_MS + ms);
            filters.push(KeyFilter {
                unused_since: Some(since),
                ..all.clone()
            });
        }
    }
    for head in ["dtvi_MDl1MD", "dtvi_mdl1md"] {
        filters.push(KeyFilter {
            hint_head: Some(head.to_owned()),
            ..all.clone()
        });
    }
    for tail in ["x7Qw", "X7QW", "__"] {
        filters.push(KeyFilter {
            hint_tail: Some(tail.to_owned()),
            ..all.clone()
        });
    }
    for filter in filters {
        let found = store.query_keys(&organization, &query(&filter)).await.unwrap();
        let admitted = drawn
            .iter()
            .filter(|one| filter.admits(&one.key, one.last_used_at, NOW))
            .count();
        assert_eq!(found.len(), admitted, "{filter:?}");
        assert!(
            (1..drawn.len()).contains(&admitted),
            "{filter:?} tells nothing apart"
        );
    }
}

async fn every_order_has_a_place_for_every_key(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    let mut runner = TestRunner::deterministic();
    let drawn = with_drawn_keys(&store, &organization, &mut runner).await;
    let all = KeyFilter::default();
    for sort in KeySort::ALL {
        for direction in [Direction::Ascending, Direction::Descending] {
            let mut seen: Vec<Key> = Vec::new();
            let mut after: Option<ListPlace> = None;
            loop {
                let page = KeyQuery {
                    sort,
                    direction,
                    after: after.as_ref(),
                    limit: 7,
                    ..query(&all)
                };
                let page = store.query_keys(&organization, &page).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.place.clone());
                seen.extend(page.into_iter().map(|placed| placed.key));
            }
            if direction == Direction::Descending {
                seen.reverse();
            }
            let used = |key: &Key| {
                let one = drawn
                    .iter()
                    .find(|one| one.key.record.id == key.record.id)
                    .unwrap();
                one.last_used_at
            };
            let is_sorted = seen.is_sorted_by_key(|key| match sort {
                KeySort::Created => (Some(key.created_at), String::new(), key.record.id),
                // The test's databases compare byte by byte.
                KeySort::Name => (None, search_text(key).chars().take(100).collect(), key.record.id),
                // Those that were never used come first, in the order of their creation.
                KeySort::LastUsed => {
                    let never = key.created_at.plus_ms(-(1 << 62));
                    (Some(used(key).unwrap_or(never)), String::new(), key.record.id)
                }
                KeySort::Expires => {
                    let end = key.record.conditions.expires_at;
                    (
                        Some(end.unwrap_or(Timestamp::from_unix_ms(i64::MAX))),
                        String::new(),
                        key.record.id,
                    )
                }
                KeySort::Due => {
                    let due = key.rotation_due_at();
                    (
                        Some(due.unwrap_or(Timestamp::from_unix_ms(i64::MAX))),
                        String::new(),
                        key.record.id,
                    )
                }
            });
            assert!(is_sorted, "{sort:?} {direction:?}");
            let mut ids: Vec<_> = seen.iter().map(|key| key.record.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(
                (ids.len(), seen.len()),
                (drawn.len(), drawn.len()),
                "{sort:?} {direction:?}"
            );
        }
    }
}

async fn a_long_description_of_any_alphabet_is_stored_and_found(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let organization = with_organization(&store).await;
    // A thousand characters that nothing can make shorter: more than an index of PostgreSQL takes.
    let letters: String = (0_u32..1_000)
        .map(|at| char::from_u32(0x2_0000 + at * 7_919 % 0xa000).unwrap())
        .collect();
    let (mut long, secret) = key(&organization, 1);
    long.name = letters.chars().take(100).collect::<String>().parse().unwrap();
    long.description.clone_from(&letters);
    let mut tx = store.begin().await.unwrap();
    tx.insert_key(&long, &secret).await.unwrap();
    tx.commit().await.unwrap();
    let filter = KeyFilter {
        text: Some(letters.chars().skip(900).collect()),
        ..KeyFilter::default()
    };
    let found = store.query_keys(&organization, &query(&filter)).await.unwrap();
    assert_eq!(found.len(), 1);
}

on_both_databases!(
    a_filter_means_the_same_in_sql_as_of_a_single_key,
    every_part_of_a_filter_narrows_by_itself,
    every_order_has_a_place_for_every_key,
    a_long_description_of_any_alphabet_is_stored_and_found,
);
