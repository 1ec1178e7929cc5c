//! A PostgreSQL server that goes away: for a while, or for good with a standby in its place.

use keyward_testkit::deadline::wait_for;
use keyward_testkit::postgres_server::{PostgresServer, Stop};
use keyward_testkit::server::{Installation, KeywardProcess};

use crate::PROGRAM;
use crate::support::{create_key, outcome, says, succeed, verify};

/// A server with an organization on this database.
fn serve(url: &str) -> (KeywardProcess, String) {
    let installation = Installation::new(PROGRAM).with_environment("KEYWARD_DATABASE_URL", url);
    succeed(&installation.cli(&["keyring", "init"]));
    let mut keyward = KeywardProcess::serve(installation);
    let address = keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme", "--id", "org-1"]));
    (keyward, address)
}

/// A primary and its standby, and the address of both.
fn pair() -> (PostgresServer, PostgresServer, String) {
    let first = PostgresServer::start();
    let second = PostgresServer::standby_of(&first);
    let one = format!("127.0.0.1:{}", first.port());
    let both = format!("{one},127.0.0.1:{}", second.port());
    let url = first.url(first.port()).replace(&one, &both) + "&target_session_attrs=read-write";
    (first, second, url)
}

fn state_on(server: &PostgresServer, id: &str) -> Vec<String> {
    server.texts(&format!("SELECT state FROM secret_key WHERE id = '{id}'"))
}

#[test]
fn a_database_that_is_away_is_503_and_comes_back_without_a_restart() {
    let mut database = PostgresServer::start();
    let (keyward, address) = serve(&database.url(database.port()));
    let (_, key) = create_key(&keyward, "nightly");
    assert_eq!(outcome(&address, &key), "204");
    for how in [Stop::Fast, Stop::Immediate] {
        database.stop(how);
        let refusal = wait_for("a server without its database still said yes", || {
            let reply = verify(&address, &key);
            (reply.status != 204).then_some(reply)
        });
        assert_eq!(refusal.status, 503, "{refusal:?}");
        assert!(refusal.header("retry-after").is_some(), "{refusal:?}");
        assert!(!keyward.cli(&["keys", "list"]).status.success());
        database.start_again();
        wait_for("the server did not recover", || {
            (outcome(&address, &key) == "204").then_some(())
        });
        wait_for("keys could not be made again", || {
            let output = keyward.cli(&["keys", "create", "--name", "new"]);
            output.status.success().then_some(())
        });
    }
    assert!(
        keyward.stderr().contains("does not take writes"),
        "the log names it"
    );
}

#[test]
fn an_acknowledged_delete_survives_the_loss_of_a_primary_with_a_synchronous_standby() {
    let (mut first, second, url) = pair();
    first.wait_for_standbys();
    let (keyward, address) = serve(&url);
    says(
        &succeed(&keyward.cli(&["doctor"])),
        &["a commit waits for a synchronous standby", "survives the loss"],
    );
    every_reply_says(&keyward, true);
    let keys: Vec<(String, String)> = (0..6)
        .map(|number| create_key(&keyward, &format!("key {number}")))
        .collect();
    for (id, key) in &keys[..3] {
        assert_eq!(outcome(&address, key), "204");
        assert!(delete(&keyward, id));
    }
    let is_acknowledged = lose_the_primary_in_a_delete(&keyward, &mut first, &second, &keys[3].0, IS_WAITING);
    wait_for("the server did not go on with the standby", || {
        delete(&keyward, &keys[4].0).then_some(())
    });
    for (id, key) in [&keys[0], &keys[1], &keys[2], &keys[4]] {
        assert_eq!(state_on(&second, id), ["deleted"]);
        assert_eq!(outcome(&address, key), "key_deleted");
    }
    // What never got to the standby was not acknowledged either, unless it was done again there.
    let is_deleted = state_on(&second, &keys[3].0) == ["deleted"];
    assert!(is_deleted || !is_acknowledged);
    assert_eq!(
        outcome(&address, &keys[3].1),
        if is_deleted { "key_deleted" } else { "204" }
    );
    assert_eq!(outcome(&address, &keys[5].1), "204");
}

/// What the README says of a standby that no commit waits for, seen: the same loss takes an acknowledged delete with it.
#[test]
fn a_delete_can_be_lost_with_an_asynchronous_standby_and_the_doctor_says_so() {
    let (mut first, second, url) = pair();
    let (keyward, address) = serve(&url);
    says(
        &succeed(&keyward.cli(&["doctor"])),
        &["an acknowledged delete can be lost if the primary is lost and the standby promoted"],
    );
    every_reply_says(&keyward, false);
    let (id, key) = create_key(&keyward, "nightly");
    wait_for("the standby did not follow", || {
        (!state_on(&second, &id).is_empty()).then_some(())
    });
    assert!(lose_the_primary_in_a_delete(
        &keyward, &mut first, &second, &id, IS_DONE
    ));
    wait_for("the server did not go on with the standby", || {
        (outcome(&address, &key) == "204").then_some(())
    });
}

const IS_WAITING: &str =
    "SELECT pid::text FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'keyward'";
const IS_DONE: &str = "SELECT id FROM secret_key WHERE state = 'deleted'";

/// Begins a delete that the standby never hears of, ends the primary when `moment` finds something, and promotes the standby. Whether the
/// delete was acknowledged.
fn lose_the_primary_in_a_delete(
    keyward: &KeywardProcess,
    first: &mut PostgresServer,
    second: &PostgresServer,
    id: &str,
    moment: &str,
) -> bool {
    let frozen = first.freeze_sender();
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| delete(keyward, id));
        wait_for("the delete did not get to the primary", || {
            (!first.texts(moment).is_empty()).then_some(())
        });
        if moment == IS_DONE {
            wait_for("the delete was not answered", || {
                deleting.is_finished().then_some(())
            });
        }
        first.kill9();
        drop(frozen);
        second.promote();
        deleting.join().expect("the delete was tried")
    })
}

/// Every change of a key says in its reply whether it outlives the primary; to a person only what is not promised is said.
fn every_reply_says(keyward: &KeywardProcess, survives: bool) {
    let (id, _) = create_key(keyward, "ends here");
    let changes: [&[&str]; 10] = [
        &["keys", "edit", &id, "--description", "narrower"],
        &["keys", "rotate", &id, "--mode", "overlap"],
        &["keys", "rotation", "finish", &id, "--yes"],
        &["keys", "pause", &id],
        &["keys", "resume", &id],
        &["stop", "--organization", "org-1", "--yes"],
        &["org", "resume", "org-1"],
        &["org", "lock", "org-1"],
        &["org", "unlock", "org-1"],
        &["keys", "delete", &id, "--yes"],
    ];
    for change in changes {
        let answered = succeed(&keyward.cli(&[change, &["--json"]].concat()));
        let answered: serde_json::Value = serde_json::from_str(&answered).expect("it is JSON");
        assert_eq!(answered["survives_failover"], survives, "{change:?}: {answered}");
    }
    let said = keyward.cli(&["keys", "delete", &id, "--yes"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(
        said.contains("can be lost if a standby is promoted"),
        !survives,
        "{said}"
    );
}

fn delete(keyward: &KeywardProcess, id: &str) -> bool {
    keyward.cli(&["keys", "delete", id, "--yes"]).status.success()
}
