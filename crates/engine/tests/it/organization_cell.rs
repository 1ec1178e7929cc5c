//! The rule that keeps the state of an organization true for all its keys, played step by step, and beside it broken
//! variants of the rule that must fail the same property.

use std::sync::Arc;

use keyward_core::access::Access;
use keyward_core::condition::Conditions;
use keyward_core::decision::OrganizationState;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_digest::KeyDigest;
use keyward_core::record::KeyRecord;
use keyward_core::state::{KeyState, SecretLife};
use keyward_engine::cache::{CachedKey, CachedSecret, Filled, LoadTicket, Look, VerificationCache};
use keyward_engine::organization_cell::{OrganizationMark, OrganizationStanding};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

fn organization() -> OrganizationId {
    "org-1".parse().unwrap()
}

/// Two keys of one organization, so that what one brings along is seen with the other.
fn id(number: usize) -> KeyId {
    ["0123456789abcdef", "fedcba9876543210"][number].parse().unwrap()
}

fn digest() -> KeyDigest {
    KeyDigest::of("the secret of a test")
}

/// Every version has a state that its neighbours have not.
fn standing(version: i64) -> OrganizationStanding {
    let state = OrganizationState::ALL[(version - 1).rem_euclid(4) as usize];
    OrganizationStanding { version, state }
}

fn key(number: usize, organization_version: i64) -> Arc<CachedKey> {
    let record = KeyRecord {
        id: id(number),
        organization_id: organization(),
        version: 1,
        state: KeyState::Active,
        access: Access::UNNARROWED,
        conditions: Conditions::NONE,
    };
    let secret = CachedSecret::new(1, SecretLife::Current, digest().into());
    let standing = standing(organization_version);
    Arc::new(CachedKey::new(record, standing, vec![secret], false))
}

fn seen(cache: &VerificationCache, number: usize) -> Option<OrganizationState> {
    let seen = match cache.look(id(number), |_, state| state) {
        Look::Here(state) => Some(state),
        Look::ReadThrough => None,
    };
    // The shortcut knows what the long way knows, no more and no less.
    assert_eq!(
        cache.look_plain(id(number), &digest(), |found| found.organization_state()),
        seen,
        "key {number}"
    );
    seen
}

fn filled(filled: Filled) -> OrganizationState {
    match filled {
        Filled::Use(_, state) => state,
        Filled::Stale => panic!("nothing was written to the key"),
    }
}

#[test]
fn a_stop_is_known_to_every_key_at_once() {
    let cache = VerificationCache::new(100);
    cache.apply(key(0, 1));
    cache.apply(key(1, 1));
    let mark = cache.mark_organization(&organization());
    assert_eq!(
        (seen(&cache, 0), seen(&cache, 1)),
        (None, None),
        "read through while it is written"
    );
    cache.apply_organization(&mark, standing(3));
    cache.unmark_organization(mark);
    let stopped = Some(OrganizationState::Stopped);
    assert_eq!((seen(&cache, 0), seen(&cache, 1)), (stopped, stopped));
}

#[test]
fn a_load_that_read_before_the_stop_and_ends_after_it_opens_nothing() {
    let cache = VerificationCache::new(100);
    let load = cache.begin_load(id(0));
    let mark = cache.mark_organization(&organization());
    cache.apply_organization(&mark, standing(3));
    cache.unmark_organization(mark);
    assert_eq!(
        filled(cache.finish_load(load, key(0, 1))),
        OrganizationState::Stopped
    );
    assert_eq!(seen(&cache, 0), Some(OrganizationState::Stopped));
}

#[test]
fn a_load_during_the_stop_answers_those_before_it_and_nobody_after() {
    let cache = VerificationCache::new(100);
    let mark = cache.mark_organization(&organization());
    let load = cache.begin_load(id(0));
    assert_eq!(
        filled(cache.finish_load(load, key(0, 1))),
        OrganizationState::Open
    );
    assert_eq!(seen(&cache, 0), None);
    cache.apply_organization(&mark, standing(3));
    cache.unmark_organization(mark);
    assert_eq!(seen(&cache, 0), Some(OrganizationState::Stopped));
}

