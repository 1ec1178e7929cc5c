//! What must hold for every page, walked along the table of pages, so that a new page is covered by itself.

use std::cell::RefCell;
use std::collections::BTreeSet;

use http::{Method, StatusCode};
use keyward_console::{Audience, RouteRow};
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::role::Role;
use keyward_engine::invitations::InvitationDraft;
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::support::{Answer, Browser, OWNER, PASSPHRASE, PUBLIC_URL, TestConsole, between};

/// What stands for the parameters of paths: things that are there.
struct Ids {
    key: String,
    token: String,
    person: String,
    link: String,
    invitation: String,
    invitation_secret: String,
}

impl Ids {
    async fn of(console: &TestConsole) -> Self {
        let engine = &console.test.engine;
        let key = console.test.full_key(&console.organization).await;
        let token = console.test.token(&console.organization, "keys:read").await;
        let draft = InvitationDraft {
            email: "invited@example.com".parse().unwrap(),
            role: Role::Member,
            lifetime_ms: None,
        };
        let invited = engine
            .create_invitation(&context(), &console.organization, draft)
            .await
            .unwrap();
        let person = engine
            .memberships_of(Some(&console.organization), OWNER)
            .await
            .unwrap();
        Self {
            key: key.key.record.id.to_string(),
            token: token.token.record.id.to_string(),
            person: person[0].person_id.to_string(),
            link: "0".repeat(64),
            invitation: invited.invitation.id.to_string(),
            invitation_secret: invited.secret.reveal().to_owned(),
        }
    }

