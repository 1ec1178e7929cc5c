//! `keyward backup` and `keyward restore`: the database as a file, and back.
//!
//! A backup is taken from one snapshot, whether a server runs or not. It opens nothing by itself: the keyring is kept
//! apart. A restore brings the past back, so every key that was alive is held until the operator lets go of it. What ended
//! after the backup was made can be ended again from an export of the audit trail ([`super::deletions`]).

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use http::Method;
use keyward_core::record::Actor;
use keyward_core::time::Timestamp;
use keyward_engine::context::Context;
use keyward_engine::restore::{OldState, Restored};
use keyward_http::management::restore::ReleasedView;
use keyward_http::request::new_request_id;
use keyward_store::{Store, backup};
use serde_json::json;
use tokio::io::{AsyncWriteExt as _, BufReader, BufWriter};

use super::Surroundings;
use super::client::Client;
use super::deletions;
use super::keyring::open_existing;
use super::output;
use crate::clock;
use crate::configuration::{DatabaseChoice, Place};
use crate::keyring_file::KeyringFile;
use crate::serve::{open_engine_alone, open_store};

/// `keyward backup`.
#[derive(Args, Debug)]
pub(super) struct Backup {
    /// The file to write; it must not exist
    file: PathBuf,
}

/// `keyward restore`.
#[derive(Args, Debug)]
pub(super) struct Restore {
    /// The backup [default: none, to go on with the database that an earlier restore left]
    #[arg(required_unless_present_any = ["accept_old_state", "deletions_from"])]
    file: Option<PathBuf>,
    /// Let every key go that was alive in the backup; with --deletions-from only those that did not end later
    #[arg(long)]
    accept_old_state: bool,
    /// End again what ended after the backup was made, by an export of an organization's audit trail that goes on from it
    /// (keys, superseded secrets, management tokens, members, invitations, the organization); once for each organization
    #[arg(long, value_name = "EXPORT")]
    deletions_from: Vec<PathBuf>,
}

pub(super) async fn back_up(surroundings: &Surroundings, command: &Backup) -> Result<()> {
    let place = &surroundings.place;
    let store = open_existing(place)
        .await?
        .with_context(|| format!("there is no database at `{}`", place.database().shown()))?;
    let written = write(&store, &command.file).await;
    store.close().await;
    let (rows, keyring) = written?;
    if surroundings.is_json {
        return output::json(&json!({"file": command.file, "rows": rows, "keyring_id": keyring}));
    }
    output::data(&format!("{}\n", command.file.display()));
    output::note(&format!(
        "{rows} rows are in the backup. The keyring `{keyring}` is not: keep `{}` apart from it, for without it the \
         backup opens no key.",
        KeyringFile::of(place).path().display()
    ));
    Ok(())
}

async fn write(store: &Store, target: &Path) -> Result<(u64, String)> {
    ensure!(
        store
            .is_migrated()
            .await
            .context("could not look into the database")?,
        "the database is empty; there is nothing to back up"
    );
    let keyring = keyward_engine::keyring_of(store)
        .await
        .context("could not read the database's settings")?
        .context("the database belongs to no keyring yet; start the server once")?;
    ensure!(
        !target.exists(),
        "`{}` exists already; name a new file",
        target.display()
    );
    let mut name = target.file_name().context("name a file to write")?.to_owned();
    // A name that nobody can have prepared.
    name.push(format!(".{}.part", new_request_id()));
    let unfinished = target.with_file_name(name);
    let outcome = write_part(store, &keyring, &unfinished).await;
    if outcome.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    let rows = outcome?;
    // Linked rather than renamed, so that a file that appeared meanwhile is not overwritten.
    fs::hard_link(&unfinished, target)
        .and_then(|()| fs::remove_file(&unfinished))
        .with_context(|| format!("could not put the backup at `{}`", target.display()))?;
    let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .context("could not put the backup on the disk")?;
    Ok((rows, keyring))
}

async fn write_part(store: &Store, keyring: &str, unfinished: &Path) -> Result<u64> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(unfinished)
        .with_context(|| format!("could not make `{}`", unfinished.display()))?;
    let mut out = BufWriter::new(tokio::fs::File::from_std(file));
    let copied = store
        .dump(&mut out, keyring, clock::now().as_unix_ms())
        .await
        .context("the backup was not completed")?;
    out.flush().await.context("the backup was not completed")?;
    out.into_inner()
        .sync_all()
        .await
        .context("the backup is not on the disk")?;
    Ok(copied.rows)
}

pub(super) async fn restore(surroundings: &Surroundings, command: &Restore) -> Result<()> {
    let (place, exports) = (&surroundings.place, &command.deletions_from);
    let loaded = match &command.file {
        None => None,
        Some(file) => {
            // What ended later must not live for a moment: it is let go of after the replay.
            let accepts_now = command.accept_old_state && exports.is_empty();
            let old_state = if accepts_now {
                OldState::Accept
            } else {
                OldState::Hold
            };
            Some(load(place, file, exports, old_state).await?)
        }
    };
    if exports.is_empty() {
        return match loaded {
            Some(loaded) => loaded.show(surroundings),
            None => release(surroundings).await,
        };
    }
    let replayed = deletions::replay(place, exports, command.accept_old_state).await;
    let replayed = match &loaded {
        None => replayed?,
        Some(_) => replayed.context(
            "the backup was restored and its keys are held, but what ended later was not ended again; run `keyward restore \
             --deletions-from` for it before you let go of any key",
        )?,
    };
    if surroundings.is_json {
        let mut shown = replayed.json();
        if let (Some(loaded), Some(shown)) = (&loaded, shown.as_object_mut()) {
            shown.extend(loaded.json().as_object().cloned().unwrap_or_default());
        }
        output::json(&shown)?;
    } else {
        if let Some(loaded) = &loaded {
            loaded.show_data();
        }
        replayed.show();
        if let (Some(loaded), None) = (&loaded, replayed.released) {
            loaded.show_notes(true);
        }
    }
    replayed.outcome()
}

