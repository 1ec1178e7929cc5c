//! How often somebody who is signed in may have done what costs much: reading a whole trail, or sending messages.
//!
//! Counted by person, whatever organization it is for, and before the work begins. Nothing that ends a danger is counted: a stop, a
//! pause or a deletion is never refused for how often it came. Tokens are not here: their requests are counted where they arrive.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyward_core::ids::PersonId;
use keyward_core::time::{MINUTE_MS, Timestamp};

use crate::Engine;
use crate::bucket::{Bucket, put};
use crate::error::EngineError;

/// So many at once, and one more after so long.
const OF_PERSON: (i64, i64) = (12, MINUTE_MS);

/// What people had done lately.
#[derive(Default)]
pub(crate) struct CostlyDeeds(Mutex<HashMap<PersonId, Bucket>>);

impl CostlyDeeds {
    fn count(&self, person: &PersonId, now: Timestamp) -> Result<(), EngineError> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = Bucket::add(buckets.get(person).copied(), OF_PERSON, now)?;
        put(&mut buckets, person.clone(), bucket, |bucket| bucket.empty_at);
        Ok(())
    }
}

impl Engine {
    /// Counts a costly deed of a person that is about to begin.
    ///
    /// # Errors
    /// [`EngineError::TooMany`]: it must not begin.
    pub fn count_costly(&self, person: &PersonId) -> Result<(), EngineError> {
        self.inner.costly_deeds.count(person, self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_at_once_and_one_more_a_minute_each_for_themselves() {
        let deeds = CostlyDeeds::default();
        let (ada, bob): (PersonId, PersonId) = ("ada".parse().unwrap(), "bob".parse().unwrap());
        let noon = Timestamp::from_unix_ms(20_000_000_000);
        let done = |person, now| (0..50).take_while(|_| deeds.count(person, now).is_ok()).count();
        assert_eq!(done(&ada, noon), 12);
        let refused = deeds.count(&ada, noon.plus_ms(MINUTE_MS / 4));
        assert!(
            matches!(refused, Err(EngineError::TooMany { retry_after_ms }) if retry_after_ms == 3 * MINUTE_MS / 4)
        );
        assert_eq!(done(&bob, noon), 12);
        assert_eq!(done(&ada, noon.plus_ms(2 * MINUTE_MS)), 2);
    }
}
