//! A database that becomes slow under load: nothing is accepted wrongly, nobody waits without an end, and nobody has to help it up again.

use std::time::Duration;

use keyward_testkit::deadline::wait_for;

use super::cluster::Cluster;
use crate::support::outcome;

const KEYS: usize = 200;
const ASKERS: usize = 40;
/// Of each answer: with the first the lease can be kept, with the second it can't.
const DELAYS: [Duration; 2] = [Duration::from_millis(60), Duration::from_millis(250)];

#[test]
fn a_slow_database_under_load_recovers_by_itself() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let values: Vec<String> = (0..KEYS).map(|_| node.create("A").1).collect();
    for delay in DELAYS {
        // So that none is in memory.
        node.terminate();
        node.start();
        cluster.wait_until_ready();
        node.proxy.delay(delay);
        std::thread::scope(|scope| {
            for values in values.chunks(KEYS / ASKERS) {
                scope.spawn(move || {
                    for value in values {
                        let reply = node.verify(value).expect("an answer in time");
                        let is_put_off = reply.status == 503 && reply.header("retry-after") == Some("1");
                        assert!(reply.status == 204 || is_put_off, "{reply:?}");
                    }
                });
            }
        });
        node.proxy.pass();
        wait_for("it is not ready again", || node.is_ready().then_some(()));
        for value in &values {
            assert_eq!(outcome(&node.address(), value), "204");
        }
    }
}
