//! What ended after a backup was made, as an exported trail tells it.
//!
//! The export is judged first ([`keyward_core::audit_verify`]), and laid beside the trail in the database: the two must be
//! the same up to an entry, and may part only where the database was restored. What the export tells from there on is
//! *later*. A deletion that was taken back later is none. Nothing is changed here: [`crate::replay_deletions`] does that.

use std::collections::{BTreeMap, VecDeque};

use keyward_core::audit::{CHAIN_START, NO_ORGANIZATION};
use keyward_core::audit_export::{EntryLine, Header, Line};
use keyward_core::audit_verify::{ExportCheck, Kept};
use keyward_core::checkpoint::AuditSigner;
use keyward_core::ids::{InvitationId, KeyId, OrganizationId, PersonId, TokenId};
use keyward_core::keyring::Keyring;
use keyward_core::state::{DeleteReason, SecretLife};
use keyward_core::time::Timestamp;
use keyward_store::audit::StoredEntry;
use keyward_store::{Store, StoreError};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt as _};

/// Most bytes of a line that is read; an entry has far fewer.
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;
/// Entries of the database that are read at a time.
const STEP: i64 = 500;

/// Why an export can't be replayed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportRefused {
    /// It is not as it was written.
    #[error("the export is not as it was written: {0}")]
    NotWhole(String),
    /// It does not go on from the trail that was restored.
    #[error("{0}")]
    DoesNotContinue(String),
    /// It could not be read.
    #[error("the export could not be read")]
    Unreadable(#[source] std::io::Error),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A key, for good.
    Key(KeyId, DeleteReason),
    /// Secrets of a key, which live on as long as this and no longer.
    Secrets(KeyId, BTreeMap<i64, SecretLife>),
    /// A management token.
    Token(TokenId),
    /// A membership.
    Member(PersonId),
    /// An invitation, accepted or taken back.
    Invitation(InvitationId),
    /// The organization as a whole.
    Organization,
}

/// Something that ended after a backup was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterDeletion {
    /// What.
    pub ended: Ended,
    /// The entry that tells it.
    pub sequence: i64,
    /// When.
    pub at: Timestamp,
}

/// What an export tells of the time after the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterDeletions {
    /// The organization; `None` for the chain of what belongs to none, in which nothing ends.
    pub organization: Option<OrganizationId>,
    /// The last entry that the export and the database have in common; 0 for none.
    pub common: i64,
    /// When that was: what was made later is not what ended.
    pub common_at: Timestamp,
    /// The export's last entry.
    pub last: i64,
    /// What ended, in the order of the entries.
    pub deletions: Vec<LaterDeletion>,
}

/// Makes sure of an export without a database: that it is whole, and signed by this keyring or one after it.
///
/// # Errors
/// [`ExportRefused`].
pub async fn check_export<R: AsyncBufReadExt + Unpin>(
    keyring: &Keyring,
    input: &mut R,
) -> Result<(), ExportRefused> {
    let mut lines = Lines::new(keyring, input);
    while lines.next().await?.is_some() {}
    lines.finish()
}

/// Reads an export beside the trail of a database.
///
/// # Errors
/// [`ExportRefused`].
pub async fn read_later_deletions<R: AsyncBufReadExt + Unpin>(
    store: &Store,
    keyring: &Keyring,
    input: &mut R,
) -> Result<LaterDeletions, ExportRefused> {
    let mut lines = Lines::new(keyring, input);
    let mut beside = None;
    let mut told = Told::default();
    while let Some(line) = lines.next().await? {
        match (line, &mut beside) {
            (Line::Header(header), None) => beside = Some(Beside::begin(store, &header).await?),
            (Line::Entry(entry), Some(beside)) => {
                let is_later = beside.is_later(&entry).await?;
                if is_later {
                    told.entry(&entry);
                }
            }
            _ => {}
        }
    }
    // What does not fit together must not be judged further, nor an answer made of it.
    lines.finish()?;
    let Some(beside) = beside else {
        return Err(ExportRefused::NotWhole("it has no first line".to_owned()));
    };
    let (common, common_at) = beside.finish().await?;
    Ok(LaterDeletions {
        organization: beside.chain.parse().ok(),
        common,
        common_at,
        last: beside.last,
        deletions: told.into_deletions(),
    })
}

/// The lines of an export, each of which is handed to the judge as it is read.
struct Lines<'a, R> {
    input: &'a mut R,
    check: ExportCheck,
}

