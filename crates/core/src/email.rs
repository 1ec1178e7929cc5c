//! E-mail addresses of people: checked for what could never be delivered to, and compared without regard to case.
//!
//! Whether mail arrives is found out by sending some, which is not done here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::record::is_disruptive;

/// Longest e-mail address (RFC 5321, 4.5.3.1.3, without the brackets).
const MAX_EMAIL: usize = 254;

/// An e-mail address in lower case: one person must not become two by the way an address was typed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

/// The text is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address such as owner@example.com")]
pub struct EmailRefused;

impl EmailAddress {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailAddress {
    type Err = EmailRefused;
    fn from_str(text: &str) -> Result<Self, EmailRefused> {
        let address = text.to_lowercase();
        let is_good = address.len() <= MAX_EMAIL
            && !address.chars().any(|c| c.is_whitespace() || is_disruptive(c))
            && address
                .rsplit_once('@')
                .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if is_good {
            Ok(Self(address))
        } else {
            Err(EmailRefused)
        }
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = EmailRefused;
    fn try_from(text: String) -> Result<Self, EmailRefused> {
        text.parse()
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_two_sides_and_nothing_that_breaks_a_line() {
        for good in ["a@b", "owner@localhost", "ö@example.com", "\"a@b\"@c"] {
            assert!(good.parse::<EmailAddress>().is_ok(), "{good}");
        }
        let long = format!("{}@b", "a".repeat(253));
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "ab",
            "a b@c",
            "a@b c",
            "a@b\n",
            "a@b\0",
            "a\u{202e}@b",
            &long,
        ] {
            assert_eq!(bad.parse::<EmailAddress>(), Err(EmailRefused), "{bad:?}");
        }
    }

    #[test]
    fn case_makes_no_second_person() {
        let typed: EmailAddress = "Ada@Example.COM".parse().unwrap();
        assert_eq!(typed.as_str(), "ada@example.com");
    }
}
