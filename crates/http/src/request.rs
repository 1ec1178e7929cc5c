//! What is known of a request before anybody looks at its key: its id, its caller's address, whom it claims to be.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};
use keyward_core::address::{CallerAddress, caller_address};
use keyward_core::ids::{KeyId, OrganizationId, PersonId, RequestId, TokenId};
use keyward_core::key_text::Prefix;
use keyward_core::mask::mask_keys;
use keyward_core::refusal::Refusal;
use keyward_core::usage::ClientName;
use keyward_engine::sign_ins::Arrival;

use crate::credentials::ORGANIZATION_ID;
use crate::site::Site;

/// Longest method that is logged.
const MAX_LOGGED_METHOD: usize = 16;
/// Longest path that is logged.
const MAX_LOGGED_PATH: usize = 300;

/// The address of the other end of the connection; put into the request by whoever accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// One request, for the log and for refusals.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The same in the log, the trail and the reply.
    pub id: RequestId,
    /// Where it comes from.
    pub address: CallerAddress,
    /// What its client calls itself.
    pub client: ClientName,
    /// The organization that it names, if that is an id at all.
    pub organization: Option<OrganizationId>,
    method: Method,
    uri: Uri,
    prefix: Prefix,
    begun: Instant,
}

impl RequestInfo {
    /// Reads the head of a request that came from `peer`.
    pub fn of(site: &Site, parts: &Parts, peer: Option<IpAddr>) -> Self {
        Self {
            id: new_request_id(),
            address: address_of(site, &parts.headers, peer),
            client: client_of(site, &parts.headers),
            organization: named_organization(&parts.headers),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            prefix: site.engine.prefix().clone(),
            begun: Instant::now(),
        }
    }

    /// What the trail is told of whoever signs in with this request.
    pub fn arrival(&self) -> Arrival {
        Arrival {
            request_id: self.id.clone(),
            address: self.address,
        }
    }

    /// The path as it may be logged: masked, of a bounded length, and without the query, which may hold what nobody should
    /// keep.
    fn shown_path(&self) -> String {
        // Masked first: a key that the cut goes through would be too short to be seen as one.
        let without_secret = without_link_secret(self.uri.path());
        let masked = mask_keys(&without_secret, self.prefix.as_str());
        let shown = masked.chars().take(MAX_LOGGED_PATH);
        // Anything but plain characters is left out: what a terminal or a reader of lines obeys must not be in a line.
        shown
            .map(|c| if c.is_ascii_graphic() { c } else { '?' })
            .collect()
    }

    /// Writes the one line that the log has of a finished request. Of strangers, who could fill a disk, so many are shown a
    /// second and the others only at the level `debug`.
    pub fn log_finished(&self, site: &Site, status: u16, code: Option<&'static str>, who: Who) {
        let duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:expr, $($who:tt)*) => {
                tracing::event!(
                    $level,
                    request.id = %self.id,
                    method = %self.shown_method(),
                    path = %self.shown_path(),
                    status,
                    outcome = code.unwrap_or("ok"),
                    $($who)*
                    client.address = %self.address,
                    duration_ms,
                    "request finished"
                )
            };
        }
        match who {
            Who::Stranger if status >= 500 => line!(tracing::Level::WARN,),
            Who::Stranger if site.may_log_stranger() => line!(tracing::Level::INFO,),
            Who::Refused(id) if site.may_log_stranger() => line!(tracing::Level::INFO, key.id = %id,),
            Who::Refused(id) => line!(tracing::Level::DEBUG, key.id = %id,),
            Who::Key(id) => line!(tracing::Level::INFO, key.id = %id,),
            Who::Administrator => line!(tracing::Level::INFO, actor = "local_administrator",),
            Who::Person(id) => line!(tracing::Level::INFO, person.id = %id,),
            Who::Token(id) => line!(tracing::Level::INFO, token.id = %id,),
            Who::Asking(id) if code.is_some() => line!(tracing::Level::INFO, token.id = %id,),
            Who::Asking(id) => line!(tracing::Level::DEBUG, token.id = %id,),
            Who::RefusedToken(id) if site.may_log_stranger() => line!(tracing::Level::INFO, token.id = %id,),
            Who::RefusedToken(id) => line!(tracing::Level::DEBUG, token.id = %id,),
            Who::Stranger => line!(tracing::Level::DEBUG,),
        }
    }

    /// The method; callers can make one up.
    fn shown_method(&self) -> String {
        self.method.as_str().chars().take(MAX_LOGGED_METHOD).collect()
    }
}

/// Who made a request, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Whoever holds this key, which was accepted.
    Key(KeyId),
    /// Whoever reached the socket.
    Administrator,
    /// A member, in whose place the local administrator acts.
    Person(PersonId),
    /// Whoever holds this management token, which was accepted.
    Token(TokenId),
    /// A server that asks about its callers' keys all day with this management token: a line for each would say nothing.
    Asking(TokenId),
    /// Whoever holds this management token, which was refused.
    RefusedToken(TokenId),
    /// Whoever holds this key, which was refused.
    Refused(KeyId),
    /// Nobody knows.
    Stranger,
}

impl Who {
    /// Whoever sent this key and met this refusal.
    pub fn refused(id: KeyId, refusal: &Refusal) -> Self {
        if refusal.is_of_holder() {
            Self::Refused(id)
        } else {
            Self::Stranger
        }
    }
}

/// A new request id: time-ordered, 32 hexadecimal digits, the form of a W3C trace id.
pub fn new_request_id() -> RequestId {
    let text = uuid::Uuid::now_v7().simple().to_string();
    #[expect(clippy::expect_used, reason = "32 hexadecimal digits are an id")]
    text.parse().expect("hexadecimal digits are an id")
}

/// Paths after which the secret of a link stands.
const LINKS: [&str; 2] = ["/sign-in/link/", "/invitations/"];

/// A path without the secret of a link, whatever it looks like: also a part of one must not be kept.
fn without_link_secret(path: &str) -> Cow<'_, str> {
    // Wherever it stands, and after however many slashes: a proxy may put a path of its own before ours.
    let cut = LINKS.iter().find_map(|link| {
        let (before, rest) = path.split_once(link)?;
        let rest = rest.trim_start_matches('/');
        let end = rest.find('/').unwrap_or(rest.len());
        let after = rest.get(end..).unwrap_or_default();
        (end > 0).then(|| Cow::Owned(format!("{before}{link}...{after}")))
    });
    cut.unwrap_or(Cow::Borrowed(path))
}

/// The other end of the connection, if whoever accepted it said so.
pub fn peer_of(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Peer>().map(|Peer(address)| *address)
}

/// The caller's address; unknown if nobody said who the other end is.
pub fn address_of(site: &Site, headers: &HeaderMap, peer: Option<IpAddr>) -> CallerAddress {
    let Some(peer) = peer else {
        return CallerAddress::Unknown;
    };
    let lines = headers.get_all("x-forwarded-for");
    caller_address(
        peer,
        &site.trusted_proxies,
        lines.iter().map(HeaderValue::as_bytes),
    )
}

/// What the client calls itself.
pub fn client_of(site: &Site, headers: &HeaderMap) -> ClientName {
    let user_agent = headers.get(http::header::USER_AGENT);
    site.engine.client_of(user_agent.map(HeaderValue::as_bytes))
}

fn named_organization(headers: &HeaderMap) -> Option<OrganizationId> {
    headers.get(ORGANIZATION_ID)?.to_str().ok()?.parse().ok()
}
