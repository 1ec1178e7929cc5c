//! The keyring: the versioned keys that seal digests at rest, and the key that marks our key ids.
//!
//! Reading the database without it gives nobody a key, and writing the database without it makes none. The key of
//! the id's MAC stays for the keyring's whole life, because ids are handed out; the sealing keys are rotated and the
//! old ones destroyed. This module holds and writes the keyring's text; where the file lies is the server's business.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ids::{KeyId, is_base36};
use crate::key_text::KEY_ID_RANDOM_LENGTH;
use crate::random::{RandomSource, RandomUnavailable, base36_padded, fill_base36};
use crate::time::Timestamp;

const FORMAT: u32 = 1;
const MAC_LENGTH: usize = 6;
const ID_LENGTH: usize = 16;
/// What a database's 32-bit integer holds; also leaves room to count on from any version that was read.
const MAX_VERSION: u32 = i32::MAX as u32;

type KeyBytes = Zeroizing<[u8; 32]>;

/// All keys of one installation. Not printable, not cloneable by accident: it is shared by reference.
pub struct Keyring {
    id: String,
    key_id_mac: Hmac<Sha256>,
    key_id_mac_key: KeyBytes,
    versions: BTreeMap<u32, Version>,
    active: u32,
}

struct Version {
    key: KeyBytes,
    created_at: Timestamp,
}

/// What may be shown of a keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyringSummary {
    /// The keyring's id, the same in the database.
    pub id: String,
    /// The version that new seals are made with.
    pub active: u32,
    /// Every version and when it was made (Unix milliseconds).
    pub versions: Vec<(u32, Timestamp)>,
}

/// Why a keyring's text was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringRefused {
    /// Not a keyring at all, or a damaged one.
    #[error("the text is not a keyring: {0}")]
    Unreadable(&'static str),
    /// Written by a later program.
    #[error("the keyring has format {0}, which this program does not know")]
    Format(u32),
}

/// The one field that every format has; read first, so that a later format is named as such.
#[derive(Deserialize)]
struct FileFormat {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    format: u32,
    id: String,
    key_id_mac_key: Zeroizing<String>,
    active: u32,
    versions: BTreeMap<u32, FileVersion>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileVersion {
    created_at_ms: Timestamp,
    key: Zeroizing<String>,
}

impl Keyring {
    /// A new keyring with version 1.
    ///
    /// # Errors
    /// [`RandomUnavailable`] from the source.
    pub fn generate(random: &mut dyn RandomSource, now: Timestamp) -> Result<Self, RandomUnavailable> {
        let mut id = [0_u8; ID_LENGTH];
        fill_base36(random, &mut id)?;
        let id = String::from_utf8_lossy(&id).into_owned();
        let key_id_mac_key = draw_key(random)?;
        let versions = BTreeMap::from([(
            1,
            Version {
                key: draw_key(random)?,
                created_at: now,
            },
        )]);
        Ok(Self {
            id,
            key_id_mac: prepared_mac(&key_id_mac_key)?,
            key_id_mac_key,
            versions,
            active: 1,
        })
    }

    /// Reads what [`Keyring::to_text`] wrote.
    ///
    /// # Errors
    /// [`KeyringRefused`]; the text is never part of it.
    pub fn from_text(text: &str) -> Result<Self, KeyringRefused> {
        let unreadable =
            |_| KeyringRefused::Unreadable("it is not the JSON that `keyward keyring init` writes");
        let FileFormat { format } = serde_json::from_str(text).map_err(unreadable)?;
        if format != FORMAT {
            return Err(KeyringRefused::Format(format));
        }
        let file: FileText = serde_json::from_str(text).map_err(unreadable)?;
        if file.id.len() != ID_LENGTH || !file.id.bytes().all(is_base36) {
            return Err(KeyringRefused::Unreadable(
                "its id is not 16 characters of `0-9 a-z`",
            ));
        }
        if !file
            .versions
            .keys()
            .all(|number| (1..=MAX_VERSION).contains(number))
        {
            return Err(KeyringRefused::Unreadable("a version's number is out of range"));
        }
        let key_id_mac_key = read_key(&file.key_id_mac_key)?;
        let versions = file
            .versions
            .into_iter()
            .map(|(number, version)| {
                Ok((
                    number,
                    Version {
                        key: read_key(&version.key)?,
                        created_at: version.created_at_ms,
                    },
                ))
            })
            .collect::<Result<BTreeMap<_, _>, KeyringRefused>>()?;
        if !versions.contains_key(&file.active) {
            return Err(KeyringRefused::Unreadable(
                "its active version is not among its versions",
            ));
        }
        let key_id_mac =
            prepared_mac(&key_id_mac_key).map_err(|_| KeyringRefused::Unreadable("a key's length"))?;
        Ok(Self {
            id: file.id,
            key_id_mac,
            key_id_mac_key,
            versions,
            active: file.active,
        })
    }

