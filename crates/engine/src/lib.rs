//! Keyward's use cases. One file per verb; each writes in one transaction or not at all.
//!
//! The engine is the only place that writes keys, and every such write is change + audit entry + outbox event +
//! change-feed row together, in a task that a dropped request can't cancel. It knows no HTTP, prints nothing, and reads
//! neither a file nor an environment variable: the server hands everything in.

pub mod accept_invitation;
pub mod advise_key;
mod after_use;
mod bucket;
pub mod bulk;
pub mod cache;
mod cache_entry;
mod cache_shard;
mod cached_key;
mod caller_network;
pub mod change_role;
mod changes;
pub mod check_audit;
pub mod checkpoint_audit;
pub mod clock;
pub mod confirmations;
pub mod context;
pub mod costly;
pub mod create_key;
pub mod create_organization;
pub mod create_token;
pub mod datasets;
pub mod delete_key;
pub mod delete_organization;
pub mod delete_token;
pub mod deliver;
pub mod describe_keys;
pub mod edit_key;
pub mod edit_organization;
pub mod edit_settings;
pub mod erase_personal;
mod error;
pub mod explain_key;
pub mod export_audit;
mod forget_usage;
pub mod invitations;
mod key_write;
mod keys_write;
pub mod last_use;
pub mod later_deletions;
pub mod list_keys;
mod loads;
pub mod lock_organization;
pub mod look_up_keys;
pub mod metrics;
pub mod node_keeper;
mod node_metrics;
mod node_time;
mod node_work;
pub mod nodes;
pub mod notices;
pub mod once;
pub mod organization_cell;
mod organization_write;
mod passphrase_hashing;
pub mod passphrases;
pub mod permit;
mod person_write;
mod policy;
pub mod purge_organization;
mod rates;
pub mod refused_sign_ins;
pub mod remove_member;
pub mod replace_key;
pub mod replay_deletions;
pub mod restore;
pub mod resume_key;
pub mod right;
pub mod rotate_key;
pub mod rotate_keyring;
mod sealing;
pub mod second_factor;
pub mod sessions;
mod shared_rates;
pub mod show_invitation;
pub mod show_keys;
pub mod show_organizations;
pub mod show_overview;
pub mod show_people;
pub mod show_tokens;
pub mod show_usage;
pub mod sign_in;
pub mod sign_in_links;
mod sign_in_throttle;
pub mod sign_ins;
mod standing;
pub mod stop_keys;
pub mod stop_organization;
pub mod tell_usage;
pub mod tend_keys;
pub mod usage;
mod usage_counts;
pub mod usage_notes;
pub mod verify;
pub mod verify_token;

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use keyward_core::audit::{Detail as AuditDetail, Event, NO_ORGANIZATION};
use keyward_core::key_text::Prefix;
use keyward_core::keyring::Keyring;
use keyward_core::record::Actor;
use keyward_core::time::Timestamp;
use keyward_store::audit::BEGIN_DATABASE;
use keyward_store::node_lease::NewNode;
use keyward_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::EngineError;

use crate::cache::VerificationCache;
use crate::checkpoint_audit::CheckpointSink;
use crate::clock::SharedClock;
use crate::confirmations::SharedLook;
use crate::costly::CostlyDeeds;
use crate::deliver::Deliveries;
use crate::loads::Loads;
use crate::metrics::Metrics;
use crate::node_time::{MAX_OFFSET_MS, NodeTime};
use crate::once::RunningAttempts;
use crate::passphrase_hashing::PassphraseHashing;
use crate::rates::Rates;
use crate::refused_sign_ins::RefusedSignIns;
use crate::right::Right;
use crate::sealing::SharedKeyring;
use crate::sessions::TouchedSessions;
use crate::shared_rates::SharedRates;
use crate::sign_in_throttle::SignInThrottle;
use crate::sign_ins::SignIns;
use crate::usage::Writing;
use crate::usage_notes::{Counting, Notes};
use crate::verify_token::NotedUses;

