//! The file that checkpoints of the audit trail are kept in, outside of the database.
//!
//! A line of JSON for each, appended and on the disk before the server counts it as kept. It is worth most where whoever
//! can write the database can't write it: on another machine's disk, or one that only takes appends. Nothing here reads
//! it; `keyward audit verify --checkpoints` does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use keyward_core::checkpoint::SignedCheckpoint;
use keyward_engine::checkpoint_audit::CheckpointSink;

/// A file that grows by a line with each checkpoint.
pub(crate) struct CheckpointFile {
    path: PathBuf,
    /// Two at once would write into each other's lines.
    writing: Mutex<()>,
}

impl CheckpointFile {
    /// The file at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// Where it can't be written to: better now than an hour later.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let file = Self {
            path: path.to_owned(),
            writing: Mutex::new(()),
        };
        file.keep(&[])?;
        Ok(file)
    }

    fn open(&self) -> io::Result<File> {
        // Opened each time: a file that was moved away is begun anew, and none that was deleted is written to.
        OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .open(&self.path)
    }
}

impl CheckpointSink for CheckpointFile {
    fn keep(&self, checkpoints: &[SignedCheckpoint]) -> io::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.open()?;
        let mut text = String::new();
        if !checkpoints.is_empty() && !ends_with_a_line(&mut file)? {
            // A crash left half a line; what follows must not become part of it.
            text.push('\n');
        }
        for checkpoint in checkpoints {
            text.push_str(&checkpoint.to_line());
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

fn ends_with_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use keyward_core::checkpoint::AuditSigner;
    use keyward_core::keyring::Keyring;
    use keyward_core::time::Timestamp;
    use keyward_engine::clock::SystemRandom;

    use super::*;

    #[test]
    fn half_a_line_of_a_crash_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.jsonl");
        let now = Timestamp::from_unix_ms(1);
        let keyring = Keyring::generate(&mut SystemRandom, now).unwrap();
        let one = AuditSigner::of(&keyring, 1)
            .unwrap()
            .checkpoint("-", 7, [1; 32], now);
        let file = CheckpointFile::at(&path).unwrap();
        file.keep(std::slice::from_ref(&one)).unwrap();
        let half = &one.to_line()[..40];
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(half.as_bytes())
            .unwrap();
        file.keep(std::slice::from_ref(&one)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<_> = text
            .lines()
            .map(|line| SignedCheckpoint::from_line(line).ok())
            .collect();
        assert_eq!(read, [Some(one.clone()), None, Some(one)]);
    }

    #[test]
    fn a_place_that_can_not_be_written_to_is_refused_at_once() {
        assert!(CheckpointFile::at(Path::new("/nowhere/at/all")).is_err());
    }
}
