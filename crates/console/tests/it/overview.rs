//! The overview: a new organization is taught, another is told what needs somebody.

use http::StatusCode;
use keyward_core::address::CallerAddress;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::email::EmailAddress;
use keyward_core::environment::Environment;
use keyward_core::key_text::KeyText;
use keyward_core::role::Role;
use keyward_core::scope::ScopeSet;
use keyward_core::time::DAY_MS;
use keyward_core::usage::ClientName;
use keyward_engine::invitations::InvitationDraft;
use keyward_engine::verify::VerifyQuestion;
use keyward_testkit::engine::{Kind, Permission, context, draft};
use keyward_testkit::on_both_databases;

use crate::support::TestConsole;

/// A request with a key from an address.
async fn ask(console: &TestConsole, value: &str, address: [u8; 4]) -> bool {
    let engine = &console.test.engine;
    let key = KeyText::parse(value, engine.prefix()).expect("the test's key is well formed");
    let question = VerifyQuestion {
        credentials: Credentials {
            key,
            organization: None,
        },
        claim: OrganizationClaim::NotAsked,
        purpose: Purpose::Identify,
        address: CallerAddress::Known(address.into()),
        client: ClientName::NONE,
    };
    engine.verify(&question, |_| ()).await.is_ok()
}

async fn production_key(console: &TestConsole, name: &str) -> String {
    let mut new = draft(ScopeSet::ALL, Permission::Full);
    name.clone_into(&mut new.name);
    new.environment = Some(Environment::Production);
    let made = console
        .test
        .engine
        .create_key(context(), console.organization.clone(), new)
        .await;
    made.expect("a key can be made").value.reveal().to_owned()
}

async fn a_new_organization_is_taught(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let page = owner.page("/org/org-1").await;
    for taught in [
        "Make the first secret key",
        "Create New Secret Key",
        "href=\"/org/org-1/settings/secret-keys/new\"",
        "<dt>Dataset</dt>",
        "<dt>Training</dt>",
        "<dt>Deployment</dt>",
        "DATATURE_VI_ORGANIZATION_ID=org-1",
        "DATATURE_VI_API_ENDPOINT=http://localhost:8787",
    ] {
        assert!(page.contains(taught), "{taught}\n{page}");
    }
    assert!(page.contains("created the organization"), "{page}");
    // The trail has it that the Owner came in; it changed nothing.
    assert!(!page.contains("signed in"), "{page}");
    let trail = owner.page(&console.path("audit")).await;
    assert!(trail.contains("Signed in"), "{trail}");
}

async fn what_needs_somebody_comes_first_and_leads_there(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let first = production_key(&console, "<script>alert(1)</script>").await;
    let mut owner = console.owner().await;
    assert!(ask(&console, &first, [192, 0, 2, 1]).await);
    let page = owner.page("/org/org-1").await;
    assert!(page.contains("Nothing needs you"), "{page}");
    assert!(
        page.contains("1 accepted, 0 refused") && page.contains("<div class=\"chart\""),
        "{page}"
    );
    assert!(
        page.contains("environment=production\" aria-label=\"1 key, Production\">1</a>"),
        "{page}"
    );

    console.test.clock.advance_ms(80 * DAY_MS);
    let mut owner = console.owner().await;
    let page = owner.page("/org/org-1").await;
    assert!(page.contains("1 key is due within 14 days"), "{page}");
    assert!(page.contains("settings/secret-keys?due=soon"), "{page}");

    console.test.clock.advance_ms(12 * DAY_MS);
    let invited = InvitationDraft {
        email: "new@example.com".parse::<EmailAddress>().expect("it is one"),
        role: Role::Member,
        lifetime_ms: None,
    };
    let engine = &console.test.engine;
    let invited = engine
        .create_invitation(&context(), &console.organization, invited)
        .await;
    invited.expect("somebody can be invited");
    let mut owner = console.owner().await;
    let page = owner.page("/org/org-1").await;
    for need in [
        "1 key is due for rotation",
        "settings/secret-keys?due=due\"",
        "1 key was not used for 90 days",
        "settings/secret-keys?unused=90\"",
        "1 invitation is open",
    ] {
        assert!(page.contains(need), "{need}\n{page}");
    }
    assert!(!page.contains("New addresses"));

    // A new address, and requests that are refused.
    assert!(ask(&console, &first, [203, 0, 113, 77]).await);
    let stopped = engine.stop_organization(context(), console.organization.clone());
    stopped.await.expect("it can be stopped");
    assert!(!ask(&console, &first, [203, 0, 113, 77]).await);
    assert!(!ask(&console, &first, [203, 0, 113, 77]).await);
    let page = owner.page("/org/org-1").await;
    for shown in [
        "203.0.113.77",
        "href=\"/help/errors/key_paused\"",
        "<td class=\"num\" data-label=\"Requests\">2</td>",
        "stopped every key",
    ] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
    assert!(!page.contains("not used for 90 days"));
    assert!(!page.contains("<script>alert"), "a key's name is text");
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
}

async fn a_member_finds_nothing_there(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut member = console.member("member@example.com", Role::Member).await;
    assert_eq!(member.get("/org/org-1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(member.get("/org/org-2").await.status, StatusCode::NOT_FOUND);
}

on_both_databases!(
    a_new_organization_is_taught,
    what_needs_somebody_comes_first_and_leads_there,
    a_member_finds_nothing_there,
);
