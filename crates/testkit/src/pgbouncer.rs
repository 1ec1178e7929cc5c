//! A real PgBouncer in front of a [`PostgresServer`].
//!
//! Keyward wants none; these are for seeing that it says so. It runs until it is dropped, under the user that the server runs under.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::deadline::wait_for;
use crate::postgres_server::{PostgresServer, USER, free_port, give, make_folder, runs_as, under};

/// The program, where it is installed.
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders
        .map(|folder| folder.join("pgbouncer"))
        .find(|file| file.is_file())
}

/// A running pooler.
pub struct Pgbouncer {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Pgbouncer {
    /// Starts one that lets everybody in. `mode` is `session` or `transaction`; `ignored` are the settings of a session that it swallows.
    pub fn before(server: &PostgresServer, program: PathBuf, mode: &str, ignored: &[&str]) -> Self {
        let (folder, port) = (make_folder(), free_port());
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={USER} password={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nignore_startup_parameters = {}\n",
            server.port(),
            server.password(),
            ignored.join(",")
        );
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, settings).expect("the folder can be written to");
        give(&file, 0o600);
        let child = under(Command::new(program), runs_as())
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`pgbouncer` can be started");
        wait_for("PgBouncer does not listen", || {
            TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
        });
        Self { child, folder, port }
    }

    /// The port of 127.0.0.1 that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
