//! The stages of `cargo xtask test`: what each is for, what it needs, and the commands it runs.
//!
//! A stage answers with a tally; an error means that it failed once. What one stage leaves for a later one (the
//! database server, the Python) is in `Surroundings`, and nowhere else.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::browser::Browser;
use crate::postgres::Cluster;
use crate::python;
use crate::system;
use crate::tally::{Tally, TestOutput};

/// The stages, in the order in which they run: what is quick and often wrong comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    Format,
    Lints,
    Docs,
    SupplyChain,
    Postgres,
    Python,
    Browser,
    Build,
    Test,
}

/// What stages leave for those after them.
#[derive(Default)]
pub(crate) struct Surroundings {
    postgres: Option<Cluster>,
    python: Option<PathBuf>,
    schemathesis: Option<PathBuf>,
    browser: Option<Browser>,
    is_build_broken: bool,
}

impl Stage {
    pub(crate) const ALL: [Self; 9] = [
        Self::Format,
        Self::Lints,
        Self::Docs,
        Self::SupplyChain,
        Self::Postgres,
        Self::Python,
        Self::Browser,
        Self::Build,
        Self::Test,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lints => "lints",
            Self::Docs => "docs",
            Self::SupplyChain => "supply-chain",
            Self::Postgres => "postgres",
            Self::Python => "python",
            Self::Browser => "browser",
            Self::Build => "build",
            Self::Test => "test",
        }
    }

    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Self::Format => "the sources are formatted (cargo fmt)",
            Self::Lints => "no compiler or clippy warning (cargo clippy)",
            Self::Docs => "the documentation builds without a warning (cargo doc)",
            Self::SupplyChain => "licences, advisories and banned crates (cargo deny)",
            Self::Postgres => "find or install PostgreSQL, and start an empty server",
            Self::Python => "find or install the official Python client and Schemathesis",
            Self::Browser => "find or install Chromium, its driver and axe-core",
            Self::Build => "build the `keyward` program",
            Self::Test => "run all tests (cargo test)",
        }
    }

    /// Stages whose result this one uses.
    pub(crate) fn needs(self) -> &'static [Self] {
        match self {
            Self::Test => &[Self::Postgres, Self::Python, Self::Browser],
            Self::Browser => &[Self::Python],
            _ => &[],
        }
    }

    pub(crate) fn run(self, surroundings: &mut Surroundings) -> Result<Tally> {
        match self {
            Self::Format => run_visibly(cargo().args(["fmt", "--all", "--check"])),
            Self::Lints => run_visibly(
                cargo()
                    .args(["clippy", "--workspace", "--all-targets", "--locked", "--"])
                    .args(["-D", "warnings"]),
            ),
            Self::Docs => run_visibly(
                cargo()
                    .args(["doc", "--workspace", "--no-deps", "--locked"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ),
            Self::SupplyChain => check_supply_chain(),
            Self::Postgres => {
                surroundings.postgres = Some(Cluster::start()?);
                install_what_some_tests_use()?;
                Ok(Tally::one_passed())
            }
            Self::Python => {
                surroundings.python = Some(python::official_client()?);
                surroundings.schemathesis = Some(python::schemathesis()?);
                Ok(Tally::one_passed())
            }
            Self::Browser => {
                let python = surroundings.python.as_deref();
                let python =
                    python.context("there is no Python to fetch axe-core with; see the stage `python`")?;
                surroundings.browser = Some(Browser::prepare(python)?);
                Ok(Tally::one_passed())
            }
            Self::Build => {
                let tally = run_visibly(cargo().args([
                    "build",
                    "--locked",
                    "--package",
                    "keyward",
                    "--bin",
                    "keyward",
                ]))?;
                surroundings.is_build_broken = tally.failed > 0;
                Ok(tally)
            }
            Self::Test => run_tests(surroundings),
        }
    }
}

/// Sets off the clock of a node, and stands between a node and the database. Tests that miss one say so, and count as skipped.
fn install_what_some_tests_use() -> Result<()> {
    for package in ["faketime", "pgbouncer"] {
        // Who may not run a server finds it outside the path.
        let is_there =
            system::find_program(package).is_some() || Path::new("/usr/sbin").join(package).is_file();
        if is_there || !system::may_install()? {
            continue;
        }
        println!("   installing the Debian package `{package}`");
        if let Err(error) = system::install_debian_package(package) {
            println!("   that did not work: {error:#}");
        }
    }
    Ok(())
}

fn check_supply_chain() -> Result<Tally> {
    if system::find_program("cargo-deny").is_none() {
        let reason =
            "supply-chain: `cargo-deny` is not on the path; `cargo install --locked cargo-deny` adds it";
        return Ok(Tally::one_skipped(reason));
    }
    let mut tally = run_visibly(cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    // The advisories are in a repository of their own, which not every machine reaches.
    let fetched = system::run_quietly(cargo().args(["deny", "fetch", "db"]));
    tally.add(match fetched {
        Ok(()) => run_visibly(cargo().args(["deny", "check", "--disable-fetch", "advisories"]))?,
        Err(_) => Tally::one_skipped("supply-chain: the advisory database can't be fetched from here"),
    });
    Ok(tally)
}

fn run_tests(surroundings: &Surroundings) -> Result<Tally> {
    if surroundings.is_build_broken {
        println!("   not run: the program does not build, so the tests would not either");
        return Ok(Tally::one_failed());
    }
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .stdout(Stdio::piped());
    // Where a preparation failed the tests still run: those that miss it fail and say what they miss.
    if let Some(postgres) = &surroundings.postgres {
        command.env("KEYWARD_TEST_POSTGRES_URL", postgres.url());
        command.env("KEYWARD_TEST_POSTGRES_PROGRAMS", postgres.programs());
    }
    if let Some(python) = &surroundings.python {
        command.env("KEYWARD_TEST_PYTHON", python);
    }
    if let Some(python) = &surroundings.schemathesis {
        command.env("KEYWARD_TEST_SCHEMATHESIS", python);
    }
    if let Some(browser) = &surroundings.browser {
        command.env("KEYWARD_TEST_CHROMIUM", &browser.chromium);
        command.env("KEYWARD_TEST_CHROMEDRIVER", &browser.driver);
        command.env("KEYWARD_TEST_AXE", &browser.axe);
    }
    let mut child = command.spawn().context("could not start `cargo test`")?;
    let output = child.stdout.take().context("`cargo test` has no output")?;

    let mut counted = TestOutput::default();
    let mut screen = std::io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("could not read the output of `cargo test`")?;
        // A test may print bytes that are not text; they are shown as they are.
        screen
            .write_all(&line)
            .and_then(|()| screen.write_all(b"\n"))
            .context("could not print")?;
        counted.line(&String::from_utf8_lossy(&line));
    }
    let status = child.wait().context("could not wait for `cargo test`")?;
    Ok(counted.finish(status.success()))
}

/// The cargo that runs us, so that a toolchain chosen on the command line is kept.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(system::checkout()).stdin(Stdio::null());
    command
}

/// Runs a command whose output the user sees.
fn run_visibly(command: &mut Command) -> Result<Tally> {
    let shown = system::display(command);
    let status = command
        .status()
        .with_context(|| format!("could not start `{shown}`"))?;
    if status.success() {
        return Ok(Tally::one_passed());
    }
    println!("   `{shown}` ended with {status}");
    Ok(Tally::one_failed())
}
