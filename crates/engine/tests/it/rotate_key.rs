//! Rotation: which secret is accepted when, at the exact millisecond, and that nothing else about the key changes.

use keyward_core::edit_key::KeyEdit;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::refusal::Code;
use keyward_core::rotation::{RotationChoice, RotationMode, UNUSED_SECRET_LIFE_MS};
use keyward_core::state::SecretLife;
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_engine::EngineError;
use keyward_engine::clock::Clock as _;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::once::Once;
use keyward_engine::rotate_key::RotatedKey;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

struct Rotating {
    test: TestEngine,
    organization: OrganizationId,
    key: CreatedKey,
}

impl Rotating {
    async fn new(kind: Kind) -> Self {
        let test = TestEngine::new(kind).await;
        let organization = test.organization("org-1").await;
        let key = test.full_key(&organization).await;
        Self {
            test,
            organization,
            key,
        }
    }

    fn id(&self) -> KeyId {
        self.key.key.record.id
    }

    fn old(&self) -> &str {
        self.key.value.reveal()
    }

    async fn rotate(&self, mode: RotationMode) -> Result<RotatedKey, EngineError> {
        let subject = (self.organization.clone(), self.id());
        let done = self
            .test
            .engine
            .rotate_key(context(), subject, (RotationChoice::Mode(mode), None), None)
            .await?;
        match done {
            Once::Now(rotated) => Ok(rotated),
            Once::Before(_) => panic!("there was no idempotency key"),
        }
    }

    async fn lives(&self) -> Vec<(i64, SecretLife)> {
        let (_, secrets) = self
            .test
            .engine
            .show_key_whole(&self.organization, self.id())
            .await
            .unwrap();
        secrets
            .iter()
            .map(|secret| (secret.number, secret.life))
            .collect()
    }

    /// What both values are answered, from memory and from the database.
    async fn answers(&self, new: &str) -> (Result<(), Code>, Result<(), Code>) {
        let from_memory = (self.test.verify(self.old()).await, self.test.verify(new).await);
        let afresh = (
            self.test.verify_afresh(self.old()).await,
            self.test.verify_afresh(new).await,
        );
        assert_eq!(from_memory, afresh);
        afresh
    }

    fn in_ms(&self, ms: i64) -> Timestamp {
        self.test.clock.now().plus_ms(ms)
    }
}

const SUPERSEDED: Result<(), Code> = Err(Code::KeySuperseded);

async fn an_immediate_rotation_refuses_the_old_secret_at_once(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let rotated = rotating.rotate(RotationMode::Immediate).await.unwrap();
    assert_eq!(
        rotating.answers(rotated.value.reveal()).await,
        (SUPERSEDED, Ok(()))
    );
    let (was, now) = (&rotating.key.key, &rotated.written.key);
    assert_eq!(
        (
            now.record.id,
            &now.name,
            &now.record.access,
            &now.record.conditions
        ),
        (
            was.record.id,
            &was.name,
            &was.record.access,
            &was.record.conditions
        )
    );
    assert_ne!(now.hint, was.hint);
    assert_eq!(now.rotated_at, Some(rotating.test.clock.now()));
}

async fn an_overlap_accepts_both_until_its_millisecond(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let until = rotating.in_ms(5_000);
    let rotated = rotating.rotate(RotationMode::Overlap { until }).await.unwrap();
    let new = rotated.value.reveal();
    rotating.test.clock.advance_ms(4_999);
    assert_eq!(rotating.answers(new).await, (Ok(()), Ok(())));
    let second = rotating.rotate(RotationMode::Immediate).await;
    assert!(
        matches!(second, Err(EngineError::Conflict(_))),
        "at most two secrets live"
    );
    rotating.test.clock.advance_ms(1);
    assert_eq!(rotating.answers(new).await, (SUPERSEDED, Ok(())));
    // Nobody tended to it, and the next rotation ends it along the way.
    let third = rotating.rotate(RotationMode::Immediate).await.unwrap();
    assert_eq!(rotating.answers(third.value.reveal()).await, (SUPERSEDED, Ok(())));
    assert_eq!(rotating.test.verify(new).await, SUPERSEDED);
}

