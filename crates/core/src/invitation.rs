//! Invitations by link: the secret that a link carries, what is kept of it, and what becomes of an invitation.
//!
//! Only a digest is kept. The secret has as much chance in it as a key, so that a plain digest can't be guessed back, and
//! it is written in so many characters that the log's last net ([`crate::mask`]) cuts it out of a path.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::audit::hex;
use crate::canonical::Canonical;
use crate::random::{RandomSource, RandomUnavailable};
use crate::secret::{InvitationKind, Secret};
use crate::time::{DAY_MS, Timestamp};

const SECRET_BYTES: usize = 32;
/// How long an invitation is good for unless it says otherwise.
pub const DEFAULT_LIFETIME_MS: i64 = 7 * DAY_MS;
/// The longest that it may be good for.
pub const MAX_LIFETIME_MS: i64 = 30 * DAY_MS;

/// What is kept of an invitation's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvitationDigest([u8; 32]);

impl InvitationDigest {
    /// The digest of a secret that somebody brings; `None` for a text that can't be one.
    pub fn of(text: &str) -> Option<Self> {
        let is_good = text.len() == 2 * SECRET_BYTES
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let bytes = || Canonical::new("keyward invitation v1").text(text).finish();
        is_good.then(|| Self(Sha256::digest(Zeroizing::new(bytes()).as_slice()).into()))
    }

    /// The bytes that are stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Draws an invitation's secret.
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn new_invitation_secret(
    random: &mut dyn RandomSource,
) -> Result<Secret<InvitationKind>, RandomUnavailable> {
    let mut drawn = Zeroizing::new([0_u8; SECRET_BYTES]);
    random.fill(drawn.as_mut())?;
    Ok(Secret::new(hex(drawn.as_slice())))
}

/// Why an invitation ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationEnd {
    /// Somebody accepted it.
    Accepted,
    /// Somebody took it back, or whoever made it may not make it any more.
    Revoked,
    /// A later invitation of the same address took its place.
    Replaced,
}

impl InvitationEnd {
    const ALL: [Self; 3] = [Self::Accepted, Self::Revoked, Self::Replaced];

    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        }
    }

    /// The end of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.name() == name)
    }
}

/// Why an invitation can't be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvitationOver {
    /// Its time is over.
    #[error("the invitation has expired; ask for a new one")]
    Expired,
    /// It was used.
    #[error("the invitation was accepted already, and is good for one person once")]
    Accepted,
    /// It was taken back.
    #[error("the invitation was taken back; ask whoever sent it")]
    Revoked,
    /// There is a later one.
    #[error("a later invitation took the place of this one; use the link that came last")]
    Replaced,
}

impl InvitationOver {
    /// What is over about an invitation at `now`; `None` if it is good. What ended it counts before its expiry.
    pub fn at(now: Timestamp, end: Option<InvitationEnd>, expires_at: Timestamp) -> Option<Self> {
        match end {
            Some(InvitationEnd::Accepted) => Some(Self::Accepted),
            Some(InvitationEnd::Revoked) => Some(Self::Revoked),
            Some(InvitationEnd::Replaced) => Some(Self::Replaced),
            None if now >= expires_at => Some(Self::Expired),
            None => None,
        }
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        }
    }
}
