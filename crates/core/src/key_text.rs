//! A secret key's text: `dtvi_` and 98 characters of URL-safe base64, 103 in all.
//!
//! First stop of every verify: a text that is cut, doubled, quoted or mistyped ends here with its defect named,
//! before any hash, cache or database. The 98 characters decode to 73 bytes of `0-9a-z`: 16 of the key's id, 50 of
//! the secret, 7 of a checksum that anybody can check. Nothing here says whether a key exists.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::{KEY_ID_LENGTH, KeyId, TokenId, is_base36};
use crate::key_digest::KeyDigest;
use crate::keyring::Keyring;
use crate::random::{RandomSource, RandomUnavailable, base36_padded, fill_base36};
use crate::secret::{KeyTextKind, Secret, TokenTextKind};

const SECRET_LENGTH: usize = 50;
const CHECKSUM_LENGTH: usize = 7;
const DECODED_LENGTH: usize = KEY_ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH;
const BODY_LENGTH: usize = 98;
/// Random characters of a key's id; the rest of it is a MAC.
pub(crate) const KEY_ID_RANDOM_LENGTH: usize = 10;

/// See [`Prefix::management_token`].
pub const TOKEN_PREFIX: &str = "kwmt";

/// What stands before the underscore: `dtvi`, unless the first start chose another (2 to 10 of `a-z0-9`).
/// The official client accepts no other than `dtvi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(Box<str>);

/// The text is no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key prefix is 2 to 10 characters of `a-z 0-9`, beginning with a letter, and not `kwmt`")]
pub struct PrefixRefused;

impl Prefix {
    /// The prefix that the official client demands.
    pub fn dtvi() -> Self {
        Self("dtvi".into())
    }

    /// The prefix of management tokens, whose texts are made like keys' and are never keys: no installation's keys begin
    /// with it.
    pub fn management_token() -> Self {
        Self(TOKEN_PREFIX.into())
    }

    /// The prefix without its underscore.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length of a whole key text with this prefix.
    pub fn key_length(&self) -> usize {
        self.0.len() + 1 + BODY_LENGTH
    }
}

impl FromStr for Prefix {
    type Err = PrefixRefused;
    fn from_str(text: &str) -> Result<Self, PrefixRefused> {
        let is_good = (2..=10).contains(&text.len())
            && text.bytes().all(is_base36)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text != TOKEN_PREFIX;
        if is_good {
            Ok(Self(text.into()))
        } else {
            Err(PrefixRefused)
        }
    }
}

/// Whether a whole key, of whatever prefix, stands in a text: people paste keys where names and searches belong, and a key must
/// not be kept there.
pub fn holds_key(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    words.filter(|word| word.len() > BODY_LENGTH).any(|word| {
        let Some((prefix, _)) = word.split_once('_') else {
            return false;
        };
        prefix
            .parse()
            .is_ok_and(|prefix| KeyText::parse(word, &prefix).is_ok())
    })
}

/// What is wrong with a text that should be a key; its words go on from a sentence that names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Spaces or line ends before or after it.
    #[error("there are spaces or line ends around it; remove them")]
    SurroundingSpace,
    /// Quotes around it.
    #[error("there are quotes around it; remove them")]
    Quotes,
    /// A space, tab or line end inside.
    #[error("there is a space or line end inside it, at character {position}; copy it again as one line")]
    InnerSpace {
        /// Counted from 1.
        position: usize,
    },
    /// It is a management token, or part of one, where a key belongs.
    #[error("it is a management token, which manages keys and opens nothing; send a secret key")]
    ManagementToken,
    /// It does not begin as keys of this server do.
    #[error("a key of this server begins with `{expected}_`, and this text does not")]
    Prefix {
        /// The prefix of this server.
        expected: String,
    },
    /// Cut, or something was added.
    #[error("it has {got} characters instead of {expected}; copy it again")]
    Length {
        /// Characters of a whole key.
        expected: usize,
        /// Characters that came.
        got: usize,
    },
    /// A character that no key contains.
    #[error("character {position} can't be right; copy it again")]
    Character {
        /// Counted from 1.
        position: usize,
    },
    /// All characters are possible, but together they are no key.
    #[error("its checksum is wrong, so a character was changed; copy it again")]
    Checksum,
}

/// A well-formed key text, with its parts found. Borrowed: nothing is copied on the way to the digest.
#[derive(Clone, Copy)]
pub struct KeyText<'a> {
    text: &'a str,
    id: KeyId,
}

impl<'a> KeyText<'a> {
    /// Parses a key text of this prefix, and names the first defect of anything else.
    ///
    /// # Errors
    /// The defect, in the order in which a person would mend it: space and quotes, prefix, length, characters,
    /// checksum.
    pub fn parse(text: &'a str, prefix: &Prefix) -> Result<Self, Malformed> {
        match decode(text, prefix) {
            Some(id) => Ok(Self { text, id }),
            None => Err(defect_of(text, prefix)),
        }
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The digest that is compared with what is kept.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.text)
    }

    /// What is shown of a key afterwards.
    pub fn hint(&self) -> KeyHint {
        let head_end = self.text.find('_').map_or(0, |at| at + 1 + 6);
        let (head, _) = self.text.split_at_checked(head_end).unwrap_or((self.text, ""));
        let tail_start = self.text.len().saturating_sub(4);
        let (_, tail) = self.text.split_at_checked(tail_start).unwrap_or(("", ""));
        KeyHint {
            head: head.to_owned(),
            tail: tail.to_owned(),
        }
    }
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyText({}...)", self.id)
    }
}

