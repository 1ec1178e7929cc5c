//! Typed ids. An id that exists is well formed: it was parsed at the edge and is never checked again.
//!
//! An [`OrganizationId`] has no underscore, because the official client cuts `{organization}_{dataset}` at the last
//! one and puts ids into paths unencoded; for the same reason a [`DatasetId`] has none either. Copies of an id share
//! their text, so that a million cached keys of one organization hold its id once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind is 1 to {max} characters of {alphabet}")]
pub struct IdRefused {
    max: usize,
    alphabet: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, max $max:literal, $alphabet:literal, $accepts:expr, first $first:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdRefused;
            fn from_str(text: &str) -> Result<Self, IdRefused> {
                let accepts: fn(u8) -> bool = $accepts;
                let accepts_first: fn(u8) -> bool = $first;
                if (1..=$max).contains(&text.len())
                    && text.bytes().all(accepts)
                    && text.bytes().next().is_some_and(accepts_first)
                {
                    Ok(Self(text.into()))
                } else {
                    Err(IdRefused { max: $max, alphabet: $alphabet })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdRefused;
            fn try_from(text: String) -> Result<Self, IdRefused> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An organization's id, for instance `org-123`; it never changes, the display name may.
    ///
    /// It does not begin with a hyphen: `-` alone is the audit chain of what belongs to no organization, and a
    /// command line would take the id for an option.
    OrganizationId, max 64, "`A-Z a-z 0-9 -`, beginning with a letter or digit",
    |byte| byte.is_ascii_alphanumeric() || byte == b'-', first |byte| byte != b'-'
);
text_id!(
    /// A dataset's id as the user knows it, without the organization's prefix.
    DatasetId, max 190, "`A-Z a-z 0-9 -`",
    |byte| byte.is_ascii_alphanumeric() || byte == b'-', first |_| true
);
text_id!(
    /// The id of any resource a rule can name. The official client accepts the same alphabet and length.
    ResourceId, max 255, "`A-Z a-z 0-9 _ -`",
    |byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_', first |_| true
);
text_id!(
    /// A person's id.
    PersonId, max 64, "`A-Z a-z 0-9 -`",
    |byte| byte.is_ascii_alphanumeric() || byte == b'-', first |_| true
);
text_id!(
    /// An invitation's id; not its secret.
    InvitationId, max 64, "`A-Z a-z 0-9 -`",
    |byte| byte.is_ascii_alphanumeric() || byte == b'-', first |_| true
);
text_id!(
    /// A session's id; not its token.
    SessionId, max 64, "`A-Z a-z 0-9 -`",
    |byte| byte.is_ascii_alphanumeric() || byte == b'-', first |_| true
);
text_id!(
    /// The id of one request; the same text is in the log, in the audit trail and in the reply.
    RequestId, max 64, "`A-Z a-z 0-9 -`",
    |byte| byte.is_ascii_alphanumeric() || byte == b'-', first |_| true
);

/// Characters of a key's id: ten random ones and six of a MAC over them.
pub const KEY_ID_LENGTH: usize = 16;

/// The public id of a secret key: the same for every secret of one key. Sixteen characters of `0-9a-z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; KEY_ID_LENGTH]);

impl KeyId {
    /// The id in `bytes`, if they are sixteen characters of `0-9a-z`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; KEY_ID_LENGTH] = bytes.try_into().ok()?;
        bytes.iter().all(|byte| is_base36(*byte)).then_some(Self(bytes))
    }

    /// The id that was packed; its characters were checked before.
    pub(crate) const fn of_packed(bytes: [u8; KEY_ID_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The id's characters.
    pub fn as_bytes(&self) -> &[u8; KEY_ID_LENGTH] {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // The characters are ASCII by construction; the empty text is unreachable and harmless.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Spreads the id over 64 bits for a hash table. The ids are random already, but a character carries
    /// only five bits of that, so that its plain bytes would fill few buckets.
    pub fn spread(&self) -> u64 {
        let whole = u128::from_le_bytes(self.0);
        let folded = (whole as u64) ^ ((whole >> 64) as u64).rotate_left(29);
        let mixed = folded.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 32)
    }
}

pub(crate) fn is_base36(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_lowercase()
}

impl FromStr for KeyId {
    type Err = IdRefused;
    fn from_str(text: &str) -> Result<Self, IdRefused> {
        Self::from_bytes(text.as_bytes()).ok_or(IdRefused {
            max: KEY_ID_LENGTH,
            alphabet: "`0-9 a-z`, always 16",
        })
    }
}

impl TryFrom<String> for KeyId {
    type Error = IdRefused;
    fn try_from(text: String) -> Result<Self, IdRefused> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.as_str().to_owned()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({})", self.as_str())
    }
}

/// The public id of a management token: made and marked like a key's, so that a forged one ends without a look-up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(KeyId);

impl TokenId {
    /// The id in a token's text, which has the form of a key's.
    pub const fn of_text(id: KeyId) -> Self {
        Self(id)
    }

    /// The id in the form that texts are made with.
    pub const fn as_key_id(self) -> KeyId {
        self.0
    }

    /// The id's characters.
    pub fn as_bytes(&self) -> &[u8; KEY_ID_LENGTH] {
        self.0.as_bytes()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for TokenId {
    type Err = IdRefused;
    fn from_str(text: &str) -> Result<Self, IdRefused> {
        text.parse().map(Self)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenId({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_id_is_plain_letters_digits_and_hyphens() {
        assert!("org-123".parse::<OrganizationId>().is_ok());
        for bad in [
            "",
            "-",
            "-a",
            "a_b",
            "a/b",
            "..",
            "a b",
            "é",
            "a%2fb",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<OrganizationId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_id_is_sixteen_of_base_36() {
        assert!("0123456789abcdef".parse::<KeyId>().is_ok());
        for bad in [
            "",
            "0123456789abcde",
            "0123456789abcdeF",
            "0123456789abcdef0",
            "0123456789abcde-",
        ] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }
}
