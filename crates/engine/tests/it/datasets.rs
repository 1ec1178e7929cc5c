use std::collections::BTreeMap;

use keyward_core::access::Permission;
use keyward_core::operation::Operation;
use keyward_core::refusal::{Code, Refusal};
use keyward_core::resource::ResourceType::Dataset;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_engine::EngineError;
use keyward_engine::datasets::{DatasetEdit, NewDataset};
use keyward_engine::edit_organization::OrganizationEdit;
use keyward_engine::permit::{OwnedResource, Permit};
use keyward_testkit::engine::{Kind, TestEngine, context};
use keyward_testkit::on_both_databases;

fn new(name: &str) -> NewDataset {
    NewDataset {
        name: name.to_owned(),
        description: None,
        kind: "vqa".to_owned(),
        content: "Image".to_owned(),
        owner: "org-1".to_owned(),
        status: 0,
        localization: None,
        data_localization: None,
        tags: BTreeMap::new(),
        attributes: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]),
    }
}

async fn permit(test: &TestEngine, value: &str, operation: Operation) -> Permit {
    let resource = match operation {
        Operation::DatasetWrite => OwnedResource::New(Dataset),
        Operation::OrganizationWrite => OwnedResource::Organization,
        _ => OwnedResource::Collection(Dataset),
    };
    test.permit(value, operation, resource).await.unwrap()
}

async fn a_dataset_does_not_grow_without_end(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let write = permit(&test, key.value.reveal(), Operation::DatasetWrite).await;
    let mut large = new("large");
    large.tags = (0..2_000).map(|number| (format!("{number:0>90}"), 1)).collect();
    let refused = test.engine.create_dataset(&write, &context(), large).await;
    assert!(matches!(&refused, Err(EngineError::Invalid(problems)) if problems[0].field == "tags"));
    let made = test
        .engine
        .create_dataset(&write, &context(), new("small"))
        .await
        .unwrap();
    let edit = DatasetEdit {
        attributes: (0..90)
            .map(|number| (number.to_string(), Some("x".repeat(2_000))))
            .collect(),
        ..DatasetEdit::default()
    };
    let refused = test.engine.edit_dataset(&write, &context(), &made.id, edit).await;
    assert!(
        matches!(&refused, Err(EngineError::Invalid(problems)) if problems[0].field == "metadata.attributes")
    );
}

/// Whoever writes datasets without end keeps nobody from ending the key.
async fn writes_of_the_resource_api_wait_in_a_queue_of_their_own(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let write = permit(&test, key.value.reveal(), Operation::DatasetWrite).await;
    let writer = |number: usize| {
        let (engine, write) = (test.engine.clone(), write.clone());
        tokio::spawn(async move {
            engine
                .create_dataset(&write, &context(), new(&number.to_string()))
                .await
        })
    };
    let writers: Vec<_> = (0..200).map(writer).collect();
    test.delete(&organization, key.key.record.id).await.unwrap();
    let mut made = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(_) => made += 1,
            Err(EngineError::Refused(refusal)) => assert_eq!(refusal.code(), Code::KeyDeleted),
            Err(EngineError::Busy) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(made < 200, "the deletion came before the last of them");
}

