//! What the commands need to know of the machine: programs on the path, the user, folders, the package manager.
//!
//! It does not decide anything; `postgres` and `python` say what they look for and in which order.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A user by number, as programs are started under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserIds {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// The first file of this name in the folders of `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Whether we may install packages and must not start a PostgreSQL server under our own name.
pub(crate) fn is_root() -> Result<bool> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .context("could not run `id -u`")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim() == "0")
}

/// The user called `name`, from the local user table.
pub(crate) fn find_user(name: &str) -> Option<UserIds> {
    parse_user(&fs::read_to_string("/etc/passwd").ok()?, name)
}

fn parse_user(table: &str, name: &str) -> Option<UserIds> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(UserIds { user, group })
    })
}

/// Where things are kept that the next run can use again: `$XDG_CACHE_HOME/keyward`, else `~/.cache/keyward`.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME").context("neither `XDG_CACHE_HOME` nor `HOME` is set")?)
            .join(".cache"),
    };
    let folder = base.join("keyward");
    fs::create_dir_all(&folder).with_context(|| format!("could not make `{}`", folder.display()))?;
    Ok(folder)
}

/// Random lower-case hexadecimal text of `bytes` random bytes, from the operating system.
pub(crate) fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0_u8; bytes];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("could not read `/dev/urandom`")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs a program that prints little; on failure the error holds what it printed.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    let shown = display(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{shown}`"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "`{shown}` ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Whether Debian packages can be installed here.
pub(crate) fn may_install() -> Result<bool> {
    Ok(is_root()? && find_program("apt-get").is_some())
}

/// A program on the path; where it is missing, the Debian package of its name is installed if that can be done here.
pub(crate) fn find_or_install(name: &str) -> Result<PathBuf> {
    if find_program(name).is_none() && may_install()? {
        println!("== installing the Debian package `{name}`");
        install_debian_package(name)?;
    }
    find_program(name).with_context(|| {
        format!("there is no `{name}` on the path; install it (Debian and Ubuntu: `apt-get install {name}`)")
    })
}

/// Installs a Debian package; the caller has made sure that we are root.
pub(crate) fn install_debian_package(package: &str) -> Result<()> {
    let apt = find_program("apt-get").context("there is no `apt-get` here")?;
    let apt = |arguments: &[&str]| {
        run_quietly(
            Command::new(&apt)
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    let install = ["install", "--yes", "--no-install-recommends", package];
    // A fresh image has no package lists; a machine that has them is spared the download.
    apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))
}

/// A command as a person would type it, for messages.
pub(crate) fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The folder of the programs that are built in release mode; this one lies in the `debug` folder beside it.
pub(crate) fn release_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("could not find out where this program lies")?;
    let target = own
        .parent()
        .and_then(Path::parent)
        .context("this program does not lie in a build folder")?;
    Ok(target.join("release"))
}

/// The root of the checkout: the folder above this package's. Cargo says which that is when it runs this program; what was
/// known when it was built may be another checkout, where several share one build folder.
pub(crate) fn checkout() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/usr/sbin/nologin\n";

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        assert_eq!(
            parse_user(TABLE, "nobody"),
            Some(UserIds {
                user: 65534,
                group: 65533
            })
        );
        assert_eq!(parse_user(TABLE, "no"), None);
    }

    #[test]
    fn a_damaged_line_names_nobody() {
        assert_eq!(parse_user("postgres:x:many:104::/:", "postgres"), None);
    }
}
