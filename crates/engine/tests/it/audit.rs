use std::sync::{Arc, Mutex};

use keyward_core::audit_export::Line;
use keyward_core::audit_finding::Finding;
use keyward_core::audit_verify::{ExportCheck, Kept, Report};
use keyward_core::checkpoint::{SignedCheckpoint, believed_keys};
use keyward_core::ids::OrganizationId;
use keyward_core::time::{HOUR_MS, SECOND_MS};
use keyward_engine::checkpoint_audit::CheckpointSink;
use keyward_engine::erase_personal::{Erased, Erasure};
use keyward_engine::export_audit::PAGE;
use keyward_engine::{Engine, EngineError};
use keyward_store::audit::AuditQuery;
use keyward_store::audit_checkpoints::CheckpointPlace;
use keyward_testkit::clock::START;
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

/// An organization whose trail has about 30 entries, of several kinds.
async fn with_trail(test: &TestEngine) -> OrganizationId {
    let organization = test.organization("org-1").await;
    for _ in 0..10 {
        let key = test.full_key(&organization).await;
        test.delete(&organization, key.key.record.id).await.unwrap();
        test.clock.advance_ms(SECOND_MS);
    }
    for _ in 0..9 {
        test.token(&organization, "keys:read").await;
    }
    organization
}

async fn lines_of(engine: &Engine, chain: &str, from: i64) -> Vec<String> {
    let mut export = engine.export_audit(context(), chain, from).await.unwrap();
    let mut text = String::new();
    while let Some(lines) = export.next_lines().await.unwrap() {
        text.push_str(&lines);
    }
    text.lines().map(str::to_owned).collect()
}

fn check(lines: &[String], kept: &Kept) -> Report {
    let mut check = ExportCheck::new(kept.clone());
    lines.iter().for_each(|line| check.line(line));
    check.finish()
}

fn is_found(lines: &[String]) -> bool {
    !check(lines, &Kept::default()).is_whole()
}

#[derive(Default)]
struct Sink {
    kept: Mutex<Vec<SignedCheckpoint>>,
    fails: Mutex<bool>,
}

impl CheckpointSink for Sink {
    fn keep(&self, checkpoints: &[SignedCheckpoint]) -> std::io::Result<()> {
        if *self.fails.lock().unwrap() {
            return Err(std::io::Error::other("the disk is full"));
        }
        self.kept.lock().unwrap().extend_from_slice(checkpoints);
        Ok(())
    }
}

async fn a_real_export_is_whole_and_shows_every_tampering(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str();
    test.engine.checkpoint_audit(context(), chain).await.unwrap();
    let lines = lines_of(&test.engine, chain, 1).await;
    let key = test.engine.audit_public_keys().await.unwrap()[0].public_key;
    let kept = Kept {
        public_keys: vec![key],
        checkpoints: Vec::new(),
    };
    let report = check(&lines, &kept);
    assert_eq!(report.findings.told, []);
    assert!(report.is_end_proved && report.summary.entries >= 30);
    assert_eq!(report.summary.proved_until, Some(report.summary.entries));
    let last_entry = lines
        .iter()
        .rev()
        .find(|line| line.contains("\"action\""))
        .unwrap();
    assert!(
        last_entry.contains("audit.export"),
        "the export is part of the trail: {last_entry}"
    );

    for (at, line) in lines.iter().enumerate() {
        for (end, character) in line
            .char_indices()
            .filter(|(_, character)| character.is_ascii_alphanumeric())
        {
            // Every character of every line would take minutes; every seventh is in each field.
            if end % 7 != at % 7 {
                continue;
            }
            let other = if character == '0' { "1" } else { "0" };
            let mut changed = lines.clone();
            changed[at].replace_range(end..end + 1, other);
            assert!(is_found(&changed), "character {end} of line {at}: {line}");
        }
        let mut removed = lines.clone();
        removed.remove(at);
        assert!(is_found(&removed), "line {at} removed");
        let mut repeated = lines.clone();
        repeated.insert(at, line.clone());
        assert!(is_found(&repeated), "line {at} repeated");
        for other in at + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, other);
            assert!(is_found(&swapped), "lines {at} and {other} swapped");
        }
        assert!(is_found(&lines[..at]), "cut off before line {at}");
    }
}

async fn an_export_goes_on_where_an_earlier_one_ended(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str();
    let lines = lines_of(&test.engine, chain, 11).await;
    let report = check(&lines, &Kept::default());
    assert_eq!(
        (report.findings.told.as_slice(), report.from_sequence),
        ([].as_slice(), 11)
    );
    assert!(
        report
            .unproved()
            .iter()
            .any(|text| text.contains("entries 1 to 10"))
    );
    let Err(refused) = test.engine.export_audit(context(), chain, 1_000).await else {
        panic!()
    };
    assert!(matches!(refused, EngineError::Conflict(_)), "{refused}");
    let Err(refused) = test.engine.export_audit(context(), "org-2", 1).await else {
        panic!()
    };
    assert!(matches!(refused, EngineError::NotFound(_)), "{refused}");
    // Nobody's asking began a chain.
    assert_eq!(test.engine.store().find_audit_head("org-2").await.unwrap(), None);
}