/// The head (the same for every secret of a key) and the tail (checksum only) of a key's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHint {
    /// Prefix and six characters, as the official client masks a key.
    pub head: String,
    /// The last four characters.
    pub tail: String,
}

impl fmt::Display for KeyHint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}...{}", self.head, self.tail)
    }
}

/// Makes an id that was never given before (60 random bits; the database refuses a repetition).
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn new_key_id(keyring: &Keyring, random: &mut dyn RandomSource) -> Result<KeyId, RandomUnavailable> {
    let mut bytes = [b'0'; KEY_ID_LENGTH];
    if let Some((drawn, mac)) = bytes.split_at_mut_checked(KEY_ID_RANDOM_LENGTH) {
        fill_base36(random, drawn)?;
        mac.copy_from_slice(&keyring.key_id_mac(drawn));
    }
    KeyId::from_bytes(&bytes).ok_or(RandomUnavailable)
}

/// Makes a key text for `id` with a new secret: the only place where one is made.
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn new_key_text(
    prefix: &Prefix,
    id: KeyId,
    random: &mut dyn RandomSource,
) -> Result<Secret<KeyTextKind>, RandomUnavailable> {
    Ok(Secret::new(new_text(prefix, id, random)?))
}

/// Makes a management token's text for `id` with a new secret.
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn new_token_text(
    id: TokenId,
    random: &mut dyn RandomSource,
) -> Result<Secret<TokenTextKind>, RandomUnavailable> {
    let text = new_text(&Prefix::management_token(), id.as_key_id(), random)?;
    Ok(Secret::new(text))
}

/// The caller puts it into a [`Secret`] at once.
fn new_text(prefix: &Prefix, id: KeyId, random: &mut dyn RandomSource) -> Result<String, RandomUnavailable> {
    let mut drawn = zeroize::Zeroizing::new([0_u8; SECRET_LENGTH]);
    fill_base36(random, drawn.as_mut())?;
    let mut decoded = zeroize::Zeroizing::new(Vec::with_capacity(DECODED_LENGTH));
    decoded.extend_from_slice(id.as_bytes());
    decoded.extend_from_slice(drawn.as_ref());
    let checksum = checksum(prefix, &decoded);
    decoded.extend_from_slice(&checksum);
    let mut text = String::with_capacity(prefix.key_length());
    text.push_str(prefix.as_str());
    text.push('_');
    URL_SAFE_NO_PAD.encode_string(decoded.as_slice(), &mut text);
    Ok(text)
}

fn checksum(prefix: &Prefix, id_and_secret: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(prefix.as_str().as_bytes());
    crc.update(b"_");
    crc.update(id_and_secret);
    base36_padded(u64::from(crc.finalize()))
}

/// The id of a text that is right in every respect. No allocation.
fn decode(text: &str, prefix: &Prefix) -> Option<KeyId> {
    let body = text.strip_prefix(prefix.as_str())?.strip_prefix('_')?;
    if body.len() != BODY_LENGTH {
        return None;
    }
    let decoded = decode_body(body)?;
    let (id_and_secret, check) = decoded.split_at_checked(KEY_ID_LENGTH + SECRET_LENGTH)?;
    (checksum(prefix, id_and_secret) == check).then_some(())?;
    KeyId::from_bytes(id_and_secret.get(..KEY_ID_LENGTH)?)
}

/// The 73 bytes of a body in canonical form; the decoder refuses trailing bits that are not zero.
fn decode_body(body: &str) -> Option<[u8; DECODED_LENGTH]> {
    // The decoder wants room for whole groups.
    let mut room = [0_u8; DECODED_LENGTH + 3];
    let length = URL_SAFE_NO_PAD.decode_slice(body, &mut room).ok()?;
    let decoded: [u8; DECODED_LENGTH] = room.get(..length)?.try_into().ok()?;
    // Without an early end, so that the compiler looks at many bytes at a time.
    let is_good = decoded
        .iter()
        .fold(true, |is_good, byte| is_good & is_base36(*byte));
    is_good.then_some(decoded)
}

/// Names what is wrong with a text that [`decode`] refused. Only the way of a refusal comes here.
fn defect_of(text: &str, prefix: &Prefix) -> Malformed {
    let is_quote = |c: char| {
        matches!(
            c,
            '"' | '\'' | '`' | '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}'
        )
    };
    if text.trim() != text {
        return Malformed::SurroundingSpace;
    }
    if text.starts_with(is_quote) || text.ends_with(is_quote) {
        return Malformed::Quotes;
    }
    if let Some(at) = text.chars().position(char::is_whitespace) {
        return Malformed::InnerSpace { position: at + 1 };
    }
    let Some(body) = text
        .strip_prefix(prefix.as_str())
        .and_then(|rest| rest.strip_prefix('_'))
    else {
        if text
            .strip_prefix(TOKEN_PREFIX)
            .is_some_and(|rest| rest.starts_with('_'))
        {
            return Malformed::ManagementToken;
        }
        return Malformed::Prefix {
            expected: prefix.as_str().to_owned(),
        };
    };
    let got = text.chars().count();
    if got != prefix.key_length() {
        return Malformed::Length {
            expected: prefix.key_length(),
            got,
        };
    }
    let is_url_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(at) = body.chars().position(|c| !is_url_safe(c)) {
        return Malformed::Character {
            position: prefix.as_str().len() + 1 + at + 1,
        };
    }
    Malformed::Checksum
}
