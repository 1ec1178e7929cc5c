//! Generating a key in the console: presets, problems, rules, the value once.

use http::StatusCode;
use keyward_core::access::Permission;
use keyward_core::environment::Environment;
use keyward_core::level::PermissionLevel;
use keyward_core::operation::Operation;
use keyward_core::record::Key;
use keyward_core::resource::ResourceType;
use keyward_core::role::Role;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::{DAY_MS, MINUTE_MS};
use keyward_engine::datasets::NewDataset;
use keyward_engine::edit_settings::SettingsEdit;
use keyward_engine::permit::OwnedResource;
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::forms::{Form, plain};
use crate::support::{Answer, Browser, PUBLIC_URL, TestConsole, between};

async fn form(browser: &mut Browser, console: &TestConsole, query: &str) -> Form {
    Form::of(
        &browser
            .page(&console.path(&format!("settings/secret-keys/new{query}")))
            .await,
    )
}

async fn send(browser: &mut Browser, console: &TestConsole, form: &Form) -> Answer {
    browser
        .post(&console.path("settings/secret-keys/new"), &form.pairs())
        .await
}

async fn keys(console: &TestConsole) -> Vec<Key> {
    let listed = console
        .test
        .engine
        .list_keys(&console.organization, "", 100)
        .await;
    listed.unwrap().items
}

fn value(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    between(&answer.text, "<code id=\"key-value\">", "</code>")
        .expect("the value is shown")
        .to_owned()
}

async fn a_key_is_made_works_and_is_shown_once_with_its_snippets(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let form = form(&mut owner, &console, "")
        .await
        .with("name", &["nightly import"]);
    let made = send(&mut owner, &console, &form).await;
    let value = value(&made);
    assert_eq!(value.len(), 103);
    console.test.verify(&value).await.expect("the key works");
    let text = plain(&made.text);
    for line in [
        format!(
            "DATATURE_VI_API_ENDPOINT={PUBLIC_URL}\nDATATURE_VI_ORGANIZATION_ID=org-1\nDATATURE_VI_SECRET_KEY={value}"
        ),
        format!("export DATATURE_VI_SECRET_KEY='{value}'"),
        format!("\"DATATURE_VI_SECRET_KEY\": \"{value}\""),
        "print(client.organizations.get().organization_id)".to_owned(),
        "nightly import is ready".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}");
    }
    let key = keys(&console).await.remove(0);
    assert!(key.record.access.is_unnarrowed(), "R6: nobody narrowed it");
    // Nowhere later.
    let key_path = console.path(&format!("settings/secret-keys/{}", key.record.id));
    for path in [
        format!("{key_path}/edit"),
        format!("{key_path}/first-use"),
        format!("{key_path}/replace"),
    ] {
        let page = owner.page(&path).await;
        assert!(!page.contains(&value), "{path}");
    }
}

async fn each_environment_proposes_its_access_and_rotation(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    for (environment, level, scopes, days) in [
        (None, PermissionLevel::Full, 3, None),
        (Some(Environment::Production), PermissionLevel::Full, 3, Some(90)),
        (Some(Environment::Staging), PermissionLevel::Full, 3, Some(180)),
        (Some(Environment::Development), PermissionLevel::ReadOnly, 3, None),
        (Some(Environment::CiCd), PermissionLevel::ReadOnly, 0, Some(90)),
    ] {
        let name = environment.map_or("", Environment::name);
        let chosen = form(&mut owner, &console, "").await.with("environment", &[name]);
        let answer = send(&mut owner, &console, &chosen.with("do", &["proposal"])).await;
        assert_eq!(answer.status, StatusCode::OK);
        let proposed = Form::of(&answer.text);
        assert_eq!(proposed.all("level"), [level.name()], "{name}");
        assert_eq!(proposed.all("scope").len(), scopes, "{name}");
        assert_eq!(proposed.all("environment"), [name]);
        let made = send(&mut owner, &console, &proposed.with("name", &["a key"])).await;
        if environment == Some(Environment::CiCd) {
            assert_eq!(
                made.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "somebody has to choose"
            );
            assert!(made.text.contains("id=\"scopes-problem\""));
            continue;
        }
        let value = value(&made);
        console.test.verify(&value).await.unwrap();
        let all = keys(&console).await;
        let key = all
            .into_iter()
            .find(|key| key.environment == environment)
            .unwrap();
        assert_eq!(key.record.access.permission().level(), level);
        assert_eq!(key.rotate_every_ms, days.map(|days| days * DAY_MS));
    }
}

