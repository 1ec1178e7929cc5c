//! A person's own things: passphrase, sessions, second factor.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use keyward_core::role::Role;
use keyward_core::time::{DAY_MS, MINUTE_MS};
use keyward_testkit::engine::{Kind, context};
use keyward_testkit::on_both_databases;

use crate::support::{Browser, OWNER, PASSPHRASE, TestConsole, between};

const FACTOR: &str = "/account/second-factor";

/// The six digits that an app with this seed shows (RFC 6238).
fn code(seed: &str, unix_ms: i64) -> String {
    let (mut bits, mut count, mut key) = (0_u32, 0, Vec::new());
    for letter in seed.bytes().filter(u8::is_ascii_alphanumeric) {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            .iter()
            .position(|other| *other == letter);
        bits = (bits << 5) | u32::try_from(value.unwrap()).unwrap();
        count += 5;
        if count >= 8 {
            count -= 8;
            key.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap();
    mac.update(&(unix_ms / 30_000).to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    let at = usize::from(hash[19] & 0xf);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

impl TestConsole {
    fn code(&self, seed: &str) -> String {
        code(seed, self.test.engine.now().as_unix_ms())
    }

    /// Turns the second factor of a browser's person on; the seed and the page with the recovery codes.
    pub(crate) async fn turn_on(&self, browser: &mut Browser) -> (String, String) {
        browser.page(FACTOR).await;
        let offered = browser
            .post(FACTOR, &[("step", "begin"), ("passphrase", PASSPHRASE)])
            .await;
        assert_eq!(offered.status, StatusCode::OK, "{}", offered.text);
        assert!(offered.text.contains("<svg"), "{}", offered.text);
        let seed = between(&offered.text, "<code id=\"seed\">", "</code>")
            .unwrap()
            .to_owned();
        let code = self.code(&seed);
        let shown = browser
            .post(FACTOR, &[("step", "confirm"), ("code", &code)])
            .await;
        assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
        (seed, shown.text)
    }
}

async fn a_new_passphrase_gives_this_browser_a_new_session_and_ends_the_others(kind: Kind) {
    let console = TestConsole::new(kind).await;
    drop(console.owner().await);
    let sign_in = async || {
        let mut browser = console.browser();
        browser.page("/sign-in").await;
        let fields = [("email", OWNER), ("passphrase", PASSPHRASE)];
        browser.post("/sign-in", &fields).await.location();
        browser
    };
    let (mut browser, mut other) = (sign_in().await, sign_in().await);
    browser.page("/account").await;
    let new = "eleven quiet otters paint fences";
    for (current, passphrase, field, why) in [
        (
            "not my passphrase at all",
            new,
            "current",
            "not your present passphrase",
        ),
        (PASSPHRASE, "short", "passphrase", "must be 12 to 256 characters"),
        (PASSPHRASE, OWNER, "passphrase", "must not be your e-mail address"),
    ] {
        let fields = [("current", current), ("passphrase", passphrase)];
        let answer = browser.post("/account", &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let beside = between(&answer.text, &format!("id=\"{field}-problem\">"), "<");
        assert!(beside.is_some_and(|told| told.contains(why)), "{}", answer.text);
    }
    let before = browser.clone();
    let fields = [("current", PASSPHRASE), ("passphrase", new)];
    let answer = browser.post("/account", &fields).await;
    assert_eq!(answer.location(), "/account?done=passphrase");
    assert_ne!(before.cookies, browser.cookies);
    assert!(
        browser
            .page("/account?done=passphrase")
            .await
            .contains("Your passphrase is changed")
    );
    for old in [&mut before.clone(), &mut other] {
        assert_eq!(old.get("/account").await.status, StatusCode::SEE_OTHER);
    }
    let mut again = console.browser();
    again.page("/sign-in").await;
    let fields = [("email", OWNER), ("passphrase", new)];
    assert_eq!(again.post("/sign-in", &fields).await.location(), "/org/org-1");
}

async fn sessions_are_listed_and_ended_and_only_the_own_ones(kind: Kind) {
    let console = TestConsole::new(kind).await;
    drop(console.owner().await);
    let sign_in = async |agent: &str| {
        let mut browser = console.browser();
        browser.user_agent = agent.to_owned();
        browser.page("/sign-in").await;
        let fields = [("email", OWNER), ("passphrase", PASSPHRASE)];
        browser.post("/sign-in", &fields).await.location();
        browser
    };
    let mut here = sign_in("Here/1").await;
    let mut there = sign_in("There/2").await;
    let mut third = sign_in("").await;
    let mut stranger = console.member("jo@example.com", Role::Member).await;

    let page = here.page("/account").await;
    assert!(
        page.contains("There/2") && page.contains("198.51.100.7"),
        "{page}"
    );
    assert!(page.contains("unknown"), "{page}");
    assert_eq!(page.matches("This session").count(), 1);
    let row = page.split("<tr>").find(|row| row.contains("There/2")).unwrap();
    let end = between(row, "action=\"", "\"").unwrap().to_owned();

    // Somebody else ends nothing of theirs, and learns nothing.
    stranger.page("/account").await;
    stranger.post(&end, &[]).await;
    there.page("/account").await;

    assert_eq!(here.post(&end, &[]).await.location(), "/account?done=ended");
    assert_eq!(there.get("/account").await.status, StatusCode::SEE_OTHER);
    third.page("/account").await;
    let answer = here.post("/account/sessions/end-others", &[]).await;
    assert_eq!(answer.location(), "/account?done=ended-others");
    assert_eq!(third.get("/account").await.status, StatusCode::SEE_OTHER);
    let page = here.page("/account").await;
    assert!(!page.contains("Sign out everywhere else"), "{page}");
    let end = between(&page, "action=\"/account/sessions/", "\"")
        .unwrap()
        .to_owned();
    let answer = here.post(&format!("/account/sessions/{end}"), &[]).await;
    assert_eq!(answer.location(), "/sign-in?told=signed-out");
    assert_eq!(here.get("/account").await.status, StatusCode::SEE_OTHER);
    stranger.page("/account").await;
}

async fn a_second_factor_is_set_up_and_asked_for_and_its_codes_are_shown_once(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    owner.page(FACTOR).await;
    let wrong = [("step", "begin"), ("passphrase", "not my passphrase at all")];
    let answer = owner.post(FACTOR, &wrong).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("This is not your passphrase") && !answer.text.contains("id=\"seed\""));
    let begin = [("step", "begin"), ("passphrase", PASSPHRASE)];
    let offered = owner.post(FACTOR, &begin).await;
    // Reloaded, the same offer; a wrong code keeps it.
    let seed = between(&offered.text, "<code id=\"seed\">", "</code>")
        .unwrap()
        .to_owned();
    assert!(owner.page(FACTOR).await.contains(&seed));
    let answer = owner.post(FACTOR, &[("step", "confirm"), ("code", "abc")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("This code does not fit") && answer.text.contains(&seed));

    let (seed, page) = console.turn_on(&mut owner).await;
    let codes: Vec<_> = between(&page, "<pre id=\"codes\" tabindex=\"0\">", "</pre>")
        .unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(codes.len(), 10);
    assert!(page.contains("download=\"keyward-recovery-codes.txt\""), "{page}");
    let page = owner.page(FACTOR).await;
    assert!(
        page.contains("recovery codes are left") && !page.contains(&codes[0]),
        "{page}"
    );
    assert!(!page.contains("id=\"seed\""), "{page}");

    console.test.clock.advance_ms(MINUTE_MS);
    let mut browser = console.browser();
    browser.page("/sign-in").await;
    let fields = [("email", OWNER), ("passphrase", PASSPHRASE)];
    assert!(
        browser
            .post("/sign-in", &fields)
            .await
            .location()
            .starts_with("/sign-in/code")
    );
    browser.page("/sign-in/code").await;
    let answer = browser
        .post("/sign-in/code", &[("code", &console.code(&seed))])
        .await;
    assert_eq!(answer.location(), "/org/org-1");

    // New recovery codes take the place of the old ones.
    browser.page(FACTOR).await;
    let renew = [("step", "renew"), ("passphrase", PASSPHRASE)];
    let renewed = browser.post(FACTOR, &renew).await;
    assert_eq!(renewed.status, StatusCode::OK);
    assert!(!renewed.text.contains(&codes[0]), "{}", renewed.text);
    browser.page(FACTOR).await;
    let remove = [("step", "remove"), ("passphrase", PASSPHRASE)];
    let answer = browser.post(FACTOR, &remove).await;
    assert_eq!(answer.location(), "/account/second-factor?done=removed");
    assert!(browser.page("/account").await.contains("Set up second factor"));
}

async fn an_organization_that_demands_a_second_factor_says_so_and_keeps_it_on(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let edit = keyward_engine::edit_settings::SettingsEdit {
        second_factor_required: Some(true),
        ..Default::default()
    };
    let engine = &console.test.engine;
    let edited = engine
        .edit_settings(&context(), &console.organization, None, edit)
        .await;
    drop(edited.unwrap());

    let sent = owner.get(&console.path("settings/help")).await;
    assert_eq!(sent.location(), "/account/second-factor?why=demanded");
    let page = owner.page("/account/second-factor?why=demanded").await;
    assert!(
        page.contains("The organization org-1 asks its Owners and Admins"),
        "{page}"
    );
    console.turn_on(&mut owner).await;
    owner.page(&console.path("settings/help")).await;
    let page = owner.page(FACTOR).await;
    assert!(
        page.contains("Not possible now") && !page.contains("value=\"remove\""),
        "{page}"
    );
    let remove = [("step", "remove"), ("passphrase", PASSPHRASE)];
    assert_eq!(owner.post(FACTOR, &remove).await.status, StatusCode::CONFLICT);
    assert!(owner.page(FACTOR).await.contains("badge ok"));
    // A Member is not asked.
    let mut member = console.member("jo@example.com", Role::Member).await;
    member.page(&console.path("settings/help")).await;
}

async fn an_offer_is_over_after_a_while(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    owner.page(FACTOR).await;
    let begin = [("step", "begin"), ("passphrase", PASSPHRASE)];
    let offered = owner.post(FACTOR, &begin).await;
    let seed = between(&offered.text, "<code id=\"seed\">", "</code>")
        .unwrap()
        .to_owned();
    console.test.clock.advance_ms(16 * MINUTE_MS);
    let confirm = [("step", "confirm"), ("code", &console.code(&seed))];
    let answer = owner.post(FACTOR, &confirm).await;
    assert_eq!(answer.location(), "/account/second-factor?done=over");
    assert!(!owner.page(FACTOR).await.contains("badge ok"));
    console.test.clock.advance_ms(8 * DAY_MS);
    assert_eq!(owner.get(FACTOR).await.status, StatusCode::SEE_OTHER);
}

async fn who_signs_out_before_the_code_ends_what_they_began(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    console.turn_on(&mut owner).await;
    let mut browser = console.browser();
    browser.page("/sign-in").await;
    let fields = [("email", OWNER), ("passphrase", PASSPHRASE)];
    let answer = browser.post("/sign-in", &fields).await;
    assert!(answer.location().starts_with("/sign-in/code"));
    browser.page("/sign-in/code").await;
    let kept = browser.clone();
    let answer = browser.post("/sign-out", &[]).await;
    assert_eq!(answer.location(), "/sign-in?told=signed-out");
    // Whoever kept the cookie has nothing in it.
    assert_eq!(kept.clone().get("/sign-in/code").await.location(), "/sign-in");
    // The whole session elsewhere is another one.
    owner.page("/account").await;
}

on_both_databases!(
    a_new_passphrase_gives_this_browser_a_new_session_and_ends_the_others,
    sessions_are_listed_and_ended_and_only_the_own_ones,
    a_second_factor_is_set_up_and_asked_for_and_its_codes_are_shown_once,
    an_organization_that_demands_a_second_factor_says_so_and_keeps_it_on,
    an_offer_is_over_after_a_while,
    who_signs_out_before_the_code_ends_what_they_began,
);
