//! The cache's rule, driven step by step, and beside it broken variants of the rule that must fail the same property.

use std::sync::Arc;

use keyward_core::access::Access;
use keyward_core::condition::{AddressRule, Conditions};
use keyward_core::decision::OrganizationState;
use keyward_core::ids::KeyId;
use keyward_core::key_digest::KeyDigest;
use keyward_core::record::KeyRecord;
use keyward_core::state::{DeleteReason, KeyState, PauseReason, SecretLife};
use keyward_core::time::Timestamp;
use keyward_engine::cache::{
    BYTES_PER_PLAIN_KEY, CachedKey, CachedSecret, Filled, LoadTicket, Look, VerificationCache, WriteMark,
};
use keyward_engine::organization_cell::OrganizationStanding;
use keyward_testkit::clock::START;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

/// How the organization of every key of these tests stands.
const OPEN: OrganizationStanding = OrganizationStanding {
    version: 1,
    state: OrganizationState::Open,
};

pub(crate) fn id() -> KeyId {
    "0123456789abcdef".parse().unwrap()
}

fn key(id: KeyId, version: i64, state: KeyState) -> Arc<CachedKey> {
    let record = KeyRecord {
        id,
        organization_id: "org-1".parse().unwrap(),
        version,
        state,
        access: Access::UNNARROWED,
        conditions: Conditions::NONE,
    };
    let secret = CachedSecret::new(1, SecretLife::Current, digest().into());
    Arc::new(CachedKey::new(record, OPEN, vec![secret], false))
}

/// Of the one secret that every key of these tests has.
fn digest() -> KeyDigest {
    KeyDigest::of("the secret of a test")
}

/// Whether the shortcut for plain keys answers.
fn is_plainly_here(cache: &VerificationCache) -> bool {
    cache.look_plain(id(), &digest(), |_| ()).is_some()
}

pub(crate) fn alive(version: i64) -> Arc<CachedKey> {
    key(id(), version, KeyState::Active)
}

pub(crate) fn ended(version: i64) -> Arc<CachedKey> {
    key(
        id(),
        version,
        KeyState::Deleted {
            reason: DeleteReason::Removed,
            at: START,
        },
    )
}

fn state(cache: &VerificationCache) -> Option<bool> {
    match cache.look(id(), |key, _| !key.record.state.is_deleted()) {
        Look::Here(is_alive) => Some(is_alive),
        Look::ReadThrough => None,
    }
}

fn used(filled: Filled) -> Option<bool> {
    match filled {
        Filled::Use(key, _) => Some(!key.record.state.is_deleted()),
        Filled::Stale => None,
    }
}

