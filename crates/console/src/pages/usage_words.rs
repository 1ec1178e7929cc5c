//! What uses and refusals are called: the words that activity, reports and key pages share.
//!
//! A code that is not known here is shown as it is: what a newer version recorded must not vanish.

use keyward_core::refusal::Code;
use keyward_core::usage::{Outcome, UsedFor};

use super::key_summary::phrase;

/// What a request was for: `View datasets`, or the name itself.
pub(super) fn used_for_words(name: &str) -> String {
    match UsedFor::from_name(name) {
        Some(UsedFor::Identify) => "Check the key".to_owned(),
        Some(UsedFor::Perform(operation)) => capitalized(phrase(operation)),
        None => name.to_owned(),
    }
}

/// How a request ended, in a few words.
pub(super) fn outcome_words(name: &str) -> &str {
    let code = match Outcome::from_name(name) {
        None => return name,
        Some(Outcome::Accepted) => return "Accepted",
        Some(Outcome::Refused(code)) => code,
    };
    match code {
        Code::BadRequest => "Refused: contradictory request",
        Code::KeyMissing => "Refused: no key",
        Code::KeyMalformed => "Refused: no whole key",
        Code::KeyUnknown => "Refused: wrong secret",
        Code::OrganizationMissing => "Refused: no organization named",
        Code::OrganizationMismatch => "Refused: another organization named",
        Code::KeyDeleted => "Refused: the key was deleted",
        Code::KeySuperseded => "Refused: an old secret",
        Code::KeyPaused => "Refused: paused",
        Code::KeyNotYetValid => "Refused: not valid yet",
        Code::KeyExpired => "Refused: expired",
        Code::AddressNotAllowed => "Refused: address not allowed",
        Code::ScopeMissing => "Refused: access missing",
        Code::OperationNotPermitted => "Refused: operation not permitted",
        Code::ResourceNotPermitted => "Refused: resource not permitted",
        Code::OrganizationLocked => "Refused: organization locked",
        Code::RateLimited => "Refused: too many requests",
        Code::StoreUnavailable => "Refused: could not be checked",
    }
}

/// Whether an outcome is a refusal.
pub(super) fn is_refusal(name: &str) -> bool {
    name != Outcome::Accepted.name()
}

/// With a capital letter at its begin.
pub(super) fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
