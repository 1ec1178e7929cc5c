//! `cargo run --release --package keyward-benches --example seed -- DATA_FOLDER TEXTS_FOLDER KEYS SAMPLE`: many keys for a
//! measurement, straight into a data folder's database. See `keyward_testkit::seed` for what is left out.

#![expect(
    clippy::expect_used,
    reason = "called by `cargo xtask load`, and ends with a sentence otherwise"
)]

use keyward_testkit::seed::{Seeding, seed};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data_folder, texts_folder, keys, sample] = arguments.as_slice() else {
        unusable();
    };
    seed(&Seeding {
        data_folder: data_folder.into(),
        texts_folder: texts_folder.into(),
        keys: keys.parse().expect("KEYS is a number"),
        sample: sample.parse().expect("SAMPLE is a number"),
    })
    .await;
}

#[expect(clippy::panic, reason = "there is nothing to seed")]
fn unusable() -> ! {
    panic!("give it four arguments: DATA_FOLDER TEXTS_FOLDER KEYS SAMPLE")
}
