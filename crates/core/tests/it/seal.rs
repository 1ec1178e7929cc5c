//! A seal opens with the very record it was made for, and with no other.

use keyward_core::access::{Access, Permission};
use keyward_core::condition::{AddressRule, RateLimit};
use keyward_core::key_digest::KeyDigest;
use keyward_core::record::KeyRecord;
use keyward_core::rule::Rule;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::seal::{OpenRefused, Sealed, open, seal};
use keyward_core::state::{DeleteReason, KeyState, PauseReason, SecretLife};
use proptest::prelude::*;

use crate::given::{self, Broken, NOW, Seeded, keyring, only, record, rule};

/// A secret's row, as far as it decides.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    record: KeyRecord,
    number: i64,
    life: SecretLife,
}

impl Row {
    fn binding(&self) -> Vec<u8> {
        self.record.seal_binding(self.number, self.life)
    }
}

/// A row in which every field that decides has a value.
fn full_row() -> Row {
    let mut record = record();
    record.version = 4;
    record.access = given::restricted(
        ScopeSet::ALL.without(Scope::Deployment),
        &[
            rule(&["dataset.read", "dataset.write"], &["dataset/a", "dataset/b"]),
            rule(&["training.*"], &["run/*", "flow/f"]),
        ],
    );
    record.conditions.not_before = Some(NOW);
    record.conditions.expires_at = Some(NOW.plus_ms(1_000));
    record.conditions.addresses = only(&["10.0.0.0/8", "2001:db8::/32"]);
    record.conditions.rate_limit = Some(RateLimit {
        requests: 10,
        per_ms: 60_000,
    });
    Row {
        record,
        number: 2,
        life: SecretLife::Until(NOW.plus_ms(500)),
    }
}

fn with_rules(row: &mut Row, change: impl Fn(&mut Vec<Rule>)) {
    let mut rules = row.record.access.permission().rules().to_vec();
    change(&mut rules);
    row.record.access = Access::new(row.record.access.scopes(), Permission::Restricted(rules)).unwrap();
}

fn with_access(row: &mut Row, scopes: ScopeSet, permission: Permission) {
    row.record.access = Access::new(scopes, permission).unwrap();
}

