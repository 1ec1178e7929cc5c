//! The bodies of what strangers are told most: that a key is missing, malformed or unknown. Made once, and then copied.
//!
//! Such a refusal says the same to everybody, but for the id of the request, and there can be as many as somebody likes to send. It is
//! rendered as every other problem document, with a mark in the place of the id. Refusals that tell of a key, of a resource or of
//! the organization that was named are not kept here. There is room for as many as there are kinds, and no key's text is in any.

use std::sync::OnceLock;

use keyward_core::ids::RequestId;
use keyward_core::key_text::Malformed;
use keyward_core::refusal::Refusal;

/// Lengths and places up to here are kept, each with a body of its own.
const MAX_NUMBER: usize = 128;
/// Kinds without a number.
const KINDS: usize = 7;
/// Kinds with one.
const NUMBERED_KINDS: usize = 3;

/// What comes before and after the id.
#[derive(Debug)]
struct Halves {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

/// Every body that was needed so far.
#[derive(Debug)]
pub(crate) struct RefusalBodies {
    made: Box<[OnceLock<Option<Halves>>]>,
}

impl RefusalBodies {
    pub(crate) fn new() -> Self {
        let places = KINDS + NUMBERED_KINDS * MAX_NUMBER;
        Self {
            made: (0..places).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The body of a refusal, with a request's id in it; `None` for one that is not kept. `render` makes the body for an id.
    pub(crate) fn body(
        &self,
        refusal: &Refusal,
        id: &RequestId,
        render: impl FnOnce(&str) -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let place = self.made.get(place_of(refusal)?)?;
        let make = || {
            let mark = "0".repeat(id.as_str().len());
            split(&render(&mark), mark.as_bytes())
        };
        let halves = place.get_or_init(make).as_ref()?;
        Some([&halves.before, id.as_str().as_bytes(), &halves.after].concat())
    }
}

/// Where a refusal's body is; `None` if its words depend on more.
fn place_of(refusal: &Refusal) -> Option<usize> {
    let numbered =
        |kind: usize, number: usize| (number < MAX_NUMBER).then_some(KINDS + kind * MAX_NUMBER + number);
    match refusal {
        Refusal::KeyMissing => Some(0),
        Refusal::KeyUnknown => Some(1),
        Refusal::KeyMalformed(malformed) => match malformed {
            Malformed::SurroundingSpace => Some(2),
            Malformed::Quotes => Some(3),
            Malformed::ManagementToken => Some(4),
            Malformed::Checksum => Some(5),
            // The server's own prefix, and its own length.
            Malformed::Prefix { .. } => Some(6),
            Malformed::Length { got, .. } => numbered(0, *got),
            Malformed::Character { position } => numbered(1, *position),
            Malformed::InnerSpace { position } => numbered(2, *position),
        },
        _ => None,
    }
}

/// Around the one place where the mark stands.
fn split(body: &[u8], mark: &[u8]) -> Option<Halves> {
    let mut places = body
        .windows(mark.len())
        .enumerate()
        .filter(|(_, window)| *window == mark);
    let (at, _) = places.next()?;
    if places.next().is_some() {
        return None;
    }
    let (before, rest) = body.split_at_checked(at)?;
    Some(Halves {
        before: before.into(),
        after: rest.get(mark.len()..)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let plain = [
            Refusal::KeyMissing,
            Refusal::KeyUnknown,
            Refusal::KeyMalformed(Malformed::SurroundingSpace),
            Refusal::KeyMalformed(Malformed::Quotes),
            Refusal::KeyMalformed(Malformed::ManagementToken),
            Refusal::KeyMalformed(Malformed::Checksum),
            Refusal::KeyMalformed(Malformed::Prefix {
                expected: "dtvi".to_owned(),
            }),
        ];
        let numbered = (0..MAX_NUMBER).flat_map(|number| {
            [
                Malformed::Length {
                    expected: 103,
                    got: number,
                },
                Malformed::Character { position: number },
                Malformed::InnerSpace { position: number },
            ]
            .map(Refusal::KeyMalformed)
        });
        let places: Vec<usize> = plain
            .into_iter()
            .chain(numbered)
            .map(|refusal| place_of(&refusal).unwrap())
            .collect();
        let different: HashSet<usize> = places.iter().copied().collect();
        assert_eq!(different.len(), places.len());
        assert_eq!(
            places.into_iter().max(),
            Some(RefusalBodies::new().made.len() - 1)
        );
        let long = Refusal::KeyMalformed(Malformed::Length {
            expected: 103,
            got: MAX_NUMBER,
        });
        assert_eq!(place_of(&long), None);
        assert_eq!(place_of(&Refusal::OrganizationMissing), None);
    }

    #[test]
    fn the_mark_is_replaced_where_it_stands_once() {
        let halves = split(b"{\"id\":\"000\"}", b"000").unwrap();
        assert_eq!(
            (&*halves.before, &*halves.after),
            (b"{\"id\":\"".as_slice(), b"\"}".as_slice())
        );
        assert!(split(b"{\"id\":\"000\",\"of\":\"000\"}", b"000").is_none());
        assert!(split(b"{}", b"000").is_none());
    }
}
