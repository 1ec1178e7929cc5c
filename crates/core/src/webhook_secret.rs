//! The secret that a webhook's calls are signed with, after Standard Webhooks (version `v1`, HMAC-SHA256).
//!
//! Whoever is called checks with it that the call is ours, so we have to keep the secret itself and not a digest: sealed under the
//! keyring, bound to its organization and contact. Its text is shown when it is made and never again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::contact::SecurityContact;
use crate::ids::OrganizationId;
use crate::keyring::Keyring;
use crate::random::{RandomSource, RandomUnavailable};
use crate::seal::{OpenRefused, Sealed, decrypt, encrypt};
use crate::secret::{Secret, SecretKind};

const PREFIX: &str = "whsec_";
const LENGTH: usize = 32;

/// The kind of a webhook's signing secret.
pub enum WebhookSecretKind {}

impl SecretKind for WebhookSecretKind {
    const NAME: &'static str = "WebhookSecret";
}

/// A signing secret. Its memory is cleared, and it can't be printed.
#[derive(Clone)]
pub struct WebhookSecret(Zeroizing<[u8; LENGTH]>);

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("WebhookSecret")
    }
}

impl WebhookSecret {
    /// A new one.
    ///
    /// # Errors
    /// [`RandomUnavailable`] from the source.
    pub fn generate(random: &mut dyn RandomSource) -> Result<Self, RandomUnavailable> {
        let mut bytes = Zeroizing::new([0_u8; LENGTH]);
        random.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// The text that its holder configures.
    pub fn text(&self) -> Secret<WebhookSecretKind> {
        let encoded = Zeroizing::new(STANDARD.encode(self.0.as_ref()));
        Secret::new(format!("{PREFIX}{}", encoded.as_str()))
    }

    /// The value of `webhook-signature` for a message; `id` and `at_seconds` are those of the headers beside it.
    pub fn signature(&self, id: &str, at_seconds: i64, body: &[u8]) -> String {
        sign(self.0.as_ref(), id, at_seconds, body)
    }

    /// Seals it for the row of a contact.
    ///
    /// # Errors
    /// [`RandomUnavailable`] from the source.
    pub fn seal(
        &self,
        keyring: &Keyring,
        (organization, contact): (&OrganizationId, &str),
        random: &mut dyn RandomSource,
    ) -> Result<Sealed, RandomUnavailable> {
        let keyring_version = keyring.active();
        let key = keyring.sealing_key(keyring_version).ok_or(RandomUnavailable)?;
        let binding = binding(organization, contact);
        Ok(Sealed {
            keyring_version,
            bytes: encrypt(key, self.0.as_ref(), binding.as_bytes(), random)?,
        })
    }

    /// Opens what [`WebhookSecret::seal`] made for the same contact.
    ///
    /// # Errors
    /// [`OpenRefused`].
    pub fn open(
        keyring: &Keyring,
        sealed: &Sealed,
        (organization, contact): (&OrganizationId, &str),
    ) -> Result<Self, OpenRefused> {
        let key = keyring
            .sealing_key(sealed.keyring_version)
            .ok_or(OpenRefused::NoSuchVersion(sealed.keyring_version))?;
        let binding = binding(organization, contact);
        let opened = decrypt(key, &sealed.bytes, binding.as_bytes()).ok_or(OpenRefused::Changed)?;
        let bytes: [u8; LENGTH] = opened.as_slice().try_into().map_err(|_| OpenRefused::Changed)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// The id of a contact: the same address has the same one, and it says nothing of the address, whose path may be a secret.
pub fn contact_id(organization: &OrganizationId, contact: &SecurityContact) -> String {
    let named = format!(
        "keyward contact\n{organization}\n{}\n{}",
        contact.kind(),
        contact.address()
    );
    let hash = Sha256::digest(named.as_bytes());
    crate::audit::hex(hash.get(..10).unwrap_or_default())
}

fn binding(organization: &OrganizationId, contact: &str) -> String {
    format!("keyward webhook secret\n{organization}\n{contact}")
}

fn sign(key: &[u8], id: &str, at_seconds: i64, body: &[u8]) -> String {
    // HMAC takes a key of any length, so this can't fail; a signature that nobody accepts would be the result.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(format!("{id}.{at_seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    struct Counting(u8);
    impl RandomSource for Counting {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
            for slot in bytes {
                *slot = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn the_example_of_the_specification_is_signed_as_there() {
        // From the reference implementations' tests: secret `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            sign(
                &key,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_sealed_secret_opens_for_its_own_contact_alone() {
        let random = &mut Counting(1);
        let keyring = Keyring::generate(random, Timestamp::from_unix_ms(0)).unwrap();
        let secret = WebhookSecret::generate(random).unwrap();
        let (own, other): (OrganizationId, OrganizationId) =
            ("org-1".parse().unwrap(), "org-2".parse().unwrap());
        let sealed = secret.seal(&keyring, (&own, "c1"), random).unwrap();
        let opened = WebhookSecret::open(&keyring, &sealed, (&own, "c1")).unwrap();
        assert_eq!(opened.text().reveal(), secret.text().reveal());
        assert!(secret.text().reveal().starts_with("whsec_"));
        assert!(WebhookSecret::open(&keyring, &sealed, (&other, "c1")).is_err());
        assert!(WebhookSecret::open(&keyring, &sealed, (&own, "c2")).is_err());
        assert_eq!(format!("{secret:?}"), "WebhookSecret");
    }
}
