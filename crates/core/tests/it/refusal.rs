//! Every refusal as its reader meets it: code, status, sentence.

use keyward_core::key_text::Malformed;
use keyward_core::level::PermissionLevel as Level;
use keyward_core::operation::{LevelAnswer, Operation};
use keyward_core::rate::RateStatus;
use keyward_core::refusal::{BadRequest, Code, Refusal};
use keyward_core::resource::ResourceType;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::{DeleteReason, PauseReason};

use crate::given::NOW;

const DATASET: ScopeSet = ScopeSet::NONE.with(Scope::Dataset);

const STATUS: RateStatus = RateStatus {
    limit: 5,
    period_seconds: 60,
    remaining: 0,
    reset_after_seconds: 60,
};

fn scope_missing(operation: Operation, held: ScopeSet) -> Refusal {
    Refusal::ScopeMissing { operation, held }
}

fn not_permitted(operation: Operation, level: Level) -> Refusal {
    Refusal::OperationNotPermitted { operation, level }
}

fn not_here(operation: Operation, resource_type: Option<ResourceType>) -> Refusal {
    Refusal::ResourceNotPermitted {
        operation,
        resource_type,
    }
}

#[rustfmt::skip]
fn every_refusal() -> Vec<(Refusal, u16, &'static str, &'static str)> {
    vec![
        (Refusal::BadRequest(BadRequest::TwoAuthorizations), 400, "bad_request",
         "The request has more than one Authorization header; send exactly one."),
        (Refusal::BadRequest(BadRequest::TwoOrganizations), 400, "bad_request",
         "The request has more than one Organization-Id header; send exactly one."),
        (Refusal::BadRequest(BadRequest::KeyInQuery), 400, "bad_request",
         "A secret key must not stand in a URL, where proxies and histories keep it; send it in the header `Authorization: Bearer <secret key>`, and treat a key that was in a URL as leaked."),
        (Refusal::KeyMissing, 401, "key_missing",
         "No secret key came with the request; send it in the header `Authorization: Bearer <secret key>` (DATATURE_VI_SECRET_KEY for the official client)."),
        (Refusal::KeyMalformed(Malformed::SurroundingSpace), 401, "key_malformed",
         "The secret key is incomplete, or something was added to it: there are spaces or line ends around it; remove them."),
        (Refusal::KeyMalformed(Malformed::Quotes), 401, "key_malformed",
         "The secret key is incomplete, or something was added to it: there are quotes around it; remove them."),
        (Refusal::KeyMalformed(Malformed::InnerSpace { position: 41 }), 401, "key_malformed",
         "The secret key is incomplete, or something was added to it: there is a space or line end inside it, at character 41; copy it again as one line."),
        (Refusal::KeyMalformed(Malformed::Prefix { expected: "dtvi".to_owned() }), 401, "key_malformed",
         "The secret key is incomplete, or something was added to it: a key of this server begins with `dtvi_`, and this text does not."),
        (Refusal::KeyMalformed(Malformed::Length { expected: 103, got: 102 }), 401, "key_malformed",
         "The secret key is incomplete, or something was added to it: it has 102 characters instead of 103; copy it again."),
        (Refusal::KeyMalformed(Malformed::Character { position: 7 }), 401, "key_malformed",
         "The secret key is incomplete, or something was added to it: character 7 can't be right; copy it again."),
        (Refusal::KeyMalformed(Malformed::Checksum), 401, "key_malformed",
         "The secret key is incomplete, or something was added to it: its checksum is wrong, so a character was changed; copy it again."),
        (Refusal::KeyUnknown, 401, "key_unknown",
         "The secret key is well formed, but this server does not know it; check that the endpoint is the server that made the key."),
        (Refusal::OrganizationMissing, 401, "organization_missing",
         "The organization id is missing; send it in the header `Organization-Id` (DATATURE_VI_ORGANIZATION_ID for the official client)."),
        (Refusal::OrganizationMismatch, 401, "organization_mismatch",
         "The organization id does not fit the secret key; use the id that is shown beside the key, the same in the path and in the header `Organization-Id`."),
        (Refusal::KeyDeleted { reason: DeleteReason::CreatorLeft }, 401, "key_deleted",
         "The secret key was deleted (reason: creator left) and does not come back; make a new one."),
        (Refusal::KeySuperseded, 401, "key_superseded",
         "The secret key was rotated and this is its old secret; use the new one."),
        (Refusal::KeyPaused { reason: PauseReason::Requested }, 401, "key_paused",
         "The secret key is paused; an Owner or Admin can resume it."),
        (Refusal::KeyPaused { reason: PauseReason::Restored }, 401, "key_paused",
         "The secret key came back with a restored backup and is held; the operator can resume it with `keyward keys resume`."),
        (Refusal::KeyNotYetValid { from: NOW }, 401, "key_not_yet_valid",
         "The secret key is not valid yet"),
        (Refusal::KeyExpired { at: NOW }, 401, "key_expired",
         "The secret key has expired; make a new one"),
        (Refusal::AddressNotAllowed, 403, "address_not_allowed",
         "The secret key may not be used from this address; an Owner or Admin can change its list."),
        (scope_missing(Operation::ModelDownload, DATASET.with(Scope::Deployment)), 403, "scope_missing",
         "`model.download` needs the scope `training`; the secret key has dataset, deployment."),
        (scope_missing(Operation::OrganizationWrite, DATASET), 403, "scope_missing",
         "`organization.write` needs all three scopes (dataset, training, deployment); the secret key has dataset."),
        (not_permitted(Operation::DatasetWrite, Level::ReadOnly), 403, "operation_not_permitted",
         "`dataset.write` is not permitted to a Read Only key; it needs Full."),
        (not_permitted(Operation::AnnotationWrite, Level::ReadOnly), 403, "operation_not_permitted",
         "`annotation.write` is not permitted to a Read Only key; it needs Full or Labeler Only."),
        (not_permitted(Operation::DatasetExport, Level::LabelerOnly), 403, "operation_not_permitted",
         "`dataset.export` is not permitted to a Labeler Only key; it needs Full or Read Only."),
        (not_permitted(Operation::InferenceRun, Level::Restricted), 403, "operation_not_permitted",
         "`inference.run` is not in the rules of this Restricted key; it needs a rule that names `inference.run` or `inference.*`."),
        (not_permitted(Operation::OrganizationWrite, Level::Restricted), 403, "operation_not_permitted",
         "`organization.write` is not permitted to a Restricted key; it needs Full."),
        (not_permitted(Operation::MembersWrite, Level::Full), 403, "operation_not_permitted",
         "No secret key may change who belongs to an organization; an Owner or Admin does that."),
        (not_here(Operation::DatasetRead, Some(ResourceType::Dataset)), 403, "resource_not_permitted",
         "The key's rules name `dataset.read`, but not for this dataset; it needs a rule for `dataset/<id>` or `dataset/*`."),
        (not_here(Operation::TrainingWrite, Some(ResourceType::TrainingProject)), 403, "resource_not_permitted",
         "The key's rules name `training.write`, but not for this training project; it needs a rule for `training_project/<id>` or `training_project/*` (to create one, `*` in place of the id)."),
        (not_here(Operation::AnnotationWrite, Some(ResourceType::Dataset)), 403, "resource_not_permitted",
         "The key's rules name `annotation.write`, but not for this dataset; it needs a rule for `dataset/<id>` or `dataset/*`."),
        (not_here(Operation::DatasetRead, None), 403, "resource_not_permitted",
         "The key's rules name `dataset.read`, but not for what was asked; a rule must name it."),
        (Refusal::OrganizationLocked, 403, "organization_locked",
         "The organization is locked; its Owner can say why."),
        (Refusal::RateLimited { retry_after_seconds: 12, status: STATUS }, 429, "rate_limited",
         "Too many requests with this key; try again in 12 s."),
        (Refusal::StoreUnavailable, 503, "store_unavailable",
         "The key could not be checked just now; nothing is wrong with it. Try again shortly."),
    ]
}

