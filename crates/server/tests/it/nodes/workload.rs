//! Clients of all nodes: some change keys at random, many verify the same keys all the time, at every node.
//!
//! As soon as a change that forbids something is answered, the key is verified at each node by threads that wait for nothing else, also at
//! one that is frozen: the question then lies there until the node wakes. Everything goes into the history.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use keyward_testkit::wire::Reply;
use serde_json::{Value, json};

use super::chance::Chance;
use super::cluster::{Cluster, ORGANIZATION};
use super::history::{Act, Answer, Grant, History};

pub(super) const WRITERS: usize = 4;
pub(super) const VERIFIERS_A_NODE: usize = 6;
/// Keys that live at a time.
const LIVING: usize = 10;
/// Ended keys, the last ones, that are still verified at random. All are at the end.
const REMEMBERED: usize = 12;
/// Between two random verifies of a thread that nobody asked for one, and between two writes of a client.
const PACE: Duration = Duration::from_millis(20);
/// Of the deletions that meet one fault so many count, so that many deletions take many faults.
const COUNTED_A_FAULT: usize = 5;
const TRIES: usize = 6;

/// A key as its clients know it.
#[derive(Debug, Clone)]
pub(super) struct KnownKey {
    pub(super) number: usize,
    id: String,
    /// Its secrets whose values were given out, with their numbers.
    values: Vec<(u32, String)>,
}

/// What the clients share.
pub(super) struct Workload<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) history: &'a History,
    pub(super) is_over: AtomicBool,
    /// Odd while something fails; raised at each beginning and end.
    faults: AtomicU64,
    /// Acknowledged deletions during which something failed, or a moment after.
    pub(super) faulted_deletes: AtomicUsize,
    counted_of_this_fault: AtomicUsize,
    keys: Mutex<Keys>,
    asked: Vec<Asked>,
    last_secret: AtomicU64,
}

#[derive(Default)]
struct Keys {
    made: usize,
    living: Vec<KnownKey>,
    ended: Vec<KnownKey>,
}

/// Verifies that one node is to be asked.
#[derive(Default)]
struct Asked {
    queue: Mutex<VecDeque<(usize, u32, String)>>,
    has_grown: Condvar,
}

impl<'a> Workload<'a> {
    pub(super) fn of(cluster: &'a Cluster, history: &'a History) -> Self {
        Self {
            cluster,
            history,
            is_over: AtomicBool::new(false),
            faults: AtomicU64::new(0),
            faulted_deletes: AtomicUsize::new(0),
            counted_of_this_fault: AtomicUsize::new(0),
            keys: Mutex::default(),
            asked: cluster.nodes.iter().map(|_| Asked::default()).collect(),
            last_secret: AtomicU64::new(1),
        }
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().expect("nobody panics with the keys")
    }

