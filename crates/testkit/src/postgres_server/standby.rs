//! A standby of a [`PostgresServer`], TLS on it, and an end without any warning.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{PostgresServer, USER, find_programs, launch, runs_as, under, wait_until_ready};
use crate::deadline::wait_for;

impl PostgresServer {
    /// Copies a running server, and starts the copy as its standby. Whether the first one waits for it is what
    /// [`PostgresServer::wait_for_standbys`] says.
    pub fn standby_of(primary: &Self) -> Self {
        let (user, folder) = (runs_as(), super::make_folder());
        let source = format!(
            "postgres://{USER}:{}@127.0.0.1:{}/?application_name=standby",
            primary.password, primary.port
        );
        let copied = under(Command::new(find_programs().join("pg_basebackup")), user)
            .args([
                "-D",
                "data",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "--no-sync",
                "-d",
                &source,
            ])
            .current_dir(&folder)
            .output()
            .expect("`pg_basebackup` can be started");
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let mut standby = launch(folder, primary.password.clone(), user);
        standby.order("start");
        wait_until_ready(&standby);
        standby
    }

    /// From here on a commit waits until a standby has it.
    pub fn wait_for_standbys(&self) {
        self.run("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.run("SELECT pg_reload_conf()");
        wait_for("no standby became synchronous", || {
            let states = self.texts("SELECT sync_state FROM pg_stat_replication");
            states.contains(&"sync".to_owned()).then_some(())
        });
    }

    /// Makes a standby take writes.
    pub fn promote(&self) {
        self.run("SELECT pg_promote()");
    }

    /// Ends it as a machine that loses its power: nothing is written any more, and nobody told. Returns once nothing answers.
    pub fn kill9(&mut self) {
        let process = fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        signal(
            process.lines().next().expect("the file names its process"),
            "KILL",
        );
        wait_for("a killed server still answers", || {
            TcpStream::connect(("127.0.0.1", self.port))
                .is_err()
                .then_some(())
        });
        // The guardian waits for what is left of it.
        self.order("immediate");
    }

    /// Freezes what sends changes to standbys: they seem connected and get nothing.
    pub fn freeze_sender(&self) -> FrozenSender {
        let process = self.texts("SELECT pid::text FROM pg_stat_replication").remove(0);
        signal(&process, "STOP");
        FrozenSender { process }
    }

    /// From here on it takes connections over TLS alone, with the certificate for `localhost` of [`certificate`]'s authority.
    pub fn demand_tls(&self) {
        let folder = self.folder.join("data");
        for name in ["server.pem", "server.key"] {
            let text = fs::read_to_string(certificate(name)).expect("the certificates are in the repository");
            // The server's own user has to own the key, and may be another one than ours.
            let lines: Vec<String> = text.lines().map(|line| format!("('{line}')")).collect();
            self.run(&format!(
                "COPY (VALUES {}) TO PROGRAM 'umask 077; cat > {name}'",
                lines.join(", ")
            ));
        }
        fs::write(
            folder.join("pg_hba.conf"),
            "hostssl all all 127.0.0.1/32 scram-sha-256\n",
        )
        .expect("the folder can be written to");
        self.run("ALTER SYSTEM SET ssl_cert_file = 'server.pem'");
        self.run("ALTER SYSTEM SET ssl_key_file = 'server.key'");
        self.run("ALTER SYSTEM SET ssl = on");
        self.run("SELECT pg_reload_conf()");
        wait_for("the server did not begin with TLS", || {
            self.with_connection(async |_| Ok(())).is_err().then_some(())
        });
    }

    /// Runs a statement as the superuser.
    pub fn run(&self, sql: &str) {
        let done = self.with_connection(async |connection| {
            let sql = AssertSqlSafe(sql.to_owned());
            sqlx::raw_sql(sql).execute(connection).await.map(drop)
        });
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The first column of every row, which has to be text.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let found = self.with_connection(async |connection| {
            let sql = AssertSqlSafe(sql.to_owned());
            sqlx::query_scalar(sql).fetch_all(connection).await
        });
        found.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// On a thread of its own: the caller may be inside an async runtime or not.
    fn with_connection<T: Send>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, sqlx::Error> {
        let url = self.url(self.port);
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(sqlx::Error::Io)?.block_on(async {
                let mut connection = PgConnection::connect(&url).await?;
                let outcome = work(&mut connection).await?;
                connection.close().await?;
                Ok(outcome)
            })
        };
        std::thread::scope(|scope| scope.spawn(run).join()).expect("the database thread ended by itself")
    }
}

/// See [`PostgresServer::freeze_sender`]. Dropping it ends the sender for good, so that what it holds never arrives.
#[must_use]
pub struct FrozenSender {
    process: String,
}

impl Drop for FrozenSender {
    fn drop(&mut self) {
        // A server does not stop before a process of its own that stands still.
        signal(&self.process, "KILL");
    }
}

/// A file of the tests' certificates: `authority.pem`, `other-authority.pem`.
pub fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("certificates")
        .join(name)
}

fn signal(process: &str, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} \"$0\""), process])
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "could not send SIG{name} to process {process}"
    );
}