async fn a_row_that_was_changed_in_the_database_is_named(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str();
    test.engine.checkpoint_audit(context(), chain).await.unwrap();
    let whole = test.engine.check_audit(chain).await.unwrap();
    assert_eq!(whole.findings.told, []);
    assert_eq!(
        (whole.summary.entries, whole.summary.proved_until),
        (whole.head, Some(whole.head))
    );

    test.place
        .run("UPDATE audit_entry SET actor = 'system' WHERE chain = 'org-1' AND sequence = 7")
        .await;
    let found = test.engine.check_audit(chain).await.unwrap().findings.told;
    assert_eq!(found, [Finding::Changed { sequence: 7 }]);

    test.place
        .run("DELETE FROM audit_entry WHERE chain = 'org-1' AND sequence IN (12, 13)")
        .await;
    let found = test.engine.check_audit(chain).await.unwrap().findings.told;
    assert!(
        found.contains(&Finding::Missing { from: 12, to: 13 }),
        "{found:?}"
    );
    // The export does not hide it.
    let report = check(&lines_of(&test.engine, chain, 1).await, &Kept::default());
    assert!(report.findings.told.contains(&Finding::Changed { sequence: 7 }));
    assert!(
        report
            .findings
            .told
            .contains(&Finding::Missing { from: 12, to: 13 })
    );

    test.place.run("UPDATE audit_entry SET personal = '{\"name\":{\"salt\":\"\",\"value\":\"x\"}}' WHERE chain = 'org-1' AND sequence = 2").await;
    test.place
        .run("UPDATE audit_entry SET personal = 'broken' WHERE chain = 'org-1' AND sequence = 3")
        .await;
    let found = test.engine.check_audit(chain).await.unwrap().findings.told;
    assert!(
        found.contains(&Finding::PersonalChanged {
            sequence: 2,
            name: "name".to_owned()
        }),
        "{found:?}"
    );
    assert!(
        found.contains(&Finding::PersonalAdded {
            sequence: 3,
            name: "?".to_owned()
        }),
        "{found:?}"
    );
}

async fn a_tail_that_was_cut_off_in_the_database_is_named(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str();
    let made = test.engine.checkpoint_audit(context(), chain).await.unwrap();
    let last = made.sequence;
    test.place
        .run(&format!(
            "DELETE FROM audit_entry WHERE chain = 'org-1' AND sequence > {}",
            last - 3
        ))
        .await;
    let found = test.engine.check_audit(chain).await.unwrap().findings.told;
    assert_eq!(
        found,
        [
            Finding::Missing {
                from: last - 2,
                to: last
            },
            Finding::CutOff {
                last: last - 3,
                checkpoint: last
            }
        ]
    );
    // With the head set back to what is there, the checkpoint tells.
    test.place
        .run(&format!(
            "UPDATE audit_head SET sequence = {}, hash = (SELECT hash FROM audit_entry WHERE chain = 'org-1' AND sequence = {}) \
             WHERE chain = 'org-1'",
            last - 3, last - 3
        ))
        .await;
    let found = test.engine.check_audit(chain).await.unwrap().findings.told;
    assert_eq!(
        found,
        [Finding::CutOff {
            last: last - 3,
            checkpoint: last
        }]
    );
    // Without it only one that was kept elsewhere does.
    test.place.run("DELETE FROM audit_checkpoint").await;
    assert_eq!(test.engine.check_audit(chain).await.unwrap().findings.told, []);
    let lines = lines_of(&test.engine, chain, 1).await;
    let kept = Kept {
        public_keys: Vec::new(),
        checkpoints: vec![made.clone()],
    };
    let told = check(&lines, &kept).findings.told;
    assert_eq!(
        told,
        [Finding::CutOff {
            last: last - 2,
            checkpoint: last
        }]
    );
}

async fn a_stored_checkpoint_that_was_changed_is_named(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str();
    let made = test.engine.checkpoint_audit(context(), chain).await.unwrap();
    test.place.run("UPDATE audit_checkpoint SET at = at + 1").await;
    let found = test.engine.check_audit(chain).await.unwrap().findings.told;
    let (sequence, public_key) = (made.sequence, made.public_key);
    assert_eq!(found, [Finding::CheckpointForged { sequence, public_key }]);
}

