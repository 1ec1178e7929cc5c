//! A server of keys that asks PostgreSQL at every verify: what most home-made ones do.
//!
//! `postgres_per_verify DATABASE_URL KEYS_FILE ADDRESS_FILE` puts the keys of the file that seeding writes into a table of
//! their digests, and then answers as the bare baseline does: `GET /v1/verify` with 204 and the identity in headers, or 403.
//! It reads no more than one row of one index, and writes nothing. It ends when it is killed.

#![expect(
    clippy::expect_used,
    reason = "started by `cargo xtask load`, and ends with a sentence otherwise"
)]

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, StatusCode};
use keyward_benches::bare::{bearer, digest};
use keyward_benches::serving::serve;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const CONNECTIONS: u32 = 16;
const BATCH: usize = 50_000;
const TABLE: &str =
    "CREATE TABLE keys (digest bytea PRIMARY KEY, key_id text NOT NULL, organization_id text NOT NULL)";
const FILL: &str = "INSERT INTO keys SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[])";
const FIND: &str = "SELECT key_id, organization_id FROM keys WHERE digest = $1";

const KEY_ID: HeaderName = HeaderName::from_static("keyward-key-id");
const ORGANIZATION_ID: HeaderName = HeaderName::from_static("keyward-organization-id");

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database_url, keys_file, address_file] = arguments.as_slice() else {
        unusable();
    };
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect(database_url)
        .await
        .expect("the database can be reached");
    fill(&pool, keys_file).await;
    serve(routes(pool), address_file).await;
}

async fn fill(pool: &PgPool, keys_file: &str) {
    let text = std::fs::read_to_string(keys_file).expect("the file of keys can be read");
    sqlx::query(TABLE)
        .execute(pool)
        .await
        .expect("the table can be made");
    let rows: Vec<(Vec<u8>, &str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let key = fields.next()?;
            Some((digest(key.as_bytes()).to_vec(), fields.next()?, fields.next()?))
        })
        .collect();
    for batch in rows.chunks(BATCH) {
        sqlx::query(FILL)
            .bind(batch.iter().map(|row| row.0.clone()).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.1).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.2).collect::<Vec<_>>())
            .execute(pool)
            .await
            .expect("rows can be written");
    }
    sqlx::query("VACUUM ANALYZE keys")
        .execute(pool)
        .await
        .expect("the table can be looked over");
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing here has a permission to forget"
)]
fn routes(pool: PgPool) -> Router {
    Router::new().route("/v1/verify", get(verify)).with_state(pool)
}

async fn verify(State(pool): State<PgPool>, headers: HeaderMap) -> Response {
    let key = headers
        .get(AUTHORIZATION)
        .and_then(|header| bearer(header.as_bytes()));
    let Some(key) = key else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let found = sqlx::query_as::<_, (String, String)>(FIND)
        .bind(digest(key).as_slice())
        .fetch_optional(&pool)
        .await;
    match found {
        Ok(Some((key_id, organization_id))) => (
            StatusCode::NO_CONTENT,
            [(KEY_ID, key_id), (ORGANIZATION_ID, organization_id)],
        )
            .into_response(),
        Ok(None) => StatusCode::FORBIDDEN.into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[expect(clippy::panic, reason = "there is nothing to serve")]
fn unusable() -> ! {
    panic!("give it three arguments: DATABASE_URL KEYS_FILE ADDRESS_FILE")
}
