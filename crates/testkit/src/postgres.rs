//! An empty PostgreSQL database for one test, on the server that `cargo xtask test` starts.
//!
//! It starts no server, and it runs no migration: a test begins where a new installation begins.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Names the server; set by `cargo xtask test`.
pub const SERVER_VARIABLE: &str = "KEYWARD_TEST_POSTGRES_URL";

/// A database of one test. Dropping it drops the database, and cuts whoever is still connected to it.
#[derive(Debug)]
pub struct TestDatabase {
    /// Where the database is, user and password included.
    pub url: String,
    name: String,
    server_url: String,
}

impl TestDatabase {
    /// Makes an empty database with a name of its own.
    pub fn create() -> Self {
        let server_url = std::env::var(SERVER_VARIABLE).unwrap_or_else(|_| {
            panic!("this test needs a PostgreSQL server, and `{SERVER_VARIABLE}` names none; `cargo xtask test` starts one")
        });
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let random = getrandom::u64().expect("the operating system has random numbers");
        // The process and the number tell a person which test left it, should one ever be left.
        let name = format!(
            "keyward_test_{}_{}_{random:016x}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        run_statement(&server_url, format!("CREATE DATABASE {name}")).unwrap_or_else(|error| {
            panic!("could not make a database on the server of `{SERVER_VARIABLE}`: {error}")
        });
        Self {
            url: with_database(&server_url, &name),
            name,
            server_url,
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A failure here must not hide the test's own; the server goes away at the end of the run anyway.
        drop(run_statement(
            &self.server_url,
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        ));
    }
}

/// Runs one statement on a thread of its own, because the caller may or may not be inside an async runtime, and
/// `drop` cannot wait for a future in either.
fn run_statement(server_url: &str, statement: String) -> Result<(), sqlx::Error> {
    let work = async {
        let mut connection = PgConnection::connect(server_url).await?;
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
        connection.close().await
    };
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(sqlx::Error::Io)?.block_on(work)
    };
    std::thread::scope(|scope| scope.spawn(run).join()).expect("the database thread ended by itself")
}

/// The same server, user and options, another database.
fn with_database(server_url: &str, name: &str) -> String {
    let (address, options) = match server_url.split_once('?') {
        Some((address, options)) => (address, format!("?{options}")),
        None => (server_url, String::new()),
    };
    let (server, _) = address
        .rsplit_once('/')
        .expect("the server's URL ends with a database");
    format!("{server}/{name}{options}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_the_url_changes() {
        let changed = with_database("postgres://u:p@127.0.0.1:5/postgres?sslmode=disable", "mine");
        assert_eq!(changed, "postgres://u:p@127.0.0.1:5/mine?sslmode=disable");
        assert_eq!(
            with_database("postgres://u@h/postgres", "mine"),
            "postgres://u@h/mine"
        );
    }

    #[test]
    fn a_database_is_empty_and_gone_when_its_test_ends() {
        let database = TestDatabase::create();
        let url = database.url.clone();
        run_statement(&url, "CREATE TABLE only_here (number int)".to_owned()).unwrap();
        drop(database);
        assert!(run_statement(&url, "SELECT 1".to_owned()).is_err());
    }
}
