//! Which PostgreSQL server is used, over what, and what is said when there is none.

use std::net::TcpListener;

use keyward_store::postgres_promises::Standby;
use keyward_store::{Database, Store, StoreError};
use keyward_testkit::deadline::PATIENCE;
use keyward_testkit::engine::{Kind, Place};
use keyward_testkit::postgres_server::{PostgresServer, Stop, certificate};
use keyward_testkit::proxy::Proxy;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const ENCRYPTED: &str = "SELECT DISTINCT ssl::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
    WHERE application_name = 'keyward'";

async fn open(url: &str) -> Result<Store, StoreError> {
    Store::open(&Database::Postgres(url.to_owned())).await
}

#[track_caller]
fn refused(outcome: Result<Store, StoreError>) -> String {
    match outcome {
        Ok(_) => panic!("the store opened"),
        Err(error) => error.to_string(),
    }
}

/// The address of a server with another list of hosts.
fn with_hosts(server: &PostgresServer, hosts: &str) -> String {
    let url = server.url(server.port());
    url.replace(&format!("127.0.0.1:{}", server.port()), hosts)
}

async fn eventually(what: &str, mut attempt: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !attempt().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Two whole transactions: the second finds what the first wrote.
async fn writes(store: &Store, value: &str) -> bool {
    store.put_setting("test.value", value).await.is_ok()
        && store
            .setting("test.value")
            .await
            .is_ok_and(|found| found.as_deref() == Some(value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_the_server_whose_authority_is_named_and_with_no_other() {
    let server = PostgresServer::start();
    server.demand_tls();
    let plain = server.url(server.port());
    let said = refused(open(&plain).await);
    assert!(
        said.contains("no pg_hba.conf entry") && said.contains(&server.port().to_string()),
        "{said}"
    );

    let with = |host: &str, mode: &str, authority: &str| {
        plain.replace("127.0.0.1", host).replace(
            "sslmode=disable",
            &format!("sslmode={mode}&sslrootcert={}", certificate(authority).display()),
        )
    };
    let store = open(&with("localhost", "verify-full", "authority.pem"))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    assert!(writes(&store, "over TLS").await);
    let mut other = PgConnection::connect(&with("localhost", "require", "authority.pem"))
        .await
        .unwrap();
    let tls: Vec<String> = sqlx::query_scalar(ENCRYPTED).fetch_all(&mut other).await.unwrap();
    assert_eq!(tls, ["true"]);

    let strange = refused(open(&with("localhost", "verify-full", "other-authority.pem")).await);
    assert!(strange.contains("certificate"), "{strange}");
    // The certificate is for another name.
    let misnamed = refused(open(&with("127.0.0.1", "verify-full", "authority.pem")).await);
    assert!(misnamed.contains("certificate"), "{misnamed}");
    open(&with("127.0.0.1", "verify-ca", "authority.pem"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_host_that_was_tried_is_named_with_its_reason_and_no_password() {
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let place = Place::new(Kind::Postgres);
    let Database::Postgres(url) = place.database() else {
        panic!()
    };
    let (address, database) = url.rsplit_once('/').unwrap();
    let own = address.rsplit_once('@').unwrap().1;
    let said = refused(
        open(&format!(
            "postgres://nobody_here:hunter2@127.0.0.1:1,{silent},{own}/{database}?connect_timeout=1"
        ))
        .await,
    );
    for words in [
        "127.0.0.1:1: Connection refused",
        &format!("{silent}: did not answer within 1 s"),
        &format!("{own}: "),
        "nobody_here",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let said = refused(open("postgres://kw:hunter2@h:port/x").await);
    assert!(
        said.contains("the address of the database") && !said.contains("hunter2"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_is_followed_and_the_former_primary_is_not_gone_back_to() {
    let mut first = PostgresServer::start();
    let second = PostgresServer::standby_of(&first);
    let hosts = |one: &PostgresServer, two: &PostgresServer| {
        format!("127.0.0.1:{},127.0.0.1:{}", one.port(), two.port())
    };
    // The standby comes first in the list, and is passed over.
    let url = with_hosts(&first, &hosts(&second, &first)) + "&target_session_attrs=read-write";
    let store = open(&url).await.unwrap();
    store.migrate().await.unwrap();
    let promises = store.promises().await.unwrap().unwrap();
    assert_eq!(promises.host, format!("127.0.0.1:{}", first.port()));
    assert_eq!(promises.standby, Standby::Asynchronous);
    assert!(promises.wakes && promises.has_session_settings, "{promises:?}");
    first.wait_for_standbys();
    assert_eq!(store.standby().await.unwrap(), Some(Standby::Synchronous));
    assert!(writes(&store, "on the first").await);
    store.wait_for_standby().await.unwrap();

    first.kill9();
    let said = refused(open(&url).await);
    assert!(
        said.contains("is a standby") && said.contains("Connection refused"),
        "{said}"
    );
    second.promote();
    eventually("the promoted standby was not found", async || {
        writes(&store, "on the second").await
    })
    .await;

    // The former primary comes back as if nothing had happened, and says that it takes writes.
    first.start_again();
    assert_eq!(first.texts("SELECT pg_is_in_recovery()::text"), ["false"]);
    second.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyward'");
    eventually("the store did not go on", async || {
        writes(&store, "still on the second").await
    })
    .await;
    let found = second.texts("SELECT value FROM setting WHERE name = 'test.value'");
    assert_eq!(found, ["still on the second"]);
    // Nor does one that starts now take the former primary.
    let late = open(&url).await.unwrap();
    assert_eq!(
        late.promises().await.unwrap().unwrap().host,
        format!("127.0.0.1:{}", second.port())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lives_on_beside_its_successor_is_left() {
    let first = PostgresServer::start();
    let second = PostgresServer::standby_of(&first);
    let url = with_hosts(
        &first,
        &format!("127.0.0.1:{},127.0.0.1:{}", first.port(), second.port()),
    );
    let store = open(&url).await.unwrap();
    store.migrate().await.unwrap();
    assert!(writes(&store, "on the first").await);
    let mut listener = store.listen_for_changes().await.unwrap().unwrap();
    first.run("SELECT pg_notify('keyward_changes', '')");
    assert!(listener.next().await);
    second.promote();
    let host = format!("127.0.0.1:{}", second.port());
    eventually("the successor was not found", async || {
        store
            .promises()
            .await
            .is_ok_and(|promises| promises.unwrap().host == host)
    })
    .await;
    assert!(writes(&store, "on the second").await);
    let left = tokio::time::timeout(PATIENCE, listener.next()).await;
    assert_eq!(
        left,
        Ok(false),
        "who listens to the old primary is told to listen anew"
    );
    let mut listener = store.listen_for_changes().await.unwrap().unwrap();
    second.run("SELECT pg_notify('keyward_changes', '')");
    assert_eq!(tokio::time::timeout(PATIENCE, listener.next()).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_used_again() {
    let mut server = PostgresServer::start();
    let store = open(&server.url(server.port())).await.unwrap();
    store.migrate().await.unwrap();
    for (how, value) in [(Stop::Fast, "one"), (Stop::Immediate, "two")] {
        assert!(writes(&store, value).await);
        server.stop(how);
        assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
        server.start_again();
        eventually("the store did not recover", async || writes(&store, value).await).await;
    }
    // A server that is set to read only takes no writes until it is set back.
    server.run("ALTER SYSTEM SET default_transaction_read_only = on");
    server.run("SELECT pg_reload_conf()");
    eventually("writes went on", async || !writes(&store, "three").await).await;
    server.run("ALTER SYSTEM RESET default_transaction_read_only");
    server.run("SELECT pg_reload_conf()");
    eventually("the store did not recover", async || writes(&store, "four").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_a_lock_and_does_nothing_is_ended_before_others_give_up() {
    let place = Place::new(Kind::Postgres);
    let (idle, busy) = (place.store().await, place.store().await);
    let mut tx = idle.begin().await.unwrap();
    tx.raise_epoch().await.unwrap();
    // The second waits for the row of the first, which stands still as a process that was frozen would.
    let mut other = busy.begin().await.unwrap();
    other.raise_epoch().await.unwrap();
    other.commit().await.unwrap();
    assert!(tx.commit().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_databases_are_migrated_by_several_starts_at_once() {
    let place = Place::new(Kind::Postgres);
    let starts = (0..4).map(|_| async {
        let Database::Postgres(url) = place.database() else {
            panic!()
        };
        let store = open(&url).await?;
        store.migrate().await?;
        store.claim_setting("test.claimed", "same").await
    });
    for outcome in futures_util::future::join_all(starts).await {
        assert_eq!(outcome.unwrap(), "same");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_a_table_in_use_without_holding_up_those_that_use_it() {
    let place = Place::new(Kind::Postgres);
    let running = place.store().await;
    // As if one of the migrations were still to come; it puts indexes of this table in other ones' place.
    for sql in [
        "DROP INDEX secret_key_by_next_rotation",
        "DROP INDEX secret_key_by_creator",
        "DELETE FROM _sqlx_migrations WHERE version = 10",
    ] {
        place.run(sql).await;
    }
    let Database::Postgres(url) = place.database() else {
        panic!()
    };
    let mut user = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE secret_key IN ROW EXCLUSIVE MODE")
        .execute(&mut user)
        .await
        .unwrap();
    let starting = open(&url).await.unwrap();
    let using = async {
        // It waits, gives way, and waits again; those that use the table go on meanwhile.
        for is_waiting in [true, false, true] {
            eventually("the migration did not wait in turns", async || {
                let waiting = place.texts(&[WAITING]).await;
                waiting[0].contains("true") == is_waiting
            })
            .await;
        }
        running.list_key_ids_in_state("active", "", "", 1).await.unwrap();
        sqlx::raw_sql("COMMIT").execute(&mut user).await.unwrap();
    };
    let (migrated, ()) = tokio::join!(starting.migrate(), using);
    migrated.unwrap();
    assert_eq!(place.run("DROP INDEX secret_key_by_creator").await, 0);
}

const WAITING: &str =
    "SELECT (count(*) > 0)::text FROM pg_locks WHERE NOT granted AND relation = 'secret_key'::regclass";

/// A name that means one machine now and another one later, as with a floating address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_behind_the_same_name_is_not_used_unnoticed() {
    let (first, second) = (PostgresServer::start(), PostgresServer::start());
    let password_of = |server: &PostgresServer| {
        let url = server.url(server.port());
        let (_, rest) = url.split_once("keyward:").unwrap();
        rest.split_once('@').unwrap().0.to_owned()
    };
    // So that its identity alone tells it apart.
    let mut alike = PgConnection::connect(&second.url(second.port())).await.unwrap();
    let same = format!("ALTER ROLE keyward PASSWORD '{}'", password_of(&first));
    sqlx::raw_sql(AssertSqlSafe(same))
        .execute(&mut alike)
        .await
        .unwrap();
    let name = Proxy::to(first.port());
    let store = open(&first.url(name.port())).await.unwrap();
    store.migrate().await.unwrap();
    assert!(writes(&store, "one").await);

    let second_url = second.url(second.port());
    let other = open(&second_url.replace(&password_of(&second), &password_of(&first)))
        .await
        .unwrap();
    other.migrate().await.unwrap();
    name.lead_to(second.port());
    name.reset();
    assert!(!writes(&store, "two").await);
    assert_eq!(other.setting("test.value").await.unwrap(), None);

    name.lead_to(first.port());
    name.reset();
    eventually("the first server is not used again", async || {
        writes(&store, "three").await
    })
    .await;
}
