//! `keyward quickstart`: what a newcomer meets first.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use keyward_testkit::deadline::wait_for;
use keyward_testkit::python::PYTHON_VARIABLE;
use keyward_testkit::server::{Installation, KeywardProcess, quickstart};

use crate::PROGRAM;
use crate::support::{outcome, refused, says};

#[test]
fn the_snippet_pasted_into_a_shell_runs_the_official_client() {
    let (keyward, snippet) = quickstart(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let python = std::env::var_os(PYTHON_VARIABLE).expect("the test command names a Python with the client");
    let environment = Path::new(&python)
        .parent()
        .and_then(Path::parent)
        .expect("it lies in an environment");
    // What the snippet would install is there already, so that the test asks no registry.
    symlink(environment, folder.path().join("keyward-venv")).expect("a link can be made");
    let pasted = wait_for("the whole snippet", || {
        let text = keyward.stdout();
        text.ends_with("\nEOF\n").then_some(text)
    });
    let mut shell = Command::new("sh")
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env_remove("DATATURE_VI_SECRET_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    std::io::Write::write_all(
        &mut shell.stdin.take().expect("the input was piped"),
        pasted.as_bytes(),
    )
    .expect("the shell reads");
    let output = shell.wait_with_output().expect("the shell ends");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(
        lines,
        [
            snippet.organization_id.as_str(),
            "Sample dataset",
            "My first dataset"
        ],
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn run_again_it_uses_what_is_there_and_leaves_the_keys_line_out() {
    let (mut first, snippet) = quickstart(PROGRAM);
    let installation = Arc::clone(first.installation());
    assert!(first.terminate().success());
    let mut second = KeywardProcess::quickstart(installation);
    let address = second.ready_address();
    let printed = wait_for("the second snippet", || {
        let text = second.stdout();
        text.contains("--organization").then_some(text)
    });
    says(
        &printed,
        &[
            &format!("DATATURE_VI_ORGANIZATION_ID={}\n", snippet.organization_id),
            "DATATURE_VI_API_ENDPOINT=http://127.0.0.1:",
            "# ",
            "shown once",
            "keyward keys create",
        ],
    );
    assert!(!printed.contains("DATATURE_VI_SECRET_KEY="), "{printed}");
    assert_eq!(
        outcome(&address, &snippet.secret_key),
        "204",
        "the first key goes on"
    );
    assert_eq!(
        second.cli_json(&["keys", "list"])["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        second.cli_json(&["org", "list"])["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn what_others_could_reach_is_refused_before_anything_is_made() {
    for flag in ["--listen", "--admin-listen"] {
        let installation = Installation::new(PROGRAM);
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8787"] {
            let output = installation.cli(&["quickstart", flag, address]);
            says(&refused(&output, 1), &["loopback", "keyward serve"]);
        }
        let made = std::fs::read_dir(installation.data_folder())
            .expect("the folder is there")
            .count();
        assert_eq!(made, 0);
    }
}
