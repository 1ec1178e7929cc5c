//! One step of the verify path, many times over, in a process that `cargo xtask bench` runs under callgrind.
//!
//! `instructions STEP TIMES`. Only what happens inside [`measured_part`] is counted, so that making keys and starting the
//! engine is not. Few keys: instructions do not depend on where memory lies, and callgrind is slow.

#![expect(
    clippy::expect_used,
    reason = "started by `cargo xtask bench`, and ends with a sentence otherwise"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use http::Request;
use http::header::AUTHORIZATION;
use http::request::Parts;
use keyward_benches::corpus::Corpus;
use keyward_benches::subject::{Subject, keyring, ready};
use keyward_core::decision::Purpose;
use keyward_core::key_digest::KeyDigest;
use keyward_core::operation::Operation;
use keyward_core::resource::{Resource, ResourceType};
use keyward_engine::usage_notes::Counting;
use keyward_http::site::Site;
use keyward_http::verify;

const KEYS: usize = 500;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next().expect("the first argument is a step");
    let times = arguments.next().and_then(|text| text.parse().ok());
    let times = times.expect("the second argument is how often");
    let counting = match step.as_str() {
        "not_counted" => Counting::Off,
        _ => Counting::On,
    };
    let keyring = keyring();
    let corpus = Corpus::draw(&keyring, KEYS);
    let forged = Corpus::draw_forged(KEYS);
    let subject = Subject::start(keyring, KEYS, counting);
    subject.fill(&corpus);
    let read = Purpose::Perform {
        operation: Operation::DatasetRead,
        resource: Resource::Item(ResourceType::Dataset, "d"),
    };
    let step: Box<dyn Fn(usize) -> bool> = match step.as_str() {
        "digest" => Box::new(|at| {
            black_box(KeyDigest::of(corpus.text(at)));
            true
        }),
        "verify" | "not_counted" => {
            Box::new(|at| subject.verify(corpus.header(at), Purpose::Identify).is_ok())
        }
        "dataset_read" => Box::new(|at| subject.verify(corpus.header(at), read).is_ok()),
        "forged" => Box::new(|at| subject.verify(forged.header(at), Purpose::Identify).is_ok()),
        "malformed" => Box::new(|at| subject.verify(cut(corpus.header(at)), Purpose::Identify).is_ok()),
        "reply" => replies(&subject, (0..KEYS).map(|at| corpus.header(at))),
        "reply_forged" => replies(&subject, (0..KEYS).map(|at| forged.header(at))),
        "reply_malformed" => replies(&subject, (0..KEYS).map(|at| cut(corpus.header(at)))),
        _ => unknown_step(),
    };
    // What is done once in a process, such as finding out what the processor can do, is not part of a step.
    black_box((0..KEYS).filter(|at| step(*at)).count());
    black_box(measured_part(&*step, times));
}

/// Without its last character.
fn cut(header: &[u8]) -> &[u8] {
    header.split_last().map(|(_, most)| most).unwrap_or_default()
}

/// The whole of the route, from a request's head to its reply.
fn replies<'a>(
    subject: &'a Subject,
    headers: impl Iterator<Item = &'a [u8]>,
) -> Box<dyn Fn(usize) -> bool + 'a> {
    let site = Site::new(
        subject.engine().clone(),
        "https://keys.example.com".to_owned(),
        Vec::new(),
    );
    let heads: Vec<Parts> = headers
        .map(|header| {
            let request = Request::get(verify::PATH).header(AUTHORIZATION, header).body(());
            request.expect("it is a request").into_parts().0
        })
        .collect();
    let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Box::new(move |at| {
        let head = heads.get(at % heads.len()).expect("below the length");
        let reply = ready(verify::answer(&site, head, peer));
        black_box(reply).status().is_success()
    })
}

/// Callgrind finds it by its name.
#[inline(never)]
fn measured_part(step: &dyn Fn(usize) -> bool, times: usize) -> usize {
    (0..times).filter(|at| step(*at)).count()
}

#[expect(clippy::panic, reason = "there is nothing to measure")]
fn unknown_step() -> ! {
    panic!("there is no such step; `xtask/src/bench.rs` names them")
}
