//! Tags: short words that people put on keys, to find and to stop many at once.
//!
//! A tag decides nothing about a request. Its alphabet is small on purpose: no case to confuse, nothing that a query or a
//! terminal would read as anything else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most tags of one key.
pub const MAX_TAGS: usize = 20;
/// Longest tag, in characters.
const MAX_TAG: usize = 40;

/// One tag: 1 to 40 characters of `a-z 0-9 . : _ -`, beginning with a letter or digit. Capitals are taken as small ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Box<str>);

/// The text is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag is 1 to {MAX_TAG} characters of `a-z 0-9 . : _ -`, beginning with a letter or digit")]
pub struct TagRefused;

impl Tag {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagRefused;
    fn from_str(text: &str) -> Result<Self, TagRefused> {
        let text = text.to_ascii_lowercase();
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
        let is_good = (1..=MAX_TAG).contains(&text.len())
            && text.bytes().all(is_inner)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if is_good {
            Ok(Self(text.into()))
        } else {
            Err(TagRefused)
        }
    }
}

impl TryFrom<String> for Tag {
    type Error = TagRefused;
    fn try_from(text: String) -> Result<Self, TagRefused> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0.into()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The tags of a key: sorted, each once, at most [`MAX_TAGS`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Tag>", into = "Vec<Tag>")]
pub struct Tags(Vec<Tag>);

/// Too many tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at most {MAX_TAGS} tags")]
pub struct TooManyTags;

impl Tags {
    /// No tag.
    pub const NONE: Self = Self(Vec::new());

    /// The tags in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Tag>> for Tags {
    type Error = TooManyTags;
    fn try_from(mut tags: Vec<Tag>) -> Result<Self, TooManyTags> {
        tags.sort_unstable();
        tags.dedup();
        if tags.len() <= MAX_TAGS {
            Ok(Self(tags))
        } else {
            Err(TooManyTags)
        }
    }
}

impl From<Tags> for Vec<Tag> {
    fn from(tags: Tags) -> Self {
        tags.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_short_word_of_small_letters() {
        assert_eq!("Team:Vision".parse::<Tag>().unwrap().as_str(), "team:vision");
        for bad in ["", "-a", "a b", "ä", "a%", "a\"", &"a".repeat(41)] {
            assert_eq!(bad.parse::<Tag>(), Err(TagRefused), "{bad}");
        }
    }

    #[test]
    fn tags_are_sorted_and_each_is_there_once() {
        let tags = |texts: &[&str]| {
            Tags::try_from(
                texts
                    .iter()
                    .map(|text| text.parse().unwrap())
                    .collect::<Vec<Tag>>(),
            )
        };
        let read = tags(&["b", "a", "B"]).unwrap();
        assert_eq!(read.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b"]);
        let many: Vec<String> = (0..=MAX_TAGS).map(|number| format!("t{number}")).collect();
        assert!(tags(&many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }
}
