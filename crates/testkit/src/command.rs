//! A command of the terminal that goes on for a while, seen while it runs.

use std::process::{Child, Command, ExitStatus, Stdio};

use crate::deadline::{PATIENCE, wait_for};
use crate::server::Installation;
use crate::transcript::Transcript;

/// A command that runs. Dropping it ends it.
pub struct RunningCommand {
    child: Child,
    stdout: Transcript,
    stderr: Transcript,
}

/// How a command ended, and what it had printed.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Its data.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl RunningCommand {
    /// Starts `keyward <arguments>` on an installation.
    pub fn start(installation: &Installation, arguments: &[&str]) -> Self {
        let mut child = installation
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = Transcript::follow(child.stdout.take().expect("the output was piped"));
        let stderr = Transcript::follow(child.stderr.take().expect("the output was piped"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Waits until its data has this in it; the data up to then.
    pub fn wait_for_data(&self, words: &str) -> String {
        let found = self
            .stdout
            .wait_for(PATIENCE, |text| text.contains(words).then(|| text.to_owned()));
        found.unwrap_or_else(|| panic!("the command did not print `{words}`\n{}", self.stderr.text()))
    }

    /// Waits until what it says beside its data has this in it.
    pub fn wait_for_note(&self, words: &str) {
        let found = self
            .stderr
            .wait_for(PATIENCE, |text| text.contains(words).then_some(()));
        assert!(
            found.is_some(),
            "the command did not say `{words}`\n{}",
            self.stderr.text()
        );
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        let process = self.child.id().to_string();
        // The shell has `kill` built in; a minimal image may not have the program.
        let sent = Command::new("sh")
            .args(["-c", "kill -INT \"$0\"", &process])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "could not interrupt process {process}"
        );
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Ended {
        let status = wait_for("the command did not end", || {
            self.child.try_wait().expect("a child can be looked after")
        });
        self.stdout.wait_for_end(PATIENCE);
        self.stderr.wait_for_end(PATIENCE);
        Ended {
            status,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        // Both fail when the command has already ended, which is how it should be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
