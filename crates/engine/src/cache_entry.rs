//! How the cache holds a key: a plain one in one line of the processor's cache, any other one whole.
//!
//! The line is all of a plain key: what accepts it, and what its record is made of again for whoever asks for more. It is
//! what a verify waits for when there are more keys than the processor's caches hold. A key that does not fit, because it
//! has conditions, rules, two live secrets or numbers that large, is held as it was read. Both are the same to readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyward_core::decision::OrganizationState;
use keyward_core::ids::OrganizationId;
use keyward_core::key_digest::KeptDigest;
use keyward_core::packed_id::PackedKeyId;
use keyward_core::plain::PlainKey;
use keyward_core::state::SecretLife;

use crate::cached_key::{CachedKey, CachedSecret, Order};
use crate::organization_cell::{OrganizationCell, OrganizationStanding};
use crate::usage_notes::Names;

/// The bits of an entry's word above those of the plain key.
const HAS_ENDED_SECRETS: u64 = 1 << PlainKey::BITS;
const USED: u64 = 1 << (PlainKey::BITS + 1);
const SECRET_SHIFT: u32 = PlainKey::BITS + 2;

/// A plain key.
#[repr(align(64))]
pub(crate) struct PlainEntry {
    /// Of its one secret.
    pub(crate) digest: KeptDigest,
    pub(crate) organization: Arc<OrganizationCell>,
    /// From the lowest bit on: the plain key, whether it has ended secrets, whether it was used lately, the secret's number.
    word: AtomicU64,
    pub(crate) id: PackedKeyId,
    version: u32,
}

const _: () = assert!(size_of::<PlainEntry>() == 64);
const _: () = assert!(SECRET_SHIFT + u16::BITS == u64::BITS);

impl PlainEntry {
    /// The short form of a key, if it has one.
    pub(crate) fn of(key: &CachedKey, organization: &Arc<OrganizationCell>) -> Option<Self> {
        let [secret] = key.secrets.as_slice() else {
            return None;
        };
        let plain = PlainKey::of(&key.record, secret.life)?;
        let number = u16::try_from(secret.number).ok()?;
        let ended = if key.has_ended_secrets {
            HAS_ENDED_SECRETS
        } else {
            0
        };
        Some(Self {
            digest: secret.digest.clone(),
            organization: Arc::clone(organization),
            word: AtomicU64::new(plain.to_bits() | ended | (u64::from(number) << SECRET_SHIFT)),
            id: PackedKeyId::of(key.record.id),
            version: u32::try_from(key.record.version).ok()?,
        })
    }

    /// The whole key, as it was.
    pub(crate) fn whole(&self, state: OrganizationState) -> Option<CachedKey> {
        let version = i64::from(self.version);
        let organization_id = self.organization.id().clone();
        let record = self.plain().record(self.id.unpack(), organization_id, version)?;
        let organization = OrganizationStanding {
            version: i64::MIN,
            state,
        };
        let number = i64::from(self.secret_number());
        let secret = CachedSecret::new(number, SecretLife::Current, self.digest.clone());
        let has_ended_secrets = self.word() & HAS_ENDED_SECRETS != 0;
        Some(CachedKey::new(
            record,
            organization,
            vec![secret],
            has_ended_secrets,
        ))
    }

    pub(crate) fn plain(&self) -> PlainKey {
        PlainKey::from_bits(self.word())
    }

    pub(crate) fn secret_number(&self) -> u32 {
        (self.word() >> SECRET_SHIFT) as u32
    }

    pub(crate) fn order(&self) -> Order {
        Order {
            is_ended: false,
            version: i64::from(self.version),
        }
    }

    pub(crate) fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Asks the processor for this line. On x86-64 nothing waits for it; elsewhere it is read, and work goes on as long as the
    /// processor can do without the value.
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        safe_arch::prefetch_t0(self);
        #[cfg(not(target_arch = "x86_64"))]
        std::hint::black_box(self.word());
    }

    /// Remembers the use; written only when it changes, so that a line that is read by many is written by none.
    pub(crate) fn touch(&self) {
        if self.word() & USED == 0 {
            self.word.fetch_or(USED, Ordering::Relaxed);
        }
    }

    /// Whether it was used since this was asked last.
    pub(crate) fn was_used(&self) -> bool {
        self.word.fetch_and(!USED, Ordering::Relaxed) & USED != 0
    }
}

/// Any other key.
pub(crate) struct WholeEntry {
    pub(crate) key: Arc<CachedKey>,
    pub(crate) organization: Arc<OrganizationCell>,
    /// See [`CachedKey::weight`].
    pub(crate) weight: usize,
    used: AtomicBool,
}

impl WholeEntry {
    pub(crate) fn new(key: Arc<CachedKey>, organization: Arc<OrganizationCell>) -> Self {
        Self {
            weight: key.weight(),
            key,
            organization,
            used: AtomicBool::new(false),
        }
    }

    pub(crate) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

/// A key that is here, in either form.
pub(crate) enum Held<'a> {
    /// In one line.
    Plain(&'a PlainEntry),
    /// As it was read.
    Whole(&'a WholeEntry),
}

impl Held<'_> {
    pub(crate) fn order(&self) -> Order {
        match self {
            Self::Plain(entry) => entry.order(),
            Self::Whole(entry) => entry.key.order(),
        }
    }

    pub(crate) fn organization(&self) -> &OrganizationCell {
        match self {
            Self::Plain(entry) => &entry.organization,
            Self::Whole(entry) => &entry.organization,
        }
    }

    /// The whole key; its organization is in `state`.
    pub(crate) fn key(&self, state: OrganizationState) -> Option<Arc<CachedKey>> {
        match self {
            Self::Plain(entry) => entry.whole(state).map(Arc::new),
            Self::Whole(entry) => Some(Arc::clone(&entry.key)),
        }
    }

    pub(crate) fn touch(&self) {
        match self {
            Self::Plain(entry) => entry.touch(),
            Self::Whole(entry) => entry.touch(),
        }
    }

    pub(crate) fn was_used(&self) -> bool {
        match self {
            Self::Plain(entry) => entry.was_used(),
            Self::Whole(entry) => entry.was_used(),
        }
    }
}

/// A plain key that was found, with what decides beside it.
pub struct PlainFound<'a> {
    entry: &'a PlainEntry,
    plain: PlainKey,
    state: OrganizationState,
}

impl<'a> PlainFound<'a> {
    /// Puts the parts together, unless the organization must be read through.
    pub(crate) fn of(entry: &'a PlainEntry) -> Option<Self> {
        Some(Self {
            entry,
            plain: entry.plain(),
            state: entry.organization.state()?,
        })
    }

    /// The key.
    pub const fn plain(&self) -> PlainKey {
        self.plain
    }

    /// Its organization.
    pub fn organization_id(&self) -> &OrganizationId {
        self.entry.organization.id()
    }

    /// The state of its organization.
    pub const fn organization_state(&self) -> OrganizationState {
        self.state
    }

    /// What stands for its organization in notes of uses.
    pub(crate) fn organization_number(&self, names: &Names) -> u32 {
        self.entry.organization.number(names)
    }

    /// The number of its one secret.
    pub(crate) fn secret_number(&self) -> u32 {
        self.entry.secret_number()
    }
}
