//! `keyward keys`: the whole life of a secret key, a file for each group of verbs.
//!
//! Nothing is decided here. What a command ends is shown with its last use and asked for first; `--yes` is the answer of
//! scripts.

mod bulk;
mod create;
mod edit;
mod fields;
mod filter;
mod find;
mod list;
mod replace;
mod rotate;
mod show;
mod state;
mod value;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::Surroundings;

pub(super) use bulk::incomplete;
pub(super) use fields::shown_rule;
pub(super) use filter::query_of;
pub(super) use find::{id_of, pasted};
pub(super) use list::key_table;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Keys {
    /// Create a key and print its value, this once
    Create(Box<create::Create>),
    /// List an organization's keys with their last uses; deleted ones are hidden
    List(list::List),
    /// Show one key with its secrets
    Show {
        /// Its id
        id: String,
    },
    /// Find a key by its pasted value or its first characters; the value itself is not sent anywhere
    Find(find::Find),
    /// Edit a key; true for its next request
    Edit {
        /// Its id
        id: String,
        #[command(flatten)]
        changes: Box<edit::Changes>,
    },
    /// Pause a key: refused until it is resumed
    Pause {
        /// Its id
        id: String,
    },
    /// Resume a paused key, or let go of one that a restore left held
    Resume {
        /// Its id
        id: String,
    },
    /// Give a key another secret and print its value, this once; the old one is accepted for a time
    Rotate(rotate::Rotate),
    /// Watch, finish or cancel a rotation that is under way
    #[command(subcommand)]
    Rotation(rotate::Rotation),
    /// Delete a key as compromised and print the value of a copy that takes its place
    Replace(Box<replace::Replace>),
    /// Delete a key for good; it is refused from the moment this returns
    Delete(state::Delete),
    /// Delete or pause many keys at once, after a look at which
    #[command(subcommand)]
    Bulk(bulk::Bulk),
}

pub(super) async fn run(surroundings: &Surroundings, command: Keys) -> Result<ExitCode> {
    let done = match command {
        Keys::Create(new) => create::create(surroundings, *new).await,
        Keys::List(command) => list::list(surroundings, command).await,
        Keys::Show { id } => show::show(surroundings, &id).await,
        Keys::Find(command) => find::find(surroundings, command).await,
        Keys::Edit { id, changes } => edit::edit(surroundings, &id, *changes).await,
        Keys::Pause { id } => state::pause(surroundings, &id).await,
        Keys::Resume { id } => state::resume(surroundings, &id).await,
        Keys::Rotate(command) => rotate::rotate(surroundings, command).await,
        Keys::Rotation(command) => rotate::rotation(surroundings, command).await,
        Keys::Replace(command) => replace::replace(surroundings, *command).await,
        Keys::Delete(command) => state::delete(surroundings, command).await,
        Keys::Bulk(command) => return bulk::bulk(surroundings, command).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}
