//! How many wrong passphrases and codes are let pass, and from where.
//!
//! Counted in memory, by the engine's clock, and only what was wrong. An attempt counts as wrong from its beginning until it is known to
//! be right, so that a hundred at once are not all "the first". Of passphrases nothing is counted by e-mail address or person alone: whoever
//! guesses from one network locks nobody out of another. What is counted:
//!
//! - by network: so many at once, and one more a minute;
//! - by network and e-mail address: a few, then with growing waits;
//! - wrong codes, by network and person, and by person over all networks, which only somebody who knows the passphrase gets to;
//! - right passphrases, by person: sessions in a row cost hashes and entries of the trail, and only their holder can begin them.
//!
//! The maps are bounded: what lies back longest goes first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keyward_core::address::CallerAddress;
use keyward_core::email::EmailAddress;
use keyward_core::ids::PersonId;
use keyward_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use sha2::{Digest, Sha256};

use crate::bucket::{Bucket, put};
use crate::caller_network::Network;
use crate::error::EngineError;

/// Most wrong attempts of a network at once.
const NETWORK_AT_ONCE: i64 = 20;
/// Most of an IPv6 /48, which may be a whole company.
const WIDE_AT_ONCE: i64 = 60;
/// One attempt of a network is forgotten after so long.
const NETWORK_FADES_MS: i64 = MINUTE_MS;
/// Wrong attempts of a network at an address before there are waits.
const PAIR_FREE: u32 = 5;
/// The first wait, and the longest.
const PAIR_WAITS_MS: (i64, i64) = (30 * SECOND_MS, 15 * MINUTE_MS);
/// A pair is forgotten when nothing was wrong for so long.
const PAIR_FORGOTTEN_MS: i64 = DAY_MS;
/// Most wrong codes for a person from one network at once, and how long until one is forgotten: so many an hour.
const CODES_AT_ONCE: i64 = 10;
const CODE_FADES_MS: i64 = HOUR_MS / CODES_AT_ONCE;
/// Most wrong codes for a person from everywhere: so many at once, and one more after so long.
const CODES_OF_PERSON: (i64, i64) = (30, HOUR_MS / 4);
/// Most sessions that a person begins with a passphrase at once, and how long until there is one more.
const SESSIONS_OF_PERSON: (i64, i64) = (30, MINUTE_MS);

/// Stands for an e-mail address, in little memory however long it was.
type Who = [u8; 16];

/// What was wrong lately.
#[derive(Default)]
pub(crate) struct SignInThrottle {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    networks: HashMap<Network, Bucket>,
    pairs: HashMap<(Network, Who), Pair>,
    codes: HashMap<(Network, PersonId), Bucket>,
    codes_of: HashMap<PersonId, Bucket>,
    sessions_of: HashMap<PersonId, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    wrong: u32,
    last_at: Timestamp,
}

/// An attempt that counts as wrong unless it is said otherwise.
#[must_use]
pub(crate) struct Attempt<'a> {
    throttle: &'a SignInThrottle,
    network: Network,
    counted: Counted,
}

enum Counted {
    Passphrase(Who),
    Code(PersonId),
}

impl Pair {
    /// How long there is to wait yet at `now`.
    fn wait_ms(&self, now: Timestamp) -> i64 {
        if self.wrong < PAIR_FREE {
            return 0;
        }
        let (first, longest) = PAIR_WAITS_MS;
        let doublings = (self.wrong - PAIR_FREE).min(10);
        let wait = (first << doublings).min(longest);
        (self.last_at.plus_ms(wait).as_unix_ms() - now.as_unix_ms()).max(0)
    }
}

impl SignInThrottle {
    /// Begins an attempt at a passphrase.
    pub(crate) fn begin(
        &self,
        address: CallerAddress,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Attempt<'_>, EngineError> {
        let network = Network::of(address);
        let who = who(email);
        let mut counts = self.locked();
        let pair = counts.pairs.get(&(network, who)).copied();
        let pair = pair.filter(|pair| now < pair.last_at.plus_ms(PAIR_FORGOTTEN_MS));
        let wait_ms = pair.map_or(0, |pair| pair.wait_ms(now));
        if wait_ms > 0 {
            return Err(EngineError::TooMany {
                retry_after_ms: wait_ms,
            });
        }
        counts.add_to_networks(network, now)?;
        let wrong = pair.map_or(0, |pair| pair.wrong).saturating_add(1);
        let pair = Pair { wrong, last_at: now };
        put(&mut counts.pairs, (network, who), pair, |pair| pair.last_at);
        Ok(Attempt {
            throttle: self,
            network,
            counted: Counted::Passphrase(who),
        })
    }

