//! A real PgBouncer between Keyward and PostgreSQL: named where it refuses or gets in the way, found out where it keeps quiet.

use keyward_testkit::deadline::wait_for;
use keyward_testkit::pgbouncer::{self, Pgbouncer};
use keyward_testkit::postgres_server::PostgresServer;
use keyward_testkit::server::Installation;

use crate::PROGRAM;
use crate::support::{refused, says, succeed, tell};

/// What Keyward asks for when it connects.
const SETTINGS: [&str; 10] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "synchronous_commit",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
    "extra_float_digits",
    "options",
];

#[test]
fn a_pooler_is_named_by_the_start_or_found_out_by_the_doctor() {
    let Some(program) = pgbouncer::find() else {
        tell("skipped: a pooler in between: Debian's package `pgbouncer` is not installed");
        return;
    };
    let database = PostgresServer::start();
    let through = |pooler: &Pgbouncer| {
        let url = database.url(pooler.port());
        Installation::new(PROGRAM).with_environment("KEYWARD_DATABASE_URL", &url)
    };
    for (mode, ignored, said) in [
        ("session", [].as_slice(), "unsupported startup parameter"),
        ("transaction", &[], "unsupported startup parameter"),
        ("transaction", &SETTINGS, "prepared statement"),
    ] {
        let pooler = Pgbouncer::before(&database, program.clone(), mode, ignored);
        let installation = through(&pooler);
        // Not everybody who asks meets a connection that somebody else has used.
        let refusal = wait_for("the pooler was not named", || {
            let tried = ["init", "check"].map(|verb| installation.cli(&["keyring", verb]));
            tried
                .into_iter()
                .find(|output| String::from_utf8_lossy(&output.stderr).contains("a pooler is in between"))
        });
        says(
            &refused(&refusal, 1),
            &[said, "give Keyward the address of PostgreSQL itself"],
        );
    }

    let quiet = Pgbouncer::before(&database, program, "session", &SETTINGS);
    let installation = through(&quiet);
    succeed(&installation.cli(&["keyring", "init"]));
    let report = installation.cli(&["doctor"]);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    says(&report, &["a pooler in between ignores them"]);
}
