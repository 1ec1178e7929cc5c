//! What the tests start from: a keyring, records, random ones for the properties, and the test vectors.

use keyward_core::access::{Access, Permission};
use keyward_core::address::CallerAddress;
use keyward_core::condition::{AddressRule, Conditions, RateLimit};
use keyward_core::ids::KeyId;
use keyward_core::keyring::Keyring;
use keyward_core::operation::{Family, Operation};
use keyward_core::random::{RandomSource, RandomUnavailable};
use keyward_core::record::{Actor, Key, KeyRecord};
use keyward_core::resource::{Resource, ResourceType};
use keyward_core::rule::{OperationPattern, ResourcePattern, Rule};
use keyward_core::scope::ScopeSet;
use keyward_core::state::{DeleteReason, KeyState, PauseReason, SecretLife};
use keyward_core::tag::Tags;
use keyward_core::time::{DAY_MS, Timestamp};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_750_000_000_000);

/// Bytes that depend on the seed alone, so that a failure repeats (splitmix64).
pub(crate) struct Seeded(pub(crate) u64);

impl RandomSource for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        for byte in bytes {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            *byte = (mixed ^ (mixed >> 27))
                .wrapping_mul(0x94D0_49BB_1331_11EB)
                .to_be_bytes()[0];
        }
        Ok(())
    }
}

/// A source that fails.
pub(crate) struct Broken;

impl RandomSource for Broken {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), RandomUnavailable> {
        Err(RandomUnavailable)
    }
}

pub(crate) fn keyring(seed: u64) -> Keyring {
    Keyring::generate(&mut Seeded(seed), NOW).unwrap()
}

pub(crate) fn key_id() -> KeyId {
    "0123456789abcdef".parse().unwrap()
}

/// An active key of `org-a` that nobody narrowed.
pub(crate) fn record() -> KeyRecord {
    KeyRecord {
        id: key_id(),
        organization_id: "org-a".parse().unwrap(),
        version: 1,
        state: KeyState::Active,
        access: Access::UNNARROWED,
        conditions: Conditions::NONE,
    }
}

/// The key of [`record`], made by the operator a day ago.
pub(crate) fn key() -> Key {
    let created_at = NOW.plus_ms(-DAY_MS);
    Key {
        record: record(),
        name: "A key".parse().unwrap(),
        description: String::new(),
        environment: None,
        created_by: Actor::LocalAdministrator,
        responsible: None,
        created_at,
        updated_at: created_at,
        tags: Tags::NONE,
        rotate_every_ms: None,
        rotated_at: None,
        hint: "dtvi_MDEyMz...x7Qw".to_owned(),
    }
}