async fn every_problem_is_beside_its_field_and_nothing_that_was_typed_is_lost(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let typed = form(&mut owner, &console, "")
        .await
        .with("name", &["import \"one\""])
        .with("scope", &[])
        .with("environment", &["staging"])
        .with("tags", &["team:vision, not a tag!"])
        .with("expires", &["2001-01-01"])
        .with("addresses", &["10.0.0.0/8\nhome"])
        .with("requests", &["many"])
        .with("schedule", &["every"])
        .with("days", &["soon"])
        .with("description", &["A description & more"]);
    let answer = send(&mut owner, &console, &typed).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    for problem in ["scopes", "tags", "expires", "addresses", "rate", "days"] {
        assert!(
            answer.text.contains(&format!("id=\"{problem}-problem\"")),
            "{problem}"
        );
    }
    assert!(!answer.text.contains("id=\"name-problem\""));
    assert!(answer.text.contains("role=\"alert\"") && answer.text.contains("<details class=\"more\" open>"));
    let again = Form::of(&answer.text);
    for name in [
        "name",
        "scope",
        "environment",
        "tags",
        "expires",
        "addresses",
        "requests",
        "schedule",
        "days",
        "description",
        "attempt",
    ] {
        assert_eq!(again.all(name), typed.all(name), "{name}");
    }
    assert!(keys(&console).await.is_empty());
    let mended = again
        .with("scope", &["dataset"])
        .with("tags", &["team:vision"])
        .with("expires", &["2099-01-01"])
        .with("addresses", &["127.0.0.0/8"])
        .with("requests", &["100"])
        .with("days", &["30"]);
    let value = value(&send(&mut owner, &console, &mended).await);
    console.test.verify(&value).await.unwrap();
    let key = keys(&console).await.remove(0);
    assert_eq!(key.name.as_str(), "import \"one\"");
    assert_eq!(key.record.access.scopes(), ScopeSet::NONE.with(Scope::Dataset));
    assert_eq!(key.rotate_every_ms, Some(30 * DAY_MS));
    assert_eq!(key.record.conditions.rate_limit.unwrap().per_ms, 60_000);
}

