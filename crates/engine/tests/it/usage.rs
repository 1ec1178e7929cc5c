//! What is counted about the use of keys: everything, once, told apart as far as an hour's bound goes, whatever happens to
//! the process or the database in between.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use keyward_core::address::CallerAddress;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::key_text::KeyText;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::resource::Resource;
use keyward_core::time::HOUR_MS;
use keyward_engine::Engine;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::edit_settings::SettingsEdit;
use keyward_engine::explain_key::ExplainQuestion;
use keyward_engine::verify::VerifyQuestion;
use keyward_testkit::clock::FixedClock;
use keyward_testkit::deadline::PATIENCE;
use keyward_testkit::engine::{Kind, Place, TestEngine, context, here, start};
use keyward_testkit::forgery::with_other_secret;
use keyward_testkit::on_both_databases;

/// Everything that is counted: secret, operation, outcome, address, client, and how often.
const COUNTED: &str = "SELECT secret || ' ' || operation || ' ' || outcome || ' ' || address || ' ' || client || ' ' || \
    SUM(uses) FROM key_usage GROUP BY secret, operation, outcome, address, client ORDER BY 1";
/// Parts of the journal that hold something.
const PARTS: &str = "SELECT CAST(COUNT(*) AS TEXT) FROM (SELECT DISTINCT part FROM usage_journal) AS parts";
const SUM: &str = "SELECT CAST(COALESCE(SUM(uses), 0) AS TEXT) FROM key_usage";

async fn counted(test: &TestEngine) -> Vec<String> {
    test.engine.settle_usage().await.unwrap();
    test.place.texts(&[COUNTED]).await
}

async fn sum(place: &Place) -> String {
    place.texts(&[SUM]).await.remove(0)
}

/// Asks as a client would, from an address and with a `User-Agent`.
async fn ask(
    engine: &Engine,
    value: &str,
    purpose: Purpose<'_>,
    (address, client): (CallerAddress, &str),
) -> Result<(), Code> {
    let key = KeyText::parse(value, engine.prefix()).unwrap();
    let question = VerifyQuestion {
        credentials: Credentials {
            key,
            organization: None,
        },
        claim: OrganizationClaim::NotAsked,
        purpose,
        address,
        client: engine.client_of(Some(client.as_bytes())),
    };
    let asked = engine.verify(&question, |_| ()).await;
    asked.map_err(|refusal| refusal.code())
}

async fn from(engine: &Engine, key: &CreatedKey, last: u8, client: &str) -> Result<(), Code> {
    let address = CallerAddress::Known(Ipv4Addr::new(203, 0, 113, last).into());
    ask(engine, key.value.reveal(), Purpose::Identify, (address, client)).await
}

/// The same key with another secret: only the id matches.
fn of_the_same_id(key: &CreatedKey) -> String {
    with_other_secret(key.value.reveal())
}

