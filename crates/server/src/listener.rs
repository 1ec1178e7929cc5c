//! Connections: accepted within a bound, given a time to speak, drained at the end.
//!
//! HTTP/1.1 only, as the official client speaks it. The other end's address is put into each request here. Nothing in a
//! request is looked at.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::serve::Listener;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use keyward_http::request::Peer;
use keyward_http::site::SharedSite;
use keyward_http::verify;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::head_timer::HeadTimer;

/// Connections of strangers at a time, where the operating system has the room; more wait to be accepted.
pub(crate) const MAX_CONNECTIONS: usize = 10_000;
/// Connections at a time of a listener that is not for strangers.
pub(crate) const FEW_CONNECTIONS: usize = 64;
/// For how long a connection may be silent, before its first request and between two. The official client lets go of an
/// idle connection after 5 seconds.
const HEAD_PATIENCE: Duration = Duration::from_secs(20);
/// For how long the other end may take nothing of an answer that waits to be sent.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// The longest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// For how long requests that were begun may go on after the order to stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// A TCP listener whose connections send small answers at once.
pub(crate) struct Tcp(pub(crate) TcpListener);

impl Listener for Tcp {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Without it an answer could wait for the acknowledgement of the one before; failing changes only the time.
        let _ = stream.set_nodelay(true);
        (stream, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The socket in the data folder.
pub(crate) struct Local(pub(crate) UnixListener);

impl Listener for Local {
    type Io = UnixStream;
    type Addr = ();

    async fn accept(&mut self) -> (UnixStream, ()) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        (stream, ())
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Who a connection is from, as far as the kind of listener can say.
pub(crate) trait FromAddress {
    fn address(&self) -> Option<IpAddr>;
}

impl FromAddress for SocketAddr {
    fn address(&self) -> Option<IpAddr> {
        Some(self.ip())
    }
}

impl FromAddress for () {
    fn address(&self) -> Option<IpAddr> {
        None
    }
}

/// Who answers the requests of a listener.
pub(crate) struct Answers {
    pub(crate) router: Router,
    /// The verify route is answered before the router is asked: it is the one that has to be fast.
    pub(crate) verify: Option<SharedSite>,
}

impl Answers {
    /// Any router, and nothing before it.
    pub(crate) fn by(router: Router) -> Self {
        Self { router, verify: None }
    }

    async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        peer: Option<IpAddr>,
    ) -> Result<Response, Infallible> {
        if let Some(site) = &self.verify
            && verify::is_asked(request.method(), request.uri())
        {
            let (parts, _) = request.into_parts();
            return Ok(verify::answer(site, &parts, peer).await);
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer));
        }
        self.router.clone().call(request.map(Body::new)).await
    }
}

/// Serves until `stop`, then lets what was begun come to its end.
pub(crate) async fn serve<L>(mut listener: L, answers: Answers, most: usize, stop: CancellationToken)
where
    L: Listener,
    L::Addr: FromAddress,
{
    let answers = Arc::new(answers);
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(most));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES);
    loop {
        let accepted = async {
            if permits.available_permits() == 0 {
                tracing::warn!(most, "every connection is taken; others wait until one ends");
            }
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, (stream, from)) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let peer = from.address();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_PATIENCE));
        let answers = Arc::clone(&answers);
        let service = service_fn(move |request| Arc::clone(&answers).answer(request, peer));
        http.timer(HeadTimer::default());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
        tokio::spawn(async move {
            let _permit = permit;
            // A client that goes away in the middle is its own business.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_PATIENCE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time and are cut off");
    }
}
