//! The environment of programs that tests start: nothing of the developer's own set-up gets in.

use std::process::Command;

/// A real key or data folder in the developer's shell must neither be used by a test nor change its outcome.
const OURS: [&str; 3] = ["KEYWARD_", "DATATURE_", "VI_"];

/// A command that does not inherit any variable that Keyward or the official client would read.
pub(crate) fn scrubbed(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if OURS
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
}