async fn datasets_are_made_edited_and_deleted(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let write = permit(&test, key.value.reveal(), Operation::DatasetWrite).await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(
            test.engine
                .create_dataset(&write, &context(), new(&number.to_string()))
                .await
                .unwrap(),
        );
    }
    let read = permit(&test, key.value.reveal(), Operation::DatasetRead).await;
    // Members who choose among them see all, page by page, and none of another organization.
    let other = test.organization("org-2").await;
    assert!(
        test.engine
            .list_datasets_of(&other, "", 9)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let first = test.engine.list_datasets_of(&organization, "", 3).await.unwrap();
    let rest = test
        .engine
        .list_datasets_of(&organization, &first.next.unwrap(), 3)
        .await
        .unwrap();
    let names: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["0", "1", "2", "3", "4"]);
    assert_eq!(rest.next, None);
    let page = test.engine.list_datasets(&read, "", 3).await.unwrap();
    let names: Vec<_> = page.items.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, ["0", "1", "2"], "in the order of their creation");
    assert_eq!(
        test.engine
            .list_datasets(&read, &page.next.unwrap(), 3)
            .await
            .unwrap()
            .items
            .len(),
        2
    );

    let id = &made[0].id;
    let unchanged = test
        .engine
        .edit_dataset(&write, &context(), id, DatasetEdit::default())
        .await
        .unwrap();
    assert_eq!(unchanged, made[0]);
    let edit = DatasetEdit {
        name: Some("renamed".to_owned()),
        description: Some(Some("text".to_owned())),
        attributes: BTreeMap::from([("a".to_owned(), None), ("c".to_owned(), Some("3".to_owned()))]),
        ..DatasetEdit::default()
    };
    let edited = test
        .engine
        .edit_dataset(&write, &context(), id, edit)
        .await
        .unwrap();
    assert_eq!(test.engine.show_dataset(&read, id).await.unwrap(), edited);
    assert_eq!((edited.version, edited.name.as_str()), (2, "renamed"));
    assert_eq!(edited.attributes.keys().collect::<Vec<_>>(), ["b", "c"]);

    let delete = permit(&test, key.value.reveal(), Operation::DatasetDelete).await;
    let deletion = test.engine.delete_dataset(&delete, &context(), id).await.unwrap();
    assert_eq!(
        test.engine.show_dataset_deletion(&read, id).await.unwrap(),
        deletion
    );
    assert!(matches!(
        test.engine.show_dataset(&read, id).await,
        Err(EngineError::NotFound(_))
    ));
    let again = test.engine.delete_dataset(&delete, &context(), id).await;
    assert!(matches!(again, Err(EngineError::NotFound(_))));
    let kept = test.engine.show_dataset_deletion(&read, &made[1].id).await;
    assert!(matches!(kept, Err(EngineError::NotFound(_))));

    let organize = permit(&test, key.value.reveal(), Operation::OrganizationWrite).await;
    let edit = OrganizationEdit {
        name: Some("Renamed".to_owned()),
        attributes: BTreeMap::from([("x".to_owned(), Some("y".to_owned()))]),
        ..OrganizationEdit::default()
    };
    let edited = test
        .engine
        .edit_organization(&organize, &context(), edit)
        .await
        .unwrap();
    assert_eq!(
        test.engine.show_organization(&organization).await.unwrap(),
        edited
    );
    assert_eq!((edited.version, edited.name.as_str()), (2, "Renamed"));
    let nothing = OrganizationEdit::default();
    let unchanged = test
        .engine
        .edit_organization(&organize, &context(), nothing)
        .await
        .unwrap();
    assert_eq!(unchanged, edited);
    let chain = test.engine.store().list_audit("org-1", 0, 100).await.unwrap();
    assert_eq!(chain.last().unwrap().action, "organization.edit");
    assert!(
        chain
            .iter()
            .all(|entry| entry.is_intact() && !entry.facts.contains("enamed"))
    );
}

async fn a_restricted_key_sees_what_its_rules_name(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let full = test.full_key(&organization).await;
    let write = permit(&test, full.value.reveal(), Operation::DatasetWrite).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(
            test.engine
                .create_dataset(&write, &context(), new(&number.to_string()))
                .await
                .unwrap()
                .id,
        );
    }
    let rules = format!(
        r#"[{{"operations":["dataset.read"],"resources":["dataset/{}"]}}]"#,
        ids[1]
    );
    let rules = serde_json::from_str(&rules).unwrap();
    let narrow = test
        .key(&organization, ScopeSet::ALL, Permission::Restricted(rules))
        .await;
    let read = permit(&test, narrow.value.reveal(), Operation::DatasetRead).await;
    let page = test.engine.list_datasets(&read, "", 10).await.unwrap();
    assert_eq!(
        page.items
            .into_iter()
            .map(|dataset| dataset.id)
            .collect::<Vec<_>>(),
        [ids[1].clone()]
    );
    let refused = test
        .permit(
            narrow.value.reveal(),
            Operation::DatasetRead,
            OwnedResource::Item(Dataset, ids[0].to_string()),
        )
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceNotPermitted);

    let other = ScopeSet::NONE.with(Scope::Training);
    let training = test.key(&organization, other, Permission::Full).await;
    for (key, expected) in [(&full, &ids[..]), (&narrow, &ids[1..2]), (&training, &[])] {
        let look = (Operation::OrganizationRead, OwnedResource::Organization);
        let look = test.permit(key.value.reveal(), look.0, look.1).await.unwrap();
        let readable = test.engine.list_readable_dataset_ids(&look, 10).await.unwrap();
        assert_eq!(readable, expected);
    }
}

