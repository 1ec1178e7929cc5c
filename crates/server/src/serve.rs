//! `keyward serve`: puts the parts together, runs them, and takes them apart again in the opposite order.
//!
//! Start: folder and its lock, keyring, database and its migrations, engine, listeners. What is refused is refused before
//! anything listens. Stop (SIGTERM or Ctrl-C): no new connections, begun requests come to their end, begun writes too,
//! then the database closes. A second signal ends the process at once.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::get;
use keyward_core::keyring::Keyring;
use keyward_core::record::Actor;
use keyward_engine::checkpoint_audit::CheckpointSink;
use keyward_engine::context::Context;
use keyward_engine::usage_notes::Counting;
use keyward_engine::{Engine, EngineOptions, RateLimits, StartError};
use keyward_http::health::{self, Detail};
use keyward_http::management::{self, Door, Management, SharedManagement};
use keyward_http::request::new_request_id;
use keyward_http::site::{SharedSite, Site};
use keyward_http::{pages, routes, verify};
use keyward_store::Store;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::checkpoint_file::CheckpointFile;
use crate::checkpoint_url::{CheckpointUrl, Everywhere};
use crate::clock::{self, SystemClock};
use crate::configuration::{DatabaseChoice, Place, ServeSettings};
use crate::data_folder::{DataFolder, Lock, write_private};
use crate::delivery::webhook::WebhookClient;
use crate::delivery::{Delivery, Mail, MailRefused};
use crate::keyring_file::KeyringFile;
use crate::listener::{self, Answers, FEW_CONNECTIONS, Local, MAX_CONNECTIONS, Tcp};
use crate::process::{self, StopSignals};

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Room for the keys that a command touches.
const SMALL_CACHE: usize = 1_000;
/// How often figures are added up that were measured one by one.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Bounds of how long writes wait for other nodes, in seconds; the longest is a lease with its margin, and what goes beyond is a defect.
const WRITE_WAITS: [f64; 11] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.65, 2.5];

/// A server that serves.
pub(crate) struct Server {
    site: SharedSite,
    listening: SocketAddr,
    folder: DataFolder,
    listeners: JoinSet<()>,
    stop: CancellationToken,
    signals: StopSignals,
    _lock: Lock,
}

/// Runs a server until it is told to stop.
pub(crate) async fn run(place: &Place, settings: &ServeSettings) -> Result<()> {
    Server::start(place, settings).await?.until_stopped().await
}

/// The engine of an installation, for a server or for a command that works without one. The lock must be held.
pub(crate) async fn open_engine(
    place: &Place,
    (cache_bytes, rate_limits): (usize, RateLimits),
) -> Result<(Engine, KeyringFile)> {
    let file = KeyringFile::of(place);
    let keyring = file.load_or_make(place)?;
    let store = open_store(place).await?;
    store
        .migrate()
        .await
        .context("could not bring the database up to date")?;
    let options = EngineOptions {
        store,
        keyring,
        clock: Arc::new(SystemClock::new()),
        cache_bytes,
        counting: Counting::On,
        node_name: place.node_name.clone().unwrap_or_else(process::machine_name),
        rate_limits,
    };
    let engine = Engine::start(options)
        .await
        .map_err(|error| explain(error, place, &file))?;
    Ok((engine, file))
}

/// Begins what time brings about: it goes on until the engine is shut down, which waits for it.
fn tend(engine: &Engine) {
    let tending = engine.clone();
    drop(engine.run_to_its_end(async move {
        let context = || Context::new(Actor::System, new_request_id());
        tending.tend_keys_until_stopped(context).await;
    }));
}

/// Begins to sign checkpoints of the audit trail; ends as [`tend`] does.
fn keep_checkpoints(engine: &Engine, settings: &ServeSettings) -> Result<()> {
    let mut places: Vec<Arc<dyn CheckpointSink>> = Vec::new();
    if let Some(path) = &settings.audit_checkpoint_file {
        let file = CheckpointFile::at(path).with_context(|| {
            format!(
                "could not write to `{}`, where --audit-checkpoint-file keeps checkpoints of the audit trail",
                path.display()
            )
        })?;
        places.push(Arc::new(file));
    }
    if let Some(url) = &settings.audit_checkpoint_url {
        places.push(Arc::new(CheckpointUrl {
            url: url.clone(),
            client: WebhookClient::new(settings.delivery_allow_networks.clone())?,
            runtime: tokio::runtime::Handle::current(),
        }));
    }
    if !places.is_empty() {
        engine.keep_checkpoints_in(Arc::new(Everywhere(places)));
    }
    let (engine, every) = (engine.clone(), settings.audit_checkpoint_every);
    let signing = engine.clone();
    drop(engine.run_to_its_end(async move { signing.checkpoint_audit_until_stopped(every).await }));
    Ok(())
}