async fn every_end_of_a_request_is_counted(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let (engine, key) = (&test.engine, test.full_key(&organization).await);
    let value = key.value.reveal();
    let read = Purpose::Perform {
        operation: Operation::DatasetRead,
        resource: Resource::Organization,
    };
    let members = Purpose::Perform {
        operation: Operation::MembersWrite,
        resource: Resource::Organization,
    };
    for _ in 0..3 {
        from(engine, &key, 1, "vi-sdk/1 (Linux)").await.unwrap();
    }
    ask(engine, value, read, (here(), "curl/8")).await.unwrap();
    assert_eq!(
        ask(engine, value, members, (CallerAddress::Unknown, "\u{1b}[31mred")).await,
        Err(Code::OperationNotPermitted)
    );
    let strange = of_the_same_id(&key);
    assert_eq!(
        ask(engine, &strange, read, (here(), "dtvi_secret")).await,
        Err(Code::KeyUnknown)
    );
    // A question that counts as no use.
    let question = ExplainQuestion {
        what: None,
        address: here(),
        at: None,
    };
    engine
        .explain_key(&organization, key.key.record.id, &question)
        .await
        .unwrap();
    engine
        .pause_key(context(), organization.clone(), key.key.record.id)
        .await
        .unwrap();
    assert_eq!(from(engine, &key, 1, "").await, Err(Code::KeyPaused));
    test.delete(&organization, key.key.record.id).await.unwrap();
    assert_eq!(from(engine, &key, 2, "late/1").await, Err(Code::KeyDeleted));
    assert_eq!(
        ask(engine, &strange, Purpose::Identify, (here(), "x")).await,
        Err(Code::KeyUnknown)
    );
    let expected = [
        "0 dataset.read key_unknown 127.0.0.1 (masked) 1",
        "0 identify key_unknown 127.0.0.1 x 1",
        "1 dataset.read ok 127.0.0.1 curl/8 1",
        "1 identify key_deleted 203.0.113.2 late/1 1",
        "1 identify key_paused 203.0.113.1 (none) 1",
        "1 identify ok 203.0.113.1 vi-sdk/1 (Linux) 3",
        "1 members.write operation_not_permitted unknown ?[31mred 1",
    ];
    assert_eq!(counted(&test).await, expected);
    let totals = "SELECT operation || ' ' || outcome || ' ' || uses FROM organization_usage WHERE outcome = 'ok' ORDER BY 1";
    assert_eq!(
        test.place.texts(&[totals]).await,
        ["dataset.read ok 1", "identify ok 3"]
    );
    let used = engine
        .last_uses(&organization, &[key.key.record.id])
        .await
        .unwrap();
    let last = used[&key.key.record.id].secrets[0].last.clone().unwrap();
    assert!(
        last.client == "curl/8" || last.client == "vi-sdk/1 (Linux)",
        "{last:?}"
    );
}

async fn an_hour_keeps_so_many_details_and_counts_the_rest_as_other(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let strange = of_the_same_id(&key);
    // Whoever knows the id alone does not use up the room of those who hold the key.
    for client in 0..200 {
        let client = format!("s/{client}");
        let refused = ask(&test.engine, &strange, Purpose::Identify, (here(), &client)).await;
        assert_eq!(refused, Err(Code::KeyUnknown));
    }
    for round in 0..2 {
        for last in 0..100 {
            from(&test.engine, &key, last, "c/1").await.unwrap();
            if last % 33 == 0 {
                test.engine.settle_usage().await.unwrap();
            }
        }
        test.engine.settle_usage().await.unwrap();
        assert_eq!(sum(&test.place).await, (200 + 100 * (round + 1)).to_string());
    }
    let rows = "SELECT CAST(COUNT(*) AS TEXT) FROM key_usage WHERE secret = ";
    let rows = |secret: u8| {
        let sql = format!("{rows}{secret}");
        let place = &test.place;
        async move { place.texts(&[sql.as_str()]).await.remove(0) }
    };
    assert_eq!((rows(0).await, rows(1).await), ("17".to_owned(), "65".to_owned()));
    let other = "SELECT CAST(uses AS TEXT) FROM key_usage WHERE secret = 1 AND address = '(other)' AND client = '(other)'";
    assert_eq!(test.place.texts(&[other]).await, ["72"]);
    test.clock.advance_ms(HOUR_MS);
    from(&test.engine, &key, 99, "c/1").await.unwrap();
    test.engine.settle_usage().await.unwrap();
    assert_eq!(rows(1).await, "66", "another hour has room again");
}

/// Uses a key for more different things than are added up at once, until they went through the journal; how often.
///
/// The background task may come in between with what there is so far, and adds that up.
async fn use_through_the_journal(test: &TestEngine, key: &CreatedKey) -> usize {
    for round in 1..=20 {
        for _ in 0..35 {
            test.clock.advance_ms(HOUR_MS);
            for last in 0..60 {
                from(&test.engine, key, last, "c/1").await.unwrap();
            }
        }
        test.engine.flush_uses().await.unwrap();
        if test.place.texts(&[PARTS]).await == ["1"] {
            return round * 35 * 60;
        }
    }
    panic!("the journal was never used");
}

