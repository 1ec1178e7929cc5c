//! Sessions of people: what a browser brings, what is kept of it, and when a session is over.
//!
//! Only a digest of the token is kept: whoever reads the database can't go on in anybody's session. A session is over when it was
//! not used for a while, and at its absolute end whatever happens. Nothing lengthens the latter.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::canonical::Canonical;
use crate::random::{RandomSource, RandomUnavailable};
use crate::secret::{Secret, SessionKind};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// A session that was not used for so long is over.
pub const IDLE_MS: i64 = 12 * HOUR_MS;
/// A session is over so long after it began, whatever happens.
pub const ABSOLUTE_MS: i64 = 7 * DAY_MS;
/// How long there is to give the second factor after the passphrase.
pub const HALF_MS: i64 = 10 * MINUTE_MS;
/// That a session was used is written at most so often.
pub const TOUCH_EVERY_MS: i64 = MINUTE_MS;
/// Most sessions of a person whose second factor is still to come.
pub const MAX_HALF: i64 = 5;
/// Most sessions of a person that are whole.
pub const MAX_WHOLE: i64 = 20;

/// How far somebody has signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStage {
    /// All the way.
    Whole,
    /// The passphrase was right; a code is still to come, and nothing else is open before it.
    NeedsSecondFactor,
}

impl SessionStage {
    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::NeedsSecondFactor => "half",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Whole, Self::NeedsSecondFactor]
            .into_iter()
            .find(|stage| stage.name() == name)
    }

    /// How long a session of this stage lasts at most.
    pub const fn lifetime_ms(self) -> i64 {
        match self {
            Self::Whole => ABSOLUTE_MS,
            Self::NeedsSecondFactor => HALF_MS,
        }
    }
}

/// Whether a session that was last seen and ends at these moments is over at `now`.
pub fn is_over(now: Timestamp, last_seen_at: Timestamp, ends_at: Timestamp) -> bool {
    now >= ends_at || now >= last_seen_at.plus_ms(IDLE_MS)
}

/// What is kept of a session's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionDigest([u8; 32]);

impl SessionDigest {
    /// The digest of a token that somebody brings; `None` for a text that can't be one.
    pub fn of(token: &Secret<SessionKind>) -> Option<Self> {
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(token.reveal()).ok()?);
        let bytes = || Canonical::new("keyward session v1").text(token.reveal()).finish();
        (decoded.len() == TOKEN_BYTES)
            .then(|| Self(Sha256::digest(Zeroizing::new(bytes()).as_slice()).into()))
    }

    /// The bytes that are stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Draws a session's token.
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn new_session_token(random: &mut dyn RandomSource) -> Result<Secret<SessionKind>, RandomUnavailable> {
    let mut drawn = Zeroizing::new([0_u8; TOKEN_BYTES]);
    random.fill(drawn.as_mut())?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(drawn.as_slice())))
}
