//! What every route shares: the engine, and how the outside sees this server.

use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use keyward_core::ids::OrganizationId;
use keyward_core::secret::{Secret, SignInLinkKind};
use keyward_core::time::SECOND_MS;
use keyward_engine::Engine;
use tokio::sync::Semaphore;

use crate::refusal_bodies::RefusalBodies;

/// Shared by all routes; one per server.
pub struct Site {
    /// The engine.
    pub engine: Engine,
    /// The only source of absolute addresses, without a final slash; never the `Host` header, which callers choose.
    pub public_url: String,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Room for requests that carry a body; one holds its place until it is answered.
    pub(crate) bodies: Arc<Semaphore>,
    /// Room for those of whom nobody knows who they are, so that they take none from the others.
    pub(crate) strangers_bodies: Arc<Semaphore>,
    /// What strangers are told most.
    pub(crate) refusal_bodies: RefusalBodies,
    /// The second of the last line about a stranger, and how many there were in it.
    strangers: Mutex<(i64, u32)>,
}

/// Lines about strangers in one second of the log.
const STRANGERS_PER_SECOND: u32 = 20;
/// Requests of strangers with a body at a time.
const MAX_STRANGERS_BODIES: usize = 64;
/// Requests with a body at a time.
const MAX_BODIES: usize = 256;

/// How routes hold it.
pub type SharedSite = Arc<Site>;

impl Site {
    /// A site.
    pub fn new(engine: Engine, public_url: String, trusted_proxies: Vec<IpNet>) -> Self {
        Self {
            engine,
            public_url,
            trusted_proxies,
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            strangers_bodies: Arc::new(Semaphore::new(MAX_STRANGERS_BODIES)),
            refusal_bodies: RefusalBodies::new(),
            strangers: Mutex::new((0, 0)),
        }
    }

    /// Whether the log has room for another line about a stranger in this second.
    pub(crate) fn may_log_stranger(&self) -> bool {
        let second = self.engine.now().as_unix_ms() / SECOND_MS;
        let mut last = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != second {
            *last = (second, 0);
        }
        last.1 = last.1.saturating_add(1);
        last.1 <= STRANGERS_PER_SECOND
    }

    /// The page that explains a code.
    pub fn help_url(&self, code: &str) -> String {
        format!("{}/help/errors/{code}", self.public_url)
    }

    /// The address of a page that a person opens in a browser. A loopback address is named `localhost`, because browsers treat that
    /// name as they treat a server with a certificate, cookies included.
    pub fn page_url(&self, path: &str) -> String {
        page_url(&self.public_url, path)
    }

    /// A one-time sign-in link: one of the few places where a secret leaves the server.
    pub fn sign_in_link(&self, secret: &Secret<SignInLinkKind>) -> String {
        self.page_url(&format!("/sign-in/link/{}", secret.reveal()))
    }

    /// The Secret Keys page of an organization. The id is the caller's own claim, so that the address tells nothing.
    pub fn secret_keys_url(&self, organization: Option<&OrganizationId>) -> String {
        let id = organization.map_or("your-organization-id", OrganizationId::as_str);
        format!("{}/org/{id}/settings/secret-keys", self.public_url)
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Site({})", self.public_url)
    }
}

fn page_url(public_url: &str, path: &str) -> String {
    let port = |host: &str| public_url.strip_prefix("http://")?.strip_prefix(host);
    match port("127.0.0.1").or_else(|| port("[::1]")) {
        Some(port) if port.is_empty() || port.starts_with(':') => format!("http://localhost{port}{path}"),
        _ => format!("{public_url}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::page_url;

    #[test]
    fn pages_of_a_loopback_address_are_named_localhost_and_others_as_they_are() {
        for (public_url, page) in [
            ("http://127.0.0.1:8787", "http://localhost:8787/x"),
            ("http://127.0.0.1", "http://localhost/x"),
            ("http://[::1]:80", "http://localhost:80/x"),
            ("http://127.0.0.1.example.com", "http://127.0.0.1.example.com/x"),
            ("https://keys.example.com", "https://keys.example.com/x"),
        ] {
            assert_eq!(page_url(public_url, "/x"), page);
        }
    }
}
