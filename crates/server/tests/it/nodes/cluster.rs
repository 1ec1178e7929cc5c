//! Nodes, each with a data folder and a proxy of its own, over one PostgreSQL that the test may restart.
//!
//! All have the same keyring, as an operator copies it. A node's methods may be called from several threads; only its process is
//! behind a lock, which whoever starts or ends it holds.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use keyward_testkit::deadline::wait_for;
use keyward_testkit::postgres_server::PostgresServer;
use keyward_testkit::proxy::Proxy;
use keyward_testkit::server::{Installation, KeywardProcess};
use keyward_testkit::wire::{self, Reply};
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::support::succeed;

pub(super) const ORGANIZATION: &str = "org-1";
/// Its keys, in the management API.
pub(super) const KEYS: &str = "/v1/organizations/org-1/keys";
/// For how long an answer is waited for before its outcome counts as unknown: longer than the longest fault.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(6);
const READY_LIMIT: Duration = Duration::from_secs(2);

/// Nodes and their database. The nodes come first, so that they are gone before it is.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) postgres: Mutex<PostgresServer>,
}

pub(super) struct Node {
    pub(super) proxy: Proxy,
    pub(super) installation: Arc<Installation>,
    process: Mutex<Option<KeywardProcess>>,
    address: RwLock<String>,
}

impl Cluster {
    /// So many nodes that are ready, and an organization.
    pub(super) fn start(count: usize) -> Self {
        let cluster = Self::prepare(count);
        for node in &cluster.nodes {
            node.start();
        }
        cluster.wait_until_ready();
        cluster.nodes[0].cli(&["org", "create", "--name", "Acme", "--id", ORGANIZATION]);
        cluster
    }

    /// The database and the folders, before any node runs.
    pub(super) fn prepare(count: usize) -> Self {
        Self::prepare_with(count, &[])
    }

    /// As [`Cluster::prepare`], each node with these settings more.
    pub(super) fn prepare_with(count: usize, settings: &[(&str, &str)]) -> Self {
        let postgres = PostgresServer::start();
        let nodes: Vec<Node> = (0..count).map(|_| Node::over(&postgres, settings)).collect();
        let keyring = |node: &Node| node.installation.data_folder().join("keyring.json");
        succeed(&nodes[0].installation.cli(&["keyring", "init"]));
        for node in &nodes[1..] {
            // The mode comes along.
            fs::copy(keyring(&nodes[0]), keyring(node)).expect("the keyring can be copied");
        }
        Self {
            nodes,
            postgres: Mutex::new(postgres),
        }
    }

    pub(super) fn wait_until_ready(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            wait_for(&format!("node {number} is not ready"), || {
                node.is_ready().then_some(())
            });
        }
    }
}

impl Node {
    fn over(postgres: &PostgresServer, settings: &[(&str, &str)]) -> Self {
        let proxy = Proxy::to(postgres.port());
        let url = postgres.url(proxy.port());
        let installation = Installation::new(PROGRAM)
            .with_environment("KEYWARD_DATABASE_URL", url)
            // What went wrong and where it listens, without a line for each of thousands of requests.
            .with_environment("KEYWARD_LOG", "warn,keyward::serve=info");
        let installation = settings.iter().fold(installation, |installation, (name, value)| {
            installation.with_environment(name, *value)
        });
        Self {
            proxy,
            installation: Arc::new(installation),
            process: Mutex::default(),
            address: RwLock::default(),
        }
    }

    /// Starts its process, and waits until it listens.
    pub(super) fn start(&self) {
        self.start_with(&[]);
    }

    /// Starts its process with a wall clock that is off, if the machine has what that takes.
    pub(super) fn start_with_clock_off(&self, seconds: i32) {
        let library = faketime().expect("asked for before");
        self.start_with(&[
            ("LD_PRELOAD", library.into()),
            ("FAKETIME", format!("{seconds:+}s").into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]);
    }

    fn start_with(&self, environment: &[(&str, OsString)]) {
        let mut slot = self.process();
        let mut process = KeywardProcess::serve_with_environment(Arc::clone(&self.installation), environment);
        *self.address.write().expect("nobody panics with it") = process.ready_address();
        *slot = Some(process);
    }

    fn process(&self) -> MutexGuard<'_, Option<KeywardProcess>> {
        self.process.lock().expect("nobody panics with the process")
    }

