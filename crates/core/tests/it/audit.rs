//! The audit chain's arithmetic, against vectors that another program computed.

use keyward_core::audit::{CHAIN_START, Detail, Entry, EntryHash, NO_ORGANIZATION, commitment, hex};
use keyward_core::ids::OrganizationId;
use keyward_core::time::Timestamp;

use crate::given::{Broken, NOW, Seeded, vectors};

fn entry(previous: &EntryHash) -> Entry<'_> {
    Entry {
        chain: "org-a",
        sequence: 7,
        previous,
        at: NOW,
        actor: "person/p",
        action: "key.create",
        target: "key/k",
        request_id: "r",
        facts: "{}",
    }
}

#[test]
fn entries_hash_as_the_vectors_say_and_hang_together() {
    let vectors = vectors("audit-vectors.json");
    let mut previous = CHAIN_START;
    let entries = vectors["entries"].as_array().unwrap();
    assert!(entries.len() >= 3);
    for row in entries {
        let text = |name: &str| row[name].as_str().unwrap();
        assert_eq!(hex(&previous), text("previous"));
        let entry = Entry {
            chain: text("chain"),
            sequence: row["sequence"].as_i64().unwrap(),
            previous: &previous,
            at: Timestamp::from_unix_ms(row["at_ms"].as_i64().unwrap()),
            actor: text("actor"),
            action: text("action"),
            target: text("target"),
            request_id: text("request_id"),
            facts: text("facts"),
        };
        let hash = entry.hash();
        assert_eq!(hex(&hash), text("hash"));
        previous = hash;
    }
}

#[test]
fn commitments_are_as_the_vectors_say() {
    let vectors = vectors("audit-vectors.json");
    for row in vectors["commitments"].as_array().unwrap() {
        let text = |name: &str| row[name].as_str().unwrap();
        assert_eq!(hex(&commitment(text("salt"), text("value"))), text("commitment"));
    }
}

#[test]
fn every_field_of_an_entry_and_the_border_between_two_is_in_its_hash() {
    let (start, other) = (CHAIN_START, [1; 32]);
    let base = entry(&start);
    let entries = [
        base,
        Entry {
            chain: "org-b",
            ..base
        },
        Entry { sequence: 8, ..base },
        Entry {
            previous: &other,
            ..base
        },
        Entry {
            at: NOW.plus_ms(1),
            ..base
        },
        Entry {
            actor: "person/q",
            ..base
        },
        Entry {
            action: "key.delete",
            ..base
        },
        Entry {
            target: "key/l",
            ..base
        },
        Entry {
            request_id: "s",
            ..base
        },
        Entry { facts: "{ }", ..base },
        Entry {
            actor: "person/pk",
            action: "ey.create",
            ..base
        },
        Entry {
            target: "key/kr",
            request_id: "",
            ..base
        },
    ];
    let mut hashes = entries.map(|entry| entry.hash()).to_vec();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), entries.len());
}

#[test]
fn a_personal_value_lies_beside_the_chain_and_only_its_commitment_in_it() {
    let detail = Detail::new()
        .fact("level", "full")
        .fact("count", 3)
        .personal("address", "192.0.2.7", &mut Seeded(1))
        .unwrap();
    assert!(!detail.facts_json().contains("192.0.2.7"));
    let facts: serde_json::Value = serde_json::from_str(&detail.facts_json()).unwrap();
    let personal: serde_json::Value = serde_json::from_str(&detail.personal_json()).unwrap();
    let salt = personal["address"]["salt"].as_str().unwrap();
    assert_eq!(salt.len(), 32);
    assert_eq!(personal["address"]["value"], "192.0.2.7");
    assert_eq!(facts["address_commitment"], hex(&commitment(salt, "192.0.2.7")));
    assert_eq!(
        (facts["level"].as_str(), facts["count"].as_i64()),
        (Some("full"), Some(3))
    );

    // The salt is drawn, so that equal values can't be told by equal commitments.
    let again = Detail::new()
        .personal("address", "192.0.2.7", &mut Seeded(2))
        .unwrap();
    let again: serde_json::Value = serde_json::from_str(&again.facts_json()).unwrap();
    assert_ne!(again["address_commitment"], facts["address_commitment"]);
    assert!(
        Detail::new()
            .personal("address", "192.0.2.7", &mut Broken)
            .is_err()
    );
}

#[test]
fn no_organization_can_take_the_chain_of_what_belongs_to_none() {
    assert!(NO_ORGANIZATION.parse::<OrganizationId>().is_err());
}
