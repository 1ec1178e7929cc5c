//! The real `keyward` program, run as a user runs it: its own process, data folder and ports.
//!
//! An [`Installation`] is a data folder and outlives the processes on it, so that a test can kill one and start
//! the next. Ports are chosen by the operating system; the process tells which.
//! It links nothing of Keyward: only what the program prints, writes and answers is seen.

use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::deadline::{PATIENCE, wait_for};
use crate::environment::scrubbed;
use crate::transcript::Transcript;

/// The program and a data folder, with or without a process on it.
pub struct Installation {
    program: PathBuf,
    data_folder: TempDir,
    environment: Vec<(String, OsString)>,
}

impl Installation {
    /// An empty data folder for the program at this path, which is `env!("CARGO_BIN_EXE_keyward")` in its tests.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let data_folder = tempfile::Builder::new()
            .prefix("kw")
            .permissions(fs::Permissions::from_mode(0o700))
            // Not `TMPDIR`: the folder holds a Unix socket, whose path may have at most 107 bytes.
            .tempdir_in("/tmp")
            .expect("`/tmp` can be written to");
        Self {
            program: program.into(),
            data_folder,
            environment: Vec::new(),
        }
    }

    /// Sets a variable for the server and for the command line, such as `KEYWARD_DATABASE_URL`.
    pub fn with_environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The folder given as `--data-dir`.
    pub fn data_folder(&self) -> &Path {
        self.data_folder.path()
    }

    /// `keyward <arguments> --data-dir ...`, run to its end, for tests that look at how it ended.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the program can be started")
    }

    /// The same with `--json`, when it must succeed: what it printed.
    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        let output = self.cli(&[arguments, &["--json"]].concat());
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "`keyward {}` ended with {}\nstdout:\n{stdout}\nstderr:\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {stdout}"))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = scrubbed(&self.program);
        command.args(arguments).arg("--data-dir").arg(self.data_folder());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Written by the server once it serves; holds the address that it listens on.
    fn address_file(&self) -> PathBuf {
        self.data_folder().join("listen-address")
    }
}

/// What `quickstart` prints for the official client's environment.
#[derive(Clone, Debug)]
pub struct Snippet {
    /// `DATATURE_VI_API_ENDPOINT`.
    pub endpoint: String,
    /// `DATATURE_VI_ORGANIZATION_ID`.
    pub organization_id: String,
    /// `DATATURE_VI_SECRET_KEY`.
    pub secret_key: String,
}

impl Snippet {
    /// Host and port of the endpoint.
    pub fn address(&self) -> &str {
        self.endpoint.trim_start_matches("http://").trim_end_matches('/')
    }
}

/// The usual beginning: a fresh installation after `keyward quickstart`, and what that printed.
pub fn quickstart(program: impl Into<PathBuf>) -> (KeywardProcess, Snippet) {
    let keyward = KeywardProcess::quickstart(Installation::new(program));
    let snippet = keyward.ready();
    (keyward, snippet)
}

/// A running server. Dropping it kills it; its installation stays for as long as somebody holds it.
pub struct KeywardProcess {
    installation: Arc<Installation>,
    child: Child,
    stdout: Transcript,
    stderr: Transcript,
}

impl KeywardProcess {
    /// Starts `keyward quickstart`.
    pub fn quickstart(installation: impl Into<Arc<Installation>>) -> Self {
        Self::start(&["quickstart"], installation.into(), &[])
    }

    /// Starts `keyward serve`.
    pub fn serve(installation: impl Into<Arc<Installation>>) -> Self {
        Self::start(&["serve"], installation.into(), &[])
    }

    /// Starts `keyward serve` with more flags.
    pub fn serve_with(installation: impl Into<Arc<Installation>>, flags: &[&str]) -> Self {
        Self::start(&[&["serve"], flags].concat(), installation.into(), &[])
    }

    /// Starts `keyward serve` with variables that are for this process alone.
    pub fn serve_with_environment(
        installation: impl Into<Arc<Installation>>,
        environment: &[(&str, OsString)],
    ) -> Self {
        Self::start(&["serve"], installation.into(), environment)
    }