async fn what_is_in_the_journal_survives_a_kill_and_is_counted_once(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let uses = use_through_the_journal(&test, &key).await;
    let before: usize = sum(&test.place).await.parse().unwrap();
    assert!(before < uses, "not all of it is added up");
    let last = test
        .engine
        .last_uses(&organization, &[key.key.record.id])
        .await
        .unwrap();
    assert_eq!(
        last[&key.key.record.id].last_used_at,
        test.engine.now(),
        "and is known"
    );

    // Nothing is shut down: what is in memory is lost, as by a kill.
    let (keyring, clock, place) = (test.keyring_text.clone(), Arc::clone(&test.clock), test.place);
    drop(test.engine);
    let engine = started_again(&place, &keyring, &clock).await;
    if kind == Kind::Postgres {
        // It might come back for what it counted, as long as its row is there.
        engine.inherit_usage().await.unwrap();
        assert_eq!(sum(&place).await, before.to_string());
        let deadline = Instant::now() + PATIENCE;
        while place.run("DELETE FROM node WHERE lapsed_at IS NOT NULL").await == 0 {
            assert!(Instant::now() < deadline, "it said that it stopped");
        }
        engine.inherit_usage().await.unwrap();
    }
    engine.settle_usage().await.unwrap();
    engine.settle_usage().await.unwrap();
    assert_eq!(sum(&place).await, uses.to_string());
    assert_eq!(place.texts(&[PARTS]).await, ["0"]);
    engine.shut_down().await;
}

/// It was taken for gone, and its journal added up by another; then it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_counts_nothing_twice() {
    let test = TestEngine::new(Kind::Postgres).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let uses = use_through_the_journal(&test, &key).await;
    test.place.run("UPDATE node SET slot = -1").await;
    let heir = test.start_another(&test.keyring_text).await.unwrap();
    heir.inherit_usage().await.unwrap();
    assert_eq!(sum(&test.place).await, uses.to_string());
    from(&test.engine, &key, 1, "c/1").await.unwrap();
    let mut rounds = 0;
    while let Err(error) = test.engine.settle_usage().await {
        rounds += 1;
        assert!(rounds < 3, "{error}");
    }
    assert_eq!(sum(&test.place).await, (uses + 1).to_string());
    heir.shut_down().await;
    test.engine.shut_down().await;
}

/// On PostgreSQL the right of the process that is gone has to run out.
async fn started_again(place: &Place, keyring: &str, clock: &Arc<FixedClock>) -> Engine {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match start(&place.database(), keyring, clock, 100).await {
            Ok(engine) => return engine,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

async fn an_orderly_end_writes_everything(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let uses = use_through_the_journal(&test, &key).await;
    from(&test.engine, &key, 1, "c/1").await.unwrap();
    test.engine.shut_down().await;
    assert_eq!(sum(&test.place).await, (uses + 1).to_string());
}

async fn a_new_address_is_told_once_an_hour_and_the_first_one_never(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let told = "SELECT payload FROM outbox WHERE kind = 'key.first_use_from_address' ORDER BY number";
    for last in [1, 1, 2, 3, 2] {
        from(&test.engine, &key, last, "c/1").await.unwrap();
        test.engine.settle_usage().await.unwrap();
    }
    let first = test.place.texts(&[told]).await;
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].contains("\"address\":\"203.0.113.2\""), "{first:?}");
    test.clock.advance_ms(HOUR_MS);
    from(&test.engine, &key, 3, "c/1").await.unwrap();
    from(&test.engine, &key, 4, "c/1").await.unwrap();
    from(&test.engine, &key, 5, "c/1").await.unwrap();
    test.engine.settle_usage().await.unwrap();
    let later = test.place.texts(&[told]).await;
    assert_eq!(later.len(), 2, "{later:?}");
    assert!(
        later[1].contains("203.0.113.4") && later[1].contains("\"further_addresses\":1"),
        "{later:?}"
    );
}

