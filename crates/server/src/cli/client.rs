//! Speaking to the running server over the socket in its data folder.

use anyhow::{Context as _, Result};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use keyward_api::problem::ProblemDocument;
use keyward_http::management::ListView;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::configuration::Place;

/// Largest page of the management API.
const PAGE: u32 = 1_000;

/// No server runs on the data folder.
#[derive(Debug)]
pub(crate) struct NoServer(String);

impl std::fmt::Display for NoServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "no server runs on the data folder `{}`; start it with `keyward serve`, or name its folder with --data-dir",
            self.0
        )
    }
}

impl std::error::Error for NoServer {}

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

/// A connection to the server of a data folder.
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`NoServer`] if nobody listens.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let folder = place.folder();
        if folder.path().exists() {
            // Whose folder it is decides who answers there, and who is told what.
            folder.check()?;
        }
        let socket = folder.socket();
        match UnixStream::connect(&socket).await {
            Ok(stream) => Ok(Self { stream }),
            Err(error) if is_absence(&error) => Err(NoServer(place.data_dir.display().to_string()).into()),
            Err(error) => Err(error).with_context(|| {
                format!(
                    "could not reach the server at `{}`; only the data folder's owner can",
                    socket.display()
                )
            }),
        }
    }

    /// Connects if a server runs.
    pub(crate) async fn find(place: &Place) -> Result<Option<Self>> {
        match Self::connect(place).await {
            Ok(client) => Ok(Some(client)),
            Err(error) if error.is::<NoServer>() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// [`Refused`] with what the server says.
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
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "localhost")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .context("could not make the request")?;
        let response = sender
            .send_request(request)
            .await
            .context("the server did not answer")?;
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .context("the server's answer was cut off")?
            .to_bytes();
        drop(sender);
        // The answer is whole; how the connection ends does not matter.
        let _ = connection.await;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .context("the server's answer is not as expected; is it another version?");
        }
        let problem: ProblemDocument = serde_json::from_slice(&bytes)
            .with_context(|| format!("the server answered {status} without saying why"))?;
        Err(Refused(problem).into())
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
    )
}

/// Sends one request to the server of a data folder.
pub(crate) async fn call<T: DeserializeOwned>(
    place: &Place,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<T> {
    Client::connect(place).await?.call(method, path, body).await
}

/// Every item of a list, page by page.
pub(crate) async fn call_for_all<T: DeserializeOwned>(place: &Place, path: &str) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = format!("{path}?limit={PAGE}&cursor={cursor}");
        let page: ListView<T> = call(place, Method::GET, &page, None).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => cursor = next,
            None => return Ok(items),
        }
    }
}
