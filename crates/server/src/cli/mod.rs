//! The command line: one definition, from which help and completions come, and the exit codes.
//!
//! On standard output is data, and with `--json` nothing but one JSON value; everything for people beside it is on standard
//! error. Exit codes: 0 done; 1 refused or failed, or not all of it was done; 2 wrong usage; 3 no server runs on the data
//! folder, or answers at the address; 4 `explain --exit-code`, and the key could not; 5 `audit verify` or `audit check`, and
//! the trail is not as it was written.

mod audit;
mod backup;
mod client;
mod deletions;
mod doctor;
mod doctor_database;
mod explain;
mod invitations;
mod keyring;
mod keys;
mod members;
mod nodes;
mod notices;
mod once;
mod org;
mod org_changes;
pub(crate) mod output;
mod people;
mod stop;
mod tls;
mod tokens;
mod usage;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::configuration::{ManagingSettings, Place, ServeSettings, SettingsFile, unknown_variables};
use crate::{logging, quickstart, serve};

pub(crate) use client::NoServer;
use client::Target;

/// Issues, narrows, checks and ends secret keys, and serves what they open.
#[derive(Parser, Debug)]
#[command(
    name = "keyward",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 refused or failed, or not all of it was done, 2 wrong usage, 3 no server runs on the data \
                  folder or answers at the address, 4 explain --exit-code, and the key could not, 5 audit verify or check, and the trail \
                  is not as it was written."
)]
struct CommandLine {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    managing: ManagingSettings,

    /// Print one JSON value instead of text for people
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve with an organization, a key and a sample dataset, and print a snippet to paste
    Quickstart(ServeSettings),
    /// Serve until told to stop
    Serve(ServeSettings),
    /// Create, list, find, edit, pause, rotate, replace and delete secret keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Ask whether a key could do something, and what decides that; nothing is done
    Explain(explain::Explain),
    /// Show who used which key for what, which keys nobody uses, and what a key could do without
    #[command(subcommand)]
    Usage(usage::Usage),
    /// Stop keys at once in an emergency; nothing ends by it
    Stop(stop::Stop),
    /// Create, list, show, edit, lock and delete organizations
    #[command(subcommand)]
    Org(org::Org),
    /// List the people of an organization, change their roles and remove them
    #[command(subcommand)]
    Members(members::Members),
    /// Let a person in who has no passphrase yet, or lost what they sign in with
    #[command(subcommand)]
    People(people::People),
    /// Invite people by a link, list, take back and accept invitations
    #[command(subcommand)]
    Invitations(invitations::Invitations),
    /// See what security contacts were told and what failed; test, switch on and re-key a contact
    #[command(subcommand)]
    Notices(notices::Notices),
    /// Create, list, show and delete management tokens, with which others use this API over the network
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    /// List, export, check and verify the audit trail, sign checkpoints, erase personal values
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Make, show, check and rotate the keyring
    #[command(subcommand)]
    Keyring(keyring::KeyringCommand),
    /// Show the nodes that serve this database: lease, lag, clock and version of each
    Nodes,
    /// Write a backup of the database, while the server runs or not; the keyring is not in it
    Backup(backup::Backup),
    /// Load a backup into an empty installation; its keys are held until you let them go
    Restore(backup::Restore),
    /// Print the effective configuration and check the installation
    Doctor(ServeSettings),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The exit code of [`explain`] where it is asked for.
const REFUSED_EXIT_CODE: u8 = 4;

/// The command line can be read, and asks for nothing that could be done.
#[derive(Debug)]
struct WrongUsage(String);

impl std::fmt::Display for WrongUsage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// What every command is given.
struct Surroundings {
    place: Place,
    target: Target,
    is_json: bool,
    file: SettingsFile,
    matches: ArgMatches,
}

/// Runs the command line to its end.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let (line, surroundings) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(failed) => return failed,
    };
    match dispatch(line.command, &surroundings) {
        Ok(code) => code,
        Err(error) => {
            output::note(&format!("keyward: {}", described(&error)));
            let is_absent = error.chain().any(|cause| cause.is::<NoServer>());
            ExitCode::from(if is_absent {
                3
            } else if error.is::<WrongUsage>() {
                2
            } else {
                1
            })
        }
    }
}

/// The context lines first, then the causes that say something new.
fn described(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (at, cause) in error.chain().enumerate() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if at > 0 {
            text.push_str("\n  cause: ");
        }
        text.push_str(&cause);
    }
    text
}

