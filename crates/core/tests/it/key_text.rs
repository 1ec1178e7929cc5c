//! The key format: vectors, every small mistake, and any input at all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::key_text::{KeyText, Malformed, Prefix, holds_key, new_key_id, new_key_text};
use keyward_core::keyring::Keyring;
use proptest::prelude::*;
use serde_json::Value;

use crate::given::{Broken, Seeded, key_id, keyring, vectors};

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap()
}

fn prefix(row: &Value) -> Prefix {
    text(row, "prefix").parse().unwrap()
}

fn valid_texts() -> Vec<(String, Prefix)> {
    let vectors = vectors("key-vectors.json");
    let rows = vectors["valid"].as_array().unwrap();
    rows.iter()
        .map(|row| (text(row, "text").to_owned(), prefix(row)))
        .collect()
}

#[test]
fn valid_vectors_are_taken_apart_as_they_were_put_together() {
    let vectors = vectors("key-vectors.json");
    for row in vectors["valid"].as_array().unwrap() {
        let prefix = prefix(row);
        let key = KeyText::parse(text(row, "text"), &prefix).unwrap();
        assert_eq!(key.id().as_str(), text(row, "id"));
        let hint = key.hint();
        assert_eq!(
            (hint.head.as_str(), hint.tail.as_str()),
            (text(row, "hint_head"), text(row, "hint_tail"))
        );
        assert_eq!(hint.to_string(), format!("{}...{}", hint.head, hint.tail));
        let decoded = URL_SAFE_NO_PAD
            .decode(&text(row, "text")[prefix.as_str().len() + 1..])
            .unwrap();
        let parts = [text(row, "id"), text(row, "secret"), text(row, "checksum")].concat();
        assert_eq!(decoded, parts.as_bytes());
    }
}

#[test]
fn malformed_vectors_are_refused_for_the_defect_they_name() {
    let vectors = vectors("key-vectors.json");
    let rows = vectors["malformed"].as_array().unwrap();
    assert!(rows.len() > 60);
    for row in rows {
        let number = |name: &str| usize::try_from(row[name].as_u64().unwrap()).unwrap();
        let expected = match text(row, "defect") {
            "prefix" => Malformed::Prefix {
                expected: text(row, "prefix").to_owned(),
            },
            "length" => Malformed::Length {
                expected: number("expected"),
                got: number("got"),
            },
            "surrounding_space" => Malformed::SurroundingSpace,
            "quotes" => Malformed::Quotes,
            "inner_space" => Malformed::InnerSpace {
                position: number("position"),
            },
            "character" => Malformed::Character {
                position: number("position"),
            },
            "checksum" => Malformed::Checksum,
            other => panic!("the vectors name a defect that the parser does not know: {other}"),
        };
        let refused = KeyText::parse(text(row, "text"), &prefix(row)).map(|key| key.id());
        assert_eq!(refused, Err(expected), "{}", text(row, "name"));
    }
}

#[test]
fn every_defect_has_a_vector() {
    let vectors = vectors("key-vectors.json");
    let named = |defect| {
        vectors["malformed"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["defect"] == defect)
    };
    for defect in [
        "prefix",
        "length",
        "surrounding_space",
        "quotes",
        "inner_space",
        "character",
        "checksum",
    ] {
        assert!(named(defect), "{defect}");
    }
}

#[test]
fn the_keyring_vector_gives_the_ids_that_the_vectors_say() {
    let vectors = vectors("key-vectors.json");
    let keyring = Keyring::from_text(text(&vectors["keyring"], "text")).unwrap();
    let ids = vectors["keyring"]["key_ids"].as_array().unwrap();
    assert!(ids.len() >= 8);
    for id in ids {
        assert!(
            keyring.knows_key_id(id.as_str().unwrap().parse().unwrap()),
            "{id}"
        );
    }
    assert_eq!(
        keyward_core::audit::hex(&keyring.check_value()),
        text(&vectors["keyring"], "check_value")
    );
}

/// Every text that `change` makes of a valid key is refused.
fn all_refused(what: &str, change: impl Fn(&[char]) -> Vec<String>) {
    for (key, prefix) in valid_texts() {
        let characters: Vec<char> = key.chars().collect();
        let changed = change(&characters);
        assert!(changed.len() > 90);
        for candidate in changed.into_iter().filter(|candidate| *candidate != key) {
            assert!(
                KeyText::parse(&candidate, &prefix).is_err(),
                "{what}: {candidate:?}"
            );
        }
    }
}

#[test]
fn every_change_of_one_character_is_refused() {
    all_refused("changed", |key| {
        let replacements = || {
            (0_u8..128)
                .map(char::from)
                .chain(['\u{e9}', '\u{410}', '\u{1f511}'])
        };
        let positions = 0..key.len();
        let one = |at: usize| {
            replacements().map(move |replacement| {
                let mut changed = key.to_vec();
                changed[at] = replacement;
                changed.into_iter().collect()
            })
        };
        positions.flat_map(one).collect()
    });
}

#[test]
fn every_deletion_of_one_character_is_refused() {
    all_refused("deleted", |key| {
        let without = |at: usize| key[..at].iter().chain(&key[at + 1..]).collect();
        (0..key.len()).map(without).collect()
    });
}

#[test]
fn every_insertion_of_one_character_is_refused() {
    all_refused("inserted", |key| {
        let inserted = |at: usize| {
            (0_u8..128).map(move |byte| {
                key[..at]
                    .iter()
                    .copied()
                    .chain([char::from(byte)])
                    .chain(key[at..].iter().copied())
                    .collect()
            })
        };
        (0..=key.len()).flat_map(inserted).collect()
    });
}