/// The setting that names the keyring a database belongs to.
const KEYRING_ID: &str = "keyring.id";
/// The setting that proves a keyring to be the one.
const KEYRING_CHECK: &str = "keyring.check";
/// The setting that holds the key prefix, chosen at the first start.
const KEY_PREFIX: &str = "key.prefix";

/// What an engine is made of.
pub struct EngineOptions {
    /// The open and migrated database.
    pub store: Store,
    /// The keyring.
    pub keyring: Keyring,
    /// The clock.
    pub clock: SharedClock,
    /// How many bytes of memory the cache takes at most, about.
    pub cache_bytes: usize,
    /// Whether uses of keys are counted.
    pub counting: Counting,
    /// What this process is called among the nodes that serve a database together.
    pub node_name: String,
    /// Over what rate limits hold.
    pub rate_limits: RateLimits,
}

/// Over what the rate limits of keys hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum RateLimits {
    /// Each node has its own bucket of every key.
    #[default]
    Node,
    /// All nodes spend from one bucket of a key. A process alone does so anyway.
    Cluster,
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    keyring: SharedKeyring,
    /// Held for reading while something is sealed and committed; a rotation of the keyring takes it for writing, so
    /// that nothing sealed under an old version can commit unseen.
    sealing: tokio::sync::RwLock<()>,
    /// Held while the keyring is rotated.
    rotating: tokio::sync::Mutex<()>,
    /// Held while organizations are purged.
    purging: tokio::sync::Mutex<()>,
    time: Arc<NodeTime>,
    /// This process among the nodes that serve the database together; `None` where it is the only one there can be.
    node: Option<NewNode>,
    node_name: String,
    look: SharedLook,
    prefix: Prefix,
    cache: Arc<VerificationCache>,
    loads: Loads,
    right: Arc<Right>,
    notes: Notes,
    writing: Writing,
    rates: Rates,
    /// Where limits hold over all nodes.
    shared_rates: Option<SharedRates>,
    /// Turns of the resource API's writes.
    resource_writes: tokio::sync::Semaphore,
    running_attempts: RunningAttempts,
    /// When outdated outcomes were last cleaned away.
    cleaned_at_ms: AtomicI64,
    /// Uses of management tokens that are being noted.
    noted_uses: NotedUses,
    sign_ins: SignIns,
    refused_sign_ins: RefusedSignIns,
    passphrase_hashing: PassphraseHashing,
    sign_in_throttle: SignInThrottle,
    costly_deeds: CostlyDeeds,
    /// Sessions of which it is being noted that they are used.
    touched_sessions: TouchedSessions,
    /// Where checkpoints of the audit trail are kept besides the database.
    checkpoint_sink: OnceLock<Arc<dyn CheckpointSink>>,
    deliveries: Deliveries,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // An engine that was dropped without being shut down must not keep the right.
        self.stop.cancel();
    }
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database belongs to another keyring.
    #[error("the database belongs to keyring `{expected}`, but the keyring that was given is `{given}`")]
    OtherKeyring {
        /// The keyring that the database was made with.
        expected: String,
        /// The keyring that was given.
        given: String,
    },
    /// The keyring has the right id and other keys.
    #[error("the keyring `{0}` has the right id, but not the keys that this database was made with")]
    ChangedKeyring(String),
    /// Records are sealed under a version that the keyring does not hold.
    #[error("records are sealed under keyring version {0}, which the keyring does not hold")]
    MissingVersion(i64),
    /// A process of an older version serves this database, and does so alone.
    #[error("an older Keyward serves this database, and does so alone")]
    NotTheWriter,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotTheWriter => Self::NotTheWriter,
            other => Self::Store(other),
        }
    }
}

