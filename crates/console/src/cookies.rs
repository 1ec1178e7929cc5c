//! The console's two cookies: the session, and a visitor's number that binds the forms of before the sign-in to one browser.
//!
//! Both are out of scripts' reach, sent to this site alone, and not with requests that other sites begin other than by a link. Over
//! https they have the `__Host-` prefix, which keeps a neighbouring domain from planting one. They are set nowhere else.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use keyward_core::secret::{Secret, SessionKind};

/// Bytes of a visitor's number.
const VISITOR_BYTES: usize = 32;
/// No secret of ours is longer; what is, is no cookie of ours.
const MAX_VALUE: usize = 128;

/// Names of the cookies at this address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CookieNames {
    is_https: bool,
}

impl CookieNames {
    pub(crate) fn at(public_url: &str) -> Self {
        Self {
            is_https: public_url.starts_with("https://"),
        }
    }

    fn session(self) -> &'static str {
        if self.is_https {
            "__Host-keyward-session"
        } else {
            "keyward-session"
        }
    }

    fn visitor(self) -> &'static str {
        if self.is_https {
            "__Host-keyward-visitor"
        } else {
            "keyward-visitor"
        }
    }

    /// The session's token that a request brings, if it brings one.
    pub(crate) fn read_session(self, headers: &HeaderMap) -> Option<Secret<SessionKind>> {
        read(headers, self.session()).map(|value| Secret::new(value.to_owned()))
    }

    /// The visitor's number that a request brings.
    pub(crate) fn read_visitor(self, headers: &HeaderMap) -> Option<String> {
        read(headers, self.visitor()).map(str::to_owned)
    }

    /// The header that begins a session in the browser.
    pub(crate) fn begin_session(self, token: &Secret<SessionKind>) -> Option<HeaderValue> {
        self.set(self.session(), token.reveal())
    }

    /// The header that makes the browser forget its session.
    pub(crate) fn end_session(self) -> Option<HeaderValue> {
        let secure = self.attributes();
        let mut value = HeaderValue::from_str(&format!("{}=; Max-Age=0{secure}", self.session())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The header that gives a visitor a number.
    pub(crate) fn number_visitor(self, number: &str) -> Option<HeaderValue> {
        self.set(self.visitor(), number)
    }

    fn set(self, name: &str, value: &str) -> Option<HeaderValue> {
        let mut header = HeaderValue::from_str(&format!("{name}={value}{}", self.attributes())).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    fn attributes(self) -> &'static str {
        // Lax, not strict: who follows a link from a mail must arrive signed in. Forms carry a proof besides.
        if self.is_https {
            "; Path=/; HttpOnly; SameSite=Lax; Secure"
        } else {
            "; Path=/; HttpOnly; SameSite=Lax"
        }
    }
}

/// A new number for a visitor; `None` without random bytes.
pub(crate) fn new_visitor() -> Option<String> {
    let mut bytes = [0_u8; VISITOR_BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The value of a cookie that is there once; of two nobody knows which one is ours.
fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (other, value) = pair.trim().split_once('=')?;
        (other == name).then_some(value)
    });
    let value = values.next()?;
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let is_ours = !value.is_empty() && value.len() <= MAX_VALUE && value.bytes().all(is_plain);
    (values.next().is_none() && is_ours).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn a_cookie_is_read_where_it_is_there_once_and_ours() {
        let names = CookieNames::at("http://localhost:8787");
        let read = |lines: &[&'static str]| names.read_visitor(&headers(lines));
        assert_eq!(read(&["a=b; keyward-visitor=abc-_1"]).as_deref(), Some("abc-_1"));
        assert_eq!(read(&["a=b", "keyward-visitor=x"]).as_deref(), Some("x"));
        for none in [
            &["keyward-visitor=x; keyward-visitor=y"][..],
            &["keyward-visitor="],
            &["keyward-visitor=a b"],
            &["xkeyward-visitor=a"],
            &["keyward-visitor=\"a\""],
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    #[test]
    fn over_https_a_cookie_is_bound_to_its_host() {
        let token = Secret::<SessionKind>::new("abc".to_owned());
        let set = |url| CookieNames::at(url).begin_session(&token).unwrap();
        assert_eq!(
            set("https://keys.example"),
            "__Host-keyward-session=abc; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            set("http://localhost:1"),
            "keyward-session=abc; Path=/; HttpOnly; SameSite=Lax"
        );
    }
}
