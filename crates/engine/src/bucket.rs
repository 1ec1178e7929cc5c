//! What fades at a steady rate, counted in little memory: how often somebody may do something.
//!
//! Whose bucket it is and how much it holds is decided where it is kept: `sign_in_throttle.rs` and [`crate::costly`]. It lives in memory
//! alone; a restart empties it. The limits of keys are another thing (`rates.rs`): they are set by people and told to callers.

use std::collections::HashMap;
use std::hash::Hash;

use keyward_core::time::Timestamp;

use crate::error::EngineError;

/// Most that a map remembers.
pub(crate) const MAX_REMEMBERED: usize = 10_000;

/// Deeds that fade one after the other: the moment at which all of them are forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) empty_at: Timestamp,
}

impl Bucket {
    /// Counts one at `now`, unless there are `most`; each is forgotten after `fades_ms`.
    ///
    /// # Errors
    /// [`EngineError::TooMany`].
    pub(crate) fn add(
        found: Option<Self>,
        (most, fades_ms): (i64, i64),
        now: Timestamp,
    ) -> Result<Self, EngineError> {
        let empty_at = found.map_or(now, |bucket| bucket.empty_at.max(now));
        let next = empty_at.plus_ms(fades_ms);
        let excess_ms = next.as_unix_ms() - now.plus_ms(most * fades_ms).as_unix_ms();
        if excess_ms > 0 {
            return Err(EngineError::TooMany {
                retry_after_ms: excess_ms,
            });
        }
        Ok(Self { empty_at: next })
    }

    /// Takes one back.
    pub(crate) fn take(&mut self, fades_ms: i64) {
        self.empty_at = self.empty_at.plus_ms(-fades_ms);
    }
}

/// Puts a value into a map that is bounded: what lies back longest goes first.
pub(crate) fn put<K: Eq + Hash + Clone, V>(
    map: &mut HashMap<K, V>,
    key: K,
    value: V,
    moment: impl Fn(&V) -> Timestamp,
) {
    if map.len() >= MAX_REMEMBERED && !map.contains_key(&key) {
        let oldest = map.iter().min_by_key(|(_, value)| moment(value));
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            map.remove(&oldest);
        }
    }
    map.insert(key, value);
}
