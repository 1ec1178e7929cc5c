//! A machine whose clock is wrong: what its node decides, and what it says of itself.

use keyward_api::moment;
use keyward_testkit::deadline::wait_for;
use keyward_testkit::wire;
use serde_json::{Value, json};

use super::cluster::{Cluster, KEYS, ORGANIZATION, faketime, text};
use super::tell;
use crate::support::{outcome, says};

/// More than the 30 s that are borne.
const OFF_SECONDS: i32 = 40;
/// Less than that: by the wrong clock these moments have come, by the database's they have not.
const SOON_MS: i64 = 25_000;

#[test]
fn a_node_whose_clock_is_wrong_decides_by_the_database_s_and_says_so() {
    if faketime().is_none() {
        tell("skipped: a node whose clock is off: Debian's package `faketime` is not installed");
        return;
    }
    let cluster = Cluster::prepare(2);
    let [right, ahead] = &cluster.nodes[..] else {
        panic!("there are two");
    };
    right.start();
    right.cli(&["org", "create", "--name", "Acme", "--id", ORGANIZATION]);
    ahead.start_with_clock_off(OFF_SECONDS);
    wait_for("the node with the wrong clock has no lease", || {
        (ahead.clock_offset_ms()? != 0).then_some(())
    });
    let offset = ahead.clock_offset_ms().expect("it says so");
    let expected = i64::from(OFF_SECONDS) * 1_000;
    assert!((offset - expected).abs() < 2_000, "{offset}");

    let create = |body: &Value| right.done("POST", KEYS, body);
    let first = create(&json!({ "name": "First" }));
    let made_at = text(&first, "created_at");
    let soon = moment::write(moment::read(&made_at).expect("it is one").plus_ms(SOON_MS));
    let ending = create(&json!({ "name": "Ends soon", "expires_at": soon }));
    let beginning = create(&json!({ "name": "Begins soon", "not_before": soon }));
    for node in &cluster.nodes {
        let outcome = |key: &Value| outcome(&node.address(), &text(key, "value"));
        assert_eq!(
            [&first, &ending, &beginning].map(outcome),
            ["204", "204", "key_not_yet_valid"]
        );
    }

    let ready = wire::get(&ahead.admin_address(), "/readyz", &[]);
    assert_eq!(ready.status, 503, "{ready:?}");
    says(&ready.body, &["clock", "NTP"]);
    assert!(right.is_ready());
}