async fn rules_are_built_without_a_script_on_real_datasets(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let id = dataset(&console, "Street <signs>").await;
    let page = owner.page(&console.path("settings/secret-keys/new")).await;
    assert!(
        page.contains("Street &#60;signs&#62;"),
        "the organization's datasets are offered"
    );
    let resource = format!("dataset/{id}");
    let first = Form::of(&page)
        .with("name", &["labels"])
        .with("level", &["restricted"])
        .with("rule-0-operation", &["dataset.read", "annotation.*"])
        .with("rule-0-resource", &[&resource]);
    let empty = send(
        &mut owner,
        &console,
        &Form::of(&page)
            .with("level", &["restricted"])
            .with("name", &["x"]),
    )
    .await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(empty.text.contains("id=\"rules-problem\""));
    // One more row, with the first as it was.
    let answer = send(&mut owner, &console, &first.clone().with("do", &["add-rule"])).await;
    let second = Form::of(&answer.text);
    assert_eq!(second.all("rules"), ["2"]);
    assert_eq!(second.all("rule-0-operation"), ["dataset.read", "annotation.*"]);
    assert_eq!(second.all("rule-0-resource"), [resource.as_str()]);
    // A row in which something is wrong says so, in its place.
    let wrong = second
        .clone()
        .with("rule-1-operation", &["training.read"])
        .with("rule-1-other", &["run/r1, moon"]);
    let answer = send(&mut owner, &console, &wrong).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.text.contains("id=\"rule-1-other-problem\""),
        "{}",
        answer.text
    );
    let right = Form::of(&answer.text).with("rule-1-other", &["run/r1"]);
    let told = send(&mut owner, &console, &right.clone().with("do", &["tell"])).await;
    let told = between(&told.text, "id=\"summary\"", "</div>")
        .unwrap()
        .to_owned();
    assert!(
        told.contains("On the dataset \u{201c}Street &#60;signs&#62;\u{201d} it can"),
        "{told}"
    );
    let value = value(&send(&mut owner, &console, &right).await);
    // The dataset was made with a key as well.
    let made = keys(&console).await;
    let key = made.iter().find(|key| key.name.as_str() == "labels").unwrap();
    let Permission::Restricted(rules) = key.record.access.permission() else {
        panic!("it is restricted");
    };
    assert_eq!(rules.len(), 2);
    let permits = |operation, id: &str| {
        let resource = OwnedResource::Item(ResourceType::Dataset, id.to_owned());
        let (test, value) = (&console.test, value.clone());
        async move { test.permit(&value, operation, resource).await.is_ok() }
    };
    assert!(permits(Operation::DatasetRead, &id).await);
    assert!(permits(Operation::AnnotationDelete, &id).await);
    assert!(!permits(Operation::DatasetWrite, &id).await);
    assert!(!permits(Operation::DatasetRead, "another").await);
    // The last row can be taken out again.
    let answer = send(&mut owner, &console, &right.with("do", &["take-rule-0"])).await;
    let left = Form::of(&answer.text);
    assert_eq!(left.all("rule-0-operation"), ["training.read"]);
    assert_eq!(left.all("rules"), ["1"]);
}

/// Makes a dataset; its id.
async fn dataset(console: &TestConsole, name: &str) -> String {
    datasets(console, &[name.to_owned()]).await.remove(0)
}

async fn datasets(console: &TestConsole, names: &[String]) -> Vec<String> {
    let maker = console.test.full_key(&console.organization).await;
    let resource = OwnedResource::New(ResourceType::Dataset);
    let permit = console
        .test
        .permit(maker.value.reveal(), Operation::DatasetWrite, resource)
        .await
        .unwrap();
    let mut ids = Vec::new();
    for name in names {
        let new = NewDataset {
            name: name.clone(),
            description: None,
            kind: "vqa".to_owned(),
            content: "Image".to_owned(),
            owner: "owner".to_owned(),
            status: 1,
            localization: None,
            data_localization: None,
            tags: std::collections::BTreeMap::new(),
            attributes: std::collections::BTreeMap::new(),
        };
        let made = console.test.engine.create_dataset(&permit, &context(), new).await;
        ids.push(made.unwrap().id.to_string());
    }
    console
        .test
        .delete(&console.organization, maker.key.record.id)
        .await
        .unwrap();
    ids
}

/// The weight of every page is looked at where pages are fetched.
async fn many_datasets_and_rules_make_no_heavy_page_and_lose_nothing(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let names: Vec<_> = (0..205)
        .map(|at| format!("A dataset with quite a long name, number {at}"))
        .collect();
    let ids = datasets(&console, &names).await;
    let page = owner.page(&console.path("settings/secret-keys/new")).await;
    assert!(page.contains("The first 200 datasets"));
    let rule = |id: &String| serde_json::json!({"operations": ["dataset.*", "annotation.write"], "resources": [format!("dataset/{id}")]});
    let rules: Vec<_> = ids.iter().rev().take(50).map(rule).collect();
    let rules = serde_json::from_value(serde_json::Value::Array(rules)).unwrap();
    let permission = Permission::Restricted(rules);
    let made = console
        .test
        .key(&console.organization, ScopeSet::ALL, permission)
        .await;
    let path = console.path(&format!("settings/secret-keys/{}/edit", made.key.record.id));
    let form = Form::of(&owner.page(&path).await).with("name", &["renamed"]);
    owner.post(&path, &form.pairs()).await.location();
    let key = console
        .test
        .engine
        .show_key(&console.organization, made.key.record.id)
        .await
        .unwrap();
    assert_eq!(key.name.as_str(), "renamed");
    assert_eq!(key.record.access, made.key.record.access);
}

