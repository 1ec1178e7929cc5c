//! An engine of one test, on either database, and the few sentences that most tests say to one.
//!
//! The place (folder or database) outlives the engine, so that a test can stop one and start another.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use keyward_core::address::CallerAddress;
use keyward_core::condition::Conditions;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_text::{KeyText, Prefix};
use keyward_core::keyring::Keyring;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::management_right::RightSet;
use keyward_core::new_key::KeyDraft;
use keyward_core::operation::Operation;
use keyward_core::record::Actor;
use keyward_core::refusal::{Code, Refusal};
use keyward_core::rotation::ScheduleChoice;
use keyward_core::scope::ScopeSet;
use keyward_core::state::DeleteReason;
use keyward_core::usage::ClientName;
use keyward_engine::clock::{Clock as _, SystemRandom};
use keyward_engine::context::Context;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::create_organization::OrganizationDraft;
use keyward_engine::create_token::{CreatedToken, TokenCeiling, TokenDraft};
use keyward_engine::delete_key::Written;
use keyward_engine::permit::{OwnedResource, Permit};
use keyward_engine::sign_ins::Arrival;
use keyward_engine::usage_notes::Counting;
use keyward_engine::verify::VerifyQuestion;
use keyward_engine::verify_token::VerifiedToken;
use keyward_engine::{Engine, EngineError, EngineOptions, RateLimits, StartError};
use keyward_store::{Database, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tempfile::TempDir;

pub use keyward_core::access::Permission;

use crate::clock::FixedClock;
use crate::postgres::TestDatabase;

/// Runs each named `async fn(Kind)` of the module as two tests, `sqlite::name` and `postgres::name`.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::engine::Kind::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::engine::Kind::Postgres).await;
            })+
        }
    };
}

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file in a temporary folder.
    Sqlite,
    /// A fresh database on the test server.
    Postgres,
}

/// An empty database of one test. Dropping it removes it.
pub enum Place {
    /// A folder for the file.
    Sqlite(TempDir),
    /// A database.
    Postgres(TestDatabase),
}

impl Place {
    /// Makes one.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                Self::Sqlite(TempDir::with_prefix("kw-db-").expect("the temporary folder can be written to"))
            }
            Kind::Postgres => Self::Postgres(TestDatabase::create()),
        }
    }

    /// Which kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// What the store opens.
    pub fn database(&self) -> Database {
        match self {
            Self::Sqlite(folder) => Database::Sqlite(folder.path().join("keyward.db")),
            Self::Postgres(database) => Database::Postgres(database.url.clone()),
        }
    }

    /// The open and migrated store.
    pub async fn store(&self) -> Store {
        let store = Store::open(&self.database())
            .await
            .expect("the test's database opens");
        store.migrate().await.expect("the migrations run");
        store
    }

    /// Runs a statement past the store, as somebody with a database client would; how many rows it changed.
    pub async fn run(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        let done = match self {
            Self::Sqlite(folder) => {
                let mut connection = sqlite(folder).await;
                sqlx::query(sql)
                    .execute(&mut connection)
                    .await
                    .map(|done| done.rows_affected())
            }
            Self::Postgres(database) => {
                let mut connection = connect(&database.url).await;
                sqlx::query(sql)
                    .execute(&mut connection)
                    .await
                    .map(|done| done.rows_affected())
            }
        };
        done.expect("the test's statement runs")
    }

    /// Runs a statement in a transaction that stays open until what is given back is dropped. PostgreSQL only.
    pub async fn hold(&self, sql: &str) -> PgConnection {
        let Self::Postgres(database) = self else {
            panic!("only PostgreSQL has several writers");
        };
        let mut connection = connect(&database.url).await;
        for sql in ["BEGIN", sql] {
            let sql = AssertSqlSafe(sql.to_owned());
            let held = sqlx::query(sql).execute(&mut connection).await;
            held.expect("the test's statement runs");
        }
        connection
    }

    /// Runs statements on one connection and gives the last column of the last one's rows, as texts.
    pub async fn texts(&self, statements: &[&str]) -> Vec<String> {
        let mut texts = Vec::new();
        macro_rules! run_all {
            ($connection:expr) => {{
                for sql in statements {
                    let sql = AssertSqlSafe((*sql).to_owned());
                    let rows = sqlx::query(sql)
                        .fetch_all(&mut $connection)
                        .await
                        .expect("the test's statement runs");
                    texts = rows
                        .iter()
                        .map(|row| row.get::<String, _>(row.len() - 1))
                        .collect();
                }
            }};
        }
        match self {
            Self::Sqlite(folder) => {
                let mut connection = sqlite(folder).await;
                run_all!(connection);
            }
            Self::Postgres(database) => {
                let mut connection = connect(&database.url).await;
                run_all!(connection);
            }
        }
        texts
    }
}

