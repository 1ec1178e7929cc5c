//! `cargo bench --bench ratio`: Keyward's verify next to the bare baseline, a million keys each, in one process.
//!
//! The subjects take turns in short rounds, so that whatever else the machine does falls on all of them, and medians
//! are compared. Two ways of asking: *free*, where the processor may begin the next key while it waits for the memory
//! of this one, and *chained*, where which key comes next is known only from the answer, as on a server's thread.
//! Arguments: the number of keys, then the number of rounds.

#![expect(
    clippy::print_stdout,
    reason = "printing the figures is what this program is for"
)]

use std::hint::black_box;
use std::time::Instant;

use keyward_benches::bare::{BareMap, BareRecord, DigestPrefix, bearer};
use keyward_benches::corpus::Corpus;
use keyward_benches::memory::resident_bytes;
use keyward_benches::subject::{Subject, bare_of, keyring, same_keyring};
use keyward_core::decision::Purpose;
use keyward_core::operation::Operation;
use keyward_core::resource::{Resource, ResourceType};
use keyward_engine::usage_notes::Counting;

const KEYS: usize = 1_000_000;
const ROUNDS: usize = 7;
/// Keys of one round; what they count is written down after it, which takes longer than the round. A round
/// starts where the one before ended.
const KEYS_PER_ROUND: usize = 50_000;
/// Turns of a round in which counting and not counting are compared.
const TURNS: usize = 10;
const FORGED: usize = 10_000;

/// What `cargo bench` passes on with its own `--bench` may be numbers.
fn numbers() -> (usize, usize) {
    let mut given = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<usize>().ok());
    (
        given.next().unwrap_or(KEYS).max(1),
        given.next().unwrap_or(ROUNDS).max(1),
    )
}

type Ask<'a> = Box<dyn Fn(&Rounds) -> f64 + 'a>;

/// Where and how a round asks.
struct Rounds {
    start: usize,
    is_chained: bool,
}

impl Rounds {
    /// Nanoseconds a key of one round over `corpus`.
    fn time(&self, corpus: &Corpus, ask: impl Fn(&[u8]) -> Option<BareRecord>) -> f64 {
        self.time_of(KEYS_PER_ROUND, corpus, ask)
    }

    fn time_of(&self, keys: usize, corpus: &Corpus, ask: impl Fn(&[u8]) -> Option<BareRecord>) -> f64 {
        let mut at = self.start;
        let begun = Instant::now();
        for _ in 0..keys {
            let answer = black_box(ask(corpus.header(at)));
            at += match answer {
                // Every record holds 1 there; the processor must fetch the record to know it.
                Some(record) if self.is_chained => usize::from(record.secret_number),
                _ => 1,
            };
        }
        begun.elapsed().as_nanos() as f64 / keys as f64
    }
}