#[test]
fn a_write_of_a_key_that_read_the_organization_before_the_stop_opens_nothing() {
    let cache = VerificationCache::new(100);
    let editing = cache.mark(id(0));
    let mark = cache.mark_organization(&organization());
    cache.apply_organization(&mark, standing(3));
    cache.unmark_organization(mark);
    cache.apply(key(0, 1));
    cache.unmark(editing);
    assert_eq!(seen(&cache, 0), Some(OrganizationState::Stopped));
}

#[test]
fn what_was_read_before_the_cache_was_emptied_is_not_kept() {
    let cache = VerificationCache::new(100);
    cache.apply(key(1, 1));
    let (load, editing) = (cache.begin_load(id(0)), cache.mark(id(1)));
    cache.clear();
    // Another process stopped the organization meanwhile.
    assert_eq!(
        filled(cache.finish_load(load, key(0, 1))),
        OrganizationState::Open
    );
    cache.apply(key(1, 1));
    cache.unmark(editing);
    assert_eq!((seen(&cache, 0), seen(&cache, 1)), (None, None));
    let load = cache.begin_load(id(0));
    assert_eq!(
        filled(cache.finish_load(load, key(0, 3))),
        OrganizationState::Stopped
    );
    assert_eq!(seen(&cache, 0), Some(OrganizationState::Stopped));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    BeginLoad(usize),
    Read(usize),
    FinishLoad(usize),
    Mark(usize),
    Commit(usize),
    Apply(usize),
    Return(usize),
    /// The right is lost, another process may write, and it is had again.
    Lose,
    WriteElsewhere,
    /// Meanwhile the database loses its last commit, as in a failover.
    GoBack,
    Regain,
    Evict(usize),
    Verify(usize),
}

/// What a cache must be able to do, so that the same interleavings run on the real one and on broken ones. Key 0 is
/// loaded by the loads with an even number, key 1 by the others.
trait Rule {
    type Load;
    type Mark;
    fn begin_load(&mut self, key: usize) -> Self::Load;
    fn finish_load(&mut self, key: usize, load: Self::Load, version: i64) -> OrganizationState;
    fn mark(&mut self) -> Self::Mark;
    fn apply(&mut self, mark: &Self::Mark, version: i64);
    fn unmark(&mut self, mark: Self::Mark);
    fn empty(&mut self);
    fn evict(&mut self, key: usize);
    fn look(&mut self, key: usize) -> Option<OrganizationState>;
}

struct Real(VerificationCache);

impl Rule for Real {
    type Load = LoadTicket;
    type Mark = OrganizationMark;
    fn begin_load(&mut self, key: usize) -> LoadTicket {
        self.0.begin_load(id(key))
    }
    fn finish_load(&mut self, number: usize, load: LoadTicket, version: i64) -> OrganizationState {
        filled(self.0.finish_load(load, key(number, version)))
    }
    fn mark(&mut self) -> OrganizationMark {
        self.0.mark_organization(&organization())
    }
    fn apply(&mut self, mark: &OrganizationMark, version: i64) {
        self.0.apply_organization(mark, standing(version));
    }
    fn unmark(&mut self, mark: OrganizationMark) {
        self.0.unmark_organization(mark);
    }
    fn empty(&mut self) {
        self.0.clear();
    }
    fn evict(&mut self, key: usize) {
        self.0.forget(id(key));
    }
    fn look(&mut self, key: usize) -> Option<OrganizationState> {
        seen(&self.0, key)
    }
}

/// Ways of getting the rule wrong; `None` is the rule itself, without what makes it fast.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// The state is a copy in each key, as it was loaded.
    Copies,
    /// Nothing is marked while it is written.
    NoMarks,
    /// Any load's state is taken, older or not.
    AnyFill,
    /// The cell goes with its last key, and a late load makes a new one.
    CellsGo,
    /// What was known stays when the cache is emptied.
    StaysWhenEmptied,
    /// Loads from before an emptying are kept.
    OldLoads,
}

struct Small {
    flaw: Flaw,
    known: Option<i64>,
    floor: i64,
    copies: [Option<i64>; 2],
    marks: usize,
    generation: u64,
}

