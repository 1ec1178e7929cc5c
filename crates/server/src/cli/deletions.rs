//! `keyward restore --deletions-from EXPORT`: what ended after a backup was made is ended again.
//!
//! Every export is judged whole before the first thing is ended, so that one that is not as it was written changes nothing.
//! It works without a server, because nothing must be served before it. What is read and what follows from it is the engine's.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use keyward_api::moment;
use keyward_core::keyring::Keyring;
use keyward_core::record::Actor;
use keyward_engine::Engine;
use keyward_engine::context::Context;
use keyward_engine::later_deletions::{LaterDeletions, check_export, read_later_deletions};
use keyward_engine::replay_deletions::{Replay, ReplayedDeletion};
use keyward_http::request::new_request_id;
use serde_json::{Value, json};

use super::backup::open;
use super::output;
use crate::configuration::Place;
use crate::serve::open_engine_alone;

/// What a replay did.
pub(super) struct Replayed {
    trails: Vec<(LaterDeletions, Vec<ReplayedDeletion>)>,
    /// Keys that were let go of afterwards, if that was asked for.
    pub(super) released: Option<u64>,
}

/// Makes sure of exports before anything is restored.
pub(super) async fn check(keyring: &Keyring, exports: &[PathBuf]) -> Result<()> {
    for export in exports {
        let checked = check_export(keyring, &mut open(export).await?).await;
        checked.with_context(|| cannot(export))?;
    }
    Ok(())
}

/// Ends what the exports say has ended, and then lets go of the other keys if `releases`.
pub(super) async fn replay(place: &Place, exports: &[PathBuf], releases: bool) -> Result<Replayed> {
    let opened = open_engine_alone(place).await;
    let (_lock, engine, _) =
        opened.context("deletions are replayed while no server runs: stop it first, if one does")?;
    let outcome = replay_with(&engine, exports, releases).await;
    engine.shut_down().await;
    outcome
}

async fn replay_with(engine: &Engine, exports: &[PathBuf], releases: bool) -> Result<Replayed> {
    let mut later = Vec::with_capacity(exports.len());
    for export in exports {
        let mut input = open(export).await?;
        let read = read_later_deletions(engine.store(), &engine.keyring(), &mut input).await;
        later.push(read.with_context(|| cannot(export))?);
    }
    let context = Context::new(Actor::LocalAdministrator, new_request_id());
    let mut trails = Vec::with_capacity(later.len());
    for one in later {
        let replayed = engine.replay_deletions(&context, &one).await;
        let replayed = replayed.context("not everything was ended again; run it once more")?;
        trails.push((one, replayed));
    }
    let mut replayed = Replayed {
        trails,
        released: None,
    };
    // Whoever could not be ended must not be let go of.
    if releases && replayed.count("refused") == 0 {
        let released = engine.release_held(&context).await;
        replayed.released = Some(released.context("not every key was let go of; run it again")?);
    }
    Ok(replayed)
}

fn cannot(export: &Path) -> String {
    format!("`{}` can't be replayed; nothing was changed", export.display())
}

impl Replayed {
    fn count(&self, outcome: &str) -> usize {
        let all = self.trails.iter().flat_map(|(_, replayed)| replayed);
        all.filter(|one| one.outcome.name() == outcome).count()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let deletions: Vec<Value> = self
            .trails
            .iter()
            .flat_map(|(later, replayed)| replayed.iter().map(|one| shown(later, one)))
            .collect();
        json!({
            "replayed": self.count("replayed"),
            "already_so": self.count("already_so"),
            "not_found": self.count("not_found"),
            "refused": self.count("refused"),
            "deletions": deletions,
            "released": self.released,
        })
    }

    /// For people.
    pub(super) fn show(&self) {
        let mut rows = Vec::new();
        for (later, replayed) in &self.trails {
            for one in replayed {
                let deletion = &one.deletion;
                rows.push(vec![
                    later.chain().to_owned(),
                    deletion.ended.kind().to_owned(),
                    deletion.ended.id(),
                    deletion.sequence.to_string(),
                    moment::write(deletion.at),
                    one.outcome.name().replace('_', " "),
                ]);
            }
        }
        if !rows.is_empty() {
            output::table(&["ORGANIZATION", "WHAT", "ID", "ENTRY", "ENDED", "OUTCOME"], rows);
        }
        for (later, _) in &self.trails {
            output::note(&format!(
                "The trail of `{}` was the same until entry {}; its export goes on until {}.",
                later.chain(),
                later.common,
                later.last
            ));
        }
        output::note(&format!(
            "{} replayed, {} ended already, {} not in the backup, {} refused.",
            self.count("replayed"),
            self.count("already_so"),
            self.count("not_found"),
            self.count("refused")
        ));
        if let Some(released) = self.released {
            output::note(&format!("{released} keys were let go of."));
        }
    }

    /// Whether everything could be ended.
    ///
    /// # Errors
    /// What could not.
    pub(super) fn outcome(&self) -> Result<()> {
        let all = self.trails.iter().flat_map(|(_, replayed)| replayed);
        let refused: Vec<String> = all
            .filter_map(|one| match &one.outcome {
                Replay::Refused(why) => {
                    let ended = &one.deletion.ended;
                    Some(format!("{} {}: {why}", ended.kind(), ended.id()))
                }
                _ => None,
            })
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        bail!(
            "{} could not be ended again, and no key was let go of: {}",
            refused.len(),
            refused.join("; ")
        )
    }
}

fn shown(later: &LaterDeletions, one: &ReplayedDeletion) -> Value {
    let why = match &one.outcome {
        Replay::Refused(why) => Some(why),
        _ => None,
    };
    json!({
        "organization_id": later.chain(),
        "kind": one.deletion.ended.kind(),
        "id": one.deletion.ended.id(),
        "sequence": one.deletion.sequence,
        "at": moment::write(one.deletion.at),
        "outcome": one.outcome.name(),
        "why": why,
    })
}
