//! Cursors: where the next page of a list begins, as an opaque text.
//!
//! A cursor says which list it belongs to, so that one list's cursor is refused by another instead of starting
//! somewhere. It holds the last id of the page before and nothing that decides: whoever makes one up sees no more than a
//! list from that id on, of what their key may see anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const FORMAT: &str = "1";
/// Longer than any cursor that is given out.
const MAX_LENGTH: usize = 512;

/// The text is no cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no cursor of this list; use the one that the page before gave, or leave it out")]
pub struct CursorRefused;

/// The cursor of `list` that goes on after `position`.
pub fn write(list: &str, position: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{FORMAT}.{list}.{position}"))
}

/// The position in a cursor of `list`.
///
/// # Errors
/// [`CursorRefused`] for anything that [`write()`] did not make for this list.
pub fn read(list: &str, cursor: &str) -> Result<String, CursorRefused> {
    if cursor.len() > MAX_LENGTH {
        return Err(CursorRefused);
    }
    let decoded = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| CursorRefused)?;
    let text = String::from_utf8(decoded).map_err(|_| CursorRefused)?;
    let position = text
        .strip_prefix(FORMAT)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_prefix(list))
        .and_then(|rest| rest.strip_prefix('.'))
        .filter(|position| !position.is_empty() && position.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or(CursorRefused)?;
    Ok(position.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = write("datasets", "0190-abc");
        assert_eq!(read("datasets", &cursor), Ok("0190-abc".to_owned()));
        assert_eq!(read("keys", &cursor), Err(CursorRefused));
        assert_eq!(read("dataset", &cursor), Err(CursorRefused));
        assert_eq!(read("datasets", ""), Err(CursorRefused));
        assert_eq!(read("datasets", &write("datasets", "")), Err(CursorRefused));
        assert_eq!(read("datasets", &"A".repeat(513)), Err(CursorRefused));
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(position in "[!-~]{1,200}") {
            prop_assert_eq!(read("keys", &write("keys", &position)), Ok(position));
        }

        #[test]
        fn any_other_text_is_refused_or_a_position(cursor in ".{0,80}") {
            if let Ok(position) = read("keys", &cursor) {
                prop_assert_eq!(write("keys", &position), cursor);
            }
        }
    }
}
