//! What a list of keys is shown with: counts, creators, rotations, names. Of one organization, beside another that has the same.

use keyward_core::audit::{Detail, Event};
use keyward_core::condition::Conditions;
use keyward_core::environment::Environment;
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::record::{Actor, Key};
use keyward_core::role::Role;
use keyward_core::state::{DeleteReason, KeyState, SecretLife};
use keyward_core::time::DAY_MS;
use keyward_store::Store;
use keyward_store::key_list_context::NamedPerson;
use keyward_store::uses::SecretUse;
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::on_both_databases;

use crate::support::{key, key_id, organization, with_organization};

/// Inserts key number `number` without an expiry, after `change`; its secret begins as `life`.
async fn with_changed_key(
    store: &Store,
    organization: &OrganizationId,
    number: u32,
    life: SecretLife,
    change: impl FnOnce(&mut Key),
) {
    let (mut key, mut secret) = key(organization, number);
    key.record.conditions = Conditions::NONE;
    secret.life = life;
    change(&mut key);
    let mut tx = store.begin().await.unwrap();
    tx.insert_key(&key, &secret).await.unwrap();
    tx.commit().await.unwrap();
}

async fn with_two_organizations(store: &Store) -> (OrganizationId, OrganizationId) {
    let first = with_organization(store).await;
    let other = organization("org-2");
    let mut tx = store.begin().await.unwrap();
    tx.insert_organization(&other).await.unwrap();
    tx.commit().await.unwrap();
    (first, other.id)
}

async fn keys_are_counted_up_to_a_bound(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let (organization, other) = with_two_organizations(&store).await;
    assert_eq!(store.count_keys_up_to(&organization, 2).await.unwrap(), 0);
    for number in 0..3 {
        with_changed_key(&store, &organization, number, SecretLife::Current, |_| ()).await;
    }
    with_changed_key(&store, &other, 3, SecretLife::Current, |_| ()).await;
    for (most, counted) in [(0, 0), (2, 2), (3, 3), (4, 3)] {
        assert_eq!(
            store.count_keys_up_to(&organization, most).await.unwrap(),
            counted
        );
    }
}

async fn keys_are_counted_by_kind(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let (organization, other) = with_two_organizations(&store).await;
    let now = START.plus_ms(100 * DAY_MS);
    let rotating = |days: i64| move |key: &mut Key| key.rotate_every_ms = Some(days * DAY_MS);
    for (number, days) in [(0, 101), (1, 113), (2, 100), (3, 50), (4, 115)] {
        with_changed_key(&store, &organization, number, SecretLife::Current, rotating(days)).await;
    }
    with_changed_key(&store, &organization, 5, SecretLife::Current, |key| {
        key.environment = None
    })
    .await;
    with_changed_key(&store, &organization, 6, SecretLife::Current, |key| {
        key.environment = None;
        key.record.state = KeyState::Deleted {
            reason: DeleteReason::Compromised,
            at: START,
        };
    })
    .await;
    with_changed_key(&store, &other, 7, SecretLife::Current, rotating(50)).await;
    let mut tx = store.begin().await.unwrap();
    let used = SecretUse {
        organization_id: organization.clone(),
        key_id: key_id(0),
        number: 1,
        first_used_at: START,
        last_used_at: START.plus_ms(40 * DAY_MS),
        last: None,
    };
    tx.record_uses(&[used]).await.unwrap();
    tx.commit().await.unwrap();

    let unused_since = [START.plus_ms(40 * DAY_MS), START.plus_ms(40 * DAY_MS + 1)];
    let mut counts = store
        .count_keys_by_kind(&organization, now, unused_since)
        .await
        .unwrap();
    counts.environments.sort();
    assert_eq!(
        counts.environments,
        [(None, 1), (Some(Environment::CiCd), 5)],
        "deleted keys are left out"
    );
    assert_eq!((counts.keys, counts.due_soon, counts.due), (6, 2, 2));
    assert_eq!(counts.unused, [5, 6]);
}

