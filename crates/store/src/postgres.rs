//! The connections to PostgreSQL: how many, for how long they may do what, and to which server.
//!
//! A task of its own asks the server every second whether it still takes writes. When it does not, the server that does is sought among
//! the hosts of the address until there is one, and a new pool takes the old one's place; what waits on the old pool goes on with the new
//! server. Connections to a former primary end with the old pool. A database that is away costs each caller the time-out of the pool, and comes back
//! without a restart.
//!
//! Every connection made here carries [`SESSION`]. Whoever needs one of its own takes it from [`Postgres::connect`].

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::StoreError;
use crate::postgres_address::{Host, PostgresAddress};
use crate::postgres_primary::{Finder, Found, Identity, Why, writes};

/// What every session asks for; later settings win over those of the address.
const SESSION: [(&str, &str); 9] = [
    ("statement_timeout", "10s"),
    // Longer than a transaction may stand idle, so that whoever waits for one that was cut off outlasts it.
    ("lock_timeout", "4s"),
    // A process that is frozen or cut off inside a write holds the change counter, and with it every write of every process.
    ("idle_in_transaction_session_timeout", "2s"),
    // A statement sees what was committed before it; a renewal that locked its row needs that, and writes that wait for each other.
    ("default_transaction_isolation", "read committed"),
    // Whatever the database's own setting is: an acknowledged deletion must survive a crash, and a synchronous standby must have it.
    ("synchronous_commit", "on"),
    // The server's side of a connection whose client has gone without a word.
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10s"),
];
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A database that starts together with us has so long.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// After so many looks at the server in use all hosts are looked at anew: a former primary that still runs says that all is well, and
/// a name may have come to mean another server.
const LOOKS_A_ROUND: u32 = 5;
const LOOK_PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The open database. Cheap to clone; its watch ends with the last one.
#[derive(Clone)]
pub(crate) struct Postgres {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
}

struct Shared {
    finder: Arc<Finder>,
    used: RwLock<Used>,
    look: Arc<Notify>,
}

/// The server in use.
struct Used {
    host: Host,
    identity: Identity,
    pool: PgPool,
    /// Nothing is sent: whoever has a receiver of it sees that it goes.
    presence: watch::Sender<()>,
}

struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Postgres {
    /// Finds the server that takes writes, and connects.
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        let mut address = PostgresAddress::parse(url)?;
        for host in &mut address.hosts {
            host.options = host.options.clone().application_name("keyward").options(SESSION);
        }
        let finder = Arc::new(Finder::new(address));
        let found = find_soon(&finder).await?;
        let look = Arc::new(Notify::new());
        let pool = make_pool(&finder, &found.host.options, &look);
        let shared = Arc::new(Shared {
            finder,
            used: RwLock::new(Used {
                host: found.host,
                identity: found.identity,
                pool,
                presence: watch::Sender::new(()),
            }),
            look,
        });
        let watch = tokio::spawn(Arc::clone(&shared).watch(found.connection));
        Ok(Self {
            shared,
            watch: Arc::new(Watch(watch.abort_handle())),
        })
    }

    /// The pool of the server in use at this moment; to be asked for anew by each operation.
    pub(crate) fn pool(&self) -> PgPool {
        self.shared.used(|used| used.pool.clone())
    }

    /// The pool of the server in use at this moment, and what ends when another one is used.
    pub(crate) fn pool_while_used(&self) -> (PgPool, watch::Receiver<()>) {
        self.shared
            .used(|used| (used.pool.clone(), used.presence.subscribe()))
    }

    /// `host:port` of the server in use, for people.
    pub(crate) fn host(&self) -> String {
        self.shared.used(|used| used.host.name.clone())
    }

    /// A connection to the server in use that belongs to no pool.
    pub(crate) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let options = self.shared.used(|used| used.host.options.clone());
        let connecting = async {
            let mut connection = options.connect().await?;
            let answer = writes(&mut connection).await;
            let is_found = answer.is_ok() && self.shared.finder.is_found(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, answer, is_found))
        };
        let outcome = tokio::time::timeout(self.shared.finder.address().connect_timeout, connecting).await;
        match outcome {
            Ok(Ok((connection, Ok(()), true))) => Ok(connection),
            Ok(Ok((_, Err(Why::Failed(error)), _))) | Ok(Err(error)) => {
                self.shared.look.notify_one();
                Err(error.into())
            }
            Ok(Ok((_, answer, _))) => {
                self.shared.look.notify_one();
                let why = if answer.is_ok() { OTHER_SERVER } else { NO_WRITES };
                Err(sqlx::Error::Protocol(why.to_owned()).into())
            }
            Err(_) => Err(StoreError::TimedOut),
        }
    }

    /// Waits for running statements and closes every connection.
    pub(crate) async fn close(&self) {
        self.watch.0.abort();
        self.pool().close().await;
    }
}

