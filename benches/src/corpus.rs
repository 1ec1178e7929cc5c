//! The keys that are measured with: ids, and the `Authorization` header of each, one after the other in memory.
//!
//! The headers lie in the order in which they are asked for, as a request's header is in the processor's cache when
//! it is looked at; everything that is looked up is put in in another order, so that the look-up is not.

use keyward_core::ids::KeyId;
use keyward_core::keyring::Keyring;
use keyward_testkit::seed;

/// `Bearer `, and the 103 characters of a key.
pub const HEADER_LENGTH: usize = 7 + 103;

/// A number of keys.
pub struct Corpus {
    headers: Vec<u8>,
    ids: Vec<KeyId>,
}

impl Corpus {
    /// Makes new keys under a keyring.
    pub fn draw(keyring: &Keyring, count: usize) -> Self {
        Self::of((0..count).map(|_| seed::draw_id(keyring)), count)
    }

    /// Makes keys that are well formed, and whose ids no keyring gave out.
    pub fn draw_forged(count: usize) -> Self {
        Self::of((0..count).map(|_| seed::unmarked_id()), count)
    }

    fn of(ids: impl Iterator<Item = KeyId>, count: usize) -> Self {
        let mut corpus = Self {
            headers: Vec::with_capacity(count * HEADER_LENGTH),
            ids: Vec::with_capacity(count),
        };
        for id in ids {
            corpus.headers.extend_from_slice(b"Bearer ");
            corpus
                .headers
                .extend_from_slice(seed::draw_text(id).reveal().as_bytes());
            corpus.ids.push(id);
        }
        corpus
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The header of key `at`, counted around.
    #[expect(
        clippy::indexing_slicing,
        reason = "the index is below the length; a measurement pays for no more"
    )]
    pub fn header(&self, at: usize) -> &[u8] {
        let start = at % self.ids.len() * HEADER_LENGTH;
        &self.headers[start..start + HEADER_LENGTH]
    }

    /// The text of key `at`, counted around.
    pub fn text(&self, at: usize) -> &str {
        let text = self
            .header(at)
            .strip_prefix(b"Bearer ")
            .expect("every header begins so");
        std::str::from_utf8(text).expect("keys are ASCII")
    }

    /// Position and id of every key, in an order that has nothing to do with the positions.
    pub fn shuffled(&self) -> impl Iterator<Item = (usize, KeyId)> {
        let mut all: Vec<(usize, KeyId)> = self.ids.iter().copied().enumerate().collect();
        // The ids are random.
        all.sort_unstable_by_key(|(_, id)| *id);
        all.into_iter()
    }
}
