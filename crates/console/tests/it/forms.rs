//! The main form of a page, as a browser without scripts would send it.
//!
//! Reads inputs and text areas of our own templates, which write their attributes in one way; not a parser of HTML.

use crate::support::between;

/// Names and values of a form.
#[derive(Debug, Clone)]
pub(crate) struct Form(pub(crate) Vec<(String, String)>);

impl Form {
    /// The form in the page's main part.
    pub(crate) fn of(page: &str) -> Self {
        let main = between(page, "<main", "</main>").expect("the page has a main part");
        let form = between(main, "<form", "</form>").expect("the main part has a form");
        let mut fields = Vec::new();
        for (tag, rest) in form
            .split('<')
            .map(|part| part.split_once('>').unwrap_or((part, "")))
        {
            let attribute = |name: &str| between(tag, &format!(" {name}=\""), "\"").map(plain);
            let Some(name) = attribute("name") else { continue };
            let kind = attribute("type").unwrap_or_default();
            if tag.starts_with("textarea") {
                fields.push((name, plain(rest)));
            } else if tag.starts_with("input")
                && (!matches!(kind.as_str(), "checkbox" | "radio") || tag.contains(" checked"))
            {
                fields.push((name, attribute("value").unwrap_or_default()));
            }
        }
        fields.retain(|(name, _)| name != "csrf");
        Self(fields)
    }

    /// The same with `name` set to these values and nothing else.
    pub(crate) fn with(mut self, name: &str, values: &[&str]) -> Self {
        self.0.retain(|(other, _)| other != name);
        self.0
            .extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
        self
    }

    /// The values of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// As the browser of the tests takes them.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

/// What an escaped text says.
pub(crate) fn plain(text: &str) -> String {
    text.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&")
}
