//! Management tokens: texts that are made like keys', are never taken for one, and are guarded like one.

use keyward_core::credentials::{read, read_token};
use keyward_core::ids::TokenId;
use keyward_core::key_text::{KeyText, Malformed, Prefix, new_key_text, new_token_text};
use keyward_core::mask::mask_keys;
use keyward_core::record::Actor;
use keyward_core::refusal::{BadRequest, Refusal};

use crate::given::{Seeded, key_id};

fn token() -> String {
    new_token_text(TokenId::of_text(key_id()), &mut Seeded(1))
        .unwrap()
        .reveal()
        .to_owned()
}

#[test]
fn a_token_is_made_like_a_key_and_parses_under_its_own_prefix_alone() {
    let token = token();
    let parsed = KeyText::parse(&token, &Prefix::management_token()).unwrap();
    assert_eq!((parsed.id(), token.len()), (key_id(), 103));
    assert!(parsed.hint().head.starts_with("kwmt_"));
    let key = new_key_text(&Prefix::dtvi(), key_id(), &mut Seeded(1)).unwrap();
    assert_eq!(
        token[5..45],
        key.reveal()[5..45],
        "the same but for prefix and checksum"
    );
    assert_eq!(
        KeyText::parse(key.reveal(), &Prefix::management_token()).unwrap_err(),
        Malformed::Prefix {
            expected: "kwmt".to_owned()
        }
    );
    for text in [token.as_str(), &token[..30], "kwmt_"] {
        let refused = KeyText::parse(text, &Prefix::dtvi()).unwrap_err();
        assert_eq!(refused, Malformed::ManagementToken, "{text}");
        let sentence = Refusal::KeyMalformed(refused).sentence();
        assert!(sentence.contains("management token"), "{sentence}");
    }
    assert!(
        "kwmt".parse::<Prefix>().is_err(),
        "no installation's keys begin so"
    );
    assert!("kwmt2".parse::<Prefix>().is_ok());
}

#[test]
fn a_token_in_a_url_is_refused_and_masked() {
    let token = token();
    let in_url = Refusal::BadRequest(BadRequest::KeyInQuery);
    for query in [
        format!("a={token}"),
        token.clone(),
        format!("a=kwmt%5F{}", &token[5..]),
    ] {
        let refused = read([], [], Some(&query), &Prefix::dtvi()).unwrap_err();
        assert_eq!(refused, in_url, "{query}");
        assert_eq!(read_token([], Some(&query), &Prefix::dtvi()), Err(in_url.clone()));
        let masked = mask_keys(&query, "dtvi").into_owned();
        let is_whole = token.as_bytes()[11..]
            .windows(8)
            .any(|part| masked.contains(std::str::from_utf8(part).unwrap()));
        assert!(!is_whole, "{masked}");
    }
}

#[test]
fn whatever_stands_after_bearer_is_read_once() {
    let prefix = Prefix::dtvi();
    let lines = |lines: &'static [&'static [u8]]| read_token(lines.iter().copied(), None, &prefix);
    assert_eq!(lines(&[b"Bearer kwmt_x"]), Ok(&b"kwmt_x"[..]));
    assert_eq!(lines(&[b"bearer  a"]), Ok(&b" a"[..]));
    assert_eq!(lines(&[]), Err(Refusal::KeyMissing));
    for none in ["Basic a", "Bearer", "Bearer ", "kwmt_x"] {
        let read = read_token([none.as_bytes()], None, &prefix);
        assert_eq!(read, Err(Refusal::KeyMissing), "{none}");
    }
    let twice = lines(&[b"Bearer a", b"Bearer a"]);
    assert_eq!(twice, Err(Refusal::BadRequest(BadRequest::TwoAuthorizations)));
}

#[test]
fn a_token_is_named_in_the_trail_by_its_id() {
    let actor = Actor::Token(TokenId::of_text(key_id()));
    assert_eq!(actor.to_string(), format!("token/{}", key_id()));
    assert_eq!(actor.to_string().parse(), Ok(actor));
    assert!("token/x".parse::<Actor>().is_err());
}
