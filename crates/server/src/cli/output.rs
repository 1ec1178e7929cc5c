//! What the terminal shows: data on standard output, sentences on standard error, tables that people can read.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table, presets};
use keyward_core::harmless::{for_json, for_line};
use serde::Serialize;

/// Prints data. A reader that went away wants no more of it, which is no failure.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a sentence for whoever sits in front.
pub(crate) fn note(text: &str) {
    let shown: Vec<String> = text.split('\n').map(printable).collect();
    let _ = writeln!(std::io::stderr().lock(), "{}", shown.join("\n"));
}

/// Says of a change that is on one database server alone what is not promised; nothing of any other.
pub(crate) fn note_failover(survives: Option<bool>) {
    if survives == Some(false) {
        note(
            "no commit waits for a database standby: this is true while the present primary lives, and can be lost if a standby is \
             promoted (docs/POSTGRESQL.md)",
        );
    }
}

/// Prints one JSON value.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("could not write the result as JSON")?;
    // The same value, written so that a terminal obeys nothing in it.
    data(&format!("{}\n", for_json(&text)));
    Ok(())
}

/// Prints a table with a header.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) {
    data(&table_text(header, rows));
}

/// A table with a header, line by line.
pub(crate) fn table_text(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    // No border on the left, and no spaces at the ends that a copy would take along.
    table
        .lines()
        .map(|line| {
            format!(
                "{}\n",
                line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end())
            )
        })
        .collect()
}

/// Prints names and values, one pair a line.
pub(crate) fn facts(pairs: &[(&str, String)]) {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let text: String = pairs
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {}\n", printable(value)))
        .collect();
    data(&text);
}

/// Asks for a yes; without one it says that nothing was changed.
///
/// # Errors
/// Where nobody can be asked; the question is said all the same, with all that it tells.
pub(crate) fn is_confirmed(question: &str) -> Result<bool> {
    let is_confirmed = confirm(question)?;
    if !is_confirmed {
        note("nothing was changed");
    }
    Ok(is_confirmed)
}

/// Asks for a yes; only a terminal can give one.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        note(question);
        anyhow::bail!("this asks before it acts, and there is no terminal to answer; say --yes");
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{question} [y/N] ")
        .and_then(|()| err.flush())
        .context("could not ask")?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("could not read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What people wrote can hold line ends and control characters, which must not move a terminal's cursor, and marks that turn a
/// line around.
fn printable(text: &str) -> String {
    for_line(text).into_owned()
}

#[cfg(test)]
mod tests {
    use keyward_core::harmless::is_harmful;

    use super::*;

    #[test]
    fn nothing_that_people_wrote_moves_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb c");
        let rows = vec![vec!["\u{202e}gpj.exe".to_owned(), "\u{9b}31m\r".to_owned()]];
        let table = table_text(&["NAME", "CLIENT"], rows);
        let is_moved = |c: char| is_harmful(c) && c != '\n';
        assert!(!table.contains(is_moved), "{table:?}");
        assert!(table.contains("\u{fffd}gpj.exe"), "{table:?}");
    }
}