impl Small {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            known: None,
            floor: 0,
            copies: [None; 2],
            marks: 0,
            generation: 0,
        }
    }

    fn learn(&mut self, version: i64) {
        if self.flaw == Flaw::AnyFill || version >= self.known.unwrap_or(self.floor) {
            self.known = Some(version);
            self.floor = version;
        }
    }
}

impl Rule for Small {
    type Load = u64;
    type Mark = u64;
    fn begin_load(&mut self, _: usize) -> u64 {
        self.generation
    }
    fn finish_load(&mut self, key: usize, load: u64, version: i64) -> OrganizationState {
        if load == self.generation || self.flaw == Flaw::OldLoads {
            self.learn(version);
            self.copies[key] = Some(version);
        }
        standing(version.max(self.known.unwrap_or(version))).state
    }
    fn mark(&mut self) -> u64 {
        self.marks += 1;
        self.generation
    }
    fn apply(&mut self, _: &u64, version: i64) {
        self.learn(version);
    }
    fn unmark(&mut self, mark: u64) {
        self.marks -= 1;
        if mark != self.generation {
            self.known = None;
        }
    }
    fn empty(&mut self) {
        self.generation += 1;
        self.copies = [None; 2];
        if self.flaw != Flaw::StaysWhenEmptied {
            (self.known, self.floor) = (None, 0);
        }
    }
    fn evict(&mut self, key: usize) {
        self.copies[key] = None;
        if self.flaw == Flaw::CellsGo && self.copies == [None; 2] {
            (self.known, self.floor) = (None, 0);
        }
    }
    fn look(&mut self, key: usize) -> Option<OrganizationState> {
        let copy = self.copies[key]?;
        let version = if self.flaw == Flaw::Copies {
            copy
        } else {
            self.known?
        };
        let is_marked = self.marks > 0 && self.flaw != Flaw::NoMarks;
        (!is_marked).then(|| standing(version).state)
    }
}

struct Load<R: Rule> {
    ticket: R::Load,
    read: Option<i64>,
    /// The version that was promised when it began.
    floor: i64,
}

struct Write<R: Rule> {
    mark: R::Mark,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Open,
    Committed(i64),
    Applied(i64),
    /// Refused, because the right is not held.
    Nothing,
}

