//! Everything fails in turn, at random moments of a random workload, and the promise is judged over the whole history.
//!
//! Which fault, where and for how long comes from the seed; how the threads meet it does not, so that a seed repeats the kind of a run and
//! not its every step. Variables choose the seed and how much is tried; CONTRIBUTING.md lists them.

use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keyward_testkit::postgres_server::Stop;
use keyward_testkit::proxy::AtCommit;

use super::chance::Chance;
use super::checker::{Violation, violations};
use super::cluster::{Cluster, Node, faketime};
use super::history::{Act, Answer, Event, History};
use super::tell;
use super::workload::{VERIFIERS_A_NODE, WRITERS, Workload, pause};

const SEED_VARIABLE: &str = "KEYWARD_FAULTS_SEED";
const DELETES_VARIABLE: &str = "KEYWARD_FAULTS_DELETES";
/// The seeds of the usual run; each meets its share of the faults and of the deletions.
const SEEDS: [u64; 2] = [1, 2];
/// How many nodes; for looking for what has failed with as little as possible around it.
const NODES_VARIABLE: &str = "KEYWARD_FAULTS_NODES";
/// Which faults, by their names in this file with commas between; all without it.
const ONLY_VARIABLE: &str = "KEYWARD_FAULTS_ONLY";
const USUAL_NODES: usize = 3;
const USUAL_DELETES: usize = 60;
/// In a statement of every renewal, and of nothing else.
const RENEWAL: &str = "UPDATE node SET applied";
/// In a statement of every write to a key.
const KEY_WRITE: &str = "INSERT INTO change_feed";
/// Just under the 30 s above which a node does not count as ready.
const CLOCK_OFF_SECONDS: i32 = 29;
/// A node that was let alone has to be ready within this; generous, because the machine may be busy.
const RECOVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Freeze,
    Cut,
    Stall,
    StallAnswers,
    HoldRenewal,
    HoldRenewalAnswer,
    HoldWrite,
    HoldWriteAnswer,
    DatabaseFast,
    DatabaseImmediate,
    ClockAhead,
    ClockBehind,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::Kill,
        Self::Freeze,
        Self::Cut,
        Self::Stall,
        Self::StallAnswers,
        Self::HoldRenewal,
        Self::HoldRenewalAnswer,
        Self::HoldWrite,
        Self::HoldWriteAnswer,
        Self::DatabaseFast,
        Self::DatabaseImmediate,
        Self::ClockAhead,
        Self::ClockBehind,
    ];

    const fn needs_faketime(self) -> bool {
        matches!(self, Self::ClockAhead | Self::ClockBehind)
    }
}

#[test]
fn no_node_accepts_what_was_ended_and_nothing_acknowledged_is_lost() {
    let deletes = chosen(DELETES_VARIABLE).unwrap_or(USUAL_DELETES);
    let mut faults = Fault::ALL.to_vec();
    if faketime().is_none() {
        tell("skipped: nodes whose clocks are off: Debian's package `faketime` is not installed");
        faults.retain(|fault| !fault.needs_faketime());
    }
    if let Ok(only) = std::env::var(ONLY_VARIABLE) {
        faults.retain(|fault| only.split(',').any(|name| name == format!("{fault:?}")));
        assert!(
            !faults.is_empty(),
            "`{ONLY_VARIABLE}` names no fault: {:?}",
            Fault::ALL
        );
    }
    match chosen(SEED_VARIABLE) {
        Some(seed) => run(seed, deletes, &faults),
        None => {
            let share = faults.len().div_ceil(SEEDS.len());
            for (seed, faults) in SEEDS.iter().zip(faults.chunks(share)) {
                run(*seed, deletes.div_ceil(SEEDS.len()), faults);
            }
        }
    }
}

/// The number that a variable holds.
fn chosen<T: FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().ok().expect("the variable holds a number"))
}