const NO_WRITES: &str = "the server does not take writes any more";
const OTHER_SERVER: &str = "another server answers at this address than before";

fn make_pool(finder: &Arc<Finder>, options: &PgConnectOptions, look: &Arc<Notify>) -> PgPool {
    let (finder, look) = (Arc::clone(finder), Arc::clone(look));
    PgPoolOptions::new()
        .max_connections(finder.address().connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            let (finder, look) = (Arc::clone(&finder), Arc::clone(&look));
            Box::pin(async move {
                match writes(connection).await {
                    Ok(()) if finder.is_found(connection).await? => Ok(()),
                    Ok(()) => {
                        // Promoted, or what it was promoted from: which of them is to be used is decided for all connections at once.
                        look.notify_one();
                        Err(sqlx::Error::Protocol(OTHER_SERVER.to_owned()))
                    }
                    Err(Why::Failed(error)) => Err(error),
                    Err(_) => {
                        // The name now leads to a standby: tried again by the pool, by then perhaps with another host.
                        look.notify_one();
                        Err(sqlx::Error::Protocol(NO_WRITES.to_owned()))
                    }
                }
            })
        })
        .connect_lazy_with(options.clone())
}

/// Seeks the primary for a few seconds, if that may help.
async fn find_soon(finder: &Finder) -> Result<Found, StoreError> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match finder.find().await {
            Err(StoreError::NoPrimary(refused))
                if began.elapsed() < OPEN_PATIENCE && refused.iter().any(|one| one.may_pass()) =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

impl Shared {
    fn used<T>(&self, take: impl FnOnce(&Used) -> T) -> T {
        take(&self.used.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks after the server in use until the store is closed.
    async fn watch(self: Arc<Self>, mut connection: PgConnection) {
        let mut looks = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(WATCH_EVERY) => {}
                // Whoever asks for it has seen something; many ask at once.
                () = self.look.notified() => {
                    looks = LOOKS_A_ROUND;
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
            }
            let looked = tokio::time::timeout(LOOK_PATIENCE, writes(&mut connection)).await;
            let why = match looked {
                Ok(Ok(())) => None,
                Ok(Err(why)) => Some(why),
                Err(_) => Some(Why::Silent(LOOK_PATIENCE.as_secs())),
            };
            looks += 1;
            if let Some(why) = why {
                let host = self.used(|used| used.host.name.clone());
                let refused = crate::postgres_primary::HostRefused { host, why };
                tracing::error!(
                    database.refused = %refused,
                    "the PostgreSQL server in use does not take writes; seeking one that does"
                );
                let found = self.seek().await;
                connection = self.take(found);
                looks = 0;
            } else if looks >= LOOKS_A_ROUND {
                looks = 0;
                // Nothing is lost if this fails: the server in use takes writes.
                if let Ok(found) = self.finder.find().await
                    && !self.is_used(&found)
                {
                    drop(connection.close().await);
                    connection = self.take(found);
                }
            }
        }
    }

    fn is_used(&self, found: &Found) -> bool {
        self.used(|used| used.host.name == found.host.name && used.identity == found.identity)
    }

    /// Tries every host, with pauses that grow, until one takes writes.
    async fn seek(&self) -> Found {
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            match self.finder.find().await {
                Ok(found) => return found,
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(%error, "the database is still away");
                        told = text;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Puts a new pool in place of the one in use, also for the same server: connections that hang on a network that was away would
    /// keep their places until the operating system gives them up.
    fn take(&self, found: Found) -> PgConnection {
        let Found {
            host,
            identity,
            connection,
        } = found;
        let pool = make_pool(&self.finder, &host.options, &self.look);
        tracing::info!(
            database.host = host.name,
            "a PostgreSQL server that takes writes is in use"
        );
        let mut used = self.used.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits for a connection of the old pool gets one to the new server.
        used.pool.set_connect_options(host.options.clone());
        *used = Used {
            host,
            identity,
            pool,
            presence: watch::Sender::new(()),
        };
        connection
    }
}