type Change = (&'static str, fn(&mut Row));

/// Everything that somebody who can write the database might change, one at a time.
const CHANGES: &[Change] = &[
    ("organization", |row| {
        row.record.organization_id = "org-b".parse().unwrap()
    }),
    ("organization, longer", |row| {
        row.record.organization_id = "org-a0".parse().unwrap()
    }),
    ("key id", |row| {
        row.record.id = "0123456789abcdeg".parse().unwrap()
    }),
    ("version, lower", |row| row.record.version = 3),
    ("version, higher", |row| row.record.version = 5),
    ("secret number", |row| row.number = 1),
    ("version and number exchanged", |row| {
        (row.record.version, row.number) = (row.number, row.record.version)
    }),
    ("life: current", |row| row.life = SecretLife::Current),
    ("life: ended", |row| row.life = SecretLife::Ended),
    ("life: longer by a millisecond", |row| {
        row.life = SecretLife::Until(NOW.plus_ms(501))
    }),
    ("state: paused on request", |row| {
        row.record.state = KeyState::Paused {
            reason: PauseReason::Requested,
        }
    }),
    ("state: paused as restored", |row| {
        row.record.state = KeyState::Paused {
            reason: PauseReason::Restored,
        }
    }),
    ("state: deleted", |row| {
        row.record.state = KeyState::Deleted {
            reason: DeleteReason::Removed,
            at: NOW,
        };
    }),
    ("state: deleted for another reason", |row| {
        row.record.state = KeyState::Deleted {
            reason: DeleteReason::Unused,
            at: NOW,
        };
    }),
    ("state: deleted at another time", |row| {
        row.record.state = KeyState::Deleted {
            reason: DeleteReason::Removed,
            at: NOW.plus_ms(1),
        };
    }),
    ("scopes: one more", |row| {
        let permission = row.record.access.permission().clone();
        with_access(row, ScopeSet::ALL, permission);
    }),
    ("level: full", |row| {
        with_access(row, row.record.access.scopes(), Permission::Full)
    }),
    ("level: read only", |row| {
        with_access(row, row.record.access.scopes(), Permission::ReadOnly)
    }),
    ("level: labeler only", |row| {
        with_access(row, row.record.access.scopes(), Permission::LabelerOnly)
    }),
    ("unnarrowed", |row| row.record.access = Access::UNNARROWED),
    ("rules: one less", |row| {
        with_rules(row, |rules| drop(rules.pop()))
    }),
    ("rules: one more", |row| {
        with_rules(row, |rules| rules.push(rule(&["dataset.*"], &["*"])))
    }),
    ("rules: one twice", |row| {
        with_rules(row, |rules| rules.push(rules[0].clone()))
    }),
    ("rules: order", |row| with_rules(row, |rules| rules.swap(0, 1))),
    ("rules: an operation more", |row| {
        with_rules(row, |rules| {
            rules[0].operations.push("dataset.delete".parse().unwrap())
        });
    }),
    ("rules: an operation less", |row| {
        with_rules(row, |rules| rules[0].operations.truncate(1))
    }),
    ("rules: another operation", |row| {
        with_rules(row, |rules| {
            rules[0].operations[0] = "dataset.export".parse().unwrap()
        });
    }),
    ("rules: a family in place of an operation", |row| {
        with_rules(row, |rules| rules[0].operations[0] = "dataset.*".parse().unwrap());
    }),
    ("rules: an operation in place of a family", |row| {
        with_rules(row, |rules| {
            rules[1].operations[0] = "training.read".parse().unwrap()
        });
    }),
    ("rules: operations' order", |row| {
        with_rules(row, |rules| rules[0].operations.swap(0, 1))
    }),
    ("rules: a resource more", |row| {
        with_rules(row, |rules| rules[0].resources.push("dataset/c".parse().unwrap()));
    }),
    ("rules: a resource less", |row| {
        with_rules(row, |rules| drop(rules[0].resources.pop()))
    }),
    ("rules: another id", |row| {
        with_rules(row, |rules| rules[0].resources[0] = "dataset/aa".parse().unwrap());
    }),
    ("rules: the type in place of an id", |row| {
        with_rules(row, |rules| rules[0].resources[0] = "dataset/*".parse().unwrap());
    }),
    ("rules: everything in place of a type", |row| {
        with_rules(row, |rules| rules[1].resources[0] = "*".parse().unwrap());
    }),
    ("rules: another type", |row| {
        with_rules(row, |rules| rules[1].resources[1] = "run/f".parse().unwrap());
    }),
    ("rules: the first split in two by resource", |row| {
        with_rules(row, |rules| {
            let mut second = rules[0].clone();
            rules[0].resources.remove(1);
            second.resources.remove(0);
            rules.insert(1, second);
        });
    }),
    ("rules: the first split in two by operation", |row| {
        with_rules(row, |rules| {
            let mut second = rules[0].clone();
            rules[0].operations.remove(1);
            second.operations.remove(0);
            rules.insert(1, second);
        });
    }),
    ("rules: both joined", |row| {
        with_rules(row, |rules| {
            let second = rules.pop().unwrap();
            rules[0].operations.extend(second.operations);
            rules[0].resources.extend(second.resources);
        });
    }),
    ("not_before: none", |row| row.record.conditions.not_before = None),
    ("not_before: a millisecond earlier", |row| {
        row.record.conditions.not_before = Some(NOW.plus_ms(-1))
    }),
    ("expires_at: none", |row| row.record.conditions.expires_at = None),
    ("expires_at: a millisecond later", |row| {
        row.record.conditions.expires_at = Some(NOW.plus_ms(1_001))
    }),
    ("not_before and expires_at exchanged", |row| {
        let conditions = &mut row.record.conditions;
        (conditions.not_before, conditions.expires_at) = (conditions.expires_at, conditions.not_before);
    }),
    ("only one moment, at the other place", |row| {
        let conditions = &mut row.record.conditions;
        (conditions.not_before, conditions.expires_at) = (None, conditions.not_before);
    }),
    ("addresses: anywhere", |row| {
        row.record.conditions.addresses = AddressRule::Anywhere
    }),
    ("addresses: none", |row| {
        row.record.conditions.addresses = AddressRule::Only(Vec::new())
    }),
    ("addresses: one more", |row| {
        row.record.conditions.addresses = only(&["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]);
    }),
    ("addresses: one less", |row| {
        row.record.conditions.addresses = only(&["10.0.0.0/8"])
    }),
    ("addresses: a wider network", |row| {
        row.record.conditions.addresses = only(&["10.0.0.0/7", "2001:db8::/32"]);
    }),
    ("addresses: order", |row| {
        row.record.conditions.addresses = only(&["2001:db8::/32", "10.0.0.0/8"])
    }),
    ("rate limit: none", |row| row.record.conditions.rate_limit = None),
    ("rate limit: more", |row| {
        row.record.conditions.rate_limit = Some(RateLimit {
            requests: 11,
            per_ms: 60_000,
        });
    }),
    ("rate limit: a shorter period", |row| {
        row.record.conditions.rate_limit = Some(RateLimit {
            requests: 10,
            per_ms: 59_999,
        });
    }),
    ("rate limit: numbers exchanged", |row| {
        row.record.conditions.rate_limit = Some(RateLimit {
            requests: 60_000,
            per_ms: 10,
        });
    }),
];

#[test]
fn a_seal_opens_with_its_row_and_with_no_changed_one() {
    let (keyring, digest, row) = (keyring(1), KeyDigest::of("the key's text"), full_row());
    let sealed = seal(&keyring, &digest, &row.binding(), &mut Seeded(2)).unwrap();
    assert!(open(&keyring, &sealed, &row.binding()).unwrap().matches(&digest));
    for (what, change) in CHANGES {
        let mut changed = row.clone();
        change(&mut changed);
        assert_ne!(changed, row, "{what}: the test changed nothing");
        let refused = open(&keyring, &sealed, &changed.binding()).err();
        assert_eq!(refused, Some(OpenRefused::Changed), "{what}");
    }
}

#[test]
fn the_canonical_form_is_the_one_that_stored_rows_are_sealed_to() {
    let vectors = given::vectors("seal-vectors.json");
    let plain = Row {
        record: record(),
        number: 1,
        life: SecretLife::Current,
    };
    let mut deleted = Row {
        life: SecretLife::Ended,
        ..plain.clone()
    };
    deleted.record.state = KeyState::Deleted {
        reason: DeleteReason::Compromised,
        at: NOW,
    };
    for (name, row) in [("full", full_row()), ("plain", plain), ("deleted", deleted)] {
        assert_eq!(
            keyward_core::audit::hex(&row.binding()),
            vectors[name].as_str().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn no_two_of_the_changed_rows_have_the_same_canonical_form() {
    let mut bindings = vec![full_row().binding()];
    for (_, change) in CHANGES {
        let mut changed = full_row();
        change(&mut changed);
        bindings.push(changed.binding());
    }
    let count = bindings.len();
    bindings.sort_unstable();
    bindings.dedup();
    assert_eq!(bindings.len(), count);
}

#[test]
fn a_seal_with_any_bit_changed_or_any_byte_missing_does_not_open() {
    let (keyring, digest) = (keyring(1), KeyDigest::of("k"));
    let sealed = seal(&keyring, &digest, b"row", &mut Seeded(2)).unwrap();
    assert_eq!(sealed.bytes.len(), 24 + 32 + 16);
    for at in 0..sealed.bytes.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1 << bit;
            assert_eq!(open(&keyring, &changed, b"row").err(), Some(OpenRefused::Changed));
        }
        let cut = Sealed {
            bytes: sealed.bytes[..at].to_vec(),
            ..sealed.clone()
        };
        assert_eq!(open(&keyring, &cut, b"row").err(), Some(OpenRefused::Changed));
    }
    let mut longer = sealed.clone();
    longer.bytes.push(0);
    assert_eq!(open(&keyring, &longer, b"row").err(), Some(OpenRefused::Changed));
    assert_eq!(
        open(&given::keyring(9), &sealed, b"row").err(),
        Some(OpenRefused::Changed)
    );
    for version in [0, 2, u32::MAX] {
        let moved = Sealed {
            keyring_version: version,
            ..sealed.clone()
        };
        assert_eq!(
            open(&keyring, &moved, b"row").err(),
            Some(OpenRefused::NoSuchVersion(version))
        );
    }
}

#[test]
fn sealing_draws_a_new_nonce_and_shows_nothing_of_the_digest() {
    let (keyring, digest) = (keyring(1), KeyDigest::of("k"));
    let mut random = Seeded(2);
    let [first, second] = [(); 2].map(|()| seal(&keyring, &digest, b"row", &mut random).unwrap());
    assert_ne!(first.bytes[..24], second.bytes[..24]);
    assert_ne!(first.bytes[24..], second.bytes[24..]);
    assert!(seal(&keyring, &digest, b"row", &mut Broken).is_err());
}

proptest! {
    #[test]
    fn two_rows_have_the_same_canonical_form_only_if_they_are_the_same(
        first in (given::any_record(), 1_i64..3, given::any_life()),
        second in (given::any_record(), 1_i64..3, given::any_life()),
        share in 0_u8..64,
    ) {
        let row = |(record, number, life)| Row { record, number, life };
        let (first, mut second) = (row(first), row(second));
        // Random records seldom meet; sharing all but a field or two makes neighbours.
        if share & 1 != 0 { second.record.access = first.record.access.clone(); }
        if share & 2 != 0 { second.record.conditions = first.record.conditions.clone(); }
        if share & 4 != 0 { second.record.state = first.record.state; }
        if share & 8 != 0 { second.life = first.life; }
        if share & 16 != 0 { (second.number, second.record.version) = (first.number, first.record.version); }
        if share & 32 != 0 { second.record.organization_id = first.record.organization_id.clone(); }
        prop_assert_eq!(first.binding() == second.binding(), first == second);
    }
}
