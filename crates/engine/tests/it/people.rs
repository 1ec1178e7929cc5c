//! What the tests about people start from.

use keyward_core::access::Permission;
use keyward_core::ids::{OrganizationId, PersonId};
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::scope::ScopeSet;
use keyward_engine::EngineError;
use keyward_engine::context::Context;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::invitations::{CreatedInvitation, InvitationDraft};
use keyward_testkit::engine::{TestEngine, arrival, context, draft};

pub(crate) fn acting(actor: Actor) -> Context {
    Context { actor, ..context() }
}

/// A person acts.
pub(crate) fn by(person: &PersonId) -> Context {
    acting(Actor::Person(person.clone()))
}

pub(crate) async fn invite(
    test: &TestEngine,
    by: &Context,
    organization: &OrganizationId,
    (email, role): (&str, Role),
) -> Result<CreatedInvitation, EngineError> {
    let draft = InvitationDraft {
        email: email.parse().unwrap(),
        role,
        lifetime_ms: None,
    };
    test.engine.create_invitation(by, organization, draft).await
}

/// Somebody who became a member by an invitation.
pub(crate) async fn member(
    test: &TestEngine,
    organization: &OrganizationId,
    email: &str,
    role: Role,
) -> PersonId {
    let made = invite(test, &context(), organization, (email, role))
        .await
        .unwrap();
    let accepted = test.engine.accept_invitation(&arrival(), &made.secret).await;
    accepted.unwrap().member.person_id
}

/// The Owner that every organization of a test begins with.
pub(crate) async fn first_owner(test: &TestEngine, organization: &OrganizationId) -> PersonId {
    let members = test.engine.list_members(organization).await.unwrap();
    members[0].person_id.clone()
}

pub(crate) async fn key_of(
    test: &TestEngine,
    organization: &OrganizationId,
    person: &PersonId,
) -> CreatedKey {
    let draft = draft(ScopeSet::ALL, Permission::Full);
    let made = test.engine.create_key(by(person), organization.clone(), draft);
    made.await.unwrap()
}

pub(crate) async fn roles(test: &TestEngine, organization: &OrganizationId) -> Vec<(String, Role)> {
    let members = test.engine.list_members(organization).await.unwrap();
    let mut roles: Vec<_> = members
        .into_iter()
        .map(|member| (member.email, member.role))
        .collect();
    roles.sort();
    roles
}

/// What stands in the organization's trail, whole and in order.
pub(crate) async fn trail(test: &TestEngine, organization: &str) -> Vec<(String, String, serde_json::Value)> {
    let entries = test
        .engine
        .store()
        .list_audit(organization, 0, 10_000)
        .await
        .unwrap();
    entries
        .into_iter()
        .enumerate()
        .map(|(index, entry)| {
            assert!(entry.is_intact() && entry.sequence == index as i64 + 1);
            let facts = serde_json::from_str(&entry.facts).unwrap();
            (entry.action, entry.actor, facts)
        })
        .collect()
}

pub(crate) fn is_forbidden<T>(outcome: Result<T, EngineError>) -> bool {
    matches!(outcome, Err(EngineError::Forbidden(_)))
}

pub(crate) fn is_conflict<T>(outcome: Result<T, EngineError>) -> bool {
    matches!(outcome, Err(EngineError::Conflict(_)))
}
