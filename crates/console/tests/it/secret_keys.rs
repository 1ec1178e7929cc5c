//! The table of secret keys, and what is done from its rows.

use std::net::{IpAddr, Ipv4Addr};

use http::StatusCode;
use keyward_console::{Audience, route_table};
use keyward_core::address::CallerAddress;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::environment::Environment;
use keyward_core::ids::KeyId;
use keyward_core::key_text::KeyText;
use keyward_core::new_key::KeyDraft;
use keyward_core::refusal::Code;
use keyward_core::role::Role;
use keyward_core::rotation::{RotationChoice, RotationMode, ScheduleChoice};
use keyward_core::scope::ScopeSet;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_core::time::DAY_MS;
use keyward_engine::create_key::CreatedKey;
use keyward_engine::verify::VerifyQuestion;
use keyward_testkit::engine::{Kind, Permission, context, draft};
use keyward_testkit::on_both_databases;

use crate::support::{Answer, Browser, TestConsole, between};

const KEYS: &str = "settings/secret-keys";
const INJECTION: &str = "<script>alert(1)</script>\"'&amp;";

impl TestConsole {
    async fn named_key(&self, name: &str, change: impl FnOnce(&mut KeyDraft)) -> CreatedKey {
        let mut draft = draft(ScopeSet::ALL, Permission::Full);
        draft.name = name.to_owned();
        change(&mut draft);
        let engine = &self.test.engine;
        // Each has its own place in the order of creation.
        self.test.clock.advance_ms(1);
        let made = engine
            .create_key(context(), self.organization.clone(), draft)
            .await;
        made.expect("a key can be made")
    }

    async fn plain_key(&self, name: &str) -> CreatedKey {
        self.named_key(name, |_| ()).await
    }

    /// Uses a key as this client, from this address.
    async fn use_key(&self, key: &CreatedKey, client: &str, address: [u8; 4]) {
        let engine = &self.test.engine;
        let text = KeyText::parse(key.value.reveal(), engine.prefix()).expect("a key's value is one");
        let question = VerifyQuestion {
            credentials: Credentials {
                key: text,
                organization: None,
            },
            claim: OrganizationClaim::NotAsked,
            purpose: Purpose::Identify,
            address: CallerAddress::Known(IpAddr::V4(Ipv4Addr::from(address))),
            client: engine.client_of(Some(client.as_bytes())),
        };
        engine
            .verify(&question, |_| ())
            .await
            .expect("the key is accepted");
    }

    async fn state_of(&self, id: KeyId) -> KeyState {
        let key = self.test.engine.show_key(&self.organization, id).await;
        key.expect("the key is there").record.state
    }

    fn keys(&self) -> String {
        self.path(KEYS)
    }
}

/// The names in the table, in their order.
fn names(page: &str) -> Vec<String> {
    let rows = page.split("<a class=\"name\" id=\"").skip(1);
    rows.filter_map(|row| between(row, ">", "</a>").map(str::to_owned))
        .collect()
}

async fn names_at(browser: &mut Browser, path: &str) -> Vec<String> {
    names(&browser.page(path).await)
}

fn id_of(key: &CreatedKey) -> KeyId {
    key.key.record.id
}

