//! `keyward usage`: who used which key for what, which keys nobody uses, and what a key could do without.
//!
//! The server counts and answers; here it is only asked and shown: as tables, as JSON, as CSV or as JSON Lines.

mod form;
mod key;
mod organization;

use anyhow::Result;
use clap::Subcommand;

use super::Surroundings;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Usage {
    /// Show what happened to a key, living or deleted: its history, or sums, a curve, advice
    Key(Box<key::OfKey>),
    /// Show what an organization's keys were used for, and what deserves a look
    Org(organization::OfOrganization),
    /// List living keys that nobody used for so long
    Unused(organization::Unused),
    /// List addresses that keys were used from for the first time
    Addresses(organization::Addresses),
    /// List the addresses or clients that used an organization's keys most
    Top(organization::Top),
}

pub(super) async fn run(surroundings: &Surroundings, command: Usage) -> Result<()> {
    match command {
        Usage::Key(command) => key::show(surroundings, *command).await,
        Usage::Org(command) => organization::show(surroundings, command).await,
        Usage::Unused(command) => organization::unused(surroundings, command).await,
        Usage::Addresses(command) => organization::addresses(surroundings, command).await,
        Usage::Top(command) => organization::top(surroundings, command).await,
    }
}
