//! Lists as CSV (RFC 4180) and JSON Lines, for spreadsheets and programs that read line by line.
//!
//! Every cell is made harmless ([`keyward_core::harmless`]): what people and clients call themselves must neither be computed by
//! a spreadsheet nor obeyed by a terminal. In JSON Lines the same characters are escapes, so that nothing is lost.

use keyward_core::harmless::{for_cell, for_json};
use serde::Serialize;

/// The media type of CSV.
pub const CSV: &str = "text/csv";
/// The media type of JSON Lines.
pub const JSON_LINES: &str = "application/jsonl";

/// What can be a line of CSV.
pub trait CsvRow {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];

    /// The cells, in the order of the columns.
    fn cells(&self) -> Vec<String>;
}

/// The first line: the names of the columns.
pub fn header<T: CsvRow>() -> String {
    line(T::COLUMNS.iter().copied())
}

/// A line for each row.
pub fn lines<T: CsvRow>(rows: &[T]) -> String {
    rows.iter()
        .map(|row| line(row.cells().iter().map(String::as_str)))
        .collect()
}

/// A JSON object a line.
///
/// # Errors
/// Never in practice: what is shown always serialises.
pub fn json_lines<T: Serialize>(rows: &[T]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&for_json(&serde_json::to_string(row)?));
        text.push('\n');
    }
    Ok(text)
}

fn line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

fn cell(text: &str) -> String {
    let text = for_cell(text);
    // Spaces at the ends are part of a cell, which some readers believe only within quotes.
    let needs_quotes = text.contains([',', '"', ';']) || text.trim() != text;
    if needs_quotes {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Serialize)]
    struct Row(String, i64);

    impl CsvRow for Row {
        const COLUMNS: &'static [&'static str] = &["name", "uses"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.clone(), self.1.to_string()]
        }
    }

    #[test]
    fn a_cell_is_quoted_where_it_has_to_be() {
        assert_eq!(header::<Row>(), "name,uses\r\n");
        let rows = [
            Row("plain".to_owned(), 1),
            Row("a,b \"c\"".to_owned(), 2),
            Row("=HYPERLINK(\"http://x\",\"y\")".to_owned(), 3),
            Row("two\r\nlines\u{1b}[0m".to_owned(), 4),
        ];
        assert_eq!(
            lines(&rows),
            "plain,1\r\n\"a,b \"\"c\"\"\",2\r\n\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\",3\r\ntwo  lines\u{fffd}[0m,4\r\n"
        );
        assert_eq!(json_lines(&rows[..1]).unwrap(), "[\"plain\",1]\n");
    }

    /// Reads one line as RFC 4180 has it.
    fn read(line: &str) -> Vec<String> {
        let mut cells = vec![String::new()];
        let (mut is_quoted, mut characters) = (false, line.chars().peekable());
        while let Some(character) = characters.next() {
            let last = cells.last_mut().unwrap();
            match character {
                '"' if is_quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    last.push('"');
                }
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => cells.push(String::new()),
                other => last.push(other),
            }
        }
        cells
    }

    proptest! {
        #[test]
        fn a_line_reads_back_as_its_cells(texts in prop::collection::vec(any::<String>(), 1..5)) {
            let written = line(texts.iter().map(String::as_str));
            let body = written.strip_suffix("\r\n").unwrap();
            prop_assert!(!body.contains(['\r', '\n']), "one line");
            let harmless: Vec<String> = texts.iter().map(|text| for_cell(text).into_owned()).collect();
            prop_assert_eq!(read(body), harmless);
        }
    }
}
