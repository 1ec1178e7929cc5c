//! Idempotency keys: a retried request for a key gets the first one's value back, and nobody else does.
//!
//! The caller's idempotency key is not kept, only a digest of it. The value is sealed under a key derived from it and from the
//! keyring (R7), so that the database together with the keyring does not open it, nor the idempotency key alone. The value is
//! open to a replay for [`VALUE_LIFE_MS`]; after that the outcome comes without it.

use sha2::{Digest, Sha256};

use crate::canonical::Canonical;
use crate::ids::OrganizationId;
use crate::keyring::Keyring;
use crate::random::{RandomSource, RandomUnavailable};
use crate::seal::{Sealed, decrypt, encrypt};
use crate::secret::{IdempotencyKeyKind, KeyTextKind, Secret};
use crate::time::{DAY_MS, MINUTE_MS};

/// For how long a replay gets the value.
pub const VALUE_LIFE_MS: i64 = 10 * MINUTE_MS;
/// For how long a replay gets the outcome; then the idempotency key is forgotten.
pub const OUTCOME_LIFE_MS: i64 = 30 * DAY_MS;

/// Fewest characters that 128 bits can stand in, in base 64 without padding.
const SHORTEST: usize = 22;
const LONGEST: usize = 255;
const LABEL: &str = "keyward idempotency v1";

/// The text is no idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is {SHORTEST} to {LONGEST} characters that are not guessable, such as 32 random hexadecimal digits or a UUID; use another \
     one for each thing that is to be made"
)]
pub struct IdempotencyKeyRefused;

/// Reads an idempotency key: printable ASCII of a length that 128 bits can stand in, and not the same few characters over.
///
/// # Errors
/// [`IdempotencyKeyRefused`].
pub fn read_idempotency_key(text: &[u8]) -> Result<Secret<IdempotencyKeyKind>, IdempotencyKeyRefused> {
    let text = std::str::from_utf8(text).map_err(|_| IdempotencyKeyRefused)?;
    // Some put quotes around it, as the draft of the header has it.
    let text = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    let mut distinct: Vec<u8> = text.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let is_good = (SHORTEST..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && distinct.len() >= 6;
    if is_good {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err(IdempotencyKeyRefused)
    }
}

/// What the database knows an attempt by: a digest of the idempotency key and of who sent it, where.
pub fn attempt_digest(
    key: &Secret<IdempotencyKeyKind>,
    principal: &str,
    organization: &OrganizationId,
) -> [u8; 32] {
    let bytes = Canonical::new(LABEL)
        .text(principal)
        .text(organization.as_str())
        .text(key.reveal())
        .finish();
    Sha256::digest(bytes).into()
}

/// What two requests must share to be the same: route, subject and body.
pub fn request_digest(route: &str, subject: &str, body: &[u8]) -> [u8; 32] {
    let bytes = Canonical::new("keyward idempotent request v1")
        .text(route)
        .text(subject)
        .bytes(body)
        .finish();
    Sha256::digest(bytes).into()
}

/// Seals a key's value for replays of the attempt.
///
/// # Errors
/// [`RandomUnavailable`].
pub fn seal_value(
    keyring: &Keyring,
    key: &Secret<IdempotencyKeyKind>,
    attempt: &[u8; 32],
    value: &Secret<KeyTextKind>,
    random: &mut dyn RandomSource,
) -> Result<Sealed, RandomUnavailable> {
    let keyring_version = keyring.active();
    let derived = keyring
        .derived_key(keyring_version, LABEL, key.reveal().as_bytes())
        .ok_or(RandomUnavailable)?;
    Ok(Sealed {
        keyring_version,
        bytes: encrypt(&derived, value.reveal().as_bytes(), attempt, random)?,
    })
}

/// Opens what [`seal_value`] sealed; `None` if the keyring's version is gone, or anything is not as it was.
pub fn open_value(
    keyring: &Keyring,
    key: &Secret<IdempotencyKeyKind>,
    attempt: &[u8; 32],
    sealed: &Sealed,
) -> Option<Secret<KeyTextKind>> {
    let derived = keyring.derived_key(sealed.keyring_version, LABEL, key.reveal().as_bytes())?;
    let opened = decrypt(&derived, &sealed.bytes, attempt)?;
    std::str::from_utf8(&opened)
        .ok()
        .map(|text| Secret::new(text.to_owned()))
}
