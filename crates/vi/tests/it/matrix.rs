//! Every endpoint, asked with a key in good order: each set of scopes at each level, and restricted keys of each kind of
//! rule. The answers are those of the table in `permissions`.

use std::collections::BTreeSet;

use keyward_core::ids::OrganizationId;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_testkit::engine::Permission;
use serde_json::json;

use crate::cases::{Case, ID, ask, assert_let_in, assert_refused, cases};
use crate::permissions::{On, Says, Scopes};
use crate::support::Vi;

/// What a key holds, as far as a test of permissions needs it.
struct Held {
    name: String,
    scopes: ScopeSet,
    level: usize,
    rule: Option<HeldRule>,
    value: String,
}

struct HeldRule {
    operation: &'static str,
    of: &'static str,
    id: &'static str,
}

/// The answer that the matrix gives a key in good order.
fn expected(held: &Held, case: &Case) -> Result<(), &'static str> {
    let has_scopes = match case.row.scopes {
        Scopes::Any => !held.scopes.is_empty(),
        Scopes::AllThree => held.scopes == ScopeSet::ALL,
        Scopes::One(name) => held.scopes.iter().any(|scope| scope.name() == name),
        Scopes::Nothing => true,
    };
    if !has_scopes {
        return Err("scope_missing");
    }
    match (case.row.levels[held.level], &held.rule) {
        (Says::Yes, _) => Ok(()),
        (Says::ByRule, Some(rule)) if rule.operation == case.row.operation => {
            let covers = match case.on {
                On::Organization => false,
                On::List(of) => rule.of == of,
                On::New(of) => rule.of == of && rule.id == "*",
                On::One(of) => rule.of == of && (rule.id == "*" || rule.id == ID),
            };
            covers.then_some(()).ok_or("resource_not_permitted")
        }
        _ => Err("operation_not_permitted"),
    }
}

/// A key for each non-empty set of scopes at each level that can be had with it.
async fn keys_of_every_level(vi: &Vi, organization: &OrganizationId) -> Vec<Held> {
    let mut keys = Vec::new();
    for bits in 1..=7 {
        let scopes = ScopeSet::from_bits(bits).expect("three bits are a set");
        for (level, permission) in [Permission::Full, Permission::ReadOnly, Permission::LabelerOnly]
            .into_iter()
            .enumerate()
        {
            if permission == Permission::LabelerOnly && !scopes.contains(Scope::Dataset) {
                continue;
            }
            let name = format!("{} with {scopes}", permission.level().title());
            let key = vi.test.key(organization, scopes, permission).await;
            keys.push(Held {
                name,
                scopes,
                level,
                rule: None,
                value: key.value.reveal().to_owned(),
            });
        }
    }
    keys
}

/// For each operation and type that rules can join: a key for all of the type, for the id that is asked for, and for
/// another one. Each has only the scope that it needs.
async fn keys_of_every_rule(vi: &Vi, organization: &OrganizationId, cases: &[Case]) -> Vec<Held> {
    let mut pairs = BTreeSet::new();
    for case in cases {
        if let (Scopes::One(scope), On::List(of) | On::New(of) | On::One(of)) = (case.row.scopes, case.on) {
            pairs.insert((scope, case.row.operation, of));
        }
    }
    let mut keys = Vec::new();
    for (scope, operation, of) in pairs {
        let scope = Scope::from_name(scope).expect("the matrix names scopes");
        for id in ["*", ID, "another"] {
            let rules = json!([{"operations": [operation], "resources": [format!("{of}/{id}")]}]);
            let rules = serde_json::from_value(rules).expect("they are rules");
            let scopes = ScopeSet::NONE.with(scope);
            let key = vi
                .test
                .key(organization, scopes, Permission::Restricted(rules))
                .await;
            keys.push(Held {
                name: format!("restricted to {operation} on {of}/{id}"),
                scopes,
                level: 3,
                rule: Some(HeldRule { operation, of, id }),
                value: key.value.reveal().to_owned(),
            });
        }
    }
    keys
}

#[tokio::test]
async fn every_key_may_do_what_the_matrix_says_and_nothing_else() {
    let vi = Vi::new().await;
    let organization = "org-1".parse().expect("it is an id");
    let cases = cases();
    assert_eq!(
        cases.len(),
        119,
        "115, two of them twice, and the folder `children`"
    );
    let mut keys = keys_of_every_level(&vi, &organization).await;
    assert_eq!(keys.len(), 7 + 7 + 4);
    let by_rule = keys_of_every_rule(&vi, &organization, &cases).await;
    assert_eq!(by_rule.len(), 3 * (6 + 9 + 1 + 9));
    keys.extend(by_rule);
    let mut let_in = 0;
    for case in &cases {
        for held in &keys {
            let reply = ask(&vi, case, Some(&held.value), Some("org-1")).await;
            match expected(held, case) {
                Ok(()) => {
                    let_in += 1;
                    assert_let_in(case, &held.name, &reply);
                }
                Err(code) => assert_refused(case, &held.name, &reply, 403, code),
            }
        }
    }
    println!(
        "matrix of the resource API: {} endpoints x {} keys = {} requests, {let_in} let in",
        cases.len(),
        keys.len(),
        cases.len() * keys.len()
    );
    assert!(let_in > 1_000, "{let_in}");
}

#[tokio::test]
async fn families_of_operations_on_everything_are_all_that_rules_can_give() {
    let vi = Vi::new().await;
    let families = [
        "dataset.*",
        "annotation.*",
        "training.*",
        "model.*",
        "deployment.*",
    ];
    let widest = vi
        .restricted(json!([{"operations": families, "resources": ["*"]}]))
        .await;
    let value = Some(widest.key.value.reveal());
    for case in cases() {
        let reply = ask(&vi, &case, value, Some("org-1")).await;
        match case.row.operation {
            "organization.write" | "members.write" => {
                assert_refused(&case, "with every rule", &reply, 403, "operation_not_permitted");
            }
            _ => assert_let_in(&case, "with every rule", &reply),
        }
    }
}