    pub(super) fn kill9(&self) {
        self.process().take().expect("it runs").kill9();
    }

    pub(super) fn terminate(&self) {
        assert!(self.process().take().expect("it runs").terminate().success());
    }

    pub(super) fn freeze(&self) {
        self.process().as_ref().expect("it runs").freeze();
    }

    pub(super) fn thaw(&self) {
        self.process().as_ref().expect("it runs").thaw();
    }

    /// The end of what it logged.
    pub(super) fn log(&self) -> String {
        let process = self.process();
        let text = process.as_ref().map(KeywardProcess::stderr).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    pub(super) fn address(&self) -> String {
        self.address.read().expect("nobody panics with it").clone()
    }

    /// Of the listener for monitoring.
    pub(super) fn admin_address(&self) -> String {
        self.process().as_ref().expect("it runs").admin_address()
    }

    pub(super) fn is_ready(&self) -> bool {
        let answer = wire::get_within(&self.address(), "/readyz", &[], READY_LIMIT);
        answer.is_some_and(|answer| answer.status == 200)
    }

    /// How far the node's clock is before the database's, as it says itself; `None` where it does not say.
    pub(super) fn clock_offset_ms(&self) -> Option<i64> {
        let listed = self.manage("GET", "/v1/nodes", &json!({}))?;
        let nodes = listed.json()["items"].as_array()?.clone();
        let own = nodes.into_iter().find(|node| node["own"] == true)?;
        own["clock_offset_ms"].as_i64()
    }

    /// `GET /v1/verify`; `None` where no answer came.
    pub(super) fn verify(&self, value: &str) -> Option<Reply> {
        let header = format!("Authorization: Bearer {value}");
        wire::get_within(&self.address(), "/v1/verify", &[header], ANSWER_LIMIT)
    }

    /// A request to the management API as the local administrator; `None` where no answer came.
    pub(super) fn manage(&self, method: &str, path: &str, body: &Value) -> Option<Reply> {
        let headers: &[String] = if method == "PATCH" {
            &["If-Match: *".to_owned()]
        } else {
            &[]
        };
        self.manage_with(headers, (method, path), body)
    }

    /// As [`Node::manage`], with these lines in the request's head.
    pub(super) fn manage_with(
        &self,
        headers: &[String],
        (method, path): (&str, &str),
        body: &Value,
    ) -> Option<Reply> {
        let socket = self.installation.data_folder().join("keyward.sock");
        wire::manage_within(&socket, (method, path), headers, &body.to_string(), ANSWER_LIMIT)
    }

    /// As [`Node::manage`], for a request that must succeed.
    #[track_caller]
    pub(super) fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.manage(method, path, body).expect("an answer");
        assert!(matches!(reply.status, 200 | 201), "{path}: {reply:?}");
        reply.json()
    }

    /// Makes a key of the organization; its id and its value.
    #[track_caller]
    pub(super) fn create(&self, name: &str) -> (String, String) {
        let made = self.done("POST", KEYS, &json!({ "name": name }));
        (text(&made, "id"), text(&made, "value"))
    }

    /// Deletes a key; what is answered.
    #[track_caller]
    pub(super) fn delete(&self, id: &str) -> Value {
        self.done("POST", &format!("/v1/keys/{id}/delete"), &json!({}))
    }

    /// A command that must succeed.
    pub(super) fn cli(&self, arguments: &[&str]) -> Value {
        self.installation.cli_json(arguments)
    }
}

/// A text that a reply has.
#[track_caller]
pub(super) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect("it has the field").to_owned()
}

/// The library of Debian's package `faketime`.
pub(super) fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.is_file())
}
