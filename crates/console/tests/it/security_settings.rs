//! Security: rules by version, contacts with secrets shown once, what was sent, and the emergency.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use keyward_core::environment::Environment;
use keyward_core::organization::{OrganizationSettings, RotationRule};
use keyward_core::refusal::Code;
use keyward_core::role::Role;
use keyward_core::time::DAY_MS;
use keyward_engine::deliver::{Attempt, Channels, Outcome, Outgoing};
use keyward_engine::edit_settings::SettingsEdit;
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::support::{Browser, TestConsole, between};

const RULES: &str = "settings/security/rules";
const CONTACTS: &str = "settings/security/contacts";
const HOOK: &str = "https://hooks.example.com/<b>";
const GOOD_HOOK: &str = "https://hooks.example.com/keyward";

/// Takes everything, and fails for addresses that say so.
#[derive(Default)]
struct Taking(Mutex<Vec<String>>);

impl Channels for Taking {
    fn send(&self, outgoing: Outgoing) -> Attempt<'_> {
        let address = outgoing.contact.address().to_owned();
        let outcome = if address.starts_with("fails") {
            Outcome::Failed {
                status: Some(500),
                why: "it answered 500".to_owned(),
                retry_after_ms: None,
            }
        } else {
            Outcome::Sent { status: Some(200) }
        };
        self.0.lock().expect("no test panics here").push(address);
        Box::pin(async { outcome })
    }
}

async fn settings(console: &TestConsole) -> OrganizationSettings {
    let found = console.test.engine.show_organization(&console.organization);
    found.await.expect("the organization is there").settings
}

async fn version(console: &TestConsole, browser: &mut Browser) -> String {
    let page = browser.page(&console.path("settings/security")).await;
    let version = between(&page, "name=\"version\" value=\"", "\"");
    version.expect("the form has a version").to_owned()
}

fn rules<'a>(version: &'a str, lifetime: &'a str, production: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("version", version),
        ("lifetime", lifetime),
        ("rotation-production", production),
        ("rotation-staging", "180"),
        ("rotation-development", ""),
        ("rotation-ci_cd", ""),
    ]
}

async fn rules_are_saved_by_version_and_problems_keep_what_was_typed(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let path = console.path(RULES);
    let first = version(&console, &mut owner).await;
    let answer = owner.post(&path, &rules(&first, "0", "often")).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("id=\"lifetime-problem\"") && answer.text.contains("value=\"often\""));
    assert!(answer.text.contains("id=\"rotation-production-problem\""));
    assert_eq!(settings(&console).await, OrganizationSettings::default());

    let answer = owner.post(&path, &rules(&first, "365", "30")).await;
    assert_eq!(answer.location(), console.path("settings/security?done=saved"));
    let now = settings(&console).await;
    assert_eq!(now.max_key_lifetime_ms, Some(365 * DAY_MS));
    // Only what differs from the usual is kept.
    let own: Vec<_> = now.rotation_policy.into_iter().collect();
    assert_eq!(
        own,
        [
            (Environment::Production, RotationRule::EveryDays(30)),
            (Environment::CiCd, RotationRule::AsNeeded)
        ]
    );
    let answer = owner.post(&path, &rules(&first, "7", "90")).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("somebody else saved") && answer.text.contains("value=\"7\""));
    assert_eq!(settings(&console).await.max_key_lifetime_ms, Some(365 * DAY_MS));
}

async fn only_an_owner_switches_the_second_factor_off(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    let first = version(&console, &mut admin).await;
    let mut demanding = rules(&first, "", "90");
    demanding.push(("second-factor", "on"));
    let answer = admin.post(&console.path(RULES), &demanding).await;
    assert_eq!(answer.location(), console.path("settings/security?done=saved"));
    assert!(settings(&console).await.second_factor_required);
    // Who has none is led to setting one up, and changes nothing more.
    let answer = admin.post(&console.path(RULES), &rules(&first, "", "90")).await;
    assert_eq!(answer.location(), "/account/second-factor?why=demanded");
    assert!(settings(&console).await.second_factor_required);
}