    pub(super) fn begin_fault(&self) {
        self.counted_of_this_fault.store(0, Ordering::SeqCst);
        self.faults.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn end_fault(&self) {
        self.faults.fetch_add(1, Ordering::SeqCst);
    }

    /// One client that changes keys.
    pub(super) fn write(&self, mut chance: Chance) {
        while self.goes_on() {
            let key = {
                let keys = self.keys();
                let is_enough = keys.living.len() >= LIVING;
                is_enough.then(|| chance.pick(&keys.living).clone())
            };
            let node = chance.below(self.cluster.nodes.len());
            match (key, chance.below(100)) {
                (None, _) => self.create(node),
                (Some(key), 0..35) => self.delete(&key, node, &mut chance),
                (Some(key), 35..50) => self.change(&key, node, Act::Pause, "pause"),
                (Some(key), 50..65) => self.change(&key, node, Act::Resume, "resume"),
                (Some(key), 65..85) => self.edit(&key, node, &mut chance),
                (Some(key), _) => self.rotate(&key, node),
            }
            pause(PACE);
        }
    }

    /// One client that verifies at one node.
    pub(super) fn verify(&self, node: usize, mut chance: Chance) {
        while self.goes_on() {
            let asked = &self.asked[node];
            let queue = asked.queue.lock().expect("nobody panics with the queue");
            let waited = asked
                .has_grown
                .wait_timeout_while(queue, PACE, |queue| queue.is_empty() && self.goes_on());
            let next = waited.expect("nobody panics with the queue").0.pop_front();
            let random = || {
                let keys = self.keys();
                let ended = keys.ended.iter().rev().take(REMEMBERED);
                let known: Vec<&KnownKey> = keys.living.iter().chain(ended).collect();
                let key = (!known.is_empty()).then(|| chance.pick(&known))?;
                let (secret, value) = chance.pick(&key.values).clone();
                Some((key.number, secret, value))
            };
            if let Some((key, secret, value)) = next.or_else(random) {
                self.verify_once(node, (key, Act::Verify(secret)), &value);
            }
        }
    }

    /// After everything has healed: the newest known secret of every key, at every node.
    pub(super) fn verify_all(&self) {
        let keys = self.keys();
        for key in keys.living.iter().chain(&keys.ended) {
            for node in 0..self.cluster.nodes.len() {
                let (secret, value) = key.values.last().expect("a key is made with a value");
                self.verify_once(node, (key.number, Act::LastVerify(*secret)), value);
            }
        }
    }

    fn verify_once(&self, node: usize, (key, act): (usize, Act), value: &str) {
        self.history.record((node, key, act), || {
            (verified(self.cluster.nodes[node].verify(value)), ())
        });
    }

    fn create(&self, node: usize) {
        let number = {
            let mut keys = self.keys();
            keys.made += 1;
            keys.made
        };
        let (_, made) = self.write_once(node, (number, Act::Create), |node| {
            let path = format!("/v1/organizations/{ORGANIZATION}/keys");
            node.manage("POST", &path, &json!({ "name": format!("Key {number}") }))
        });
        let text = |field: &str| Some(made.as_ref()?[field].as_str()?.to_owned());
        if let (Some(id), Some(value)) = (text("id"), text("value")) {
            let values = vec![(1, value)];
            self.ask_everywhere(&KnownKey {
                number,
                id: id.clone(),
                values: values.clone(),
            });
            self.keys().living.push(KnownKey { number, id, values });
        }
    }

    /// Until it is acknowledged: whoever got no answer asks again, at any node.
    fn delete(&self, key: &KnownKey, first_node: usize, chance: &mut Chance) {
        {
            let mut keys = self.keys();
            let Some(place) = keys.living.iter().position(|other| other.number == key.number) else {
                return;
            };
            let key = keys.living.swap_remove(place);
            keys.ended.push(key);
        }
        let path = format!("/v1/keys/{}/delete", key.id);
        let mut node = first_node;
        for _ in 0..TRIES {
            let before = self.faults.load(Ordering::SeqCst);
            let (answer, _) = self.write_once(node, (key.number, Act::Delete), |node| {
                node.manage("POST", &path, &json!({}))
            });
            let is_faulted = before % 2 == 1 || before != self.faults.load(Ordering::SeqCst);
            if answer == Answer::Done {
                self.ask_everywhere(key);
                if is_faulted && self.counted_of_this_fault.fetch_add(1, Ordering::SeqCst) < COUNTED_A_FAULT {
                    self.faulted_deletes.fetch_add(1, Ordering::SeqCst);
                }
                break;
            }
            node = chance.below(self.cluster.nodes.len());
        }
    }

    fn change(&self, key: &KnownKey, node: usize, act: Act, verb: &str) {
        let path = format!("/v1/keys/{}/{verb}", key.id);
        let (answer, _) = self.write_once(node, (key.number, act), |node| {
            node.manage("POST", &path, &json!({}))
        });
        if answer == Answer::Done {
            self.ask_everywhere(key);
        }
    }

    fn edit(&self, key: &KnownKey, node: usize, chance: &mut Chance) {
        let grant = Grant {
            scopes: u8::try_from(chance.below(7) + 1).expect("it is small"),
            is_full: chance.below(2) == 0,
        };
        let scopes: Vec<&str> = (0..3)
            .filter(|bit| grant.scopes & (1 << bit) != 0)
            .map(|bit| Grant::SCOPES[bit])
            .collect();
        let level = if grant.is_full { "full" } else { "read_only" };
        let (answer, _) = self.write_once(node, (key.number, Act::Edit(grant)), |node| {
            let body = json!({ "scopes": scopes, "level": level });
            node.manage("PATCH", &format!("/v1/keys/{}", key.id), &body)
        });
        if answer == Answer::Done {
            self.ask_everywhere(key);
        }
    }

    fn rotate(&self, key: &KnownKey, node: usize) {
        let secret = self.last_secret.fetch_add(1, Ordering::SeqCst) + 1;
        let secret = u32::try_from(secret).expect("a test does not rotate that often");
        let path = format!("/v1/keys/{}/rotate", key.id);
        let (answer, rotated) = self.write_once(node, (key.number, Act::Rotate(secret)), |node| {
            node.manage("POST", &path, &json!({ "mode": "immediate" }))
        });
        if answer != Answer::Done {
            return;
        }
        // The old ones first: they are what the rotation ended.
        self.ask_everywhere(key);
        let value = rotated.as_ref().and_then(|rotated| rotated["value"].as_str());
        let value = value.expect("a rotation gives out a value").to_owned();
        let mut guard = self.keys();
        let keys = &mut *guard;
        let known = keys.living.iter_mut().chain(&mut keys.ended);
        for known in known.filter(|known| known.number == key.number) {
            known.values.push((secret, value.clone()));
        }
    }

    fn write_once(
        &self,
        node: usize,
        (key, act): (usize, Act),
        send: impl FnOnce(&super::cluster::Node) -> Option<Reply>,
    ) -> (Answer, Option<Value>) {
        self.history
            .record((node, key, act), || match send(&self.cluster.nodes[node]) {
                None => (Answer::Unknown, None),
                Some(reply) => match reply.status {
                    200 | 201 => (Answer::Done, Some(reply.json())),
                    400..500 => (Answer::Refused(code(&reply)), None),
                    // Not possible just now, or its outcome is not known: in doubt it has happened.
                    _ => (Answer::Unknown, None),
                },
            })
    }

    /// Has every known secret of a key verified at every node, before anything else.
    fn ask_everywhere(&self, key: &KnownKey) {
        for asked in &self.asked {
            let mut queue = asked.queue.lock().expect("nobody panics with the queue");
            for (secret, value) in key.values.iter().rev().take(3) {
                queue.push_back((key.number, *secret, value.clone()));
            }
            // What a frozen node can't keep up with; the newest matter most.
            let surplus = queue.len().saturating_sub(200);
            queue.drain(..surplus);
            drop(queue);
            asked.has_grown.notify_all();
        }
    }
}

fn verified(reply: Option<Reply>) -> Answer {
    let Some(reply) = reply else {
        return Answer::Unknown;
    };
    if reply.status != 204 {
        return Answer::Refused(code(&reply));
    }
    let scopes = reply
        .header("keyward-scopes")
        .expect("an accept names the scopes");
    let bit = |name: &str| Grant::SCOPES.iter().position(|scope| *scope == name);
    Answer::Accepted(Grant {
        scopes: scopes
            .split(',')
            .filter_map(bit)
            .fold(0, |bits, bit| bits | 1 << bit),
        is_full: reply.header("keyward-permission") == Some("full"),
    })
}

fn code(reply: &Reply) -> String {
    let code = reply.json()["code"].as_str().map(str::to_owned);
    code.unwrap_or_else(|| format!("status {}", reply.status))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client's pace, which leaves the machine to the nodes"
)]
pub(super) fn pause(length: Duration) {
    std::thread::sleep(length);
}
