//! A great many keys at once, written straight into a data folder's SQLite database: for measurements only.
//!
//! The keys are real: ids marked by the data folder's keyring, digests sealed under it, so that the program verifies
//! them like any other. What is missing is everything around a key: no audit entry, no change-feed row, no outbox
//! event is written, so the result is good for measuring how fast keys are verified, and for nothing else.
//! To be called while no server is on the folder; the texts that it writes are working keys of that folder.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keyward_core::access::{Access, Permission};
use keyward_core::condition::Conditions;
use keyward_core::decision::OrganizationState;
use keyward_core::ids::{KEY_ID_LENGTH, KeyId, OrganizationId};
use keyward_core::key_text::{KeyText, Prefix, new_key_id, new_key_text};
use keyward_core::keyring::Keyring;
use keyward_core::random::{RandomSource, RandomUnavailable, fill_base36};
use keyward_core::record::{Actor, Key, KeyRecord};
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::seal::seal;
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_core::state::{KeyState, SecretLife};
use keyward_core::tag::Tags;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_store::keys::StoredSecret;
use keyward_store::organizations::Organization;
use keyward_store::{Database, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

/// The keyring's file in a data folder.
const KEYRING_FILE: &str = "keyring.json";
/// The database's file in a data folder.
const DATABASE_FILE: &str = "keyward.db";
/// Those of constraints have no statement of their own.
const INDEXES: &str = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
/// How many organizations the keys are spread over.
pub const ORGANIZATIONS: usize = 100;
/// Where a text tells nothing of its id any more, and all is secret.
const SECRET_AT: usize = 40;
/// Keys written in one transaction.
const KEYS_PER_TRANSACTION: usize = 20_000;
/// 2026-01-01: long enough ago for every key to be valid, and fixed, so that a run depends on no clock.
pub const CREATED_AT: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

/// What to seed, and where.
#[derive(Clone, Debug)]
pub struct Seeding {
    /// The data folder; it is made if it is not there.
    pub data_folder: PathBuf,
    /// An existing folder for the files of key texts.
    pub texts_folder: PathBuf,
    /// How many keys.
    pub keys: usize,
    /// How many of them, evenly spread, stand in the files that a load generator reads.
    pub sample: usize,
}

/// The files that a seeding writes into the texts folder, each with mode 0600.
pub mod files {
    /// Every key: text, id, organization, scope bits and level, separated by spaces, a line each.
    pub const KEYS: &str = "keys";
    /// The sample, one text a line, in an order that has nothing to do with the ids: traffic knows no order of ids, and whatever
    /// put keys into memory as they come must not be asked for them in the order in which they lie there.
    pub const SAMPLE: &str = "sample";
    /// As many texts that are keys in every respect but the id's MAC.
    pub const FORGED: &str = "forged";
    /// The sample with one character of each changed, so that the checksum is wrong.
    pub const MALFORMED: &str = "malformed";
}

/// The operating system's random source.
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        getrandom::fill(bytes).map_err(|_| RandomUnavailable)
    }
}

