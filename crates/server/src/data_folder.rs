//! The data folder: who may read it, and that one process at a time serves from it.
//!
//! It holds the keyring, the SQLite database, the socket of the local command line and the lock. Others on the machine
//! must not be able to read it; a folder that they can read is refused, not repaired, because what was readable may have
//! been read.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// Longest path that a Unix socket can have on Linux, without the final zero.
const MAX_SOCKET_PATH: usize = 107;
/// Everybody but the owner.
const OTHERS: u32 = 0o077;

/// A data folder; it may not exist yet.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

/// The lock of a data folder; let go when dropped, and by the system when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _folder: File,
}

impl DataFolder {
    /// The folder at `path`, as it was given.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The keyring, unless the configuration names another file.
    pub(crate) fn keyring(&self) -> PathBuf {
        self.path.join("keyring.json")
    }

    /// The SQLite database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("keyward.db")
    }

    /// The socket that the command line speaks to.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("keyward.sock")
    }

    /// The configuration file, unless another one is named.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path.join("keyward.toml")
    }

    /// Where a running server says on which address it listens.
    pub(crate) fn listen_address(&self) -> PathBuf {
        self.path.join("listen-address")
    }

    /// Makes the folder with mode 0700 if it is not there, and checks it otherwise.
    pub(crate) fn prepare(&self) -> Result<()> {
        if !self.path.exists() {
            // Folders above it that are not there are made private as well, whatever the process's file mode mask says.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.path)
                .with_context(|| format!("could not make the data folder `{}`", self.path.display()))?;
        }
        self.check()
    }

    /// Refuses a folder that is none, that others can read, or that is another user's: its owner could put anything there, and
    /// what we make there would not be theirs.
    pub(crate) fn check(&self) -> Result<()> {
        let shown = self.path.display();
        let found = fs::metadata(&self.path)
            .with_context(|| format!("could not look at the data folder `{shown}`"))?;
        ensure!(
            found.is_dir(),
            "the data folder `{shown}` is a file; choose a folder with --data-dir"
        );
        let mode = found.mode() & 0o7777;
        // Advice about the mode of a folder that is none of ours could do harm.
        let is_ours = [
            self.keyring(),
            self.database(),
            self.socket(),
            self.configuration(),
        ]
        .iter()
        .any(|path| path.exists());
        let is_empty = || fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none());
        ensure!(
            is_ours || mode & OTHERS == 0 || is_empty(),
            "`{shown}` is no data folder of Keyward; name it with --data-dir"
        );
        let own = rustix::process::geteuid().as_raw();
        ensure!(
            found.uid() == own,
            "the data folder `{shown}` belongs to the user number {}, and this runs as number {own}; run it as its owner \
             (for instance with `sudo -u \\#{}`), or choose another folder with --data-dir",
            found.uid(),
            found.uid()
        );
        ensure!(
            mode & OTHERS == 0,
            "others can read the data folder `{shown}` (mode {mode:04o}); it holds the keyring.\n\
             Close it with `chmod 700 {shown}`; if somebody may have read the keyring, rotate it with `keyward keyring rotate`"
        );
        let socket = self.socket();
        ensure!(
            socket.as_os_str().len() <= MAX_SOCKET_PATH,
            "the path of the data folder is too long: `{}` has {} bytes, and a Unix socket's path at most \
             {MAX_SOCKET_PATH}; choose a shorter one with --data-dir (a relative path counts as it is written)",
            socket.display(),
            socket.as_os_str().len()
        );
        Ok(())
    }

    /// Takes the lock that only one process can hold. It lies on the folder itself, so that no file that somebody removes
    /// takes it away; the file beside it only says who holds it.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let note = self.path.join("keyward.lock");
        let folder =
            File::open(&self.path).with_context(|| format!("could not open `{}`", self.path.display()))?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&note).unwrap_or_default();
                let who = match holder.trim().parse::<u32>() {
                    Ok(process) => format!(" (process {process})"),
                    Err(_) => String::new(),
                };
                bail!(
                    "another Keyward{who} works on the data folder `{}`; stop it first, or choose another folder with \
                     --data-dir",
                    self.path.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("could not lock `{}`", self.path.display()));
            }
        }
        write_private(&note, &format!("{}\n", std::process::id()))
            .with_context(|| format!("could not write `{}`", note.display()))?;
        Ok(Lock { _folder: folder })
    }

    /// Makes the database's file with mode 0600, which its write-ahead log takes over from it.
    pub(crate) fn make_database_file(&self) -> Result<()> {
        let path = self.database();
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map(drop)
            .with_context(|| format!("could not make `{}`", path.display()))
    }
}

