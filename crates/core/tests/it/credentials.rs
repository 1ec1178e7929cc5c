//! Reading credentials out of a request: what is taken, what is refused, and in which order.

use keyward_core::credentials::read;
use keyward_core::key_text::{Malformed, Prefix, new_key_text};
use keyward_core::refusal::{BadRequest, Refusal};
use proptest::prelude::*;

use crate::given::{Seeded, key_id};

fn key() -> String {
    new_key_text(&Prefix::dtvi(), key_id(), &mut Seeded(1))
        .unwrap()
        .reveal()
        .to_owned()
}

fn read_all(authorizations: &[&[u8]], organizations: &[&[u8]], query: Option<&str>) -> Result<(), Refusal> {
    let prefix = Prefix::dtvi();
    let read = read(
        authorizations.iter().copied(),
        organizations.iter().copied(),
        query,
        &prefix,
    );
    read.map(|credentials| {
        assert_eq!(credentials.key.id(), key_id());
        assert_eq!(credentials.organization, organizations.first().copied());
    })
}

fn with_header(header: &[u8]) -> Result<(), Refusal> {
    read_all(&[header], &[b"org-a"], None)
}

fn with_query(query: &str) -> Result<(), Refusal> {
    read_all(
        &[format!("Bearer {}", key()).as_bytes()],
        &[b"org-a"],
        Some(query),
    )
}

const IN_QUERY: Result<(), Refusal> = Err(Refusal::BadRequest(BadRequest::KeyInQuery));

#[test]
fn one_key_and_at_most_one_organization_are_taken() {
    let header = format!("Bearer {}", key());
    assert_eq!(read_all(&[header.as_bytes()], &[b"org-a"], None), Ok(()));
    assert_eq!(read_all(&[header.as_bytes()], &[], Some("")), Ok(()));
    // Whether an empty or a strange organization will do is decided later.
    assert_eq!(read_all(&[header.as_bytes()], &[b""], None), Ok(()));
    assert_eq!(read_all(&[header.as_bytes()], &[b"\xff"], None), Ok(()));
}

#[test]
fn the_scheme_is_taken_in_any_case() {
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_eq!(
            with_header(format!("{scheme} {}", key()).as_bytes()),
            Ok(()),
            "{scheme}"
        );
    }
}

#[test]
fn what_is_not_bearer_is_no_key() {
    let key = key();
    for header in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer    ".to_owned(),
        "Bearer\t".to_owned(),
        "Basic dXNlcjpwYXNz".to_owned(),
        format!("Basic {key}"),
        format!("Token {key}"),
        format!("Bearers {key}"),
        format!("Bearer:{key}"),
        format!("Bearer{key}"),
        format!("Bearer={key}"),
        format!(" Bearer {key}"),
        key.clone(),
        "\u{e9}".repeat(10),
    ] {
        assert_eq!(
            with_header(header.as_bytes()),
            Err(Refusal::KeyMissing),
            "{header}"
        );
    }
    assert_eq!(read_all(&[], &[b"org-a"], None), Err(Refusal::KeyMissing));
}

#[test]
fn a_space_too_many_a_tab_quotes_and_strange_bytes_are_named() {
    let key = key();
    let malformed = |header: &[u8]| match with_header(header) {
        Err(Refusal::KeyMalformed(defect)) => defect,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        malformed(format!("Bearer  {key}").as_bytes()),
        Malformed::SurroundingSpace
    );
    assert_eq!(
        malformed(format!("Bearer\t{key}").as_bytes()),
        Malformed::SurroundingSpace
    );
    assert_eq!(
        malformed(format!("Bearer \t{key}").as_bytes()),
        Malformed::SurroundingSpace
    );
    assert_eq!(
        malformed(format!("Bearer {key} ").as_bytes()),
        Malformed::SurroundingSpace
    );
    assert_eq!(
        malformed(format!("Bearer \"{key}\"").as_bytes()),
        Malformed::Quotes
    );
    assert_eq!(
        malformed(format!("Bearer {key} {key}").as_bytes()),
        Malformed::InnerSpace { position: 104 }
    );
    assert_eq!(
        malformed(format!("Bearer {key},{key}").as_bytes()),
        Malformed::Length {
            expected: 103,
            got: 207
        }
    );
    assert_eq!(
        malformed(b"Bearer abc"),
        Malformed::Prefix {
            expected: "dtvi".to_owned()
        }
    );

    // Bytes that are no UTF-8: the defects are named in the usual order, and counted in characters.
    let mut bytes = format!("Bearer {key}").into_bytes();
    bytes[7 + 60] = 0xff;
    assert_eq!(malformed(&bytes), Malformed::Character { position: 61 });
    bytes.push(b' ');
    assert_eq!(malformed(&bytes), Malformed::SurroundingSpace);
    assert_eq!(
        malformed(b"Bearer \xff\xfe"),
        Malformed::Prefix {
            expected: "dtvi".to_owned()
        }
    );
    let mut latin1 = format!("Bearer {key}").into_bytes();
    latin1.push(0xe9);
    assert_eq!(
        malformed(&latin1),
        Malformed::Length {
            expected: 103,
            got: 104
        }
    );
}

