//! The browser of the tests: Chromium, its driver, and the script that looks for what keeps people with disabilities out.
//!
//! Programs are found on the path, or installed as Debian packages where we may. The script comes from the npm registry as it was
//! published, is compared with the digest that is written here, and is kept in the cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::system;

/// The version of axe-core, and the SHA-256 of its package in the npm registry.
const AXE_VERSION: &str = "4.14.1";
const AXE_DIGEST: &str = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745";

/// Downloads the package, compares it, and writes its script. The last three arguments are address, digest and file.
const FETCH_AXE: &str = "
import hashlib, io, os, sys, tarfile, urllib.request
address, digest, target = sys.argv[1:]
package = urllib.request.urlopen(address, timeout=120).read()
assert hashlib.sha256(package).hexdigest() == digest, 'the package is not the one that is meant'
script = tarfile.open(fileobj=io.BytesIO(package)).extractfile('package/axe.min.js').read()
with open(target + '.part', 'wb') as file:
    file.write(script)
os.replace(target + '.part', target)
";

/// What the browser tests need.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) driver: PathBuf,
    pub(crate) axe: PathBuf,
}

impl Browser {
    /// Finds or installs everything.
    pub(crate) fn prepare(python: &Path) -> Result<Self> {
        Ok(Self {
            chromium: program(&["chromium", "chromium-browser", "google-chrome"], "chromium")?,
            driver: program(&["chromedriver"], "chromium-driver")?,
            axe: axe(python)?,
        })
    }
}

fn program(names: &[&str], package: &str) -> Result<PathBuf> {
    let find = || names.iter().find_map(|name| system::find_program(name));
    if let Some(found) = find() {
        println!("   using {}", found.display());
        return Ok(found);
    }
    if system::is_root()? && system::find_program("apt-get").is_some() {
        println!("   installing the Debian package `{package}`");
        system::install_debian_package(package)?;
        return find()
            .with_context(|| format!("`{package}` was installed, but {names:?} is not on the path"));
    }
    bail!(
        "none of {names:?} is on the path; install Chromium and its driver (Debian: `apt install chromium chromium-driver`)"
    )
}

fn axe(python: &Path) -> Result<PathBuf> {
    let file = system::cache_folder()?.join(format!("axe-{AXE_VERSION}.min.js"));
    if fs::metadata(&file).is_ok_and(|file| file.len() > 0) {
        println!("   using {}", file.display());
        return Ok(file);
    }
    println!("   fetching axe-core {AXE_VERSION}");
    let address = format!("https://registry.npmjs.org/axe-core/-/axe-core-{AXE_VERSION}.tgz");
    system::run_quietly(
        Command::new(python)
            .args(["-c", FETCH_AXE, &address, AXE_DIGEST])
            .arg(&file),
    )?;
    Ok(file)
}
