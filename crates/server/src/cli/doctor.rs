//! `keyward doctor`: the effective configuration with its secrets hidden, and what is wrong with the installation.
//!
//! It changes nothing. Each finding that is not good says what to do; the exit code is 1 if there is one.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;
use http::Method;
use keyward_http::management::status::StatusView;
use serde::Serialize;

use super::client::Client;
use super::keyring::{Fit, check, open_existing};
use super::{CommandLine, Surroundings, doctor_database, output};
use crate::configuration::{DatabaseChoice, ServeSettings, SmtpUrl, unknown_variables};
use crate::data_folder::check_private;
use crate::keyring_file::KeyringFile;
use crate::process::machine_name;
use crate::serve::{VERSION, default_public_url};

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    source: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Good,
    Note,
    Bad,
}

#[derive(Serialize)]
struct Finding {
    verdict: Verdict,
    about: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    settings: Vec<Setting>,
    findings: Vec<Finding>,
}

pub(super) async fn run(surroundings: &Surroundings, settings: &ServeSettings) -> Result<ExitCode> {
    let report = Report {
        version: VERSION,
        settings: effective(surroundings, settings),
        findings: examine(surroundings, settings).await,
    };
    let is_bad = report
        .findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Bad);
    if surroundings.is_json {
        output::json(&report)?;
    } else {
        output::data(&format!("keyward {VERSION}\n\n"));
        let rows = report
            .settings
            .into_iter()
            .map(|one| vec![one.name.to_owned(), one.value, one.source.to_owned()]);
        output::table(&["SETTING", "VALUE", "FROM"], rows.collect());
        output::data("\n");
        for finding in report.findings {
            let verdict = match finding.verdict {
                Verdict::Good => "good",
                Verdict::Note => "note",
                Verdict::Bad => "BAD ",
            };
            output::data(&format!("{verdict}  {}: {}\n", finding.about, finding.message));
        }
    }
    Ok(ExitCode::from(u8::from(is_bad)))
}

fn effective(surroundings: &Surroundings, settings: &ServeSettings) -> Vec<Setting> {
    let place = &surroundings.place;
    let own = surroundings.matches.subcommand().map(|(_, matches)| matches);
    let setting = |name: &'static str, value: String| Setting {
        name,
        value,
        source: own.map_or("default", |matches| surroundings.file.source_of(matches, name)),
    };
    let public_url = match &settings.public_url {
        Some(url) => url.as_str().to_owned(),
        None => default_public_url(settings.listen),
    };
    let listed = |networks: &[ipnet::IpNet]| {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        if networks.is_empty() {
            "none".to_owned()
        } else {
            networks.join(", ")
        }
    };
    vec![
        setting("data_dir", place.data_dir.display().to_string()),
        setting(
            "config",
            surroundings
                .file
                .path()
                .map_or_else(|| "none".to_owned(), |path| path.display().to_string()),
        ),
        setting("database_url", place.database().shown()),
        setting(
            "keyring_file",
            KeyringFile::of(place).path().display().to_string(),
        ),
        setting("node_name", place.node_name.clone().unwrap_or_else(machine_name)),
        setting("listen", settings.listen.to_string()),
        setting("admin_listen", settings.admin_listen.to_string()),
        setting("public_url", public_url),
        setting("trusted_proxies", listed(&settings.trusted_proxies)),
        setting(
            "smtp_url",
            settings
                .smtp_url
                .as_ref()
                .map_or_else(|| "none".to_owned(), SmtpUrl::without_password),
        ),
        setting(
            "smtp_from",
            settings.smtp_from.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        setting(
            "delivery_allow_networks",
            listed(&settings.delivery_allow_networks),
        ),
        setting("cache_bytes", settings.cache_bytes.to_string()),
        setting("log", settings.log.clone()),
        setting("log_format", format!("{:?}", settings.log_format).to_lowercase()),
    ]
}

