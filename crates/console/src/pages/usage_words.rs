//! What uses, refusals and deeds are called: the words that activity, reports and key pages share.
//!
//! A code that is not known here is shown as it is: what a newer version recorded must not vanish.

use keyward_core::record::Actor;
use keyward_core::refusal::Code;
use keyward_core::usage::{Outcome, UsedFor};

use super::key_summary::phrase;
use crate::call::Call;
use crate::refused::Refused;
use crate::visit::Visit;

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

/// A deed of the trail about one key, as a short sentence without its subject.
pub(super) fn action_words(action: &str) -> String {
    match action {
        "key.create" => "Made the key",
        "key.edit" => "Edited its settings",
        "key.pause" => "Paused the key",
        "key.resume" => "Resumed the key",
        "key.delete" => "Ended the key",
        "key.hand_over" => "Handed the key over",
        "key.repeat_value" => "Was shown the value once more, for a repeated form or request",
        "key.rotate" => "Rotated: a new secret was made",
        "key.rotation_activate" => "Made the new secret the current one",
        "key.rotation_cancel" => "Cancelled the rotation",
        "key.rotation_dropped" => "The new secret was never used and was dropped",
        "key.rotation_end" => "The old secret came to its end",
        "key.rotation_finish" => "Ended the old secret",
        "key.rotation_first_use" => "The new secret was used for the first time",
        other => other,
    }
    .to_owned()
}

/// Who did something, as people know them: an e-mail address, a token's name.
///
/// # Errors
/// What the engine says, but not that nobody is there any more.
pub(super) async fn actor_name(visit: &Visit, call: &Call, actor: &Actor) -> Result<String, Refused> {
    let found = match actor {
        Actor::LocalAdministrator => return Ok("the operator of this server".to_owned()),
        Actor::System => return Ok("Keyward itself".to_owned()),
        Actor::Key(id) => return Ok(format!("the secret key {id}")),
        Actor::Person(id) => call
            .engine()
            .show_member(visit.id(), id)
            .await
            .map(|member| member.email),
        Actor::Token(id) => call
            .engine()
            .show_token(visit.id(), *id)
            .await
            .map(|token| format!("the token {}", token.name)),
    };
    match found {
        Ok(name) => Ok(name),
        Err(keyward_engine::EngineError::NotFound(_)) => Ok(format!("somebody who left ({actor})")),
        Err(other) => Err(other.into()),
    }
}

/// With a capital letter at its begin.
pub(super) fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
