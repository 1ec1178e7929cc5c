//! `cargo xtask screenshots FOLDER`: a picture of every page of the console, in both schemes and at both widths.
//!
//! It builds the program, finds the browser as the tests do, and leaves the rest to an example of the testkit.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::browser::Browser;
use crate::{python, system};

/// Where to.
#[derive(Args)]
pub(crate) struct Options {
    /// The folder for the pictures
    #[arg(default_value = "screenshots")]
    folder: PathBuf,
}

/// Makes the pictures.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let browser = Browser::prepare(&python::official_client()?)?;
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(system::checkout());
        command
    };
    let built = cargo()
        .args(["build", "--locked", "--package", "keyward"])
        .status();
    ensure!(
        built.context("could not start cargo")?.success(),
        "the program does not build"
    );
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| system::checkout().join("target"), PathBuf::from);
    let folder = std::path::absolute(&options.folder).context("the folder has no absolute path")?;
    let taken = cargo()
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "keyward-testkit",
            "--example",
            "screenshots",
            "--",
        ])
        .arg(target.join("debug/keyward"))
        .arg(&folder)
        .env("KEYWARD_TEST_CHROMIUM", &browser.chromium)
        .env("KEYWARD_TEST_CHROMEDRIVER", &browser.driver)
        .env("KEYWARD_TEST_AXE", &browser.axe)
        .status()
        .context("could not start cargo")?;
    Ok(if taken.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