async fn old_uses_are_forgotten_and_last_uses_are_not(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let (organization, other) = (test.organization("org-1").await, test.organization("org-2").await);
    let (key, theirs) = (test.full_key(&organization).await, test.full_key(&other).await);
    let edit = SettingsEdit {
        usage_retention_days: Some(30),
        ..SettingsEdit::default()
    };
    test.engine
        .edit_settings(&context(), &organization, None, edit)
        .await
        .unwrap();
    // More hours of one key than a step takes.
    for _ in 0..130 {
        from(&test.engine, &key, 1, "c/1").await.unwrap();
        test.clock.advance_ms(HOUR_MS);
    }
    from(&test.engine, &theirs, 1, "c/1").await.unwrap();
    from(&test.engine, &key, 2, "c/1").await.unwrap();
    let used = test.engine.now();
    test.engine.settle_usage().await.unwrap();
    let places = "SELECT CAST((SELECT COUNT(*) FROM key_usage) AS TEXT) || ' ' || \
        CAST((SELECT COUNT(*) FROM organization_usage) AS TEXT) || ' ' || CAST((SELECT COUNT(*) FROM key_address) AS TEXT)";
    assert_eq!(test.place.texts(&[places]).await, ["132 132 3"]);
    let kept = used.plus_ms(30 * 24 * HOUR_MS);
    test.engine.forget_old_usage(kept).await.unwrap();
    assert_eq!(
        test.place.texts(&[places]).await,
        ["2 2 2"],
        "the last hour is not over"
    );
    test.engine.forget_old_usage(kept.plus_ms(HOUR_MS)).await.unwrap();
    assert_eq!(
        test.place.texts(&[places]).await,
        ["1 1 1"],
        "theirs are kept for 400 days"
    );
    let last = test
        .engine
        .last_uses(&organization, &[key.key.record.id])
        .await
        .unwrap();
    assert_eq!(last[&key.key.record.id].last_used_at, used);
}

async fn a_rise_of_refusals_is_told_once_a_day(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let (key, quiet) = (
        test.full_key(&organization).await,
        test.full_key(&organization).await,
    );
    let strange = of_the_same_id(&quiet);
    for one in [&key, &quiet] {
        test.delete(&organization, one.key.record.id).await.unwrap();
    }
    let refuse = async |times: usize| {
        for _ in 0..times {
            assert_eq!(from(&test.engine, &key, 1, "c/1").await, Err(Code::KeyDeleted));
            // Whoever knows an id alone raises no alarm.
            let asked = ask(&test.engine, &strange, Purpose::Identify, (here(), "x")).await;
            assert_eq!(asked, Err(Code::KeyUnknown));
        }
        test.engine.settle_usage().await.unwrap();
        test.engine.tell_rises().await.unwrap()
    };
    assert_eq!(refuse(19).await, 0);
    assert_eq!(refuse(1).await, 1, "the twentieth");
    assert_eq!(refuse(30).await, 0, "it was told of");
    test.clock.advance_ms(24 * HOUR_MS);
    assert_eq!(refuse(20).await, 1, "far more than is usual, a day later");
    let told = "SELECT payload FROM outbox WHERE kind = 'key.refusals_rise' ORDER BY number";
    let told = test.place.texts(&[told]).await;
    assert!(
        told[0].contains("\"refusals\":20") && told[0].contains("\"usual_per_day\":0"),
        "{told:?}"
    );
    assert!(told[1].contains("\"usual_per_day\":3"), "{told:?}");
}

on_both_databases!(
    a_rise_of_refusals_is_told_once_a_day,
    old_uses_are_forgotten_and_last_uses_are_not,
    every_end_of_a_request_is_counted,
    an_hour_keeps_so_many_details_and_counts_the_rest_as_other,
    what_is_in_the_journal_survives_a_kill_and_is_counted_once,
    an_orderly_end_writes_everything,
    a_new_address_is_told_once_an_hour_and_the_first_one_never,
);