fn main() {
    let (keys, rounds) = numbers();
    let keyring = keyring();
    let corpus = Corpus::draw(&keyring, keys);
    let forged = Corpus::draw_forged(FORGED);
    let uncounted = Subject::start(same_keyring(&keyring), keys, Counting::Off);
    let subject = Subject::start(keyring, keys, Counting::On);
    println!("{keys} keys, {rounds} interleaved rounds of {KEYS_PER_ROUND}, medians in ns\n");

    let before = resident_bytes();
    subject.fill(&corpus);
    let after_cache = resident_bytes();
    uncounted.fill(&corpus);
    let after_uncounted = resident_bytes();
    let bare: BareMap = bare_of(&corpus);
    let after_bare = resident_bytes();
    let bare_prefix: BareMap<DigestPrefix> = bare_of(&corpus);

    let read = Purpose::Perform {
        operation: Operation::DatasetRead,
        resource: Resource::Item(ResourceType::Dataset, "d"),
    };
    let subjects: Vec<(&str, Ask<'_>)> = vec![
        (
            "bare: SHA-256, papaya",
            Box::new(|round| round.time(&corpus, |header| bare.find(bearer(header)?))),
        ),
        (
            "bare, digest's prefix as hash",
            Box::new(|round| round.time(&corpus, |header| bare_prefix.find(bearer(header)?))),
        ),
        (
            "verify: whose key",
            Box::new(|round| {
                let time = round.time(&corpus, |header| subject.verify(header, Purpose::Identify).ok());
                subject.flush();
                time
            }),
        ),
        (
            "verify: whose key, not counted",
            Box::new(|round| round.time(&corpus, |header| uncounted.verify(header, Purpose::Identify).ok())),
        ),
        (
            "verify: dataset.read",
            Box::new(|round| {
                let time = round.time(&corpus, |header| subject.verify(header, read).ok());
                subject.flush();
                time
            }),
        ),
        (
            "verify: forged id",
            Box::new(|round| round.time(&forged, |header| subject.verify(header, Purpose::Identify).ok())),
        ),
        (
            "verify: key cut by one",
            Box::new(|round| {
                round.time(&corpus, |header| {
                    subject.verify(header.split_last()?.1, Purpose::Identify).ok()
                })
            }),
        ),
    ];
    assert!(
        (0..keys.min(1_000)).all(|at| subject.verify(corpus.header(at), read).is_ok()),
        "keys are accepted"
    );
    assert!(
        (0..FORGED).all(|at| subject.verify(forged.header(at), read).is_err()),
        "forged keys are refused"
    );

    for is_chained in [false, true] {
        let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
        let mut start = 0;
        // The first round is not counted: it warms what a server has warm.
        for round in 0..=rounds {
            for ((_, ask), times) in subjects.iter().zip(&mut times) {
                let time = ask(&Rounds { start, is_chained });
                if round > 0 {
                    times.push(time);
                }
                start += KEYS_PER_ROUND;
            }
        }
        print_table(if is_chained { "chained" } else { "free" }, &subjects, times);
    }
    compare_counting(rounds, &corpus, &subject, &uncounted);
    let per_key = |from: usize, to: usize| to.saturating_sub(from) / keys;
    println!(
        "memory: {} bytes a cached key, {} bytes a key of the bare map",
        per_key(before, after_cache),
        per_key(after_uncounted, after_bare)
    );
}

/// What counting costs: in short turns between two flushes, each begun by the other one, so that what the flush left in the
/// processor's caches falls on both.
fn compare_counting(rounds: usize, corpus: &Corpus, counted: &Subject, uncounted: &Subject) {
    for is_chained in [false, true] {
        let (mut on, mut off) = (Vec::new(), Vec::new());
        let (mut start, mut writing) = (0, 0.0);
        for round in 0..=rounds {
            for turn in 0..TURNS {
                let rounds = Rounds { start, is_chained };
                let time = |subject: &Subject| {
                    rounds.time_of(KEYS_PER_ROUND / TURNS, corpus, |header| {
                        subject.verify(header, Purpose::Identify).ok()
                    })
                };
                let (with, without) = if turn % 2 == 0 {
                    let with = time(counted);
                    (with, time(uncounted))
                } else {
                    let without = time(uncounted);
                    (time(counted), without)
                };
                if round > 0 {
                    on.push(with);
                    off.push(without);
                }
                start += KEYS_PER_ROUND / TURNS;
            }
            let begun = Instant::now();
            counted.flush();
            writing += begun.elapsed().as_nanos() as f64;
        }
        let uses = (rounds + 1) * KEYS_PER_ROUND;
        let (on, off) = (median_of(on), median_of(off));
        println!(
            "{}: counted {on:.1}, not counted {off:.1}; counting costs {:.2} of not counting. In the background {:.0} ns a \
             use for writing it down, where every use is of another key.",
            if is_chained { "chained" } else { "free" },
            on / off,
            writing / uses as f64
        );
    }
    println!();
}

fn median_of(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn print_table(name: &str, subjects: &[(&str, Ask<'_>)], times: Vec<Vec<f64>>) {
    println!(
        "{name:<32} {:>8} {:>8} {:>8} {:>9}",
        "median", "low", "high", "to bare"
    );
    let mut bare = None;
    for ((subject, _), mut times) in subjects.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let (low, high) = (
            times.first().copied().unwrap_or_default(),
            times.last().copied().unwrap_or_default(),
        );
        let bare = *bare.get_or_insert(median);
        println!(
            "{subject:<32} {median:>8.1} {low:>8.1} {high:>8.1} {:>9.2}",
            median / bare
        );
    }
    println!();
}