/// Refuses a file that others can read.
pub(crate) fn check_private(path: &Path) -> Result<()> {
    let found = fs::metadata(path).with_context(|| format!("could not look at `{}`", path.display()))?;
    let mode = found.mode() & 0o7777;
    ensure!(
        mode & OTHERS == 0,
        "others can read `{shown}` (mode {mode:04o}); close it with `chmod 600 {shown}`, and if somebody may have read \
         it, rotate the keyring afterwards with `keyward keyring rotate`",
        shown = path.display()
    );
    Ok(())
}

/// Writes a file that only its owner can read, whole or not at all, and on the disk when it returns.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let unfinished = path.with_file_name(name);
    // One may be left of a process that was killed.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use keyward_testkit::deadline::wait_for;

    use super::*;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataFolder::new(outer.path().join("data"));
        folder.prepare().unwrap();
        (outer, folder)
    }

    #[test]
    fn a_new_folder_is_private_and_an_open_one_is_refused() {
        let (_outer, folder) = folder();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
        for open in [0o750, 0o705, 0o701] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(open)).unwrap();
            let refused = folder.prepare().unwrap_err().to_string();
            assert!(refused.contains("chmod 700"), "{refused}");
        }
    }

    #[test]
    fn a_folder_of_something_else_is_named_as_such() {
        let (_outer, folder) = folder();
        fs::write(folder.path().join("passwd"), "").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = folder.check().unwrap_err().to_string();
        assert!(
            refused.contains("no data folder") && !refused.contains("chmod"),
            "{refused}"
        );
        fs::write(folder.keyring(), "").unwrap();
        assert!(folder.check().unwrap_err().to_string().contains("chmod 700"));
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let (_outer, folder) = folder();
        // Only root can give a folder away; for others there is nobody to try it with.
        if std::os::unix::fs::chown(folder.path(), Some(65_534), None).is_ok() {
            let refused = folder.check().unwrap_err().to_string();
            assert!(refused.contains("65534"), "{refused}");
        }
    }

    #[test]
    fn only_one_holds_the_lock_and_it_goes_with_its_holder() {
        let (_outer, folder) = folder();
        let lock = folder.lock().unwrap();
        fs::remove_file(folder.path().join("keyward.lock")).unwrap();
        assert!(folder.lock().is_err(), "the file is not the lock");
        fs::write(folder.path().join("keyward.lock"), std::process::id().to_string()).unwrap();
        let refused = folder.lock().unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(lock);
        // A process that another test starts holds every open file for a moment.
        drop(wait_for("the lock did not go with its holder", || {
            folder.lock().ok()
        }));
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_refused_at_once() {
        let outer = tempfile::tempdir().unwrap();
        let refused = DataFolder::new(outer.path().join("x".repeat(100)))
            .prepare()
            .unwrap_err();
        assert!(refused.to_string().contains("--data-dir"), "{refused}");
    }

    #[test]
    fn a_private_file_is_replaced_whole() {
        let (_outer, folder) = folder();
        let path = folder.keyring();
        write_private(&path, "one").unwrap();
        write_private(&path, "two").unwrap();
        check_private(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(
            check_private(&path)
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
    }
}
