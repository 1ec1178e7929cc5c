//! The refusals of creation, all at once and one by one.

use keyward_core::access::Permission;
use keyward_core::condition::{
    AddressRule, Conditions, MAX_NETWORKS, MAX_RATE_PERIOD_SECONDS, MAX_RATE_REQUESTS, RateLimit,
};
use keyward_core::environment::Environment;
use keyward_core::new_key::{CreationPolicy, KeyDraft, MAX_DESCRIPTION, NewKey};
use keyward_core::scope::ScopeSet;
use keyward_core::time::{DAY_MS, HOUR_MS, Timestamp};

use crate::given::{NOW, only};

const OPEN: CreationPolicy = CreationPolicy {
    max_lifetime_ms: None,
};

fn draft() -> KeyDraft {
    KeyDraft {
        name: "pipeline".to_owned(),
        description: String::new(),
        environment: None,
        scopes: ScopeSet::ALL,
        permission: Permission::Full,
        conditions: Conditions::NONE,
    }
}

fn problems(draft: KeyDraft, policy: CreationPolicy) -> Vec<(String, String)> {
    let found = NewKey::check(draft, policy, NOW).err().unwrap_or_default();
    found
        .into_iter()
        .map(|problem| (problem.field, problem.message))
        .collect()
}

fn fields(draft: KeyDraft) -> Vec<String> {
    problems(draft, OPEN)
        .into_iter()
        .map(|(field, _)| field)
        .collect()
}

fn with_conditions(conditions: Conditions) -> KeyDraft {
    KeyDraft {
        conditions,
        ..draft()
    }
}

#[test]
fn a_name_alone_makes_a_key_that_nobody_narrowed() {
    let key = NewKey::check(draft(), OPEN, NOW).unwrap();
    assert_eq!(key.name.as_str(), "pipeline");
    assert!(key.access.is_unnarrowed());
    assert_eq!(key.conditions, Conditions::NONE);
}

