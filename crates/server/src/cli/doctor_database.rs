//! What `keyward doctor` says of a database: what it promises about acknowledged writes, and whether keys are held since a restore.

use keyward_api::moment;
use keyward_core::state::PauseReason;
use keyward_core::time::Timestamp;
use keyward_store::Store;
use keyward_store::postgres_promises::{Promises, Standby};

use super::doctor::Verdict;
use super::keyring::open_existing;
use crate::configuration::Place;

/// Examines a database that is there. One that can't be opened is told of with the keyring.
pub(super) async fn examine(place: &Place, add: &mut impl FnMut(Verdict, &'static str, String)) {
    let Ok(Some(store)) = open_existing(place).await else {
        return;
    };
    match store.promises().await {
        Ok(None) => {}
        Ok(Some(promises)) => {
            for (verdict, message) in judge(&promises) {
                add(verdict, "database", message);
            }
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            add(
                Verdict::Bad,
                "database",
                format!("could not ask what it promises: {error:#}"),
            );
        }
    }
    let held = held_since(&store).await;
    store.close().await;
    if let Some(restored_at) = held {
        let advice = format!(
            "it was restored from a backup on {}, and keys are held: end what ended after the backup was made (`keyward \
             restore --deletions-from EXPORT`, while no server runs), then resume the others one by one (`keyward keys \
             resume ID`) or all together (`keyward restore --accept-old-state`)",
            moment::write(restored_at)
        );
        add(Verdict::Note, "database", advice);
    }
}

fn judge(promises: &Promises) -> Vec<(Verdict, String)> {
    let mut findings = vec![(Verdict::Good, format!("`{}` takes writes", promises.host))];
    let mut add = |verdict, message: String| findings.push((verdict, message));
    if !promises.unsafe_settings.is_empty() {
        let names = promises.unsafe_settings.join(", ");
        add(
            Verdict::Bad,
            format!("PostgreSQL runs with {names} off: a crash can lose deletions that were answered"),
        );
    }
    let (verdict, message) = standby(promises.standby);
    add(verdict, message.to_owned());
    if !promises.has_session_settings {
        let message = "the time-outs and the synchronous commit that Keyward asks for do not take effect: a pooler in between \
                       ignores them. Give Keyward the address of PostgreSQL itself";
        add(Verdict::Bad, message.to_owned());
    }
    if promises.wakes {
        add(
            Verdict::Good,
            "sessions hear each other (LISTEN, NOTIFY)".to_owned(),
        );
    } else {
        let message = "a session does not hear what another one notifies of (LISTEN, NOTIFY), as through PgBouncer in transaction \
                       mode: deletions wait longer. Give Keyward the address of PostgreSQL itself";
        add(Verdict::Bad, message.to_owned());
    }
    findings
}

const fn standby(standby: Standby) -> (Verdict, &'static str) {
    match standby {
        Standby::Synchronous => (
            Verdict::Good,
            "a commit waits for a synchronous standby: what was acknowledged survives the loss of the primary",
        ),
        Standby::Asynchronous => (
            Verdict::Note,
            "no commit waits for a standby (`synchronous_standby_names` is empty): an acknowledged delete can be lost if the \
             primary is lost and the standby promoted",
        ),
        Standby::Missing => (
            Verdict::Bad,
            "`synchronous_standby_names` is set, and no synchronous standby is connected: no write ends until one is",
        ),
        Standby::Unseen => (
            Verdict::Note,
            "`synchronous_standby_names` is set; whether a standby is connected is not shown to this user (`GRANT pg_monitor`)",
        ),
    }
}

/// When the database was restored, if keys are held since. What can't be asked is told of elsewhere.
async fn held_since(store: &Store) -> Option<Timestamp> {
    if !store.is_migrated().await.ok()? {
        return None;
    }
    let reason = PauseReason::Restored.name();
    let held = store.list_key_ids_in_state("paused", reason, "", 1).await.ok()?;
    held.first()?;
    store.last_restore_at().await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promises() -> Promises {
        Promises {
            host: "db1:5432".to_owned(),
            unsafe_settings: Vec::new(),
            standby: Standby::Synchronous,
            has_session_settings: true,
            wakes: true,
        }
    }

    /// What is not good of it, and what is said.
    fn found(promises: &Promises) -> Vec<(bool, String)> {
        let findings = judge(promises).into_iter();
        findings
            .filter(|(verdict, _)| *verdict != Verdict::Good)
            .map(|(verdict, message)| (verdict == Verdict::Bad, message))
            .collect()
    }

    #[test]
    fn a_database_that_promises_everything_is_good() {
        assert_eq!(found(&promises()), []);
    }

    #[test]
    fn each_promise_that_is_not_made_is_named_with_what_to_do() {
        let expected = [
            (
                Promises {
                    unsafe_settings: vec!["fsync".to_owned()],
                    ..promises()
                },
                true,
                "fsync off",
            ),
            (
                Promises {
                    standby: Standby::Asynchronous,
                    ..promises()
                },
                false,
                "an acknowledged delete can be lost",
            ),
            (
                Promises {
                    standby: Standby::Missing,
                    ..promises()
                },
                true,
                "no write ends until one is",
            ),
            (
                Promises {
                    standby: Standby::Unseen,
                    ..promises()
                },
                false,
                "GRANT pg_monitor",
            ),
            (
                Promises {
                    has_session_settings: false,
                    ..promises()
                },
                true,
                "a pooler in between",
            ),
            (
                Promises {
                    wakes: false,
                    ..promises()
                },
                true,
                "PgBouncer in transaction mode",
            ),
        ];
        for (promises, is_bad, words) in expected {
            let found = found(&promises);
            assert!(
                matches!(&found[..], [(bad, said)] if *bad == is_bad && said.contains(words)),
                "{found:?} for {promises:?}"
            );
        }
    }
}