async fn examine(surroundings: &Surroundings, settings: &ServeSettings) -> Vec<Finding> {
    let place = &surroundings.place;
    let mut findings = Vec::new();
    let mut add = |verdict: Verdict, about: &'static str, message: String| {
        findings.push(Finding {
            verdict,
            about,
            message,
        });
    };
    let folder = place.folder();
    if !folder.path().exists() {
        add(
            Verdict::Note,
            "data folder",
            "it is not there yet; the first `keyward serve` makes it".to_owned(),
        );
        return findings;
    }
    match folder.check() {
        Ok(()) => add(Verdict::Good, "data folder", "private".to_owned()),
        Err(error) => add(Verdict::Bad, "data folder", format!("{error:#}")),
    }
    examine_keyring(surroundings, &mut add).await;
    doctor_database::examine(place, &mut add).await;
    if let DatabaseChoice::Sqlite(path) = place.database()
        && path.exists()
        && let Err(error) = check_private(&path)
    {
        // The folder keeps others out already.
        add(Verdict::Note, "database", format!("{error:#}"));
    }
    match Client::find(&surroundings.target.on_this_machine()).await {
        Ok(None) => add(
            Verdict::Note,
            "server",
            "none runs on this data folder".to_owned(),
        ),
        Ok(Some(client)) => match client.call::<StatusView>(Method::GET, "/v1/status", None).await {
            Ok(status) => {
                let (verdict, state) = match status.not_ready {
                    None => (Verdict::Good, "ready".to_owned()),
                    Some(reason) => (Verdict::Bad, format!("not ready: {reason}")),
                };
                let message = format!(
                    "version {} runs as process {} at {} with {} keys in memory, {state}",
                    status.version, status.process, status.public_url, status.cached_keys
                );
                add(verdict, "server", message);
            }
            Err(error) => add(Verdict::Bad, "server", format!("{error:#}")),
        },
        Err(error) => add(Verdict::Bad, "server", format!("{error:#}")),
    }
    if !settings.listen.ip().is_loopback() && settings.public_url.is_none() {
        let advice = "others can reach the server, and its links say `localhost`; set KEYWARD_PUBLIC_URL";
        add(Verdict::Note, "public address", advice.to_owned());
    }
    if !settings.admin_listen.ip().is_loopback() {
        let advice =
            "others can reach the metrics; keep --admin-listen on an address of your monitoring alone";
        add(Verdict::Note, "admin address", advice.to_owned());
    }
    for name in unknown_variables(&CommandLine::command()) {
        add(
            Verdict::Note,
            "environment",
            format!("{name} is no variable of this program; check its spelling"),
        );
    }
    findings
}

async fn examine_keyring(surroundings: &Surroundings, add: &mut impl FnMut(Verdict, &'static str, String)) {
    let place = &surroundings.place;
    let file = KeyringFile::of(place);
    let keyring = match file.find() {
        Ok(Some(keyring)) => keyring,
        Ok(None) => {
            let has_database = match open_existing(place).await {
                Ok(Some(store)) => {
                    let is_migrated = store.is_migrated().await.unwrap_or(true);
                    store.close().await;
                    is_migrated
                }
                Ok(None) => false,
                Err(error) => {
                    add(Verdict::Bad, "database", format!("{error:#}"));
                    return;
                }
            };
            if has_database {
                let message = format!(
                    "there is a database, and no keyring at `{}`; put it back",
                    file.path().display()
                );
                add(Verdict::Bad, "keyring", message);
            } else {
                add(Verdict::Note, "keyring", "there is none yet".to_owned());
            }
            return;
        }
        Err(error) => {
            add(Verdict::Bad, "keyring", format!("{error:#}"));
            return;
        }
    };
    match check(place, &keyring).await {
        Ok(fit) => {
            add(Verdict::Good, "keyring", fit.sentence().to_owned());
            if fit == Fit::Fits {
                let advice = format!(
                    "losing `{}` ends every key; keep a copy apart from the database's backups",
                    file.path().display()
                );
                add(Verdict::Note, "keyring", advice);
            }
        }
        Err(error) => add(Verdict::Bad, "database", format!("{error:#}")),
    }
}
