//! The keyring's text, its rotation, and the ids it recognises.

use keyward_core::ids::KeyId;
use keyward_core::key_digest::KeyDigest;
use keyward_core::key_text::new_key_id;
use keyward_core::keyring::{Keyring, KeyringRefused};
use keyward_core::seal::{OpenRefused, open, seal};
use proptest::prelude::*;

use crate::given::{Broken, NOW, Seeded, keyring};

const DAY: i64 = keyward_core::time::DAY_MS;

fn refused(text: &str) -> KeyringRefused {
    Keyring::from_text(text).map(|_| ()).unwrap_err()
}

#[test]
fn the_text_reads_back_as_the_same_keyring() {
    let first = keyring(1)
        .with_new_version(&mut Seeded(2), NOW.plus_ms(DAY))
        .unwrap();
    let again = Keyring::from_text(&first.to_text()).unwrap();
    assert_eq!(again.summary(), first.summary());
    assert_eq!(again.to_text(), first.to_text());
    assert!(again.has_check_value(&first.check_value()));
    let digest = KeyDigest::of("k");
    let sealed = seal(&first, &digest, b"row", &mut Seeded(3)).unwrap();
    assert!(open(&again, &sealed, b"row").unwrap().matches(&digest));
    let id = new_key_id(&first, &mut Seeded(4)).unwrap();
    assert!(again.knows_key_id(id));
}

#[test]
fn a_text_that_is_no_keyring_is_refused_with_a_reason() {
    let good = keyring(1).to_text().to_string();
    assert!(Keyring::from_text(&good).is_ok());
    let mac_key = good
        .split("\"key_id_mac_key\": \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let id = keyring(1).id().to_owned();
    let cases = [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.replace("\"active\": 1", "\"active\": 2"),
        good.replace("\"active\": 1", "\"active\": -1"),
        good.replace("\"1\":", "\"0\":")
            .replace("\"active\": 1", "\"active\": 0"),
        good.replace("\"1\":", "\"4294967295\":")
            .replace("\"active\": 1", "\"active\": 4294967295"),
        good.replace("\"active\"", "\"actief\""),
        good.replace("\"format\": 1,", "\"format\": 1, \"extra\": true,"),
        good.replace(&mac_key, ""),
        good.replace(&mac_key, &mac_key[1..]),
        good.replace(&mac_key, &format!("{mac_key}AAAA")),
        good.replace(&mac_key, &format!("!{}", &mac_key[1..])),
        good.replace(&id, ""),
        good.replace(&id, "../../etc/passwd"),
    ];
    for text in cases {
        assert!(matches!(refused(&text), KeyringRefused::Unreadable(_)), "{text}");
    }
}

#[test]
fn a_later_format_is_named_even_if_nothing_else_of_it_is_understood() {
    let good = keyring(1).to_text().to_string();
    assert_eq!(
        refused(&good.replace("\"format\": 1", "\"format\": 2")),
        KeyringRefused::Format(2)
    );
    assert_eq!(
        refused(r#"{"format": 3, "rings": []}"#),
        KeyringRefused::Format(3)
    );
}

#[test]
fn what_is_refused_or_printed_holds_no_key() {
    let ring = keyring(1).with_new_version(&mut Seeded(2), NOW).unwrap();
    let text = ring.to_text().to_string();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = [
        &value["key_id_mac_key"],
        &value["versions"]["1"]["key"],
        &value["versions"]["2"]["key"],
    ]
    .map(|key| key.as_str().unwrap().to_owned());
    let broken = refused(&text.replace("\"active\": 2", "\"active\": 9"));
    let shown = format!("{ring:?} {:?} {broken:?} {broken}", ring.summary());
    for key in &keys {
        assert_eq!(key.len(), 43);
        assert!(!shown.contains(key.as_str()));
    }
    assert_eq!(format!("{ring:?}"), format!("Keyring({}, version 2)", ring.id()));
}

#[test]
fn a_new_version_seals_from_then_on_and_the_old_one_still_opens() {
    let first = keyring(1);
    let digest = KeyDigest::of("k");
    let old = seal(&first, &digest, b"row", &mut Seeded(3)).unwrap();
    let second = first.with_new_version(&mut Seeded(2), NOW.plus_ms(DAY)).unwrap();
    assert_eq!((first.active(), second.active()), (1, 2));
    assert_eq!(second.summary().versions, [(1, NOW), (2, NOW.plus_ms(DAY))]);
    let new = seal(&second, &digest, b"row", &mut Seeded(3)).unwrap();
    assert_eq!((old.keyring_version, new.keyring_version), (1, 2));
    assert!(open(&second, &old, b"row").unwrap().matches(&digest));
    assert!(open(&second, &new, b"row").unwrap().matches(&digest));

    let only = second.with_active_only().unwrap();
    assert_eq!(only.summary().versions, [(2, NOW.plus_ms(DAY))]);
    assert_eq!(
        open(&only, &old, b"row").err(),
        Some(OpenRefused::NoSuchVersion(1))
    );
    assert!(open(&only, &new, b"row").unwrap().matches(&digest));
    // Ids that were given out, and the database's check value, outlive a rotation.
    let id = new_key_id(&first, &mut Seeded(4)).unwrap();
    assert!(only.knows_key_id(id) && only.has_check_value(&first.check_value()));
    // Numbers are not used again after old ones went.
    assert_eq!(only.with_new_version(&mut Seeded(5), NOW).unwrap().active(), 3);
    // The versions have different keys: a seal that claims the other version does not open.
    let mut moved = old.clone();
    moved.keyring_version = 2;
    assert_eq!(open(&second, &moved, b"row").err(), Some(OpenRefused::Changed));
}

#[test]
fn another_keyring_is_told_apart_and_recognises_nothing() {
    let (ours, theirs) = (keyring(1), keyring(2));
    assert_ne!(ours.id(), theirs.id());
    assert_ne!(ours.check_value(), theirs.check_value());
    assert!(ours.has_check_value(&ours.check_value()));
    for other in [
        theirs.check_value().as_slice(),
        &[],
        &ours.check_value()[..31],
        &[0; 32],
    ] {
        assert!(!ours.has_check_value(other));
    }
    assert!(!theirs.knows_key_id(new_key_id(&ours, &mut Seeded(4)).unwrap()));
    // The same id with other keys is another keyring too.
    let swapped = ours.to_text().replace(ours.id(), theirs.id());
    assert!(!theirs.has_check_value(&Keyring::from_text(&swapped).unwrap().check_value()));
}

#[test]
fn no_keyring_comes_of_a_source_that_fails() {
    assert!(Keyring::generate(&mut Broken, NOW).is_err());
    assert!(keyring(1).with_new_version(&mut Broken, NOW).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn an_id_with_any_one_character_changed_is_not_ours(seed: u64) {
        let keyring = keyring(seed);
        let id = new_key_id(&keyring, &mut Seeded(seed ^ 1)).unwrap();
        for at in 0..16 {
            for byte in b"0123456789abcdefghijklmnopqrstuvwxyz" {
                let mut changed = *id.as_bytes();
                changed[at] = *byte;
                let changed = KeyId::from_bytes(&changed).unwrap();
                prop_assert_eq!(keyring.knows_key_id(changed), changed == id);
            }
        }
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
        prop_assert!(Keyring::from_text(&text).is_err());
    }
}
