//! Patterns as people write them.

use keyward_core::operation::{Family, Operation};
use keyward_core::resource::{Resource, ResourceType};
use keyward_core::rule::{OperationPattern, PatternRefused, ResourcePattern, Rule};
use proptest::prelude::*;

use crate::given::rule;

#[test]
fn every_operation_and_family_that_rules_decide_can_be_written_and_no_other() {
    let by_rule = |family: Family| !matches!(family, Family::Organization | Family::Members);
    for operation in Operation::ALL {
        let read = operation.name().parse::<OperationPattern>();
        assert_eq!(read.is_ok(), by_rule(operation.family()), "{operation}");
        assert!(read.is_err() || read == Ok(OperationPattern::One(operation)));
    }
    for family in Family::ALL {
        let read = format!("{}.*", family.name()).parse::<OperationPattern>();
        assert_eq!(read.is_ok(), by_rule(family), "{}", family.name());
    }
}

#[test]
fn a_family_covers_its_operations_and_no_other() {
    let covered = |pattern: &str| -> Vec<&str> {
        let pattern: OperationPattern = pattern.parse().unwrap();
        Operation::ALL
            .into_iter()
            .filter(|one| pattern.covers(*one))
            .map(Operation::name)
            .collect()
    };
    assert_eq!(
        covered("dataset.*"),
        [
            "dataset.read",
            "dataset.export",
            "dataset.write",
            "dataset.delete"
        ]
    );
    assert_eq!(covered("annotation.*"), ["annotation.write", "annotation.delete"]);
    assert_eq!(
        covered("training.*"),
        ["training.read", "training.write", "training.delete"]
    );
    assert_eq!(covered("model.*"), ["model.download"]);
    assert_eq!(
        covered("deployment.*"),
        ["deployment.read", "deployment.write", "deployment.delete"]
    );
    assert_eq!(covered("inference.*"), ["inference.run"]);
    assert_eq!(covered("inference.run"), ["inference.run"]);
}

#[test]
fn the_organization_is_no_resource_that_a_rule_reaches() {
    for pattern in ["*", "dataset/*", "dataset/a"] {
        let pattern: ResourcePattern = pattern.parse().unwrap();
        assert!(!pattern.covers(Resource::Organization));
    }
}

#[test]
fn what_can_not_be_read_is_named_in_short_and_without_control_characters() {
    let long = format!("data\u{1b}[31mset/{}", "x".repeat(10_000));
    let Err(PatternRefused::Resource { got }) = long.parse::<ResourcePattern>() else {
        panic!("it was read")
    };
    assert_eq!(got.chars().count(), 64);
    assert!(!got.contains('\u{1b}'));
    let refused = "dataset".parse::<ResourcePattern>().unwrap_err().to_string();
    let types = ResourceType::ALL.map(ResourceType::name).join(", ");
    assert_eq!(
        refused,
        format!("a resource is `*`, `dataset/*` or `dataset/{{id}}` (types: {types}); got `dataset`")
    );
}

#[test]
fn a_rule_reads_back_as_json_and_unknown_fields_and_words_are_refused() {
    let text = r#"{"operations":["dataset.read","model.*"],"resources":["dataset/a","run/*","*"]}"#;
    let read: Rule = serde_json::from_str(text).unwrap();
    assert_eq!(
        read,
        rule(&["dataset.read", "model.*"], &["dataset/a", "run/*", "*"])
    );
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    for bad in [
        r#"{"operations":["dataset.read"]}"#,
        r#"{"operations":["dataset.read"],"resources":["*"],"effect":"deny"}"#,
        r#"{"operations":["*"],"resources":["*"]}"#,
        r#"{"operations":["dataset.rename"],"resources":["*"]}"#,
        r#"{"operations":"dataset.read","resources":["*"]}"#,
        r#"{"operations":["dataset.read"],"resources":["dataset/a*"]}"#,
        r#"{"operations":["dataset.read"],"resources":[null]}"#,
    ] {
        assert!(serde_json::from_str::<Rule>(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_pattern_reads_back_as_it_was_written_or_is_refused(text in "[a-z_]{0,12}[./*][a-zA-Z0-9_*-]{0,12}|\\PC{0,30}") {
        if let Ok(pattern) = text.parse::<OperationPattern>() {
            prop_assert_eq!(pattern.to_string(), text.clone());
        }
        if let Ok(pattern) = text.parse::<ResourcePattern>() {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }
}