#[test]
fn a_load_that_read_before_the_deletion_and_ends_after_it_changes_nothing() {
    for evicts in [Evicts::Not, Evicts::TheEnd] {
        let cache = VerificationCache::new(100);
        let load = cache.begin_load(id());
        let read = alive(1);
        let mark = cache.mark(id());
        assert_eq!(state(&cache), None, "read through while it is written");
        cache.apply(ended(2));
        cache.unmark(mark);
        if evicts == Evicts::TheEnd {
            cache.forget(id());
        }
        assert_ne!(used(cache.finish_load(load, read)), Some(true));
        assert_ne!(state(&cache), Some(true));
        // What begins afterwards reads what was committed.
        let load = cache.begin_load(id());
        assert_eq!(used(cache.finish_load(load, ended(2))), Some(false));
        assert_eq!(state(&cache), Some(false));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Evicts {
    Not,
    TheEnd,
}

#[test]
fn a_fill_is_kept_out_while_the_key_is_marked() {
    let cache = VerificationCache::new(100);
    let mark = cache.mark(id());
    let load = cache.begin_load(id());
    assert_eq!(
        used(cache.finish_load(load, alive(1))),
        Some(true),
        "good for those who began before"
    );
    cache.unmark(mark);
    assert_eq!(state(&cache), None, "and for nobody after");
}

#[test]
fn two_marks_are_taken_off_one_by_one() {
    let cache = VerificationCache::new(100);
    cache.apply(alive(1));
    let (one, two) = (cache.mark(id()), cache.mark(id()));
    cache.unmark(one);
    assert_eq!(state(&cache), None);
    cache.unmark(two);
    assert_eq!(state(&cache), Some(true));
}

#[test]
fn a_write_that_applies_late_does_not_undo_a_later_one() {
    let cache = VerificationCache::new(100);
    let resuming = cache.mark(id());
    let deleting = cache.mark(id());
    cache.apply(ended(3));
    cache.unmark(deleting);
    cache.forget(id());
    cache.apply(alive(2));
    cache.unmark(resuming);
    assert_ne!(state(&cache), Some(true));
}

#[test]
fn an_end_wins_over_any_version() {
    let cache = VerificationCache::new(100);
    cache.apply(alive(9));
    let load = cache.begin_load(id());
    cache.apply(ended(2));
    assert_eq!(state(&cache), Some(false));
    cache.apply(alive(10));
    assert_eq!(state(&cache), Some(false));
    cache.forget(id());
    assert_eq!(used(cache.finish_load(load, alive(9))), None);
}

#[test]
fn what_was_read_before_the_cache_was_emptied_is_not_kept() {
    let cache = VerificationCache::new(100);
    let load = cache.begin_load(id());
    cache.clear();
    assert_eq!(used(cache.finish_load(load, alive(1))), Some(true));
    assert_eq!(state(&cache), None);
}

#[test]
fn what_was_written_before_the_cache_was_emptied_is_not_kept() {
    let cache = VerificationCache::new(100);
    let mark = cache.mark(id());
    cache.clear();
    cache.apply(alive(2));
    cache.unmark(mark);
    assert_eq!(state(&cache), None);
}

#[test]
fn changes_are_forgotten_when_no_load_needs_them() {
    let cache = VerificationCache::new(1);
    let load = cache.begin_load(id());
    for version in 0..1_000 {
        cache.apply(alive(version));
    }
    cache.abandon_load(load);
    // The one load that could have missed the change is over, so an older record may come in again.
    cache.forget(id());
    let load = cache.begin_load(id());
    assert_eq!(used(cache.finish_load(load, alive(1))), Some(true));
}

/// Keys of every shape, which take very different amounts of memory.
fn of_some_shape(number: u32) -> Arc<CachedKey> {
    let id: KeyId = format!("{number:016}").parse().unwrap();
    let plain = key(id, 1, KeyState::Active);
    let networks = match number % 5 {
        3 => 1,
        4 => 100,
        _ => return plain,
    };
    let mut record = plain.record.clone();
    record.conditions.addresses = AddressRule::Only(vec!["10.0.0.0/8".parse().unwrap(); networks]);
    let secret = CachedSecret::new(1, SecretLife::Current, digest().into());
    Arc::new(CachedKey::new(record, OPEN, vec![secret], false))
}

#[test]
fn the_cache_stays_within_its_bytes() {
    let bytes = 2_000_000;
    let cache = VerificationCache::new(bytes);
    for number in 0..20_000_u32 {
        let key = of_some_shape(number);
        let id = key.record.id;
        cache.apply(key);
        cache.look(id, |_, _| ());
        if number % 7 == 0 {
            cache.forget(id);
        }
        assert!(cache.bytes() <= bytes, "{} bytes", cache.bytes());
    }
    assert!(cache.bytes() > bytes / 10 * 6, "{} bytes", cache.bytes());
    cache.clear();
    assert!(cache.is_empty() && cache.bytes() == 0);
}

#[test]
fn as_many_plain_keys_stay_as_the_bytes_are_for() {
    let keys = 50_000;
    let cache = VerificationCache::new(keys * BYTES_PER_PLAIN_KEY);
    const { assert!(BYTES_PER_PLAIN_KEY < 200) };
    for number in 0..2 * keys {
        let id: KeyId = format!("{number:016}").parse().unwrap();
        cache.apply(key(id, 1, KeyState::Active));
    }
    assert!((keys / 10 * 9..=keys).contains(&cache.len()), "{}", cache.len());
}

#[test]
fn no_size_takes_more_memory_than_is_counted() {
    let cache = VerificationCache::new(usize::MAX);
    for number in 0..200_000 {
        let id: KeyId = format!("{number:016}").parse().unwrap();
        cache.apply(key(id, 1, KeyState::Active));
        // Below that the smallest tables decide, which are a quarter of a megabyte in all.
        if number > 20_000 && number % 500 == 0 {
            let (has, counted) = (cache.allocated_bytes(), cache.bytes());
            assert!(
                has <= counted + 300_000,
                "{number} keys have {has} bytes, and count for {counted}"
            );
        }
    }
    println!("{} bytes a key", cache.allocated_bytes() / cache.len());
}

#[test]
fn a_key_reads_the_same_however_it_is_held() {
    let at_an_odd_moment = Conditions {
        expires_at: Some(Timestamp::from_unix_ms(START.as_unix_ms() + 86_400_123)),
        ..Conditions::NONE
    };
    let held = |version: i64, number: i64, conditions: &Conditions, has_ended: bool| {
        let record = KeyRecord {
            version,
            conditions: conditions.clone(),
            ..alive(1).record.clone()
        };
        let secret = CachedSecret::new(number, SecretLife::Current, digest().into());
        let cache = VerificationCache::new(100);
        cache.apply(Arc::new(CachedKey::new(
            record.clone(),
            OPEN,
            vec![secret],
            has_ended,
        )));
        let read = cache.look(id(), |key, state| {
            assert_eq!(
                (&key.record, key.has_ended_secrets, state),
                (&record, has_ended, OPEN.state)
            );
            assert_eq!(
                key.matching_secret(&digest()).map(|secret| secret.number),
                Some(number)
            );
            assert_eq!(key.secrets.len(), 1);
        });
        assert!(matches!(read, Look::Here(())));
        is_plainly_here(&cache)
    };
    let (most, largest) = (i64::from(u32::MAX), i64::from(u16::MAX));
    for conditions in [&Conditions::NONE, &at_an_odd_moment] {
        for has_ended in [false, true] {
            assert!(held(1, 1, conditions, has_ended));
            assert!(held(most, largest, conditions, has_ended));
            assert!(!held(most + 1, 1, conditions, has_ended));
            assert!(!held(1, largest + 1, conditions, has_ended));
        }
    }
}

#[test]
fn a_key_that_changes_its_form_is_here_once() {
    let cache = VerificationCache::new(1_000_000);
    let paused = || {
        key(
            id(),
            2,
            KeyState::Paused {
                reason: PauseReason::Requested,
            },
        )
    };
    for round in 0..3 {
        cache.apply(key(id(), 1 + round * 2, KeyState::Active));
        assert!(is_plainly_here(&cache) && cache.len() == 1);
        let mut stopped = Arc::into_inner(paused()).unwrap();
        stopped.record.version = 2 + round * 2;
        cache.apply(Arc::new(stopped));
        assert!(!is_plainly_here(&cache) && cache.len() == 1);
    }
    cache.forget(id());
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
}

/// One step of an interleaving; loads and writers are numbered.
#[derive(Debug, Clone, Copy)]
enum Step {
    BeginLoad(usize),
    Read(usize),
    FinishLoad(usize),
    Mark(usize, Change),
    Commit(usize),
    Apply(usize),
    Return(usize),
    Evict,
    Empty,
    Verify,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Delete,
    Pause,
    Resume,
}

/// What a cache must be able to do, so that the same interleavings run on the real one and on broken ones.
trait Rule {
    type Load;
    type Mark;
    fn begin_load(&mut self) -> Self::Load;
    fn finish_load(&mut self, load: Self::Load, read: Record) -> Option<Record>;
    fn mark(&mut self) -> Self::Mark;
    fn apply(&mut self, record: Record);
    fn unmark(&mut self, mark: Self::Mark);
    fn evict(&mut self);
    fn empty(&mut self);
    fn look(&mut self) -> Option<Record>;
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Record {
    version: i64,
    state: KeyState,
}

struct Real(VerificationCache);

impl Real {
    fn key(record: Record) -> Arc<CachedKey> {
        key(id(), record.version, record.state)
    }

    fn record(key: &CachedKey) -> Record {
        Record {
            version: key.record.version,
            state: key.record.state,
        }
    }
}

impl Rule for Real {
    type Load = LoadTicket;
    type Mark = WriteMark;
    fn begin_load(&mut self) -> LoadTicket {
        self.0.begin_load(id())
    }
    fn finish_load(&mut self, load: LoadTicket, read: Record) -> Option<Record> {
        match self.0.finish_load(load, Self::key(read)) {
            Filled::Use(key, _) => Some(Self::record(&key)),
            Filled::Stale => None,
        }
    }
    fn mark(&mut self) -> WriteMark {
        self.0.mark(id())
    }
    fn apply(&mut self, record: Record) {
        self.0.apply(Self::key(record));
    }
    fn unmark(&mut self, mark: WriteMark) {
        self.0.unmark(mark);
    }
    fn evict(&mut self) {
        self.0.forget(id());
    }
    fn empty(&mut self) {
        self.0.clear();
    }
    fn look(&mut self) -> Option<Record> {
        let found = match self.0.look(id(), |key, _| Self::record(key)) {
            Look::Here(record) => Some(record),
            Look::ReadThrough => None,
        };
        // The shortcut knows what the long way knows, no more and no less.
        let is_active = found.is_some_and(|record| record.state == KeyState::Active);
        assert_eq!(is_plainly_here(&self.0), is_active);
        found
    }
}

/// Ways of getting the rule wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    /// Nothing is marked while it is written.
    NoMarks,
    /// Changes are not remembered while loads run.
    NoMemory,
    /// Any fill is taken, older or not.
    AnyFill,
    /// A fill wins over what is there at the same version.
    TieToTheFill,
    /// What is known is ordered by the numbers of the changes, of which a fill has the last one that was heard of.
    OrderedByChange,
}

/// A small cache of one key with one flaw.
struct Broken {
    flaw: Flaw,
    entry: Option<Record>,
    marks: usize,
    running: usize,
    recent: Option<Record>,
    /// The last change that was heard of, and the numbers of what is known.
    heard: u64,
    entry_number: u64,
    recent_number: u64,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            entry: None,
            marks: 0,
            running: 0,
            recent: None,
            heard: 0,
            entry_number: 0,
            recent_number: 0,
        }
    }

    fn end(&mut self) {
        self.running -= 1;
        if self.running == 0 {
            self.recent = None;
        }
    }
}

