//! The site of one test and those who call it.
//!
//! [`Caller`] checks at every reply what holds for all of them: nothing is stored on the way, no other origin is let in,
//! no text of a key comes back, and a refusal is a problem document that names its page, its trace and what would help.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::BodyExt as _;
use keyward_core::ids::OrganizationId;
use keyward_core::keyring::Keyring;
use keyward_core::management_right::RightSet;
use keyward_core::new_key::KeyDraft;
use keyward_core::refusal::Code;
use keyward_core::scope::ScopeSet;
use keyward_core::time::Timestamp;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::create_token::{CreatedToken, TokenCeiling, TokenDraft};
use keyward_http::health::Detail;
use keyward_http::management::{Door, Management};
use keyward_http::request::Peer;
use keyward_http::site::{SharedSite, Site};
use keyward_http::{health, management, pages, routes, verify};
use keyward_testkit::engine::{Kind, Permission, TestEngine, context, draft};
use serde_json::Value;
use tower::ServiceExt as _;

/// Where the world reaches the site.
pub(crate) const PUBLIC_URL: &str = "https://keys.example.com";
/// From where a caller calls, unless the test says otherwise.
pub(crate) const CALLER: &str = "198.51.100.7";
/// Whose keys the tests use.
pub(crate) const ORGANIZATION: &str = "org-1";

/// What a test may want otherwise.
pub(crate) struct Setup {
    pub(crate) public_url: &'static str,
    pub(crate) trusted_proxies: &'static [&'static str],
    pub(crate) detail: Detail,
    pub(crate) routes: Router<SharedSite>,
    /// Called with every keyring that is saved, before it is noted.
    pub(crate) on_save: fn() -> io::Result<()>,
    pub(crate) kind: Kind,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            public_url: PUBLIC_URL,
            trusted_proxies: &[],
            detail: Detail::Status,
            routes: Router::new(),
            on_save: || Ok(()),
            kind: Kind::Sqlite,
        }
    }
}

/// A site with one organization, and its management.
pub(crate) struct TestApp {
    pub(crate) test: TestEngine,
    pub(crate) site: SharedSite,
    pub(crate) organization: OrganizationId,
    /// The keyring's text, each time that it was saved.
    pub(crate) saved: Arc<Mutex<Vec<String>>>,
    public: Router,
    management: Router,
    secrets: Secrets,
}

/// The texts of all keys that were sent or handed out in a test.
type Secrets = Arc<Mutex<Vec<String>>>;

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let test = TestEngine::new(setup.kind).await;
        let organization = test.organization(ORGANIZATION).await;
        let trusted = setup.trusted_proxies.iter().map(|text| text.parse().unwrap());
        let site = Arc::new(Site::new(
            test.engine.clone(),
            setup.public_url.to_owned(),
            trusted.collect(),
        ));
        let saved = Arc::new(Mutex::new(Vec::new()));
        let save = {
            let saved = Arc::clone(&saved);
            move |keyring: &Keyring| {
                (setup.on_save)()?;
                saved.lock().unwrap().push(keyring.to_text().to_string());
                Ok(())
            }
        };
        let management = Arc::new(Management::new(Arc::clone(&site), Box::new(save), "1.2.3"));
        let public = Router::new()
            .merge(verify::routes())
            .merge(management::routes(&management, Door::Network))
            .merge(setup.routes)
            .merge(pages::routes())
            .merge(health::routes(setup.detail))
            .fallback(routes::no_such_route)
            .method_not_allowed_fallback(routes::method_not_allowed)
            .with_state(Arc::clone(&site));
        Self {
            test,
            site,
            organization,
            saved,
            public,
            management: management::router(&management),
            secrets: Secrets::default(),
        }
    }

    /// A key that may do everything.
    pub(crate) async fn key(&self) -> CreatedKey {
        self.key_with(|_| ()).await
    }

    /// A key of a draft that the test changes.
    pub(crate) async fn key_with(&self, change: impl FnOnce(&mut KeyDraft)) -> CreatedKey {
        let mut draft = draft(ScopeSet::ALL, Permission::Full);
        change(&mut draft);
        let made = self
            .test
            .engine
            .create_key(context(), self.organization.clone(), draft)
            .await
            .unwrap();
        self.remember(made.value.reveal());
        made
    }

    /// A management token with these rights (`keys:read,verify`) of the app's organization.
    pub(crate) async fn token(&self, rights: &str) -> CreatedToken {
        self.token_of(&self.organization, rights, None).await
    }

    /// A management token of any organization, with or without an end.
    pub(crate) async fn token_of(
        &self,
        organization: &OrganizationId,
        rights: &str,
        expires_at: Option<Timestamp>,
    ) -> CreatedToken {
        let draft = TokenDraft {
            name: "A token of a test".to_owned(),
            rights: RightSet::from_text(rights).unwrap(),
            expires_at,
        };
        let ceiling = TokenCeiling {
            rights: RightSet::all(),
            ends_at: None,
        };
        let engine = &self.test.engine;
        let made = engine.create_token(context(), organization.clone(), draft, ceiling);
        let made = made.await.unwrap();
        self.remember(made.value.reveal());
        made
    }

    /// Somebody who manages over the network with this token.
    pub(crate) fn manager(&self, token: &CreatedToken) -> Caller {
        self.bearer(token.value.reveal())
    }

    /// Somebody without a key.
    pub(crate) fn nobody(&self) -> Caller {
        Caller {
            router: self.public.clone(),
            public_url: self.site.public_url.clone(),
            secrets: Arc::clone(&self.secrets),
            peer: Some(CALLER.parse().unwrap()),
            headers: HeaderMap::new(),
        }
    }

    /// Somebody who sends this text as a key.
    pub(crate) fn bearer(&self, text: &str) -> Caller {
        self.remember(text);
        self.nobody().with("authorization", format!("Bearer {text}"))
    }

    /// Somebody who holds this key.
    pub(crate) fn holder(&self, key: &CreatedKey) -> Caller {
        self.bearer(key.value.reveal())
    }

    /// Somebody who may open the management socket.
    pub(crate) fn admin(&self) -> Caller {
        Caller {
            router: self.management.clone(),
            peer: None,
            ..self.nobody()
        }
    }

    pub(crate) fn remember(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Fails if a text holds a key, or part of one that was sent or handed out in this test.
    pub(crate) fn assert_no_key_in(&self, text: &str) {
        assert_no_key_in(text, &self.secrets);
    }
}