/// Each edit is small; what they add up to is bounded too.
async fn entries_do_not_add_up_beyond_the_bound(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let write = permit(&test, key.value.reveal(), Operation::DatasetWrite).await;
    let organize = permit(&test, key.value.reveal(), Operation::OrganizationWrite).await;
    let made = test.engine.create_dataset(&write, &context(), new("x")).await;
    let id = made.unwrap().id;
    let attributes = |range: std::ops::Range<usize>| -> BTreeMap<_, _> {
        range
            .map(|number| (format!("n{number}"), Some(String::new())))
            .collect()
    };
    let preference = |range: std::ops::Range<usize>| {
        let entries = range.map(|number| (format!("n{number}"), serde_json::Value::Bool(true)));
        Some(entries.collect::<serde_json::Map<_, _>>())
    };
    // The dataset has two attributes already.
    for (range, is_good) in [(0..98, true), (98..99, false), (0..98, true)] {
        let edit = DatasetEdit {
            attributes: attributes(range.clone()),
            ..DatasetEdit::default()
        };
        let edited = test.engine.edit_dataset(&write, &context(), &id, edit).await;
        assert_eq!(edited.is_ok(), is_good, "{range:?}");
    }
    for (range, is_good) in [(0..100, true), (100..101, false)] {
        let edit = DatasetEdit {
            preference: preference(range.clone()),
            ..DatasetEdit::default()
        };
        let edited = test.engine.edit_dataset(&write, &context(), &id, edit).await;
        assert_eq!(edited.is_ok(), is_good, "{range:?}");
        let edit = OrganizationEdit {
            preference: preference(range.clone()),
            attributes: attributes(range.clone()),
            ..OrganizationEdit::default()
        };
        let edited = test.engine.edit_organization(&organize, &context(), edit).await;
        match edited {
            Ok(_) => assert!(is_good),
            Err(EngineError::Invalid(problems)) => assert_eq!(problems[0].field, "preference"),
            Err(other) => panic!("{other:?}"),
        }
    }
    let kept = test.engine.show_dataset(&write, &id).await.unwrap();
    assert_eq!((kept.attributes.len(), kept.preference.len()), (100, 100));
}

async fn nothing_is_written_for_a_key_that_ended_meanwhile(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let (id, value) = (key.key.record.id, key.value.reveal());
    let write = permit(&test, value, Operation::DatasetWrite).await;
    let dataset = test
        .engine
        .create_dataset(&write, &context(), new("kept"))
        .await
        .unwrap();
    let delete = permit(&test, value, Operation::DatasetDelete).await;
    let organize = permit(&test, value, Operation::OrganizationWrite).await;

    test.engine
        .pause_key(context(), organization.clone(), id)
        .await
        .unwrap();
    let paused = test.engine.create_dataset(&write, &context(), new("x")).await;
    assert!(matches!(
        paused,
        Err(EngineError::Refused(Refusal::KeyPaused { .. }))
    ));
    test.engine
        .resume_key(context(), organization.clone(), id)
        .await
        .unwrap();
    test.engine
        .create_dataset(&write, &context(), new("at a later version"))
        .await
        .unwrap();

    test.delete(&organization, id).await.unwrap();
    let is_refused = |error: EngineError| matches!(error, EngineError::Refused(Refusal::KeyDeleted { .. }));
    assert!(is_refused(
        test.engine
            .create_dataset(&write, &context(), new("x"))
            .await
            .unwrap_err()
    ));
    let edit = DatasetEdit {
        name: Some("x".to_owned()),
        ..DatasetEdit::default()
    };
    assert!(is_refused(
        test.engine
            .edit_dataset(&write, &context(), &dataset.id, edit)
            .await
            .unwrap_err()
    ));
    assert!(is_refused(
        test.engine
            .delete_dataset(&delete, &context(), &dataset.id)
            .await
            .unwrap_err()
    ));
    let edit = OrganizationEdit {
        name: Some("x".to_owned()),
        ..OrganizationEdit::default()
    };
    assert!(is_refused(
        test.engine
            .edit_organization(&organize, &context(), edit)
            .await
            .unwrap_err()
    ));
    assert_eq!(
        test.place.texts(&["SELECT name FROM dataset ORDER BY id"]).await,
        ["kept", "at a later version"]
    );
}

