//! Names and values of a query or of a form, in the order in which they were sent.
//!
//! Bounded by who reads them: a query by the size of a request's head, a form by [`MAX_FORM_BYTES`]. Values are as people typed
//! them; parsing is the pages' business, and so is saying every problem at once.

/// Largest form that is read.
pub(crate) const MAX_FORM_BYTES: usize = 256 << 10;

/// Names and values.
#[derive(Clone, Default)]
pub(crate) struct Values(Vec<(String, String)>);

impl Values {
    /// Reads the percent-encoded form of a query or of a body.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of that name, without spaces around it; `None` if there is none or it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The first value of that name as it was sent, for passphrases and for texts that are shown again.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Every value of that name that is not empty.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(other, _)| other == name);
        named
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Whether a box of that name is ticked, or a button of that name was pressed.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Whether `name` was sent with exactly this value.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|other| other == value)
    }

    /// Names and values in their order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The query string of these with `name` set to `value` (or taken out), for links that change one thing of a view.
    pub(crate) fn with(&self, name: &str, value: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (other, kept) in self
            .pairs()
            .filter(|(other, kept)| *other != name && !kept.is_empty())
        {
            query.append_pair(other, kept);
        }
        if let Some(value) = value {
            query.append_pair(name, value);
        }
        query.finish()
    }
}

// Forms hold passphrases and pasted keys.
impl std::fmt::Debug for Values {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Values({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_changes_one_value_and_keeps_the_others() {
        let values = Values::parse(b"sort=name&environment=production&cursor=abc&text=");
        assert_eq!(
            values.with("sort", Some("due")),
            "environment=production&cursor=abc&sort=due"
        );
        assert_eq!(values.with("cursor", None), "sort=name&environment=production");
        assert_eq!(values.text("text"), None);
        assert!(values.has("sort", "name") && !values.is_on("other"));
        assert_eq!(format!("{values:?}"), "Values(4)");
    }
}