pub(crate) fn rule(operations: &[&str], resources: &[&str]) -> Rule {
    Rule {
        operations: operations.iter().map(|text| text.parse().unwrap()).collect(),
        resources: resources.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

pub(crate) fn restricted(scopes: ScopeSet, rules: &[Rule]) -> Access {
    Access::new(scopes, Permission::Restricted(rules.to_vec())).unwrap()
}

pub(crate) fn known(address: &str) -> CallerAddress {
    CallerAddress::Known(address.parse().unwrap())
}

pub(crate) fn only(networks: &[&str]) -> AddressRule {
    AddressRule::Only(networks.iter().map(|text| text.parse().unwrap()).collect())
}

pub(crate) fn vectors(name: &str) -> serde_json::Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The ids that random rules and random requests draw from: few, so that they meet.
pub(crate) const IDS: [&str; 3] = ["a", "b", "c"];

/// Every resource that a random request can be about.
pub(crate) fn every_resource() -> Vec<Resource<'static>> {
    let of_type = |of| {
        [Resource::Collection(of), Resource::New(of)]
            .into_iter()
            .chain(IDS.map(|id| Resource::Item(of, id)))
    };
    ResourceType::ALL
        .into_iter()
        .flat_map(of_type)
        .chain([Resource::Organization])
        .collect()
}

pub(crate) fn any_scopes() -> impl Strategy<Value = ScopeSet> {
    (1_u8..=7).prop_map(|bits| ScopeSet::from_bits(bits).unwrap())
}

fn any_operation_pattern(scopes: ScopeSet) -> impl Strategy<Value = OperationPattern> {
    let one = Operation::ALL.into_iter().map(OperationPattern::One);
    let family = Family::ALL.into_iter().map(OperationPattern::Family);
    let within = |pattern: &OperationPattern| pattern.scope().is_some_and(|scope| scopes.contains(scope));
    select(one.chain(family).filter(within).collect::<Vec<_>>())
}

fn any_resource_pattern() -> impl Strategy<Value = ResourcePattern> {
    let of = || select(ResourceType::ALL.to_vec());
    prop_oneof![
        1 => Just(ResourcePattern::Everything),
        2 => of().prop_map(ResourcePattern::AllOf),
        5 => (of(), select(IDS.to_vec())).prop_map(|(of, id)| ResourcePattern::One(of, id.parse().unwrap())),
    ]
}

pub(crate) fn any_rule(scopes: ScopeSet) -> impl Strategy<Value = Rule> {
    let operations = prop::collection::vec(any_operation_pattern(scopes), 1..4);
    let resources = prop::collection::vec(any_resource_pattern(), 1..6);
    (operations, resources).prop_map(|(operations, resources)| {
        without_pointless(Rule {
            operations,
            resources,
        })
    })
}

/// The rule without resources that its operations can't concern; with `*` if none is left.
fn without_pointless(mut rule: Rule) -> Rule {
    let pointless: Vec<usize> = rule.pointless_resources().map(|(at, _)| at).collect();
    for at in pointless.into_iter().rev() {
        rule.resources.remove(at);
    }
    if rule.resources.is_empty() {
        rule.resources.push(ResourcePattern::Everything);
    }
    rule
}

pub(crate) fn any_access() -> impl Strategy<Value = Access> {
    any_scopes().prop_flat_map(|scopes| {
        let permission = prop_oneof![
            2 => Just(Permission::Full),
            2 => Just(Permission::ReadOnly),
            2 => Just(Permission::LabelerOnly),
            6 => prop::collection::vec(any_rule(scopes), 1..4).prop_map(Permission::Restricted),
        ];
        permission.prop_filter_map("Labeler Only needs the dataset scope", move |permission| {
            Access::new(scopes, permission).ok()
        })
    })
}

/// A moment within some seconds of [`NOW`].
pub(crate) fn any_moment() -> impl Strategy<Value = Timestamp> {
    (-3_i64..=3).prop_map(|ms| NOW.plus_ms(ms))
}

pub(crate) const NETWORKS: [&str; 5] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "192.0.2.7/32",
    "2001:db8::/32",
    "0.0.0.0/0",
];

pub(crate) fn any_conditions() -> impl Strategy<Value = Conditions> {
    let moment = || prop::option::weighted(0.4, any_moment());
    let addresses = prop_oneof![
        2 => Just(AddressRule::Anywhere),
        1 => subsequence(NETWORKS.to_vec(), 0..=3).prop_map(|networks| only(&networks)),
    ];
    let rate_limit =
        prop::option::of((1_u32..3, 1_u32..3).prop_map(|(requests, per_ms)| RateLimit { requests, per_ms }));
    (moment(), moment(), addresses, rate_limit).prop_map(|(not_before, expires_at, addresses, rate_limit)| {
        Conditions {
            not_before,
            expires_at,
            addresses,
            rate_limit,
        }
    })
}

pub(crate) fn any_state() -> impl Strategy<Value = KeyState> {
    prop_oneof![
        4 => Just(KeyState::Active),
        1 => select(PauseReason::ALL).prop_map(|reason| KeyState::Paused { reason }),
        1 => (select(DeleteReason::ALL), any_moment()).prop_map(|(reason, at)| KeyState::Deleted { reason, at }),
    ]
}

pub(crate) fn any_life() -> impl Strategy<Value = SecretLife> {
    prop_oneof![
        3 => Just(SecretLife::Current),
        1 => any_moment().prop_map(SecretLife::Until),
        1 => (any_moment(), 1_i64..3).prop_map(|(until, grace_ms)| SecretLife::Pending { until, grace_ms }),
        1 => Just(SecretLife::Ended),
    ]
}

pub(crate) fn any_record() -> impl Strategy<Value = KeyRecord> {
    let parts = (
        select(vec!["org-a", "org-b"]),
        1_i64..3,
        any_state(),
        any_access(),
        any_conditions(),
    );
    parts.prop_map(
        |(organization_id, version, state, access, conditions)| KeyRecord {
            id: key_id(),
            organization_id: organization_id.parse().unwrap(),
            version,
            state,
            access,
            conditions,
        },
    )
}

pub(crate) fn any_address() -> impl Strategy<Value = CallerAddress> {
    prop_oneof![
        1 => Just(CallerAddress::Unknown),
        4 => select(vec!["10.1.2.3", "10.9.9.9", "192.0.2.7", "8.8.8.8", "2001:db8::1", "::1"]).prop_map(known),
    ]
}
