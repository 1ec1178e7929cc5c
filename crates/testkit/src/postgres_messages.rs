//! What a PostgreSQL client says, cut into its messages, so that a proxy can act at a COMMIT.
//!
//! It reads the client's side of an unencrypted connection only, and of its messages only the texts of statements. A
//! prepared statement is said once and bound many times; which one is bound is remembered.

use std::collections::HashMap;

/// Codes in the place of a protocol version, which ask for encryption; the start-up message follows.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// One whole message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its bytes, as they came.
    pub bytes: Vec<u8>,
    /// Whether it is the order to commit.
    pub is_commit: bool,
}

/// Reads what one client says.
#[derive(Debug, Default)]
pub struct ClientMessages {
    unread: Vec<u8>,
    has_started: bool,
    prepared: HashMap<Vec<u8>, String>,
    transaction: Vec<String>,
}

impl ClientMessages {
    /// Adds bytes that came; every message that is whole by now, with the statements of its transaction so far at `see`.
    pub fn read(&mut self, bytes: &[u8], mut see: impl FnMut(Message, &[String])) {
        self.unread.extend_from_slice(bytes);
        while let Some(length) = self.next_length() {
            let rest = self.unread.split_off(length);
            let whole = std::mem::replace(&mut self.unread, rest);
            let is_commit = self.understand(&whole);
            let message = Message {
                bytes: whole,
                is_commit,
            };
            see(message, &self.transaction);
            if is_commit {
                self.transaction.clear();
            }
        }
    }

    fn next_length(&self) -> Option<usize> {
        let kind_bytes = usize::from(self.has_started);
        let length = u32::from_be_bytes(self.unread.get(kind_bytes..kind_bytes + 4)?.try_into().ok()?);
        let length = usize::try_from(length).ok()? + kind_bytes;
        (self.unread.len() >= length).then_some(length)
    }

    /// Whether it is the order to commit; remembers the texts.
    fn understand(&mut self, message: &[u8]) -> bool {
        if !self.has_started {
            let code = message.get(4..8).and_then(|code| code.try_into().ok());
            let asks_for_encryption =
                code.is_some_and(|code| ENCRYPTION_REQUESTS.contains(&u32::from_be_bytes(code)));
            self.has_started = !asks_for_encryption;
            return false;
        }
        let (kind, rest) = (message.first(), message.get(5..).unwrap_or_default());
        let mut texts = rest.split(|byte| *byte == 0);
        let mut next = || texts.next().unwrap_or_default();
        let said = match kind {
            Some(b'Q') => String::from_utf8_lossy(next()).into_owned(),
            Some(b'P') => {
                let (name, text) = (next().to_vec(), String::from_utf8_lossy(next()).into_owned());
                self.prepared.insert(name, text.clone());
                text
            }
            Some(b'B') => {
                next();
                self.prepared.get(next()).cloned().unwrap_or_default()
            }
            _ => return false,
        };
        let first_word = said
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        if first_word == "BEGIN" || first_word == "ROLLBACK" {
            self.transaction.clear();
        }
        // A prepared COMMIT would come as two messages; one of them is enough to act on.
        let is_commit = first_word.trim_end_matches(';') == "COMMIT" && kind != Some(&b'B');
        self.transaction.push(said);
        is_commit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, content].concat()
    }

    fn start() -> Vec<u8> {
        let encryption = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
        let startup = [&9_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), &[0]].concat();
        [encryption, startup].concat()
    }

    #[test]
    fn a_commit_is_found_wherever_the_bytes_are_cut() {
        let said = [
            start(),
            typed(b'Q', b"BEGIN\0"),
            typed(b'P', b"s1\0UPDATE node_lease SET x = 1\0\0\0"),
            typed(b'B', b"\0s1\0\0\0"),
            typed(b'Q', b"COMMIT\0"),
            typed(b'B', b"\0s1\0\0\0"),
            typed(b'Q', b"SELECT 'COMMIT'\0"),
        ]
        .concat();
        for piece in [1, 2, 7, 1_000] {
            let mut messages = ClientMessages::default();
            let (mut bytes, mut commits) = (Vec::new(), Vec::new());
            for piece in said.chunks(piece) {
                messages.read(piece, |message, transaction| {
                    if message.is_commit {
                        commits.push(transaction.to_vec());
                    }
                    bytes.extend(message.bytes);
                });
            }
            assert_eq!(bytes, said, "nothing is lost or changed");
            assert_eq!(commits.len(), 1);
            assert!(commits[0].iter().any(|text| text.contains("node_lease")));
        }
    }
}
