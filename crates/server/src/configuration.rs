//! The settings of a process, each declared once with its documentation, in this file.
//!
//! Order: built-in default, then the TOML file, then the `KEYWARD_*` environment, then the flags. The file's values become
//! the defaults of the command line's own arguments, so that there is one declaration, one parser and one error message
//! for each setting. Unknown keys of the file are refused. Unknown `KEYWARD_*` variables are only warned of: an
//! orchestrator that runs a service of this name sets some of its own.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, ValueEnum};
use ipnet::IpNet;
use keyward_core::contact::WebhookUrl;
use keyward_core::time::{DurationRefused, parse_duration_ms};
use keyward_engine::RateLimits;
use keyward_store::Database;

use crate::byte_size::ByteSize;
use crate::data_folder::DataFolder;

/// Where an installation's data is; every command needs it.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Installation")]
pub(crate) struct Place {
    /// The data folder: keyring, SQLite database, socket, lock. Made with mode 0700 at the first start
    #[arg(
        long,
        global = true,
        env = "KEYWARD_DATA_DIR",
        value_name = "FOLDER",
        default_value = "./keyward-data"
    )]
    pub(crate) data_dir: PathBuf,

    /// The configuration file [default: `keyward.toml` in the data folder, if it is there]
    #[arg(long, global = true, env = "KEYWARD_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// A PostgreSQL database in place of SQLite, which several nodes may serve: `postgres://user:password@host:port/database`; with standbys
    /// `host1:port1,host2:port2`, of which the one that takes writes is used
    #[arg(
        long,
        global = true,
        env = "KEYWARD_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: Option<DatabaseUrl>,

    /// The keyring's file [default: `keyring.json` in the data folder]
    #[arg(long, global = true, env = "KEYWARD_KEYRING_FILE", value_name = "FILE")]
    pub(crate) keyring_file: Option<PathBuf>,

    /// What this process is called among the nodes that serve a PostgreSQL database together [default: the machine's name]
    #[arg(long, global = true, env = "KEYWARD_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: Option<String>,
}

/// Over what rate limits hold.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateLimitsChoice {
    /// Each node has buckets of its own: `n` nodes together accept up to `n` times as much.
    Node,
    /// All nodes spend from one bucket of a key.
    Cluster,
}

impl From<RateLimitsChoice> for RateLimits {
    fn from(choice: RateLimitsChoice) -> Self {
        match choice {
            RateLimitsChoice::Node => Self::Node,
            RateLimitsChoice::Cluster => Self::Cluster,
        }
    }
}

/// Which server is managed, and as whom.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Managing")]
pub(crate) struct ManagingSettings {
    /// Manage this server over the network, with a management token, instead of the one on the data folder
    #[arg(long, global = true, env = "KEYWARD_SERVER", value_name = "URL")]
    pub(crate) server: Option<PublicUrl>,

    /// A file with the management token [default: the variable KEYWARD_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Certificates (PEM) of the authority that signed the server's, if no public one did
    #[arg(long, global = true, env = "KEYWARD_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Act as this member, with their role and under their name in the audit trail: an e-mail address or a person's id
    #[arg(long, global = true, value_name = "EMAIL")]
    pub(crate) act_as: Option<String>,

    /// The organization to act in [default: the one that the command is about, or the only one they belong to]
    #[arg(long, global = true, value_name = "ID", requires = "act_as")]
    pub(crate) act_in: Option<String>,
}

/// The variable with the management token. It has no flag, which a list of processes would show.
pub(crate) const TOKEN_VARIABLE: &str = "KEYWARD_TOKEN";