    /// Begins an attempt at a code of somebody whose passphrase was right.
    pub(crate) fn begin_code(
        &self,
        address: CallerAddress,
        person: &PersonId,
        now: Timestamp,
    ) -> Result<Attempt<'_>, EngineError> {
        let network = Network::of(address);
        let mut counts = self.locked();
        let key = (network, person.clone());
        let found = counts.codes.get(&key).copied();
        let bucket = Bucket::add(found, (CODES_AT_ONCE, CODE_FADES_MS), now)?;
        let all = counts.codes_of.get(person).copied();
        let all = Bucket::add(all, CODES_OF_PERSON, now)?;
        counts.add_to_networks(network, now)?;
        put(&mut counts.codes_of, person.clone(), all, |bucket| {
            bucket.empty_at
        });
        put(&mut counts.codes, key, bucket, |bucket| bucket.empty_at);
        Ok(Attempt {
            throttle: self,
            network,
            counted: Counted::Code(person.clone()),
        })
    }

    /// Counts a session that somebody begins whose passphrase was right.
    pub(crate) fn begin_session_of(&self, person: &PersonId, now: Timestamp) -> Result<(), EngineError> {
        let mut counts = self.locked();
        let found = counts.sessions_of.get(person).copied();
        let bucket = Bucket::add(found, SESSIONS_OF_PERSON, now)?;
        put(&mut counts.sessions_of, person.clone(), bucket, |bucket| {
            bucket.empty_at
        });
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// It was right: what was wrong before at the same passphrase is forgiven, from this network.
    pub(crate) fn was_right(self) {
        let mut counts = self.throttle.locked();
        counts.take_from_networks(self.network);
        match self.counted {
            Counted::Passphrase(who) => {
                counts.pairs.remove(&(self.network, who));
            }
            // Codes of before stay counted: a right one now and then must not buy ten guesses each.
            Counted::Code(person) => counts.take_code(self.network, person),
        }
    }

    /// It could not be checked, so it says nothing.
    pub(crate) fn was_not_made(self) {
        let mut counts = self.throttle.locked();
        counts.take_from_networks(self.network);
        match self.counted {
            Counted::Passphrase(who) => {
                if let Some(pair) = counts.pairs.get_mut(&(self.network, who)) {
                    pair.wrong = pair.wrong.saturating_sub(1);
                }
            }
            Counted::Code(person) => counts.take_code(self.network, person),
        }
    }
}

impl Counts {
    fn add_to_networks(&mut self, network: Network, now: Timestamp) -> Result<(), EngineError> {
        let narrow = self.networks.get(&network).copied();
        let narrow = Bucket::add(narrow, (NETWORK_AT_ONCE, NETWORK_FADES_MS), now)?;
        if let Some(wider) = network.wider() {
            let wide = self.networks.get(&wider).copied();
            let wide = Bucket::add(wide, (WIDE_AT_ONCE, NETWORK_FADES_MS), now)?;
            put(&mut self.networks, wider, wide, |bucket| bucket.empty_at);
        }
        put(&mut self.networks, network, narrow, |bucket| bucket.empty_at);
        Ok(())
    }

    fn take_from_networks(&mut self, network: Network) {
        for network in [Some(network), network.wider()].into_iter().flatten() {
            if let Some(bucket) = self.networks.get_mut(&network) {
                bucket.take(NETWORK_FADES_MS);
            }
        }
    }

    fn take_code(&mut self, network: Network, person: PersonId) {
        if let Some(bucket) = self.codes_of.get_mut(&person) {
            bucket.take(CODES_OF_PERSON.1);
        }
        if let Some(bucket) = self.codes.get_mut(&(network, person)) {
            bucket.take(CODE_FADES_MS);
        }
    }
}