async fn a_form_that_is_sent_twice_makes_one_key_and_is_told_its_value_for_ten_minutes(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let form = form(&mut owner, &console, "").await.with("name", &["twice"]);
    let mut again = owner.clone();
    let (one, other) = tokio::join!(
        send(&mut owner, &console, &form),
        send(&mut again, &console, &form)
    );
    let shown = value(&one);
    assert_eq!(shown, value(&other));
    assert_eq!(shown, value(&send(&mut owner, &console, &form).await), "a reload");
    assert_eq!(keys(&console).await.len(), 1);
    // The same form with another name is no repetition, and says so without making a key.
    let changed = send(&mut owner, &console, &form.clone().with("name", &["other"])).await;
    assert_eq!(changed.status, StatusCode::CONFLICT);
    assert!(!changed.text.contains(&shown) && changed.text.contains("A key was made from this form before"));
    assert_eq!(keys(&console).await.len(), 1);
    let once_more = send(&mut owner, &console, &Form::of(&changed.text)).await;
    assert_ne!(value(&once_more), shown);
    assert_eq!(keys(&console).await.len(), 2);
    console.test.clock.advance_ms(10 * MINUTE_MS);
    let late = send(&mut owner, &console, &form).await;
    assert!(!late.text.contains(&shown) && late.text.contains("The value is not shown again"));
    assert_eq!(keys(&console).await.len(), 2);
}

async fn without_advanced_access_control_nothing_is_picked(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    set(
        &console,
        SettingsEdit {
            advanced_access_control: Some(false),
            ..SettingsEdit::default()
        },
    )
    .await;
    let page = owner.page(&console.path("settings/secret-keys/new")).await;
    assert!(!page.contains("name=\"scope\"") && !page.contains("name=\"level\""));
    assert!(page.contains("Advanced access control is off") && page.contains("all three accesses"));
    for (environment, level) in [("", PermissionLevel::Full), ("ci_cd", PermissionLevel::ReadOnly)] {
        let form = Form::of(&page)
            .with("name", &["k"])
            .with("environment", &[environment]);
        // What was smuggled in does not count.
        let form = form
            .with("level", &["labeler_only"])
            .with("attempt", &[&format!("0123456789abcdef{level:?}012345")]);
        let value = value(&send(&mut owner, &console, &form).await);
        console.test.verify(&value).await.unwrap();
        let all = keys(&console).await;
        let name = Environment::from_name(environment);
        let key = all.into_iter().find(|key| key.environment == name).unwrap();
        assert_eq!(key.record.access.permission().level(), level);
        assert_eq!(key.record.access.scopes(), ScopeSet::ALL);
    }
}

async fn set(console: &TestConsole, edit: SettingsEdit) {
    let edited = console
        .test
        .engine
        .edit_settings(&context(), &console.organization, None, edit)
        .await;
    edited.expect("settings can be edited");
}

