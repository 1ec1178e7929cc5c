//! Reading a request's credentials out of its headers: the first stop of every request.
//!
//! Takes bytes, not a framework's types. Decides what can be decided without looking anything up, in the order of the
//! answers: contradictions (400), no key, no well-formed key. It never compares a secret.

use std::borrow::Cow;

use crate::key_text::{KeyText, Malformed, Prefix, TOKEN_PREFIX};
use crate::refusal::{BadRequest, Refusal};

/// Query parameters that people put keys into, in lower case and without `_` and `-`. A plain `key` is not among
/// them: it is as often the name of a filter, and a key under that name is found by its look.
const KEY_PARAMETERS: [&str; 3] = ["secretkey", "apikey", "accesstoken"];

/// So many characters after the prefix look like a key. The first 21 hold the public id; a text that ends within
/// them gives nothing away, and `dtvi_2024` may well be the name of a dataset.
const TELLING_BODY: usize = 24;

/// A well-formed key and the organization that the request names, not yet checked against each other.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The key.
    pub key: KeyText<'a>,
    /// The `Organization-Id` header, if there is one.
    pub organization: Option<&'a [u8]>,
}

/// Reads the credentials.
///
/// # Errors
/// `bad_request`, `key_missing` or `key_malformed`.
pub fn read<'a>(
    authorizations: impl IntoIterator<Item = &'a [u8]>,
    organizations: impl IntoIterator<Item = &'a [u8]>,
    query: Option<&str>,
    prefix: &Prefix,
) -> Result<Credentials<'a>, Refusal> {
    let authorization = at_most_one(authorizations, BadRequest::TwoAuthorizations)?;
    let organization = at_most_one(organizations, BadRequest::TwoOrganizations)?;
    if query.is_some_and(|query| holds_key(query, prefix)) {
        return Err(Refusal::BadRequest(BadRequest::KeyInQuery));
    }
    let token = authorization.and_then(bearer_token).ok_or(Refusal::KeyMissing)?;
    let key = parse(token, prefix).map_err(Refusal::KeyMalformed)?;
    Ok(Credentials { key, organization })
}

/// Reads a management token out of a request's head: the text after `Bearer `, whatever it is.
///
/// # Errors
/// `bad_request`; `key_missing` where there is no bearer token at all.
pub fn read_token<'a>(
    authorizations: impl IntoIterator<Item = &'a [u8]>,
    query: Option<&str>,
    prefix: &Prefix,
) -> Result<&'a [u8], Refusal> {
    let authorization = at_most_one(authorizations, BadRequest::TwoAuthorizations)?;
    if query.is_some_and(|query| holds_key(query, prefix)) {
        return Err(Refusal::BadRequest(BadRequest::KeyInQuery));
    }
    authorization.and_then(bearer_token).ok_or(Refusal::KeyMissing)
}

fn at_most_one<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    otherwise: BadRequest,
) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = values.into_iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Refusal::BadRequest(otherwise)),
    }
}

/// What follows `Bearer ` (RFC 6750, the scheme in any case, RFC 9110 11.1). One space belongs to the scheme; more,
/// or a tab, are part of what was copied, and the parser says so.
fn bearer_token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(6)?;
    let token = match rest {
        [b' ', token @ ..] => token,
        [b'\t', ..] => rest,
        _ => return None,
    };
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.trim_ascii().is_empty()).then_some(token)
}

fn parse<'a>(token: &'a [u8], prefix: &Prefix) -> Result<KeyText<'a>, Malformed> {
    match std::str::from_utf8(token) {
        Ok(text) => KeyText::parse(text, prefix),
        // Read with a mark in place of what is no UTF-8, so that its defects are named in the usual order.
        Err(error) => Err(KeyText::parse(&String::from_utf8_lossy(token), prefix)
            .err()
            .unwrap_or(Malformed::Character {
                position: error.valid_up_to() + 1,
            })),
    }
}

/// Whether a query string carries a key, by a parameter's name or by its look. A second `?` separates like `&`: the
/// official client writes one.
fn holds_key(query: &str, prefix: &Prefix) -> bool {
    let query = percent_decoded(query.as_bytes());
    // Twice, because what was encoded twice is a key in a URL all the same.
    let query = percent_decoded(&query);
    looks_like_key(&query, prefix.as_str())
        || looks_like_key(&query, TOKEN_PREFIX)
        || query
            .split(|byte| matches!(byte, b'&' | b'?' | b';'))
            .any(is_key_parameter)
}

/// A name that people give to keys, with a value.
fn is_key_parameter(pair: &[u8]) -> bool {
    let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let Some((name, value)) = pair.split_at_checked(equals) else {
        return false;
    };
    let letters = || {
        name.iter()
            .filter(|byte| !matches!(byte, b'_' | b'-'))
            .map(u8::to_ascii_lowercase)
    };
    value.len() > 1 && KEY_PARAMETERS.iter().any(|known| letters().eq(known.bytes()))
}

/// The prefix where a word begins, and after it as much as tells part of a secret.
fn looks_like_key(query: &[u8], prefix: &str) -> bool {
    let prefix = prefix.as_bytes();
    let mut is_word_start = true;
    for (at, byte) in query.iter().enumerate() {
        let body = || {
            query
                .get(at..)?
                .strip_prefix(prefix)?
                .strip_prefix(b"_")?
                .get(..TELLING_BODY)
        };
        if is_word_start && body().is_some_and(|body| body.iter().all(is_word)) {
            return true;
        }
        is_word_start = !is_word(byte);
    }
    false
}

/// A character of URL-safe base64.
fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                let value = hex(high).unwrap_or_default() * 16 + hex(low).unwrap_or_default();
                out.push(u8::try_from(value).unwrap_or_default());
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}
