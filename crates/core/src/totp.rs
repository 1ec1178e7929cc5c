//! One-time codes of an authenticator app: RFC 6238 with SHA-1, 30 seconds and 6 digits, which every app can do.
//!
//! A code is good for its own step and those beside it, and a step is good once: whoever watched a code being typed can't use it
//! again. The seed has to be kept as it is, so it is sealed under the keyring, bound to its person and to what it is for.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::canonical::Canonical;
use crate::ids::PersonId;
use crate::keyring::Keyring;
use crate::random::{RandomSource, RandomUnavailable};
use crate::seal::{OpenRefused, Sealed, decrypt, encrypt};
use crate::secret::{Secret, TotpSeedKind};
use crate::time::{SECOND_MS, Timestamp};

const SEED_BYTES: usize = 20;
const STEP_MS: i64 = 30 * SECOND_MS;
const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a seed is sealed for. One that is only offered must not open as one that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedStanding {
    /// Its codes are asked for.
    On,
    /// It was shown, and nobody gave a code of it yet.
    Offered,
}

impl SeedStanding {
    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Offered => "offered",
        }
    }

    /// The standing of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::On, Self::Offered]
            .into_iter()
            .find(|standing| standing.name() == name)
    }
}

/// A seed. Its memory is cleared, and it can't be printed.
#[derive(Clone)]
pub struct TotpSeed(Zeroizing<[u8; SEED_BYTES]>);

impl std::fmt::Debug for TotpSeed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TotpSeed")
    }
}