/// Writers hold permits of an earlier version while the key is changed and deleted under them.
async fn writes_and_the_deletion_of_their_key_do_not_block_each_other(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let id = key.key.record.id;
    let write = permit(&test, key.value.reveal(), Operation::DatasetWrite).await;
    test.engine
        .pause_key(context(), organization.clone(), id)
        .await
        .unwrap();
    test.engine
        .resume_key(context(), organization.clone(), id)
        .await
        .unwrap();
    let writers: Vec<_> = (0..12)
        .map(|_| {
            let (engine, write) = (test.engine.clone(), write.clone());
            tokio::spawn(async move {
                loop {
                    match engine.create_dataset(&write, &context(), new("x")).await {
                        Ok(_) => {}
                        Err(EngineError::Refused(Refusal::KeyDeleted { .. })) => return,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    test.delete(&organization, id).await.unwrap();
    let count = "SELECT CAST(COUNT(*) AS TEXT) FROM dataset";
    let then = test.place.texts(&[count]).await;
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(
        test.place.texts(&[count]).await,
        then,
        "nothing was written after the deletion returned"
    );
}

/// Dataset writes are no tasks: dropped anywhere, they leave nothing or everything, and no stuck connection.
async fn a_write_that_is_dropped_is_rolled_back(kind: Kind) {
    let test = TestEngine::new(kind).await;
    let organization = test.organization("org-1").await;
    let key = test.full_key(&organization).await;
    let write = permit(&test, key.value.reveal(), Operation::DatasetWrite).await;
    let mut steps = 0;
    loop {
        let context = context();
        let mut making = Box::pin(test.engine.create_dataset(&write, &context, new("x")));
        let mut has_ended = false;
        for _ in 0..steps {
            if let std::task::Poll::Ready(outcome) = futures_util::poll!(&mut making) {
                outcome.unwrap();
                has_ended = true;
                break;
            }
            // One step of the database at a time.
            tokio::time::sleep(std::time::Duration::from_micros(300)).await;
        }
        drop(making);
        if has_ended {
            break;
        }
        steps += 1;
        assert!(steps < 10_000);
    }
    test.engine
        .create_dataset(&write, &context(), new("after"))
        .await
        .unwrap();
    let datasets = test.place.texts(&["SELECT id FROM dataset"]).await.len();
    let told = test
        .place
        .texts(&["SELECT action FROM audit_entry WHERE action = 'dataset.create'"])
        .await
        .len();
    assert_eq!(datasets, told);
    test.delete(&organization, key.key.record.id).await.unwrap();
}

on_both_databases!(
    datasets_are_made_edited_and_deleted,
    a_restricted_key_sees_what_its_rules_name,
    entries_do_not_add_up_beyond_the_bound,
    nothing_is_written_for_a_key_that_ended_meanwhile,
    writes_and_the_deletion_of_their_key_do_not_block_each_other,
    a_write_that_is_dropped_is_rolled_back,
    a_dataset_does_not_grow_without_end,
    writes_of_the_resource_api_wait_in_a_queue_of_their_own,
);