async fn creators_are_told_once_each(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let (organization, other) = with_two_organizations(&store).await;
    assert_eq!(store.list_creators(&organization, 10).await.unwrap(), []);
    let creators = ["person/ada", "local_administrator", "person/ada", "system"];
    for (number, name) in (0..).zip(creators) {
        with_changed_key(&store, &organization, number, SecretLife::Current, |key| {
            key.created_by = name.parse().unwrap();
        })
        .await;
    }
    with_changed_key(&store, &other, 9, SecretLife::Current, |key| {
        key.created_by = "person/bob".parse().unwrap();
    })
    .await;
    let of = |names: &[&str]| -> Vec<Actor> { names.iter().map(|name| name.parse().unwrap()).collect() };
    let all = of(&["local_administrator", "person/ada", "system"]);
    assert_eq!(store.list_creators(&organization, 10).await.unwrap(), all);
    assert_eq!(store.list_creators(&organization, 2).await.unwrap(), all[..2]);
}

async fn keys_with_a_second_secret_are_rotating_until_its_end(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let (organization, other) = with_two_organizations(&store).await;
    let end = START.plus_ms(DAY_MS);
    with_changed_key(&store, &organization, 0, SecretLife::Until(end), |_| ()).await;
    with_changed_key(&store, &organization, 1, SecretLife::Current, |_| ()).await;
    with_changed_key(&store, &other, 2, SecretLife::Until(end), |_| ()).await;
    let all = [key_id(0), key_id(1), key_id(2)];
    for (keys, now, rotating) in [
        (&all[..], end.plus_ms(-1), vec![key_id(0)]),
        (&all[..], end, vec![]),
        (&all[1..], START, vec![]),
        (&[][..], START, vec![]),
    ] {
        assert_eq!(
            store.list_rotating(&organization, keys, now).await.unwrap(),
            rotating
        );
    }
}

async fn people_are_named_as_an_organization_sees_them(kind: Kind) {
    let place = Place::new(kind);
    let store = place.store().await;
    let (organization, other) = with_two_organizations(&store).await;
    let (ada, bob, nobody): (PersonId, PersonId, PersonId) = (
        "ada".parse().unwrap(),
        "bob".parse().unwrap(),
        "nobody".parse().unwrap(),
    );
    let mut tx = store.begin().await.unwrap();
    for (person, email, home) in [
        (&ada, "ada@example.com", &organization),
        (&bob, "bob@example.com", &other),
    ] {
        assert!(
            tx.insert_person(person, &email.parse().unwrap(), START)
                .await
                .unwrap()
        );
        tx.insert_member(home, person, Role::Admin, START).await.unwrap();
    }
    tx.commit().await.unwrap();
    let people = [bob.clone(), nobody, ada.clone()];
    let ids = async |organization: &OrganizationId| {
        let named = store.name_people(organization, &people).await.unwrap();
        let mut ids: Vec<String> = named.iter().map(|one| one.person_id.to_string()).collect();
        ids.sort();
        ids
    };
    // Whoever only knows an id learns nothing: Bob was never here.
    assert_eq!(ids(&organization).await, ["ada"]);
    assert_eq!(ids(&other).await, ["bob"]);
    // An entry about somebody, or by them, in the organization's own trail says that they were.
    let entry = |actor: Actor, target: &str| Event {
        actor: actor.to_string(),
        action: "member.remove",
        target: target.to_owned(),
        request_id: "req-1".to_owned(),
        detail: Detail::default(),
    };
    let mut tx = store.begin().await.unwrap();
    let about_bob = entry(Actor::System, "person/bob");
    tx.append_audit(organization.as_str(), &about_bob, START)
        .await
        .unwrap();
    let by_ada = entry(Actor::Person(ada.clone()), "organization");
    tx.append_audit(other.as_str(), &by_ada, START).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ids(&other).await, ["ada", "bob"]);
    let mut named = store.name_people(&organization, &people).await.unwrap();
    named.sort_by(|one, two| one.email.cmp(&two.email));
    let expected = |person_id: PersonId, email: &str, is_member: bool| NamedPerson {
        person_id,
        email: email.to_owned(),
        is_member,
    };
    assert_eq!(
        named,
        [
            expected(ada, "ada@example.com", true),
            expected(bob, "bob@example.com", false),
        ]
    );
    assert_eq!(store.name_people(&organization, &[]).await.unwrap(), []);
}

on_both_databases!(
    keys_are_counted_up_to_a_bound,
    keys_are_counted_by_kind,
    creators_are_told_once_each,
    keys_with_a_second_secret_are_rotating_until_its_end,
    people_are_named_as_an_organization_sees_them,
);
