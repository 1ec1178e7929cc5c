//! The bare baseline: SHA-256, one look into a map of digests, a copy of a small record.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use sha2::{Digest as _, Sha256};

/// What the baseline knows of a key.
#[derive(Clone, Copy, Debug)]
pub struct BareRecord {
    /// The key's id.
    pub key_id: [u8; 16],
    /// The number of its organization.
    pub organization: u32,
    /// Scope bits.
    pub scopes: u8,
    /// The number of its permission level.
    pub level: u8,
    /// Always 1, and read out of the record.
    pub secret_number: u8,
}

/// The map, with the hash function that maps have by default, or with a prefix of the digest as the hash.
pub struct BareMap<S = RandomState> {
    records: papaya::HashMap<[u8; 32], BareRecord, S>,
}

/// Takes the first eight bytes of a digest for its hash: faster than what most would write, so that both can be
/// compared.
pub type DigestPrefix = BuildHasherDefault<PrefixHasher>;

impl<S: BuildHasher + Default> BareMap<S> {
    /// A map with room.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            records: papaya::HashMap::with_capacity_and_hasher(capacity, S::default()),
        }
    }

    /// Takes a key in.
    pub fn insert(&self, key_text: &[u8], record: BareRecord) {
        self.records.pin().insert(digest(key_text), record);
    }

    /// The record of a key.
    pub fn find(&self, key_text: &[u8]) -> Option<BareRecord> {
        self.records.pin().get(&digest(key_text)).copied()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// See [`DigestPrefix`].
#[derive(Default)]
pub struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length prefix that `Hash` writes for arrays carries nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// What stands for a key everywhere in the baselines.
pub fn digest(key_text: &[u8]) -> [u8; 32] {
    Sha256::digest(key_text).into()
}

/// The key in an `Authorization` header, as the baseline takes it.
pub fn bearer(header: &[u8]) -> Option<&[u8]> {
    header.strip_prefix(b"Bearer ")
}