impl Rule for Broken {
    type Load = ();
    type Mark = ();
    fn begin_load(&mut self) {
        self.running += 1;
    }
    fn finish_load(&mut self, (): (), read: Record) -> Option<Record> {
        self.end();
        let is_older = |known: Option<Record>, number: u64| {
            known.is_some_and(|known| match self.flaw {
                Flaw::AnyFill => false,
                Flaw::OrderedByChange => number > self.heard,
                Flaw::TieToTheFill => known.version > read.version,
                _ => known.version > read.version || (known.state.is_deleted() && !read.state.is_deleted()),
            })
        };
        match self.entry {
            here if is_older(here, self.entry_number) => here,
            _ if is_older(self.recent, self.recent_number) => None,
            _ if self.marks > 0 => Some(read),
            _ => {
                self.entry = Some(read);
                self.entry_number = self.heard;
                self.entry
            }
        }
    }
    fn mark(&mut self) {
        self.running += 1;
        if self.flaw != Flaw::NoMarks {
            self.marks += 1;
        }
    }
    fn apply(&mut self, record: Record) {
        self.heard += 1;
        (self.entry_number, self.recent_number) = (self.heard, self.heard);
        if self.flaw != Flaw::NoMemory && self.recent.is_none_or(|recent| recent.version < record.version) {
            self.recent = Some(record);
        }
        if self.entry.is_none_or(|here| here.version <= record.version) {
            self.entry = Some(record);
        }
    }
    fn unmark(&mut self, (): ()) {
        self.end();
        if self.flaw != Flaw::NoMarks {
            self.marks -= 1;
        }
    }
    fn evict(&mut self) {
        self.entry = None;
    }
    fn empty(&mut self) {
        self.entry = None;
    }
    fn look(&mut self) -> Option<Record> {
        if self.marks > 0 { None } else { self.entry }
    }
}

