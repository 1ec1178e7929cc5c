//! `keyward keyring`: make, show, check and rotate the keyring.

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use http::Method;
use keyward_api::moment;
use keyward_core::keyring::Keyring;
use keyward_core::record::Actor;
use keyward_http::management::keyring::KeyringRotatedView;
use keyward_http::request::new_request_id;
use keyward_store::Store;
use serde_json::json;

use super::Surroundings;
use super::client::Client;
use super::output;
use crate::configuration::{DatabaseChoice, Place};
use crate::keyring_file::KeyringFile;
use crate::serve::open_engine_alone;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum KeyringCommand {
    /// Make the keyring of a new installation; with PostgreSQL this comes before the first start
    Init,
    /// Show the keyring's id and versions, never its keys
    Show,
    /// Make a new version, seal every record anew under it, and destroy the old one; no key holder notices. Where several
    /// nodes serve one database, stop the others first and give them the new file
    Rotate,
    /// Check that the keyring is private, readable, and the one that the database belongs to
    Check,
}

pub(super) async fn run(surroundings: &Surroundings, command: KeyringCommand) -> Result<()> {
    let place = &surroundings.place;
    let file = KeyringFile::of(place);
    match command {
        KeyringCommand::Init => init(surroundings, &file).await,
        KeyringCommand::Show => show(surroundings, &file.load()?, &file),
        KeyringCommand::Rotate => rotate(surroundings).await,
        KeyringCommand::Check => {
            let keyring = file.load()?;
            let state = check(place, &keyring).await?;
            if surroundings.is_json {
                return output::json(&json!({"id": keyring.id(), "database": state.name()}));
            }
            output::data(&format!("{} {}\n", keyring.id(), state.name()));
            output::note(state.sentence());
            Ok(())
        }
    }
}

async fn init(surroundings: &Surroundings, file: &KeyringFile) -> Result<()> {
    let place = &surroundings.place;
    let folder = place.folder();
    folder.prepare()?;
    let _lock = folder.lock()?;
    if let Some(store) = open_existing(place).await?
        && let Some(id) = bound_to(&store).await?
    {
        bail!(
            "the database `{}` belongs to the keyring `{id}` already; a new one would open none of its records. Put that \
             keyring's file at `{}`",
            place.database().shown(),
            file.path().display()
        );
    }
    let keyring = file.make()?;
    show(surroundings, &keyring, file)?;
    output::note(
        "Keep a copy of this file apart from the database's backups: without it every key is lost, and with both anybody \
         can make keys.",
    );
    Ok(())
}

fn show(surroundings: &Surroundings, keyring: &Keyring, file: &KeyringFile) -> Result<()> {
    let summary = keyring.summary();
    if surroundings.is_json {
        let versions: Vec<_> = summary
            .versions
            .iter()
            .map(|(version, at)| json!({"version": version, "created_at": moment::write(*at)}))
            .collect();
        let shown = json!({
            "id": summary.id,
            "file": file.path(),
            "active": summary.active,
            "versions": versions,
        });
        return output::json(&shown);
    }
    output::facts(&[("Id", summary.id), ("File", file.path().display().to_string())]);
    output::data("\n");
    let rows = summary.versions.iter().map(|(version, at)| {
        let is_active = *version == summary.active;
        let state = if is_active { "active" } else { "being replaced" };
        vec![version.to_string(), state.to_owned(), moment::write(*at)]
    });
    output::table(&["VERSION", "STATE", "CREATED"], rows.collect());
    Ok(())
}

async fn rotate(surroundings: &Surroundings) -> Result<()> {
    let place = &surroundings.place;
    let done: KeyringRotatedView = match Client::find(&surroundings.target.on_this_machine()).await? {
        Some(client) => client.call(Method::POST, "/v1/keyring/rotate", None).await?,
        None => rotate_here(place).await?,
    };
    if surroundings.is_json {
        return output::json(&done);
    }
    output::data(&format!("{} {}\n", done.id, done.active));
    output::note(&format!(
        "version {} seals now; {} keys, {} management tokens and {} second factors of people were sealed anew{}",
        done.active,
        done.resealed,
        done.resealed_tokens,
        done.resealed_second_factors,
        match done.broken {
            0 => ", and the old versions are destroyed".to_owned(),
            broken => format!(
                ". {broken} of them do not open, so the old versions are kept; the log names them, and deleting them ends it"
            ),
        }
    ));
    output::note(
        "A copy of the keyring that you keep elsewhere is out of date now: replace it, and make a new backup, because older \
         ones need the old keyring.",
    );
    Ok(())
}

/// Without a server: as one, but for the listeners.
async fn rotate_here(place: &Place) -> Result<KeyringRotatedView> {
    let (_lock, engine, file) = open_engine_alone(place).await?;
    let context = keyward_engine::context::Context::new(Actor::LocalAdministrator, new_request_id());
    let rotated = engine
        .rotate_keyring(context, &|keyring| file.save(keyring))
        .await;
    engine.shut_down().await;
    let done = rotated.context("the keyring could not be rotated; nothing is lost, run it again")?;
    Ok(KeyringRotatedView {
        id: done.keyring.id,
        active: done.keyring.active,
        resealed: done.resealed,
        resealed_tokens: done.resealed_tokens,
        resealed_second_factors: done.resealed_second_factors,
        broken: done.broken,
    })
}

/// How a keyring and a database stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    NoDatabase,
    NotBound,
    Fits,
}

impl Fit {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NoDatabase => "no_database",
            Self::NotBound => "not_bound",
            Self::Fits => "fits",
        }
    }

    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::NoDatabase => "the keyring is good; there is no database yet",
            Self::NotBound => {
                "the keyring is good; the database belongs to none yet, and will to this one at the first start"
            }
            Self::Fits => "the keyring is good, and the one that the database belongs to",
        }
    }
}

/// Compares a keyring with the database; changes nothing.
pub(super) async fn check(place: &Place, keyring: &Keyring) -> Result<Fit> {
    let Some(store) = open_existing(place).await? else {
        return Ok(Fit::NoDatabase);
    };
    let bound = bound_to(&store).await?;
    let outcome = match bound {
        None => Ok(Fit::NotBound),
        Some(_) => keyward_engine::check_keyring(&store, keyring)
            .await
            .map(|()| Fit::Fits),
    };
    store.close().await;
    outcome.with_context(|| {
        format!(
            "the keyring is not the one of the database `{}`",
            place.database().shown()
        )
    })
}

/// The keyring that a database belongs to; a database without tables belongs to none.
async fn bound_to(store: &Store) -> Result<Option<String>> {
    if !store
        .is_migrated()
        .await
        .context("could not look into the database")?
    {
        return Ok(None);
    }
    keyward_engine::keyring_of(store)
        .await
        .context("could not read the database's settings")
}

/// Opens the database if it is there.
pub(super) async fn open_existing(place: &Place) -> Result<Option<Store>> {
    let choice = place.database();
    if let DatabaseChoice::Sqlite(path) = &choice
        && !path.exists()
    {
        return Ok(None);
    }
    let store = Store::open(&choice.for_store())
        .await
        .with_context(|| format!("could not open the database `{}`", choice.shown()))?;
    Ok(Some(store))
}
