//! What several files say: an installation on either database, a key, whether a key is accepted, a line that is seen.

use std::io::Write as _;
use std::process::Output;

use keyward_testkit::postgres::TestDatabase;
use keyward_testkit::server::{Installation, KeywardProcess};
use keyward_testkit::wire::{self, Reply};

use crate::PROGRAM;

/// An installation that is ready for its first `serve`, and its PostgreSQL database if it has one. The installation comes
/// first, so that it is gone before its database is.
pub(crate) struct Prepared {
    pub(crate) installation: Installation,
    pub(crate) database: Option<TestDatabase>,
}

/// On SQLite in its data folder.
pub(crate) fn sqlite() -> Prepared {
    Prepared {
        installation: Installation::new(PROGRAM),
        database: None,
    }
}

/// On a PostgreSQL database of its own, with the keyring that its operator made.
pub(crate) fn postgres() -> Prepared {
    let database = TestDatabase::create();
    let installation = Installation::new(PROGRAM).with_environment("KEYWARD_DATABASE_URL", &database.url);
    succeed(&installation.cli(&["keyring", "init"]));
    Prepared {
        installation,
        database: Some(database),
    }
}

/// Runs each named `fn(Prepared)` of the module as two tests, `sqlite::name` and `postgres::name`.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name($crate::support::sqlite());
            })+
        }
        mod postgres {
            $(#[test]
            fn $name() {
                super::$name($crate::support::postgres());
            })+
        }
    };
}
pub(crate) use on_both;

/// What a command printed, when it must succeed.
#[track_caller]
pub(crate) fn succeed(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ended with {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout
}

/// What a command said on standard error, when it must be refused with this exit code and print no data.
#[track_caller]
pub(crate) fn refused(output: &Output, code: i32) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    assert_eq!(stdout, "", "a refusal prints no data");
    stderr
}

/// Whether every word stands in a text.
#[track_caller]
pub(crate) fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

/// A new key of the only organization: its id and its value.
pub(crate) fn create_key(keyward: &KeywardProcess, name: &str) -> (String, String) {
    let created = keyward.cli_json(&["keys", "create", "--name", name]);
    let text = |field: &str| {
        created[field]
            .as_str()
            .expect("a new key has an id and a value")
            .to_owned()
    };
    (text("id"), text("value"))
}

/// `GET /v1/verify` with a key.
pub(crate) fn verify(address: &str, key: &str) -> Reply {
    wire::get(address, "/v1/verify", &[format!("Authorization: Bearer {key}")])
}

/// The outcome of a verify: `204`, or the code of the refusal.
pub(crate) fn outcome(address: &str, key: &str) -> String {
    let reply = verify(address, key);
    if reply.status == 204 {
        return "204".to_owned();
    }
    reply.json()["code"]
        .as_str()
        .expect("a refusal has a code")
        .to_owned()
}

/// Prints a line that is seen although the test passes.
pub(crate) fn tell(line: &str) {
    // `println!` is kept back for tests that pass; nothing is lost where the output is closed.
    drop(writeln!(std::io::stdout(), "{line}"));
}
