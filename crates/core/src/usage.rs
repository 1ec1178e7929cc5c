//! What is counted about the use of keys: for what, with which outcome, from where, by which client, in which hour.
//!
//! The words that memory, database and API share, small enough to be copied on the way of a verify. Counting itself is
//! the engine's. What a caller sends about itself (its `User-Agent`) is made harmless here, before it is kept anywhere.

use std::fmt;

use crate::address::CallerAddress;
use crate::decision::Purpose;
use crate::operation::Operation;
use crate::refusal::Code;
use crate::time::{HOUR_MS, Timestamp};

/// Longest name of a client that is kept, in bytes.
pub const MAX_CLIENT_BYTES: usize = 39;
/// How much of a `User-Agent` is looked at.
const MAX_READ: usize = 512;
/// Where detail was not kept because a key had too many different ones in one hour.
pub const OTHER: &str = "(other)";
/// So many different addresses and clients of one key are kept apart in one hour; further ones count as [`OTHER`].
pub const DETAILS_PER_KEY_AND_HOUR: usize = 64;
/// The same for attempts of which only the key's id matched: ids are public, and whoever knows one must not be able to use
/// up the room of those who hold the key.
pub const STRANGE_DETAILS_PER_KEY_AND_HOUR: usize = 16;
/// Stands for a secret's number where only the key's id matched.
pub const NO_SECRET: i64 = 0;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UsedFor {
    /// To learn whether the key is accepted.
    Identify,
    /// An operation of the resource API.
    Perform(Operation),
}

impl UsedFor {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Identify).chain(Operation::ALL.map(Self::Perform))
    }

    /// `identify`, or the operation's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Perform(operation) => operation.name(),
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|one| one.name() == name)
    }
}

impl From<Purpose<'_>> for UsedFor {
    fn from(purpose: Purpose<'_>) -> Self {
        match purpose {
            Purpose::Identify => Self::Identify,
            Purpose::Perform { operation, .. } => Self::Perform(operation),
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The key was accepted.
    Accepted,
    /// It was refused.
    Refused(Code),
}

impl Outcome {
    /// `ok`, or the refusal's code.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "ok",
            Self::Refused(code) => code.name(),
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == Self::Accepted.name() {
            return Some(Self::Accepted);
        }
        let code = Code::ALL.into_iter().find(|code| code.name() == name);
        code.map(Self::Refused)
    }
}

/// What a client calls itself: the beginning of its `User-Agent`, printable ASCII alone. Never a secret, never a control
/// character; whoever shows it need not fear it in a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName {
    length: u8,
    bytes: [u8; MAX_CLIENT_BYTES],
}

impl ClientName {
    /// The client did not say.
    pub const NONE: Self = Self::literal("(none)");
    /// One of many.
    pub const OTHER: Self = Self::literal(OTHER);
    /// What was sent looked like a secret.
    pub const MASKED: Self = Self::literal("(masked)");

    const fn literal(text: &str) -> Self {
        let (source, mut bytes, mut at) = (text.as_bytes(), [0; MAX_CLIENT_BYTES], 0);
        while at < source.len() && at < MAX_CLIENT_BYTES {
            #[expect(
                clippy::indexing_slicing,
                reason = "both bounds are checked; a const fn has no iterator"
            )]
            {
                bytes[at] = source[at];
            }
            at += 1;
        }
        Self {
            length: at as u8,
            bytes,
        }
    }

    /// The name in a `User-Agent` header. What holds one of `secret_prefixes` before an underscore is not kept.
    pub fn from_user_agent(header: Option<&[u8]>, secret_prefixes: [&[u8]; 2]) -> Self {
        let Some(header) = header.map(<[u8]>::trim_ascii).filter(|text| !text.is_empty()) else {
            return Self::NONE;
        };
        let read = header.get(..MAX_READ).unwrap_or(header);
        let mut pieces = read.split(|byte| *byte == b'_');
        let last = pieces.next_back();
        let is_prefixed = |piece: &[u8]| secret_prefixes.iter().any(|prefix| piece.ends_with(prefix));
        if last.is_some() && pieces.any(is_prefixed) {
            return Self::MASKED;
        }
        let mut bytes = [0; MAX_CLIENT_BYTES];
        let mut length = 0;
        for (place, byte) in bytes.iter_mut().zip(read) {
            let is_plain = byte.is_ascii_graphic() || *byte == b' ';
            // Our own words begin with a bracket; nobody else's do.
            let is_kept = is_plain && !(length == 0 && *byte == b'(');
            *place = if is_kept { *byte } else { b'?' };
            length += 1;
        }
        Self { length, bytes }
    }

    /// The name that [`ClientName::as_str`] gave once.
    pub fn from_stored(text: &str) -> Self {
        let mut bytes = [0; MAX_CLIENT_BYTES];
        let mut length = 0;
        for (place, byte) in bytes.iter_mut().zip(text.bytes().filter(u8::is_ascii)) {
            *place = byte;
            length += 1;
        }
        Self { length, bytes }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        // ASCII by construction; the empty text is unreachable and harmless.
        std::str::from_utf8(text).unwrap_or_default().trim_end()
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ClientName({})", self.as_str())
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// From where and by whom, as far as it is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// This address and client.
    Of(CallerAddress, ClientName),
    /// One of those beyond [`DETAILS_PER_KEY_AND_HOUR`].
    Other,
}

