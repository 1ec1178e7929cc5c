//! The one type that secrets live in.
//!
//! It has no `Display` and no `Serialize`, its `Debug` prints what kind of secret it is and nothing else, and its
//! memory is cleared on drop. The single way to the text is [`Secret::reveal`], so that every place where a secret
//! leaves can be found by that name.

use std::fmt;
use std::marker::PhantomData;

use zeroize::Zeroizing;

/// What a [`Secret`] is a secret of.
pub trait SecretKind {
    /// The name that `Debug` prints.
    const NAME: &'static str;
}

/// A text that must not be shown; `K` says what it is.
pub struct Secret<K> {
    text: Zeroizing<String>,
    kind: PhantomData<fn() -> K>,
}

impl<K: SecretKind> Secret<K> {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self {
            text: Zeroizing::new(text),
            kind: PhantomData,
        }
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl<K: SecretKind> Clone for Secret<K> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: SecretKind> fmt::Debug for Secret<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret<{}>", K::NAME)
    }
}

/// The kind of a secret key's full text.
pub enum KeyTextKind {}

impl SecretKind for KeyTextKind {
    const NAME: &'static str = "KeyText";
}

/// The kind of an idempotency key: whoever has it and the keyring can open the reply that is kept under it.
pub enum IdempotencyKeyKind {}

impl SecretKind for IdempotencyKeyKind {
    const NAME: &'static str = "IdempotencyKey";
}

/// The kind of a dry run's token: whoever has it can carry out what was shown.
pub enum BulkTokenKind {}

impl SecretKind for BulkTokenKind {
    const NAME: &'static str = "BulkToken";
}

/// The kind of a management token's full text.
pub enum TokenTextKind {}

impl SecretKind for TokenTextKind {
    const NAME: &'static str = "TokenText";
}

/// The kind of the secret in an invitation's link.
pub enum InvitationKind {}

impl SecretKind for InvitationKind {
    const NAME: &'static str = "Invitation";
}

/// The kind of a person's passphrase.
pub enum PassphraseKind {}

impl SecretKind for PassphraseKind {
    const NAME: &'static str = "Passphrase";
}

/// The kind of the token that a browser's session is known by.
pub enum SessionKind {}

impl SecretKind for SessionKind {
    const NAME: &'static str = "Session";
}

/// The kind of the secret in a one-time sign-in link.
pub enum SignInLinkKind {}

impl SecretKind for SignInLinkKind {
    const NAME: &'static str = "SignInLink";
}

/// The kind of a code that stands in once for the second factor.
pub enum RecoveryCodeKind {}

impl SecretKind for RecoveryCodeKind {
    const NAME: &'static str = "RecoveryCode";
}

/// The kind of the seed that an authenticator app counts its codes from.
pub enum TotpSeedKind {}

impl SecretKind for TotpSeedKind {
    const NAME: &'static str = "TotpSeed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_names_the_kind_and_not_the_text() {
        let secret = Secret::<KeyTextKind>::new("dtvi_abc".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret<KeyText>");
        assert_eq!(secret.reveal(), "dtvi_abc");
    }
}