#[test]
fn a_header_twice_is_a_contradiction_even_if_both_say_the_same() {
    let header = format!("Bearer {}", key());
    let header = header.as_bytes();
    let two_keys = Err(Refusal::BadRequest(BadRequest::TwoAuthorizations));
    let two_organizations = Err(Refusal::BadRequest(BadRequest::TwoOrganizations));
    assert_eq!(read_all(&[header, header], &[], None), two_keys);
    assert_eq!(read_all(&[header, b"Basic x"], &[], None), two_keys);
    assert_eq!(read_all(&[b"", b""], &[], None), two_keys);
    assert_eq!(
        read_all(&[header], &[b"org-a", b"org-a"], None),
        two_organizations
    );
    assert_eq!(read_all(&[header], &[b"org-a", b""], None), two_organizations);
}

#[test]
fn a_contradiction_comes_before_a_missing_key_and_that_before_a_malformed_one() {
    let missing: &[&[u8]] = &[];
    let malformed: &[&[u8]] = &[b"Bearer abc"];
    let two_organizations = Err(Refusal::BadRequest(BadRequest::TwoOrganizations));
    let query = "secret_key=x";
    for authorizations in [missing, malformed] {
        assert_eq!(read_all(authorizations, &[], Some(query)), IN_QUERY);
        assert_eq!(read_all(authorizations, &[b"a", b"b"], None), two_organizations);
        assert_eq!(
            read_all(authorizations, &[b"a", b"b"], Some(query)),
            two_organizations
        );
    }
    let two: &[&[u8]] = &[b"Bearer abc", b"Bearer abc"];
    let two_keys = Err(Refusal::BadRequest(BadRequest::TwoAuthorizations));
    assert_eq!(read_all(two, &[b"a", b"b"], Some(query)), two_keys);
}

#[test]
fn a_key_in_the_query_is_found_by_the_parameters_name() {
    for query in [
        "secret_key=x",
        "SECRET_KEY=x",
        "secretKey=x",
        "secret-key=x",
        "secret%5Fkey=x",
        "api_key=x",
        "apikey=x",
        "access_token=x",
        "p=2&access_token=x",
        "p=2;secret_key=x",
        "intent=sdkLocalDeploy?secret_key=x",
    ] {
        assert_eq!(with_query(query), IN_QUERY, "{query}");
    }
}

#[test]
fn a_key_in_the_query_is_found_by_its_look_wherever_it_stands() {
    let key = key();
    let body = &key[5..];
    for query in [
        format!("q={key}"),
        key.clone(),
        format!("{key}="),
        format!("{key}=1&p=2"),
        format!("p=2&key={key}&s=10"),
        format!("q=Bearer%20{key}"),
        format!("q=Bearer+{key}"),
        format!("q=dtvi%5F{body}"),
        format!("q=dtvi%5f{body}"),
        format!("q=dtvi%255F{body}"),
        format!("q=%64tvi_{body}"),
        format!("q=%22{key}%22"),
        format!("filter={{'k':'{key}'}}"),
        format!("intent=x?p={key}"),
        format!("q={}", &key[..60]),
        format!("q={}", &key[..5 + 24]),
    ] {
        assert_eq!(with_query(&query), IN_QUERY, "{query}");
    }
}

#[test]
fn an_innocent_query_passes() {
    let key = key();
    for query in [
        "",
        "s=10",
        "p=eyJpZCI6ImQtMTIzIiwiYXQiOjE3NTAwMDAwMDB9&s=25",
        "p=AbCdtvi_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
        "filter={'name':'dtvi_2024'}&contents=y",
        "filter=dtvi_",
        "filter=dtvi",
        "q=dtvi_MDEyMz",
        "q=dtvi_MDEyMz...x7Qw",
        "key=name&sortBy=key",
        "secret_key=",
        "secret_key",
        "api_key_count=3",
        "my_secret_key=3",
        "intent=sdkLocalDeploy?p=TOKEN&s=10",
        "x=100%&y=%zz&z=%",
        "q=%C3%A9%FF",
    ] {
        assert_eq!(with_query(query), Ok(()), "{query}");
    }
    // As much as the public id needs is no secret.
    assert_eq!(with_query(&format!("q={}", &key[..5 + 21])), Ok(()));
}

#[test]
fn a_key_of_another_prefix_is_looked_for_under_that_prefix() {
    let prefix: Prefix = "acme".parse().unwrap();
    let key = new_key_text(&prefix, key_id(), &mut Seeded(1)).unwrap();
    let header = format!("Bearer {}", key.reveal());
    let read = |query: &str| read([header.as_bytes()], [], Some(query), &prefix).map(|_| ());
    assert_eq!(read("p=1"), Ok(()));
    assert_eq!(read(&format!("p={}", key.reveal())), IN_QUERY);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(
        authorization in prop::collection::vec(any::<u8>(), 0..150),
        token in prop::collection::vec(any::<u8>(), 0..150),
        query in "\\PC{0,60}",
    ) {
        prop_assert!(read_all(&[&authorization], &[], Some(&query)).is_err());
        let bearer = [b"Bearer ".as_slice(), &token].concat();
        prop_assert!(read_all(&[&bearer], &[&token], None).is_err());
    }

    #[test]
    fn an_opaque_cursor_never_looks_like_a_key(cursor in "[A-Za-z0-9_-]{0,120}") {
        prop_assume!(!cursor.starts_with("dtvi_"));
        prop_assert_eq!(with_query(&format!("p={cursor}&s=10")), Ok(()));
    }
}