impl<'a, R: AsyncBufReadExt + Unpin> Lines<'a, R> {
    fn new(keyring: &Keyring, input: &'a mut R) -> Self {
        let versions = keyring.summary().versions;
        let public_keys = versions
            .iter()
            .filter_map(|(version, _)| AuditSigner::of(keyring, *version))
            .map(|signer| signer.public_key())
            .collect();
        let kept = Kept {
            public_keys,
            ..Kept::default()
        };
        Self {
            input,
            check: ExportCheck::new(kept),
        }
    }

    /// The next line that is one of an export; whether they fit together is only known at the end.
    async fn next(&mut self) -> Result<Option<Line>, ExportRefused> {
        loop {
            let mut bytes = Vec::new();
            let mut bounded = (&mut *self.input).take(MAX_LINE_BYTES);
            let read = bounded.read_until(b'\n', &mut bytes).await;
            if read.map_err(ExportRefused::Unreadable)? == 0 {
                return Ok(None);
            }
            // A line that is too long is cut, and no line of an export any more.
            let Ok(text) = std::str::from_utf8(&bytes) else {
                self.check.unreadable_line("the line is no UTF-8");
                continue;
            };
            self.check.line(text);
            if let Ok(line) = Line::parse(text) {
                return Ok(Some(line));
            }
        }
    }

    fn finish(self) -> Result<(), ExportRefused> {
        let report = self.check.finish();
        if report.is_whole() {
            return Ok(());
        }
        let found: Vec<String> = report
            .findings
            .told
            .iter()
            .take(3)
            .map(ToString::to_string)
            .collect();
        Err(ExportRefused::NotWhole(found.join("; ")))
    }
}

/// The trail in the database, read beside the export.
struct Beside<'a> {
    store: &'a Store,
    chain: String,
    page: VecDeque<StoredEntry>,
    common: i64,
    common_at: Timestamp,
    /// The first entry that the database tells otherwise, and when it was made.
    parted: Option<(i64, Timestamp)>,
    has_ended: bool,
    last: i64,
}

impl<'a> Beside<'a> {
    async fn begin(store: &'a Store, header: &Header) -> Result<Self, ExportRefused> {
        let before = header.from_sequence.saturating_sub(1);
        let common_at = if before <= 0 {
            // Nothing is older than the first entry.
            Timestamp::from_unix_ms(i64::MIN)
        } else {
            let found = store
                .list_audit(&header.chain, before.saturating_sub(1), 1)
                .await?;
            let same = found
                .first()
                .filter(|entry| entry.sequence == before && entry.hash.as_slice() == header.previous_hash.0);
            let Some(entry) = same else {
                return Err(ExportRefused::DoesNotContinue(format!(
                    "the export begins with entry {} of `{}`, and the entry before it is not in the database as it was then: \
                     export the trail again from an earlier entry, best from the first",
                    header.from_sequence, header.chain
                )));
            };
            Timestamp::from_unix_ms(entry.at)
        };
        debug_assert!(before > 0 || header.previous_hash.0 == CHAIN_START);
        Ok(Self {
            store,
            chain: header.chain.clone(),
            page: VecDeque::new(),
            common: before.max(0),
            common_at,
            parted: None,
            has_ended: false,
            last: before.max(0),
        })
    }

    /// Whether an entry is told by the export alone.
    async fn is_later(&mut self, entry: &EntryLine) -> Result<bool, ExportRefused> {
        self.last = entry.sequence;
        if self.parted.is_some() || self.has_ended {
            return Ok(true);
        }
        if self.page.is_empty() {
            self.page = self
                .store
                .list_audit(&self.chain, self.common, STEP)
                .await?
                .into();
        }
        let Some(own) = self.page.pop_front() else {
            self.has_ended = true;
            return Ok(true);
        };
        if own.sequence == entry.sequence && own.hash.as_slice() == entry.hash.0 {
            self.common = entry.sequence;
            self.common_at = entry.at_ms;
            return Ok(false);
        }
        self.parted = Some((entry.sequence, Timestamp::from_unix_ms(own.at)));
        Ok(true)
    }

    /// Makes sure that the two part for no other reason than a restore.
    async fn finish(&self) -> Result<(i64, Timestamp), ExportRefused> {
        if let Some((sequence, at)) = self.parted {
            let restored_at = self.store.last_restore_at().await?;
            if restored_at.is_none_or(|restored_at| at < restored_at) {
                return Err(ExportRefused::DoesNotContinue(format!(
                    "the export and the database tell entry {sequence} of `{}` differently, and the database's was there \
                     before it was restored: the export was made by another installation, or after another backup was \
                     restored. Export the trail from the installation that made this backup",
                    self.chain
                )));
            }
        }
        Ok((self.common, self.common_at))
    }
}

