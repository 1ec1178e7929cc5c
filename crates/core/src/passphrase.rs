//! Passphrases of people: which are good enough, and what is kept of one.
//!
//! What is kept is a PHC string of Argon2id, with its own salt and parameters, so that parameters can be raised later:
//! [`is_outdated`] tells which strings are to be made anew at the next sign-in. Hashing is slow and takes memory on purpose; who
//! may ask for it, and how many at once, is decided elsewhere. Nothing here changes a passphrase that was typed.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::email::EmailAddress;
use crate::random::{RandomSource, RandomUnavailable};
use crate::secret::{PassphraseKind, Secret};

/// Fewest and most characters.
pub const LENGTH_BOUNDS: (usize, usize) = (12, 256);
/// Characters that are looked at to see how easily it is guessed; what comes after them only makes it harder.
const WEIGHED: usize = 100;
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// A hash that no passphrase has: what is compared where there is none, so that an address that nobody has costs the same time.
pub const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$a2V5d2FyZCBub2JvZHkhIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a passphrase is not good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseRefused {
    /// Too few or too many characters.
    #[error("must be 12 to 256 characters; several words that you remember are best")]
    Length,
    /// It is the e-mail address.
    #[error("must not be your e-mail address")]
    Email,
    /// One character over and over.
    #[error("must not be one character repeated")]
    Repeated,
    /// Among the first that somebody would try.
    #[error("is too easily guessed; take several words that do not belong together")]
    Guessable,
}

/// Whether a passphrase is good enough for whoever has this address.
///
/// # Errors
/// [`PassphraseRefused`].
pub fn check(passphrase: &Secret<PassphraseKind>, email: &EmailAddress) -> Result<(), PassphraseRefused> {
    let text = passphrase.reveal();
    let (fewest, most) = LENGTH_BOUNDS;
    // Counting ends early: a text of megabytes is refused at its 257th character.
    if !(fewest..=most).contains(&text.chars().take(most + 1).count()) {
        return Err(PassphraseRefused::Length);
    }
    if text.trim().to_lowercase() == email.as_str() {
        return Err(PassphraseRefused::Email);
    }
    let mut characters = text.chars();
    let first = characters.next();
    if characters.all(|character| Some(character) == first) {
        return Err(PassphraseRefused::Repeated);
    }
    // It asks the system for the year, to recognize dates: the one thing in this crate that does, and it decides nothing but a score.
    let weighed = zeroize::Zeroizing::new(text.chars().take(WEIGHED).collect::<String>());
    let (name, domain) = email.as_str().rsplit_once('@').unwrap_or_default();
    let known = [email.as_str(), name, domain, "keyward"];
    if zxcvbn::zxcvbn(&weighed, &known).score() < zxcvbn::Score::Three {
        return Err(PassphraseRefused::Guessable);
    }
    Ok(())
}

/// The PHC string to be kept of a passphrase.
///
/// # Errors
/// [`RandomUnavailable`] from the source of the salt.
pub fn hash(
    passphrase: &Secret<PassphraseKind>,
    random: &mut dyn RandomSource,
) -> Result<String, RandomUnavailable> {
    let mut salt = [0_u8; SALT_BYTES];
    random.fill(&mut salt)?;
    let hashed = hasher().and_then(|hasher| {
        hasher
            .hash_password_with_salt(passphrase.reveal().as_bytes(), &salt)
            .ok()
    });
    // Parameters, salt and length are constants that fit; what fails here is nothing that may be kept.
    hashed.map(|hashed| hashed.to_string()).ok_or(RandomUnavailable)
}

/// Whether `kept` is of this passphrase. Takes the parameters of `kept`; a text that is no PHC string is of none.
pub fn matches(passphrase: &Secret<PassphraseKind>, kept: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(kept) else {
        return false;
    };
    Argon2::default()
        .verify_password(passphrase.reveal().as_bytes(), &parsed)
        .is_ok()
}

/// Whether `kept` was made with other parameters than a new one would be.
pub fn is_outdated(kept: &str) -> bool {
    let prefix = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$");
    !kept.starts_with(&prefix)
}

fn hasher() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros;
    impl RandomSource for Zeros {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
            bytes.fill(0);
            Ok(())
        }
    }

    fn secret(text: &str) -> Secret<PassphraseKind> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn what_is_short_known_or_monotonous_is_refused() {
        let email: EmailAddress = "somebody.else@example.com".parse().unwrap();
        let checked = |text: &str| check(&secret(text), &email);
        assert_eq!(checked("correct-otter-lamp-41"), Ok(()));
        assert_eq!(checked("übermäßig grüne Waldwege"), Ok(()));
        assert_eq!(checked(&"correct otter lamp 41 ".repeat(11)), Ok(()));
        assert_eq!(checked("elevenchars"), Err(PassphraseRefused::Length));
        assert_eq!(checked(&"xy".repeat(129)), Err(PassphraseRefused::Length));
        assert_eq!(
            checked("Somebody.Else@Example.com"),
            Err(PassphraseRefused::Email)
        );
        assert_eq!(checked(&"x".repeat(40)), Err(PassphraseRefused::Repeated));
        assert_eq!(checked("password1234"), Err(PassphraseRefused::Guessable));
        assert_eq!(checked("qwertyuiop[]"), Err(PassphraseRefused::Guessable));
        assert_eq!(checked("example.com12"), Err(PassphraseRefused::Guessable));
    }

    #[test]
    fn a_hash_is_of_its_passphrase_alone_and_names_its_parameters() {
        let kept = hash(&secret("correct-otter-lamp-41"), &mut Zeros).unwrap();
        assert!(matches(&secret("correct-otter-lamp-41"), &kept));
        assert!(!matches(&secret("correct-otter-lamp-42"), &kept));
        assert!(!is_outdated(&kept));
        assert!(!is_outdated(NOBODYS));
        // It can be read, or comparing with it would cost no time.
        assert!(PasswordHash::new(NOBODYS).is_ok_and(|parsed| parsed.hash.is_some()));
        assert!(!matches(&secret(""), NOBODYS));
        let weaker = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 1, 1, None).unwrap(),
        );
        let weaker = weaker
            .hash_password_with_salt(b"old", &[1; 16])
            .unwrap()
            .to_string();
        assert!(is_outdated(&weaker));
        assert!(matches(&secret("old"), &weaker), "its own parameters are taken");
        assert!(!matches(&secret("old"), "not a hash"));
    }
}
