//! `cargo xtask load`: Keyward's verify route and the bare baseline under the same load, in turns, with their ratio.
//!
//! Both are built in release mode, hold the same million keys, and are asked over the loopback address by `wrk`, which
//! shares the machine's processors with them. A round measures every target once, and a ratio compares two figures of
//! one round: between rounds a machine changes more than the targets differ. The server's own processor time an answer
//! is the least noisy figure.
//! This file says what is measured; `process` starts and watches the servers, `generator` drives them, `warm` fills
//! Keyward's cache, `table` and `goals` print, `aside` runs what is measured without HTTP, `beside` other servers of keys.

mod aside;
mod beside;
mod generator;
mod goals;
mod process;
mod table;
mod warm;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::beside::{Beside, Peer, Place};
use self::generator::{Generator, Run};
use self::goals::Aside;
use self::process::{START_LIMIT, Server};
use crate::system;

/// How long a target is asked before its first measurement.
const WARM_UP: Duration = Duration::from_secs(2);
/// For so long the uses of keys are kept before they are added up in the database.
const USES_ARE_KEPT: Duration = Duration::from_secs(31);
/// What the server may take for each key.
const ROOM_PER_KEY: usize = 250;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Keys in the database and in Keyward's cache
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,

    /// Different keys that the load generator sends in turn
    #[arg(long, default_value_t = 20_000)]
    sample: usize,

    /// Seconds for which each target is asked in a round; by default as long as Keyward keeps uses before it adds them up, so that
    /// each round has its share of that work, and no more
    #[arg(long, default_value_t = 30)]
    seconds: u64,

    /// Rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Keys that a cache has room for where it is asked for more; a tenth of all if it is not said
    #[arg(long)]
    cached: Option<usize>,

    /// Leave out what is measured without HTTP, which takes as long again
    #[arg(long)]
    only_http: bool,

    /// Other servers of keys to measure in the same rounds; each is installed, and given as many keys
    #[arg(long, value_name = "SERVER", value_delimiter = ',')]
    beside: Vec<Peer>,
}

/// One thing to ask a server, over and over.
#[derive(Clone, Copy, Debug)]
struct Target {
    name: &'static str,
    host: Host,
    path: &'static str,
    /// The file of key texts to send.
    texts: &'static str,
    expects: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Keyward,
    Bare,
    Beside(Peer),
}

/// What every answer must be; any other one is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Success,
    Refusal,
}

/// The baseline comes first: every ratio is to it.
const TARGETS: [Target; 6] = [
    Target {
        name: "bare",
        host: Host::Bare,
        path: "/v1/verify",
        texts: "sample",
        expects: Answer::Success,
    },
    Target {
        name: "verify",
        host: Host::Keyward,
        path: "/v1/verify",
        texts: "sample",
        expects: Answer::Success,
    },
    Target {
        name: "malformed key",
        host: Host::Keyward,
        path: "/v1/verify",
        texts: "malformed",
        expects: Answer::Refusal,
    },
    Target {
        name: "forged id",
        host: Host::Keyward,
        path: "/v1/verify",
        texts: "forged",
        expects: Answer::Refusal,
    },
    Target {
        name: "static",
        host: Host::Bare,
        path: "/static",
        texts: "sample",
        expects: Answer::Success,
    },
    Target {
        name: "none",
        host: Host::Bare,
        path: "/none",
        texts: "sample",
        expects: Answer::Success,
    },
];

/// One measurement of one target.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    run: Run,
    server_seconds: f64,
    unexpected: u64,
}

impl Figures {
    fn per_second(&self) -> f64 {
        self.run.requests as f64 / self.run.seconds
    }

    fn server_microseconds(&self) -> f64 {
        self.server_seconds * 1e6 / (self.run.requests as f64).max(1.0)
    }
}