    /// The path of a row, with every parameter filled in.
    fn fill(&self, row: &RouteRow) -> String {
        let parts = row.path.split('/').map(|part| match part {
            "{organization}" => "org-1",
            "{key}" => &self.key,
            "{token}" => &self.token,
            "{person}" | "{member}" => &self.person,
            "{invitation}" => &self.invitation,
            "{id}" if row.path.contains("invitation") => &self.invitation,
            "{secret}" if row.path.contains("invitation") => &self.invitation_secret,
            "{secret}" => &self.link,
            other if other.starts_with('{') => "01990000-0000-7000-8000-000000000000",
            other => other,
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

fn rows(method: &Method) -> Vec<RouteRow> {
    let table = keyward_console::route_table().into_iter();
    table.filter(|row| row.method == *method).collect()
}

fn right_of(row: &RouteRow) -> Option<ManagementRight> {
    match row.audience {
        Audience::Members(right) => Some(right),
        Audience::Anybody | Audience::SignedIn => None,
    }
}

/// An answer to somebody whom a page is not for.
async fn asked(browser: &mut Browser, row: &RouteRow, path: &str) -> Answer {
    if row.method == Method::POST {
        browser.post(path, &[]).await
    } else {
        browser.get(path).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_names_every_page_once_and_an_organizations_page_asks_for_a_right() {
    let table = keyward_console::route_table();
    let mut seen = BTreeSet::new();
    for row in &table {
        assert!(seen.insert((row.method.to_string(), row.path)), "{row:?}");
        assert_eq!(right_of(row).is_some(), row.path.starts_with("/org/"), "{row:?}");
        assert!(row.method == Method::GET || row.method == Method::POST, "{row:?}");
    }
    assert!(seen.len() > 20, "{}", seen.len());
}

async fn every_form_needs_the_proof_of_its_own_session(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let ids = Ids::of(&console).await;
    let mut owner = console.owner().await;
    let mut other = console.member("other@example.com", Role::Owner).await;
    let mut visitor = console.browser();
    owner.page("/organizations").await;
    other.page("/organizations").await;
    visitor.page("/sign-in").await;
    let mut half = console.browser();
    half.page("/sign-in").await;
    for row in rows(&Method::POST) {
        let path = ids.fill(&row);
        for (whose, proof) in [
            ("none", ""),
            ("another session's", other.proof.as_str()),
            ("a visitor's", visitor.proof.as_str()),
        ] {
            let answer = owner.clone().post_with(proof, &path, &[]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} with {whose} proof");
            assert!(answer.headers.get("set-cookie").is_none(), "{path}");
        }
        // A visitor's form: without a cookie, with another visitor's proof, with a session's.
        for (whose, proof) in [
            ("another visitor's", half.proof.as_str()),
            ("a session's", owner.proof.as_str()),
        ] {
            let answer = visitor.clone().post_with(proof, &path, &[]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} with {whose} proof");
        }
        let answer = console.browser().post_with(&visitor.proof, &path, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} without a cookie");
    }
    // Nothing of all that happened: both are signed in, and everything is there.
    owner.page("/organizations").await;
    other.page("/organizations").await;
    let engine = &console.test.engine;
    engine
        .show_key(&console.organization, ids.key.parse().unwrap())
        .await
        .unwrap();
}

async fn strangers_are_asked_to_sign_in_and_find_nothing_out(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let ids = Ids::of(&console).await;
    let mut visitor = console.browser();
    visitor.page("/sign-in").await;
    for row in keyward_console::route_table() {
        if row.audience == Audience::Anybody {
            continue;
        }
        let path = ids.fill(&row);
        let there = asked(&mut visitor, &row, &path).await;
        assert!(
            there.location().starts_with("/sign-in"),
            "{path}: {}",
            there.location()
        );
        if row.method == Method::GET {
            let back = format!("/sign-in?next={}", path.replace('/', "%2F"));
            assert_eq!(there.location(), back);
        }
        // Whether the organization is there can't be told.
        let nowhere = path.replace("/org/org-1", "/org/org-9");
        let not_there = asked(&mut visitor, &row, &nowhere).await;
        assert_eq!(there.status, not_there.status, "{path}");
    }
}

async fn who_has_no_right_finds_nothing_there(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let ids = Ids::of(&console).await;
    console.test.organization("org-2").await;
    let mut browsers = Vec::new();
    for role in [Role::Member, Role::Admin] {
        let email = format!("{}@example.com", role.name());
        let mut browser = console.member(&email, role).await;
        browser.page("/organizations").await;
        browsers.push((RightSet::of_role(role), browser));
    }
    let mut tried = 0;
    for row in keyward_console::route_table() {
        let Some(right) = right_of(&row) else { continue };
        let path = ids.fill(&row);
        for (rights, browser) in &mut browsers {
            if !rights.contains(right) {
                let answer = asked(browser, &row, &path).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
                tried += 1;
            }
            // The other organization is nobody's but its Owner's, and one that is not there looks the same.
            let elsewhere = asked(browser, &row, &path.replace("/org/org-1", "/org/org-2")).await;
            let nowhere = asked(browser, &row, &path.replace("/org/org-1", "/org/org-9")).await;
            assert_eq!(elsewhere.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(nowhere.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(
                without_request(&elsewhere.text),
                without_request(&nowhere.text),
                "{path}"
            );
        }
    }
    assert!(tried > 5, "{tried}");
}

/// A refusal without the id of its request.
fn without_request(page: &str) -> String {
    let id = between(page, "Request <code>", "</code>").unwrap_or_default();
    page.replace(id, "")
}

async fn a_right_that_was_taken_away_is_gone_at_once(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    admin.page(&console.path("audit")).await;
    let engine = &console.test.engine;
    let person = engine
        .memberships_of(Some(&console.organization), "admin@example.com")
        .await
        .unwrap()
        .remove(0)
        .person_id;
    let changed = engine
        .change_role(&context(), &console.organization, &person, Role::Member)
        .await;
    drop(changed.unwrap());
    assert_eq!(
        admin.get(&console.path("audit")).await.status,
        StatusCode::NOT_FOUND
    );
    admin.page(&console.path("settings/help")).await;
}

/// Every page of the table that can be looked at is; the support's checks (headers, weight, nothing inline, nothing from elsewhere)
/// run on each answer.
async fn every_page_has_the_headers_and_repeats_nothing_of_the_host_or_of_its_address(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let ids = Ids::of(&console).await;
    let mut owner = console.owner().await;
    owner.host = Some("evil.example".to_owned());
    let mut visitor = console.browser();
    visitor.host = Some("evil.example".to_owned());
    for row in rows(&Method::GET) {
        let path = ids.fill(&row);
        let query = "?done=%3Cscript%3Ealert(1)%3C/script%3E&told=%22%3E%3Cscript%3E&why=%3Cscript%3E&next=//evil.example";
        for browser in [&mut owner, &mut visitor] {
            for asked in [path.clone(), format!("{path}{query}")] {
                let answer = browser.get(&asked).await;
                let status = answer.status;
                assert!(!status.is_server_error(), "{asked}: {status}");
                assert!(!answer.text.contains("<script>"), "{asked}");
                // A form may hold what was asked for as an escaped value; nothing leads there.
                let place = answer
                    .headers
                    .get("location")
                    .map(|place| place.to_str().unwrap());
                assert!(
                    place.is_none_or(|place| place.starts_with('/') && !place.starts_with("//")),
                    "{asked}: {place:?}"
                );
                let texts = answer.text.split(['"', '\'']);
                for text in texts.filter(|text| text.contains("evil.example")) {
                    let is_path = text.starts_with('/') && !text.starts_with("//");
                    assert!(is_path || text.starts_with('?'), "{asked}: {text}");
                }
            }
        }
    }
    // Where an address is absolute, it is the configured one.
    let page = owner.page(&console.path("settings/help/sdk")).await;
    assert!(page.contains(PUBLIC_URL) && !page.contains("evil.example"));
}

async fn a_session_that_was_planted_is_not_taken_over(kind: Kind) {
    let console = TestConsole::new(kind).await;
    drop(console.owner().await);
    let planted = "A".repeat(43);
    let mut victim = console.browser();
    victim
        .cookies
        .insert("keyward-session".to_owned(), planted.clone());
    victim.page("/sign-in").await;
    let fields = [("email", OWNER), ("passphrase", PASSPHRASE)];
    victim.post("/sign-in", &fields).await.location();
    assert_ne!(victim.cookies["keyward-session"], planted);
    let mut thief = console.browser();
    thief.cookies.insert("keyward-session".to_owned(), planted);
    assert_eq!(thief.get("/account").await.status, StatusCode::SEE_OTHER);

    // A thief's own session, planted: signing in does not go on in it.
    let mut thief = console.member("thief@example.com", Role::Member).await;
    let token = thief.cookies["keyward-session"].clone();
    let mut victim = console.browser();
    victim.cookies.insert("keyward-session".to_owned(), token.clone());
    victim.page("/account").await;
    victim.post("/sign-in", &fields).await.location();
    assert_ne!(victim.cookies["keyward-session"], token);
    assert!(victim.page("/account").await.contains(OWNER));
    let after = thief.get("/account").await;
    assert!(!after.text.contains(OWNER));

    // A visitor's number that somebody knows proves nothing once there is a session.
    let mut visitor = console.browser();
    visitor.page("/sign-in").await;
    let (number, proof) = (visitor.cookies["keyward-visitor"].clone(), visitor.proof.clone());
    let mut owner = console.owner().await;
    owner.cookies.insert("keyward-visitor".to_owned(), number);
    let answer = owner.post_with(&proof, "/sign-out", &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    // Two cookies of a name are none: nobody knows which one was planted.
    let mut doubled = console.owner().await;
    let own = doubled.cookies["keyward-session"].clone();
    doubled.cookies.insert(
        "keyward-session".to_owned(),
        format!("{own}; keyward-session=planted"),
    );
    assert_eq!(doubled.get("/account").await.status, StatusCode::SEE_OTHER);
}

async fn nobody_is_led_to_another_site(kind: Kind) {
    let console = TestConsole::new(kind).await;
    drop(console.owner().await);
    let engine = &console.test.engine;
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        " //evil.example",
    ] {
        let mut owner = console.signed_in(OWNER).await;
        let encoded: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let led = owner.get(&format!("/sign-in?next={encoded}")).await;
        assert!(is_here(led.location()), "{next}: {}", led.location());

        let made = engine
            .create_sign_in_link(&context(), OWNER, LinkPurpose::SetPassphrase)
            .await;
        let path = format!("/sign-in/link/{}", made.unwrap().secret.reveal());
        let mut browser = console.browser();
        browser.page(&format!("{path}?next={encoded}")).await;
        let fields = [("passphrase", PASSPHRASE), ("next", next)];
        let led = browser.post(&format!("{path}?next={encoded}"), &fields).await;
        assert!(is_here(led.location()), "{next}: {}", led.location());
    }
    let draft = InvitationDraft {
        email: "new@example.com".parse().unwrap(),
        role: Role::Admin,
        lifetime_ms: None,
    };
    let invited = engine
        .create_invitation(&context(), &console.organization, draft)
        .await;
    let path = format!(
        "/invitations/{}?next=//evil.example",
        invited.unwrap().secret.reveal()
    );
    let mut browser = console.browser();
    browser.page(&path).await;
    let fields = [("passphrase", PASSPHRASE), ("next", "//evil.example")];
    assert_eq!(browser.post(&path, &fields).await.location(), "/org/org-1");
}

fn is_here(location: &str) -> bool {
    location.starts_with("/org/") || location.starts_with("/sign-in") || location.starts_with("/%0d%0a")
}

async fn what_a_browser_calls_itself_is_text_and_nothing_else(kind: Kind) {
    let console = TestConsole::new(kind).await;
    drop(console.owner().await);
    let mut browser = console.browser();
    browser.user_agent = "<script>alert(1)</script>\"><img/onerror=alert(2)>".to_owned();
    browser.page("/sign-in").await;
    let fields = [("email", OWNER), ("passphrase", PASSPHRASE)];
    browser.post("/sign-in", &fields).await.location();
    for path in ["/account".to_owned(), console.path("audit")] {
        let page = browser.page(&path).await;
        assert!(
            !page.contains("<script>alert") && !page.contains("<img"),
            "{path}: {page}"
        );
    }
    // Whatever was refused is in the trail too, and people's own texts are in the filter's fields.
    let mut stranger = console.browser();
    stranger.user_agent = "\"><svg/onload=alert(1)>".to_owned();
    stranger.page("/sign-in").await;
    let fields = [
        ("email", "\"><script>alert(3)</script>@x"),
        ("passphrase", "wrong"),
    ];
    let answer = stranger.post("/sign-in", &fields).await;
    assert!(!answer.text.contains("<script>alert"), "{}", answer.text);
    let query = "?target=%22%3E%3Cscript%3Ealert(4)%3C/script%3E&actor=%3Cscript%3E&action=%3Cscript%3E&from=%3Cscript%3E";
    let page = browser.get(&format!("{}{query}", console.path("audit"))).await;
    assert!(!page.text.contains("<script>"), "{}", page.text);
}

async fn a_form_of_another_site_is_refused_before_it_is_read(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    owner.page("/organizations").await;
    for began in ["cross-site", "same-site", "nonsense"] {
        let mut foreign = owner.clone();
        foreign.fetch_site = Some(began.to_owned());
        let proof = foreign.proof.clone();
        let answer = foreign.post_with(&proof, "/sign-out", &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{began}");
    }
    owner.page("/account").await;
}

thread_local! {
    /// What was logged on this thread.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the thread's own lines.
struct OwnLines;

impl std::io::Write for OwnLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// On one thread, so that the lines of this test's requests are its thread's. The subscriber is everybody's: with one for a thread
// alone, what another thread logs first would be found uninteresting for all of them.
#[tokio::test]
async fn the_secret_of_a_link_is_in_no_line_of_the_log() {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(|| OwnLines)
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let console = TestConsole::new(Kind::Sqlite).await;
    let engine = &console.test.engine;
    let made = engine
        .create_sign_in_link(&context(), OWNER, LinkPurpose::SetPassphrase)
        .await;
    let draft = InvitationDraft {
        email: "new@example.com".parse().unwrap(),
        role: Role::Member,
        lifetime_ms: None,
    };
    let invited = engine
        .create_invitation(&context(), &console.organization, draft)
        .await;
    let (link, invitation) = (made.unwrap().secret, invited.unwrap().secret);
    let cut = "abcdefghij";
    for (path, secret) in [
        (format!("/sign-in/link/{}", link.reveal()), link.reveal()),
        (
            format!("/invitations/{}", invitation.reveal()),
            invitation.reveal(),
        ),
        (format!("/sign-in/link/{cut}"), cut),
        (format!("/invitations/{cut}?next=/x"), cut),
    ] {
        let mut browser = console.browser();
        browser.get(&path).await;
        browser.get("/sign-in").await;
        browser.post(&path, &[("passphrase", "too short")]).await;
        let logged = LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap());
        assert!(logged.contains("request finished"), "{logged}");
        assert!(!logged.contains(secret), "the log holds the secret of a link");
    }
}

on_both_databases!(
    every_form_needs_the_proof_of_its_own_session,
    strangers_are_asked_to_sign_in_and_find_nothing_out,
    who_has_no_right_finds_nothing_there,
    a_right_that_was_taken_away_is_gone_at_once,
    every_page_has_the_headers_and_repeats_nothing_of_the_host_or_of_its_address,
    a_session_that_was_planted_is_not_taken_over,
    nobody_is_led_to_another_site,
    what_a_browser_calls_itself_is_text_and_nothing_else,
    a_form_of_another_site_is_refused_before_it_is_read,
);