/// How a server serves.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServeSettings {
    /// Where the resource API and the verify route listen
    #[arg(
        long,
        env = "KEYWARD_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = parse_address,
        default_value = "127.0.0.1:8787"
    )]
    pub(crate) listen: SocketAddr,

    /// Where metrics and detailed readiness listen; keep it where only your monitoring reaches it
    #[arg(
        long,
        env = "KEYWARD_ADMIN_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = parse_address,
        default_value = "127.0.0.1:8788"
    )]
    pub(crate) admin_listen: SocketAddr,

    /// How clients reach this server, for links and snippets: scheme, host and port, no path
    /// [default: the loopback address that it listens on, else `http://localhost:PORT`]
    #[arg(long, env = "KEYWARD_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,

    /// Networks of reverse proxies whose `X-Forwarded-For` is believed, separated by commas [default: none]
    #[arg(
        long,
        env = "KEYWARD_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_delimiter = ',',
        value_parser = parse_network
    )]
    pub(crate) trusted_proxies: Vec<IpNet>,

    /// The mail server for notices: `smtps://user:password@host:465`, or `smtp://user:password@host:587?tls=required` (STARTTLS).
    /// Set it in the environment or the configuration file, where a list of processes does not show the password
    /// [default: none, and no mail is sent]
    #[arg(
        long,
        env = "KEYWARD_SMTP_URL",
        hide_env_values = true,
        value_name = "URL",
        requires = "smtp_from"
    )]
    pub(crate) smtp_url: Option<SmtpUrl>,

    /// From whom mail is, such as `Keyward <keyward@example.com>`
    #[arg(long, env = "KEYWARD_SMTP_FROM", value_name = "SENDER", requires = "smtp_url")]
    pub(crate) smtp_from: Option<String>,

    /// Networks that are not public and may be called by webhooks all the same, separated by commas [default: none]
    #[arg(
        long,
        env = "KEYWARD_DELIVERY_ALLOW_NETWORKS",
        value_name = "NETWORKS",
        value_delimiter = ',',
        value_parser = parse_network
    )]
    pub(crate) delivery_allow_networks: Vec<IpNet>,

    /// How much memory the keys that are kept for verifying may take, such as `256MiB`: about 170 bytes a key
    #[arg(
        long,
        env = "KEYWARD_CACHE_BYTES",
        value_name = "AMOUNT",
        default_value = "256MiB"
    )]
    pub(crate) cache_bytes: ByteSize,

    /// Over what the rate limits of keys hold: each node for itself, or all nodes of a PostgreSQL database together; to be the same at
    /// all of them
    #[arg(
        long,
        env = "KEYWARD_RATE_LIMITS",
        value_name = "WHERE",
        value_enum,
        default_value_t = RateLimitsChoice::Node
    )]
    pub(crate) rate_limits: RateLimitsChoice,

    /// How often a checkpoint of each audit trail that grew is signed: `15m`, `1h`
    #[arg(
        long,
        env = "KEYWARD_AUDIT_CHECKPOINT_EVERY",
        value_name = "DURATION",
        value_parser = parse_interval,
        default_value = "1h"
    )]
    pub(crate) audit_checkpoint_every: Duration,

    /// A file that each checkpoint is appended to; keep it where whoever can write the database can't [default: none]
    #[arg(long, env = "KEYWARD_AUDIT_CHECKPOINT_FILE", value_name = "FILE")]
    pub(crate) audit_checkpoint_file: Option<PathBuf>,

    /// A URL that each checkpoint is posted to, as a line of JSON; it must answer with a 2xx [default: none]
    #[arg(long, env = "KEYWARD_AUDIT_CHECKPOINT_URL", value_name = "URL")]
    pub(crate) audit_checkpoint_url: Option<WebhookUrl>,

    /// What is logged: a level, or directives such as `info,keyward_http=debug`
    #[arg(long, env = "KEYWARD_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,

    /// How log lines are written
    #[arg(long, env = "KEYWARD_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// See [`ServeSettings::log_format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// A PostgreSQL address; it can hold a password and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(String);

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;
    /// Takes any text: the parser of the command line would repeat one that is refused, password and all. What it is, is
    /// checked by [`Place::check`].
    fn from_str(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DatabaseUrl")
    }
}

impl DatabaseUrl {
    fn is_postgres(&self) -> bool {
        self.0.starts_with("postgres://") || self.0.starts_with("postgresql://")
    }

    /// User, host, port and database, without the password and the options.
    pub(crate) fn without_password(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://").filter(|_| self.is_postgres()) else {
            return "(not a PostgreSQL address)".to_owned();
        };
        // The last `@` first: a password that was not encoded may hold any of the others.
        let (user, place) = match rest.rsplit_once('@') {
            Some((who, place)) => (who.split([':', '/', '?', '#']).next().unwrap_or_default(), place),
            None => ("", rest),
        };
        let place = place.split(['?', '#']).next().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        format!("{scheme}://{user}{at}{place}")
    }
}

/// A mail server's address; it can hold a password and is never printed. What it is, is checked when the server starts: the parser
/// of the command line would repeat one that is refused.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SmtpUrl(String);

impl FromStr for SmtpUrl {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SmtpUrl")
    }
}

impl SmtpUrl {
    /// The whole address, for the one that connects.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port, without user and password.
    pub(crate) fn without_password(&self) -> String {
        let Some((scheme, rest)) = self
            .0
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "smtp" | "smtps"))
        else {
            return "(not a mail server's address)".to_owned();
        };
        // The last `@`: a password that was not encoded may hold others.
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{place}")
    }
}

/// An absolute address without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicUrl(String);

