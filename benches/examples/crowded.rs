//! More keys than the cache has room for: `crowded DATA_FOLDER KEYS_FILE CACHED`, on a folder that was seeded and that no server is on.
//!
//! Asks for keys that are drawn at random, evenly and unevenly, and prints which share was answered from memory beside the
//! share that the traffic allows; then how long a verify from the database takes beside one read of the database's row. Uses are not
//! counted.
//! Started by `cargo xtask load`, which reads the last lines.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "started by `cargo xtask load`, and ends with a sentence otherwise"
)]

use std::time::Instant;

use keyward_benches::subject::Subject;
use keyward_core::ids::KeyId;
use keyward_core::keyring::Keyring;
use keyward_engine::cache::BYTES_PER_PLAIN_KEY;
use keyward_engine::usage_notes::Counting;
use keyward_store::Database;

/// Reads and verifies that are timed.
const TIMED: usize = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data_folder, keys_file, cached] = arguments.as_slice() else {
        unusable();
    };
    let cached: usize = cached.parse().expect("CACHED is a number");
    let keyring = std::fs::read_to_string(format!("{data_folder}/keyring.json"));
    let keyring = Keyring::from_text(&keyring.expect("the keyring can be read")).expect("it is a keyring");
    let database = Database::Sqlite(format!("{data_folder}/keyward.db").into());
    let lines = std::fs::read_to_string(keys_file).expect("the file of keys can be read");
    let keys: Vec<(String, KeyId)> = lines
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some((format!("Bearer {}", fields.next()?), fields.next()?.parse().ok()?))
        })
        .collect();
    let subject = Subject::on(&database, keyring, cached * BYTES_PER_PLAIN_KEY, Counting::Off);

    assert!(
        cached < keys.len(),
        "CACHED is less than there are keys: some have to be read"
    );

    let mut draws = Draws(0x9E37_79B9_7F4A_7C15);
    // Nine of ten requests are for as many keys as fill half the cache, and those lie anywhere.
    let hot = (cached / 2).clamp(1, keys.len());
    let spread = keys.len() / hot;
    for (name, is_skewed) in [("even", false), ("uneven", true)] {
        let mut draw = || {
            if is_skewed && draws.below(10) > 0 {
                draws.below(hot) * spread
            } else {
                draws.below(keys.len())
            }
        };
        let mut from_memory = 0;
        let asked = cached * 3;
        for at in 0..asked * 2 {
            let is_from_memory = subject.verify_wherever(header(&keys, draw()));
            // The first half fills the cache.
            from_memory += usize::from(is_from_memory && at >= asked);
        }
        let allowed = cached as f64 / keys.len() as f64;
        let allowed = if is_skewed { 0.9 + 0.1 * allowed } else { allowed };
        println!(
            "{name} traffic over {} keys, {} of them cached: {:.1} % from memory; at most about {:.1} % can be",
            keys.len(),
            subject.engine().cache().len(),
            100.0 * from_memory as f64 / asked as f64,
            100.0 * allowed.min(1.0)
        );
    }

    let (mut loaded, mut read) = (0, 0);
    let (mut verify_ns, mut read_ns) = (0, 0);
    while loaded < TIMED {
        let (_, id) = keys.get(draws.below(keys.len())).expect("below the length");
        let begun = Instant::now();
        subject.read_row(*id);
        read_ns += begun.elapsed().as_nanos();
        read += 1;
        let other = header(&keys, draws.below(keys.len()));
        let begun = Instant::now();
        if subject.verify_wherever(other) {
            continue;
        }
        verify_ns += begun.elapsed().as_nanos();
        loaded += 1;
    }
    println!("cold_miss_ns {}", verify_ns / TIMED as u128);
    println!("point_read_ns {}", read_ns / read);
}

fn header(keys: &[(String, KeyId)], at: usize) -> &[u8] {
    keys.get(at)
        .map(|(header, _)| header.as_bytes())
        .unwrap_or_default()
}

/// Numbers that look random and are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}

#[expect(clippy::panic, reason = "there is nothing to measure")]
fn unusable() -> ! {
    panic!("give it three arguments: DATA_FOLDER KEYS_FILE CACHED")
}
