//! One POST to an address that somebody else named, and nothing more than that.
//!
//! The host is resolved here, each address is checked, and exactly a checked one is connected to, so that a name which means another
//! address a moment later leads nowhere else. No redirect is followed, no cookie kept, no proxy asked; every wait has a limit and of
//! the answer no more is read than needed.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use keyward_core::contact::WebhookUrl;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::networks::may_call;

/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 3;
/// How much of an answer is read, so that the other side can finish; what it says is not looked at.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For a connection to one address, its TLS included.
    pub(crate) connect: Duration,
    /// From the beginning to the head of the answer.
    pub(crate) whole: Duration,
    /// For the rest of the answer, which decides nothing.
    pub(crate) rest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(15),
            rest: Duration::from_secs(2),
        }
    }
}

/// The addresses of a host, or why there are none.
pub(crate) type Resolving<'a> = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Finds the addresses of a host.
pub(crate) trait Resolver: Send + Sync + 'static {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// Asks the system.
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, port)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Why nothing was answered. The words are for those who manage the contact: they do not repeat the address, whose path may be a
/// secret, and tell nothing of networks that are not called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostFailed {
    #[error("the address can't be called")]
    NoAddress,
    #[error("its host name is not known")]
    Unknown,
    #[error(
        "its host has no public address; whoever runs this server can allow a network of theirs (--delivery-allow-networks)"
    )]
    NotAllowed,
    #[error("it could not be connected to")]
    NoConnection,
    #[error("its certificate was not accepted, or it does not speak TLS")]
    Tls,
    #[error("it did not answer in time")]
    TimedOut,
    #[error("it did not answer as a web server does")]
    NoAnswer,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// How long it asks to be left alone; only of 429 and 503, and only if it says so in seconds.
    pub(crate) retry_after_ms: Option<i64>,
}

/// Calls webhooks.
pub(crate) struct WebhookClient {
    resolver: Box<dyn Resolver>,
    allowed: Vec<IpNet>,
    limits: Limits,
    tls: TlsConnector,
}

impl WebhookClient {
    /// One that calls public addresses and those in `allowed`.
    pub(crate) fn new(allowed: Vec<IpNet>) -> anyhow::Result<Self> {
        Self::with(Box::new(SystemResolver), allowed, Limits::default())
    }

