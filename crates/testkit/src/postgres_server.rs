//! A PostgreSQL server of one test's own, which the test may stop and start as it likes.
//!
//! Tests that only need a database take one on the shared server ([`crate::postgres`]). This one is for what can't be done to a
//! server that others use. `fsync` stays on: what is acknowledged has to survive an immediate stop.
//! INVARIANT: the server does not outlive this process. A shell script, the *guardian*, starts and stops it at our word, and when the
//! pipe that it listens to closes it stops the server and removes its folder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::deadline::wait_for;

mod standby;

pub use standby::{FrozenSender, certificate};

/// Names the folder of the server's programs; set by `cargo xtask test`. Without it Debian's folders are searched.
pub const PROGRAMS_VARIABLE: &str = "KEYWARD_TEST_POSTGRES_PROGRAMS";

pub(crate) const USER: &str = "keyward";

const GUARDIAN: &str = r#"
trap : INT TERM HUP
server=
stop() {
    [ -z "$server" ] || kill -"$1" "$server" 2>/dev/null
    while [ -n "$server" ] && kill -0 "$server" 2>/dev/null; do wait "$server"; done
    server=
}
while read -r order; do
    case "$order" in
    start)
        "$1" -D data -h 127.0.0.1 -p "$2" -c unix_socket_directories= -c max_connections=200 -c fsync=on \
            >>server.log 2>&1 &
        server=$! ;;
    fast) stop INT ;;
    immediate) stop QUIT ;;
    esac
    echo done
done
stop INT
cd / && rm -rf "$3"
"#;

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Transactions are rolled back and the files put in order, as for a planned restart.
    Fast,
    /// Everything ends where it is, as by a power failure; the next start recovers from the log.
    Immediate,
}

/// A server. Dropping it stops it and removes its files.
pub struct PostgresServer {
    guardian: Child,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    password: String,
    port: u16,
}

impl PostgresServer {
    /// Makes an empty server and starts it.
    pub fn start() -> Self {
        let programs = find_programs();
        let user = runs_as();
        let folder = make_folder();
        let password = format!("{:016x}{:016x}", random(), random());
        let password_file = folder.join("password");
        fs::write(&password_file, &password).expect("the folder can be written to");
        give(&password_file, 0o600);
        let made = under(Command::new(programs.join("initdb")), user)
            .args([
                "-D",
                "data",
                "-U",
                USER,
                "-A",
                "scram-sha-256",
                "--pwfile=password",
            ])
            .args(["-E", "UTF8", "--locale=C", "--no-sync"])
            .current_dir(&folder)
            .output()
            .expect("`initdb` can be started");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = launch(folder, password, user);
        server.start_again();
        server
    }

    /// The port of 127.0.0.1 that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its first database, reached over a port: its own, or that of something before it.
    pub fn url(&self, port: u16) -> String {
        format!(
            "postgres://{USER}:{}@127.0.0.1:{port}/postgres?sslmode=disable",
            self.password
        )
    }

    /// What its one user signs in with.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Stops it, and waits until it has ended.
    pub fn stop(&mut self, how: Stop) {
        self.order(match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        });
    }

    /// Starts it on what it left, and waits until it takes connections.
    pub fn start_again(&mut self) {
        // What a server that was ended at once left there does not tell of the next one.
        drop(fs::remove_file(self.folder.join("data/postmaster.pid")));
        self.order("start");
        wait_until_ready(self);
    }

    fn order(&mut self, order: &str) {
        let orders = self.guardian.stdin.as_mut().expect("the orders are piped");
        writeln!(orders, "{order}").expect("the guardian listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the guardian answers");
        assert_eq!(answer, "done\n", "the guardian has ended");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Closing the pipe is the order to stop. Waiting makes sure that the files are gone.
        drop(self.guardian.stdin.take());
        drop(self.guardian.wait());
    }
}

/// The guardian of a folder, which was told nothing yet.
fn launch(folder: PathBuf, password: String, user: Option<(u32, u32)>) -> PostgresServer {
    let port = free_port();
    let mut guardian = under(Command::new("sh"), user)
        .args(["-c", GUARDIAN, "guardian"])
        .arg(find_programs().join("postgres"))
        .arg(port.to_string())
        .arg(&folder)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("`sh` can be started");
    let answers = BufReader::new(guardian.stdout.take().expect("the output was piped"));
    PostgresServer {
        guardian,
        answers,
        folder,
        password,
        port,
    }
}

/// A folder that the server's user owns.
pub(crate) fn make_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kwpg{:016x}", random()));
    fs::create_dir(&folder).expect("the folder of temporary files can be written to");
    give(&folder, 0o700);
    folder
}

pub(crate) fn give(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    if let Some((user, group)) = runs_as() {
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

fn wait_until_ready(server: &PostgresServer) {
    wait_for("PostgreSQL did not start", || {
        let process = fs::read_to_string(server.folder.join("data/postmaster.pid")).ok()?;
        matches!(process.lines().nth(7)?.trim(), "ready" | "standby").then_some(())
    });
}

fn random() -> u64 {
    getrandom::u64().expect("the operating system has random numbers")
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it listens").port()
}

fn find_programs() -> PathBuf {
    if let Some(named) = std::env::var_os(PROGRAMS_VARIABLE) {
        return named.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let usable = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("initdb").is_file().then_some((version, programs))
    });
    let newest = usable.max_by_key(|(version, _)| *version);
    newest.map(|(_, programs)| programs).unwrap_or_else(|| {
        panic!("this test starts a PostgreSQL server, and `{PROGRAMS_VARIABLE}` names no programs; `cargo xtask test` finds them")
    })
}

/// User and group under which the server runs: it refuses to run as root.
pub(crate) fn runs_as() -> Option<(u32, u32)> {
    let own = Command::new("id")
        .arg("-u")
        .output()
        .expect("`id` can be started");
    if String::from_utf8_lossy(&own.stdout).trim() != "0" {
        return None;
    }
    let table = fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let find = |name: &str| {
        table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_it = fields.first() == Some(&name);
            let number = |index: usize| fields.get(index)?.parse().ok();
            is_it.then(|| Some((number(2)?, number(3)?))).flatten()
        })
    };
    let found = find("postgres").or_else(|| find("nobody"));
    Some(found.expect("there is a user `postgres` or `nobody`"))
}

pub(crate) fn under(mut command: Command, user: Option<(u32, u32)>) -> Command {
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}