struct Load<R: Rule> {
    ticket: R::Load,
    read: Option<Record>,
    /// The promises that had been given when it began.
    floor: i64,
}

struct Write<R: Rule> {
    mark: Option<R::Mark>,
    change: Change,
    committed: Option<Record>,
    is_applied: bool,
}

/// Runs an interleaving. The property: no load answers with a record older than a write that had returned when the load
/// began, and memory answers with none older than what is committed. Gives the first step that breaks it.
fn first_violation<R: Rule>(mut rule: R, steps: &[Step]) -> Option<usize> {
    let mut stored = Record {
        version: 1,
        state: KeyState::Active,
    };
    let mut promised = 1;
    let mut loads: [Option<Load<R>>; 3] = [const { None }; 3];
    let mut writes: [Option<Write<R>>; 3] = [const { None }; 3];
    for (at, step) in steps.iter().enumerate() {
        let is_broken = match *step {
            Step::BeginLoad(number) => {
                if loads[number].is_none() {
                    loads[number] = Some(Load {
                        ticket: rule.begin_load(),
                        read: None,
                        floor: promised,
                    });
                }
                false
            }
            Step::Read(number) => {
                if let Some(load) = &mut loads[number]
                    && load.read.is_none()
                {
                    load.read = Some(stored);
                }
                false
            }
            Step::FinishLoad(number) => match loads[number].take() {
                Some(Load {
                    ticket,
                    read: Some(read),
                    floor,
                }) => rule
                    .finish_load(ticket, read)
                    .is_some_and(|answer| answer.version < floor),
                unread => {
                    loads[number] = unread;
                    false
                }
            },
            Step::Mark(number, change) => {
                if writes[number].is_none() {
                    let mark = Some(rule.mark());
                    writes[number] = Some(Write {
                        mark,
                        change,
                        committed: None,
                        is_applied: false,
                    });
                }
                false
            }
            Step::Commit(number) => {
                if let Some(write) = &mut writes[number]
                    && write.committed.is_none()
                {
                    if !stored.state.is_deleted() {
                        let state = match write.change {
                            Change::Delete => KeyState::Deleted {
                                reason: DeleteReason::Removed,
                                at: START,
                            },
                            Change::Pause => KeyState::Paused {
                                reason: keyward_core::state::PauseReason::Requested,
                            },
                            Change::Resume => KeyState::Active,
                        };
                        stored = Record {
                            version: stored.version + 1,
                            state,
                        };
                    }
                    write.committed = Some(stored);
                }
                false
            }
            Step::Apply(number) => {
                if let Some(write) = &mut writes[number]
                    && let Some(committed) = write.committed
                {
                    rule.apply(committed);
                    write.is_applied = true;
                }
                false
            }
            Step::Return(number) => {
                if let Some(Write {
                    mark: Some(mark),
                    committed: Some(record),
                    ..
                }) = writes[number].take_if(|write| write.is_applied)
                {
                    rule.unmark(mark);
                    promised = promised.max(record.version);
                }
                false
            }
            Step::Evict => {
                rule.evict();
                false
            }
            Step::Empty => {
                rule.empty();
                false
            }
            // Memory answers with nothing older than what is committed, returned or not: that is what marks are for.
            Step::Verify => rule.look().is_some_and(|answer| answer.version < stored.version),
        };
        if is_broken {
            return Some(at);
        }
    }
    None
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0..3_usize;
    let change = prop_oneof![Just(Change::Delete), Just(Change::Pause), Just(Change::Resume)];
    let step = prop_oneof![
        3 => number.clone().prop_map(Step::BeginLoad),
        3 => number.clone().prop_map(Step::Read),
        3 => number.clone().prop_map(Step::FinishLoad),
        2 => (number.clone(), change).prop_map(|(number, change)| Step::Mark(number, change)),
        3 => number.clone().prop_map(Step::Commit),
        3 => number.clone().prop_map(Step::Apply),
        3 => number.prop_map(Step::Return),
        1 => Just(Step::Evict),
        1 => Just(Step::Empty),
        4 => Just(Step::Verify),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_older_than_a_write_that_returned_before_it(steps in steps()) {
        prop_assert_eq!(first_violation(Real(VerificationCache::new(1)), &steps), None);
    }
}

#[test]
fn broken_rules_break_the_property() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = steps();
    for flaw in [
        Flaw::NoMarks,
        Flaw::NoMemory,
        Flaw::AnyFill,
        Flaw::OrderedByChange,
    ] {
        let found = (0..20_000).any(|_| {
            let steps = steps.new_tree(&mut runner).unwrap().current();
            first_violation(Broken::new(flaw), &steps).is_some()
        });
        assert!(found, "{flaw:?} is not noticed");
    }
}