async fn an_organization_without_keys_is_told_what_a_key_is(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let page = owner.page(&console.keys()).await;
    for said in [
        "No keys yet",
        "Dataset",
        "Training",
        "Deployment",
        "DATATURE_VI_SECRET_KEY=dtvi_...",
        "DATATURE_VI_ORGANIZATION_ID=org-1",
        "DATATURE_VI_API_ENDPOINT=http://localhost:8787",
        "Create your first key",
        "data-copy=\"#organization-id\"",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    // A filter, too, finds nothing where nothing is.
    assert!(
        owner
            .page(&format!("{}?environment=staging", console.keys()))
            .await
            .contains("No keys yet")
    );
    // Whose keys are all deleted is no beginner.
    let key = console.plain_key("gone").await;
    console
        .test
        .delete(&console.organization, id_of(&key))
        .await
        .unwrap();
    let page = owner.page(&console.keys()).await;
    assert!(page.contains("No key is left") && !page.contains("No keys yet"));
}

async fn filters_and_orders_show_what_they_say(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let in_environment = async |name: &str, environment| {
        console
            .named_key(name, |draft| draft.environment = Some(environment))
            .await
    };
    let old = in_environment("old production", Environment::Production).await;
    let used = in_environment("used production", Environment::Production).await;
    console.test.clock.advance_ms(95 * DAY_MS);
    console.use_key(&used, "vi/1", [203, 0, 113, 7]).await;
    let ci = in_environment("ci", Environment::CiCd).await;
    let paused = console.plain_key("Paused one").await;
    let gone = console.plain_key("gone").await;
    let engine = &console.test.engine;
    let organization = console.organization.clone();
    engine
        .pause_key(context(), organization.clone(), id_of(&paused))
        .await
        .unwrap();
    console.test.delete(&organization, id_of(&gone)).await.unwrap();
    console.test.clock.advance_ms(DAY_MS);
    let mut owner = console.owner().await;
    let keys = console.keys();
    for (query, found) in [
        ("", &["Paused one", "ci", "used production", "old production"][..]),
        (
            "?sort=name",
            &["ci", "old production", "Paused one", "used production"],
        ),
        (
            "?sort=name&direction=descending",
            &["used production", "Paused one", "old production", "ci"],
        ),
        (
            "?sort=due",
            &["old production", "used production", "ci", "Paused one"],
        ),
        ("?environment=production", &["used production", "old production"]),
        ("?environment=none", &["Paused one"]),
        ("?state=paused", &["Paused one"]),
        ("?state=deleted", &["gone"]),
        ("?state=active&environment=ci_cd", &["ci"]),
        ("?unused=30", &["old production"]),
        ("?unused=90&environment=ci_cd", &[]),
        ("?due=due", &["used production", "old production"]),
        ("?due=soon", &[]),
        (
            "?creator=local_administrator&text=PRODUCTION",
            &["used production", "old production"],
        ),
        ("?creator=system", &[]),
    ] {
        let page = owner.page(&format!("{keys}{query}")).await;
        assert_eq!(names(&page), found, "{query}");
        if found.is_empty() {
            assert!(
                page.contains("No key fits") && page.contains("Clear the filter"),
                "{query}"
            );
        }
    }
    assert_eq!(
        names_at(&mut owner, &format!("{keys}?sort=last_used")).await[0],
        "used production"
    );
    let page = owner.page(&keys).await;
    for said in [
        "All 4",
        "Production 2",
        "CI/CD 1",
        "No environment 1",
        "Due or overdue 2",
        "Due soon 0",
        "Unused for 30 days 1",
        "203.0.113.7, vi/1",
        "Overdue 6 days",
        "Rotate in 89 days",
        "No schedule",
        "the server&#39;s operator",
        ">Paused</span>",
        "aria-sort=\"descending\"",
    ] {
        assert!(page.contains(said), "{said}");
    }
    // A count is shown only where it is what the chip leads to.
    let page = owner.page(&format!("{keys}?state=paused")).await;
    assert!(
        !page.contains("Production 2") && page.contains("Production</a>"),
        "{page}"
    );
    let _ = (old, ci);
}

async fn a_row_says_who_made_the_key_and_that_it_is_being_rotated(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let engine = console.test.engine.clone();
    let mut admin = console.member("ada@example.com", Role::Admin).await;
    let members = engine.list_members(&console.organization).await.unwrap();
    let ada = members
        .iter()
        .find(|member| member.email == "ada@example.com")
        .unwrap()
        .person_id
        .clone();
    let by_ada = keyward_engine::context::Context::new(
        keyward_core::record::Actor::Person(ada.clone()),
        context().request_id,
    );
    let mut by_person = draft(ScopeSet::ALL, Permission::Full);
    by_person.name = "of ada".to_owned();
    by_person.schedule = ScheduleChoice::Every(10 * DAY_MS);
    let key = engine
        .create_key(by_ada, console.organization.clone(), by_person)
        .await
        .unwrap();
    let keys = console.keys();
    let page = admin.page(&keys).await;
    assert!(
        page.contains("class=\"by\" data-label=\"Created By\">ada@example.com<"),
        "{page}"
    );
    assert!(page.contains("Due in 10 days") && !page.contains(">Rotating</span>"));
    assert!(page.contains(&format!(
        "<option value=\"person/{ada}\">ada@example.com</option>"
    )));
    assert_eq!(
        names_at(&mut admin, &format!("{keys}?creator=person/{ada}")).await,
        ["of ada"]
    );
    let overlap = RotationChoice::Mode(RotationMode::Overlap {
        until: engine.now().plus_ms(DAY_MS),
    });
    engine
        .rotate_key(
            context(),
            (console.organization.clone(), id_of(&key)),
            (overlap, None),
            None,
        )
        .await
        .unwrap();
    assert!(admin.page(&keys).await.contains(">Rotating</span>"));
    console.test.clock.advance_ms(DAY_MS);
    let mut admin = console.signed_in("ada@example.com").await;
    assert!(!admin.page(&keys).await.contains(">Rotating</span>"));
}

async fn a_pasted_key_finds_its_row_and_is_in_no_address_and_no_answer(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.plain_key("searched").await;
    console.plain_key("other").await;
    let value = key.value.reveal().to_owned();
    let mut owner = console.owner().await;
    let keys = console.keys();
    owner.page(&keys).await;
    let search = format!("{keys}/search");
    let found = format!("{keys}?id={}", id_of(&key));
    let held = |answer: &Answer| {
        let headers = format!("{:?}", answer.headers);
        answer.text.contains(&value[11..60]) || headers.contains(&value[11..60])
    };
    for typed in [
        value.clone(),
        format!("  \"{value}\"\n"),
        format!("DATATURE_VI_SECRET_KEY={value}"),
        value[..11].to_owned(),
        key.key.hint.clone(),
        id_of(&key).to_string(),
    ] {
        let answer = owner.post(&search, &[("text", &typed)]).await;
        assert_eq!(answer.location(), found);
        assert!(!held(&answer));
    }
    let page = owner.page(&found).await;
    assert_eq!(names(&page), ["searched"]);
    assert!(!page.contains(&value[11..60]));

    // Badly copied: what is wrong is said, the row it begins like is shown, and nothing of it is repeated.
    let changed = format!(
        "{}{}",
        &value[..60],
        if value.ends_with('A') { "B" } else { "A" }.repeat(43)
    );
    for (typed, said) in [
        (value[..102].to_owned(), "it has 102 characters instead of 103"),
        (format!("{value}x"), "it has 104 characters instead of 103"),
        (
            format!("{} {}", &value[..50], &value[50..]),
            "there is a space or line end inside it, at character 51",
        ),
        (changed, "its checksum is wrong"),
        (
            format!("{}!{}", &value[..50], &value[51..]),
            "character 51 can&#39;t be right",
        ),
    ] {
        let answer = owner.post(&search, &[("text", &typed)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains(said), "{said}: {}", answer.text);
        assert!(!held(&answer), "{said}");
        assert_eq!(names(&answer.text), ["searched"], "{said}");
        // From this address, links of rows have to be whole.
        assert!(answer.text.contains(&format!("href=\"{keys}/{}\"", id_of(&key))));
    }
    for (typed, said) in [
        (value[20..].to_owned(), "a key of this server begins with"),
        ("kwmt_abcdefghijkl".to_owned(), "it is a management token"),
        ("dtvi_ZZZZZZ".to_owned(), "No key of this organization begins so"),
        ("...ZZZZ".to_owned(), "has this id or hint"),
        ("x".repeat(201), "at most 200 characters"),
    ] {
        let answer = owner.post(&search, &[("text", &typed)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains(said), "{said}: {}", answer.text);
        assert!(!answer.text.contains(&typed), "{said}");
    }
    // Words are words.
    let answer = owner.post(&search, &[("text", " Search & ed ")]).await;
    assert_eq!(answer.location(), format!("{keys}?text=Search+%26+ed"));
    assert_eq!(owner.post(&search, &[("text", "  ")]).await.location(), keys);
    // A deleted key is found by its value all the same.
    console
        .test
        .delete(&console.organization, id_of(&key))
        .await
        .unwrap();
    assert_eq!(owner.post(&search, &[("text", &value)]).await.location(), found);
    assert!(owner.page(&found).await.contains(">Deleted</span>"));
    // An address that holds a key is refused before anything is looked at.
    let answer = owner.get(&format!("{keys}?text={value}")).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(!held(&answer));
}

async fn what_people_and_clients_call_themselves_is_never_markup_nor_a_formula(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.plain_key(INJECTION).await;
    console.plain_key("=HYPERLINK(\"http://evil.example\")").await;
    let client = "<img/src=x>/1";
    console.use_key(&key, client, [203, 0, 113, 9]).await;
    let mut owner = console.owner().await;
    let keys = console.keys();
    let id = id_of(&key).to_string();
    for path in [
        keys.clone(),
        format!("{keys}?text=%3Cscript%3Ealert(1)"),
        format!("{keys}/{id}/pause"),
        format!("{keys}/{id}/remove"),
    ] {
        let page = owner.page(&path).await;
        assert!(
            !page.contains("<script>alert") && !page.contains("<img"),
            "{path}: {page}"
        );
        assert!(page.contains("&#60;script&#62;alert(1)"), "{path}: {page}");
    }
    let answer = owner
        .post(
            &format!("{keys}/search"),
            &[("text", "<script>alert(2)</script>\u{1}")],
        )
        .await;
    assert!(!answer.text.contains("alert(2)"), "{}", answer.text);
    let answer = owner.post(&format!("{keys}/bulk"), &[("pick", &id)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.text.contains("<script>alert") && !answer.text.contains("<img"));
    let csv = owner.page(&format!("{keys}/export?format=csv")).await;
    assert!(
        csv.contains("\"'=HYPERLINK(\"\"http://evil.example\"\")\""),
        "{csv}"
    );
}

async fn an_export_holds_what_the_filter_means_and_never_a_value(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let one = console.plain_key("one").await;
    console
        .named_key("two", |draft| draft.environment = Some(Environment::Staging))
        .await;
    let mut owner = console.owner().await;
    let answer = owner
        .get(&console.path("settings/secret-keys/export?format=csv"))
        .await;
    assert_eq!(
        answer.headers["content-disposition"],
        "attachment; filename=\"secret-keys-org-1.csv\""
    );
    let lines: Vec<&str> = answer.text.lines().collect();
    assert!(
        lines.len() == 3 && lines[0].starts_with("id,name,state,environment"),
        "{lines:?}"
    );
    assert!(!answer.text.contains(one.value.reveal()));
    let lines = owner
        .page(&console.path("settings/secret-keys/export?format=jsonl&environment=staging"))
        .await;
    let row: serde_json::Value = serde_json::from_str(&lines).expect("one line of JSON");
    assert_eq!(row["name"], "two");
    assert_eq!(row["environment"], "staging");
}

async fn many_keys_are_removed_as_the_preview_showed_them(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let used = console.plain_key("used daily").await;
    let idle = console.plain_key("idle").await;
    let changed = console.plain_key("changed meanwhile").await;
    let kept = console.plain_key("kept").await;
    console
        .use_key(&used, "nightly-export/2.4", [198, 51, 100, 30])
        .await;
    let mut owner = console.owner().await;
    let keys = console.keys();
    owner.page(&keys).await;
    let ids: Vec<String> = [&idle, &used, &changed]
        .map(|key| id_of(key).to_string())
        .to_vec();
    let mut picks: Vec<(&str, &str)> = ids.iter().map(|id| ("pick", id.as_str())).collect();
    picks.push(("pick", "nonsense"));
    let preview = owner.post(&format!("{keys}/bulk"), &picks).await;
    assert_eq!(preview.status, StatusCode::OK, "{}", preview.text);
    let text = &preview.text;
    for said in [
        "Remove 3 keys?",
        "1 of them was used within the last 24 hours",
        "nightly-export/2.4",
        "198.51.100.30",
        "In use",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(
        text.find("used daily") < text.find("idle"),
        "who is in use comes first"
    );
    assert!(!text.contains("kept"));
    // Looking changed nothing.
    assert_eq!(console.test.verify(used.value.reveal()).await, Ok(()));
    let engine = &console.test.engine;
    engine
        .pause_key(context(), console.organization.clone(), id_of(&changed))
        .await
        .unwrap();
    let token = between(text, "name=\"token\" value=\"", "\"").unwrap().to_owned();
    let fields = [("token", token.as_str()), ("reason", "unused")];
    let done = owner.post(&format!("{keys}/bulk/run"), &fields).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    assert!(done.text.contains("2 keys were removed"), "{}", done.text);
    assert!(
        done.text.contains("changed meanwhile")
            && done.text.contains("It was changed or used after the preview")
    );
    for key in [&used, &idle] {
        assert!(matches!(
            console.state_of(id_of(key)).await,
            KeyState::Deleted {
                reason: DeleteReason::Unused,
                ..
            }
        ));
        assert_eq!(
            console.test.verify(key.value.reveal()).await,
            Err(Code::KeyDeleted)
        );
    }
    assert_eq!(console.test.verify(kept.value.reveal()).await, Ok(()));
    assert!(!console.state_of(id_of(&changed)).await.is_deleted());
    // The token is good once.
    let again = owner.post(&format!("{keys}/bulk/run"), &fields).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    // Nothing selected is not everything.
    for nothing in [&[][..], &[("pick", "nonsense")], &[("pick", "")]] {
        let answer = owner.post(&format!("{keys}/bulk"), nothing).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains("No key is selected"), "{}", answer.text);
    }
    // Everything that a filter finds.
    let whole = [("all", "1"), ("state", "paused")];
    let preview = owner.post(&format!("{keys}/bulk"), &whole).await;
    assert!(preview.text.contains("Remove 1 key?") && preview.text.contains("changed meanwhile"));
}

async fn before_an_end_stand_its_victims(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.plain_key("in use").await;
    console
        .use_key(&key, "yesterdays-client/1", [198, 51, 100, 1])
        .await;
    console.test.clock.advance_ms(2 * DAY_MS);
    console
        .use_key(&key, "nightly-export/2.4", [198, 51, 100, 30])
        .await;
    let mut owner = console.owner().await;
    let own = format!("{}/{}", console.keys(), id_of(&key));
    for page in ["pause", "remove"] {
        let text = owner.page(&format!("{own}/{page}")).await;
        for said in [
            "Last used",
            "nightly-export/2.4",
            "198.51.100.30",
            "1 request",
            "class=\"card dialog\"",
        ] {
            assert!(text.contains(said), "{page}: {said}: {text}");
        }
        assert!(!text.contains("yesterdays-client"), "{page}");
    }
    assert_eq!(console.test.verify(key.value.reveal()).await, Ok(()));
    let keys = console.keys();
    let paused = owner.post(&format!("{own}/pause"), &[]).await;
    assert_eq!(paused.location(), format!("{keys}?done=paused"));
    assert!(
        owner
            .page(&format!("{keys}?done=paused"))
            .await
            .contains("The key is paused.")
    );
    assert_eq!(
        console.test.verify(key.value.reveal()).await,
        Err(Code::KeyPaused)
    );
    assert!(
        owner
            .page(&format!("{own}/pause"))
            .await
            .contains("It is paused already")
    );
    assert!(owner.page(&keys).await.contains("/resume\">Resume</button>"));
    let resumed = owner.post(&format!("{own}/resume"), &[]).await;
    assert_eq!(resumed.location(), format!("{keys}?done=resumed"));
    assert_eq!(console.test.verify(key.value.reveal()).await, Ok(()));
    let removed = owner
        .post(&format!("{own}/remove"), &[("reason", "replaced")])
        .await;
    assert_eq!(removed.location(), format!("{keys}?done=removed"));
    assert!(matches!(
        console.state_of(id_of(&key)).await,
        KeyState::Deleted {
            reason: DeleteReason::Replaced,
            ..
        }
    ));
    assert!(
        owner
            .page(&format!("{own}/remove"))
            .await
            .contains("removed already")
    );
    // Nothing brings it back, and a reason that no page of ours sends ends a key all the same.
    let answer = owner.post(&format!("{own}/resume"), &[]).await;
    assert_ne!(answer.status, StatusCode::SEE_OTHER);
    assert!(console.state_of(id_of(&key)).await.is_deleted());
}

async fn members_and_other_organizations_find_none_of_it(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.plain_key("not theirs").await;
    let other = console.test.organization("org-2").await;
    let foreign = console.test.full_key(&other).await;
    let mut member = console.member("mia@example.com", Role::Member).await;
    member.page("/organizations").await;
    let mut owner = console.owner().await;
    owner.page(&console.keys()).await;
    let mut seen = 0;
    for row in route_table() {
        let Some(rest) = row.path.strip_prefix("/org/{organization}/settings/secret-keys") else {
            continue;
        };
        assert!(matches!(row.audience, Audience::Members(_)), "{}", row.path);
        seen += 1;
        let path = format!("{}{rest}", console.keys()).replace("{key}", id_of(&key).as_str());
        let is_form = row.method == http::Method::POST;
        let answer = if is_form {
            member.post(&path, &[("text", "x")]).await
        } else {
            member.get(&path).await
        };
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{} {path}", row.method);
        // A key of another organization is not found under one's own.
        if rest.contains("{key}") {
            let path = format!("{}{rest}", console.keys()).replace("{key}", foreign.key.record.id.as_str());
            let answer = if is_form {
                owner.post(&path, &[]).await
            } else {
                owner.get(&path).await
            };
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{} {path}", row.method);
        }
    }
    assert!(seen >= 10, "{seen} routes");
    assert_eq!(console.test.verify(key.value.reveal()).await, Ok(()));
    assert_eq!(console.test.verify(foreign.value.reveal()).await, Ok(()));
    let answer = owner
        .post(
            &format!("{}/search", console.keys()),
            &[("text", foreign.value.reveal())],
        )
        .await;
    assert!(
        answer.text.contains("It may belong to another organization"),
        "{}",
        answer.text
    );
}

async fn fifty_long_names_weigh_little_and_the_next_page_goes_on(kind: Kind) {
    let console = TestConsole::new(kind).await;
    for number in 0..53 {
        console
            .named_key(&format!("{number:03}{}", "<".repeat(97)), |draft| {
                draft.environment = Some(Environment::Production);
            })
            .await;
    }
    let mut owner = console.owner().await;
    let keys = console.keys();
    // The weight itself is looked at for every answer.
    let first = owner.page(&format!("{keys}?sort=name")).await;
    assert_eq!(names(&first).len(), 50);
    assert!(first.contains("50 of 53 keys"), "{first}");
    let next = between(&first, "<a class=\"chip\" href=\"", "\" rel=\"next\"").unwrap();
    let next = next.rsplit('"').next().unwrap().replace("&#38;", "&");
    let second = owner.page(&next).await;
    assert_eq!(names(&second).len(), 3);
    assert!(names(&second)[0].starts_with("050") && second.contains("First page"));
    // A place of another order begins anew, as does one that is none.
    for other in [
        next.replace("sort=name", "sort=due"),
        format!("{keys}?after=nonsense"),
    ] {
        let answer = owner.get(&other).await;
        assert!(!answer.location().contains("after"), "{other}");
    }
}

on_both_databases!(
    an_organization_without_keys_is_told_what_a_key_is,
    filters_and_orders_show_what_they_say,
    a_row_says_who_made_the_key_and_that_it_is_being_rotated,
    a_pasted_key_finds_its_row_and_is_in_no_address_and_no_answer,
    what_people_and_clients_call_themselves_is_never_markup_nor_a_formula,
    an_export_holds_what_the_filter_means_and_never_a_value,
    many_keys_are_removed_as_the_preview_showed_them,
    before_an_end_stand_its_victims,
    members_and_other_organizations_find_none_of_it,
    fifty_long_names_weigh_little_and_the_next_page_goes_on,
);