impl TotpSeed {
    /// A new one.
    ///
    /// # Errors
    /// [`RandomUnavailable`] from the source.
    pub fn generate(random: &mut dyn RandomSource) -> Result<Self, RandomUnavailable> {
        let mut bytes = Zeroizing::new([0_u8; SEED_BYTES]);
        random.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// The text that is typed into an app.
    pub fn base32(&self) -> Secret<TotpSeedKind> {
        Secret::new(base32(self.0.as_ref()))
    }

    /// The seed that [`TotpSeed::base32`] gave, as an app reads it. The product never needs this; its tests and whoever builds an app do.
    pub fn from_base32(text: &Secret<TotpSeedKind>) -> Option<Self> {
        let (mut bytes, mut held, mut bits) = (Zeroizing::new(Vec::with_capacity(SEED_BYTES)), 0_u32, 0_u32);
        for digit in text.reveal().bytes() {
            let value = BASE32.iter().position(|known| *known == digit)?;
            held = (held << 5) | u32::try_from(value).ok()?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            }
            held &= (1 << bits) - 1;
        }
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// The address that an app reads from a picture. It holds the seed.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let seed = self.base32();
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={}",
            seed.reveal(),
            STEP_MS / SECOND_MS,
            issuer = percent_encoded(issuer),
            account = percent_encoded(account),
        ))
    }

    /// The code that an app shows at a moment; for tests and for whoever builds an app.
    pub fn code_at(&self, now: Timestamp) -> String {
        self.code_of_step(step_at(now))
    }

    /// The step that `code` is of at `now`, if it is later than `last_step`. Every step that counts is compared, whichever fits.
    pub fn step_of(&self, code: &str, now: Timestamp, last_step: i64) -> Option<i64> {
        let current = step_at(now);
        [current - 1, current, current + 1]
            .into_iter()
            .fold(None, |found, step| {
                let is_it = bool::from(self.code_of_step(step).as_bytes().ct_eq(code.as_bytes()));
                if is_it && step > last_step {
                    Some(step)
                } else {
                    found
                }
            })
    }

    fn code_of_step(&self, step: i64) -> String {
        // HMAC takes a key of any length, so this can't fail; the empty code is nobody's.
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(self.0.as_ref()) else {
            return String::new();
        };
        mac.update(&step.to_be_bytes());
        let hash: [u8; 20] = mac.finalize().into_bytes().into();
        let offset = usize::from(hash.last().copied().unwrap_or_default() & 0x0f);
        let cut = hash.get(offset..).and_then(|rest| rest.first_chunk::<4>());
        let number = cut.map_or(0, |bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff);
        format!("{:0DIGITS$}", number % MODULUS)
    }

    /// Seals it for a person's row.
    ///
    /// # Errors
    /// [`RandomUnavailable`] from the source.
    pub fn seal(
        &self,
        keyring: &Keyring,
        (person, standing): (&PersonId, SeedStanding),
        random: &mut dyn RandomSource,
    ) -> Result<Sealed, RandomUnavailable> {
        let keyring_version = keyring.active();
        let key = keyring.sealing_key(keyring_version).ok_or(RandomUnavailable)?;
        Ok(Sealed {
            keyring_version,
            bytes: encrypt(key, self.0.as_ref(), &binding(person, standing), random)?,
        })
    }

    /// Opens what [`TotpSeed::seal`] made for the same person and standing.
    ///
    /// # Errors
    /// [`OpenRefused`].
    pub fn open(
        keyring: &Keyring,
        sealed: &Sealed,
        (person, standing): (&PersonId, SeedStanding),
    ) -> Result<Self, OpenRefused> {
        let key = keyring
            .sealing_key(sealed.keyring_version)
            .ok_or(OpenRefused::NoSuchVersion(sealed.keyring_version))?;
        let opened = decrypt(key, &sealed.bytes, &binding(person, standing)).ok_or(OpenRefused::Changed)?;
        let bytes: [u8; SEED_BYTES] = opened.as_slice().try_into().map_err(|_| OpenRefused::Changed)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

fn binding(person: &PersonId, standing: SeedStanding) -> Vec<u8> {
    Canonical::new("keyward totp seed v1")
        .text(person.as_str())
        .text(standing.name())
        .finish()
}

const fn step_at(now: Timestamp) -> i64 {
    now.as_unix_ms().div_euclid(STEP_MS)
}

/// Base 32 (RFC 4648) without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let (mut text, mut held, mut bits) = (String::with_capacity(bytes.len() * 8 / 5 + 1), 0_u32, 0_u32);
    let mut push = |five_bits: u32| {
        let digit = BASE32.get((five_bits & 31) as usize);
        text.extend(digit.map(|byte| char::from(*byte)));
    };
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(held >> bits);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        push(held << (5 - bits));
    }
    text
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed of the examples in RFC 6238, appendix B.
    fn rfc() -> TotpSeed {
        TotpSeed(Zeroizing::new(*b"12345678901234567890"))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(seconds * SECOND_MS)
    }

    #[test]
    fn the_examples_of_the_standard_come_out() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(rfc().code_at(at(seconds)), code);
        }
        assert_eq!(rfc().base32().reveal(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let back = TotpSeed::from_base32(&rfc().base32()).unwrap();
        assert_eq!(back.0.as_ref(), rfc().0.as_ref());
        assert!(TotpSeed::from_base32(&Secret::new("GEZD1".to_owned())).is_none());
        for (plain, text) in [
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), text);
        }
    }

    #[test]
    fn a_code_is_good_beside_its_step_and_each_step_once() {
        let (seed, noon) = (rfc(), at(1_800_000_000));
        let code = seed.code_at(noon);
        let step = seed.step_of(&code, noon, 0).unwrap();
        assert_eq!(step, 60_000_000);
        assert_eq!(seed.step_of(&code, noon.plus_ms(59_999), 0), Some(step));
        assert_eq!(seed.step_of(&code, noon.plus_ms(-30_000), 0), Some(step));
        assert_eq!(seed.step_of(&code, noon.plus_ms(60_000), 0), None);
        assert_eq!(seed.step_of(&code, noon.plus_ms(-30_001), 0), None);
        assert_eq!(seed.step_of(&code, noon, step), None, "it was used");
        for bad in ["", "12345", "1234567", "abcdef"] {
            assert_eq!(seed.step_of(bad, noon, 0), None);
        }
    }

    #[test]
    fn a_sealed_seed_opens_for_its_person_and_standing_alone() {
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
        let random = &mut Counting(1);
        let keyring = Keyring::generate(random, at(0)).unwrap();
        let (ada, bob): (PersonId, PersonId) = ("ada".parse().unwrap(), "bob".parse().unwrap());
        let sealed = rfc().seal(&keyring, (&ada, SeedStanding::On), random).unwrap();
        let open = |person, standing| TotpSeed::open(&keyring, &sealed, (person, standing));
        assert_eq!(
            open(&ada, SeedStanding::On).unwrap().base32().reveal(),
            rfc().base32().reveal()
        );
        assert!(open(&bob, SeedStanding::On).is_err());
        assert!(open(&ada, SeedStanding::Offered).is_err());
        assert_eq!(format!("{:?}", rfc()), "TotpSeed");
    }

    #[test]
    fn the_address_is_one_that_apps_read() {
        let uri = rfc().uri("Keyward kw.example.com", "ada+1@example.com");
        assert_eq!(
            uri.as_str(),
            "otpauth://totp/Keyward%20kw.example.com:ada%2B1%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Keyward%20kw.example.com&algorithm=SHA1&digits=6&period=30"
        );
    }
}