async fn checkpoints_are_made_of_what_grew_and_kept_outside_first(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let (one, two) = (test.organization("org-1").await, test.organization("org-2").await);
    let sink = Arc::new(Sink::default());
    test.engine
        .keep_checkpoints_in(Arc::clone(&sink) as Arc<dyn CheckpointSink>);
    *sink.fails.lock().unwrap() = true;
    test.engine.checkpoint_grown_chains().await.unwrap_err();
    *sink.fails.lock().unwrap() = false;
    let made = test.engine.checkpoint_grown_chains().await.unwrap();
    assert!(made >= 2, "what the sink did not take is made again");
    assert_eq!(test.engine.checkpoint_grown_chains().await.unwrap(), 0);
    test.clock.advance_ms(HOUR_MS);
    test.full_key(&two).await;
    assert_eq!(test.engine.checkpoint_grown_chains().await.unwrap(), 1);
    let listed = test
        .engine
        .list_checkpoints(two.as_str(), CheckpointPlace::after(0), 10)
        .await
        .unwrap();
    let kept = sink.kept.lock().unwrap().clone();
    let of_two: Vec<_> = kept.iter().filter(|one| one.chain == "org-2").cloned().collect();
    assert_eq!(listed.items, of_two);
    assert_eq!(of_two.last().unwrap().at_ms, START.plus_ms(HOUR_MS));
    assert!(kept.iter().all(SignedCheckpoint::is_signed));
    assert_eq!(
        kept.iter()
            .filter(|checkpoint| checkpoint.chain == one.as_str())
            .count(),
        1
    );
    let first = test
        .engine
        .list_checkpoints("org-2", CheckpointPlace::after(0), 1)
        .await
        .unwrap();
    let (sequence, public_key) = first.next.as_ref().unwrap().split_once('.').unwrap();
    let place = CheckpointPlace {
        sequence: sequence.parse().unwrap(),
        public_key,
    };
    let second = test.engine.list_checkpoints("org-2", place, 1).await.unwrap();
    assert_eq!((second.items.as_slice(), second.next), (&of_two[1..], None));
}

async fn a_rotated_keyring_endorses_its_next_key_and_the_trail_stays_proved(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str();
    test.engine.checkpoint_audit(context(), chain).await.unwrap();
    let before = test.engine.audit_public_keys().await.unwrap();
    test.engine.rotate_keyring(context(), &|_| Ok(())).await.unwrap();
    test.engine.rotate_keyring(context(), &|_| Ok(())).await.unwrap();
    let after = test.engine.audit_public_keys().await.unwrap();
    assert_eq!((before.len(), after.len()), (1, 3));
    assert_eq!(believed_keys([before[0].public_key], &after).len(), 3);
    let checked = test.engine.check_audit(chain).await.unwrap();
    assert_eq!(
        (checked.findings.told, checked.summary.proved_until),
        (vec![], Some(checked.head))
    );
    // Who kept the first key only believes the signature of the third.
    let kept = Kept {
        public_keys: vec![before[0].public_key],
        checkpoints: Vec::new(),
    };
    let report = check(&lines_of(&test.engine, chain, 1).await, &kept);
    assert_eq!((report.findings.told, report.is_end_proved), (vec![], true));
}

async fn erased_values_are_gone_and_the_chain_still_holds(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str().to_owned();
    let lines = lines_of(&test.engine, &chain, 1).await;
    let Some(Line::Entry(first)) = lines
        .iter()
        .map(|line| Line::parse(line).unwrap())
        .find(|line| matches!(line, Line::Entry(entry) if !entry.personal.is_empty()))
    else {
        panic!()
    };
    let value = first.personal.values().next().unwrap().value.clone();
    assert!(lines.join("\n").contains(&value));

    let erase = |erasure| test.engine.erase_personal(context(), chain.clone(), erasure);
    let done = erase(Erasure::Value(value.to_uppercase())).await.unwrap();
    assert!(done.values >= 1 && done.entries >= 1);
    assert_eq!(
        erase(Erasure::Value(value.clone())).await.unwrap(),
        Erased::default()
    );
    let lines = lines_of(&test.engine, &chain, 1).await;
    assert!(
        !lines.join("\n").contains(&value),
        "it is nowhere in the trail, and not in the entry of its erasure"
    );
    let report = check(&lines, &Kept::default());
    assert_eq!(
        (report.findings.told, report.summary.erased_values),
        (vec![], done.values)
    );
    assert_eq!(test.engine.check_audit(&chain).await.unwrap().findings.told, []);
    let query = AuditQuery {
        action: Some("audit.erase".to_owned()),
        ..AuditQuery::default()
    };
    let told = test.engine.list_audit(&chain, &query, None, 10).await.unwrap();
    assert_eq!(told.items.len(), 1);
    assert!(
        told.items[0]
            .facts
            .contains(&format!("\"values\":{}", done.values))
    );

    let key = test.full_key(&organization).await.key.record.id;
    let done = erase(Erasure::Target(format!("key/{key}"))).await.unwrap();
    assert_eq!(done.entries, 1);
    let last = test
        .engine
        .store()
        .find_audit_head(&chain)
        .await
        .unwrap()
        .unwrap()
        .sequence;
    test.full_key(&organization).await;
    assert_eq!(erase(Erasure::Entry(last + 1)).await.unwrap().entries, 1);
    assert_eq!(erase(Erasure::Entry(9_999)).await.unwrap().entries, 0);
    assert_eq!(test.engine.check_audit(&chain).await.unwrap().findings.told, []);
}

