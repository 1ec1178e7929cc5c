//! What is measured: the real engine on a SQLite file, with every key of a corpus in its cache; and the baseline.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use keyward_core::address::CallerAddress;
use keyward_core::credentials;
use keyward_core::decision::{OrganizationClaim, OrganizationState, Purpose};
use keyward_core::ids::KeyId;
use keyward_core::key_digest::KeyDigest;
use keyward_core::keyring::Keyring;
use keyward_core::refusal::Refusal;
use keyward_core::state::SecretLife;
use keyward_core::time::Timestamp;
use keyward_core::usage::ClientName;
use keyward_engine::cache::{BYTES_PER_PLAIN_KEY, CachedKey, CachedSecret};
use keyward_engine::clock::Clock;
use keyward_engine::organization_cell::OrganizationStanding;
use keyward_engine::usage_notes::Counting;
use keyward_engine::verify::{Accepted, VerifyQuestion};
use keyward_engine::{Engine, EngineOptions};
use keyward_store::{Database, Store};
use keyward_testkit::seed;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::bare::{BareMap, BareRecord};
use crate::corpus::Corpus;

/// Bytes for the keys of a small corpus, wherever they fall.
const LEAST_ROOM: usize = 16 << 20;
/// How every organization of the corpus stands.
const ORGANIZATION: OrganizationStanding = OrganizationStanding {
    version: 1,
    state: OrganizationState::Open,
};

/// The engine under measurement, and what has to live as long.
pub struct Subject {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    store: Store,
    /// Of the database, if it is this one's own.
    _folder: Option<tempfile::TempDir>,
}

impl Subject {
    /// Starts an engine whose cache has room for `keys`, with counters that count.
    pub fn start(keyring: Keyring, keys: usize, counting: Counting) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let database = Database::Sqlite(folder.path().join("bench.db"));
        // A quarter more: the cache divides its room evenly, and keys do not fall evenly, least of all few.
        let cache_bytes = ((keys + keys / 4) * BYTES_PER_PLAIN_KEY).max(LEAST_ROOM);
        let mut subject = Self::on(&database, keyring, cache_bytes, counting);
        subject._folder = Some(folder);
        subject
    }

    /// Starts an engine on a database, with so many bytes for its cache.
    pub fn on(database: &Database, keyring: Keyring, cache_bytes: usize, counting: Counting) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        // A second engine of the same process counts into the recorder of the first.
        drop(metrics::set_global_recorder(recorder));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be started");
        let (engine, store) = runtime.block_on(async {
            let store = Store::open(database).await.expect("the database can be opened");
            store.migrate().await.expect("the database can be migrated");
            let options = EngineOptions {
                store: store.clone(),
                keyring,
                clock: Arc::new(SystemClock(std::time::Instant::now())),
                cache_bytes,
                counting,
                node_name: "bench".to_owned(),
                rate_limits: keyward_engine::RateLimits::Node,
            };
            (Engine::start(options).await.expect("the engine starts"), store)
        });
        Self {
            engine,
            runtime,
            store,
            _folder: None,
        }
    }

    /// Puts every key of the corpus into the cache, as a load would, without one.
    pub fn fill(&self, corpus: &Corpus) {
        for (at, id) in corpus.shuffled() {
            let digest = KeyDigest::of(corpus.text(at)).into();
            let secret = CachedSecret::new(1, SecretLife::Current, digest);
            let record = seed::record(id, at);
            let key = CachedKey::new(record, ORGANIZATION, vec![secret], false);
            self.engine.cache().apply(Arc::new(key));
        }
        assert_eq!(
            self.engine.cache().len(),
            corpus.len(),
            "every key is in the cache"
        );
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Writes down what was counted, as the background task does every second; that is not what a verify costs.
    pub fn flush(&self) {
        let flushed = self.runtime.block_on(self.engine.flush_uses());
        flushed.expect("uses can be written");
    }

    /// What a service does with a request's header: reads it, verifies, copies out what it answers with.
    ///
    /// # Errors
    /// The refusal.
    pub fn verify(&self, header: &[u8], purpose: Purpose<'_>) -> Result<BareRecord, Refusal> {
        let credentials = credentials::read([header], [], None, self.engine.prefix())?;
        self.engine.prefetch(credentials.key.id());
        let question = VerifyQuestion {
            credentials,
            claim: OrganizationClaim::NotAsked,
            purpose,
            address: CallerAddress::Unknown,
            client: ClientName::NONE,
        };
        ready(self.engine.verify(&question, answer))
    }

    /// Verifies a key that is accepted, from memory or from the database; whether it was from memory.
    pub fn verify_wherever(&self, header: &[u8]) -> bool {
        let credentials = credentials::read([header], [], None, self.engine.prefix()).expect("it is a key");
        let question = VerifyQuestion {
            credentials,
            claim: OrganizationClaim::NotAsked,
            purpose: Purpose::Identify,
            address: CallerAddress::Unknown,
            client: ClientName::NONE,
        };
        let mut verify = std::pin::pin!(self.engine.verify(&question, answer));
        let _context = self.runtime.enter();
        if let Poll::Ready(accepted) = verify.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            accepted.expect("a seeded key is accepted");
            return true;
        }
        self.runtime.block_on(verify).expect("a seeded key is accepted");
        false
    }

    /// Reads what a verify reads of a key from the database, and does nothing with it.
    pub fn read_row(&self, id: KeyId) {
        let read = self.runtime.block_on(self.store.load_live_key(id));
        assert!(
            read.expect("the row can be read").is_some(),
            "a seeded key is there"
        );
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.runtime.block_on(self.engine.shut_down());
    }
}

