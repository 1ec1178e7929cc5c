//! Sealing a key's digest for the database: XChaCha20-Poly1305 with everything that decides as associated data.
//!
//! A row whose scopes, state, organization or version were changed by hand does not open, and what does not open
//! never allows. What this can't see: an older row put back whole, with its old seal; the audit chain's check finds
//! that one.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::key_digest::KeyDigest;
use crate::keyring::Keyring;
use crate::random::{RandomSource, RandomUnavailable};

const NONCE_LENGTH: usize = 24;

/// A sealed digest as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The keyring version it was sealed under.
    pub keyring_version: u32,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

/// A sealed digest does not open: the row, its seal or the keyring is not what it was. Never an allow, never
/// "unknown key".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// The keyring has no such version.
    #[error("the record is sealed under keyring version {0}, which the keyring does not hold")]
    NoSuchVersion(u32),
    /// The row was changed, or the seal belongs to another one.
    #[error("the sealed record does not fit its row: the database was changed by other means")]
    Changed,
}

/// Seals `digest` to `associated`, under the keyring's active version and a random nonce (192 bits, so that
/// repetition is no concern).
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn seal(
    keyring: &Keyring,
    digest: &KeyDigest,
    associated: &[u8],
    random: &mut dyn RandomSource,
) -> Result<Sealed, RandomUnavailable> {
    let keyring_version = keyring.active();
    let key = keyring.sealing_key(keyring_version).ok_or(RandomUnavailable)?;
    Ok(Sealed {
        keyring_version,
        bytes: encrypt(key, digest.bytes(), associated, random)?,
    })
}

/// Nonce and ciphertext of `message` under `key`.
pub(crate) fn encrypt(
    key: &[u8; 32],
    message: &[u8],
    associated: &[u8],
    random: &mut dyn RandomSource,
) -> Result<Vec<u8>, RandomUnavailable> {
    let mut nonce = [0_u8; NONCE_LENGTH];
    random.fill(&mut nonce)?;
    let payload = Payload {
        msg: message,
        aad: associated,
    };
    let ciphertext = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| RandomUnavailable)?;
    let mut bytes = nonce.to_vec();
    bytes.extend_from_slice(&ciphertext);
    Ok(bytes)
}

/// The message that [`encrypt`] was given, if key and `associated` are the same.
pub(crate) fn decrypt(key: &[u8; 32], bytes: &[u8], associated: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LENGTH>()?;
    let payload = Payload {
        msg: ciphertext,
        aad: associated,
    };
    let opened = XChaCha20Poly1305::new(key.into()).decrypt(&XNonce::from(*nonce), payload);
    opened.map(Zeroizing::new).ok()
}

/// Opens what [`seal`] made, if `associated` is still what it was sealed to.
///
/// # Errors
/// [`OpenRefused`].
pub fn open(keyring: &Keyring, sealed: &Sealed, associated: &[u8]) -> Result<KeyDigest, OpenRefused> {
    let key = keyring
        .sealing_key(sealed.keyring_version)
        .ok_or(OpenRefused::NoSuchVersion(sealed.keyring_version))?;
    let opened = decrypt(key, &sealed.bytes, associated).ok_or(OpenRefused::Changed)?;
    let bytes: [u8; 32] = opened.as_slice().try_into().map_err(|_| OpenRefused::Changed)?;
    Ok(KeyDigest::from_opened(bytes))
}