async fn the_trail_is_listed_newest_first_by_who_what_and_when(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = with_trail(&test).await;
    let chain = organization.as_str();
    let all = test
        .engine
        .list_audit(chain, &AuditQuery::default(), None, 1_000)
        .await
        .unwrap();
    assert!(
        all.items
            .windows(2)
            .all(|pair| pair[0].sequence == pair[1].sequence + 1)
    );
    let deleted = AuditQuery {
        action: Some("key.delete".to_owned()),
        ..AuditQuery::default()
    };
    let first = test.engine.list_audit(chain, &deleted, None, 6).await.unwrap();
    let before: i64 = first.next.unwrap().parse().unwrap();
    let second = test
        .engine
        .list_audit(chain, &deleted, Some(before), 6)
        .await
        .unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (6, 4, None));
    let target = AuditQuery {
        target: Some(first.items[0].target.clone()),
        ..AuditQuery::default()
    };
    let of_key = test.engine.list_audit(chain, &target, None, 10).await.unwrap();
    let actions: Vec<&str> = of_key.items.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["key.delete", "key.create"]);
    let window = AuditQuery {
        actor: Some(of_key.items[0].actor.clone()),
        from: Some(START.plus_ms(2 * SECOND_MS)),
        to: Some(START.plus_ms(4 * SECOND_MS)),
        ..AuditQuery::default()
    };
    assert_eq!(
        test.engine
            .list_audit(chain, &window, None, 10)
            .await
            .unwrap()
            .items
            .len(),
        4
    );
    let nobody = AuditQuery {
        actor: Some("person/none".to_owned()),
        ..AuditQuery::default()
    };
    assert_eq!(
        test.engine
            .list_audit(chain, &nobody, None, 10)
            .await
            .unwrap()
            .items,
        []
    );
}

async fn a_long_trail_is_exported_page_by_page(kind: Kind) {
    // Each is appended as any entry is, which takes PostgreSQL a minute for as many as SQLite writes in seconds.
    let entries: i64 = match kind {
        Kind::Sqlite => 20_000,
        Kind::Postgres => 2_000,
    };
    let test = TestEngine::new(kind).await;
    let store = test.engine.store();
    let mut tx = store.begin().await.unwrap();
    let event = keyward_core::audit::Event {
        actor: "system".to_owned(),
        action: "key.edit",
        target: "key/1".to_owned(),
        request_id: "r".to_owned(),
        detail: keyward_core::audit::Detail::new(),
    };
    let before = store
        .find_audit_head("-")
        .await
        .unwrap()
        .map_or(0, |head| head.sequence);
    for _ in 0..entries {
        tx.append_audit("-", &event, START).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut export = test.engine.export_audit(context(), "-", 1).await.unwrap();
    let mut check = ExportCheck::new(Kept::default());
    let mut pages = 0;
    while let Some(lines) = export.next_lines().await.unwrap() {
        pages += 1;
        assert!(
            lines.lines().count() <= PAGE as usize + 2,
            "a page holds what it may"
        );
        lines.lines().for_each(|line| check.line(line));
        // What is written meanwhile does not belong to it.
        test.engine.checkpoint_audit(context(), "-").await.unwrap();
    }
    let report = check.finish();
    assert_eq!(report.findings.told, []);
    assert_eq!(report.summary.entries, before + entries + 1);
    assert_eq!(pages, (before + entries) / PAGE + 1);
}

on_both_databases!(
    a_real_export_is_whole_and_shows_every_tampering,
    an_export_goes_on_where_an_earlier_one_ended,
    a_row_that_was_changed_in_the_database_is_named,
    a_tail_that_was_cut_off_in_the_database_is_named,
    a_stored_checkpoint_that_was_changed_is_named,
    checkpoints_are_made_of_what_grew_and_kept_outside_first,
    a_rotated_keyring_endorses_its_next_key_and_the_trail_stays_proved,
    erased_values_are_gone_and_the_chain_still_holds,
    the_trail_is_listed_newest_first_by_who_what_and_when,
    a_long_trail_is_exported_page_by_page,
);
