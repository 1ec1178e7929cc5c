//! The last net: nothing key-shaped leaves in a text.

use keyward_core::key_text::{Prefix, new_key_text};
use keyward_core::mask::mask_keys;
use proptest::prelude::*;

use crate::given::{Seeded, key_id};

fn key(seed: u64) -> String {
    new_key_text(&Prefix::dtvi(), key_id(), &mut Seeded(seed))
        .unwrap()
        .reveal()
        .to_owned()
}

/// Whether any eight characters in a row of the secret's part are in `text`.
fn holds_part_of(text: &str, key: &str) -> bool {
    key.as_bytes()[11..]
        .windows(8)
        .any(|part| text.contains(std::str::from_utf8(part).unwrap()))
}

#[test]
fn a_hint_stays_readable() {
    for hint in ["dtvi_MDl1MD...x7Qw", "key dtvi_MDl1MD was deleted"] {
        assert_eq!(mask_keys(hint, "dtvi"), hint);
    }
}

#[test]
fn a_key_in_a_json_body_a_header_a_url_and_a_path_is_masked() {
    let key = key(1);
    let encoded = key.replace('_', "%5F");
    let encoded_twice = key.replace('_', "%255f");
    for line in [
        format!(r#"{{"secret_key":"{key}"}}"#),
        format!("authorization: Bearer {key}\r\n"),
        format!("GET /v1/keys?secret_key={encoded}&p=2"),
        format!("GET /login?next=%2Fx%3Fk%3D{encoded_twice}"),
        format!("GET /{key}/datasets"),
        format!("{key}{key}"),
        format!("{key},{key}"),
        format!("dtvi_ {key}"),
        format!("dtvidtvi_{key}"),
        key.to_ascii_uppercase(),
    ] {
        let masked = mask_keys(&line, "dtvi");
        assert!(!holds_part_of(&masked, &key), "{masked}");
        assert!(!holds_part_of(&masked, &key.to_ascii_uppercase()), "{masked}");
        assert!(masked.to_ascii_lowercase().contains("dtvi"));
    }
}

#[test]
fn an_empty_prefix_masks_nothing_and_comes_to_an_end() {
    assert_eq!(mask_keys("anything", ""), "anything");
}

proptest! {
    #[test]
    fn whatever_stands_around_it_a_key_is_masked(before in "\\PC{0,20}", after in "\\PC{0,20}", seed: u64) {
        let key = key(seed);
        let line = format!("{before}{key}{after}");
        prop_assert!(!holds_part_of(&mask_keys(&line, "dtvi"), &key));
    }

    #[test]
    fn any_text_is_taken_without_a_panic_and_masking_twice_changes_nothing(
        text in "(\\PC{0,6}|dtvi|_|%5f|%255F|[A-Za-z0-9]{0,30}){0,8}",
    ) {
        let once = mask_keys(&text, "dtvi").into_owned();
        prop_assert_eq!(mask_keys(&once, "dtvi"), once.as_str());
    }
}