/// Begins delivering notices, as [`tend`] does what it does.
fn deliver(engine: &Engine, settings: &ServeSettings, public_url: &str) -> Result<()> {
    let mail = match (&settings.smtp_url, &settings.smtp_from) {
        (Some(url), Some(from)) => Some(Mail::new(url.reveal(), from)?),
        (None, None) => None,
        _ => return Err(MailRefused::Incomplete.into()),
    };
    let webhooks = WebhookClient::new(settings.delivery_allow_networks.clone())?;
    engine.use_channels(Arc::new(Delivery {
        webhooks: Arc::new(webhooks),
        mail,
        public_url: public_url.to_owned(),
    }));
    let delivering = engine.clone();
    drop(engine.run_to_its_end(async move { delivering.deliver_until_stopped().await }));
    Ok(())
}

/// The engine of an installation on which no server runs, for a command that does a server's work; with its lock.
pub(crate) async fn open_engine_alone(place: &Place) -> Result<(Lock, Engine, KeyringFile)> {
    let folder = place.folder();
    folder.check()?;
    let lock = folder.lock()?;
    // A command makes no keyring, as a first start does.
    KeyringFile::of(place).load()?;
    let (engine, file) = open_engine(place, (SMALL_CACHE, RateLimits::Node)).await?;
    Ok((lock, engine, file))
}

/// Opens the database.
pub(crate) async fn open_store(place: &Place) -> Result<Store> {
    let choice = place.database();
    if let DatabaseChoice::Sqlite(_) = choice {
        place.folder().make_database_file()?;
    }
    Store::open(&choice.for_store())
        .await
        .with_context(|| format!("could not open the database `{}`", choice.shown()))
}

/// What a person can do about an engine that does not start.
fn explain(error: StartError, place: &Place, file: &KeyringFile) -> anyhow::Error {
    let hint = match &error {
        StartError::OtherKeyring { .. } | StartError::ChangedKeyring(_) | StartError::MissingVersion(_) => {
            format!(
                "`{}` is not the keyring of this database; put the right file there, or name it with KEYWARD_KEYRING_FILE",
                file.path().display()
            )
        }
        StartError::NotTheWriter => {
            "a process of an older version works with this PostgreSQL database, and serves it alone; stop it first"
                .to_owned()
        }
        _ => format!("could not start with the database `{}`", place.database().shown()),
    };
    anyhow::Error::new(error).context(hint)
}

