//! What is measured without HTTP: the engine in one process, with as many keys as its cache holds, and with more.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::goals::Aside;
use crate::system;

/// Rounds of the comparison in one process.
const ROUNDS: &str = "5";

/// Runs the programs, prints what they print, and takes the figures in.
pub(super) fn measure(
    aside: &mut Aside,
    (programs, data, keys_file): (&Path, &Path, &Path),
    keys: usize,
    cached: usize,
) -> Result<()> {
    println!("== {keys} keys with a cache for {cached}");
    let mut crowded = Command::new(programs.join("examples/crowded"));
    crowded.args([data, keys_file]).arg(cached.to_string());
    let printed = printed_by(&mut crowded)?;
    println!("{printed}");
    aside.read_crowded(&printed);

    println!("== in one process, without HTTP");
    let mut ratio = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    ratio
        .args(["bench", "--quiet", "--locked", "--package", "keyward-benches"])
        .args(["--bench", "ratio", "--", &keys.to_string(), ROUNDS])
        .current_dir(system::checkout());
    let printed = printed_by(&mut ratio)?;
    println!("{printed}");
    aside.read_ratio(&printed);
    Ok(())
}

fn printed_by(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start `{}`", system::display(command)))?;
    ensure!(output.status.success(), "`{}` failed", system::display(command));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