async fn sqlite(folder: &TempDir) -> sqlx::SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("keyward.db"))
        .foreign_keys(false);
    options.connect().await.expect("the test's database opens")
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .expect("the test's server answers")
}

/// A running engine.
pub struct TestEngine {
    /// The engine itself.
    pub engine: Engine,
    /// Its clock.
    pub clock: Arc<FixedClock>,
    /// The text of the keyring it was started with.
    pub keyring_text: String,
    /// Its database.
    pub place: Place,
}

/// A cache that holds every key of a test.
const ROOMY: usize = 20_000_000;

impl TestEngine {
    /// An engine on an empty database, with a new keyring.
    pub async fn new(kind: Kind) -> Self {
        Self::with_capacity(kind, ROOMY).await
    }

    /// An engine whose cache takes about so many bytes; it holds a few keys in any case.
    pub async fn with_capacity(kind: Kind, cache_bytes: usize) -> Self {
        let clock = Arc::new(FixedClock::new());
        let keyring = Keyring::generate(&mut SystemRandom, clock.now()).expect("there are random numbers");
        let keyring_text = keyring.to_text().to_string();
        let place = Place::new(kind);
        let engine = start(&place.database(), &keyring_text, &clock, cache_bytes).await;
        Self {
            engine: engine.expect("an engine starts on an empty database"),
            clock,
            keyring_text,
            place,
        }
    }

    /// Tries to start another engine on the same database; `keyring_text` may be another one.
    ///
    /// # Errors
    /// Why it did not start.
    pub async fn start_another(&self, keyring_text: &str) -> Result<Engine, StartError> {
        start(&self.place.database(), keyring_text, &self.clock, ROOMY).await
    }

    /// Stops the engine and starts a new one on the same database, with a keyring that may have been rotated.
    pub async fn restart(self, keyring_text: &str) -> Self {
        self.engine.shut_down().await;
        let engine = self
            .start_another(keyring_text)
            .await
            .expect("an engine starts again");
        Self {
            engine,
            keyring_text: keyring_text.to_owned(),
            ..self
        }
    }

    /// Makes an organization with this id.
    pub async fn organization(&self, id: &str) -> OrganizationId {
        let draft = OrganizationDraft {
            name: format!("The organization {id}"),
            id: Some(id.parse().expect("the test's id is one")),
            owner_email: "owner@example.com".to_owned(),
            owner: keyward_engine::create_organization::OwnerClaim::Known,
        };
        self.engine
            .create_organization(context(), draft)
            .await
            .expect("an organization can be made")
            .id
    }

    /// Makes a key with these scopes and this permission.
    pub async fn key(
        &self,
        organization: &OrganizationId,
        scopes: ScopeSet,
        permission: Permission,
    ) -> CreatedKey {
        self.engine
            .create_key(context(), organization.clone(), draft(scopes, permission))
            .await
            .expect("a key can be made")
    }

    /// Makes a key that may do everything a key may.
    pub async fn full_key(&self, organization: &OrganizationId) -> CreatedKey {
        self.key(organization, ScopeSet::ALL, Permission::Full).await
    }

    /// Makes a management token with these rights (`keys:read,verify`) and no end.
    pub async fn token(&self, organization: &OrganizationId, rights: &str) -> CreatedToken {
        let draft = TokenDraft {
            name: "A token of a test".to_owned(),
            rights: RightSet::from_text(rights).expect("the test's rights are written in their order"),
            expires_at: None,
        };
        let ceiling = TokenCeiling {
            rights: RightSet::all(),
            ends_at: None,
        };
        self.engine
            .create_token(context(), organization.clone(), draft, ceiling)
            .await
            .expect("a token can be made")
    }

