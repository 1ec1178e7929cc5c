//! The proof that a form comes from a page of the very session that sends it.
//!
//! It is a MAC under the session's own secret, so nothing has to be kept: it is the same in every tab and after Back for as long
//! as the session lives, and another session's, one of before the sign-in, or none, does not fit. Compared in constant time.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The name of the field that carries it.
pub(crate) const FIELD: &str = "csrf";

/// The proof, as a hidden field has it. It opens nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Csrf(String);

impl Csrf {
    /// The proof of whoever holds this cookie's secret. `purpose` keeps the proof of a session and that of a visitor who has
    /// not signed in apart.
    pub(crate) fn of(secret: &str, purpose: &str) -> Self {
        // A MAC takes a key of any length; without one nothing would ever fit.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return Self(String::new());
        };
        mac.update(b"keyward console form v1\0");
        mac.update(purpose.as_bytes());
        Self(BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// Whether what a form sent is this proof.
    pub(crate) fn fits(&self, sent: Option<&str>) -> bool {
        let sent = sent.unwrap_or_default();
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(sent.as_bytes()))
    }

    /// For the hidden field.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_proof_fits() {
        let own = Csrf::of("secret-of-a-session", "session");
        assert!(own.fits(Some(own.as_str())));
        for other in [
            Csrf::of("secret-of-another", "session"),
            Csrf::of("secret-of-a-session", "visitor"),
        ] {
            assert!(!own.fits(Some(other.as_str())));
        }
        assert!(!own.fits(None) && !own.fits(Some("")));
    }
}