/// Somebody who makes requests.
#[derive(Clone)]
pub(crate) struct Caller {
    router: Router,
    public_url: String,
    secrets: Secrets,
    peer: Option<IpAddr>,
    headers: HeaderMap,
}

impl Caller {
    /// Sends one more line of this header.
    pub(crate) fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// Names an organization in the header.
    pub(crate) fn of(self, organization: &str) -> Self {
        self.with("organization-id", organization)
    }

    /// Calls from this address.
    pub(crate) fn from(self, peer: &str) -> Self {
        Self {
            peer: Some(peer.parse().unwrap()),
            ..self
        }
    }

    /// Calls over a connection of which nobody said where it comes from.
    pub(crate) fn without_peer(self) -> Self {
        Self { peer: None, ..self }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send("PATCH", path, body.to_string()).await
    }

    /// Makes a request and checks what holds for every reply.
    pub(crate) async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(body.into())
            .unwrap();
        *request.headers_mut() = self.headers.clone();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(Peer(peer));
        }
        // A router's error type has no value.
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let reply = Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        };
        let gives_value = method == "POST" && reply.status < 300 && is_giver_of_values(path);
        self.check(&format!("{method} {path}"), &reply, gives_value);
        reply
    }

    fn check(&self, asked: &str, reply: &Reply, gives_value: bool) {
        for name in reply.headers.keys() {
            assert!(
                !name.as_str().starts_with("access-control-") && name != "set-cookie",
                "{asked}: {name}"
            );
        }
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{asked}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{asked}");
        // What is streamed has no length before its end.
        let is_streamed = reply.status == 200
            && (asked.contains("all=true") || reply.header("content-type") == Some("application/jsonl"));
        if !asked.starts_with("HEAD ") && !is_streamed {
            let length = reply.body.len().to_string();
            assert_eq!(reply.header("content-length"), Some(length.as_str()), "{asked}");
        }
        let text = self.without_given_value(reply, gives_value);
        assert_no_key_in(&text, &self.secrets);
        if reply.header("content-type") == Some("application/problem+json") {
            self.check_problem(asked, reply);
        }
        assert!(
            reply.header("content-type") == Some("application/problem+json")
                || reply.status < 400
                || asked.ends_with("/readyz"),
            "{asked}: {} without a problem document",
            reply.status
        );
    }

    /// Head and body as text; without the value that a request was made for, which stands there and nowhere else.
    fn without_given_value(&self, reply: &Reply, gives_value: bool) -> String {
        let mut text = format!("{:?}\n{}", reply.headers, String::from_utf8_lossy(&reply.body));
        if !gives_value {
            return text;
        }
        match reply.json()["value"].as_str() {
            Some(value) => {
                assert_eq!(text.matches(value).count(), 1, "the value stands there once");
                text = text.replace(value, "");
                self.secrets.lock().unwrap().push(value.to_owned());
            }
            // A repetition that came too late.
            None => assert_eq!(reply.header("idempotent-replayed"), Some("true")),
        }
        text
    }

    fn check_problem(&self, asked: &str, reply: &Reply) {
        let trace = reply.header("x-cloud-trace-context").unwrap();
        let is_trace = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_trace, "{asked}: {trace}");
        let challenge = reply.header("www-authenticate").is_some();
        assert_eq!(challenge, reply.status == 401, "{asked}: WWW-Authenticate");
        let retry_after = reply.header("retry-after").is_some();
        assert_eq!(
            retry_after,
            matches!(reply.status, 429 | 503),
            "{asked}: Retry-After"
        );
        if asked.starts_with("HEAD ") {
            assert!(reply.body.is_empty());
            return;
        }
        let problem = reply.json();
        let text = |name: &str| {
            problem[name]
                .as_str()
                .unwrap_or_else(|| panic!("{asked}: {name}"))
        };
        assert_eq!(problem["status"], reply.status, "{asked}");
        assert_eq!(text("trace_id"), trace, "{asked}");
        assert_eq!(text("message"), text("detail"), "{asked}");
        assert_eq!(
            text("type"),
            format!("{}/help/errors/{}", self.public_url, text("code")),
            "{asked}"
        );
        let message = text("message");
        // The official client sends keys and no tokens.
        let is_about_key = Code::ALL.iter().any(|code| code.name() == text("code"));
        assert_eq!(
            message.contains("it is not vi.datature.com"),
            is_about_key && matches!(reply.status, 401 | 403),
            "{asked}: {message}"
        );
        if is_about_key && matches!(reply.status, 401 | 403) {
            let page = secret_keys_page(message);
            assert!(
                page.starts_with(&format!("{}/org/", self.public_url)),
                "{message}"
            );
        }
    }
}