impl FromStr for PublicUrl {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "it must be `http://` or `https://`, a host and perhaps a port, and no path: the official \
                                client drops one";
        let uri: http::Uri = text.parse().map_err(|_| EXPECTED)?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or(EXPECTED)?;
        if !is_web || has_path || authority.host().is_empty() {
            return Err(EXPECTED);
        }
        Ok(Self(format!(
            "{}://{authority}",
            uri.scheme_str().unwrap_or("http")
        )))
    }
}

impl PublicUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which database an installation uses.
#[derive(Debug, Clone)]
pub(crate) enum DatabaseChoice {
    Sqlite(PathBuf),
    Postgres(DatabaseUrl),
}

impl DatabaseChoice {
    pub(crate) fn for_store(&self) -> Database {
        match self {
            Self::Sqlite(path) => Database::Sqlite(path.clone()),
            Self::Postgres(url) => Database::Postgres(url.0.clone()),
        }
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => url.without_password(),
        }
    }
}

impl Place {
    pub(crate) fn folder(&self) -> DataFolder {
        DataFolder::new(&self.data_dir)
    }

    /// Refuses what the parser let pass.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.database_url {
            Some(url) if !url.is_postgres() => bail!(
                "the database's address (--database-url, KEYWARD_DATABASE_URL) must begin with `postgres://` or \
                 `postgresql://`; leave it out for SQLite"
            ),
            _ => Ok(()),
        }
    }

    pub(crate) fn database(&self) -> DatabaseChoice {
        match &self.database_url {
            Some(url) => DatabaseChoice::Postgres(url.clone()),
            None => DatabaseChoice::Sqlite(self.folder().database()),
        }
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "an IP address and a port, such as 127.0.0.1:8787 or [::1]:8787")
}

fn parse_interval(text: &str) -> Result<Duration, DurationRefused> {
    let ms = parse_duration_ms(text)?;
    // A parsed duration is above zero.
    Ok(Duration::from_millis(ms.unsigned_abs()))
}

fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let text = text.trim();
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    network.map_err(|_| "a network such as 10.0.0.0/8, or a single address")
}

/// The names under which settings may stand in the file: every one but those that say where the file is.
const IN_FILE: [&str; 16] = [
    "audit_checkpoint_every",
    "audit_checkpoint_file",
    "audit_checkpoint_url",
    "database_url",
    "keyring_file",
    "listen",
    "admin_listen",
    "public_url",
    "trusted_proxies",
    "smtp_url",
    "smtp_from",
    "delivery_allow_networks",
    "cache_bytes",
    "rate_limits",
    "log",
    "log_format",
];

/// The settings that a file holds.
#[derive(Debug, Default, Clone)]
pub(crate) struct SettingsFile {
    path: PathBuf,
    values: Vec<(&'static str, Vec<String>)>,
}

impl SettingsFile {
    /// Reads the file that `place` names, or the data folder's if it is there.
    pub(crate) fn of(place: &Place) -> Result<Self> {
        let path = match &place.config {
            Some(path) => path.clone(),
            None => {
                let path = place.folder().configuration();
                if !path.exists() {
                    return Ok(Self::default());
                }
                path
            }
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("could not read the configuration `{}`", path.display()))?;
        let values =
            Self::parse(&text).with_context(|| format!("in the configuration `{}`", path.display()))?;
        Ok(Self { path, values })
    }

    fn parse(text: &str) -> Result<Vec<(&'static str, Vec<String>)>> {
        // The parser's own message would show the line, which may hold a password.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| {
                text.get(..span.start).unwrap_or_default().lines().count().max(1)
            });
            anyhow::anyhow!("it is no TOML (near line {line}): {}", error.message())
        })?;
        let mut values = Vec::new();
        let mut unknown = Vec::new();
        for (key, value) in table {
            match IN_FILE.iter().find(|known| **known == key.replace('-', "_")) {
                Some(name) => values.push((*name, texts(name, value)?)),
                None => unknown.push(format!("`{key}`")),
            }
        }
        if !unknown.is_empty() {
            bail!(
                "unknown settings {}; the known ones are {}",
                unknown.join(", "),
                IN_FILE.join(", ")
            );
        }
        Ok(values)
    }

    /// The command line with the file's values as its defaults.
    pub(crate) fn apply(&self, command: Command) -> Command {
        self.values.iter().fold(command, |command, (name, values)| {
            let with_default = |command: Command| {
                let is_here = command.get_arguments().any(|argument| argument.get_id() == name);
                if is_here {
                    command.mut_arg(name, |argument| argument.default_values(values.clone()))
                } else {
                    command
                }
            };
            let names: Vec<String> = command
                .get_subcommands()
                .map(|sub| sub.get_name().to_owned())
                .collect();
            names.into_iter().fold(with_default(command), |command, sub| {
                command.mut_subcommand(sub, with_default)
            })
        })
    }

    /// Whether a file was read.
    pub(crate) fn path(&self) -> Option<&Path> {
        (!self.path.as_os_str().is_empty()).then_some(&self.path)
    }

    /// Where a setting's value comes from, in words.
    pub(crate) fn source_of(&self, matches: &ArgMatches, name: &str) -> &'static str {
        match matches.value_source(name) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ if self.values.iter().any(|(known, _)| *known == name) => "file",
            _ => "default",
        }
    }
}

