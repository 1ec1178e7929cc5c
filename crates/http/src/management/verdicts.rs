//! `POST /v1/verify`: a server whose callers hold secret keys asks whether one may do something.
//!
//! Not to be mixed up with `GET /v1/verify`, where a key asks about itself. The right `verify` is what makes the address in
//! a question believed; it is recorded as claimed. Nothing is told of a key of another organization than the asking
//! token's, and no key that was asked about reaches a log.

use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use keyward_api::verdicts::{
    AnsweredView, Asked, AskedBody, AskedResource, KeyQuestion, VerdictView, VerdictsView, read,
};
use keyward_core::address::CallerAddress;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_text::KeyText;
use keyward_core::management_right::ManagementRight;
use keyward_core::refusal::Refusal;
use keyward_core::resource::Resource;
use keyward_core::scope::Scope;
use keyward_engine::permit::Identity;
use keyward_engine::verify::VerifyQuestion;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ManagementCall, ManagementRoutes};
use crate::problem::{Problem, key_message};
use crate::{reply, verify};

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes.add(
        Endpoint::post(verify::PATH, ManagementRight::Verify)
            .named(
                Tag::Verify,
                "verify_keys",
                "Ask whether keys of your callers may do something",
            )
            .takes::<AskedBody>()
            .answers::<AnsweredView>(StatusCode::OK)
            .unthrottled(),
        answer,
    )
}

async fn answer(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let asked = read(call.fields().await?)?;
    let organization = grant.only_organization();
    match asked {
        Asked::One(question) => reply::json(StatusCode::OK, &verdict(&call, organization, &question).await),
        Asked::Several(questions) => {
            // At once: where the database has to be asked for many keys, their times do not add up.
            let asking = questions
                .iter()
                .map(|question| verdict(&call, organization, question));
            let items = join_all(asking).await;
            reply::json(StatusCode::OK, &VerdictsView { items })
        }
    }
}

async fn verdict(
    call: &ManagementCall,
    organization: Option<&OrganizationId>,
    question: &KeyQuestion,
) -> VerdictView {
    let engine = call.engine();
    let key = match KeyText::parse(question.key.reveal(), engine.prefix()) {
        Ok(key) => key,
        Err(defect) => {
            let refusal = Refusal::KeyMalformed(defect);
            engine.count_refusal(&refusal);
            return refused(call, organization, None, question, &refusal);
        }
    };
    let asked = VerifyQuestion {
        credentials: Credentials {
            key,
            organization: None,
        },
        claim: match organization {
            Some(own) => OrganizationClaim::Asked {
                header: Some(own.as_str().as_bytes()),
                path: None,
            },
            None => OrganizationClaim::NotAsked,
        },
        purpose: match question.operation {
            None => Purpose::Identify,
            Some(operation) => Purpose::Perform {
                operation,
                resource: resource_of(&question.resource),
            },
        },
        address: address_of(question),
        client: engine.client_of(question.user_agent.as_deref().map(str::as_bytes)),
    };
    // Boxed, because there are many at once.
    match Box::pin(engine.identify(&asked)).await {
        Ok(identity) => accepted(&identity),
        Err(refusal) => {
            let is_told = refusal.is_of_holder() && refusal != Refusal::OrganizationMismatch;
            refused(call, organization, is_told.then(|| key.id()), question, &refusal)
        }
    }
}

fn accepted(identity: &Identity) -> VerdictView {
    let access = identity.access();
    VerdictView {
        allowed: true,
        code: "ok".to_owned(),
        message: "The secret key may do this.".to_owned(),
        key_id: Some(identity.key_id().to_string()),
        organization_id: Some(identity.organization_id().to_string()),
        scopes: Some(
            access
                .scopes()
                .iter()
                .map(Scope::name)
                .map(str::to_owned)
                .collect(),
        ),
        level: Some(access.permission().level().name().to_owned()),
    }
}

fn refused(
    call: &ManagementCall,
    organization: Option<&OrganizationId>,
    key_id: Option<KeyId>,
    question: &KeyQuestion,
    refusal: &Refusal,
) -> VerdictView {
    let site = &call.management.site;
    let code = refusal.code().name();
    if site.may_log_stranger() {
        tracing::info!(
            request.id = %call.context.request_id,
            actor = %call.context.actor,
            key.id = key_id.map(tracing::field::display),
            outcome = code,
            client.claimed_address = %address_of(question),
            "a key was refused to a server that asked"
        );
    }
    VerdictView {
        allowed: false,
        code: code.to_owned(),
        message: key_message(refusal, site, organization),
        key_id: key_id.map(|id| id.to_string()),
        organization_id: key_id.and(organization).map(ToString::to_string),
        scopes: None,
        level: None,
    }
}

fn address_of(question: &KeyQuestion) -> CallerAddress {
    question.address.map_or(CallerAddress::Unknown, |ip| {
        CallerAddress::Known(ip.to_canonical())
    })
}

fn resource_of(resource: &AskedResource) -> Resource<'_> {
    match resource {
        AskedResource::Organization => Resource::Organization,
        AskedResource::Collection(of) => Resource::Collection(*of),
        AskedResource::New(of) => Resource::New(*of),
        AskedResource::Item(of, id) => Resource::Item(*of, id),
    }
}