async fn a_signing_secret_is_shown_in_one_answer_and_on_no_page(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let path = console.path(CONTACTS);
    let at = version(&console, &mut owner).await;
    for unfit in [HOOK, "nobody", "http://example.com/hook"] {
        let answer = owner.post(&path, &[("address", unfit), ("version", &at)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{unfit}");
        assert!(answer.text.contains("id=\"address-problem\"") && !answer.text.contains("<b>\""));
    }
    let added = owner
        .post(&path, &[("address", GOOD_HOOK), ("version", &at)])
        .await;
    assert_eq!(added.status, StatusCode::OK);
    let secret = between(&added.text, "id=\"signing-secret\">", "<").expect("the secret is shown");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let page = owner.page(&console.path("settings/security")).await;
    assert!(page.contains(GOOD_HOOK) && !page.contains("whsec_"));

    let contacts = console.test.engine.list_contacts(&console.organization).await;
    let own = contacts.expect("contacts can be listed").remove(0).contact;
    let rotated = owner
        .post(&console.path(&format!("{CONTACTS}/{own}/rotate-secret")), &[])
        .await;
    let other = between(&rotated.text, "id=\"signing-secret\">", "<").expect("the new one is shown");
    assert_ne!(other, secret);
    assert!(rotated.text.contains("old one signs nothing"));

    let at = version(&console, &mut owner).await;
    let twice = owner
        .post(&path, &[("address", GOOD_HOOK), ("version", &at)])
        .await;
    assert_eq!(twice.status, StatusCode::UNPROCESSABLE_ENTITY);
    let remove = console.path(&format!("{CONTACTS}/{own}/remove"));
    let stale = owner.post(&remove, &[("version", "0")]).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    let gone = owner.post(&remove, &[("version", &at)]).await;
    assert_eq!(
        gone.location(),
        console.path("settings/security?done=contact-removed")
    );
    assert!(settings(&console).await.security_contacts.is_empty());
    assert_eq!(
        owner.post(&remove, &[("version", &at)]).await.status,
        StatusCode::NOT_FOUND
    );
}

async fn a_test_tells_what_became_of_it_and_what_was_sent_is_listed(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let channels = Arc::new(Taking::default());
    console
        .test
        .engine
        .use_channels(Arc::clone(&channels) as Arc<dyn Channels>);
    let contacts = ["oncall@example.com", "fails@example.com"]
        .map(|address| keyward_core::contact::SecurityContact::Email(address.parse().expect("it is one")));
    let edit = SettingsEdit {
        security_contacts: Some(contacts.to_vec()),
        ..SettingsEdit::default()
    };
    let edited = console
        .test
        .engine
        .edit_settings(&context(), &console.organization, None, edit)
        .await;
    edited.expect("contacts can be set");
    let mut owner = console.owner().await;
    owner.page(&console.path("settings/security")).await;
    let answer = owner.post(&console.path(&format!("{CONTACTS}/test")), &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .text
            .contains("did not arrive at 1 of 2 contacts: it answered 500"),
        "{}",
        answer.text
    );
    assert_eq!(channels.0.lock().expect("no test panics here").len(), 2);
    let sent = owner
        .page(&console.path("settings/security/deliveries?state=sent"))
        .await;
    assert!(sent.contains("oncall@example.com") && sent.contains("Arrived"));
    assert!(!sent.contains("fails@example.com"));
    let rows = console.test.engine.list_contacts(&console.organization).await;
    let rows = rows.expect("contacts can be listed");
    let good = rows.iter().find(|row| row.address.starts_with("oncall"));
    let good = &good.expect("it is there").contact;
    let answer = owner
        .post(&console.path(&format!("{CONTACTS}/{good}/test")), &[])
        .await;
    assert!(answer.text.contains("The test arrived."), "{}", answer.text);
    // Mail is not signed.
    let refused = owner
        .post(&console.path(&format!("{CONTACTS}/{good}/rotate-secret")), &[])
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
}

async fn a_stop_shows_its_victims_and_holds_until_it_is_taken_back(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let key = console.test.full_key(&console.organization).await;
    let value = key.value.reveal().to_owned();
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    let page = admin.page(&console.path("settings/security/stop")).await;
    assert!(page.contains("Nobody used any of the 1 key"), "{page}");
    console.test.verify(&value).await.expect("the key works");
    let page = admin.page(&console.path("settings/security/stop")).await;
    assert!(page.contains("Who used the 1 key in the last 24 hours"), "{page}");

    for (form, back, refused) in [
        ("stop", "resume", Code::KeyPaused),
        ("lock", "unlock", Code::OrganizationLocked),
    ] {
        admin
            .page(&console.path(&format!("settings/security/{form}")))
            .await;
        let answer = admin
            .post(&console.path(&format!("settings/security/{form}")), &[])
            .await;
        let shown = answer.location().to_owned();
        let page = admin.page(&shown).await;
        assert!(page.contains("role=\"status\"") && page.contains(&format!("security/{back}\"")));
        if refused == Code::KeyPaused {
            assert_eq!(console.test.verify(&value).await.unwrap_err(), refused);
        }
        let state = console.test.engine.show_organization(&console.organization).await;
        let state = state.expect("it is there").state;
        assert_eq!(
            (state.is_stopped(), state.is_locked()),
            (form == "stop", form == "lock")
        );
        admin
            .post(&console.path(&format!("settings/security/{back}")), &[])
            .await
            .location();
        console.test.verify(&value).await.expect("the key works again");
    }
}

async fn a_member_finds_none_of_it(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut member = console.member("member@example.com", Role::Member).await;
    member.page(&console.path("settings/general")).await;
    for path in ["", "/deliveries", "/stop", "/lock"] {
        let answer = member
            .get(&console.path(&format!("settings/security{path}")))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [
        "rules",
        "stop",
        "resume",
        "lock",
        "unlock",
        "contacts",
        "contacts/test",
        "contacts/x/test",
        "contacts/x/enable",
        "contacts/x/remove",
        "contacts/x/rotate-secret",
    ] {
        let answer = member
            .post(&console.path(&format!("settings/security/{path}")), &[])
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let state = console.test.engine.show_organization(&console.organization).await;
    assert!(!state.expect("it is there").state.is_stopped());
}

on_both_databases!(
    rules_are_saved_by_version_and_problems_keep_what_was_typed,
    only_an_owner_switches_the_second_factor_off,
    a_signing_secret_is_shown_in_one_answer_and_on_no_page,
    a_test_tells_what_became_of_it_and_what_was_sent_is_listed,
    a_stop_shows_its_victims_and_holds_until_it_is_taken_back,
    a_member_finds_none_of_it,
);
