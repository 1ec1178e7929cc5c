//! Speaking to a running server: over the socket in its data folder, or over the network with a management token.
//!
//! The two doors have the same routes. Over the network nothing is assumed of the server but what its answers say, and no
//! redirect is followed: a token is sent to the address that was named and to no other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use keyward_api::problem::ProblemDocument;
use keyward_api::tokens::MeView;
use keyward_core::secret::{Secret, TokenTextKind};
use keyward_http::management::ListView;
use keyward_http::management::principal::{ACT_AS, ORGANIZATION};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::{output, tls};
use crate::configuration::{ManagingSettings, Place, PublicUrl, TOKEN_VARIABLE};

/// Largest page of the management API.
const PAGE: u32 = 1_000;
/// How long is waited for a connection over the network.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long is waited for an answer over the network.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

/// No server is there.
#[derive(Debug)]
pub(crate) struct NoServer(String);

impl std::fmt::Display for NoServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NoServer {}

/// The request went out, and no whole answer came back: what was asked may have happened.
#[derive(Debug)]
pub(crate) struct NoAnswer(&'static str);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}; what was asked may have happened", self.0)
    }
}

impl std::error::Error for NoAnswer {}

/// What the server refused, in its own words.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) ProblemDocument);

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.errors.is_empty() {
            return write!(formatter, "{}", self.0.message);
        }
        write!(formatter, "the request was not accepted and nothing was changed:")?;
        self.0
            .errors
            .iter()
            .try_for_each(|error| write!(formatter, "\n  {}: {}", error.field, error.message))
    }
}

impl std::error::Error for Refused {}

/// Which server is meant, and as whom it is asked.
#[derive(Clone)]
pub(crate) struct Target {
    place: Place,
    settings: ManagingSettings,
    /// Whether no token goes along: what the request carries says who may send it.
    is_nobody: bool,
}

/// A server over the network.
struct Network<'a> {
    url: &'a PublicUrl,
    token: Option<Secret<TokenTextKind>>,
    ca_file: Option<&'a Path>,
}

impl Target {
    /// What the command line says; whether it goes together shows when it is used.
    pub(crate) fn new(place: &Place, settings: &ManagingSettings) -> Self {
        Self {
            place: place.clone(),
            settings: settings.clone(),
            is_nobody: false,
        }
    }

    /// The same server, or the one at `link` where none is named, asked by nobody in particular.
    pub(crate) fn as_nobody(&self, link: Option<PublicUrl>) -> Self {
        let mut target = self.clone();
        target.is_nobody = true;
        target.settings.act_as = None;
        target.settings.act_in = None;
        target.settings.server = target.settings.server.or(link);
        target
    }

    fn network(&self) -> Result<Option<Network<'_>>> {
        let settings = &self.settings;
        let Some(url) = &settings.server else {
            return Ok(None);
        };
        ensure!(
            settings.act_as.is_none(),
            "--act-as is for the server on the data folder; over the network (--server, KEYWARD_SERVER) a token says who you are"
        );
        Ok(Some(Network {
            url,
            token: (!self.is_nobody).then(|| token(settings)).transpose()?,
            ca_file: settings.ca_file.as_deref(),
        }))
    }

    /// The server on the data folder, whichever other one is named: for what concerns this installation.
    pub(crate) fn on_this_machine(&self) -> Self {
        let mut target = self.clone();
        target.settings.server = None;
        target
    }

    /// The one organization that may be managed; `None` for the local administrator, who manages all of them.
    pub(crate) async fn only_organization(&self) -> Result<Option<String>> {
        if self.settings.server.is_none() && self.settings.act_as.is_none() {
            return Ok(None);
        }
        let me: MeView = call(self, Method::GET, "/v1/me", None).await?;
        Ok(me.organization_id)
    }

    /// The headers that say as whom is asked.
    fn headers(&self, network: Option<&Network<'_>>) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let mut headers = Vec::new();
        if let Some(token) = network.and_then(|network| network.token.as_ref()) {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
                .ok()
                .context("the management token has characters that no token has; copy it again")?;
            value.set_sensitive(true);
            headers.push((http::header::AUTHORIZATION, value));
        }
        let acting = [
            (ACT_AS, &self.settings.act_as),
            (ORGANIZATION, &self.settings.act_in),
        ];
        for (name, value) in acting {
            if let Some(value) = value {
                let value = HeaderValue::from_bytes(value.as_bytes());
                headers.push((name, value.context("--act-as and --act-in are single lines")?));
            }
        }
        Ok(headers)
    }
}

fn token(settings: &ManagingSettings) -> Result<Secret<TokenTextKind>> {
    let text = match &settings.token_file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("could not read the management token in `{}`", file.display()))?,
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(text) => text,
            Err(_) => bail!(
                "over the network a management token is needed: set {TOKEN_VARIABLE}, or name a file with --token-file. An \
                 Owner or Admin makes one with `keyward tokens create`"
            ),
        },
    };
    Ok(Secret::new(text.trim().to_owned()))
}