impl Engine {
    /// Checks the keyring against the database, takes the right to write, and starts.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: EngineOptions) -> Result<Self, StartError> {
        let EngineOptions {
            store,
            keyring,
            clock,
            cache_bytes,
            counting,
            node_name,
            rate_limits,
        } = options;
        bind_keyring(&store, &keyring, clock.now()).await?;
        let prefix = store.claim_setting(KEY_PREFIX, Prefix::dtvi().as_str()).await?;
        let prefix = prefix
            .parse()
            .map_err(|_| StartError::Store(StoreError::Unreadable { what: "key prefix" }))?;
        let cache = Arc::new(VerificationCache::new(cache_bytes));
        let right = Arc::new(Right::none(Arc::clone(&clock)));
        let time = Arc::new(NodeTime::new(clock));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let metrics = Metrics::register();
        let own = (&right, &time, &metrics.node);
        let node = nodes::take_part(&store, own, &cache, node_name.clone()).await?;
        let node = node.map(|(node, keeper)| {
            tasks.spawn(keeper.keep(stop.clone()));
            node
        });
        let is_shared = rate_limits == RateLimits::Cluster && node.is_some();
        let shared_rates = is_shared.then(SharedRates::new);
        let inner = Inner {
            store,
            keyring: RwLock::new(Arc::new(keyring)),
            sealing: tokio::sync::RwLock::new(()),
            rotating: tokio::sync::Mutex::new(()),
            purging: tokio::sync::Mutex::new(()),
            time,
            node,
            node_name,
            look: SharedLook::default(),
            prefix,
            cache,
            loads: Loads::new(),
            right,
            notes: Notes::new(counting),
            writing: Writing::default(),
            rates: Rates::new(),
            shared_rates,
            resource_writes: tokio::sync::Semaphore::new(datasets::RESOURCE_WRITES),
            running_attempts: RunningAttempts::default(),
            cleaned_at_ms: AtomicI64::new(0),
            noted_uses: NotedUses::default(),
            sign_ins: SignIns::default(),
            refused_sign_ins: RefusedSignIns::default(),
            passphrase_hashing: PassphraseHashing::default(),
            sign_in_throttle: SignInThrottle::default(),
            costly_deeds: CostlyDeeds::default(),
            touched_sessions: TouchedSessions::default(),
            checkpoint_sink: OnceLock::new(),
            deliveries: Deliveries::default(),
            metrics,
            tasks,
            stop,
        };
        let inner = Arc::new(inner);
        let writing = usage::keep_writing(Arc::downgrade(&inner), inner.stop.clone());
        inner.tasks.spawn(writing);
        let telling = refused_sign_ins::keep_telling(Arc::downgrade(&inner), inner.stop.clone());
        inner.tasks.spawn(telling);
        let working = node_work::keep_working(Arc::downgrade(&inner), inner.stop.clone());
        inner.tasks.spawn(working);
        let purging = purge_organization::keep_purging(Arc::downgrade(&inner), inner.stop.clone());
        inner.tasks.spawn(purging);
        Ok(Self { inner })
    }

    /// Waits for every write that was begun, writes what was used last, gives the right back, and closes the database.
    pub async fn shut_down(&self) {
        // Before the right is given back: an entry is written by whoever holds it.
        if let Err(error) = self.flush_last_refused_sign_ins().await {
            tracing::warn!(%error, "the last refused sign-ins could not be written to the trail, and are lost");
        }
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        if let Err(error) = self.settle_usage().await {
            tracing::warn!(%error, "the last uses of keys could not be written, and are lost");
        }
        self.leave_nodes().await;
        self.inner.store.close().await;
    }

    /// Runs work that a request begins and must not cancel by going away; a shut-down waits for it.
    pub fn run_to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.inner.tasks.spawn(work)
    }

    /// The present moment, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.time.now()
    }

    /// The prefix of this installation's keys.
    pub fn prefix(&self) -> &Prefix {
        &self.inner.prefix
    }

    /// The database, for what only reads.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The keyring in force.
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.inner.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The cache, for figures and benches.
    pub fn cache(&self) -> &VerificationCache {
        &self.inner.cache
    }

    /// Brings the gauges up to date; to be called before they are read.
    pub fn refresh_gauges(&self) {
        self.inner.metrics.cached_keys.set(self.inner.cache.len() as f64);
        let is_held = self.inner.right.is_held();
        self.inner.metrics.holds_right.set(f64::from(u8::from(is_held)));
        let remaining = self.inner.right.remaining();
        self.inner
            .metrics
            .node
            .refresh(remaining, self.inner.time.offset_ms());
    }

    /// Whether the engine may write and answer from memory, and the database answers.
    ///
    /// # Errors
    /// What is missing, for `/readyz`.
    pub async fn check_ready(&self) -> Result<(), String> {
        if self.inner.stop.is_cancelled() {
            return Err("shutting down".to_owned());
        }
        if !self.inner.right.is_held() {
            return Err("this node has no lease of the database".to_owned());
        }
        let offset = self.inner.time.offset_ms();
        if offset.abs() > MAX_OFFSET_MS {
            return Err(format!(
                "this machine's clock is {offset} ms before the database's: set both by NTP"
            ));
        }
        self.inner.store.ping().await.map_err(|error| error.to_string())
    }
}