fn texts(name: &str, value: toml::Value) -> Result<Vec<String>> {
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Array(items) => {
            let nested: Result<Vec<_>> = items.into_iter().map(|item| texts(name, item)).collect();
            return Ok(nested?.concat());
        }
        other => bail!("the setting `{name}` can't be {}", other.type_str()),
    };
    Ok(vec![text])
}

/// Variables that look like ours and are not.
pub(crate) fn unknown_variables(command: &Command) -> Vec<String> {
    let known: Vec<OsString> = std::iter::once(command)
        .chain(command.get_subcommands())
        .flat_map(Command::get_arguments)
        .filter_map(|argument| argument.get_env().map(OsString::from))
        .collect();
    let mut unknown: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| !known.contains(name))
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("KEYWARD_") && !name.starts_with("KEYWARD_TEST_"))
        .filter(|name| name != TOKEN_VARIABLE)
        .collect();
    unknown.sort_unstable();
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            (
                "postgres://kw:p%40ss@db:5432/keyward?sslmode=require&password=x",
                "postgres://kw@db:5432/keyward",
            ),
            ("postgresql://kw:a@b@db/keyward", "postgresql://kw@db/keyward"),
            ("postgres://kw:S3cret#Pw@db/keyward", "postgres://kw@db/keyward"),
            ("postgres://kw:S3cret?Pw@db/keyward", "postgres://kw@db/keyward"),
            ("postgres://kw:S3cret/Pw@db/keyward", "postgres://kw@db/keyward"),
            ("postgres://db/keyward?password=x", "postgres://db/keyward"),
            (
                "postgres://kw:S3cret@h1:1,[::1]:2/keyward?x=y",
                "postgres://kw@h1:1,[::1]:2/keyward",
            ),
            ("mysql://kw:S3cret@db/keyward", "(not a PostgreSQL address)"),
            ("S3cret", "(not a PostgreSQL address)"),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.without_password(), shown);
            assert_eq!(format!("{url:?}"), "DatabaseUrl");
        }
    }

    #[test]
    fn a_mail_servers_password_is_not_shown() {
        for (url, shown) in [
            ("smtps://u:p%40ss@mail:465", "smtps://mail:465"),
            (
                "smtp://u:a@b@mail:587?tls=required",
                "smtp://mail:587?tls=required",
            ),
            ("smtp://mail", "smtp://mail"),
            ("S3cret", "(not a mail server's address)"),
        ] {
            let url: SmtpUrl = url.parse().unwrap();
            assert_eq!(url.without_password(), shown);
            assert_eq!(format!("{url:?}"), "SmtpUrl");
        }
    }

    #[test]
    fn a_public_url_has_no_path() {
        for good in [
            "https://keys.example.com",
            "https://keys.example.com/",
            "http://10.0.0.1:8787",
        ] {
            assert_eq!(
                good.parse::<PublicUrl>().unwrap().as_str(),
                good.trim_end_matches('/'),
                "{good}"
            );
        }
        for bad in [
            "",
            "keys.example.com",
            "ftp://x",
            "https://x/base",
            "https://x?a",
            "https://u:p@x",
            "https://",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_holds_known_settings_only() {
        let parsed = SettingsFile::parse(
            "listen = \"127.0.0.1:1\"\ntrusted-proxies = [\"10.0.0.0/8\", \"::1\"]\ncache_bytes = 5",
        );
        let parsed = parsed.unwrap();
        assert!(parsed.contains(&("trusted_proxies", vec!["10.0.0.0/8".to_owned(), "::1".to_owned()])));
        assert!(parsed.contains(&("cache_bytes", vec!["5".to_owned()])));
        let refused = SettingsFile::parse("listne = \"x\"\n[deep]\na = 1")
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("`listne`") && refused.contains("`deep`"),
            "{refused}"
        );
        let refused =
            SettingsFile::parse("log = \"info\"\ndatabase_url = \"postgres://u:secret@h").unwrap_err();
        assert!(!format!("{refused:#}").contains("secret"), "{refused:#}");
        assert!(SettingsFile::parse("log = true").is_err());
    }
}
