//! Reading what several requests have in common: names, bounded texts, maps with bounded names, attributes.
//!
//! Everything is bounded here, because the database has no bounds of its own, and every problem is noted where it is.
//! Control characters are refused: PostgreSQL takes no NUL, and a terminal that shows the rest would obey it.

use std::collections::BTreeMap;

use keyward_api::fields::{Fields, kind_of, shortened};
use keyward_core::record::check_name;
use keyward_engine::edit_organization::MAX_ENTRIES;
use serde_json::{Map, Value};

/// Longest text of free content, in characters.
pub(crate) const MAX_TEXT: usize = 1_000;
/// Longest name of an entry in a map, in characters.
const MAX_ENTRY_NAME: usize = 100;

/// Checks a text of free content.
pub(crate) fn free_text(text: &str) -> Result<String, String> {
    bounded(text, MAX_TEXT)
}

/// Checks a text of at most `most` characters.
pub(crate) fn bounded(text: &str, most: usize) -> Result<String, String> {
    if text.chars().count() > most {
        return Err(format!("at most {most} characters"));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err("no control characters other than line ends and tabs".to_owned());
    }
    Ok(text.to_owned())
}

/// Checks a name that people give.
pub(crate) fn name(text: &str) -> Result<String, keyward_core::record::NameRefused> {
    check_name(text).map(|()| text.to_owned())
}

/// Checks that a text is one of a few.
pub(crate) fn one_of<'a>(choices: &'a [&'a str]) -> impl Fn(&str) -> Result<String, String> + 'a {
    move |text| {
        if choices.contains(&text) {
            return Ok(text.to_owned());
        }
        Err(format!("must be `{}`", choices.join("` or `")))
    }
}

/// Takes a map of at most `most` entries; `None` if it is absent.
pub(crate) fn map<T>(
    fields: &mut Fields,
    name: &str,
    most: usize,
    read: impl Fn(Value) -> Result<T, String>,
) -> Option<BTreeMap<String, T>> {
    let entries = fields.map(name, most, Ok::<Value, String>)?;
    let mut values = BTreeMap::new();
    for (key, value) in entries {
        let entry = format!("{name}.{}", shortened(&key));
        let key_read = check_entry_name(&key);
        fields.keep(&entry, key_read);
        if let Some(value) = fields.keep(&entry, read(value)) {
            values.insert(key, value);
        }
    }
    Some(values)
}

fn check_entry_name(name: &str) -> Result<(), String> {
    let is_good = (1..=MAX_ENTRY_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_good {
        Ok(())
    } else {
        Err(format!(
            "the name of an entry is 1 to {MAX_ENTRY_NAME} characters without control characters"
        ))
    }
}

/// Reads the value of an attribute.
pub(crate) fn attribute(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => free_text(&text),
        other => Err(format!("must be a text, not {}", kind_of(&other))),
    }
}

/// Reads the edit of an attribute: null removes it.
pub(crate) fn attribute_edit(value: Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        other => attribute(other).map(Some),
    }
}

/// Takes `metadata.attributes`; empty if they are absent.
pub(crate) fn attributes<T>(
    fields: &mut Fields,
    read: impl Fn(Value) -> Result<T, String>,
) -> BTreeMap<String, T> {
    let Some(metadata) = fields.object("metadata") else {
        return BTreeMap::new();
    };
    let mut metadata = Fields::of_object(metadata, "metadata".to_owned());
    let attributes = map(&mut metadata, "attributes", MAX_ENTRIES, read);
    match metadata.finish(attributes.unwrap_or_default()) {
        Ok(attributes) => attributes,
        Err(problems) => {
            fields.absorb(problems);
            BTreeMap::new()
        }
    }
}

/// Takes `preference`; `None` if it is absent.
pub(crate) fn preference(fields: &mut Fields) -> Option<Map<String, Value>> {
    let read = |value: Value| match value {
        Value::Bool(value) => Ok(Value::Bool(value)),
        Value::String(text) => free_text(&text).map(Value::String),
        other => Err(format!("must be true, false or a text, not {}", kind_of(&other))),
    };
    let values = map(fields, "preference", MAX_ENTRIES, read)?;
    Some(values.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(fields: Fields) -> Vec<String> {
        let problems = fields.finish(()).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn texts_are_bounded_and_free_of_control_characters() {
        assert_eq!(free_text("two\nlines\tand é").as_deref(), Ok("two\nlines\tand é"));
        assert!(
            free_text(&"é".repeat(1_000)).is_ok(),
            "characters count, not bytes"
        );
        for bad in ["\0", "a\u{1b}[2J", "\u{9b}", &"é".repeat(1_001)] {
            assert!(free_text(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_problem_of_a_map_is_noted_at_its_place() {
        let body =
            r#"{"metadata": {"attributes": {"": "x", "a": 1, "b": null, "c": "good", "d\u0000": "\u0000"}}}"#;
        let mut fields = Fields::of_body(body.as_bytes()).unwrap();
        attributes(&mut fields, attribute);
        let place = |name: &str| format!("metadata.attributes.{name}");
        let expected = [
            place(""),
            place("a"),
            place("b"),
            place("d\u{fffd}"),
            place("d\u{fffd}"),
        ];
        assert_eq!(problems_of(fields), expected);
        let mut fields = Fields::of_body(br#"{"metadata": [], "preference": {"a": null, "b": 1}}"#).unwrap();
        attributes(&mut fields, attribute_edit);
        preference(&mut fields);
        assert_eq!(problems_of(fields), ["metadata", "preference.a", "preference.b"]);
    }

    #[test]
    fn null_removes_an_attribute_only_in_an_edit() {
        assert_eq!(attribute_edit(Value::Null), Ok(None));
        assert!(attribute(Value::Null).is_err());
    }
}