    fn start(arguments: &[&str], installation: Arc<Installation>, environment: &[(&str, OsString)]) -> Self {
        // What a killed process left there is not where the next one listens.
        drop(fs::remove_file(installation.address_file()));
        let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let mut child = installation
            .command(&[arguments, &ports].concat())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = Transcript::follow(child.stdout.take().expect("the output was piped"));
        let stderr = Transcript::follow(child.stderr.take().expect("the output was piped"));
        Self {
            installation,
            child,
            stdout,
            stderr,
        }
    }

    /// Waits for the three lines of a first `quickstart`.
    pub fn ready(&self) -> Snippet {
        self.stdout.wait_for(PATIENCE, parse_snippet).unwrap_or_else(|| {
            panic!(
                "the program did not print its snippet\nstdout:\n{}\nstderr:\n{}",
                self.stdout(),
                self.stderr()
            )
        })
    }

    /// Waits until the server serves, for `serve` and for a repeated `quickstart`, which print no key; its
    /// host and port.
    pub fn ready_address(&mut self) -> String {
        let file = self.installation.address_file();
        wait_for("the server did not say where it listens", || {
            if let Some(status) = self.child.try_wait().expect("a child can be looked after") {
                panic!("the server ended with {status}\n{}", self.stderr());
            }
            let address = fs::read_to_string(&file).ok()?.trim().to_owned();
            TcpStream::connect(&address).ok().map(|_| address)
        })
    }

    /// Host and port of the admin listener, from the line that the server logs once it serves.
    pub fn admin_address(&self) -> String {
        let named = |text: &str| {
            let (_, after) = text.split_once("admin_listen=")?;
            after.split_whitespace().next().map(str::to_owned)
        };
        let found = self.stderr.wait_for(PATIENCE, named);
        found.unwrap_or_else(|| panic!("the server did not log its admin listener\n{}", self.stderr()))
    }

    /// Waits for an end that the server chooses itself, such as refusing to start.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        wait_for("the server did not end", || {
            self.child.try_wait().expect("a child can be looked after")
        })
    }

    /// Ends the process at once, as a power failure would: nothing in it gets to run again.
    pub fn kill9(&mut self) {
        self.child.kill().expect("a running child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks the process to end, as a service manager does, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_exit()
    }

    /// Stops the process where it is, as a machine that is overloaded or frozen: it keeps everything and does nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        // The shell has `kill` built in; a minimal image may not have the program.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} \"$0\""), &process])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "could not send SIG{name} to process {process}"
        );
    }

    /// Runs the same program on the same data folder; see [`Installation::cli`].
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.installation.cli(arguments)
    }

    /// See [`Installation::cli_json`].
    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        self.installation.cli_json(arguments)
    }

    /// The installation, to start another process on it.
    pub fn installation(&self) -> &Arc<Installation> {
        &self.installation
    }

    /// Everything printed on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything logged on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }
}

impl Drop for KeywardProcess {
    fn drop(&mut self) {
        // Both fail when the process has already ended, which some tests want.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

impl KeywardProcess {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it with the failed test, and only then"
    )]
    fn show_log(&self) {
        eprintln!("the server's log:\n{}", self.stderr());
    }
}

fn parse_snippet(text: &str) -> Option<Snippet> {
    let value = |name: &str| {
        let assigned = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        text.lines().find_map(assigned)
    };
    Some(Snippet {
        endpoint: value("DATATURE_VI_API_ENDPOINT")?,
        organization_id: value("DATATURE_VI_ORGANIZATION_ID")?,
        secret_key: value("DATATURE_VI_SECRET_KEY")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snippet_is_complete_or_not_there() {
        let text =
            "# paste this\nDATATURE_VI_API_ENDPOINT=http://127.0.0.1:5/\nDATATURE_VI_ORGANIZATION_ID=o\n";
        assert!(parse_snippet(text).is_none());
        let snippet = parse_snippet(&format!("{text}DATATURE_VI_SECRET_KEY=dtvi_k\n")).unwrap();
        assert_eq!(
            (snippet.address(), snippet.secret_key.as_str()),
            ("127.0.0.1:5", "dtvi_k")
        );
    }

    #[test]
    fn what_a_program_prints_is_collected_and_its_end_noticed() {
        let mut process = KeywardProcess::serve(Installation::new("/bin/echo"));
        assert!(process.wait_for_exit().success());
        assert!(process.stdout.wait_for_end(PATIENCE));
        assert!(process.stdout().starts_with("serve --listen 127.0.0.1:0"));
    }
}
