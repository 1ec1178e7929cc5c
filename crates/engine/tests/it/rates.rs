//! Rate limits of keys: one bucket a key, spent by what nothing else refuses, whatever becomes of the cache.

use keyward_core::condition::RateLimit;
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::ids::OrganizationId;
use keyward_core::key_text::KeyText;
use keyward_core::operation::Operation;
use keyward_core::rate::RateStatus;
use keyward_core::refusal::Code;
use keyward_core::resource::ResourceType;
use keyward_core::scope::ScopeSet;
use keyward_core::usage::ClientName;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::edit_organization::OrganizationEdit;
use keyward_engine::permit::OwnedResource;
use keyward_engine::verify::VerifyQuestion;
use keyward_testkit::engine::{Kind, Permission, TestEngine, context, draft, here};
use keyward_testkit::on_both_databases;

async fn limited(test: &TestEngine, organization: &OrganizationId, requests: u32) -> CreatedKey {
    let mut draft = draft(ScopeSet::ALL, Permission::Full);
    draft.conditions.rate_limit = Some(RateLimit {
        requests,
        per_ms: 10_000,
    });
    let made = test.engine.create_key(context(), organization.clone(), draft);
    made.await.unwrap()
}

async fn a_bucket_survives_the_cache_and_refills_with_time(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = limited(&test, &organization, 3).await;
    let neighbour = limited(&test, &organization, 3).await;
    let value = key.value.reveal();
    test.verify(value).await.unwrap();
    test.verify_afresh(value).await.unwrap();
    test.engine
        .pause_key(context(), organization.clone(), key.key.record.id)
        .await
        .unwrap();
    assert_eq!(test.verify(value).await, Err(Code::KeyPaused));
    test.engine
        .resume_key(context(), organization.clone(), key.key.record.id)
        .await
        .unwrap();
    test.verify(value).await.unwrap();
    assert_eq!(test.verify(value).await, Err(Code::RateLimited));
    assert_eq!(test.verify_afresh(value).await, Err(Code::RateLimited));
    test.verify(neighbour.value.reveal()).await.unwrap();
    test.clock.advance_ms(3_333);
    assert_eq!(test.verify(value).await, Err(Code::RateLimited));
    test.clock.advance_ms(1);
    assert_eq!(test.verify(value).await, Ok(()));
    assert_eq!(test.verify(value).await, Err(Code::RateLimited));
}

/// The write asks once more whether the key allows it, and that is the same request.
async fn a_write_spends_once(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = limited(&test, &organization, 2).await;
    let value = key.value.reveal();
    let whole = OwnedResource::Organization;
    let permit = test
        .permit(value, Operation::OrganizationWrite, whole.clone())
        .await
        .unwrap();
    let status = RateStatus {
        limit: 2,
        period_seconds: 10,
        remaining: 1,
        reset_after_seconds: 5,
    };
    assert_eq!(permit.identity().rate(), Some(status));
    for name in ["One name", "Another"] {
        let edit = OrganizationEdit {
            name: Some(name.to_owned()),
            ..OrganizationEdit::default()
        };
        test.engine
            .edit_organization(&permit, &context(), edit)
            .await
            .unwrap();
    }
    let new = OwnedResource::New(ResourceType::Dataset);
    test.permit(value, Operation::DatasetWrite, new).await.unwrap();
    let refused = test.permit(value, Operation::OrganizationWrite, whole).await;
    assert_eq!(refused.unwrap_err().code(), Code::RateLimited);
}

async fn a_question_that_counts_as_no_use_spends_nothing(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = limited(&test, &organization, 1).await;
    let text = KeyText::parse(key.value.reveal(), test.engine.prefix()).unwrap();
    let question = VerifyQuestion {
        credentials: keyward_core::credentials::Credentials {
            key: text,
            organization: None,
        },
        claim: OrganizationClaim::NotAsked,
        purpose: Purpose::Identify,
        address: here(),
        client: ClientName::NONE,
    };
    for _ in 0..3 {
        test.engine.identify_without_use(&question).await.unwrap();
    }
    test.engine.identify(&question).await.unwrap();
    for refused in [
        test.engine.identify_without_use(&question).await,
        test.engine.identify(&question).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::RateLimited);
    }
    let uses = test.engine.last_uses(&organization, &[key.key.record.id]).await;
    assert_eq!(uses.unwrap().len(), 1, "the one that was accepted");
}

/// Many at once get exactly what the bucket holds.
async fn what_is_spent_at_once_is_counted_once(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = limited(&test, &organization, 100).await;
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (engine, value) = (test.engine.clone(), key.value.reveal().to_owned());
            tokio::spawn(async move {
                let mut accepted = 0;
                for _ in 0..50 {
                    match keyward_testkit::engine::verify(&engine, &value).await {
                        Ok(()) => accepted += 1,
                        Err(code) => assert_eq!(code, Code::RateLimited),
                    }
                }
                accepted
            })
        })
        .collect();
    let mut accepted = 0;
    for one in asking {
        accepted += one.await.unwrap();
    }
    assert_eq!(accepted, 100);
}

on_both_databases!(
    a_bucket_survives_the_cache_and_refills_with_time,
    a_write_spends_once,
    a_question_that_counts_as_no_use_spends_nothing,
    what_is_spent_at_once_is_counted_once,
);