/// Binds a new database to the keyring, which is the first entry of its trail, or checks that it is the one.
///
/// # Errors
/// [`StartError`].
pub async fn bind_keyring(store: &Store, keyring: &Keyring, now: Timestamp) -> Result<(), StartError> {
    begin_database(store, keyring, now).await?;
    // A database of an older version may have no check value yet; a keyring with another id must not leave its own.
    if keyring_of(store).await?.as_deref() == Some(keyring.id()) {
        store.claim_setting(KEYRING_CHECK, &check_text(keyring)).await?;
    }
    check_keyring(store, keyring).await
}

/// Writes what a database begins with, unless it has begun.
async fn begin_database(store: &Store, keyring: &Keyring, now: Timestamp) -> Result<(), StoreError> {
    if keyring_of(store).await?.is_some() {
        return Ok(());
    }
    let prefix = Prefix::dtvi();
    let event = Event {
        actor: Actor::System.to_string(),
        action: BEGIN_DATABASE,
        target: "database".to_owned(),
        request_id: uuid::Uuid::now_v7().simple().to_string(),
        detail: AuditDetail::new()
            .fact("keyring", keyring.id())
            .fact("key_prefix", prefix.as_str()),
    };
    let mut tx = store.begin().await?;
    // First, because the chain's head is locked by it: of two first starts one finds what the other wrote.
    tx.append_audit(NO_ORGANIZATION, &event, now).await?;
    if tx.setting(KEYRING_ID).await?.is_some() {
        return tx.rollback().await;
    }
    tx.put_setting(KEYRING_ID, keyring.id()).await?;
    tx.put_setting(KEYRING_CHECK, &check_text(keyring)).await?;
    tx.put_setting(KEY_PREFIX, prefix.as_str()).await?;
    tx.commit().await
}

fn check_text(keyring: &Keyring) -> String {
    keyward_core::audit::hex(&keyring.check_value())
}

/// The id of the keyring that a database belongs to; `None` for a new one. Changes nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn keyring_of(store: &Store) -> Result<Option<String>, StoreError> {
    store.setting(KEYRING_ID).await
}

/// Whether a keyring is the one that a database belongs to. Unlike [`bind_keyring`] it changes nothing, and a database
/// that belongs to none yet fits every keyring.
///
/// # Errors
/// [`StartError`].
pub async fn check_keyring(store: &Store, keyring: &Keyring) -> Result<(), StartError> {
    let Some(expected) = keyring_of(store).await? else {
        return Ok(());
    };
    if expected != keyring.id() {
        return Err(StartError::OtherKeyring {
            expected,
            given: keyring.id().to_owned(),
        });
    }
    let own = check_text(keyring);
    if store
        .setting(KEYRING_CHECK)
        .await?
        .is_some_and(|check| check != own)
    {
        return Err(StartError::ChangedKeyring(expected));
    }
    match missing_version(keyring, store.sealed_under().await?) {
        Some(missing) => Err(StartError::MissingVersion(missing)),
        None => Ok(()),
    }
}

/// A version among the lowest and highest that seals are under which the keyring does not hold.
fn missing_version(keyring: &Keyring, sealed_under: Option<(i64, i64)>) -> Option<i64> {
    let (low, high) = sealed_under?;
    let versions = keyring.summary().versions;
    let is_held = |wanted: i64| versions.iter().any(|(version, _)| i64::from(*version) == wanted);
    [low, high].into_iter().find(|version| !is_held(*version))
}
