//! Kill -9 in the middle of a stream of writes: nothing that was acknowledged is lost, on both databases.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use keyward_testkit::deadline::wait_for;
use keyward_testkit::server::KeywardProcess;
use keyward_testkit::wire;

use crate::support::{Prepared, create_key, on_both, outcome, succeed};

const WRITERS: usize = 4;
const ROUNDS: usize = 3;
/// Acknowledged writes after which the process is killed, whatever it is doing then.
const ENOUGH: usize = 40;

/// What a client knows of a key it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Its creation was answered.
    Created,
    /// A deletion was sent and not answered: it may have taken effect.
    Unsure,
    /// Its deletion was answered.
    Deleted,
}

fn nothing_acknowledged_is_lost(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let installation = Arc::new(installation);
    let socket = installation.data_folder().join("keyward.sock");
    let keys = Mutex::new(Vec::<(String, Known)>::new());
    let mut keyward = KeywardProcess::serve(Arc::clone(&installation));
    keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme", "--id", "org-1"]));
    for _ in 0..ROUNDS {
        let is_over = AtomicBool::new(false);
        let acknowledged = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (socket, keys, is_over, acknowledged) = (&socket, &keys, &is_over, &acknowledged);
                scope.spawn(move || {
                    for number in 0.. {
                        if is_over.load(Ordering::SeqCst) {
                            return;
                        }
                        write_once(socket, keys, acknowledged, (writer + number) % 2 == 0);
                    }
                });
            }
            wait_for("the writes were not answered", || {
                (acknowledged.load(Ordering::SeqCst) >= ENOUGH).then_some(())
            });
            keyward.kill9();
            is_over.store(true, Ordering::SeqCst);
        });
        keyward = KeywardProcess::serve(Arc::clone(&installation));
        let address = keyward.ready_address();
        let known = keys.lock().expect("no writer panics").clone();
        for (value, known) in &known {
            let outcome = outcome(&address, value);
            match known {
                Known::Created => assert_eq!(outcome, "204", "an acknowledged key is lost"),
                Known::Deleted => assert_eq!(outcome, "key_deleted", "an acknowledged deletion is lost"),
                Known::Unsure => assert!(outcome == "204" || outcome == "key_deleted", "{outcome}"),
            }
        }
        assert!(known.iter().any(|(_, known)| *known == Known::Created));
        assert!(known.iter().any(|(_, known)| *known == Known::Deleted));
    }
}

fn write_once(
    socket: &std::path::Path,
    keys: &Mutex<Vec<(String, Known)>>,
    acknowledged: &AtomicUsize,
    deletes: bool,
) {
    let created = wire::manage(
        socket,
        "POST",
        "/v1/organizations/org-1/keys",
        r#"{"name": "one of many"}"#,
    );
    let Some(created) = created else { return };
    assert_eq!(created.status, 201, "{created:?}");
    let created = created.json();
    let text = |field: &str| {
        created[field]
            .as_str()
            .expect("a new key has an id and a value")
            .to_owned()
    };
    let (id, value) = (text("id"), text("value"));
    let know = |known: Known| {
        let mut keys = keys.lock().expect("no writer panics");
        keys.retain(|(other, _)| *other != value);
        keys.push((value.clone(), known));
    };
    know(Known::Created);
    acknowledged.fetch_add(1, Ordering::SeqCst);
    if deletes {
        know(Known::Unsure);
        if let Some(deleted) = wire::manage(socket, "POST", &format!("/v1/keys/{id}/delete"), "{}") {
            assert_eq!(deleted.status, 200, "{deleted:?}");
            know(Known::Deleted);
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn a_client_that_goes_away_during_a_delete_leaves_no_accepted_key(prepared: Prepared) {
    let Prepared {
        installation,
        database: _database,
    } = prepared;
    let socket = installation.data_folder().join("keyward.sock");
    let mut keyward = KeywardProcess::serve(installation);
    let address = keyward.ready_address();
    succeed(&keyward.cli(&["org", "create", "--name", "Acme"]));
    for _ in 0..10 {
        let (id, value) = create_key(&keyward, "Leaked");
        assert_eq!(outcome(&address, &value), "204");
        let path = format!("/v1/keys/{id}/delete");
        wire::manage_and_leave(&socket, "POST", &path, "{}");
        // The second delete makes sure, whatever became of the first.
        let second = wire::manage(&socket, "POST", &path, "{}").expect("the server answers");
        assert_eq!(second.status, 200, "{second:?}");
        assert_eq!(outcome(&address, &value), "key_deleted");
    }
}

on_both!(
    nothing_acknowledged_is_lost,
    a_client_that_goes_away_during_a_delete_leaves_no_accepted_key,
);
