//! The console with the keyboard alone.

use keyward_testkit::browser::{DOWN, ENTER, ESCAPE, SPACE, Scripts};

use super::Desk;

#[test]
fn keys_are_made_and_their_menu_is_used_by_keyboard() {
    let desk = Desk::new(Scripts::On);
    let browser = &desk.browser;
    browser.go(&desk.keys());
    browser.tab_to("Create New Secret Key");
    browser.press(ENTER);
    browser.find("dialog[open] h1");
    browser.focuses("input name");
    // The dialog gives the focus back to what opened it.
    browser.press(ESCAPE);
    browser.focuses("Create New Secret Key");
    assert_eq!(browser.count("dialog"), 0);
    browser.press(ENTER);
    browser.find("dialog[open] h1");
    browser.focuses("input name");
    browser.press("by-keyboard");
    browser.tab_to("Generate key");
    browser.press(SPACE);
    browser.shows("by-keyboard is ready");
    browser.tab_to("I have stored it");
    browser.press(ENTER);
    browser.go(&desk.keys());
    browser.tab_to("summary");
    while !browser.focus_is_in_row("by-keyboard") {
        browser.press(keyward_testkit::browser::TAB);
        browser.tab_to("summary");
    }
    browser.press(ENTER);
    browser.press(DOWN);
    browser.focuses("Edit Permission");
    browser.press(DOWN);
    browser.focuses("Rotate");
    browser.press(ESCAPE);
    browser.focuses("summary");
    assert_eq!(browser.count("details.row-menu[open]"), 0);
    browser.press(ENTER);
    browser.press(DOWN);
    browser.focuses("Edit Permission");
    browser.press(ENTER);
    browser.find("dialog[open] h1");
    browser.focuses("input name");
}