fn run(seed: u64, deletes: usize, faults: &[Fault]) {
    tell(&format!("faults: seed {seed} begins"));
    let cluster = Cluster::start(chosen(NODES_VARIABLE).unwrap_or(USUAL_NODES));
    let history = History::begin();
    let workload = Workload::of(&cluster, &history);
    let mut chance = Chance::of(seed);
    let mut unwell = Vec::new();
    std::thread::scope(|scope| {
        let workload = &workload;
        // Also when this thread panics, so that the scope ends.
        let _end = Ending(workload);
        for _ in 0..WRITERS {
            let chance = Chance::of(chance.next());
            scope.spawn(move || workload.write(chance));
        }
        for node in 0..cluster.nodes.len() {
            for _ in 0..VERIFIERS_A_NODE {
                let chance = Chance::of(chance.next());
                scope.spawn(move || workload.verify(node, chance));
            }
        }
        let mut is_first_round = true;
        while is_first_round || workload.faulted_deletes.load(Ordering::SeqCst) < deletes {
            let mut deck = faults.to_vec();
            chance.shuffle(&mut deck);
            for fault in deck {
                for_ms(100 + chance.below(400));
                unwell.extend(let_fail(fault, workload, &mut chance));
                let is_enough = workload.faulted_deletes.load(Ordering::SeqCst) >= deletes;
                if !unwell.is_empty() || (!is_first_round && is_enough) {
                    break;
                }
            }
            is_first_round = false;
            if !unwell.is_empty() {
                break;
            }
        }
    });
    if unwell.is_empty() {
        cluster.wait_until_ready();
        workload.verify_all();
    }
    judge(seed, &workload, &unwell);
}

struct Ending<'a, 'b>(&'a Workload<'b>);

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// One fault from its beginning to its end. Says what did not recover.
fn let_fail(fault: Fault, workload: &Workload<'_>, chance: &mut Chance) -> Option<String> {
    let (cluster, history) = (workload.cluster, workload.history);
    let place = chance.below(cluster.nodes.len());
    let node = &cluster.nodes[place];
    let longer_than_a_lease = 2_000 + chance.below(1_000);
    let any_time = 100 + chance.below(2_900);
    let begun_us = history.now_us();
    workload.begin_fault();
    let is_caught = match fault {
        Fault::Kill => {
            node.kill9();
            for_ms(any_time / 2);
            node.start();
            true
        }
        Fault::Freeze => {
            node.freeze();
            for_ms(longer_than_a_lease);
            node.thaw();
            true
        }
        Fault::Cut => {
            node.proxy.cut();
            for_ms(any_time);
            true
        }
        Fault::Stall => {
            node.proxy.stall();
            for_ms(any_time);
            true
        }
        Fault::StallAnswers => {
            node.proxy.stall_answers();
            for_ms(any_time);
            true
        }
        Fault::HoldRenewal => caught(node, RENEWAL, AtCommit::HoldIt, longer_than_a_lease),
        Fault::HoldRenewalAnswer => caught(node, RENEWAL, AtCommit::HoldItsAnswer, longer_than_a_lease),
        Fault::HoldWrite => caught(node, KEY_WRITE, AtCommit::HoldIt, any_time),
        Fault::HoldWriteAnswer => caught(node, KEY_WRITE, AtCommit::HoldItsAnswer, any_time),
        Fault::DatabaseFast | Fault::DatabaseImmediate => {
            let mut postgres = cluster.postgres.lock().expect("nobody panics with the database");
            postgres.stop(match fault {
                Fault::DatabaseFast => Stop::Fast,
                _ => Stop::Immediate,
            });
            for_ms(any_time / 2);
            postgres.start_again();
            true
        }
        Fault::ClockAhead | Fault::ClockBehind => {
            let seconds = match fault {
                Fault::ClockAhead => CLOCK_OFF_SECONDS,
                _ => -CLOCK_OFF_SECONDS,
            };
            node.terminate();
            node.start_with_clock_off(seconds);
            for_ms(longer_than_a_lease);
            let offset = node.clock_offset_ms().unwrap_or_default();
            (offset - i64::from(seconds) * 1_000).abs() < 2_000
        }
    };
    node.proxy.pass();
    let healed = Instant::now();
    // Once is enough: on a busy machine a node may lose its lease again at any time, and get it back.
    let is_well = wait_until_well(cluster, healed);
    let recovered_ms = healed.elapsed().as_millis();
    workload.end_fault();
    let told = format!("{fault:?} at node {place}, ready again after {recovered_ms} ms");
    history.fault(begun_us, told.clone());
    if !is_well {
        let unready: Vec<usize> = (0..cluster.nodes.len())
            .filter(|place| !cluster.nodes[*place].is_ready())
            .collect();
        return Some(format!("not ready again, nodes {unready:?}: {told}"));
    }
    (!is_caught).then(|| format!("it did not take effect, so that nothing was tried: {told}"))
}

