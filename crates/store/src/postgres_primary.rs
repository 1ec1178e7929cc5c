//! Finding the PostgreSQL server that takes writes, among the hosts of an address.
//!
//! All hosts are asked at once, each for as long as the address allows. Of several that take writes the one on the latest timeline
//! is taken: a promotion begins a new one, so a former primary that came back, or was never stopped, is told from its successor.
//! INVARIANT: in the life of a process no server on an older timeline than one that was used is used again, and none of
//! another cluster.
//! What this can't see: a former primary that still runs while its successor can't be reached from here. Whoever promotes a standby has to
//! keep the former primary from being reached.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::error::StoreError;
use crate::postgres_address::{Host, PostgresAddress};

const IS_STANDBY: &str =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only') = 'on'";
/// The control file may name the timeline before the promotion until its checkpoint is done; the name of the log file does not.
const IDENTITY: &str = "SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
    pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8)";

/// A host that was tried and is not used, and why.
#[derive(Debug)]
pub struct HostRefused {
    /// `host:port`, or the folder of a socket.
    pub host: String,
    /// What it answered.
    pub why: Why,
}

/// See [`HostRefused`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
    /// It refused the connection, or what was asked over it.
    Failed(sqlx::Error),
    /// It did not answer for so many seconds.
    Silent(u64),
    /// It repeats another one.
    Standby,
    /// It was set to refuse writes.
    ReadOnly,
    /// It is a former primary: another one was promoted since.
    Former,
    /// It holds something else than the database that this process began with.
    OtherCluster,
}

impl fmt::Display for HostRefused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.host)?;
        match &self.why {
            // What a server says is all that is wanted of it, without "error returned from database".
            Why::Failed(sqlx::Error::Database(error)) => formatter.write_str(error.message())?,
            Why::Failed(sqlx::Error::Io(error)) => write!(formatter, "{error}")?,
            Why::Failed(error) => write!(formatter, "{error}")?,
            Why::Silent(seconds) => write!(formatter, "did not answer within {seconds} s")?,
            Why::Standby => formatter.write_str("is a standby")?,
            Why::ReadOnly => formatter.write_str("is set to read only")?,
            Why::Former => formatter.write_str("is a former primary; another server was promoted since")?,
            Why::OtherCluster => {
                formatter.write_str("is not the cluster that this process began with; restart to use it")?;
            }
        }
        if self.is_refused_by_a_pooler() {
            formatter
                .write_str(" (a pooler is in between; give Keyward the address of PostgreSQL itself)")?;
        }
        Ok(())
    }
}

/// SQLSTATEs of prepared statements that somebody else made, or took along.
const DUPLICATE_STATEMENT: &str = "42P05";
const UNKNOWN_STATEMENT: &str = "26000";

impl HostRefused {
    /// Whether it makes sense to try again in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        match &self.why {
            Why::Silent(_) | Why::Standby | Why::ReadOnly => true,
            // A certificate that is not accepted is one of these, and will not be in a moment either.
            Why::Failed(sqlx::Error::Io(error)) => error.kind() != std::io::ErrorKind::InvalidData,
            // Shutting down, starting up, or full.
            Why::Failed(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| code.starts_with("57P") || code == "53300"),
            Why::Failed(_) | Why::Former | Why::OtherCluster => false,
        }
    }

    /// It refuses what a session asks for when it begins, or mixes up the prepared statements of several: no server does either.
    fn is_refused_by_a_pooler(&self) -> bool {
        matches!(&self.why, Why::Failed(sqlx::Error::Database(error))
            if error.message().contains("unsupported startup parameter")
                || matches!(error.code().as_deref(), Some(DUPLICATE_STATEMENT | UNKNOWN_STATEMENT)))
    }
}

/// Which server it is, beyond its address. Where a service does not tell, it is not compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Identity {
    timeline: Option<u32>,
    system: Option<i64>,
}

/// A server that takes writes, and a connection to it.
pub(crate) struct Found {
    pub(crate) host: Host,
    pub(crate) identity: Identity,
    pub(crate) connection: PgConnection,
}

/// Finds the primary, and remembers what it found.
pub(crate) struct Finder {
    address: PostgresAddress,
    known: Mutex<Identity>,
}

