//! Python scripts that use the official client, run to their end or step by step.
//!
//! A script gets a home folder of its own (the client writes its logs there) and none of the developer's
//! variables. What it prints is data for the test; what it logs is shown when it fails.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::environment::scrubbed;
use crate::transcript::Transcript;

/// Names the Python that has the official client; set by `cargo xtask test`.
pub const PYTHON_VARIABLE: &str = "KEYWARD_TEST_PYTHON";

const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A script with its arguments and environment, not yet started.
pub struct Script {
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
}

impl Script {
    /// A script in a file; the modules beside it can be imported.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self {
            arguments: vec![path.as_ref().into()],
            environment: Vec::new(),
        }
    }

    /// A script given as text.
    pub fn text(text: &str) -> Self {
        Self {
            arguments: vec!["-c".into(), text.into()],
            environment: Vec::new(),
        }
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable.
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> ScriptOutput {
        self.start().finish()
    }

    /// Starts it, for a test that talks with it through its standard input and output.
    pub fn start(self) -> RunningScript {
        let python = std::env::var_os(PYTHON_VARIABLE).unwrap_or_else(|| {
            panic!(
                "this test needs a Python with the official client, and `{PYTHON_VARIABLE}` names none; \
                 `cargo xtask test` installs one"
            )
        });
        let home = TempDir::with_prefix("kw-home-").expect("the temporary folder can be written to");
        let mut child = scrubbed(&python)
            .args(&self.arguments)
            .env("HOME", home.path())
            .env("PYTHONUNBUFFERED", "1")
            // Compiled modules would otherwise appear in the checkout, beside the scripts.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // The client honours proxies, and none of them knows the test's own server.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .envs(self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("could not start the Python of `{PYTHON_VARIABLE}`: {error}"));
        let stdout = Transcript::follow(child.stdout.take().expect("the output was piped"));
        let stderr = Transcript::follow(child.stderr.take().expect("the output was piped"));
        RunningScript {
            child,
            stdout,
            stderr,
            deadline: Instant::now() + TIME_LIMIT,
            _home: home,
        }
    }
}

/// A script that runs. Dropping it ends it.
pub struct RunningScript {
    child: Child,
    stdout: Transcript,
    stderr: Transcript,
    deadline: Instant,
    _home: TempDir,
}

impl RunningScript {
    /// Waits until the script prints this line.
    pub fn wait_for_line(&self, line: &str) {
        let is_there = |text: &str| text.lines().any(|other| other == line).then_some(());
        self.stdout
            .wait_for(self.time_left(), is_there)
            .unwrap_or_else(|| panic!("the script did not print `{line}`\n{}", self.printed()));
    }

    /// Waits until `find` finds something in what the script has printed so far.
    pub fn wait_until<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let found = self.stdout.wait_for(self.time_left(), find);
        found.unwrap_or_else(|| panic!("waited in vain for {what}\n{}", self.printed()))
    }

    /// Gives the script a line to read.
    pub fn send_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("the input was piped");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("the script does not read ({error})"));
    }

    /// Closes the script's input and waits for its end, at most two minutes from its start.
    pub fn finish(mut self) -> ScriptOutput {
        drop(self.child.stdin.take());
        let has_ended =
            self.stdout.wait_for_end(self.time_left()) && self.stderr.wait_for_end(self.time_left());
        assert!(
            has_ended,
            "the script took longer than {TIME_LIMIT:?}\n{}",
            self.printed()
        );
        ScriptOutput {
            status: self.child.wait().expect("a child can be waited for"),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn printed(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for RunningScript {
    fn drop(&mut self) {
        // Both fail when the script has already ended, which is how it should be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a script left behind.
#[derive(Debug)]
pub struct ScriptOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it logged, and the traceback if it failed.
    pub stderr: String,
}

impl ScriptOutput {
    /// The last line it printed, as JSON; the script must have ended well.
    pub fn json(&self) -> Value {
        assert!(
            self.status.success(),
            "the script ended with {}\nstdout:\n{}\nstderr:\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        let last = self.stdout.lines().next_back().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("not JSON ({error}): {last:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_talks_with_its_test_and_leaves_json() {
        let mut script = Script::text("import os, sys\nprint('ready')\nprint('{\"said\": \"%s %s %s\"}' % (input(), sys.argv[1], os.environ['WORD']))")
            .argument("an-argument")
            .environment("WORD", "a-word")
            .start();
        script.wait_for_line("ready");
        script.send_line("hello");
        assert_eq!(script.finish().json()["said"], "hello an-argument a-word");
    }

    #[test]
    fn the_official_client_does_not_see_the_developers_home() {
        let output = Script::text("import json, os, vi; print(json.dumps(sorted(k for k in os.environ if k.startswith('KEYWARD'))))").run();
        assert_eq!(output.json(), serde_json::json!([]));
    }
}