    pub(crate) fn with(
        resolver: Box<dyn Resolver>,
        allowed: Vec<IpNet>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let mut authorities = RootCertStore::empty();
        authorities.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        Ok(Self {
            resolver,
            allowed,
            limits,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Posts `body` to `url` once. Host, length and `user-agent` are set here.
    pub(crate) async fn post(
        &self,
        url: &WebhookUrl,
        headers: &[(HeaderName, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<Answer, PostFailed> {
        let posting = self.post_here(url, headers, body);
        let (answer, rest) = tokio::time::timeout(self.limits.whole, posting)
            .await
            .map_err(|_| PostFailed::TimedOut)??;
        // The head decided. The other side may finish, if it is quick.
        drop(tokio::time::timeout(self.limits.rest, rest.drain()).await);
        Ok(answer)
    }

    async fn post_here(
        &self,
        url: &WebhookUrl,
        headers: &[(HeaderName, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<(Answer, Rest), PostFailed> {
        let uri: http::Uri = url.as_str().parse().map_err(|_| PostFailed::NoAddress)?;
        let authority = uri.authority().ok_or(PostFailed::NoAddress)?;
        let is_tls = uri.scheme_str() == Some("https");
        let host = authority.host().trim_matches(['[', ']']);
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = self.connect(host, port, is_tls).await?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, authority.as_str())
            .header(header::USER_AGENT, concat!("keyward/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| PostFailed::NoAddress)?;
        request.headers_mut().extend(headers.iter().cloned());
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| PostFailed::NoAnswer)?;
        // It ends with `Rest`, or with this function.
        let connection = Connection(tokio::spawn(connection));
        let response = sender
            .send_request(request)
            .await
            .map_err(|_| PostFailed::NoAnswer)?;
        let status = response.status();
        let may_ask = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        let answer = Answer {
            status,
            retry_after_ms: response
                .headers()
                .get(header::RETRY_AFTER)
                .filter(|_| may_ask)
                .and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok())
                .map(|seconds| i64::from(seconds) * 1_000),
        };
        let rest = Rest {
            body: response.into_body(),
            _connection: connection,
        };
        Ok((answer, rest))
    }

    async fn connect(&self, host: &str, port: u16, is_tls: bool) -> Result<Box<dyn Stream>, PostFailed> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self
                .resolver
                .resolve(host, port)
                .await
                .map_err(|_| PostFailed::Unknown)?,
        };
        if found.is_empty() {
            return Err(PostFailed::Unknown);
        }
        let checked: Vec<IpAddr> = found
            .into_iter()
            .filter(|address| may_call(*address, &self.allowed))
            .take(MAX_ADDRESSES)
            .collect();
        if checked.is_empty() {
            return Err(PostFailed::NotAllowed);
        }
        let mut failed = PostFailed::NoConnection;
        for address in checked {
            let address = SocketAddr::new(address, port);
            let connecting = self.connect_to(address, host, is_tls);
            match tokio::time::timeout(self.limits.connect, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => failed = why,
                Err(_) => failed = PostFailed::TimedOut,
            }
        }
        Err(failed)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        host: &str,
        is_tls: bool,
    ) -> Result<Box<dyn Stream>, PostFailed> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|_| PostFailed::NoConnection)?;
        if !is_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| PostFailed::NoAddress)?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|_| PostFailed::Tls)?;
        Ok(Box::new(stream))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection's task, which ends when this is dropped.
struct Connection(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Rest {
    body: Incoming,
    _connection: Connection,
}

impl Rest {
    async fn drain(mut self) {
        let mut read = 0;
        while let Some(Ok(frame)) = self.body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_ANSWER_BYTES {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every lookup with the next of its lists; the last one stays.
    struct Fixed(Vec<Vec<&'static str>>, Arc<AtomicUsize>);

    impl Resolver for Fixed {
        fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
            let at = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
            let found = self.0[at].iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { Ok(found) })
        }
    }

    const QUICK: Limits = Limits {
        connect: Duration::from_millis(500),
        whole: Duration::from_millis(700),
        rest: Duration::from_millis(200),
    };

    fn client(resolver: Fixed, allowed: &[&str]) -> WebhookClient {
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        WebhookClient::with(Box::new(resolver), allowed, QUICK).unwrap()
    }

    fn here(addresses: &[&'static str]) -> Fixed {
        Fixed(vec![addresses.to_vec()], Arc::default())
    }

    /// A receiver that says `answer` (and then nothing more, or `more` for ever), and how often it was connected to.
    async fn receiver(answer: &'static str, more: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    let _ = stream.read(&mut bytes).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    while !more.is_empty() && stream.write_all(more).await.is_ok() {}
                    // Kept open: whoever waits for more waits in vain.
                    let _ = stream.read(&mut bytes).await;
                });
            }
        });
        (port, count)
    }

    async fn post(client: &WebhookClient, port: u16) -> Result<Answer, PostFailed> {
        let url: WebhookUrl = format!("http://localhost:{port}/hook").parse().unwrap();
        client.post(&url, &[], b"{}".to_vec()).await
    }

    #[tokio::test]
    async fn the_head_of_the_answer_decides() {
        let client = client(here(&["127.0.0.1"]), &["127.0.0.0/8"]);
        let answers = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, None),
            ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", 410, None),
            (
                "HTTP/1.1 429 Slow\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n",
                429,
                Some(120_000),
            ),
            (
                "HTTP/1.1 500 No\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n",
                500,
                None,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12", 200, None),
        ];
        for (answer, status, retry_after_ms) in answers {
            let (port, _) = receiver(answer, b"").await;
            let answered = post(&client, port).await.unwrap();
            assert_eq!(answered.status.as_u16(), status);
            assert_eq!(answered.retry_after_ms, retry_after_ms, "{answer}");
        }
    }

    #[tokio::test]
    async fn no_answer_keeps_us_for_long() {
        let client = client(here(&["127.0.0.1"]), &["127.0.0.0/8"]);
        let begun = Instant::now();
        let (port, _) = receiver("", b"").await;
        assert!(
            matches!(post(&client, port).await, Err(PostFailed::TimedOut)),
            "it hangs"
        );
        let (port, _) = receiver("HTTP/1.1 200 OK\r\nx: ", b"aaaaaaaaaaaaaaaa").await;
        assert!(
            matches!(post(&client, port).await, Err(PostFailed::NoAnswer)),
            "a head without end"
        );
        let (port, _) = receiver(
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            &[b'a'; 4_096],
        )
        .await;
        assert_eq!(post(&client, port).await.unwrap().status, 200, "a huge body");
        let (port, _) = receiver("SSH-2.0-OpenSSH\r\n", b"").await;
        assert!(matches!(post(&client, port).await, Err(PostFailed::NoAnswer)));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_no_direction() {
        let client = client(here(&["127.0.0.1"]), &["127.0.0.0/8"]);
        let (elsewhere, asked) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"").await;
        let answer = format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        );
        let (port, _) = receiver(answer.leak(), b"").await;
        assert_eq!(post(&client, port).await.unwrap().status, 302);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_private_address_is_not_connected_to_whatever_its_name_is() {
        let (port, asked) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"").await;
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "::ffff:127.0.0.1",
            "fd00::1",
        ] {
            let client = client(here(&[address]), &[]);
            assert!(
                matches!(post(&client, port).await, Err(PostFailed::NotAllowed)),
                "{address}"
            );
        }
        for url in [
            format!("http://127.0.0.1:{port}/"),
            format!("https://[::ffff:7f00:1]:{port}/"),
        ] {
            let client = client(here(&["1.1.1.1"]), &[]);
            let posted = client.post(&url.parse().unwrap(), &[], Vec::new()).await;
            assert!(matches!(posted, Err(PostFailed::NotAllowed)), "{url}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        let nobody = client(Fixed(vec![vec![]], Arc::default()), &[]);
        assert!(matches!(post(&nobody, port).await, Err(PostFailed::Unknown)));
    }

    #[tokio::test]
    async fn a_name_is_resolved_once_and_what_was_checked_is_connected_to() {
        let (port, asked) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"").await;
        // At the second question it would mean another address: rebinding.
        let count = Arc::new(AtomicUsize::new(0));
        let rebinding = Fixed(vec![vec!["127.0.0.2"], vec!["127.0.0.1"]], Arc::clone(&count));
        let client = client(rebinding, &["127.0.0.2/32"]);
        assert!(post(&client, port).await.is_err(), "nobody listens there");
        assert_eq!(
            (count.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)),
            (1, 0)
        );
        let mixed = client_of_mixed();
        assert_eq!(
            post(&mixed, port).await.unwrap().status,
            200,
            "the one that is allowed"
        );
    }

    fn client_of_mixed() -> WebhookClient {
        client(here(&["10.9.9.9", "127.0.0.1"]), &["127.0.0.1/32"])
    }
}