/// Waits until every node is ready at one moment; whether there was such a moment in time.
fn wait_until_well(cluster: &Cluster, since: Instant) -> bool {
    loop {
        if cluster.nodes.iter().all(Node::is_ready) {
            return true;
        }
        if since.elapsed() >= RECOVERY {
            return false;
        }
        for_ms(20);
    }
}

/// Holds a commit for a while, as soon as there is one.
fn caught(node: &Node, saying: &str, at_commit: AtCommit, ms: usize) -> bool {
    node.proxy.catch_commit(saying, at_commit);
    let is_caught = node.proxy.wait_until_caught(Duration::from_secs(10));
    for_ms(ms);
    is_caught
}

fn for_ms(ms: usize) {
    pause(Duration::from_millis(
        u64::try_from(ms).expect("it is not that long"),
    ));
}

fn judge(seed: u64, workload: &Workload<'_>, unwell: &[String]) {
    let events = workload.history.events();
    let count = |wanted: &dyn Fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let writes = count(&|event| event.answer == Answer::Done);
    let accepts = count(&|event| matches!(event.answer, Answer::Accepted(_)));
    let refusals =
        count(&|event| matches!(event.act, Act::Verify(_)) && matches!(event.answer, Answer::Refused(_)));
    let faulted = workload.faulted_deletes.load(Ordering::SeqCst);
    let found = violations(&events);
    tell(&format!(
        "faults: seed {seed}: {faulted} deletions met a fault; {writes} writes acknowledged, {accepts} verifies accepted and \
         {refusals} refused; {} violations",
        found.len()
    ));
    assert!(
        found.is_empty() && unwell.is_empty(),
        "{}",
        report(seed, faulted, &events, &found, unwell, workload)
    );
}

fn report(
    seed: u64,
    faulted: usize,
    events: &[Event],
    found: &[Violation],
    unwell: &[String],
    workload: &Workload<'_>,
) -> String {
    let chosen: String = [ONLY_VARIABLE, NODES_VARIABLE]
        .iter()
        .filter_map(|name| Some(format!("{name}={} ", std::env::var(name).ok()?)))
        .collect();
    let mut text = format!(
        "{} violations with seed {seed}, {unwell:?}. To try it again:\n  {chosen}{SEED_VARIABLE}={seed} {DELETES_VARIABLE}={} cargo \
         test -p keyward --test it nodes::faults\nfaults:\n{}",
        found.len(),
        faulted.max(1),
        workload.history.shown_faults()
    );
    for violation in found.iter().take(5) {
        let shown = &violation.event;
        text += &format!("\n{}:\n  {shown}\nwhat was done to the key:\n", violation.rule);
        let is_close = |event: &&Event| {
            let is_write = !matches!(event.act, Act::Verify(_) | Act::LastVerify(_));
            let is_near = event.ended_us + 2_000_000 > shown.begun_us
                && event.begun_us < shown.ended_us + 500_000
                && event.node == shown.node;
            event.key == shown.key && (is_write || is_near)
        };
        for event in events.iter().filter(is_close).take(80) {
            text += &format!("  {event}\n");
        }
    }
    let logs = workload.cluster.nodes.iter().enumerate();
    for (place, node) in logs {
        text += &format!("\nthe end of node {place}'s log:\n{}\n", node.log());
    }
    text
}