/// Runs an interleaving. The property: memory answers with the state that is committed, and a load with one that is no
/// older than the last write that had returned when the load began. Gives the first step that breaks it.
fn first_violation<R: Rule>(mut rule: R, steps: &[Step]) -> Option<usize> {
    let (mut stored, mut promised, mut is_held) = (1, 1, true);
    // A commit that a failover lost may have been read before, and is answered with until the right is had again.
    let mut lost = 0;
    let mut loads: [Option<Load<R>>; 4] = [const { None }; 4];
    let mut writes: [Option<Write<R>>; 2] = [const { None }; 2];
    for (at, step) in steps.iter().enumerate() {
        let mut is_broken = false;
        match *step {
            Step::BeginLoad(number) => {
                if loads[number].is_none() {
                    loads[number] = Some(Load {
                        ticket: rule.begin_load(number % 2),
                        read: None,
                        floor: promised,
                    });
                }
            }
            Step::Read(number) => {
                if let Some(load) = &mut loads[number] {
                    load.read.get_or_insert(stored);
                }
            }
            Step::FinishLoad(number) => {
                if let Some(load) = loads[number].take_if(|load| load.read.is_some()) {
                    let read = load.read.unwrap();
                    let answer = rule.finish_load(number % 2, load.ticket, read);
                    let mut possible = load.floor..=stored.max(read).max(lost);
                    is_broken = possible.all(|version| standing(version).state != answer);
                }
            }
            Step::Mark(number) => {
                if writes[number].is_none() {
                    writes[number] = Some(Write {
                        mark: rule.mark(),
                        outcome: Outcome::Open,
                    });
                }
            }
            Step::Commit(number) => {
                if let Some(write) = &mut writes[number]
                    && write.outcome == Outcome::Open
                {
                    write.outcome = if is_held {
                        stored += 1;
                        Outcome::Committed(stored)
                    } else {
                        Outcome::Nothing
                    };
                }
            }
            Step::Apply(number) => {
                if let Some(write) = &mut writes[number]
                    && let Outcome::Committed(version) = write.outcome
                {
                    rule.apply(&write.mark, version);
                    write.outcome = Outcome::Applied(version);
                }
            }
            Step::Return(number) => {
                let is_over =
                    |write: &mut Write<R>| matches!(write.outcome, Outcome::Applied(_) | Outcome::Nothing);
                if let Some(write) = writes[number].take_if(is_over) {
                    rule.unmark(write.mark);
                    if let Outcome::Applied(version) = write.outcome {
                        promised = promised.max(version);
                    }
                }
            }
            Step::Lose => {
                if is_held {
                    is_held = false;
                    rule.empty();
                }
            }
            Step::WriteElsewhere => {
                if !is_held {
                    stored += 1;
                    promised = stored;
                }
            }
            Step::GoBack => {
                let is_under_way =
                    |write: &Write<R>| matches!(write.outcome, Outcome::Committed(_) | Outcome::Applied(_));
                if !is_held && stored > 1 && !writes.iter().flatten().any(is_under_way) {
                    lost = lost.max(stored);
                    stored -= 1;
                    promised = stored;
                    for load in loads.iter_mut().flatten() {
                        load.floor = load.floor.min(stored);
                    }
                }
            }
            Step::Regain => {
                if !is_held {
                    rule.empty();
                    (is_held, lost) = (true, 0);
                }
            }
            Step::Evict(key) => rule.evict(key),
            Step::Verify(key) => {
                is_broken = is_held
                    && rule
                        .look(key)
                        .is_some_and(|answer| answer != standing(stored).state);
            }
        }
        if is_broken {
            return Some(at);
        }
    }
    None
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (load, write, key) = (0..4_usize, 0..2_usize, 0..2_usize);
    let step = prop_oneof![
        4 => load.clone().prop_map(Step::BeginLoad),
        4 => load.clone().prop_map(Step::Read),
        4 => load.prop_map(Step::FinishLoad),
        2 => write.clone().prop_map(Step::Mark),
        3 => write.clone().prop_map(Step::Commit),
        3 => write.clone().prop_map(Step::Apply),
        3 => write.prop_map(Step::Return),
        1 => Just(Step::Lose),
        1 => Just(Step::WriteElsewhere),
        1 => Just(Step::GoBack),
        2 => Just(Step::Regain),
        1 => key.clone().prop_map(Step::Evict),
        5 => key.prop_map(Step::Verify),
    ];
    prop::collection::vec(step, 0..100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_knows_an_older_state_than_a_write_that_returned_before_it(steps in steps()) {
        prop_assert_eq!(first_violation(Real(VerificationCache::new(1)), &steps), None);
        prop_assert_eq!(first_violation(Small::new(Flaw::None), &steps), None);
    }
}

#[test]
fn broken_rules_break_the_property() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = steps();
    for flaw in [
        Flaw::Copies,
        Flaw::NoMarks,
        Flaw::AnyFill,
        Flaw::CellsGo,
        Flaw::OldLoads,
    ] {
        let found = (0..20_000).any(|_| {
            let steps = steps.new_tree(&mut runner).unwrap().current();
            first_violation(Small::new(flaw), &steps).is_some()
        });
        assert!(found, "{flaw:?} is not noticed");
    }
}

/// What was known when the right was lost is not what there is when it is had again, be it older or newer.
#[test]
fn what_was_known_before_a_failover_is_forgotten() {
    let load = [Step::BeginLoad(0), Step::Read(0), Step::FinishLoad(0)];
    let steps: Vec<Step> = [Step::Lose, Step::WriteElsewhere]
        .into_iter()
        .chain(load)
        .chain([Step::GoBack, Step::Regain])
        .chain(load)
        .chain([Step::Verify(0)])
        .collect();
    assert_eq!(first_violation(Real(VerificationCache::new(1)), &steps), None);
    assert!(first_violation(Small::new(Flaw::StaysWhenEmptied), &steps).is_some());
}