/// A repeated deletion puts its tombstone down at the version that is there already, while a load is on its way.
fn is_revived_at_the_same_version<R: Rule>(mut rule: R) -> bool {
    let tombstone = Record {
        version: 2,
        state: KeyState::Deleted {
            reason: DeleteReason::Removed,
            at: START,
        },
    };
    let load = rule.begin_load();
    rule.apply(tombstone);
    rule.finish_load(
        load,
        Record {
            version: 2,
            state: KeyState::Active,
        },
    );
    rule.look().is_some_and(|answer| answer.state == KeyState::Active)
}

#[test]
fn the_shortcut_is_for_the_whole_secret_of_a_plain_key() {
    let cache = VerificationCache::new(100);
    cache.apply(alive(1));
    assert!(is_plainly_here(&cache));
    assert!(
        cache
            .look_plain(id(), &KeyDigest::of("another"), |_| ())
            .is_none()
    );
    let ended_in_overlap = |life, others: usize| {
        let alive = alive(2);
        let secret = |number| CachedSecret::new(number, life, digest().into());
        let secrets = (0..=others).map(|number| secret(number as i64)).collect();
        let key = CachedKey::new(alive.record.clone(), OPEN, secrets, false);
        let cache = VerificationCache::new(100);
        cache.apply(Arc::new(key));
        is_plainly_here(&cache)
    };
    assert!(ended_in_overlap(SecretLife::Current, 0));
    assert!(!ended_in_overlap(SecretLife::Current, 1));
    assert!(!ended_in_overlap(SecretLife::Until(START), 0));
    assert!(!ended_in_overlap(SecretLife::Ended, 0));
    let none = VerificationCache::new(100);
    let record = alive(1).record.clone();
    none.apply(Arc::new(CachedKey::new(record, OPEN, Vec::new(), false)));
    assert!(!is_plainly_here(&none));
}

#[test]
fn a_tombstone_wins_a_tie() {
    assert!(!is_revived_at_the_same_version(Real(VerificationCache::new(1))));
    assert!(is_revived_at_the_same_version(Broken::new(Flaw::TieToTheFill)));
}