    /// Whether the management token with this text is accepted, and if not, why.
    ///
    /// # Errors
    /// The refusal's code.
    pub async fn sign_in(&self, value: &str) -> Result<VerifiedToken, ManagementCode> {
        let prefix = Prefix::management_token();
        let text = KeyText::parse(value, &prefix).expect("the test's token is well formed");
        let verified = self.engine.verify_token(&text, &arrival()).await;
        verified.map_err(|refusal| refusal.code())
    }

    /// Whether the key with this value is accepted, and if not, why.
    ///
    /// # Errors
    /// The refusal's code.
    pub async fn verify(&self, value: &str) -> Result<(), Code> {
        verify(&self.engine, value).await
    }

    /// Verifies through the store: whatever memory holds is forgotten first.
    ///
    /// # Errors
    /// The refusal's code.
    pub async fn verify_afresh(&self, value: &str) -> Result<(), Code> {
        self.engine.cache().clear();
        self.verify(value).await
    }

    /// A permit of the key with this value.
    ///
    /// # Errors
    /// The refusal.
    pub async fn permit(
        &self,
        value: &str,
        operation: Operation,
        resource: OwnedResource,
    ) -> Result<Permit, Refusal> {
        permit(&self.engine, value, operation, resource).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// The engine's.
    pub async fn delete(&self, organization: &OrganizationId, id: KeyId) -> Result<Written, EngineError> {
        self.engine
            .delete_key(context(), organization.clone(), id, DeleteReason::Compromised)
            .await
    }
}

/// A permit of the key with this value.
///
/// # Errors
/// The refusal.
pub async fn permit(
    engine: &Engine,
    value: &str,
    operation: Operation,
    resource: OwnedResource,
) -> Result<Permit, Refusal> {
    let key = KeyText::parse(value, engine.prefix()).expect("the test's key is well formed");
    let credentials = Credentials {
        key,
        organization: None,
    };
    engine
        .permit(
            credentials,
            OrganizationClaim::NotAsked,
            (operation, resource),
            (here(), ClientName::NONE),
        )
        .await
}

/// Whether `engine` accepts the key with this value.
///
/// # Errors
/// The refusal's code.
pub async fn verify(engine: &Engine, value: &str) -> Result<(), Code> {
    let key = KeyText::parse(value, engine.prefix()).expect("the test's key is well formed");
    let question = VerifyQuestion {
        credentials: Credentials {
            key,
            organization: None,
        },
        claim: OrganizationClaim::NotAsked,
        purpose: Purpose::Identify,
        address: here(),
        client: ClientName::NONE,
    };
    engine
        .verify(&question, |_| ())
        .await
        .map_err(|refusal| refusal.code())
}

/// Starts an engine on a database.
///
/// # Errors
/// Why it did not start.
pub async fn start(
    database: &Database,
    keyring_text: &str,
    clock: &Arc<FixedClock>,
    cache_bytes: usize,
) -> Result<Engine, StartError> {
    start_with(database, keyring_text, clock, (cache_bytes, RateLimits::Node)).await
}

/// Starts an engine on a database, and says over what rate limits hold.
///
/// # Errors
/// Why it did not start.
pub async fn start_with(
    database: &Database,
    keyring_text: &str,
    clock: &Arc<FixedClock>,
    (cache_bytes, rate_limits): (usize, RateLimits),
) -> Result<Engine, StartError> {
    let store = Store::open(database).await?;
    store.migrate().await?;
    let keyring = Keyring::from_text(keyring_text).expect("the test's keyring is one");
    let clock = Arc::clone(clock);
    Engine::start(EngineOptions {
        store,
        keyring,
        clock,
        cache_bytes,
        counting: Counting::On,
        node_name: "test".to_owned(),
        rate_limits,
    })
    .await
}

/// Who acts in tests.
pub fn context() -> Context {
    Context::new(
        Actor::LocalAdministrator,
        "test-request".parse().expect("it is a request id"),
    )
}

/// How whoever signs in arrives in tests.
pub fn arrival() -> Arrival {
    Arrival {
        request_id: context().request_id,
        address: here(),
    }
}

/// A draft without conditions.
pub fn draft(scopes: ScopeSet, permission: Permission) -> KeyDraft {
    KeyDraft {
        name: "A key of a test".to_owned(),
        description: String::new(),
        environment: None,
        scopes,
        permission,
        conditions: Conditions::NONE,
        tags: Vec::new(),
        schedule: ScheduleChoice::Proposed,
    }
}

/// From where tests call.
pub const fn here() -> CallerAddress {
    CallerAddress::Known(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