#[test]
fn every_problem_is_reported_at_once() {
    let draft = KeyDraft {
        name: String::new(),
        description: "x".repeat(MAX_DESCRIPTION + 1),
        environment: Some(Environment::Production),
        scopes: ScopeSet::NONE,
        permission: Permission::Restricted(Vec::new()),
        conditions: Conditions {
            not_before: Some(NOW),
            expires_at: Some(NOW),
            addresses: AddressRule::Only(Vec::new()),
            rate_limit: Some(RateLimit {
                requests: 0,
                per_ms: 1,
            }),
        },
    };
    let found = fields(draft);
    let expected = [
        "name",
        "description",
        "expires_at",
        "not_before",
        "allowed_addresses",
        "rate_limit",
        "scopes",
        "rules",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_name_is_one_to_a_hundred_characters_that_can_be_seen() {
    let is_good = |name: &str| {
        fields(KeyDraft {
            name: name.to_owned(),
            ..draft()
        })
        .is_empty()
    };
    for good in [
        "a",
        "Nightly export (EU)",
        "\u{1f511} \u{e9}\u{4e2d}",
        &"\u{e9}".repeat(100),
        " padded ",
    ] {
        assert!(is_good(good), "{good:?}");
    }
    for bad in [
        "",
        " ",
        "\u{a0}\u{3000}",
        "\u{200b}",
        " \u{feff}\u{2060} ",
        "a\nb",
        "a\tb",
        "a\0",
        "a\u{7f}",
        "a\u{85}b",
        "a\u{1b}[31m",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{2028}b",
        &"\u{e9}".repeat(101),
    ] {
        assert!(!is_good(bad), "{bad:?}");
    }
}

#[test]
fn a_description_may_have_lines_but_nothing_that_a_database_or_a_page_stumbles_over() {
    let is_good = |text: &str| {
        fields(KeyDraft {
            description: text.to_owned(),
            ..draft()
        })
        .is_empty()
    };
    assert!(is_good("first line\r\n\tsecond line"));
    assert!(is_good(&"\u{e9}".repeat(MAX_DESCRIPTION)));
    for bad in ["a\0b", "a\u{1b}b", "a\u{202e}b", &"x".repeat(MAX_DESCRIPTION + 1)] {
        assert!(!is_good(bad), "{bad:?}");
    }
}

#[test]
fn an_expiry_lies_in_the_future_by_a_millisecond_at_least() {
    let with_end = |end| {
        with_conditions(Conditions {
            expires_at: Some(end),
            ..Conditions::NONE
        })
    };
    assert_eq!(fields(with_end(NOW)), ["expires_at"]);
    assert_eq!(fields(with_end(NOW.plus_ms(-1))), ["expires_at"]);
    assert_eq!(
        fields(with_end(Timestamp::from_unix_ms(i64::MIN))),
        ["expires_at"]
    );
    assert_eq!(fields(with_end(NOW.plus_ms(1))), [""; 0]);
    // The last moment of the year 9999 can be shown, the next one can't.
    assert_eq!(
        fields(with_end(Timestamp::from_unix_ms(253_402_300_799_999))),
        [""; 0]
    );
    assert_eq!(
        fields(with_end(Timestamp::from_unix_ms(253_402_300_800_000))),
        ["expires_at"]
    );
    assert_eq!(
        fields(with_end(Timestamp::from_unix_ms(i64::MAX))),
        ["expires_at"]
    );
}

#[test]
fn a_key_begins_before_it_ends() {
    let between = |from: i64, end: i64| {
        fields(with_conditions(Conditions {
            not_before: Some(NOW.plus_ms(from)),
            expires_at: Some(NOW.plus_ms(end)),
            ..Conditions::NONE
        }))
    };
    assert_eq!(between(1, 2), [""; 0]);
    assert_eq!(between(-5, 2), [""; 0]);
    assert_eq!(between(2, 2), ["not_before"]);
    assert_eq!(between(3, 2), ["not_before"]);
}

#[test]
fn the_organizations_longest_life_is_kept_to_the_millisecond_and_named() {
    let policy = CreationPolicy {
        max_lifetime_ms: Some(90 * DAY_MS),
    };
    let with_end = |end| {
        with_conditions(Conditions {
            expires_at: end,
            ..Conditions::NONE
        })
    };
    let limit = NOW.plus_ms(90 * DAY_MS);
    assert_eq!(problems(with_end(Some(limit)), policy), []);
    let expected = [(
        "expires_at".to_owned(),
        "the organization allows keys to live at most 90 days".to_owned(),
    )];
    assert_eq!(problems(with_end(Some(limit.plus_ms(1))), policy), expected);
    // Without an expiry a key would live longer than any limit.
    assert_eq!(problems(with_end(None), policy), expected);

    let hours = CreationPolicy {
        max_lifetime_ms: Some(12 * HOUR_MS),
    };
    assert_eq!(
        problems(with_end(None), hours)[0].1,
        "the organization allows keys to live at most 12 hours"
    );
}

#[test]
fn address_lists_and_rates_have_bounds() {
    let with_networks = |networks: &[&str]| {
        fields(with_conditions(Conditions {
            addresses: only(networks),
            ..Conditions::NONE
        }))
    };
    assert_eq!(with_networks(&[]), ["allowed_addresses"]);
    assert_eq!(with_networks(&vec!["10.0.0.0/8"; MAX_NETWORKS]), [""; 0]);
    assert_eq!(
        with_networks(&vec!["10.0.0.0/8"; MAX_NETWORKS + 1]),
        ["allowed_addresses"]
    );
    for (requests, per_ms, is_good) in [
        (1, 1_000, true),
        (0, 1_000, false),
        (1, 0, false),
        (1, 1_500, false),
        (MAX_RATE_REQUESTS, MAX_RATE_PERIOD_SECONDS * 1_000, true),
        (MAX_RATE_REQUESTS + 1, 1_000, false),
        (1, (MAX_RATE_PERIOD_SECONDS + 1) * 1_000, false),
    ] {
        let rate_limit = Some(RateLimit { requests, per_ms });
        let found = fields(with_conditions(Conditions {
            rate_limit,
            ..Conditions::NONE
        }));
        assert_eq!(found.is_empty(), is_good, "{requests} {per_ms}");
    }
}

#[test]
fn the_preset_of_a_pipeline_proposes_no_scope_and_is_refused_as_it_stands() {
    let preset = Environment::CiCd.preset();
    let draft = KeyDraft {
        environment: Some(Environment::CiCd),
        scopes: preset.scopes,
        permission: Permission::ReadOnly,
        ..draft()
    };
    assert_eq!(fields(draft), ["scopes"]);
    for environment in Environment::ALL {
        let days = environment.preset().rotate_every_ms.map(|ms| ms / DAY_MS);
        let expected = match environment {
            Environment::Production | Environment::CiCd => Some(90),
            Environment::Staging => Some(180),
            Environment::Development => None,
        };
        assert_eq!(days, expected);
        assert_eq!(Environment::from_name(environment.name()), Some(environment));
    }
}