/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to a server.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    host: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`NoServer`] if nobody listens.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let network = target.network()?;
        let headers = target.headers(network.as_ref())?;
        let (stream, host) = match &network {
            None => (
                Box::new(over_socket(&target.place).await?) as _,
                "localhost".to_owned(),
            ),
            Some(network) => over_network(network).await?,
        };
        Ok(Self {
            stream,
            host,
            headers,
        })
    }

    /// Connects if a server runs.
    pub(crate) async fn find(target: &Target) -> Result<Option<Self>> {
        match Self::connect(target).await {
            Ok(client) => Ok(Some(client)),
            Err(error) if error.is::<NoServer>() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Result<Self> {
        let value =
            HeaderValue::from_str(value).with_context(|| format!("the header {name} is a single line"))?;
        self.headers.push((name, value));
        Ok(self)
    }

    /// Writes what is at `path` to `out` as it comes, however long it is.
    ///
    /// # Errors
    /// [`Refused`] with what the server says; what was written is not whole after any other.
    pub(crate) async fn download(self, path: &str, out: &mut (impl std::io::Write + ?Sized)) -> Result<()> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(self.stream))
            .await
            .context("the server does not speak as expected")?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .uri(path)
            .header(http::header::HOST, self.host)
            .body(Full::new(Bytes::new()))
            .context("could not make the request")?;
        request.headers_mut().extend(self.headers);
        let in_time = NoAnswer("the server did not answer in time");
        let sent = tokio::time::timeout(ANSWER_PATIENCE, sender.send_request(request)).await;
        let response = sent
            .context(in_time)?
            .context(NoAnswer("the server did not answer"))?;
        let status = response.status();
        let mut body = response.into_body();
        let mut refused = Vec::new();
        loop {
            // For each part, not for the whole, which may be long.
            let part = tokio::time::timeout(ANSWER_PATIENCE, body.frame()).await;
            let Some(part) = part.context("the server stopped answering")? else {
                break;
            };
            let part = part.context("the server's answer was cut off; its log tells why")?;
            let bytes = part.into_data().unwrap_or_default();
            if status.is_success() {
                out.write_all(&bytes)
                    .context("could not write what the server sent")?;
            } else {
                refused.extend_from_slice(&bytes);
            }
        }
        connection.abort();
        if status.is_success() {
            return out.flush().context("could not write what the server sent");
        }
        let problem: ProblemDocument = serde_json::from_slice(&refused)
            .with_context(|| format!("the server answered {status} without saying why; is it Keyward?"))?;
        Err(Refused(problem).into())
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// [`Refused`] with what the server says; [`NoAnswer`].
    pub(crate) async fn call<T: DeserializeOwned>(
        self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(self.stream))
            .await
            .context("the server does not speak as expected")?;
        let connection = tokio::spawn(connection);
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, self.host)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .context("could not make the request")?;
        request.headers_mut().extend(self.headers);
        let answering = async {
            let response = sender
                .send_request(request)
                .await
                .context(NoAnswer("the server did not answer"))?;
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.context(NoAnswer("the server's answer was cut off"))?;
            let bytes = body.to_bytes();
            Ok::<_, anyhow::Error>((status, bytes))
        };
        let (status, bytes) = tokio::time::timeout(ANSWER_PATIENCE, answering)
            .await
            .context(NoAnswer("the server did not answer in time"))??;
        drop(sender);
        // The answer is whole; how the connection ends does not matter.
        connection.abort();
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .context("the server's answer is not as expected; is it another version?");
        }
        let problem: ProblemDocument = serde_json::from_slice(&bytes)
            .with_context(|| format!("the server answered {status} without saying why; is it Keyward?"))?;
        Err(Refused(problem).into())
    }
}

async fn over_socket(place: &Place) -> Result<UnixStream> {
    let folder = place.folder();
    if folder.path().exists() {
        // Whose folder it is decides who answers there, and who is told what.
        folder.check()?;
    }
    let socket = folder.socket();
    match UnixStream::connect(&socket).await {
        Ok(stream) => Ok(stream),
        Err(error) if is_absence(&error) => Err(NoServer(format!(
            "no server runs on the data folder `{}`; start it with `keyward serve`, or name its folder with --data-dir",
            place.data_dir.display()
        ))
        .into()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "could not reach the server at `{}`; only the data folder's owner can",
                socket.display()
            )
        }),
    }
}

async fn over_network(network: &Network<'_>) -> Result<(Box<dyn Stream>, String)> {
    let uri: http::Uri = network.url.as_str().parse().context("the server's address")?;
    let authority = uri.authority().context("the server's address names no host")?;
    let is_tls = uri.scheme_str() == Some("https");
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    if !is_tls && !is_this_machine(host) {
        let what = match network.token {
            Some(_) => "the management token",
            None => "what you send",
        };
        output::note(&format!(
            "{what} goes to `{host}` unencrypted; use an https:// address"
        ));
    }
    let connecting = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect((host, port))).await;
    let absent = |why: String| NoServer(format!("no server answers at {}: {why}", network.url.as_str()));
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(absent(error.to_string()).into()),
        Err(_) => return Err(absent("it did not answer in time".to_owned()).into()),
    };
    let stream: Box<dyn Stream> = if is_tls {
        let connecting = tls::connect(stream, host, network.ca_file);
        let connected = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
        Box::new(connected.context("the server did not speak TLS in time")??)
    } else {
        Box::new(stream)
    };
    Ok((stream, authority.as_str().to_owned()))
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
    )
}

/// Sends one request.
pub(crate) async fn call<T: DeserializeOwned>(
    target: &Target,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<T> {
    Client::connect(target).await?.call(method, path, body).await
}

/// Every item of a list, page by page; `path` may have a query.
pub(crate) async fn call_for_all<T: DeserializeOwned>(target: &Target, path: &str) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    let joint = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = format!("{path}{joint}limit={PAGE}&cursor={cursor}");
        let page: ListView<T> = call(target, Method::GET, &page, None).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => cursor = next,
            None => return Ok(items),
        }
    }
}