/// What the later entries come to.
#[derive(Default)]
struct Told {
    keys: BTreeMap<KeyId, (DeleteReason, Mention)>,
    secrets: BTreeMap<KeyId, (BTreeMap<i64, SecretLife>, Mention)>,
    tokens: BTreeMap<TokenId, Mention>,
    members: BTreeMap<PersonId, Mention>,
    invitations: BTreeMap<InvitationId, Mention>,
    organization: Option<Mention>,
}

#[derive(Debug, Clone, Copy)]
struct Mention {
    sequence: i64,
    at: Timestamp,
}

impl Told {
    fn entry(&mut self, entry: &EntryLine) {
        let mention = Mention {
            sequence: entry.sequence,
            at: entry.at_ms,
        };
        let facts = entry.read_facts();
        let (kind, id) = entry.target.split_once('/').unwrap_or((&entry.target, ""));
        match (entry.action.as_str(), kind) {
            ("key.delete", "key") => {
                if let Ok(id) = id.parse() {
                    let reason = text(&facts, "reason").and_then(DeleteReason::from_name);
                    let reason = reason.unwrap_or(DeleteReason::Other);
                    self.keys.entry(id).or_insert((reason, mention));
                }
            }
            (
                "key.rotate"
                | "key.rotation_activate"
                | "key.rotation_cancel"
                | "key.rotation_dropped"
                | "key.rotation_end"
                | "key.rotation_finish"
                | "key.rotation_first_use",
                "key",
            ) => self.secrets(id, &facts, mention),
            ("token.delete", "token") => {
                if let Ok(id) = id.parse() {
                    self.tokens.entry(id).or_insert(mention);
                }
            }
            ("member.remove", "person") => {
                if let Ok(id) = id.parse() {
                    self.members.insert(id, mention);
                }
            }
            ("invitation.revoke", "invitation") => self.invitation(id, mention),
            ("invitation.accept", "invitation") => {
                self.invitation(id, mention);
                // Whoever was removed is a member again.
                if let Some(person) = text(&facts, "person").and_then(|person| person.parse().ok()) {
                    self.members.remove(&person);
                }
            }
            ("organization.delete", "organization") => self.organization = Some(mention),
            ("organization.restore", "organization") => self.organization = None,
            _ => {}
        }
    }

    /// The last word about each secret counts.
    fn secrets(&mut self, id: &str, facts: &Map<String, Value>, mention: Mention) {
        let Ok(id) = id.parse() else { return };
        let (lives, last) = self
            .secrets
            .entry(id)
            .or_insert_with(|| (BTreeMap::new(), mention));
        *last = mention;
        for (name, value) in facts {
            let Some(number) = name
                .strip_prefix("secret_")
                .and_then(|number| number.parse().ok())
            else {
                continue;
            };
            let until = facts.get(&format!("{name}_until_ms")).and_then(Value::as_i64);
            match (value.as_str(), until) {
                (Some("ended"), _) => lives.insert(number, SecretLife::Ended),
                (Some("until"), Some(end)) => {
                    lives.insert(number, SecretLife::Until(Timestamp::from_unix_ms(end)))
                }
                (Some("current"), _) => lives.remove(&number),
                _ => None,
            };
        }
    }

    fn invitation(&mut self, id: &str, mention: Mention) {
        if let Ok(id) = id.parse() {
            self.invitations.entry(id).or_insert(mention);
        }
    }

    fn into_deletions(self) -> Vec<LaterDeletion> {
        let mut deletions = Vec::new();
        let mut add = |ended, mention: Mention| {
            deletions.push(LaterDeletion {
                ended,
                sequence: mention.sequence,
                at: mention.at,
            });
        };
        for (id, (lives, mention)) in self.secrets {
            // With the key its secrets end.
            if !lives.is_empty() && !self.keys.contains_key(&id) {
                add(Ended::Secrets(id, lives), mention);
            }
        }
        for (id, (reason, mention)) in self.keys {
            add(Ended::Key(id, reason), mention);
        }
        for (id, mention) in self.tokens {
            add(Ended::Token(id), mention);
        }
        for (id, mention) in self.members {
            add(Ended::Member(id), mention);
        }
        for (id, mention) in self.invitations {
            add(Ended::Invitation(id), mention);
        }
        if let Some(mention) = self.organization {
            add(Ended::Organization, mention);
        }
        deletions.sort_by_key(|deletion| deletion.sequence);
        deletions
    }
}

