//! The bare baseline over HTTP: the least that a server of keys does, on the same libraries and with the same build.
//!
//! `GET /v1/verify` hashes the key, looks the hash up in one map, and answers 204 with the identity in the headers that
//! Keyward uses, or 403. `GET /static` answers a small JSON text, `GET /none` nothing at all.
//! `bare KEYS_FILE ADDRESS_FILE` reads the file that seeding writes, listens on a port of the loopback address that
//! the system chooses, and writes it into the second file. It ends when it is killed.

#![expect(
    clippy::expect_used,
    reason = "started by `cargo xtask load`, and ends with a sentence otherwise"
)]

use std::io::BufRead as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use keyward_benches::bare::{BareMap, BareRecord, bearer};
use keyward_benches::serving::serve;
use keyward_core::level::PermissionLevel;
use keyward_core::scope::ScopeSet;

const STATIC: &str = r#"{"status":"ok","message":"sixty-five bytes of JSON, all in all,"}"#;
const _: () = assert!(STATIC.len() == 65);

const KEY_ID: HeaderName = HeaderName::from_static("keyward-key-id");
const ORGANIZATION_ID: HeaderName = HeaderName::from_static("keyward-organization-id");
const SCOPES: HeaderName = HeaderName::from_static("keyward-scopes");
const PERMISSION: HeaderName = HeaderName::from_static("keyward-permission");

/// Everything the baseline knows.
struct Bare {
    records: BareMap,
    /// The header values that many keys share, made once.
    organizations: Vec<HeaderValue>,
    scopes: Vec<HeaderValue>,
    levels: Vec<HeaderValue>,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let keys_file = arguments.next().expect("the first argument is the file of keys");
    let address_file = arguments
        .next()
        .expect("the second argument is the file for the address");
    let bare = Arc::new(Bare::read(&keys_file));

    serve(routes(bare), &address_file).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing here has a permission to forget"
)]
fn routes(bare: Arc<Bare>) -> Router {
    Router::new()
        .route("/v1/verify", get(verify))
        .route(
            "/static",
            get(|| async { ([(CONTENT_TYPE, "application/json")], STATIC) }),
        )
        .route("/none", get(|| async { StatusCode::NO_CONTENT }))
        .with_state(bare)
}

async fn verify(State(bare): State<Arc<Bare>>, headers: HeaderMap) -> Response {
    let key = headers
        .get(AUTHORIZATION)
        .and_then(|header| bearer(header.as_bytes()));
    match key
        .and_then(|key| bare.records.find(key))
        .and_then(|record| bare.identity(&record))
    {
        Some(identity) => (StatusCode::NO_CONTENT, identity).into_response(),
        None => StatusCode::FORBIDDEN.into_response(),
    }
}

impl Bare {
    fn identity(&self, record: &BareRecord) -> Option<[(HeaderName, HeaderValue); 4]> {
        Some([
            (KEY_ID, HeaderValue::from_bytes(&record.key_id).ok()?),
            (
                ORGANIZATION_ID,
                self.organizations.get(record.organization as usize)?.clone(),
            ),
            (SCOPES, self.scopes.get(usize::from(record.scopes))?.clone()),
            (PERMISSION, self.levels.get(usize::from(record.level))?.clone()),
        ])
    }

    fn read(keys_file: &str) -> Self {
        let file = std::fs::File::open(keys_file).expect("the file of keys can be opened");
        let header = |text: &str| HeaderValue::from_str(text).expect("ids and names are plain text");
        let levels = PermissionLevel::ALL.map(|level| header(level.name())).to_vec();
        let scopes = (0..8)
            .map(|bits| header(&ScopeSet::from_bits(bits).unwrap_or_default().to_string()))
            .collect();
        let mut bare = Self {
            records: BareMap::with_capacity(0),
            organizations: Vec::new(),
            scopes,
            levels,
        };
        for line in std::io::BufReader::new(file).lines() {
            let line = line.expect("the file of keys can be read");
            let fields: Vec<&str> = line.split(' ').collect();
            let [text, key_id, organization, scopes, level] = fields.as_slice() else {
                continue;
            };
            let organization = header(organization);
            let known = bare.organizations.iter().position(|other| *other == organization);
            let number = known.unwrap_or_else(|| {
                bare.organizations.push(organization);
                bare.organizations.len() - 1
            });
            let level = PermissionLevel::ALL
                .iter()
                .position(|other| other.name() == *level)
                .unwrap_or_default();
            let record = BareRecord {
                key_id: key_id
                    .as_bytes()
                    .try_into()
                    .expect("a key's id has 16 characters"),
                organization: u32::try_from(number).unwrap_or(u32::MAX),
                scopes: scopes.parse().expect("scope bits are a number"),
                level: u8::try_from(level).unwrap_or(u8::MAX),
                secret_number: 1,
            };
            bare.records.insert(text.as_bytes(), record);
        }
        bare
    }
}