impl Source {
    /// The source of which these are the texts; an address that is none counts as unknown.
    pub fn from_texts(address: &str, client: &str) -> Self {
        if address == OTHER {
            return Self::Other;
        }
        let address = address
            .parse()
            .map_or(CallerAddress::Unknown, CallerAddress::Known);
        Self::Of(address, ClientName::from_stored(client))
    }

    /// The address as text: an IP address, `unknown`, or [`OTHER`].
    pub fn address(&self) -> String {
        match self {
            Self::Of(address, _) => address.to_string(),
            Self::Other => OTHER.to_owned(),
        }
    }

    /// The client.
    pub const fn client(&self) -> ClientName {
        match self {
            Self::Of(_, client) => *client,
            Self::Other => ClientName::OTHER,
        }
    }
}

/// The number of whole hours since the start of Unix time.
pub const fn hour_of(at: Timestamp) -> i64 {
    at.as_unix_ms().div_euclid(HOUR_MS)
}

/// When an hour began.
pub const fn start_of_hour(hour: i64) -> Timestamp {
    Timestamp::from_unix_ms(hour.saturating_mul(HOUR_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: &str) -> String {
        let name = ClientName::from_user_agent(Some(header.as_bytes()), [b"dtvi", b"kwmt"]);
        name.as_str().to_owned()
    }

    #[test]
    fn a_client_is_the_harmless_beginning_of_what_it_says() {
        assert_eq!(client("vi-sdk/0.1.0b7 python/3.11"), "vi-sdk/0.1.0b7 python/3.11");
        assert_eq!(client("  curl/8.1  "), "curl/8.1");
        assert_eq!(client("a\u{1b}[31mred\nb"), "a?[31mred?b");
        assert_eq!(client("(other)"), "?other)");
        assert_eq!(client(&"x".repeat(5_000)).len(), MAX_CLIENT_BYTES);
        assert_eq!(client("sn\u{f6}w"), "sn??w");
        assert_eq!(client("   "), "(none)");
        assert_eq!(ClientName::from_user_agent(None, [b"a", b"b"]), ClientName::NONE);
    }

    #[test]
    fn what_looks_like_a_secret_is_not_kept() {
        assert_eq!(client("agent dtvi_MDl1MDAwMDAw"), "(masked)");
        assert_eq!(client("kwmt_x"), "(masked)");
        assert_eq!(client("my_agent/1"), "my_agent/1");
    }

    #[test]
    fn names_read_back() {
        for one in UsedFor::all() {
            assert_eq!(UsedFor::from_name(one.name()), Some(one));
        }
        for code in Code::ALL {
            let refused = Outcome::Refused(code);
            assert_eq!(Outcome::from_name(refused.name()), Some(refused));
        }
        assert_eq!(Outcome::from_name("ok"), Some(Outcome::Accepted));
        assert_eq!(Outcome::from_name("fine"), None);
    }

    #[test]
    fn a_source_reads_back() {
        let client = ClientName::from_user_agent(Some(b"curl/8.1 (x)"), [b"a", b"b"]);
        for source in [
            Source::Other,
            Source::Of(CallerAddress::Unknown, ClientName::NONE),
            Source::Of(CallerAddress::Known([203, 0, 113, 9].into()), client),
        ] {
            let texts = (source.address(), source.client());
            assert_eq!(Source::from_texts(&texts.0, texts.1.as_str()), source);
        }
    }

    #[test]
    fn an_hour_begins_at_its_first_millisecond() {
        let at = Timestamp::from_unix_ms(3 * HOUR_MS + 1);
        assert_eq!(hour_of(at), 3);
        assert_eq!(start_of_hour(3).as_unix_ms(), 3 * HOUR_MS);
        assert_eq!(hour_of(Timestamp::from_unix_ms(-1)), -1);
    }
}
