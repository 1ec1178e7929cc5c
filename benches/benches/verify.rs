//! `cargo bench --bench verify`: the parts of a verify, each alone, and the whole next to the bare baseline.
//!
//! The maps hold a million keys and are asked in an order that has nothing to do with where they lie. For the ratio
//! itself use `--bench ratio`, which lets both take turns.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use keyward_benches::bare::{BareMap, bearer};
use keyward_benches::corpus::Corpus;
use keyward_benches::subject::{Subject, bare_of, keyring, ready};
use keyward_core::decision::Purpose;
use keyward_core::key_digest::KeyDigest;
use keyward_core::key_text::{KeyText, Prefix};
use keyward_core::operation::Operation;
use keyward_core::resource::{Resource, ResourceType};
use keyward_engine::usage_notes::Counting;

const KEYS: usize = 1_000_000;
const FEW: usize = 1_000;

/// A million keys, the engine that holds them, and the baseline that holds them.
struct Million {
    corpus: Corpus,
    subject: Subject,
    bare: BareMap,
}

static MILLION: LazyLock<Million> = LazyLock::new(|| {
    let keyring = keyring();
    let corpus = Corpus::draw(&keyring, KEYS);
    let subject = Subject::start(keyring, KEYS, Counting::On);
    subject.fill(&corpus);
    let bare = bare_of(&corpus);
    Million {
        corpus,
        subject,
        bare,
    }
});

/// Few enough keys that their texts stay in the processor's cache.
static TEXTS: LazyLock<Corpus> = LazyLock::new(|| Corpus::draw(&keyring(), FEW));
static FORGED: LazyLock<Corpus> = LazyLock::new(|| Corpus::draw_forged(FEW));

fn main() {
    divan::main();
}

/// Runs `ask` for one key after the other.
fn each<T>(bencher: Bencher<'_, '_>, ask: impl Fn(usize) -> T) {
    let at = Cell::new(0_usize);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        at.set(at.get() + 1);
        ask(at.get())
    });
}

mod parse {
    use super::*;

    #[divan::bench]
    fn well_formed(bencher: Bencher<'_, '_>) {
        let prefix = Prefix::dtvi();
        each(bencher, |at| {
            KeyText::parse(black_box(TEXTS.text(at)), &prefix).is_ok()
        });
    }

    #[divan::bench]
    fn cut(bencher: Bencher<'_, '_>) {
        let prefix = Prefix::dtvi();
        each(bencher, |at| {
            let text = TEXTS.text(at);
            KeyText::parse(black_box(text.get(..text.len() - 1).unwrap_or_default()), &prefix).is_err()
        });
    }

    #[divan::bench]
    fn one_character_changed(bencher: Bencher<'_, '_>) {
        let prefix = Prefix::dtvi();
        let texts: Vec<String> = (0..FEW).map(|at| TEXTS.text(at).replace("M", "N")).collect();
        each(bencher, |at| {
            texts
                .get(at % FEW)
                .map(|text| KeyText::parse(black_box(text), &prefix).is_err())
        });
    }
}

#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    each(bencher, |at| KeyDigest::of(black_box(TEXTS.text(at))));
}

/// What it costs to drive a future that does not wait.
#[divan::bench]
fn ready_future(bencher: Bencher<'_, '_>) {
    each(bencher, |at| ready(async move { black_box(at) }));
}

mod million {
    use super::*;

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        let Million { corpus, bare, .. } = &*MILLION;
        each(bencher, |at| {
            bearer(corpus.header(at)).and_then(|text| bare.find(text))
        });
    }

    #[divan::bench]
    fn verify_identify(bencher: Bencher<'_, '_>) {
        let Million { corpus, subject, .. } = &*MILLION;
        each(bencher, |at| subject.verify(corpus.header(at), Purpose::Identify));
    }

    #[divan::bench]
    fn verify_dataset_read(bencher: Bencher<'_, '_>) {
        let Million { corpus, subject, .. } = &*MILLION;
        let resource = Resource::Item(ResourceType::Dataset, "d");
        let purpose = Purpose::Perform {
            operation: Operation::DatasetRead,
            resource,
        };
        each(bencher, |at| subject.verify(corpus.header(at), purpose));
    }

    #[divan::bench]
    fn verify_one_hot_key(bencher: Bencher<'_, '_>) {
        let Million { corpus, subject, .. } = &*MILLION;
        each(bencher, |_| subject.verify(corpus.header(0), Purpose::Identify));
    }

    #[divan::bench]
    fn forged_id(bencher: Bencher<'_, '_>) {
        let subject = &MILLION.subject;
        each(bencher, |at| subject.verify(FORGED.header(at), Purpose::Identify));
    }

    #[divan::bench]
    fn malformed(bencher: Bencher<'_, '_>) {
        let subject = &MILLION.subject;
        each(bencher, |at| {
            let header = TEXTS.header(at);
            subject.verify(
                header.get(..header.len() - 1).unwrap_or_default(),
                Purpose::Identify,
            )
        });
    }
}