/// Builds, seeds, measures, prints. Fails if anything answered otherwise than it must.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ensure!(
        options.sample >= 1 && options.rounds >= 1 && options.seconds >= 1,
        "there is nothing to measure: give at least one key to send, one round and one second"
    );
    ensure!(
        options.keys >= options.sample,
        "give at least as many keys as are sent"
    );
    let generator = Generator::find_or_install()?;
    let programs = build()?;
    let folder = Folder::make()?;
    let texts = folder.path.join("texts");
    let data = folder.path.join("data");
    private_folder(&texts)?;

    say(&format!("seeding {} keys", options.keys));
    let begun = Instant::now();
    system::run_quietly(
        Command::new(programs.join("examples/seed"))
            .args([&data, &texts])
            .args([options.keys.to_string(), options.sample.to_string()]),
    )?;
    say(&format!("seeded in {:.0} s", begun.elapsed().as_secs_f64()));

    let bare = start_bare(&programs, &texts, &folder.path)?;
    let keyward = start_keyward(&programs, &data, &folder.path, options.keys)?;
    fill(&keyward, &bare, &texts.join("keys"), options.keys)?;
    let place = Place {
        programs: &programs,
        folder: &folder.path,
        texts: &texts,
        keys: options.keys,
        sample: options.sample,
    };
    let beside = Beside::start(&options.beside, &place)?;
    let all_targets: Vec<Target> = TARGETS.into_iter().chain(beside.targets()).collect();

    let mut rounds = Vec::with_capacity(options.rounds);
    for number in 0..=options.rounds {
        // The first round only warms.
        let time = if number == 0 {
            WARM_UP
        } else {
            Duration::from_secs(options.seconds)
        };
        let mut targets: Vec<&Target> = all_targets.iter().collect();
        // Back and forth, so that what drifts with time does not always fall on the same targets.
        if number % 2 == 1 {
            targets.reverse();
        }
        let mut round = Vec::with_capacity(targets.len());
        for target in targets {
            let server = match target.host {
                Host::Keyward => &keyward,
                Host::Bare => &bare,
                Host::Beside(peer) => beside
                    .server(peer)
                    .context("a server is asked that was not started")?,
            };
            round.push((target.name, measure(&generator, server, target, &texts, time)?));
        }
        if number > 0 {
            say(&format!("round {number} of {}", options.rounds));
            rounds.push(round);
        }
    }
    println!("\n{}", table::of(&all_targets, &rounds));
    drop((keyward, bare, beside));
    let mut aside = Aside::default();
    if !options.only_http {
        let cached = options.cached.unwrap_or(options.keys / 10).max(1);
        aside::measure(
            &mut aside,
            (&programs, &data, &texts.join("keys")),
            options.keys,
            cached,
        )?;
    }
    println!("\n{}", goals::of(&rounds, aside));
    let unexpected: u64 = rounds
        .iter()
        .flatten()
        .map(|(_, figures)| figures.unexpected)
        .sum();
    if unexpected > 0 {
        println!("{unexpected} answers were not what they must be");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(
    generator: &Generator,
    server: &Server,
    target: &Target,
    texts: &Path,
    time: Duration,
) -> Result<Figures> {
    let before = server.processor_seconds()?;
    let run = generator.run(server.address(), target.path, &texts.join(target.texts), time)?;
    let server_seconds = server.processor_seconds()? - before;
    let wrong = match target.expects {
        Answer::Success => run.refused,
        Answer::Refusal => run.requests.saturating_sub(run.refused),
    };
    Ok(Figures {
        run,
        server_seconds,
        unexpected: wrong + run.failed,
    })
}

/// The folder of the built programs.
fn build() -> Result<PathBuf> {
    say("building in release mode");
    for what in [
        ["--package", "keyward", "--bin", "keyward"].as_slice(),
        &["--package", "keyward-benches", "--examples"],
    ] {
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--release", "--locked"])
            .args(what)
            .current_dir(system::checkout())
            .status()
            .context("could not start `cargo`")?;
        ensure!(status.success(), "the build failed");
    }
    system::release_folder()
}

fn start_bare(programs: &Path, texts: &Path, folder: &Path) -> Result<Server> {
    let address_file = folder.join("bare-address");
    let mut command = Command::new(programs.join("examples/bare"));
    command.args([texts.join("keys"), address_file.clone()]);
    let log = folder.join("bare.log");
    Server::start("bare", command, (&address_file, &log), START_LIMIT)
}

fn start_keyward(programs: &Path, data: &Path, folder: &Path, keys: usize) -> Result<Server> {
    let mut command = Command::new(programs.join("keyward"));
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        // More than is needed: the cache divides its room evenly, keys do not fall evenly, and some may be no plain ones.
        .args(["--cache-bytes", &(keys * ROOM_PER_KEY).to_string()]);
    let (address_file, log) = (data.join("listen-address"), folder.join("keyward.log"));
    Server::start("keyward", command, (&address_file, &log), START_LIMIT)
}

/// Asks for every key once: fills Keyward's cache from its database, and checks that both servers know all keys. Waits until what that
/// leaves to be written is written: a round is to measure its own requests.
fn fill(keyward: &Server, bare: &Server, keys_file: &Path, keys: usize) -> Result<()> {
    let lines = fs::read_to_string(keys_file).context("could not read the seeded keys")?;
    let texts: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
    warm::ask_for_each(bare.address(), &texts)?;
    let begun = Instant::now();
    warm::ask_for_each(keyward.address(), &texts)?;
    let took = begun.elapsed().as_secs_f64();
    println!(
        "   {keys} keys read from the database and cached: {:.0} a second",
        texts.len() as f64 / took
    );
    say("waiting until the uses of all these keys are written down");
    keyward.settle(USES_ARE_KEPT)?;
    println!(
        "   memory in all: {} MiB with uses counted; the bare server {} MiB",
        keyward.resident_bytes()? / (1 << 20),
        bare.resident_bytes()? / (1 << 20)
    );
    Ok(())
}

/// A private folder that goes away with its owner: it holds working keys.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("keyward-load-{}", system::random_hex(8)?));
        private_folder(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("could not make `{}`", path.display()))
}

fn say(what: &str) {
    println!("== {what}");
}
