//! `keyward nodes`: who serves this database, and how each of them stands.

use anyhow::Result;
use http::Method;
use keyward_api::nodes::NodeView;
use keyward_http::management::ListView;

use super::Surroundings;
use super::client::call;
use super::output;

const HEADER: [&str; 9] = [
    "NAME", "STATE", "LEASE", "APPLIED", "LAG", "CLOCK", "VERSION", "SINCE", "ROLE",
];

pub(super) async fn run(surroundings: &Surroundings) -> Result<()> {
    let target = surroundings.target.on_this_machine();
    let found: ListView<NodeView> = call(&target, Method::GET, "/v1/nodes", None).await?;
    if surroundings.is_json {
        return output::json(&found);
    }
    output::table(&HEADER, found.items.iter().map(row).collect());
    Ok(())
}

fn row(node: &NodeView) -> Vec<String> {
    vec![
        node.name.clone(),
        node.state.clone(),
        lease(node),
        if_counted(node, node.applied),
        if_counted(node, node.lag),
        clock(node),
        node.version.clone(),
        node.started_at.clone().unwrap_or_else(|| "-".to_owned()),
        role(node),
    ]
}

/// What a node knew that was counted out says nothing any more, and one that is joining knows nothing.
fn if_counted(node: &NodeView, number: i64) -> String {
    match node.state.as_str() {
        "serving" | "overdue" => number.to_string(),
        _ => "-".to_owned(),
    }
}

fn lease(node: &NodeView) -> String {
    match node.lease_ms {
        None => "without end".to_owned(),
        Some(left) if left >= 0 => format!("{} s", seconds(left)),
        Some(over) => format!("over for {} s", seconds(over.saturating_neg())),
    }
}

fn clock(node: &NodeView) -> String {
    if node.id.is_none() {
        // There is no other clock to agree with.
        return "-".to_owned();
    }
    format!("{:+} ms", node.clock_offset_ms)
}

fn role(node: &NodeView) -> String {
    if node.id.is_none() {
        return "(this one) the only process that serves this database".to_owned();
    }
    let roles = [(node.own, "(this one)"), (node.first, "first")];
    let held = roles.into_iter().filter(|(is_so, _)| *is_so);
    held.map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

fn seconds(ms: i64) -> String {
    format!("{}.{}", ms / 1_000, ms % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeView {
        NodeView {
            id: Some("id".to_owned()),
            name: "a".to_owned(),
            version: "1.2.3".to_owned(),
            started_at: Some("2026-01-02T03:04:05.006Z".to_owned()),
            state: "serving".to_owned(),
            lease_ms: Some(1_249),
            applied: 7,
            lag: 2,
            clock_offset_ms: -12,
            own: true,
            first: true,
        }
    }

    #[test]
    fn a_row_says_how_a_node_stands() {
        let shown = row(&node()).join("|");
        assert_eq!(
            shown,
            "a|serving|1.2 s|7|2|-12 ms|1.2.3|2026-01-02T03:04:05.006Z|(this one) first"
        );
        let lapsed = NodeView {
            state: "lapsed".to_owned(),
            lease_ms: Some(-61_050),
            own: false,
            first: false,
            ..node()
        };
        assert_eq!(row(&lapsed)[2..5], ["over for 61.0 s", "-", "-"]);
    }

    #[test]
    fn the_only_process_is_called_so() {
        let only = NodeView {
            id: None,
            started_at: None,
            lease_ms: None,
            ..node()
        };
        let shown = row(&only);
        assert_eq!(shown[2], "without end");
        assert!(shown[8].contains("the only process"), "{shown:?}");
    }
}