#[test]
fn every_refusal_has_its_code_status_and_sentence() {
    for (refusal, status, code, sentence) in every_refusal() {
        assert_eq!(refusal.code().name(), code);
        assert_eq!(refusal.code().status(), status, "{code}");
        assert_eq!(refusal.sentence(), sentence);
    }
}

#[test]
fn the_table_above_has_every_code() {
    let met: Vec<Code> = every_refusal()
        .into_iter()
        .map(|(refusal, ..)| refusal.code())
        .collect();
    for code in Code::ALL {
        assert!(met.contains(&code), "{}", code.name());
    }
}

#[test]
fn every_code_has_a_name_of_its_own_a_title_and_a_remedy() {
    let mut names = Code::ALL.map(Code::name);
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    for code in Code::ALL {
        assert!(
            code.name()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        );
        assert!(!code.title().is_empty() && !code.title().ends_with('.'));
        assert!(code.remedy().ends_with('.'), "{}", code.name());
    }
}

#[test]
fn the_sentences_are_sentences_for_every_operation_level_scope_set_and_type() {
    let mut refusals: Vec<Refusal> = every_refusal().into_iter().map(|(refusal, ..)| refusal).collect();
    refusals.extend(
        DeleteReason::ALL
            .iter()
            .map(|reason| Refusal::KeyDeleted { reason: *reason }),
    );
    for operation in Operation::ALL {
        refusals.extend((0..=7).map(|bits| scope_missing(operation, ScopeSet::from_bits(bits).unwrap())));
        refusals.extend(Level::ALL.map(|level| not_permitted(operation, level)));
        refusals.extend(ResourceType::ALL.map(|of| not_here(operation, Some(of))));
    }
    for refusal in refusals {
        let sentence = refusal.sentence();
        // The moment, where there is one, is added at the edge, and the stop with it.
        assert_eq!(sentence.ends_with('.'), refusal.moment().is_none(), "{sentence}");
        assert!(
            sentence.starts_with(|first: char| first == '`' || first.is_ascii_uppercase()),
            "{sentence}"
        );
        for wrong in ["  ", "..;", " .", " ;", "\n", "has .", "has ;", "None", "Some("] {
            assert!(!sentence.contains(wrong), "{wrong:?} in {sentence}");
        }
    }
}