fn who(email: &EmailAddress) -> Who {
    let hash = Sha256::digest(email.as_str().as_bytes());
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::MAX_REMEMBERED;

    const NOON: Timestamp = Timestamp::from_unix_ms(20_000 * DAY_MS);

    fn from(text: &str) -> CallerAddress {
        CallerAddress::Known(text.parse().unwrap())
    }

    fn email(text: &str) -> EmailAddress {
        text.parse().unwrap()
    }

    /// How many wrong attempts are let pass in a row.
    fn passed(throttle: &SignInThrottle, at: &str, who: impl Fn(usize) -> String, now: Timestamp) -> usize {
        (0..200)
            .take_while(|number| throttle.begin(from(at), &email(&who(*number)), now).is_ok())
            .count()
    }

    #[test]
    fn five_wrong_then_waits_that_grow_and_end() {
        let throttle = SignInThrottle::default();
        let ada = |_| "ada@example.com".to_owned();
        let mut now = NOON;
        assert_eq!(passed(&throttle, "192.0.2.1", ada, now), 5);
        for wait_s in [30, 60, 120, 240, 480, 900, 900] {
            let refused = throttle.begin(from("192.0.2.1"), &email("ada@example.com"), now);
            let Err(EngineError::TooMany { retry_after_ms }) = refused else {
                panic!("it was let pass");
            };
            assert_eq!(retry_after_ms, wait_s * SECOND_MS);
            now = now.plus_ms(retry_after_ms);
            assert_eq!(passed(&throttle, "192.0.2.1", ada, now), 1);
        }
        // Nobody else waits: not elsewhere, and not another person here.
        assert_eq!(passed(&throttle, "192.0.2.2", ada, now), 5);
        assert_eq!(
            passed(&throttle, "192.0.2.1", |_| "bob@example.com".to_owned(), now),
            5
        );
        now = now.plus_ms(PAIR_FORGOTTEN_MS);
        assert_eq!(passed(&throttle, "192.0.2.1", ada, now), 5);
    }

    #[test]
    fn a_network_has_twenty_at_once_and_one_more_a_minute() {
        let throttle = SignInThrottle::default();
        let other = |number: usize| format!("a{number}@example.com");
        assert_eq!(passed(&throttle, "192.0.2.1", other, NOON), 20);
        let later = NOON.plus_ms(3 * MINUTE_MS);
        assert_eq!(
            passed(&throttle, "192.0.2.1", |n| format!("b{n}@example.com"), later),
            3
        );
        // Of IPv6, a /64 is one network, and a /48 has a bound of its own.
        assert_eq!(passed(&throttle, "2001:db8:0:1::1", other, NOON), 20);
        assert_eq!(
            passed(
                &throttle,
                "2001:db8:0:1::2",
                |n| format!("c{n}@example.com"),
                NOON
            ),
            0
        );
        assert_eq!(passed(&throttle, "2001:db8:0:2::1", other, NOON), 20);
        assert_eq!(passed(&throttle, "2001:db8:0:3::1", other, NOON), 20);
        assert_eq!(passed(&throttle, "2001:db8:0:4::1", other, NOON), 0);
        assert_eq!(passed(&throttle, "2001:db8:1:1::1", other, NOON), 20);
    }

    #[test]
    fn what_was_right_or_not_checked_is_not_counted() {
        let throttle = SignInThrottle::default();
        let ada = email("ada@example.com");
        let begin = || throttle.begin(from("192.0.2.1"), &ada, NOON);
        for _ in 0..100 {
            begin().ok().unwrap().was_right();
        }
        for _ in 0..4 {
            drop(begin().ok().unwrap());
        }
        for _ in 0..100 {
            begin().ok().unwrap().was_not_made();
        }
        begin().ok().unwrap().was_right();
        assert_eq!(
            passed(&throttle, "192.0.2.1", |_| "ada@example.com".to_owned(), NOON),
            5
        );
    }

    #[test]
    fn ten_wrong_codes_an_hour_from_one_network() {
        let throttle = SignInThrottle::default();
        let person: PersonId = "ada".parse().unwrap();
        let passed = |at: &str, now| {
            (0..50)
                .take_while(|_| throttle.begin_code(from(at), &person, now).is_ok())
                .count()
        };
        assert_eq!(passed("192.0.2.1", NOON), 10);
        assert_eq!(passed("192.0.2.2", NOON), 10);
        assert_eq!(passed("192.0.2.1", NOON.plus_ms(HOUR_MS / 2)), 5);
    }

    #[test]
    fn codes_and_sessions_of_a_person_have_an_end_over_all_networks() {
        let throttle = SignInThrottle::default();
        let person: PersonId = "ada".parse().unwrap();
        let code = |number: usize, now| throttle.begin_code(from(&format!("192.0.2.{number}")), &person, now);
        assert_eq!(
            (1..200).take_while(|number| code(*number, NOON).is_ok()).count(),
            30
        );
        let later = NOON.plus_ms(HOUR_MS);
        assert_eq!(
            (1..200).take_while(|number| code(*number, later).is_ok()).count(),
            4
        );
        // What was right is not counted.
        let much_later = NOON.plus_ms(DAY_MS);
        for number in 0..100 {
            code(number % 200, much_later).ok().unwrap().was_right();
        }
        let sessions = |now| {
            (0..100)
                .take_while(|_| throttle.begin_session_of(&person, now).is_ok())
                .count()
        };
        assert_eq!(sessions(NOON), 30);
        assert_eq!(sessions(NOON.plus_ms(3 * MINUTE_MS)), 3);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let throttle = SignInThrottle::default();
        for number in 0..=MAX_REMEMBERED {
            let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
            let at = CallerAddress::Known(std::net::Ipv4Addr::new(10, 0, high, low).into());
            drop(throttle.begin(at, &email("ada@example.com"), NOON.plus_ms(number as i64)));
        }
        let counts = throttle.locked();
        assert_eq!(
            (counts.networks.len(), counts.pairs.len()),
            (MAX_REMEMBERED, MAX_REMEMBERED)
        );
    }
}
