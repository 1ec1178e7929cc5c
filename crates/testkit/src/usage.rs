//! A great deal of usage, written through the store's own write side, and what the answers to questions about it must be.
//!
//! The same numbers give the same usage, so that a bench and a test see the same. Keys are used unevenly: a few are busy all
//! day, most now and then, some never. What was drawn is remembered as sums, to compare answers with.

use std::collections::{BTreeMap, HashMap};

use keyward_core::address::CallerAddress;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::time::{DAY_MS, HOUR_MS, Timestamp};
use keyward_core::usage::{ClientName, Outcome, Source, UsedFor, hour_of};
use keyward_store::Store;
use keyward_store::usage::UsageCount;

/// How many days the usage is spread over.
pub const DAYS: i64 = 60;
/// One key of so many is never used.
pub const NEVER_USED: usize = 10;
/// One of those that are used stops being used after half the time.
pub const ABANDONED: usize = 7;
const CLIENTS: [&str; 5] = [
    "vi-sdk/0.1.0b7 python/3.11",
    "curl/8.5.0",
    "nightly-export/2.4",
    "Mozilla/5.0 (X11; Linux x86_64)",
    "labeler-bot/1.0",
];

/// What to write.
#[derive(Debug, Clone)]
pub struct UsageLoad {
    /// Whose keys.
    pub organization: OrganizationId,
    /// The keys; the first is the busiest.
    pub keys: Vec<KeyId>,
    /// How many requests.
    pub events: u64,
    /// When the last of them was.
    pub until: Timestamp,
    /// How long one batch counts, as a roll-up in the program does; a divisor of a day.
    pub batch_ms: i64,
}

/// What was written, as sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenUsage {
    /// How often each key was accepted.
    pub accepted: HashMap<KeyId, i64>,
    /// How often each key was refused.
    pub refused: HashMap<KeyId, i64>,
    /// The last accepted use of each key.
    pub last_used_at: HashMap<KeyId, Timestamp>,
    /// How often each address was accepted or refused.
    pub by_address: BTreeMap<String, i64>,
    /// When each key was first used from each address.
    pub first_seen: HashMap<(KeyId, String), Timestamp>,
    /// How many rows of counts were written, before those of one hour are added up.
    pub counts: u64,
}

/// Numbers that look drawn (SplitMix64).
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl UsageLoad {
    /// Writes everything; `progress` hears after each batch how many requests were written so far.
    pub async fn write(&self, store: &Store, mut progress: impl FnMut(u64)) -> WrittenUsage {
        let mut draws = Draws(self.events);
        let mut written = WrittenUsage::default();
        let begin = self.until.as_unix_ms() - DAYS * DAY_MS;
        let batches = (DAYS * DAY_MS / self.batch_ms) as u64;
        let mut done = 0;
        for batch in 0..batches {
            let wanted = self.events * (batch + 1) / batches - done;
            let start = begin + batch as i64 * self.batch_ms;
            let mut counts: HashMap<_, UsageCount> = HashMap::new();
            for _ in 0..wanted {
                let count = self.draw(&mut draws, start);
                written.note(&count);
                let same = (
                    count.key_id,
                    count.hour,
                    count.used_for,
                    count.outcome,
                    count.source,
                );
                counts
                    .entry(same)
                    .and_modify(|known| known.absorb(&count))
                    .or_insert(count);
            }
            done += wanted;
            let counts: Vec<UsageCount> = counts.into_values().collect();
            written.counts += counts.len() as u64;
            if !counts.is_empty() {
                let mut tx = store.begin().await.expect("a transaction can be begun");
                tx.record_usage(&counts).await.expect("usage can be written");
                tx.commit().await.expect("usage can be committed");
            }
            progress(done);
        }
        written
    }

    fn draw(&self, draws: &mut Draws, start: i64) -> UsageCount {
        let at = Timestamp::from_unix_ms(start + draws.below(self.batch_ms as u64) as i64);
        let is_late = at.as_unix_ms() > self.until.as_unix_ms() - DAYS / 2 * DAY_MS;
        // The power makes the first keys the busy ones.
        let index = loop {
            let index = (draws.part().powi(6) * self.keys.len() as f64) as usize;
            let is_silent = index % NEVER_USED == NEVER_USED - 1;
            let is_over = is_late && is_abandoned(index);
            if !(is_silent || is_over) {
                break index.min(self.keys.len() - 1);
            }
        };
        let key_id = *self
            .keys
            .get(index)
            .expect("the index is below the number of keys");
        // Each key has a machine or a few; the busy ones have more.
        let machines = 1 + 20 / (index as u64 + 1) + u64::from(index.is_multiple_of(5));
        let machine = draws.below(machines) + index as u64 * 3;
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + (machine % 60_000) as u32);
        let client = CLIENTS
            .iter()
            .cycle()
            .nth(index % CLIENTS.len() + draws.below(2) as usize)
            .expect("the clients come round again");
        let (outcome, used_for) = match draws.below(100) {
            0 => (
                Outcome::Refused(Code::OperationNotPermitted),
                UsedFor::Perform(Operation::DatasetDelete),
            ),
            1 => (
                Outcome::Refused(Code::RateLimited),
                UsedFor::Perform(Operation::DatasetRead),
            ),
            2..30 => (Outcome::Accepted, UsedFor::Identify),
            30..90 => (Outcome::Accepted, UsedFor::Perform(Operation::DatasetRead)),
            _ => (Outcome::Accepted, UsedFor::Perform(Operation::AnnotationWrite)),
        };
        UsageCount {
            organization_id: self.organization.clone(),
            key_id,
            hour: hour_of(at),
            secret: 1,
            used_for,
            outcome,
            source: Source::Of(
                CallerAddress::Known(address.into()),
                ClientName::from_user_agent(Some(client.as_bytes()), [b"dtvi_", b"kwmt_"]),
            ),
            uses: 1,
            first_at: at,
            last_at: at,
        }
    }

    /// The first hour that something can have happened in.
    pub fn first_hour(&self) -> i64 {
        (self.until.as_unix_ms() - DAYS * DAY_MS).div_euclid(HOUR_MS)
    }
}

const fn is_abandoned(index: usize) -> bool {
    index % ABANDONED == ABANDONED - 1
}

impl WrittenUsage {
    fn note(&mut self, count: &UsageCount) {
        let address = count.source.address();
        *self.by_address.entry(address.clone()).or_default() += 1;
        if count.outcome != Outcome::Accepted {
            *self.refused.entry(count.key_id).or_default() += 1;
            return;
        }
        *self.accepted.entry(count.key_id).or_default() += 1;
        let last = self.last_used_at.entry(count.key_id).or_insert(count.last_at);
        *last = count.last_at.max(*last);
        let first = self
            .first_seen
            .entry((count.key_id, address))
            .or_insert(count.first_at);
        *first = count.first_at.min(*first);
    }
}
