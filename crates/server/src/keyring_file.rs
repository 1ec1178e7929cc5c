//! The keyring's file: read, made, replaced. Its text is the most secret thing of an installation.
//!
//! With SQLite the first start makes it, beside a database that does not exist yet; beside one that does, a missing
//! keyring is refused, because a new one would open nothing. With PostgreSQL only `keyward keyring init` makes one: a node
//! that made its own would be a stranger to the database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use keyward_core::keyring::Keyring;
use keyward_engine::clock::SystemRandom;

use crate::clock;
use crate::configuration::{DatabaseChoice, Place};
use crate::data_folder::{check_private, write_private};

/// Where the keyring lies.
#[derive(Debug, Clone)]
pub(crate) struct KeyringFile {
    path: PathBuf,
}

impl KeyringFile {
    pub(crate) fn of(place: &Place) -> Self {
        let path = place
            .keyring_file
            .clone()
            .unwrap_or_else(|| place.folder().keyring());
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The keyring, if there is a file.
    pub(crate) fn find(&self) -> Result<Option<Keyring>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("could not read the keyring `{}`", self.path.display()));
            }
        };
        check_private(&self.path)?;
        let keyring = Keyring::from_text(&text).with_context(|| {
            format!(
                "the keyring `{}` can't be used; put the right file there",
                self.path.display()
            )
        })?;
        Ok(Some(keyring))
    }

    /// The keyring, which must be there.
    pub(crate) fn load(&self) -> Result<Keyring> {
        self.find()?.with_context(|| {
            format!(
                "there is no keyring at `{}`; put the file that belongs to this database there",
                self.path.display()
            )
        })
    }

    /// The keyring of a server that starts: made now beside a database that does not exist yet.
    pub(crate) fn load_or_make(&self, place: &Place) -> Result<Keyring> {
        if let Some(keyring) = self.find()? {
            return Ok(keyring);
        }
        let shown = self.path.display();
        match place.database() {
            DatabaseChoice::Postgres(_) => bail!(
                "there is no keyring at `{shown}`.\nFor a new PostgreSQL database make one with `keyward keyring init`; \
                 otherwise copy the one that belongs to the database, and name it with KEYWARD_KEYRING_FILE if it lies \
                 elsewhere"
            ),
            DatabaseChoice::Sqlite(file) if file.exists() => bail!(
                "there is a database at `{}` and no keyring at `{shown}`.\nWithout its keyring none of its keys can be \
                 checked, and a new one would not open them: put the file back (KEYWARD_KEYRING_FILE names another \
                 place), or start anew with another --data-dir",
                file.display()
            ),
            DatabaseChoice::Sqlite(_) => self.make(),
        }
    }

    /// Makes a keyring where there is none.
    pub(crate) fn make(&self) -> Result<Keyring> {
        if self.path.exists() {
            bail!(
                "there is a keyring at `{}` already; it is left as it is",
                self.path.display()
            );
        }
        let keyring = Keyring::generate(&mut SystemRandom, clock::now())?;
        self.save(&keyring)
            .with_context(|| format!("could not write the keyring `{}`", self.path.display()))?;
        Ok(keyring)
    }

    /// Replaces the file, whole or not at all.
    pub(crate) fn save(&self, keyring: &Keyring) -> io::Result<()> {
        write_private(&self.path, &keyring.to_text())
    }
}