async fn the_longest_life_of_the_organization_is_said_and_kept(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    set(
        &console,
        SettingsEdit {
            max_key_lifetime_ms: Some(Some(30 * DAY_MS)),
            ..SettingsEdit::default()
        },
    )
    .await;
    let page = owner.page(&console.path("settings/secret-keys/new")).await;
    assert!(page.contains("live at most 30 days"));
    let form = Form::of(&page).with("name", &["k"]);
    let late = send(
        &mut owner,
        &console,
        &form.clone().with("expires", &["2099-01-01"]),
    )
    .await;
    assert_eq!(late.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(late.text.contains("id=\"expires-problem\""));
    value(&send(&mut owner, &console, &form).await);
    let key = keys(&console).await.remove(0);
    assert_eq!(
        key.record.conditions.expires_at,
        Some(key.created_at.plus_ms(30 * DAY_MS))
    );
}

async fn a_member_does_not_find_any_of_it(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let form = form(&mut owner, &console, "").await.with("name", &["k"]);
    let key = console.test.full_key(&console.organization).await.key.record.id;
    let mut member = console.member("member@example.com", Role::Member).await;
    member.page("/organizations").await;
    for rest in [
        "new",
        "new/summary",
        "KEY/edit",
        "KEY/edit/summary",
        "KEY/replace",
        "KEY/first-use",
    ] {
        let path = console.path(&format!(
            "settings/secret-keys/{}",
            rest.replace("KEY", key.as_str())
        ));
        assert_eq!(member.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for rest in ["new", "KEY/edit", "KEY/replace"] {
        let path = console.path(&format!(
            "settings/secret-keys/{}",
            rest.replace("KEY", key.as_str())
        ));
        assert_eq!(
            member.post(&path, &form.pairs()).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(keys(&console).await.len(), 1);
    // Nor does the Owner of another organization.
    let other = console.test.organization("org-2").await;
    let foreign = console.test.full_key(&other).await.key.record.id;
    let path = console.path(&format!("settings/secret-keys/{foreign}/edit"));
    assert_eq!(owner.get(&path).await.status, StatusCode::NOT_FOUND);
}

async fn names_are_texts_on_every_page(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let name = "</title><script>alert(1)</script>\"><img src=x>";
    let typed = form(&mut owner, &console, "").await.with("name", &[name]);
    let mended = send(&mut owner, &console, &typed.clone().with("scope", &[])).await;
    let made = send(&mut owner, &console, &typed).await;
    value(&made);
    let key = keys(&console).await.remove(0);
    let edit = owner
        .page(&console.path(&format!("settings/secret-keys/{}/edit", key.record.id)))
        .await;
    for page in [&mended.text, &made.text, &edit] {
        assert!(
            !page.contains("<script>alert") && !page.contains("<img"),
            "{page}"
        );
        assert!(page.contains("&#60;script&#62;alert(1)"));
    }
}

async fn the_page_waits_for_the_first_use_and_says_from_where_it_came(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let form = form(&mut owner, &console, "").await.with("name", &["k"]);
    let made = send(&mut owner, &console, &form).await;
    assert!(made.text.contains("Waiting for its first use."));
    let part = plain(between(&made.text, "data-refresh=\"", "\"").unwrap());
    assert!(!owner.page(&part).await.contains("data-final"));
    console.test.verify(&value(&made)).await.unwrap();
    console.test.clock.advance_ms(3_000);
    let came = owner.page(&part).await;
    assert!(came.contains("data-final") && came.contains("data-say"), "{came}");
    assert!(
        came.contains("3 seconds ago") && came.contains("from 127.0.0.1 by a client without a name"),
        "{came}"
    );
}

async fn the_summary_follows_the_form(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let path = console.path("settings/secret-keys/new/summary");
    for (query, says) in [
        (
            "scope=dataset&scope=training&scope=deployment&level=full",
            "everything that a key can",
        ),
        (
            "scope=dataset&level=labeler_only",
            "create and change annotations",
        ),
        ("level=full", "nothing yet"),
        (
            "scope=dataset&level=full&requests=5&seconds=1",
            "at most 5 times in a second",
        ),
    ] {
        let part = owner.page(&format!("{path}?{query}")).await;
        assert!(part.contains(says), "{query}: {part}");
        assert!(!part.contains("<html"), "a part is no page");
    }
}

on_both_databases!(
    a_key_is_made_works_and_is_shown_once_with_its_snippets,
    each_environment_proposes_its_access_and_rotation,
    every_problem_is_beside_its_field_and_nothing_that_was_typed_is_lost,
    rules_are_built_without_a_script_on_real_datasets,
    many_datasets_and_rules_make_no_heavy_page_and_lose_nothing,
    a_form_that_is_sent_twice_makes_one_key_and_is_told_its_value_for_ten_minutes,
    without_advanced_access_control_nothing_is_picked,
    the_longest_life_of_the_organization_is_said_and_kept,
    a_member_does_not_find_any_of_it,
    names_are_texts_on_every_page,
    the_page_waits_for_the_first_use_and_says_from_where_it_came,
    the_summary_follows_the_form,
);