/// Seeds the database and writes the files. The indexes are made last, which is several times as fast for many keys.
pub async fn seed(seeding: &Seeding) {
    let Seeding {
        data_folder,
        texts_folder,
        keys,
        sample,
    } = seeding;
    make_private_folder(data_folder);
    let keyring = keyring_of(data_folder);
    let file = data_folder.join(DATABASE_FILE);
    let open = async || {
        Store::open(&Database::Sqlite(file.clone()))
            .await
            .expect("the database can be opened")
    };
    let store = open().await;
    store.migrate().await.expect("the database can be migrated");
    insert_organizations(&store).await;
    store.close().await;
    let indexes = drop_indexes(&file).await;
    let store = open().await;

    // In the order of the ids, so that the tables' trees grow at their ends.
    let mut ids: Vec<KeyId> = (0..*keys).map(|_| draw_id(&keyring)).collect();
    ids.sort_unstable();
    let mut lines = PrivateFile::create(&texts_folder.join(files::KEYS));
    let mut sampled = Vec::with_capacity(*sample);
    let spread = (*keys / (*sample).max(1)).max(1);
    for (batch, ids) in ids.chunks(KEYS_PER_TRANSACTION).enumerate() {
        let mut tx = store.begin().await.expect("a transaction can be begun");
        for (within, id) in ids.iter().enumerate() {
            let index = batch * KEYS_PER_TRANSACTION + within;
            let record = record(*id, index);
            let text = draw_text(*id);
            let (key, secret) = with_secret(record, index, &text, &keyring);
            tx.insert_key(&key, &secret).await.expect("a key can be inserted");
            lines.line(&key_line(&key.record, &text));
            if index.is_multiple_of(spread) && index / spread < *sample {
                sampled.push(text);
            }
        }
        tx.commit().await.expect("the keys can be committed");
    }
    store.close().await;
    let mut connection = connect(&file).await;
    for index in indexes {
        run(&mut connection, index).await;
    }

    sampled.sort_unstable_by(|one, other| drawn(one).cmp(drawn(other)));
    let mut in_turn = PrivateFile::create(&texts_folder.join(files::SAMPLE));
    let mut malformed = PrivateFile::create(&texts_folder.join(files::MALFORMED));
    for text in &sampled {
        in_turn.line(text.reveal());
        malformed.line(&with_changed_character(text.reveal()));
    }
    let mut forged = PrivateFile::create(&texts_folder.join(files::FORGED));
    for _ in 0..*sample {
        forged.line(draw_text(unmarked_id()).reveal());
    }
    for file in [lines, in_turn, malformed, forged] {
        file.finish();
    }
}

/// What is random in a text beside its id, which stands before it.
fn drawn(text: &Secret<KeyTextKind>) -> &str {
    text.reveal().get(SECRET_AT..).unwrap_or_default()
}

/// Drops every index that was made by a statement; these statements.
async fn drop_indexes(file: &Path) -> Vec<String> {
    let mut connection = connect(file).await;
    let indexes: Vec<(String, String)> = sqlx::query_as(INDEXES)
        .fetch_all(&mut connection)
        .await
        .expect("the indexes can be listed");
    for (name, _) in &indexes {
        run(&mut connection, format!("DROP INDEX {name}")).await;
    }
    indexes.into_iter().map(|(_, made_by)| made_by).collect()
}

async fn run(connection: &mut SqliteConnection, sql: String) {
    let ran = sqlx::query(AssertSqlSafe(sql)).execute(connection).await;
    ran.expect("the statement runs");
}

async fn connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    let connection = SqliteConnection::connect_with(&options).await;
    connection.expect("the database can be opened")
}

/// A new id, marked by the keyring.
pub fn draw_id(keyring: &Keyring) -> KeyId {
    new_key_id(keyring, &mut SystemRandom).expect("the random source works")
}

/// A new text for an id.
pub fn draw_text(id: KeyId) -> Secret<KeyTextKind> {
    new_key_text(&Prefix::dtvi(), id, &mut SystemRandom).expect("the random source works")
}

/// An id that no keyring gave out (it would be one of 2 billion by chance).
pub fn unmarked_id() -> KeyId {
    let mut drawn = [0_u8; KEY_ID_LENGTH];
    fill_base36(&mut SystemRandom, &mut drawn).expect("the random source works");
    KeyId::from_bytes(&drawn).expect("base-36 characters make an id")
}

/// What decides about the seeded key number `index`: usable, and not all the same.
pub fn record(id: KeyId, index: usize) -> KeyRecord {
    let is_even = index.is_multiple_of(2);
    let scopes = if is_even {
        ScopeSet::ALL
    } else {
        ScopeSet::NONE.with(Scope::Dataset)
    };
    let permission = if index.is_multiple_of(3) {
        Permission::ReadOnly
    } else {
        Permission::Full
    };
    let expires_at = is_even.then(|| CREATED_AT.plus_ms(3_650 * DAY_MS));
    KeyRecord {
        id,
        organization_id: organization_id(index % ORGANIZATIONS),
        version: 1,
        state: KeyState::Active,
        access: Access::new(scopes, permission).expect("the parts fit together"),
        conditions: Conditions {
            expires_at,
            ..Conditions::NONE
        },
    }
}

