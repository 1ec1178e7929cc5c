//! Other servers of keys that are measured in the same rounds, where `--beside` asks for them.
//!
//! Each gets as many keys as Keyward has, and the same requests with keys of its own. What each needs is installed into the user's
//! cache folder: packages from PyPI and npm, PostgreSQL as for the tests. They are set up in their own favour (`benches/peers`).
//! Only requests a second are compared: some of them are several processes, and a database besides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::process::Server;
use super::{Answer, Host, Target};
use crate::postgres::Cluster;
use crate::{python, system};

/// These versions exactly: another one is another measurement. What they stand on is what npm finds for them.
const BETTER_AUTH: &str = r#"{
  "private": true,
  "type": "module",
  "dependencies": {
    "@better-auth/api-key": "1.7.5",
    "@better-auth/core": "1.7.5",
    "better-auth": "1.7.5",
    "pg": "8.23.1"
  }
}
"#;

/// They make as many keys as there are before they serve.
const SEED_AND_START_LIMIT: Duration = Duration::from_secs(900);

/// Another way to check keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Peer {
    /// The bare server, with a look into PostgreSQL instead of one into a map
    Postgres,
    /// djangorestframework-api-key, two gunicorn workers, SQLite
    Drf,
    /// better-auth with its api-key plugin, one Node process, PostgreSQL
    BetterAuth,
}

/// The servers, running until they are dropped.
pub(super) struct Beside {
    servers: Vec<(Peer, Server)>,
    /// Ends after the servers that use it.
    _cluster: Option<Cluster>,
}

/// What all of them need.
pub(super) struct Place<'a> {
    pub(super) programs: &'a Path,
    /// For what they write.
    pub(super) folder: &'a Path,
    /// The texts to send are put there, a file each.
    pub(super) texts: &'a Path,
    pub(super) keys: usize,
    pub(super) sample: usize,
}

impl Peer {
    /// What it is called in the tables; also the name of its file of texts.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL per verify",
            Self::Drf => "DRF API key",
            Self::BetterAuth => "better-auth",
        }
    }

    const fn texts(self) -> &'static str {
        match self {
            Self::Postgres => "sample",
            Self::Drf => "drf",
            Self::BetterAuth => "better-auth",
        }
    }

    const fn uses_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::BetterAuth)
    }
}

impl Beside {
    /// Installs, seeds and starts.
    pub(super) fn start(peers: &[Peer], place: &Place<'_>) -> Result<Self> {
        let cluster = match peers.iter().any(|peer| peer.uses_postgres()) {
            true => Some(Cluster::start()?),
            false => None,
        };
        let database_url = cluster.as_ref().map(Cluster::url).unwrap_or_default();
        let mut servers = Vec::new();
        for peer in peers {
            super::say(&format!("{}: {} keys", peer.name(), place.keys));
            let server = match peer {
                Peer::Postgres => place.start_postgres(database_url),
                Peer::Drf => place.start_drf(),
                Peer::BetterAuth => place.start_better_auth(database_url),
            };
            servers.push((*peer, server?));
        }
        Ok(Self {
            servers,
            _cluster: cluster,
        })
    }

    /// What to ask them, each once a round.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        self.servers.iter().map(|(peer, _)| Target {
            name: peer.name(),
            host: Host::Beside(*peer),
            path: "/v1/verify",
            texts: peer.texts(),
            expects: Answer::Success,
        })
    }

    pub(super) fn server(&self, wanted: Peer) -> Option<&Server> {
        let found = self.servers.iter().find(|(peer, _)| *peer == wanted);
        found.map(|(_, server)| server)
    }
}

impl Place<'_> {
    fn start_postgres(&self, database_url: &str) -> Result<Server> {
        let address_file = self.folder.join("postgres-address");
        let mut command = Command::new(self.programs.join("examples/postgres_per_verify"));
        command
            .arg(database_url)
            .args([&self.texts.join("keys"), &address_file]);
        self.serve("postgres", command, &address_file)
    }

    fn start_drf(&self) -> Result<Server> {
        let python = python::drf_api_key()?;
        let folder = self.folder.join("drf");
        super::private_folder(&folder)?;
        let program = peers_folder().join("drf.py");
        let mut seeding = Command::new(&python);
        seeding.arg(&program).arg(&folder);
        system::run_quietly(seeding.args([self.keys.to_string(), self.sample.to_string()]))?;
        fs::rename(folder.join("texts"), self.texts.join(Peer::Drf.texts()))
            .context("could not take the keys of `drf.py`")?;

        let mut command = Command::new(python.with_file_name("gunicorn"));
        command
            .arg("--config")
            .arg(&program)
            .arg("drf:application")
            .current_dir(peers_folder())
            // What is compiled would be left in the checkout.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DRF_FOLDER", &folder);
        self.serve("drf", command, &folder.join("address"))
    }

    fn start_better_auth(&self, database_url: &str) -> Result<Server> {
        let packages = better_auth_packages()?;
        let node = system::find_program("node").context("there is `npm` on the path, but no `node`")?;
        // Node looks for packages beside the program.
        let program = packages.join("better_auth.mjs");
        fs::copy(peers_folder().join("better_auth.mjs"), &program)
            .context("could not copy `better_auth.mjs`")?;
        let address_file = self.folder.join("better-auth-address");
        let mut command = Command::new(node);
        command
            .arg(&program)
            .arg(database_url)
            .args([self.keys.to_string(), self.sample.to_string()])
            .args([self.texts.join(Peer::BetterAuth.texts()), address_file.clone()])
            .env("NODE_ENV", "production");
        self.serve("better-auth", command, &address_file)
    }

    fn serve(&self, name: &str, command: Command, address_file: &Path) -> Result<Server> {
        let log = self.folder.join(format!("{name}.log"));
        Server::start(name, command, (address_file, &log), SEED_AND_START_LIMIT)
    }
}

fn peers_folder() -> PathBuf {
    system::checkout().join("benches/peers")
}

fn better_auth_packages() -> Result<PathBuf> {
    // It brings Node.
    let npm = system::find_or_install("npm")?;
    let folder = system::cache_folder()?.join("better-auth-1.7.5");
    if folder.is_dir() {
        return Ok(folder);
    }
    println!(
        "   installing better-auth and its api-key plugin into {}",
        folder.display()
    );
    // Renamed when it is whole.
    let unfinished = folder.with_extension("part");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)
            .with_context(|| format!("could not remove `{}`", unfinished.display()))?;
    }
    fs::create_dir_all(&unfinished).with_context(|| format!("could not make `{}`", unfinished.display()))?;
    fs::write(unfinished.join("package.json"), BETTER_AUTH).context("could not write `package.json`")?;
    let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts"];
    system::run_quietly(Command::new(npm).args(install).current_dir(&unfinished))?;
    fs::rename(&unfinished, &folder).with_context(|| format!("could not make `{}`", folder.display()))?;
    Ok(folder)
}
