//! The alerts that are suggested name what a server has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keyward_testkit::server::quickstart;
use keyward_testkit::wire;

use crate::PROGRAM;

fn document(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::read_to_string(docs.join(name)).expect("it is there")
}

/// The series that a text names: each metric, and with it the label that it is asked for, if it is.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let found = text.match_indices("keyward_").map(|(at, _)| &text[at..]);
    found
        .map(|rest| {
            let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
            let after = &rest[name.len()..];
            let label = after.strip_prefix('{').and_then(|label| label.split_once('}'));
            match label {
                Some((label, _)) if label.contains('=') => format!("{name}{{{label}}}"),
                _ => name.to_owned(),
            }
        })
        .collect()
}

#[test]
fn every_series_that_alerts_and_their_page_name_is_there() {
    let (keyward, _) = quickstart(PROGRAM);
    let metrics = wire::get(&keyward.admin_address(), "/metrics", &[]).body;
    let rules = named(&document("alerts.yml"));
    assert!(rules.len() > 10, "{rules:?}");
    assert!(rules.contains("keyward_nodes{state=\"overdue\"}"), "{rules:?}");
    for series in rules.iter().chain(&named(&document("ALERTS.md"))) {
        // With or without labels, and its value; a histogram's name is in none but with an ending.
        let is_there = metrics.lines().any(|line| {
            let rest = line.strip_prefix(series.as_str());
            rest.is_some_and(|rest| rest.starts_with([' ', '{']) || rest.starts_with("_bucket{"))
        });
        assert!(is_there, "no {series} in\n{metrics}");
    }
}

#[test]
fn every_metric_is_on_the_page_that_explains_them() {
    let (keyward, _) = quickstart(PROGRAM);
    let metrics = wire::get(&keyward.admin_address(), "/metrics", &[]).body;
    let page = document("ALERTS.md");
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 10, "{metrics}");
    for name in names {
        assert!(page.contains(name), "{name} is not in docs/ALERTS.md");
        assert!(
            metrics.contains(&format!("# HELP {name} ")),
            "{name} does not say what it is"
        );
    }
}

#[test]
fn every_alert_has_a_row_on_the_page() {
    let (rules, page) = (document("alerts.yml"), document("ALERTS.md"));
    let alerts: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let rows: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `Keyward")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let short: BTreeSet<&str> = alerts
        .iter()
        .map(|alert| alert.strip_prefix("Keyward").expect("all are ours"))
        .collect();
    assert_eq!(short, rows);
}