/// So many keys of one organization in a migrated database, in the order of their ids; their texts are kept nowhere.
pub async fn insert_keys_of_one(
    store: &Store,
    keyring: &Keyring,
    keys: usize,
) -> (OrganizationId, Vec<KeyId>) {
    insert_organizations(store).await;
    let organization = organization_id(0);
    let ids = insert_keys_into(store, keyring, &organization, keys, |_, _| ()).await;
    (organization, ids)
}

/// So many keys in an organization that is there, in the order of their ids, each changed by `vary`, which gets its number.
pub async fn insert_keys_into(
    store: &Store,
    keyring: &Keyring,
    organization: &OrganizationId,
    keys: usize,
    mut vary: impl FnMut(usize, &mut Key),
) -> Vec<KeyId> {
    let mut ids: Vec<KeyId> = (0..keys).map(|_| draw_id(keyring)).collect();
    ids.sort_unstable();
    for (batch, some) in ids.chunks(KEYS_PER_TRANSACTION).enumerate() {
        let mut tx = store.begin().await.expect("a transaction can be begun");
        for (within, id) in some.iter().enumerate() {
            let index = batch * KEYS_PER_TRANSACTION + within;
            let record = KeyRecord {
                organization_id: organization.clone(),
                ..record(*id, index)
            };
            let (mut key, secret) = with_secret(record, index, &draw_text(*id), keyring);
            vary(index, &mut key);
            tx.insert_key(&key, &secret).await.expect("a key can be inserted");
        }
        tx.commit().await.expect("the keys can be committed");
    }
    ids
}

/// The id of a seeded organization.
fn organization_id(number: usize) -> OrganizationId {
    format!("org-seeded-{number:03}")
        .parse()
        .expect("the id is well formed")
}

fn with_secret(
    record: KeyRecord,
    index: usize,
    text: &Secret<KeyTextKind>,
    keyring: &Keyring,
) -> (Key, StoredSecret) {
    let text = KeyText::parse(text.reveal(), &Prefix::dtvi()).expect("a new text is well formed");
    let life = SecretLife::Current;
    let secret = StoredSecret {
        number: 1,
        life,
        sealed: seal(
            keyring,
            &text.digest(),
            &record.seal_binding(1, life),
            &mut SystemRandom,
        )
        .expect("a digest can be sealed"),
        hint: text.hint().to_string(),
        created_at: CREATED_AT,
        ended_at: None,
    };
    let key = Key {
        record,
        name: format!("Seeded key {index}")
            .parse()
            .expect("the name is well formed"),
        description: String::new(),
        environment: None,
        created_by: Actor::LocalAdministrator,
        responsible: None,
        created_at: CREATED_AT,
        updated_at: CREATED_AT,
        tags: Tags::NONE,
        rotate_every_ms: None,
        rotated_at: None,
        hint: secret.hint.clone(),
    };
    (key, secret)
}

fn key_line(record: &KeyRecord, text: &Secret<KeyTextKind>) -> String {
    let mut line = String::with_capacity(160);
    write!(
        line,
        "{} {} {} {} {}",
        text.reveal(),
        record.id,
        record.organization_id,
        record.access.scopes().bits(),
        record.access.permission().level().name()
    )
    .expect("a text can be written to");
    line
}

/// The text with the first character of its secret changed to one that keys hold there as well.
fn with_changed_character(text: &str) -> String {
    let (before, rest) = text.split_at(SECRET_AT);
    let other = if rest.starts_with('M') { 'N' } else { 'M' };
    let after: String = rest.chars().skip(1).collect();
    format!("{before}{other}{after}")
}