#[test]
fn every_swap_of_two_characters_is_refused() {
    all_refused("swapped", |key| {
        let pairs =
            (0..key.len()).flat_map(|first| (first + 1..key.len()).map(move |second| (first, second)));
        pairs
            .map(|(first, second)| {
                let mut swapped = key.to_vec();
                swapped.swap(first, second);
                swapped.into_iter().collect()
            })
            .collect()
    });
}

#[test]
fn every_cut_and_every_doubling_is_refused_with_its_length() {
    for (key, prefix) in valid_texts() {
        let body_start = prefix.as_str().len() + 1;
        for end in body_start..key.len() {
            let refused = KeyText::parse(&key[..end], &prefix).map(|key| key.id());
            assert_eq!(
                refused,
                Err(Malformed::Length {
                    expected: key.len(),
                    got: end
                })
            );
        }
    }
}

#[test]
fn two_secrets_of_one_key_share_id_and_head_but_not_tail_or_digest() {
    let prefix = Prefix::dtvi();
    let mut random = Seeded(5);
    let [first, second] = [(); 2].map(|()| new_key_text(&prefix, key_id(), &mut random).unwrap());
    let [first, second] = [&first, &second].map(|text| KeyText::parse(text.reveal(), &prefix).unwrap());
    assert_eq!(first.id(), second.id());
    assert_eq!(first.hint().head, second.hint().head);
    assert_ne!(first.hint().tail, second.hint().tail);
    assert!(!first.digest().matches(&second.digest()));
    assert!(first.digest().matches(&first.digest()));
}

#[test]
fn what_debug_prints_of_a_key_holds_none_of_its_secret() {
    let prefix = Prefix::dtvi();
    let made = new_key_text(&prefix, key_id(), &mut Seeded(5)).unwrap();
    let key = KeyText::parse(made.reveal(), &prefix).unwrap();
    assert_eq!(format!("{made:?}"), "Secret<KeyText>");
    assert_eq!(format!("{key:?}"), "KeyText(0123456789abcdef...)");
    assert_eq!(format!("{:?}", key.digest()), "KeyDigest");
    assert_eq!(
        format!("{:?}", keyward_core::key_digest::KeptDigest::from(key.digest())),
        "KeptDigest"
    );
}

#[test]
fn the_whole_secret_part_is_drawn_and_no_key_comes_of_a_source_that_fails() {
    let prefix = Prefix::dtvi();
    let mut random = Seeded(9);
    let mut texts: Vec<String> = (0..200)
        .map(|_| {
            new_key_text(&prefix, key_id(), &mut random)
                .unwrap()
                .reveal()
                .to_owned()
        })
        .collect();
    for at in 5 + 22..5 + 87 {
        let mut seen: Vec<u8> = texts.iter().map(|text| text.as_bytes()[at]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 2, "character {at} hardly changes");
    }
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 200);
    assert!(new_key_text(&prefix, key_id(), &mut Broken).is_err());
    assert!(new_key_id(&keyring(1), &mut Broken).is_err());
}

#[test]
fn a_prefix_is_two_to_ten_lower_case_letters_or_digits() {
    for good in ["dtvi", "kw", "k1", "abcdefghij"] {
        let prefix: Prefix = good.parse().unwrap();
        assert_eq!((prefix.as_str(), prefix.key_length()), (good, good.len() + 99));
    }
    assert_eq!(Prefix::dtvi().key_length(), 103);
    for bad in [
        "",
        "d",
        "1k",
        "Dtvi",
        "dtvi_",
        "dt vi",
        "dt-vi",
        "abcdefghijk",
        "\u{e9}t",
    ] {
        assert!(bad.parse::<Prefix>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_is_made_parses_and_is_103_characters(seed: u64) {
        let (prefix, keyring, mut random) = (Prefix::dtvi(), keyring(seed), Seeded(seed ^ 1));
        let id = new_key_id(&keyring, &mut random).unwrap();
        let made = new_key_text(&prefix, id, &mut random).unwrap();
        prop_assert_eq!(made.reveal().len(), 103);
        prop_assert!(!made.reveal()[5..].contains(['-', '_']));
        let key = KeyText::parse(made.reveal(), &prefix).unwrap();
        prop_assert_eq!(key.id(), id);
        prop_assert!(keyring.knows_key_id(key.id()));
    }

    #[test]
    fn any_text_is_taken_or_refused_without_a_panic(text in "\\PC{0,120}|(dtvi_)?[A-Za-z0-9_\\-]{90,110}|[\\x00-\\x7f]{0,110}") {
        prop_assert!(KeyText::parse(&text, &Prefix::dtvi()).is_err());
    }

    #[test]
    fn a_valid_key_with_anything_spliced_into_it_is_refused(from in 0_usize..=103, to in 0_usize..=103, new in "\\PC{0,8}|[A-Za-z0-9]{0,8}") {
        let (key, prefix) = valid_texts().swap_remove(0);
        let (from, to) = (from.min(to), from.max(to));
        let spliced = format!("{}{new}{}", &key[..from], &key[to..]);
        prop_assume!(spliced != key);
        prop_assert!(KeyText::parse(&spliced, &prefix).is_err());
    }
}

#[test]
fn a_whole_key_is_found_in_any_text() {
    for (text, _) in valid_texts() {
        for held in [
            text.clone(),
            format!("my key: {text}, thanks"),
            format!("KEY=\"{text}\""),
        ] {
            assert!(holds_key(&held), "{held}");
        }
        assert!(!holds_key(&text[..text.len() - 1]), "one that is cut is no key");
    }
    let hash = "0123456789abcdef".repeat(8);
    for harmless in ["", "dtvi_", "the dtvi_ prefix", &hash, &format!("sha_{hash}")] {
        assert!(!holds_key(harmless), "{harmless}");
    }
}
