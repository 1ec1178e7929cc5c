//! The search: a name, or a pasted key, which finds its row and stays out of every address, answer and log.
//!
//! The form is a POST, so that the browser puts nothing of it into an address. What looks like a key is looked up and leads to the id of
//! what it found; only a text that cannot hold a key becomes part of an address. A key that was badly copied is told what is wrong
//! with it, and never shown again.

use axum::response::Response;
use keyward_core::ids::KeyId;
use keyward_core::key_text::{KeyText, Malformed, Prefix, TOKEN_PREFIX, holds_key};

use super::TABLE;
use super::table::show_with_problem;
use super::view::{MAX_TEXT, View};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::visit::Visit;

/// The characters after the underscore by which a key is found.
const HEAD_BODY: usize = 6;
/// What is longer than this after the underscore is no beginning that a page of ours shows, so it is a key that was cut.
const LONGEST_HEAD: usize = 16;
/// From so many characters on, a word without a prefix is taken for a part of a key.
const PART_LENGTH: usize = 24;

/// What somebody typed.
#[derive(Debug, PartialEq, Eq)]
enum Sought<'a> {
    /// Nothing.
    Nothing,
    /// A key, the beginning of one, a hint or an id: to be looked up, and not to be repeated.
    Key(&'a str),
    /// A whole key that was badly copied, and what is wrong with it.
    BadKey(&'a str, Malformed),
    /// A key of another server.
    ForeignKey,
    /// Words.
    Words(&'a str),
}

pub(super) async fn find(visit: Visit, call: Call) -> Result<Response, Refused> {
    let prefix = call.engine().prefix().clone();
    let typed = call.form.raw("text").unwrap_or_default();
    let table = visit.url(TABLE);
    match Sought::of(typed, &prefix) {
        Sought::Nothing => Ok(reply::see_other(&table)),
        Sought::Words(words) if words.chars().count() > MAX_TEXT || words.chars().any(char::is_control) => {
            let problem = format!("A search has at most {MAX_TEXT} characters, in one line.");
            show_with_problem(&visit, &call, &View::default(), problem).await
        }
        Sought::Words(words) => {
            let view = View {
                text: Some(words.to_owned()),
                ..View::default()
            };
            Ok(reply::see_other(&view.link(&table)))
        }
        Sought::ForeignKey => {
            let problem = format!(
                "This is a secret key, but none of this server, whose keys begin with {}_.",
                prefix.as_str()
            );
            show_with_problem(&visit, &call, &View::default(), problem).await
        }
        Sought::Key(text) => {
            let ids = look_up(&visit, &call, text).await?;
            if ids.is_empty() {
                let problem = not_found(text, &prefix);
                return show_with_problem(&visit, &call, &View::default(), problem).await;
            }
            let view = View {
                ids,
                ..View::default()
            };
            Ok(reply::see_other(&view.link(&table)))
        }
        Sought::BadKey(text, defect) => {
            let ids = look_up(&visit, &call, text).await?;
            let more = match ids.len() {
                0 => "",
                1 => " It begins as the key below does.",
                _ => " It begins as the keys below do.",
            };
            let problem = format!("The text is not a whole key: {defect}.{more}");
            let view = View {
                ids,
                ..View::default()
            };
            show_with_problem(&visit, &call, &view, problem).await
        }
    }
}

async fn look_up(visit: &Visit, call: &Call, text: &str) -> Result<Vec<KeyId>, Refused> {
    let found = call.engine().look_up_keys(visit.id(), text).await?;
    Ok(found.iter().map(|key| key.record.id).collect())
}

fn not_found(text: &str, prefix: &Prefix) -> String {
    if KeyText::parse(text, prefix).is_ok() {
        "This is a whole key, and this organization has none with its id. It may belong to another organization.".to_owned()
    } else if text.starts_with(prefix.as_str()) {
        format!(
            "No key of this organization begins so. To find one by its beginning, type {}_ and at least {HEAD_BODY} characters of it.",
            prefix.as_str()
        )
    } else {
        "No key of this organization has this id or hint.".to_owned()
    }
}

fn is_around(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '"' | '\'' | '`' | ',' | ';' | '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}'
        )
}

/// Whether a word may be the middle or the end of a key: long, and mixed as names are not.
fn may_be_part(word: &str) -> bool {
    let is_of_key = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let longest = word
        .as_bytes()
        .split(|c| !is_of_key(*c))
        .max_by_key(|part| part.len());
    longest.is_some_and(|part| {
        part.len() >= PART_LENGTH
            && part.iter().any(u8::is_ascii_uppercase)
            && part.iter().any(u8::is_ascii_lowercase)
            && part.iter().any(u8::is_ascii_digit)
    })
}

impl<'a> Sought<'a> {
    fn of(typed: &'a str, prefix: &Prefix) -> Self {
        let text = typed.trim_matches(is_around);
        if text.is_empty() {
            return Self::Nothing;
        }
        let lead = format!("{}_", prefix.as_str());
        // People paste lines of `.env` files and headers: the key is what begins with the prefix.
        let begin = text.find(&lead).and_then(|at| text.split_at_checked(at));
        if let Some((before, key)) = begin {
            let body = key.strip_prefix(&lead).unwrap_or_default();
            let is_whole_line = before.is_empty();
            let length = body.chars().take_while(|c| !c.is_whitespace()).count();
            if is_whole_line || length >= HEAD_BODY {
                return Self::of_key(key, body, prefix);
            }
        }
        if text.starts_with(&format!("{TOKEN_PREFIX}_")) {
            return Self::BadKey("", Malformed::ManagementToken);
        }
        if holds_key(text) {
            return Self::ForeignKey;
        }
        if text.split_whitespace().any(may_be_part) {
            return Self::BadKey(
                "",
                Malformed::Prefix {
                    expected: prefix.as_str().to_owned(),
                },
            );
        }
        if text.contains("...") || text.to_lowercase().parse::<KeyId>().is_ok() {
            return Self::Key(text);
        }
        Self::Words(text)
    }

    fn of_key(key: &'a str, body: &str, prefix: &Prefix) -> Self {
        match KeyText::parse(key, prefix) {
            Ok(_) => Self::Key(key),
            Err(_) if body.contains("...") || body.chars().count() <= LONGEST_HEAD => Self::Key(key),
            Err(defect) => Self::BadKey(key, defect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> String {
        let vectors = include_str!("../../../../core/testdata/key-vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        vectors["valid"][0]["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_may_hold_a_key_never_becomes_words() {
        let prefix = Prefix::dtvi();
        let key = vector();
        for typed in [
            key.clone(),
            format!(" \"{key}\"\n"),
            format!("DATATURE_VI_SECRET_KEY={key}"),
            format!("Authorization: Bearer {key}"),
            format!("\u{201c}{key}\u{201d}"),
        ] {
            assert_eq!(Sought::of(&typed, &prefix), Sought::Key(&key), "{}", typed.len());
        }
        let cut = key[..60].to_owned();
        let (head, tail) = key.split_at(50);
        let broken = format!("{head} {tail}");
        for typed in [
            cut,
            broken,
            format!("{key}x"),
            format!("x {key} y"),
            key[40..].to_owned(),
        ] {
            assert!(
                matches!(Sought::of(&typed, &prefix), Sought::BadKey(..)),
                "{}",
                typed.len()
            );
        }
        assert!(matches!(Sought::of("kwmt_abcdefgh", &prefix), Sought::BadKey(..)));
        assert_eq!(Sought::of("dtvi_MDl1MD", &prefix), Sought::Key("dtvi_MDl1MD"));
        assert_eq!(Sought::of("...x7Qw", &prefix), Sought::Key("...x7Qw"));
        assert_eq!(
            Sought::of(" nightly export ", &prefix),
            Sought::Words("nightly export")
        );
        assert_eq!(
            Sought::of("about dtvi_ keys", &prefix),
            Sought::Words("about dtvi_ keys")
        );
        assert_eq!(Sought::of(" \"\" ", &prefix), Sought::Nothing);
    }
}
