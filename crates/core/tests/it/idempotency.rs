//! Idempotency keys: what is one, what a sealed value opens with, and that nothing else opens it.

use keyward_core::idempotency::{
    attempt_digest, open_value, read_idempotency_key, request_digest, seal_value,
};
use keyward_core::keyring::Keyring;
use keyward_core::secret::Secret;

use crate::given::{NOW, Seeded, keyring};

#[test]
fn an_idempotency_key_has_room_for_128_bits() {
    for good in [
        "0123456789abcdef012345",
        "\"550e8400-e29b-41d4-a716-446655440000\"",
        &"0123456789".repeat(25),
    ] {
        assert!(read_idempotency_key(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in [
        "",
        "0123456789abcdef01234",
        &"a".repeat(32),
        "0123456789 abcdef0123456789",
        &"0123456789".repeat(26),
        "0123456789abcdef\u{e4}012345",
    ] {
        assert!(read_idempotency_key(bad.as_bytes()).is_err(), "{bad}");
    }
    let quoted = read_idempotency_key(b"\"0123456789abcdef012345\"").unwrap();
    assert_eq!(quoted.reveal(), "0123456789abcdef012345");
}

#[test]
fn a_value_opens_with_the_same_key_attempt_and_keyring_alone() {
    let ring = keyring(1);
    let organization = "org-a".parse().unwrap();
    let key = |text: &str| read_idempotency_key(text.as_bytes()).unwrap();
    let (own, other) = (key("0123456789abcdef012345"), key("0123456789abcdef012346"));
    let attempt = attempt_digest(&own, "person/p1", &organization);
    let value = Secret::new("dtvi_value".to_owned());
    let sealed = seal_value(&ring, &own, &attempt, &value, &mut Seeded(2)).unwrap();
    let opened = |ring: &Keyring, key: &_, attempt: &_| {
        open_value(ring, key, attempt, &sealed).map(|value| value.reveal().to_owned())
    };
    assert_eq!(opened(&ring, &own, &attempt).as_deref(), Some("dtvi_value"));
    assert_eq!(opened(&ring, &other, &attempt), None);
    let another_ring = keyring(3);
    assert_eq!(opened(&another_ring, &own, &attempt), None);
    let elsewhere = attempt_digest(&own, "person/p2", &organization);
    assert_ne!(attempt, elsewhere);
    assert_eq!(opened(&ring, &own, &elsewhere), None);
    let rotated = ring.with_new_version(&mut Seeded(4), NOW).unwrap();
    assert_eq!(opened(&rotated, &own, &attempt).as_deref(), Some("dtvi_value"));
}

#[test]
fn requests_are_the_same_in_route_subject_and_body() {
    let one = request_digest("create", "org-a", b"{}");
    assert_eq!(one, request_digest("create", "org-a", b"{}"));
    for other in [
        request_digest("rotate", "org-a", b"{}"),
        request_digest("create", "org-b", b"{}"),
        request_digest("create", "org-a", b"{ }"),
    ] {
        assert_ne!(one, other);
    }
}