async fn a_rotation_never_outlasts_the_key(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let end = rotating.in_ms(5_000);
    let ends = KeyEdit {
        expires_at: Some(Some(end)),
        ..KeyEdit::default()
    };
    rotating
        .test
        .engine
        .edit_key(
            context(),
            rotating.organization.clone(),
            rotating.id(),
            (ends, None),
        )
        .await
        .unwrap();
    let beyond = rotating
        .rotate(RotationMode::Overlap {
            until: end.plus_ms(1),
        })
        .await;
    assert!(matches!(beyond, Err(EngineError::Invalid(problems)) if problems[0].field == "until"));
    let subject = (rotating.organization.clone(), rotating.id());
    let usual = rotating
        .test
        .engine
        .rotate_key(context(), subject, (RotationChoice::UsualOverlap, None), None)
        .await
        .unwrap();
    let Once::Now(rotated) = usual else { panic!() };
    assert_eq!(rotating.lives().await[1], (1, SecretLife::Until(end)));
    assert_eq!(rotated.written.key.record.conditions.expires_at, Some(end));
    rotating.test.clock.advance_ms(5_000);
    let refused = rotating.rotate(RotationMode::Immediate).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))), "an expired key");
    rotating
        .test
        .delete(&rotating.organization, rotating.id())
        .await
        .unwrap();
    let refused = rotating.rotate(RotationMode::Immediate).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))), "a deleted key");
}

async fn a_new_secret_takes_over_with_its_first_use(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let rotated = rotating
        .rotate(RotationMode::OnFirstUse { grace_ms: DAY_MS })
        .await
        .unwrap();
    let new = rotated.value.reveal();
    assert_eq!(rotating.answers(new).await, (Ok(()), Ok(())));
    assert_eq!(rotated.written.key.rotated_at, None, "not before it is used");
    rotating.test.clock.advance_ms(10 * DAY_MS);
    let first_used_at = rotating.in_ms(-300);
    let subject = || (rotating.organization.clone(), rotating.id());
    let activated = rotating
        .test
        .engine
        .activate_secret(context(), subject(), (2, first_used_at))
        .await
        .unwrap();
    assert_eq!(activated.key.rotated_at, Some(first_used_at));
    let end = first_used_at.plus_ms(DAY_MS);
    assert_eq!(
        rotating.lives().await,
        [(2, SecretLife::Current), (1, SecretLife::Until(end))]
    );
    let again = rotating
        .test
        .engine
        .activate_secret(context(), subject(), (2, first_used_at))
        .await
        .unwrap();
    assert!(!again.is_changed);
    rotating.test.clock.advance_ms(DAY_MS - 301);
    assert_eq!(rotating.answers(new).await, (Ok(()), Ok(())));
    rotating.test.clock.advance_ms(1);
    assert_eq!(rotating.answers(new).await, (SUPERSEDED, Ok(())));
}