async fn insert_organizations(store: &Store) {
    let mut tx = store.begin().await.expect("a transaction can be begun");
    for number in 0..ORGANIZATIONS {
        let organization = Organization {
            id: organization_id(number),
            version: 1,
            state: OrganizationState::Open,
            name: format!("Seeded organization {number}"),
            preference: serde_json::Map::new(),
            attributes: std::collections::BTreeMap::new(),
            settings: keyward_core::organization::OrganizationSettings::default(),
            deletion: None,
            last_access_at: CREATED_AT,
            created_at: CREATED_AT,
            updated_at: CREATED_AT,
        };
        tx.insert_organization(&organization)
            .await
            .expect("the database holds no seeded organization yet");
    }
    tx.commit().await.expect("the organizations can be committed");
}

fn make_private_folder(folder: &Path) {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .expect("the data folder can be made");
}

/// The folder's keyring; a new one is made where there is none yet.
fn keyring_of(data_folder: &Path) -> Keyring {
    let path = data_folder.join(KEYRING_FILE);
    if let Ok(text) = fs::read_to_string(&path) {
        return Keyring::from_text(&text).expect("the keyring can be read");
    }
    let keyring = Keyring::generate(&mut SystemRandom, CREATED_AT).expect("the random source works");
    let mut file = PrivateFile::create(&path);
    file.line(&keyring.to_text());
    file.finish();
    keyring
}

/// A file that only its owner can read.
struct PrivateFile(std::io::BufWriter<fs::File>);

impl PrivateFile {
    fn create(path: &Path) -> Self {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .expect("the file is not there yet and can be made");
        Self(std::io::BufWriter::new(file))
    }

    fn line(&mut self, text: &str) {
        self.0
            .write_all(text.as_bytes())
            .and_then(|()| self.0.write_all(b"\n"))
            .expect("the file can be written to");
    }

    fn finish(mut self) {
        self.0.flush().expect("the file can be written to");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn what_is_seeded_can_be_read_and_opened() {
        let folder = tempfile::tempdir().unwrap();
        let seeding = Seeding {
            data_folder: folder.path().join("data"),
            texts_folder: folder.path().to_owned(),
            keys: 50,
            sample: 10,
        };
        seed(&seeding).await;

        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read(files::KEYS).lines().count(), 50);
        let prefix = Prefix::dtvi();
        let keyring = keyring_of(&seeding.data_folder);
        let database = Database::Sqlite(seeding.data_folder.join(DATABASE_FILE));
        let store = Store::open(&database).await.unwrap();
        let indexes = sqlx::query_as::<_, (String, String)>(INDEXES)
            .fetch_all(&mut connect(&seeding.data_folder.join(DATABASE_FILE)).await)
            .await
            .unwrap();
        assert!(indexes.len() > 10, "they are there again: {indexes:?}");
        let sample = read(files::SAMPLE);
        assert_eq!(sample.lines().count(), 10);
        assert!(!sample.lines().is_sorted(), "in no order");
        for text in sample.lines() {
            let text = KeyText::parse(text, &prefix).unwrap();
            assert!(keyring.knows_key_id(text.id()));
            let stored = store.load_live_key(text.id()).await.unwrap().unwrap();
            let secret = &stored.secrets[0];
            let binding = stored.key.record.seal_binding(secret.number, secret.life);
            let digest = keyward_core::seal::open(&keyring, &secret.sealed, &binding).unwrap();
            assert!(digest.matches(&text.digest()));
        }
        for text in read(files::FORGED).lines() {
            assert!(!keyring.knows_key_id(KeyText::parse(text, &prefix).unwrap().id()));
        }
        for text in read(files::MALFORMED).lines() {
            assert!(KeyText::parse(text, &prefix).is_err());
        }
        for name in [
            files::KEYS,
            files::SAMPLE,
            files::FORGED,
            files::MALFORMED,
            "data/keyring.json",
        ] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