/// The same values that the baseline copies out of its record.
fn answer(key: Accepted<'_>) -> BareRecord {
    let organization = key.organization_id.as_str().as_bytes();
    BareRecord {
        key_id: *key.key_id.as_bytes(),
        // The text itself is read, as whoever names the organization in an answer does.
        organization: organization
            .last_chunk::<4>()
            .map_or(0, |last| u32::from_le_bytes(*last)),
        scopes: key.scopes.bits(),
        level: key.level as u8,
        secret_number: 1,
    }
}

/// The baseline with every key of the corpus.
pub fn bare_of<S: std::hash::BuildHasher + Default>(corpus: &Corpus) -> BareMap<S> {
    let map = BareMap::with_capacity(corpus.len());
    for (at, id) in corpus.shuffled() {
        let record = seed::record(id, at);
        let bare = BareRecord {
            key_id: *id.as_bytes(),
            organization: u32::try_from(at % seed::ORGANIZATIONS).unwrap_or_default(),
            scopes: record.access.scopes().bits(),
            level: record.access.permission().level() as u8,
            secret_number: 1,
        };
        map.insert(corpus.text(at).as_bytes(), bare);
    }
    map
}

/// The value of a future that is ready at once: what a verify from memory is, whose one poll is all there is to pay.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable_wait(),
    }
}

#[cold]
#[expect(clippy::panic, reason = "the measurement would be of something else")]
fn unreachable_wait() -> ! {
    panic!("a verify from memory waited")
}

/// A keyring for one run.
pub fn keyring() -> Keyring {
    Keyring::generate(&mut seed::SystemRandom, seed::CREATED_AT).expect("the random source works")
}

/// The same keyring once more.
pub fn same_keyring(keyring: &Keyring) -> Keyring {
    Keyring::from_text(&keyring.to_text()).expect("a keyring reads back")
}

/// The system's clock, as the server hands it in.
struct SystemClock(std::time::Instant);

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock that a server reads is part of what a verify costs"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn since_boot(&self) -> std::time::Duration {
        self.0.elapsed()
    }

    fn is_real(&self) -> bool {
        true
    }
}