#[test]
fn a_sentence_that_names_a_level_or_a_rule_names_one_that_would_do() {
    for operation in Operation::ALL {
        for level in Level::ALL {
            let sentence = not_permitted(operation, level).sentence();
            if sentence.contains("a rule that names") {
                assert_eq!(operation.at_level(level), LevelAnswer::ByRule, "{sentence}");
            }
            if let Some((_, levels)) = sentence.split_once("; it needs ")
                && !levels.contains("a rule")
            {
                for named in levels.trim_end_matches('.').split(" or ") {
                    let named = Level::ALL
                        .into_iter()
                        .find(|level| level.title() == named)
                        .unwrap();
                    assert_eq!(operation.at_level(named), LevelAnswer::Yes, "{sentence}");
                }
            }
        }
    }
}

#[test]
fn the_moment_belongs_to_the_two_refusals_that_have_one() {
    assert_eq!(
        Refusal::KeyNotYetValid { from: NOW }.moment(),
        Some(("it is accepted from", NOW))
    );
    assert_eq!(
        Refusal::KeyExpired { at: NOW }.moment(),
        Some(("it ended at", NOW))
    );
    let others = every_refusal()
        .into_iter()
        .filter(|(refusal, ..)| refusal.moment().is_none())
        .count();
    assert_eq!(others, every_refusal().len() - 2);
}
