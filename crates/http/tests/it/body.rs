//! Bodies: never read of a request that was refused, and never read further than their bound.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::MethodFilter;
use futures_util::stream;
use http::StatusCode;
use keyward_core::operation::Operation;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::{Call, Guard, OperationOf, ResourceOf, Routes};

use crate::support::{Caller, ORGANIZATION, Setup, TestApp};

const PATH: &str = "/workspaces/org-1/notes";
const MIB: usize = 1 << 20;

/// A body whose first byte is one too many.
pub(crate) fn never_read() -> Body {
    Body::from_stream(stream::poll_fn(
        |_| -> std::task::Poll<Option<io::Result<Bytes>>> {
            panic!("somebody read a body that was not to be read")
        },
    ))
}

/// A body that breaks off after what is there.
fn broken_off(start: &'static [u8]) -> Body {
    let chunks = [
        Ok(Bytes::from_static(start)),
        Err(io::Error::other("the connection is gone")),
    ];
    Body::from_stream(stream::iter(chunks))
}

/// A body of so many bytes, sent in pieces of 64 KiB.
fn in_pieces(bytes: Vec<u8>) -> Body {
    let pieces: Vec<io::Result<Bytes>> = bytes
        .chunks(64 << 10)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    Body::from_stream(stream::iter(pieces))
}

/// A JSON object of exactly so many bytes.
fn object_of(bytes: usize) -> Vec<u8> {
    let mut body = br#"{"note": ""}"#.to_vec();
    let at = body.len() - 2;
    body.splice(at..at, std::iter::repeat_n(b'x', bytes - body.len()));
    assert_eq!(body.len(), bytes);
    body
}

/// Answers how long the note is.
async fn count(_: Permit, mut call: Call) -> Result<Response, Problem> {
    let mut fields = call.fields().await?;
    let note = fields.required_text("note").unwrap_or_default();
    fields.finish(())?;
    reply::json(
        StatusCode::OK,
        &serde_json::json!({ "characters": note.chars().count() }),
    )
}

/// Somebody who may write notes, and the site.
async fn writer() -> (TestApp, Caller) {
    let guard = Guard {
        operation: OperationOf::Always(Operation::OrganizationRead),
        resource: ResourceOf::Organization,
    };
    let routes = Routes::new().add(
        MethodFilter::POST,
        "/workspaces/{organization}/notes",
        guard,
        count,
    );
    let app = TestApp::with(Setup {
        routes: routes.finish(),
        ..Setup::default()
    })
    .await;
    let key = app.key().await;
    let caller = app.holder(&key).of(ORGANIZATION);
    (app, caller)
}

#[tokio::test]
async fn a_body_is_accepted_up_to_its_bound() {
    let (_app, writer) = writer().await;
    for bytes in [12, MIB - 1, MIB] {
        for body in [Body::from(object_of(bytes)), in_pieces(object_of(bytes))] {
            let reply = writer.send("POST", PATH, body).await;
            assert_eq!(reply.status, 200, "{bytes}: {reply:?}");
            assert_eq!(reply.json()["characters"], bytes - 12);
        }
    }
    for bytes in [MIB + 1, 10 * MIB] {
        for body in [Body::from(object_of(bytes)), in_pieces(object_of(bytes))] {
            let reply = writer.send("POST", PATH, body).await;
            assert_eq!(
                reply.problem(),
                (413, "body_too_large".to_owned()),
                "{bytes} bytes"
            );
            assert!(reply.message().contains("1048576 bytes"));
        }
    }
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let (_app, writer) = writer().await;
    let piece = Bytes::from(vec![b' '; MIB]);
    let sent = Arc::new(AtomicUsize::new(0));
    let endless = stream::repeat_with({
        let sent = Arc::clone(&sent);
        move || {
            sent.fetch_add(1, Ordering::SeqCst);
            io::Result::Ok(piece.clone())
        }
    });
    let reply = writer.send("POST", PATH, Body::from_stream(endless)).await;
    assert_eq!(reply.problem(), (413, "body_too_large".to_owned()));
    // Some is read and thrown away, so that a client that is still sending meets an answer.
    let read = sent.load(Ordering::SeqCst);
    assert!((11..=33).contains(&read), "{read} MiB were read");
}

#[tokio::test]
async fn a_body_that_is_no_object_is_named_by_what_it_is() {
    let (_app, writer) = writer().await;
    let mut told = Vec::new();
    for body in [
        "",
        " \n",
        "{",
        "{\"note\": \"a\",\n}",
        "[1]",
        "\"text\"",
        "1",
        "null",
        "true",
        "{} {}",
        "note=a",
    ] {
        let refused = writer.send("POST", PATH, body).await;
        assert_eq!(refused.problem(), (400, "malformed_body".to_owned()), "{body:?}");
        told.push(format!("{body:?}: {}", refused.message()));
    }
    let no_utf8 = writer
        .send("POST", PATH, Body::from(&b"{\"note\": \"\xff\"}"[..]))
        .await;
    assert_eq!(no_utf8.problem(), (400, "malformed_body".to_owned()));
    let broken = writer.send("POST", PATH, broken_off(b"{\"note\": \"a\"}")).await;
    told.push(format!("broken off: {}", broken.message()));
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_refused_request_leaves_its_body_unread() {
    let (app, writer) = writer().await;
    let refusals = [
        (app.nobody(), 401),
        (app.nobody().of(ORGANIZATION), 401),
        (writer.clone().of(ORGANIZATION), 400),
        (app.bearer("dtvi_cut").of(ORGANIZATION), 401),
    ];
    for (caller, status) in refusals {
        let refused = caller.send("POST", PATH, never_read()).await;
        assert_eq!(refused.status, status, "{refused:?}");
    }
    let unreadable = writer.send("PUT", PATH, never_read()).await;
    assert_eq!(unreadable.status, 405);
    let nowhere = writer
        .send("POST", "/workspaces/org-1/nothing", never_read())
        .await;
    assert_eq!(nowhere.status, 404);
}