impl Finder {
    pub(crate) fn new(address: PostgresAddress) -> Self {
        Self {
            address,
            known: Mutex::new(Identity::default()),
        }
    }

    pub(crate) const fn address(&self) -> &PostgresAddress {
        &self.address
    }

    /// Asks every host once.
    pub(crate) async fn find(&self) -> Result<Found, StoreError> {
        let timeout = self.address.connect_timeout;
        let asked = self.address.hosts.iter().map(|host| ask(host, timeout));
        let mut refused = Vec::new();
        let mut best: Option<Found> = None;
        for answer in join_all(asked).await {
            let answer = answer.and_then(|found| match self.judge(&found.identity) {
                None => Ok(found),
                Some(why) => Err(refusal(&found.host, why)),
            });
            match answer {
                Err(one) => refused.push(one),
                // The first of the address wins among equals.
                Ok(found)
                    if best
                        .as_ref()
                        .is_none_or(|best| best.identity.timeline < found.identity.timeline) =>
                {
                    best = Some(found);
                }
                Ok(_) => {}
            }
        }
        let found = best.ok_or(StoreError::NoPrimary(refused))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What was told once is not forgotten because a server does not tell it.
        *known = Identity {
            timeline: found.identity.timeline.or(known.timeline),
            system: found.identity.system.or(known.system),
        };
        drop(known);
        Ok(found)
    }

    /// Whether the server at the other end is the one that was found last. A name may lead to another one at any time.
    ///
    /// # Errors
    /// The connection's.
    pub(crate) async fn is_found(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let found = identity(connection).await?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: Option<i64>, found: Option<i64>| known.zip(found).is_none_or(|(a, b)| a == b);
        Ok(is_same(known.system, found.system)
            && is_same(known.timeline.map(i64::from), found.timeline.map(i64::from)))
    }

    fn judge(&self, identity: &Identity) -> Option<Why> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(known), Some(system)) = (known.system, identity.system)
            && known != system
        {
            return Some(Why::OtherCluster);
        }
        match (known.timeline, identity.timeline) {
            (Some(known), Some(timeline)) if timeline < known => Some(Why::Former),
            _ => None,
        }
    }
}

async fn ask(host: &Host, timeout: Duration) -> Result<Found, HostRefused> {
    let answered = tokio::time::timeout(timeout, async {
        let mut connection = connect(&host.options).await?;
        let refused = writes(&mut connection).await.err();
        let identity = match refused {
            None => identity(&mut connection).await?,
            Some(_) => Identity::default(),
        };
        Ok::<_, sqlx::Error>((connection, refused, identity))
    });
    match answered.await {
        Err(_) => Err(refusal(host, Why::Silent(timeout.as_secs()))),
        Ok(Err(error)) => Err(refusal(host, Why::Failed(error))),
        Ok(Ok((_, Some(why), _))) => Err(refusal(host, why)),
        Ok(Ok((connection, None, identity))) => Ok(Found {
            host: host.clone(),
            identity,
            connection,
        }),
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    options.connect().await
}

fn refusal(host: &Host, why: Why) -> HostRefused {
    HostRefused {
        host: host.name.clone(),
        why,
    }
}

/// Whether the server at the other end takes writes.
pub(crate) async fn writes(connection: &mut PgConnection) -> Result<(), Why> {
    let asked = sqlx::query_as::<_, (bool, bool)>(IS_STANDBY)
        .fetch_one(connection)
        .await;
    match asked {
        Err(error) => Err(Why::Failed(error)),
        Ok((true, _)) => Err(Why::Standby),
        Ok((false, true)) => Err(Why::ReadOnly),
        Ok((false, false)) => Ok(()),
    }
}

async fn identity(connection: &mut PgConnection) -> Result<Identity, sqlx::Error> {
    let asked = sqlx::query_as::<_, (Option<i64>, Option<String>)>(IDENTITY)
        .fetch_one(&mut *connection)
        .await;
    match asked {
        Ok((system, timeline)) => Ok(Identity {
            timeline: timeline.and_then(|digits| u32::from_str_radix(&digits, 16).ok()),
            system,
        }),
        // Where a service forbids the question.
        Err(sqlx::Error::Database(error)) => {
            tracing::debug!(%error, "the server does not tell its timeline");
            Ok(Identity::default())
        }
        Err(error) => Err(error),
    }
}
