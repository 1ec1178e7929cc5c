//! People in the browser: a second factor, invitations, roles, management tokens, the audit trail.

use keyward_core::secret::{Secret, TotpSeedKind};
use keyward_core::time::Timestamp;
use keyward_core::totp::TotpSeed;
use keyward_testkit::browser::{Browser, Scripts};
use keyward_testkit::sample::{OWNER, PASSPHRASE};
use keyward_testkit::wire;

use super::{Desk, is_for_everybody};

const STEP_MS: i64 = 30_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the program in another process has this clock"
)]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_unix_ms(since.expect("it is after 1970").as_millis() as i64)
}

fn sign_in(browser: &Browser, email: &str) {
    browser.go("/sign-in");
    browser.fill("input[name=email]", email);
    browser.fill("input[name=passphrase]", PASSPHRASE);
    browser.click("main form button");
}

#[test]
fn a_second_factor_is_set_up_and_asked_for_and_a_recovery_code_takes_its_place() {
    let desk = Desk::new(Scripts::On);
    let browser = &desk.browser;
    browser.go("/account/second-factor");
    browser.fill("#begin-passphrase", PASSPHRASE);
    browser.press_text("Set up second factor");
    let seed = Secret::<TotpSeedKind>::new(browser.text("#seed").replace(' ', ""));
    let seed = TotpSeed::from_base32(&seed).expect("the shown key is one");
    is_for_everybody(browser);
    let begun = now();
    browser.fill("#code", &seed.code_at(begun));
    browser.press_text("Turn on");
    let codes = browser.text("#codes");
    is_for_everybody(browser);
    let recovery = codes.lines().next().expect("there are codes").trim().to_owned();
    browser.press_text("I have kept them");
    browser.press_text("Sign out");
    browser.arrives_at("/sign-in");
    sign_in(browser, OWNER);
    browser.arrives_at("/sign-in/code");
    is_for_everybody(browser);
    // Not in yet.
    browser.go(&desk.keys());
    browser.arrives_at("/sign-in");
    browser.go("/sign-in/code");
    browser.fill("#code", "000000");
    browser.press_text("Go on");
    browser.shows("does not fit");
    // The code that was used is not good again; the next one is.
    browser.fill("#code", &seed.code_at(begun));
    browser.press_text("Go on");
    browser.shows("does not fit");
    browser.fill("#code", &seed.code_at(begun.plus_ms(STEP_MS)));
    browser.press_text("Go on");
    browser.arrives_at("/org/");
    browser.press_text("Sign out");
    sign_in(browser, OWNER);
    browser.fill("#code", &recovery);
    browser.press_text("Go on");
    browser.arrives_at("/org/");
    browser.press_text("Sign out");
    sign_in(browser, OWNER);
    browser.fill("#code", &recovery);
    browser.press_text("Go on");
    browser.shows("does not fit");
}

#[test]
fn somebody_is_invited_joins_becomes_admin_and_is_removed() {
    let desk = Desk::new(Scripts::On);
    let owner = &desk.browser;
    let members = desk.path("/settings/members");
    owner.go(&members);
    owner.press_text("Invite somebody");
    owner.fill("input[name=email]", "ana@example.com");
    owner.click("dialog input[name=role][value=member]");
    owner.press_text("Make the link");
    let link = owner.text("#invitation-link");
    is_for_everybody(owner);
    let secret = link.rsplit('/').next().expect("a link has a secret");
    let ana = Browser::open(&desk.base(), Scripts::Off);
    ana.go(&format!("/invitations/{secret}"));
    ana.fill("input[name=passphrase]", PASSPHRASE);
    ana.press_text("Set passphrase and join");
    ana.arrives_at("/settings/general");
    // A Member does not learn that there is a page of keys.
    ana.go(&desk.keys());
    ana.shows("There is nothing here");
    owner.go(&members);
    owner.click("a[aria-label='Change role of ana@example.com']");
    owner.click("input[name=role][value=admin]");
    owner.press_text("Save role");
    owner.shows("Admin");
    // True with the next page, without signing in again.
    ana.go(&desk.keys());
    ana.shows("Create New Secret Key");
    ana.press_text("Create New Secret Key");
    ana.fill("input[name=name]", "of-ana");
    ana.press_text("Generate key");
    ana.shows("of-ana is ready");
    let value = ana.text("#key-value");
    owner.go(&members);
    owner.click("a[aria-label='Remove ana@example.com']");
    owner.shows("of-ana");
    owner.click("input[name=keys][value=hand-over]");
    owner.click("#to option:nth-child(2)");
    owner.press_text("Remove member");
    owner.arrives_at("/settings/members?");
    ana.go(&desk.keys());
    ana.shows("There is nothing here");
    assert_eq!(desk.client(&value)["returned"], desk.snippet.organization_id);
}

#[test]
fn a_token_made_in_the_browser_manages_until_it_is_removed_there() {
    let desk = Desk::new(Scripts::On);
    let browser = &desk.browser;
    browser.go(&desk.path("/settings/tokens"));
    browser.press_text("Create a token");
    browser.fill("#token-name", "nightly");
    browser.click("input[name=right][value='keys:read']");
    browser.click("dialog .actions .button.main");
    let value = browser.text("#token-value");
    is_for_everybody(browser);
    let keys = format!("/v1/organizations/{}/keys", desk.snippet.organization_id);
    let ask = || {
        let header = format!("Authorization: Bearer {value}");
        wire::get(desk.snippet.address(), &keys, &[header]).status
    };
    assert_eq!(ask(), 200);
    browser.press_text("Done");
    browser.click("a[aria-label='Remove nightly']");
    browser.press_text("Remove");
    browser.arrives_at("/settings/tokens?");
    assert_eq!(ask(), 401);
}

#[test]
fn the_trail_is_filtered_verified_and_exported() {
    let desk = Desk::new(Scripts::On);
    let browser = &desk.browser;
    let audit = desk.path("/audit");
    browser.go(&audit);
    browser.choose("#action", "key.create");
    browser.click("main form button");
    browser.arrives_at("action=key.create");
    assert_eq!(browser.count("tbody tr"), 1, "{}", browser.shown());
    browser.go(&format!("{audit}/verify"));
    browser.press_text("Verify now");
    browser.shows("The trail fits together");
    is_for_everybody(browser);
    browser.go(&format!("{audit}/export"));
    // The file goes through the same session as the page, and to the program that checks it offline.
    let script = "const form = document.querySelector('main form'); const body = new URLSearchParams(new FormData(form)); \
                  return fetch(form.action, {method: 'POST', body}).then(answer => answer.text())";
    let file = browser.evaluate(script);
    let lines = file.as_str().expect("an export is text");
    let path = desk.keyward.installation().data_folder().join("trail.jsonl");
    std::fs::write(&path, lines).expect("the data folder can be written to");
    let checked = desk
        .keyward
        .cli(&["audit", "verify", path.to_str().expect("a path is text")]);
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let changed = lines.replacen("key.create", "key.delete", 1);
    std::fs::write(&path, changed).expect("the data folder can be written to");
    let checked = desk
        .keyward
        .cli(&["audit", "verify", path.to_str().expect("a path is text")]);
    assert_eq!(checked.status.code(), Some(5));
}
