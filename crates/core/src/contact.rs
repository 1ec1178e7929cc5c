//! Security contacts: whom an organization wants told, by mail or by a call to an address of theirs.
//!
//! A webhook's address is read more strictly than the standard of URLs asks: what two readers could understand
//! differently is refused, so that what is called is what was shown.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::email::EmailAddress;

/// Longest address of a webhook.
const MAX_URL: usize = 2_000;
/// Longest host name (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;

/// One security contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "address", rename_all = "snake_case")]
pub enum SecurityContact {
    /// Mail goes to this address.
    Email(EmailAddress),
    /// This URL is called.
    Webhook(WebhookUrl),
}

impl SecurityContact {
    /// `email` or `webhook`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Webhook(_) => "webhook",
        }
    }

    /// The address, whose path may be a secret of the one who is called.
    pub fn address(&self) -> &str {
        match self {
            Self::Email(address) => address.as_str(),
            Self::Webhook(url) => url.as_str(),
        }
    }
}

/// The URL of a webhook: https, or http on the machine itself; without user info, without a fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookUrl(String);

/// The text is no URL that a webhook may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a URL such as https://example.com/hook: https (http for this machine itself alone), a host name or address, \
     no user name or password, no fragment, at most 2000 plain characters"
)]
pub struct WebhookRefused;

impl WebhookUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookRefused;
    fn from_str(text: &str) -> Result<Self, WebhookRefused> {
        let is_plain = text.len() <= MAX_URL
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
        let read = || {
            let (scheme, rest) = text.split_once("://")?;
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, _) = rest.split_at_checked(end)?;
            let host = host_of(authority)?;
            let is_safe = match scheme {
                "https" => true,
                "http" => host.is_loopback(),
                _ => false,
            };
            is_safe.then(|| Self(text.to_owned()))
        };
        is_plain.then(read).flatten().ok_or(WebhookRefused)
    }
}

enum Host<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Host<'_> {
    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => *name == "localhost",
            Self::V4(address) => address.is_loopback(),
            Self::V6(address) => address.is_loopback(),
        }
    }
}

/// The host of `host` or `host:port`; user info has an `@`, which no host has.
fn host_of(authority: &str) -> Option<Host<'_>> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        is_port(port).then_some(())?;
        return address.parse().ok().map(Host::V6);
    }
    let (name, port) = authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?;
    is_port(port).then_some(())?;
    if let Ok(address) = name.parse() {
        return Some(Host::V4(address));
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // A name that ends in a number is read as an address by some (`127.1`, `0x7f.1`), and as a name by others.
    let ends_as_name = name
        .rsplit('.')
        .next()
        .is_some_and(|last| !last.starts_with(|c: char| c.is_ascii_digit()));
    (name.len() <= MAX_HOST && name.split('.').all(is_label) && ends_as_name).then_some(Host::Name(name))
}

/// Nothing, or `:` and a port.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        })
}

impl TryFrom<String> for WebhookUrl {
    type Error = WebhookRefused;
    fn try_from(text: String) -> Result<Self, WebhookRefused> {
        text.parse()
    }
}

impl From<WebhookUrl> for String {
    fn from(url: WebhookUrl) -> Self {
        url.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_https_and_http_only_on_the_machine_itself() {
        for good in [
            "https://example.com",
            "https://example.com:8443/hook?a=b%20c",
            "https://hooks.example.com/services/T0/B0/abc",
            "https://10.0.0.7/x",
            "https://[2001:db8::1]:443/",
            "http://localhost:9000/hook",
            "http://127.0.0.1/hook",
            "http://127.8.9.10:1",
            "http://[::1]:9000/hook",
        ] {
            assert_eq!(good.parse::<WebhookUrl>().map(String::from), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "example.com/hook",
            "https://",
            "https:///hook",
            "ftp://example.com/",
            "HTTPS://example.com/",
            "http://example.com/hook",
            "http://localhost.example.com/",
            "http://10.0.0.7/",
            "http://127.0.0.1.example.com/",
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://example.com\\@evil.example/",
            "http://localhost:9000@evil.example/",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://example.com:+1/",
            "https://example.com:/",
            "https://exa mple.com/",
            "https://example..com/",
            "https://example.com/#part",
            "https://example.com/\n",
            "https://bücher.example/",
            "http://127.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://[::1/",
            "https://[localhost]/",
        ] {
            assert_eq!(bad.parse::<WebhookUrl>(), Err(WebhookRefused), "{bad}");
        }
        assert!(
            format!("https://example.com/{}", "x".repeat(2_000))
                .parse::<WebhookUrl>()
                .is_err()
        );
    }
}