/// Parses twice: the first time to learn where the configuration file is, the second with its values as defaults.
fn parse(arguments: &[OsString]) -> Result<(CommandLine, Surroundings), ExitCode> {
    let first = CommandLine::command()
        .try_get_matches_from(arguments)
        .map_err(usage)?;
    let first = CommandLine::from_arg_matches(&first).map_err(usage)?;
    let file = SettingsFile::of(&first.place).map_err(|error| {
        output::note(&format!("keyward: {}", described(&error)));
        ExitCode::from(2)
    })?;
    let command = file.apply(CommandLine::command());
    let matches = command.try_get_matches_from(arguments).map_err(|error| {
        if let Some(path) = file.path() {
            output::note(&format!(
                "keyward: a value in `{}` can't be used:",
                path.display()
            ));
        }
        usage(error)
    })?;
    let line = CommandLine::from_arg_matches(&matches).map_err(usage)?;
    line.place.check().map_err(|error| {
        output::note(&format!("keyward: {}", described(&error)));
        ExitCode::from(2)
    })?;
    let surroundings = Surroundings {
        place: line.place.clone(),
        target: Target::new(&line.place, &line.managing),
        is_json: line.json,
        file,
        matches,
    };
    Ok((line, surroundings))
}

/// Help and version are no errors, and go to standard output.
fn usage(error: clap::Error) -> ExitCode {
    // Nobody is left to tell if even this can't be printed.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn dispatch(command: Command, surroundings: &Surroundings) -> Result<ExitCode> {
    match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "keyward", &mut script);
            output::data(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Command::Quickstart(settings) => {
            start_log(&settings)?;
            runtime()?.block_on(quickstart::run(&surroundings.place, &settings))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(settings) => {
            start_log(&settings)?;
            runtime()?.block_on(serve::run(&surroundings.place, &settings))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor(settings) => runtime()?.block_on(doctor::run(surroundings, &settings)),
        Command::Keys(command) => runtime()?.block_on(keys::run(surroundings, command)),
        Command::Explain(command) => runtime()?.block_on(explain::explain(surroundings, command)),
        Command::Usage(command) => done(runtime()?.block_on(usage::run(surroundings, command))),
        Command::Stop(command) => runtime()?.block_on(stop::stop(surroundings, command)),
        Command::Org(command) => done(runtime()?.block_on(org::run(surroundings, command))),
        Command::Members(command) => done(runtime()?.block_on(members::run(surroundings, command))),
        Command::People(command) => done(runtime()?.block_on(people::run(surroundings, command))),
        Command::Invitations(command) => done(runtime()?.block_on(invitations::run(surroundings, command))),
        Command::Notices(command) => runtime()?.block_on(notices::run(surroundings, command)),
        Command::Tokens(command) => done(runtime()?.block_on(tokens::run(surroundings, command))),
        Command::Audit(command) => runtime()?.block_on(audit::run(surroundings, command)),
        Command::Keyring(command) => done(runtime()?.block_on(keyring::run(surroundings, command))),
        Command::Nodes => done(runtime()?.block_on(nodes::run(surroundings))),
        Command::Backup(command) => done(runtime()?.block_on(backup::back_up(surroundings, &command))),
        Command::Restore(command) => done(runtime()?.block_on(backup::restore(surroundings, &command))),
    }
}

fn done(outcome: Result<()>) -> Result<ExitCode> {
    outcome.map(|()| ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")
}

fn start_log(settings: &ServeSettings) -> Result<()> {
    logging::start(&settings.log, settings.log_format)?;
    for name in unknown_variables(&CommandLine::command()) {
        tracing::warn!(
            name,
            "the environment has a KEYWARD_ variable that this program does not know"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_names_that_others_script_against_stay() {
        let mut command = CommandLine::command();
        command.build();
        let serve = command.find_subcommand("serve").unwrap();
        let find = |name: &str| {
            let argument = serve
                .get_arguments()
                .find(|argument| argument.get_id() == name)
                .unwrap();
            let default = argument
                .get_default_values()
                .first()
                .map(|value| value.to_str().unwrap().to_owned());
            let env = argument.get_env().map(|name| name.to_str().unwrap().to_owned());
            (argument.get_long().unwrap().to_owned(), env.unwrap(), default)
        };
        let row = |long: &str, env: &str, default: Option<&str>| {
            (long.to_owned(), env.to_owned(), default.map(str::to_owned))
        };
        assert_eq!(
            find("data_dir"),
            row("data-dir", "KEYWARD_DATA_DIR", Some("./keyward-data"))
        );
        assert_eq!(
            find("listen"),
            row("listen", "KEYWARD_LISTEN", Some("127.0.0.1:8787"))
        );
        assert_eq!(
            find("database_url"),
            row("database-url", "KEYWARD_DATABASE_URL", None)
        );
        assert_eq!(find("public_url"), row("public-url", "KEYWARD_PUBLIC_URL", None));
        assert_eq!(
            find("trusted_proxies"),
            row("trusted-proxies", "KEYWARD_TRUSTED_PROXIES", None)
        );
        assert_eq!(
            find("keyring_file"),
            row("keyring-file", "KEYWARD_KEYRING_FILE", None)
        );
    }
}