/// A backup that was restored.
struct Loaded {
    restored: Restored,
    made_at: Timestamp,
}

impl Loaded {
    fn json(&self) -> serde_json::Value {
        let restored = self.restored;
        json!({"rows": restored.rows, "held": restored.held, "ended_tokens": restored.ended_tokens})
    }

    fn show(&self, surroundings: &Surroundings) -> Result<()> {
        if surroundings.is_json {
            return output::json(&self.json());
        }
        self.show_data();
        self.show_notes(false);
        Ok(())
    }

    fn show_data(&self) {
        let restored = self.restored;
        output::data(&format!("{} rows, {} keys held\n", restored.rows, restored.held));
    }

    fn show_notes(&self, is_replayed: bool) {
        let restored = self.restored;
        if restored.ended_tokens > 0 {
            output::note(&format!(
                "{} management tokens were alive in the backup, and are ended: make others with `keyward tokens create`.",
                restored.ended_tokens
            ));
        }
        output::note(
            "No backup holds what people sign in with: nobody is signed in, and nobody has a passphrase. Let an Owner in with `keyward \
             people link ADDRESS` once the server runs, and the others as well.",
        );
        if restored.held == 0 {
            return;
        }
        if is_replayed {
            output::note(
                "The keys that the exports say nothing of are held still and answer `key_paused`: start the server and resume \
                 them one by one (`keyward keys resume ID`), or let all of them go with `keyward restore --accept-old-state`. \
                 What ended after the exports were made is not known here.",
            );
            return;
        }
        output::note(&format!(
            "A backup is the past: keys that were deleted after {} would be alive again. So {} keys are held and answer \
             `key_paused`.\nIf you have an export of the audit trail that is newer than the backup, end what it says has ended: \
             `keyward restore --deletions-from EXPORT`, before the server is started.\nThen start the server, delete what must \
             not come back (`keyward keys delete ID`) and resume the others one by one (`keyward keys resume ID`), or let all \
             of them go with `keyward restore --accept-old-state`.",
            keyward_api::moment::write(self.made_at),
            restored.held
        ));
    }
}

async fn load(place: &Place, file: &Path, exports: &[PathBuf], old_state: OldState) -> Result<Loaded> {
    let header = {
        let mut input = open(file).await?;
        backup::check(&mut input)
            .await
            .with_context(|| format!("`{}` can't be restored; nothing was changed", file.display()))?
    };
    let folder = place.folder();
    folder.prepare()?;
    let _lock = folder.lock()?;
    let keyring_file = KeyringFile::of(place);
    let Some(keyring) = keyring_file.find()? else {
        bail!(
            "the backup's records are sealed under the keyring `{}`; put its file at `{}` first (mode 0600), or name it \
             with KEYWARD_KEYRING_FILE",
            header.keyring_id,
            keyring_file.path().display()
        );
    };
    deletions::check(&keyring, exports).await?;
    refuse_filled(place).await?;
    let store = open_store(place).await?;
    let context = Context::new(Actor::LocalAdministrator, new_request_id());
    let outcome: Result<Restored> = async {
        store.migrate().await.context("could not prepare the database")?;
        let mut input = open(file).await?;
        let restored =
            keyward_engine::restore::restore(&store, &keyring, &mut input, old_state, &context, clock::now());
        restored
            .await
            .context("the backup was not restored; nothing was changed")
    }
    .await;
    store.close().await;
    Ok(Loaded {
        restored: outcome?,
        made_at: Timestamp::from_unix_ms(header.created_at_ms),
    })
}

/// Before anything is made: a database with something in it is left alone.
async fn refuse_filled(place: &Place) -> Result<()> {
    let Some(store) = open_existing(place).await? else {
        return Ok(());
    };
    let is_filled =
        async { Ok::<_, keyward_store::StoreError>(store.is_migrated().await? && !store.is_empty().await?) };
    let is_filled = is_filled.await;
    store.close().await;
    let is_filled = is_filled.context("could not look into the database")?;
    let advice = match place.database() {
        DatabaseChoice::Sqlite(_) => "restore into a new data folder (--data-dir)",
        DatabaseChoice::Postgres(_) => "restore into a new database",
    };
    ensure!(
        !is_filled,
        "the database `{}` is not empty; {advice}",
        place.database().shown()
    );
    Ok(())
}

pub(super) async fn open(file: &Path) -> Result<BufReader<tokio::fs::File>> {
    let opened = tokio::fs::File::open(file)
        .await
        .with_context(|| format!("could not read `{}`", file.display()))?;
    Ok(BufReader::new(opened))
}

async fn release(surroundings: &Surroundings) -> Result<()> {
    let place = &surroundings.place;
    let done = match Client::find(&surroundings.target.on_this_machine()).await? {
        Some(client) => {
            client
                .call(Method::POST, "/v1/restore/accept-old-state", None)
                .await?
        }
        None => release_here(place).await?,
    };
    if surroundings.is_json {
        return output::json(&done);
    }
    output::data(&format!("{} keys released\n", done.released));
    Ok(())
}

/// Without a server: as one, but for the listeners.
async fn release_here(place: &Place) -> Result<ReleasedView> {
    let (_lock, engine, _) = open_engine_alone(place).await?;
    let context = Context::new(Actor::LocalAdministrator, new_request_id());
    let released = engine.release_held(&context).await;
    engine.shut_down().await;
    let released = released.context("not every key was let go of; run it again")?;
    Ok(ReleasedView { released })
}