async fn the_first_use_is_noticed_by_itself(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let rotated = rotating
        .rotate(RotationMode::OnFirstUse { grace_ms: DAY_MS })
        .await
        .unwrap();
    let new = rotated.value.reveal();
    assert_eq!(rotating.test.verify(rotating.old()).await, Ok(()));
    rotating.test.engine.flush_uses().await.unwrap();
    assert_eq!(
        rotating.lives().await[1].1,
        SecretLife::Current,
        "the old one's use is none"
    );
    assert_eq!(rotating.test.verify(new).await, Ok(()));
    let first_used_at = rotating.in_ms(0);
    rotating.test.clock.advance_ms(700);
    rotating.test.engine.flush_uses().await.unwrap();
    let expected = [
        (2, SecretLife::Current),
        (1, SecretLife::Until(first_used_at.plus_ms(DAY_MS))),
    ];
    let deadline = std::time::Instant::now() + keyward_testkit::deadline::PATIENCE;
    while rotating.lives().await != expected {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

const fn rotated_life(until: Timestamp) -> SecretLife {
    SecretLife::Pending {
        until,
        grace_ms: DAY_MS,
    }
}

async fn a_secret_used_in_its_last_millisecond_takes_over(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let rotated = rotating
        .rotate(RotationMode::OnFirstUse { grace_ms: DAY_MS })
        .await
        .unwrap();
    let new = rotated.value.reveal();
    rotating.test.clock.advance_ms(UNUSED_SECRET_LIFE_MS - 1);
    assert_eq!(rotating.test.verify(new).await, Ok(()));
    rotating.test.clock.advance_ms(5_001);
    rotating.test.engine.tend_keys(&context()).await.unwrap();
    assert_eq!(
        rotating.answers(new).await,
        (Ok(()), Ok(())),
        "the old one within its grace"
    );
    assert_eq!(rotating.lives().await[0].1, SecretLife::Current);
}

async fn a_new_secret_that_nobody_uses_is_dropped_and_the_old_one_stays(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let rotated = rotating
        .rotate(RotationMode::OnFirstUse { grace_ms: DAY_MS })
        .await
        .unwrap();
    let new = rotated.value.reveal();
    // One that is used in its last millisecond would take over, so only the old one is asked.
    rotating.test.clock.advance_ms(UNUSED_SECRET_LIFE_MS - 1);
    assert_eq!(rotating.test.verify(rotating.old()).await, Ok(()));
    assert_eq!(rotating.lives().await[0].1, rotated_life(rotating.in_ms(1)));
    rotating.test.clock.advance_ms(1);
    assert_eq!(rotating.answers(new).await, (Ok(()), SUPERSEDED));
    // A use of before its end that is told late still counts; one of after does not.
    let late = rotating.in_ms(0);
    let subject = (rotating.organization.clone(), rotating.id());
    let activated = rotating
        .test
        .engine
        .activate_secret(context(), subject, (2, late))
        .await
        .unwrap();
    assert!(!activated.is_changed);
    rotating.test.clock.advance_ms(5_000);
    let tended = rotating.test.engine.tend_keys(&context()).await.unwrap();
    assert_eq!(tended.ended_secrets, 1);
    assert_eq!(
        rotating.lives().await,
        [(2, SecretLife::Ended), (1, SecretLife::Current)]
    );
    assert_eq!(rotating.answers(new).await, (Ok(()), SUPERSEDED));
    assert_eq!(
        rotating
            .test
            .engine
            .tend_keys(&context())
            .await
            .unwrap()
            .ended_secrets,
        0
    );
    rotating.rotate(RotationMode::Immediate).await.unwrap();
}

async fn a_rotation_can_be_finished_early_and_cancelled(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let finish = || {
        let engine = &rotating.test.engine;
        engine.finish_rotation(context(), rotating.organization.clone(), rotating.id())
    };
    let cancel = || {
        let engine = &rotating.test.engine;
        engine.cancel_rotation(context(), rotating.organization.clone(), rotating.id())
    };
    assert!(!finish().await.unwrap().is_changed);
    assert!(matches!(cancel().await, Err(EngineError::Conflict(_))));

    let until = rotating.in_ms(5_000);
    let cancelled = rotating.rotate(RotationMode::Overlap { until }).await.unwrap();
    let written = cancel().await.unwrap();
    assert_eq!(written.key.hint, rotating.key.key.hint);
    assert_eq!(written.key.rotated_at, None);
    assert_eq!(
        rotating.answers(cancelled.value.reveal()).await,
        (Ok(()), SUPERSEDED)
    );

    let pending = rotating
        .rotate(RotationMode::OnFirstUse { grace_ms: 1 })
        .await
        .unwrap();
    cancel().await.unwrap();
    assert_eq!(
        rotating.answers(pending.value.reveal()).await,
        (Ok(()), SUPERSEDED)
    );

    let pending = rotating
        .rotate(RotationMode::OnFirstUse { grace_ms: 1 })
        .await
        .unwrap();
    assert!(finish().await.unwrap().is_changed);
    assert_eq!(
        rotating.answers(pending.value.reveal()).await,
        (SUPERSEDED, Ok(()))
    );
    assert!(!finish().await.unwrap().is_changed);
}

async fn ended_secrets_are_kept_for_a_while(kind: Kind) {
    let rotating = Rotating::new(kind).await;
    let mut values = Vec::new();
    for _ in 0..12 {
        let rotated = rotating.rotate(RotationMode::Immediate).await.unwrap();
        values.push(rotated.value);
        rotating.test.clock.advance_ms(1);
    }
    assert_eq!(
        rotating.lives().await.len(),
        11,
        "the current one and ten ended ones"
    );
    assert_eq!(rotating.test.verify(values[1].reveal()).await, SUPERSEDED);
    assert_eq!(
        rotating.test.verify(rotating.old()).await,
        Err(Code::KeyUnknown),
        "nobody knows it any more"
    );
    rotating.test.clock.advance_ms(400 * DAY_MS);
    rotating.rotate(RotationMode::Immediate).await.unwrap();
    assert_eq!(rotating.lives().await.len(), 2);
}

on_both_databases!(
    an_immediate_rotation_refuses_the_old_secret_at_once,
    an_overlap_accepts_both_until_its_millisecond,
    a_rotation_never_outlasts_the_key,
    a_new_secret_takes_over_with_its_first_use,
    the_first_use_is_noticed_by_itself,
    a_secret_used_in_its_last_millisecond_takes_over,
    a_new_secret_that_nobody_uses_is_dropped_and_the_old_one_stays,
    a_rotation_can_be_finished_early_and_cancelled,
    ended_secrets_are_kept_for_a_while,
);