    /// The keyring as text, for a file that only its owner can read. The text is the secret itself.
    pub fn to_text(&self) -> Zeroizing<String> {
        let file = FileText {
            format: FORMAT,
            id: self.id.clone(),
            key_id_mac_key: write_key(&self.key_id_mac_key),
            active: self.active,
            versions: self
                .versions
                .iter()
                .map(|(number, version)| {
                    (
                        *number,
                        FileVersion {
                            created_at_ms: version.created_at,
                            key: write_key(&version.key),
                        },
                    )
                })
                .collect(),
        };
        // Maps with number keys and texts always serialise; an empty file would be refused when read.
        Zeroizing::new(serde_json::to_string_pretty(&file).unwrap_or_default())
    }

    /// What may be shown.
    pub fn summary(&self) -> KeyringSummary {
        let versions = self
            .versions
            .iter()
            .map(|(number, version)| (*number, version.created_at))
            .collect();
        KeyringSummary {
            id: self.id.clone(),
            active: self.active,
            versions,
        }
    }

    /// The keyring's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The version that new seals are made with.
    pub fn active(&self) -> u32 {
        self.active
    }

    /// This keyring with one more version, which becomes the active one.
    ///
    /// # Errors
    /// [`RandomUnavailable`] from the source.
    pub fn with_new_version(
        &self,
        random: &mut dyn RandomSource,
        now: Timestamp,
    ) -> Result<Self, RandomUnavailable> {
        let mut next = self.copied()?;
        next.active = self
            .versions
            .last_key_value()
            .map_or(1, |(number, _)| number.saturating_add(1));
        next.versions.insert(
            next.active,
            Version {
                key: draw_key(random)?,
                created_at: now,
            },
        );
        Ok(next)
    }

    /// This keyring with nothing but its active version: what was sealed under others can't be opened any more.
    ///
    /// # Errors
    /// [`RandomUnavailable`] never in practice; the MAC is prepared again.
    pub fn with_active_only(&self) -> Result<Self, RandomUnavailable> {
        let mut next = self.copied()?;
        next.versions.retain(|number, _| *number == self.active);
        Ok(next)
    }

    /// A value that the database keeps to know this keyring again. It tells nothing about the keys.
    pub fn check_value(&self) -> [u8; 32] {
        self.mac(b"keyward keyring check v1", self.id.as_bytes())
    }

    /// Whether `value` is this keyring's check value, in constant time.
    pub fn has_check_value(&self, value: &[u8]) -> bool {
        self.check_value().ct_eq(value).into()
    }

    /// Whether we gave this id out: its last characters are a MAC over the first. Ends a forged id without a
    /// database read; it is no authentication of anybody.
    pub fn knows_key_id(&self, id: KeyId) -> bool {
        match id.as_bytes().split_at_checked(KEY_ID_RANDOM_LENGTH) {
            Some((drawn, mac)) => self.key_id_mac(drawn).ct_eq(mac).into(),
            None => false,
        }
    }

    pub(crate) fn key_id_mac(&self, drawn: &[u8]) -> [u8; MAC_LENGTH] {
        let tag = self.mac(b"keyward key id v1", drawn);
        let number = tag
            .first_chunk::<8>()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        base36_padded(number)
    }

    pub(crate) fn sealing_key(&self, version: u32) -> Option<&[u8; 32]> {
        self.versions.get(&version).map(|version| &*version.key)
    }

    /// A key for one purpose, derived from a sealing key: it goes when that version is destroyed.
    pub(crate) fn derived_key(&self, version: u32, label: &str, input: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.sealing_key(version)?).ok()?;
        mac.update(&crate::canonical::Canonical::new(label).bytes(input).finish());
        Some(Zeroizing::new(mac.finalize().into_bytes().into()))
    }

    fn mac(&self, label: &[u8], message: &[u8]) -> [u8; 32] {
        let mut mac = self.key_id_mac.clone();
        mac.update(label);
        mac.update(&[0]);
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    fn copied(&self) -> Result<Self, RandomUnavailable> {
        let versions = self
            .versions
            .iter()
            .map(|(number, version)| {
                (
                    *number,
                    Version {
                        key: version.key.clone(),
                        created_at: version.created_at,
                    },
                )
            })
            .collect();
        Ok(Self {
            id: self.id.clone(),
            key_id_mac: prepared_mac(&self.key_id_mac_key)?,
            key_id_mac_key: self.key_id_mac_key.clone(),
            versions,
            active: self.active,
        })
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Keyring({}, version {})", self.id, self.active)
    }
}

fn draw_key(random: &mut dyn RandomSource) -> Result<KeyBytes, RandomUnavailable> {
    let mut key = Zeroizing::new([0_u8; 32]);
    random.fill(key.as_mut())?;
    Ok(key)
}

fn prepared_mac(key: &KeyBytes) -> Result<Hmac<Sha256>, RandomUnavailable> {
    Hmac::new_from_slice(key.as_ref()).map_err(|_| RandomUnavailable)
}

fn write_key(key: &KeyBytes) -> Zeroizing<String> {
    Zeroizing::new(STANDARD_NO_PAD.encode(key.as_ref()))
}

fn read_key(text: &str) -> Result<KeyBytes, KeyringRefused> {
    let bytes = Zeroizing::new(
        STANDARD_NO_PAD
            .decode(text)
            .map_err(|_| KeyringRefused::Unreadable("a key is not base64"))?,
    );
    let key: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| KeyringRefused::Unreadable("a key is not 32 bytes"))?;
    Ok(Zeroizing::new(key))
}
