//! Texts from outside, made harmless for where they are shown: a terminal, a line of JSON, a cell of a spreadsheet.
//!
//! Names, clients and addresses come from people and programs that nobody knows. A control character moves a terminal's
//! cursor or ends a line of a log; a bidi override shows a text in another order than it has; a cell that begins like a formula
//! is computed by whoever opens the file. Nothing is removed without a trace: a sign stands in its place.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::record::is_disruptive;

/// What stands in the place of a character that is not shown.
const SIGN: char = '\u{fffd}';

/// Whether a terminal or a reader would obey the character, or show the text around it differently from what it is.
pub fn is_harmful(character: char) -> bool {
    is_disruptive(character)
        || matches!(
            character,
            // Marks of direction, characters without a width, interlinear and tag characters.
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
        )
}

/// For one line of a terminal or a log: white space becomes a space, and what is harmful otherwise a sign.
pub fn for_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|character| match character {
        '\n' | '\r' | '\t' => ' ',
        other if is_harmful(other) => SIGN,
        other => other,
    });
    Cow::Owned(shown.collect())
}

/// For a cell of a CSV file: as [`for_line`], and what a spreadsheet would compute begins with an apostrophe, so that it is a text.
/// Quotes are the writer's.
pub fn for_cell(text: &str) -> Cow<'_, str> {
    let shown = for_line(text);
    // Spaces before it, some programs skip. The characters in full width are the same to others.
    let first = text.trim_start_matches(' ').chars().next();
    let is_formula = matches!(
        first,
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
    );
    if is_formula {
        Cow::Owned(format!("'{shown}"))
    } else {
        shown
    }
}

/// For JSON that is written already: what is harmful within its texts is written as an escape, and means the same to a
/// program. The line ends between its values stay.
pub fn for_json(json: &str) -> Cow<'_, str> {
    let is_layout = |character: char| matches!(character, '\n' | '\t' | '\r');
    // Control characters below the space are escapes in any JSON; those that are left lay it out.
    let is_meant = |character: char| is_harmful(character) && !is_layout(character);
    if !json.contains(is_meant) {
        return Cow::Borrowed(json);
    }
    let mut written = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if !is_meant(character) {
            written.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            // Writing into a text does not fail.
            let _ = write!(written, "\\u{unit:04x}");
        }
    }
    Cow::Owned(written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_moves_a_cursor_or_turns_a_line_around() {
        assert_eq!(for_line("plain näme 🦀"), "plain näme 🦀");
        assert_eq!(for_line("a\u{1b}[2Jb\nc\td"), "a\u{fffd}[2Jb c d");
        assert_eq!(for_line("\u{9b}31mred"), "\u{fffd}31mred");
        assert_eq!(for_line("\u{202e}gpj.exe\u{2066}"), "\u{fffd}gpj.exe\u{fffd}");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for bad in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "  =1",
            "\t=1",
            "\r=1",
            "\u{ff1d}1",
        ] {
            let cell = for_cell(bad);
            assert!(cell.starts_with('\''), "{bad:?}: {cell}");
        }
        for good in ["a=1", "10.0.0.1", "2001:db8::1", "(none)", "", "nightly"] {
            assert_eq!(for_cell(good), good);
        }
    }

    #[test]
    fn json_means_the_same_and_shows_nothing() {
        let name = "a\u{202e}b\u{7f}\u{9b}\u{e0041}";
        let json = serde_json::to_string_pretty(&serde_json::json!({ "name": name })).unwrap();
        let written = for_json(&json);
        assert!(written.is_ascii(), "{written}");
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["name"], name);
    }

    proptest! {
        #[test]
        fn what_is_written_holds_nothing_harmful(text in any::<String>()) {
            prop_assert!(!for_line(&text).contains(is_harmful));
            let cell = for_cell(&text);
            prop_assert!(!cell.contains(is_harmful));
            let first = cell.trim_start().chars().next();
            prop_assert!(!matches!(first, Some('=' | '+' | '-' | '@')));
            let json = serde_json::to_string(&text).unwrap();
            let written = for_json(&json);
            prop_assert!(!written.contains(is_harmful));
            let read: String = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
