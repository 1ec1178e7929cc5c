//! What the contract tests store.

use std::collections::BTreeMap;

use keyward_core::access::{Access, Permission};
use keyward_core::audit::{Detail, Event};
use keyward_core::condition::Conditions;
use keyward_core::decision::OrganizationState;
use keyward_core::environment::Environment;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::organization::OrganizationSettings;
use keyward_core::record::{Actor, Key, KeyRecord};
use keyward_core::rule::Rule;
use keyward_core::scope::ScopeSet;
use keyward_core::seal::Sealed;
use keyward_core::state::{KeyState, SecretLife};
use keyward_core::tag::Tags;
use keyward_store::Store;
use keyward_store::datasets::Dataset;
use keyward_store::keys::StoredSecret;
use keyward_store::organizations::Organization;
use keyward_testkit::clock::START;

pub(crate) fn organization_id() -> OrganizationId {
    "org-1".parse().unwrap()
}

pub(crate) fn organization(id: &str) -> Organization {
    Organization {
        id: id.parse().unwrap(),
        version: 1,
        state: OrganizationState::Open,
        name: format!("Näme of {id} 🦀"),
        preference: serde_json::Map::from_iter([("a".to_owned(), serde_json::json!(true))]),
        attributes: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        settings: OrganizationSettings::default(),
        deletion: None,
        last_access_at: START,
        created_at: START,
        updated_at: START.plus_ms(1),
    }
}

pub(crate) async fn with_organization(store: &Store) -> OrganizationId {
    let mut tx = store.begin().await.unwrap();
    tx.insert_organization(&organization("org-1")).await.unwrap();
    tx.commit().await.unwrap();
    organization_id()
}

/// Key number `number`; its seal opens nothing, and the store does not care.
pub(crate) fn key(organization: &OrganizationId, number: u32) -> (Key, StoredSecret) {
    let rules: Vec<Rule> =
        serde_json::from_str(r#"[{"operations":["dataset.*"],"resources":["dataset/a_b"]}]"#).unwrap();
    let record = KeyRecord {
        id: key_id(number),
        organization_id: organization.clone(),
        version: 1,
        state: KeyState::Active,
        access: Access::new(ScopeSet::ALL, Permission::Restricted(rules)).unwrap(),
        conditions: Conditions {
            expires_at: Some(START.plus_ms(1_000)),
            ..Conditions::NONE
        },
    };
    let secret = StoredSecret {
        number: 1,
        life: SecretLife::Current,
        sealed: Sealed {
            keyring_version: 1,
            bytes: vec![0, 255, 39, 10, 200],
        },
        hint: "dtvi_MDl1MD...x7Qw".to_owned(),
        created_at: START,
        ended_at: None,
    };
    let key = Key {
        record,
        name: "nightly".parse().unwrap(),
        description: "two\nlines".to_owned(),
        environment: Some(Environment::CiCd),
        created_by: Actor::LocalAdministrator,
        responsible: None,
        created_at: START,
        updated_at: START,
        tags: Tags::NONE,
        rotate_every_ms: None,
        rotated_at: None,
        hint: secret.hint.clone(),
    };
    (key, secret)
}

pub(crate) fn key_id(number: u32) -> KeyId {
    format!("{number:016}").parse().unwrap()
}

pub(crate) async fn with_key(store: &Store, organization: &OrganizationId, number: u32) -> Key {
    let (key, secret) = key(organization, number);
    let mut tx = store.begin().await.unwrap();
    tx.insert_key(&key, &secret).await.unwrap();
    tx.commit().await.unwrap();
    key
}

pub(crate) fn event(action: &'static str) -> Event {
    Event {
        actor: "local_administrator".to_owned(),
        action,
        target: "key/x".to_owned(),
        request_id: "r-1".to_owned(),
        detail: Detail::new().fact("reason", "a \"quoted\" fact"),
    }
}

pub(crate) fn dataset(organization: &OrganizationId, id: &str) -> Dataset {
    Dataset {
        organization_id: organization.clone(),
        id: id.parse().unwrap(),
        version: 1,
        name: format!("Dataset {id}"),
        description: None,
        kind: "vqa".to_owned(),
        content: "Image".to_owned(),
        owner: organization.to_string(),
        status: 0,
        localization: Some("x".to_owned()),
        data_localization: None,
        tags: BTreeMap::from([("cat".to_owned(), 3)]),
        preference: serde_json::Map::new(),
        attributes: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        created_by: Actor::LocalAdministrator,
        created_at: START,
        updated_at: START,
    }
}