impl Server {
    pub(crate) async fn start(place: &Place, settings: &ServeSettings) -> Result<Self> {
        let signals = StopSignals::listen()?;
        process::keep_memory_private();
        clock::check()?;
        let folder = place.folder();
        folder.prepare()?;
        let lock = folder.lock()?;
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Full("keyward_write_wait_seconds".to_owned()),
                &WRITE_WAITS,
            )
            .context("could not set up the metrics")?
            .install_recorder()
            .context("could not start the metrics")?;
        let (engine, keyring_file) =
            open_engine(place, (settings.cache_bytes.bytes(), settings.rate_limits.into())).await?;
        tend(&engine);
        keep_checkpoints(&engine, settings)?;
        let started = Self::listen(
            (folder, lock, signals),
            settings,
            engine.clone(),
            keyring_file,
            metrics,
        )
        .await;
        if started.is_err() {
            engine.shut_down().await;
        }
        started
    }

    async fn listen(
        (folder, lock, signals): (DataFolder, Lock, StopSignals),
        settings: &ServeSettings,
        engine: Engine,
        keyring_file: KeyringFile,
        metrics: PrometheusHandle,
    ) -> Result<Self> {
        let public = bind(settings.listen, "--listen").await?;
        let listening = public.local_addr().context("a listener has no address")?;
        let admin = bind(settings.admin_listen, "--admin-listen").await?;
        let admin_listening = admin.local_addr().context("a listener has no address")?;
        let socket = bind_socket(&folder)?;
        let public_url = match &settings.public_url {
            Some(url) => url.as_str().to_owned(),
            None => default_public_url(listening),
        };
        deliver(&engine, settings, &public_url)?;
        let site: SharedSite = Arc::new(Site::new(
            engine,
            public_url.clone(),
            settings.trusted_proxies.clone(),
        ));
        let save_keyring = Box::new(move |keyring: &Keyring| keyring_file.save(keyring));
        let management = Arc::new(Management::new(Arc::clone(&site), save_keyring, VERSION));
        let stop = CancellationToken::new();
        drop(tokio::spawn(keep_up(metrics.clone(), stop.clone())));
        let mut listeners = JoinSet::new();
        listeners.spawn(listener::serve(
            Tcp(public),
            Answers {
                router: public_router(&site, &management),
                verify: Some(Arc::clone(&site)),
            },
            process::room_for_connections(MAX_CONNECTIONS),
            stop.clone(),
        ));
        listeners.spawn(listener::serve(
            Tcp(admin),
            Answers::by(admin_router(&site, metrics)),
            FEW_CONNECTIONS,
            stop.clone(),
        ));
        listeners.spawn(listener::serve(
            Local(socket),
            Answers::by(management::router(&management)),
            FEW_CONNECTIONS,
            stop.clone(),
        ));
        write_private(&folder.listen_address(), &format!("{listening}\n"))
            .context("could not write where the server listens")?;
        tracing::info!(
            version = VERSION,
            database = site.engine.store().kind(),
            listen = %listening,
            admin_listen = %admin_listening,
            public_url,
            "keyward serves"
        );
        Ok(Self {
            site,
            listening,
            folder,
            listeners,
            stop,
            signals,
            _lock: lock,
        })
    }

    pub(crate) fn site(&self) -> &SharedSite {
        &self.site
    }

    /// Runs until a signal comes, then takes everything apart.
    pub(crate) async fn until_stopped(mut self) -> Result<()> {
        tokio::select! {
            name = self.signals.next() => tracing::info!("stopping: {name}"),
            // A listener ends by itself only by a panic, which was logged.
            _ = self.listeners.join_next() => tracing::error!(listen = %self.listening, "a listener ended"),
        }
        let site = Arc::clone(&self.site);
        let taken_apart = async {
            self.stop.cancel();
            while self.listeners.join_next().await.is_some() {}
            site.engine.shut_down().await;
        };
        tokio::select! {
            () = taken_apart => tracing::info!("stopped"),
            name = self.signals.next() => tracing::warn!("stopped at once by a second signal: {name}"),
        }
        // Whoever looks for a server finds none; a file that is left misleads nobody for long.
        let _ = fs::remove_file(self.folder.listen_address());
        let _ = fs::remove_file(self.folder.socket());
        Ok(())
    }
}

/// Adds up what was measured, which nobody's reading would do where nobody reads.
async fn keep_up(metrics: PrometheusHandle, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP_EVERY) => metrics.run_upkeep(),
        }
    }
}

/// Where clients on this machine reach a server of which nobody said more. A loopback address is named as it is: what
/// `localhost` means is for the machine to say, and somebody else may listen on its other address.
pub(crate) fn default_public_url(listening: SocketAddr) -> String {
    if listening.ip().is_loopback() {
        format!("http://{listening}")
    } else {
        format!("http://localhost:{}", listening.port())
    }
}

fn public_router(site: &SharedSite, management: &SharedManagement) -> Router {
    Router::new()
        .merge(verify::routes())
        .merge(management::routes(management, Door::Network))
        .merge(keyward_vi::router())
        .merge(keyward_console::routes())
        .merge(pages::routes())
        .merge(health::routes(Detail::Status))
        .fallback(routes::no_such_route)
        .method_not_allowed_fallback(routes::method_not_allowed)
        .with_state(Arc::clone(site))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the admin listener has no keys and no permissions; who reaches it is the operator's choice"
)]
fn admin_router(site: &SharedSite, metrics: PrometheusHandle) -> Router {
    let shown = Arc::clone(site);
    Router::new()
        .route(
            "/metrics",
            get(move || {
                shown.engine.refresh_gauges();
                let text = metrics.render();
                async move { ([(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
            }),
        )
        .merge(health::routes(Detail::Reason))
        .fallback(routes::no_such_route)
        .method_not_allowed_fallback(routes::method_not_allowed)
        .with_state(Arc::clone(site))
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on {address}; is another server there? Choose another address with {flag}")
    })
}

/// The lock is held, so a socket file that is there belongs to nobody.
fn bind_socket(folder: &DataFolder) -> Result<UnixListener> {
    let path = folder.socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("could not remove the old socket `{}`", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("could not make the socket `{}`", path.display()))?;
    // The folder is private already; this keeps the socket so if somebody opens the folder later.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("could not close the socket `{}` to others", path.display()))?;
    Ok(listener)
}
