//! Masking whatever looks like a key in text that leaves the process: logs, request targets, panic messages.
//!
//! The last net, not the first: nothing should put a key there. It keeps the head that a key's hint shows anyway.

use std::borrow::Cow;

use crate::key_text::TOKEN_PREFIX;

/// Characters of a body that stay: as much as a hint shows.
const KEPT: usize = 6;
/// A body shorter than this is no secret; `dtvi_` alone in a sentence stays as it is.
const SHORTEST: usize = 12;

/// A run of base64 characters as long as this is taken for a secret, whatever stands before it: a key's body has 98, ids and
/// hashes that are logged have at most 36.
const LONG_RUN: usize = 60;

/// `text` with every key-shaped run cut after its head, every management token too, and every long run of base64 characters
/// as well. Also finds the underscore as `%5f` and, encoded twice, `%255f`.
pub fn mask_keys<'a>(text: &'a str, prefix: &str) -> Cow<'a, str> {
    let masked = mask_prefixed(text, prefix);
    let masked = and_then(masked, |text| mask_prefixed(text, TOKEN_PREFIX));
    and_then(masked, mask_long_runs)
}

/// One mask after another, copied only where something was masked.
fn and_then<'a>(text: Cow<'a, str>, mask: impl for<'b> Fn(&'b str) -> Cow<'b, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => mask(text),
        Cow::Owned(text) => Cow::Owned(mask(&text).into_owned()),
    }
}

fn mask_long_runs(text: &str) -> Cow<'_, str> {
    let is_run = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.split(|c| !is_run(c)).all(|run| run.len() < LONG_RUN) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_run) {
        let (before, run_on) = rest.split_at_checked(start).unwrap_or((rest, ""));
        let end = run_on.find(|c| !is_run(c)).unwrap_or(run_on.len());
        let (run, after) = run_on.split_at_checked(end).unwrap_or((run_on, ""));
        out.push_str(before);
        if run.len() < LONG_RUN {
            out.push_str(run);
        } else {
            out.push_str(run.get(..KEPT).unwrap_or_default());
            out.push_str("...");
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn mask_prefixed<'a>(text: &'a str, prefix: &str) -> Cow<'a, str> {
    if prefix.is_empty() {
        return Cow::Borrowed(text);
    }
    let lower = text.to_ascii_lowercase();
    let mut out = String::new();
    let mut kept_until = 0;
    let mut from = 0;
    while let Some(found) = lower.get(from..).and_then(|rest| rest.find(prefix)) {
        let head = from + found;
        let after = head + prefix.len();
        from = after;
        let Some(body) = body_start(&lower, after) else {
            continue;
        };
        let length = lower.get(body..).map_or(0, body_length);
        if length < SHORTEST {
            continue;
        }
        out.push_str(text.get(kept_until..body + KEPT).unwrap_or_default());
        out.push_str("...");
        kept_until = body + length;
        from = kept_until;
    }
    if kept_until == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept_until..).unwrap_or_default());
    Cow::Owned(out)
}

fn body_start(lower: &str, after: usize) -> Option<usize> {
    let rest = lower.get(after..)?;
    ["_", "%5f", "%255f"]
        .into_iter()
        .find(|written| rest.starts_with(written))
        .map(|written| after + written.len())
}

fn body_length(body: &str) -> usize {
    body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '%'))
        .unwrap_or(body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_anywhere_in_a_line_is_cut_after_its_head() {
        let body = "MDEyMzQ1Njc4OWFiY2RlZg".repeat(4);
        for (before, after) in [("", ""), ("GET /x?k=", "&b=1 HTTP/1.1"), ("\"", "\"")] {
            let masked = mask_keys(&format!("{before}dtvi_{body}{after}"), "dtvi").into_owned();
            assert_eq!(masked, format!("{before}dtvi_MDEyMz...{after}"));
        }
        assert_eq!(
            mask_keys(&format!("DTVI%5F{body} dtvi_{body}"), "dtvi"),
            "DTVI%5FMDEyMz... dtvi_MDEyMz..."
        );
    }

    #[test]
    fn a_management_token_is_cut_as_well_whatever_prefix_keys_have() {
        let body = "MDEyMzQ1Njc4OWFiY2RlZg".repeat(2);
        for prefix in ["dtvi", "abc"] {
            assert_eq!(
                mask_keys(&format!("Bearer kwmt_{body}, KWMT%5F{body}"), prefix),
                "Bearer kwmt_MDEyMz..., KWMT%5FMDEyMz..."
            );
        }
        assert_eq!(
            mask_keys(&format!("dtvi_{body} kwmt_{body}"), "dtvi"),
            "dtvi_MDEyMz... kwmt_MDEyMz..."
        );
    }

    #[test]
    fn a_body_without_its_prefix_is_cut_as_well() {
        let body = "MDEyMzQ1Njc4OWFiY2RlZg".repeat(4);
        assert_eq!(mask_keys(&format!("/x/{body}?é"), "dtvi"), "/x/MDEyMz...?é");
        assert_eq!(
            mask_keys(&format!("%64tvi_{body} {body}."), "dtvi"),
            "%64tvi_... MDEyMz...."
        );
        let id = "0190a6f2-0000-7000-8000-000000000000 01a20f275a7374c8ac132fb362d0e807";
        assert!(matches!(mask_keys(id, "dtvi"), Cow::Borrowed(_)));
    }

    #[test]
    fn ordinary_text_stays_and_is_not_copied() {
        for text in ["", "dtvi", "begins with `dtvi_`", "dtvi_short", "é dtvi_é"] {
            assert!(
                matches!(mask_keys(text, "dtvi"), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }
}
