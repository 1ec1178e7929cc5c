//! One-time links that let a person in who has no passphrase yet, or lost what they had.
//!
//! A link is as good as the person for as long as it lasts, so only a digest of its secret is kept, it is good once, and a later
//! one takes its place. The secret is written in so many characters that the log's last net ([`crate::mask`]) cuts it out.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::audit::hex;
use crate::canonical::Canonical;
use crate::random::{RandomSource, RandomUnavailable};
use crate::secret::{Secret, SignInLinkKind};
use crate::time::DAY_MS;

const SECRET_BYTES: usize = 32;
/// How long a link is good for.
pub const LIFETIME_MS: i64 = DAY_MS;

/// What whoever opens the link can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPurpose {
    /// Set a passphrase; a second factor stays and is asked for.
    SetPassphrase,
    /// Set a passphrase; second factor and recovery codes are removed.
    BeginAnew,
}

impl LinkPurpose {
    /// The name in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SetPassphrase => "set_passphrase",
            Self::BeginAnew => "begin_anew",
        }
    }

    /// The purpose of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::SetPassphrase, Self::BeginAnew]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }
}

/// What is kept of a link's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignInLinkDigest([u8; 32]);

impl SignInLinkDigest {
    /// The digest of a secret that somebody brings; `None` for a text that can't be one.
    pub fn of(text: &str) -> Option<Self> {
        let is_good = text.len() == 2 * SECRET_BYTES
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let bytes = || Canonical::new("keyward sign-in link v1").text(text).finish();
        is_good.then(|| Self(Sha256::digest(Zeroizing::new(bytes()).as_slice()).into()))
    }

    /// The bytes that are stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Draws a link's secret.
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn new_link_secret(random: &mut dyn RandomSource) -> Result<Secret<SignInLinkKind>, RandomUnavailable> {
    let mut drawn = Zeroizing::new([0_u8; SECRET_BYTES]);
    random.fill(drawn.as_mut())?;
    Ok(Secret::new(hex(drawn.as_slice())))
}