/// The routes whose replies hold a value, once: of a key or of a management token.
fn is_giver_of_values(path: &str) -> bool {
    let is_creation = path.ends_with("/keys") || path.ends_with("/tokens");
    let is_of_key =
        path.starts_with("/v1/keys/") && (path.ends_with("/rotate") || path.ends_with("/replace"));
    is_creation || is_of_key
}

/// The address of the Secret Keys page that a refusal's message names.
pub(crate) fn secret_keys_page(message: &str) -> &str {
    let (_, rest) = message
        .split_once("This server's Secret Keys page is ")
        .unwrap_or_else(|| panic!("names no page: {message}"));
    rest.split_once(';').unwrap().0
}

fn assert_no_key_in(text: &str, secrets: &Secrets) {
    // Longer than any hint.
    let is_hint = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric()).count() < 12;
    assert!(text.split("dtvi_").skip(1).all(is_hint), "a key in {text}");
    assert!(text.split("kwmt_").skip(1).all(is_hint), "a token in {text}");
    for secret in secrets.lock().unwrap().iter() {
        assert!(!holds_part_of(secret, text), "part of a key in {text}");
    }
}

/// Whether twelve characters in a row of the secret part stand in a text. The id comes before it and is no secret.
fn holds_part_of(secret: &str, text: &str) -> bool {
    const SECRET_FROM: usize = 5 + 22;
    let secret: Vec<char> = secret.chars().skip(SECRET_FROM).collect();
    secret
        .windows(12)
        .any(|part| text.contains(&part.iter().collect::<String>()))
}

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header that must not be there twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} is there twice");
        Some(value.to_str().unwrap())
    }

    /// The names of all headers, sorted.
    pub(crate) fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap().to_owned())
    }

    /// The message of a problem.
    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    /// The fields that a problem names, in its order.
    pub(crate) fn fields(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().unwrap();
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The whole reply for a snapshot: what differs from run to run is replaced, and what every reply is checked for is
    /// not repeated. Moments stay, because the clock stands.
    pub(crate) fn shown(&self) -> String {
        let mut shown = format!("{}\n", self.status);
        for name in self.header_names() {
            let value = match name {
                "content-length" => continue,
                "x-cloud-trace-context" => "[trace]",
                "keyward-key-id" => "[id]",
                _ => self.header(name).unwrap(),
            };
            writeln!(shown, "{name}: {value}").unwrap();
        }
        if !self.body.is_empty() {
            let mut body = self.json();
            redact(&mut body);
            write!(shown, "\n{}\n", serde_json::to_string_pretty(&body).unwrap()).unwrap();
        }
        shown
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let redacted = match name.as_str() {
                    "trace_id" => Some("[trace]"),
                    "detail" => Some("[message]"),
                    "id" if member.as_str().is_some_and(|id| !id.starts_with("org-")) => Some("[id]"),
                    "person_id" => Some("[id]"),
                    "owner_link" => Some("[link]"),
                    "hint" => Some("[hint]"),
                    "value" => Some("[value]"),
                    "next" if member.is_string() => Some("[cursor]"),
                    "process" => Some("[process]"),
                    _ => None,
                };
                match redacted {
                    Some(text) => *member = Value::from(text),
                    None => redact(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Several replies for one snapshot, each under what was asked.
#[derive(Default)]
pub(crate) struct Transcript(pub(crate) String);

impl Transcript {
    pub(crate) fn add(&mut self, asked: &str, reply: &Reply) {
        writeln!(self.0, "## {asked}\n{}", reply.shown()).unwrap();
    }
}