fn text<'a>(facts: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    facts.get(name).and_then(Value::as_str)
}

impl LaterDeletions {
    /// The chain, as the trail names it.
    pub fn chain(&self) -> &str {
        self.organization
            .as_ref()
            .map_or(NO_ORGANIZATION, OrganizationId::as_str)
    }
}

impl Ended {
    /// What kind of thing it is, for people and programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Key(..) => "key",
            Self::Secrets(..) => "secrets",
            Self::Token(_) => "token",
            Self::Member(_) => "member",
            Self::Invitation(_) => "invitation",
            Self::Organization => "organization",
        }
    }

    /// Its id within the organization; an organization has no other than its own.
    pub fn id(&self) -> String {
        match self {
            Self::Key(id, _) | Self::Secrets(id, _) => id.to_string(),
            Self::Token(id) => id.to_string(),
            Self::Member(id) => id.to_string(),
            Self::Invitation(id) => id.to_string(),
            Self::Organization => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use keyward_core::hex::Hex;
    use serde_json::json;

    use super::*;

    fn entry(sequence: i64, action: &str, target: &str, facts: &Value) -> EntryLine {
        EntryLine {
            chain: "org-1".to_owned(),
            sequence,
            previous_hash: Hex(CHAIN_START),
            hash: Hex(CHAIN_START),
            at_ms: Timestamp::from_unix_ms(sequence),
            actor: "system".to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            request_id: "r".to_owned(),
            facts: facts.to_string(),
            personal: BTreeMap::new(),
        }
    }

    fn told(entries: &[(&str, &str, Value)]) -> Vec<(i64, Ended)> {
        let mut told = Told::default();
        for (index, (action, target, facts)) in entries.iter().enumerate() {
            told.entry(&entry(index as i64 + 1, action, target, facts));
        }
        let deletions = told.into_deletions().into_iter();
        deletions
            .map(|deletion| (deletion.sequence, deletion.ended))
            .collect()
    }

    fn key() -> KeyId {
        "0000000000000001".parse().unwrap()
    }

    const KEY: &str = "key/0000000000000001";

    #[test]
    fn the_last_word_about_a_secret_counts() {
        let begun = (
            "key.rotate",
            KEY,
            json!({"secret_1": "until", "secret_1_until_ms": 9, "secret_1_was": "current"}),
        );
        let until = SecretLife::Until(Timestamp::from_unix_ms(9));
        let secrets = |lives: &[(i64, SecretLife)]| Ended::Secrets(key(), lives.iter().copied().collect());
        assert_eq!(told(std::slice::from_ref(&begun)), [(1, secrets(&[(1, until)]))]);
        let over = ("key.rotation_end", KEY, json!({"secret_1": "ended"}));
        assert_eq!(
            told(&[begun.clone(), over]),
            [(2, secrets(&[(1, SecretLife::Ended)]))]
        );
        let back = (
            "key.rotation_cancel",
            KEY,
            json!({"secret_2": "ended", "secret_1": "current"}),
        );
        assert_eq!(
            told(&[begun.clone(), back]),
            [(2, secrets(&[(2, SecretLife::Ended)]))]
        );
        let gone = ("key.delete", KEY, json!({"reason": "compromised"}));
        assert_eq!(
            told(&[begun, gone]),
            [(2, Ended::Key(key(), DeleteReason::Compromised))]
        );
    }

    #[test]
    fn what_was_taken_back_did_not_end() {
        let (deleted, restored) = (
            ("organization.delete", "organization/org-1", json!({})),
            ("organization.restore", "organization/org-1", json!({})),
        );
        assert_eq!(told(std::slice::from_ref(&deleted)), [(1, Ended::Organization)]);
        assert!(told(&[deleted, restored]).is_empty());
        let removed = ("member.remove", "person/0198-a", json!({}));
        let back = (
            "invitation.accept",
            "invitation/0198-b",
            json!({"person": "0198-a"}),
        );
        assert!(matches!(
            told(std::slice::from_ref(&removed))[..],
            [(1, Ended::Member(_))]
        ));
        assert!(matches!(told(&[removed, back])[..], [(2, Ended::Invitation(_))]));
        let others = [
            ("key.pause", KEY, json!({})),
            ("key.delete", "key/", json!({})),
            ("key.delete", "database", json!({})),
        ];
        assert!(told(&others).is_empty());
    }
}
