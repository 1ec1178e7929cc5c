//! A key's life in the browser, with the official client in between.

use keyward_testkit::browser::Scripts;

use super::{Desk, is_for_everybody};

/// Made, used by the official client, seen, removed, refused: with scripts, in a wide window.
#[test]
fn a_key_is_made_used_seen_and_removed() {
    let desk = Desk::new(Scripts::On);
    let browser = &desk.browser;
    browser.go(&desk.keys());
    browser.press_text("Create New Secret Key");
    browser.find("dialog[open] h1");
    browser.fill("dialog input[name=name]", "nightly-import");
    // What it will be able to do is told while the choices are made.
    let before = browser.text("dialog #summary");
    browser.click("dialog input[name=environment][value=ci_cd]");
    browser.changes("dialog #summary", &before);
    browser.click("dialog input[name=scope][value=dataset]");
    browser.press_text("Generate key");
    browser.shows("nightly-import is ready");
    is_for_everybody(browser);
    let value = browser.text("#key-value");
    assert!(value.starts_with("dtvi_") && value.len() == 103, "{value}");
    browser.shows("Waiting for its first use");
    assert_eq!(desk.client(&value)["returned"], desk.snippet.organization_id);
    // Nobody reloads: the line turns by itself.
    browser.shows("First used");
    browser.press_text("I have stored it");
    browser.shows("Read Only");
    assert!(!browser.source().contains(&value), "the value is shown once");
    browser.go(&desk.keys());
    let row = browser.row("nightly-import");
    assert!(row.contains("CI/CD") && row.contains("vi"), "{row}");
    assert!(
        row.contains("just now") || row.contains("minute"),
        "Last Used in: {row}"
    );
    // A pasted key finds its row, and is in no address.
    browser.fill("input[name=text]", &value);
    browser.press_text("Find");
    browser.shows("1 key");
    assert!(!browser.url().contains("dtvi_"), "{}", browser.url());
    browser.click("details.row-menu summary[aria-label='Actions for']");
    browser.press_text("Remove Key");
    browser.shows("This key is in use");
    browser.press_text("Remove key");
    browser.shows("removed");
    let refused = desk.client(&value);
    assert_eq!(refused["failed"]["status_code"], 401, "{refused}");
    assert!(
        refused["failed"]["message"].to_string().contains("deleted"),
        "{refused}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The same without scripts, in a narrow window, with a rule of real datasets.
#[test]
fn a_key_is_made_and_removed_without_scripts_in_a_narrow_window() {
    let desk = Desk::new(Scripts::Off);
    let browser = &desk.browser;
    browser.size(360, 740);
    browser.go(&desk.keys());
    browser.press_text("Create New Secret Key");
    browser.arrives_at("/new");
    browser.fill("input[name=name]", "labelers");
    browser.click("input[name=scope][value=training]");
    browser.click("input[name=scope][value=deployment]");
    browser.press_text("Restricted");
    browser.press_text("Show what it could do");
    browser.shows("rule");
    browser.click("input[name=rule-0-operation][value='dataset.read']");
    browser.click("input[name=rule-0-resource][value='dataset/*']");
    browser.press_text("Generate key");
    browser.shows("labelers is ready");
    let value = browser.text("#key-value");
    assert_eq!(desk.client(&value)["returned"], desk.snippet.organization_id);
    browser.go(&desk.keys());
    let row = browser.row("labelers");
    assert!(row.contains("Restricted"), "{row}");
    browser.press_text("labelers");
    browser.press_text("Compromised?");
    browser.press_text("Revoke this key");
    browser.shows("because its value was compromised");
    assert_eq!(desk.client(&value)["failed"]["status_code"], 401);
}

/// Several are chosen, what would stop working is shown, and exactly that ends.
#[test]
fn keys_that_nobody_needs_are_removed_in_one_step_after_a_preview() {
    let desk = Desk::new(Scripts::On);
    let browser = &desk.browser;
    for name in ["left-over-1", "left-over-2"] {
        desk.keyward.cli_json(&["keys", "create", "--name", name]);
    }
    let value = desk.snippet.secret_key.clone();
    assert_eq!(desk.client(&value)["returned"], desk.snippet.organization_id);
    browser.go(&format!("{}?text=left-over", desk.keys()));
    browser.click("[data-pick-all]");
    browser.press_text("Remove selected");
    browser.shows("Remove 2 keys?");
    browser.shows("None of them was used");
    is_for_everybody(browser);
    browser.choose("#reason", "unused");
    browser.click("main form button.danger");
    browser.shows("removed");
    is_for_everybody(browser);
    browser.go(&desk.keys());
    assert_eq!(browser.count("tbody tr"), 1, "{}", browser.shown());
    assert_eq!(desk.client(&value)["returned"], desk.snippet.organization_id);
}

/// A leak from the revoking to the printed report; in the dark.
#[test]
fn a_leak_is_handled_in_one_flow() {
    let desk = Desk::new(Scripts::On);
    let browser = &desk.browser;
    browser.prefer(keyward_testkit::browser::Scheme::Dark);
    let value = desk.snippet.secret_key.clone();
    assert_eq!(desk.client(&value)["returned"], desk.snippet.organization_id);
    browser.go(&desk.keys());
    browser.press_text("Quick start");
    browser.press_text("Compromised?");
    browser.shows("client");
    browser.press_text("Revoke this key");
    browser.shows("because its value was compromised");
    assert_eq!(desk.client(&value)["failed"]["status_code"], 401);
    // Who still tries appears by itself.
    browser.changes_to("section[aria-labelledby=step-4]", "127.0.0.1");
    browser.press_text("Make the replacement");
    browser.fill("input[name=name]", "Quick start, second try");
    browser.press_text("Generate the replacement");
    browser.shows("is ready");
    let replacement = browser.text("#key-value");
    assert_eq!(
        desk.client(&replacement)["returned"],
        desk.snippet.organization_id
    );
    browser.back();
    browser.go(&desk.keys());
    browser.go(&format!("{}?state=deleted", desk.keys()));
    browser.press_text("Quick start");
    browser.press_text("Compromised?");
    browser.press_text("Open the report");
    browser.shows("127.0.0.1");
    browser.shows("refused");
    browser.find("[data-print]");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
