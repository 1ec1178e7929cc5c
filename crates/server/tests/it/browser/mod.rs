//! The console as people meet it: a real browser, the real program, the official client in between.
//!
//! Each test has a server, a data folder and a browser of its own.

mod every_page;
mod key_life;
mod keyboard;
mod people;

use keyward_testkit::browser::{Browser, Scripts};
use keyward_testkit::sample::{OWNER, PASSPHRASE};
use keyward_testkit::server::{Installation, KeywardProcess, Snippet};

use serde_json::Value;

use crate::PROGRAM;
use crate::sdk::script;

/// Nobody is kept out by how the open page is made.
fn is_for_everybody(browser: &Browser) {
    assert_eq!(browser.axe(), Vec::<String>::new(), "at {}", browser.url());
}

/// A server, and a browser in which its Owner has signed in.
struct Desk {
    keyward: KeywardProcess,
    snippet: Snippet,
    browser: Browser,
}

impl Desk {
    fn new(scripts: Scripts) -> Self {
        let keyward = KeywardProcess::quickstart(Installation::new(PROGRAM));
        let snippet = keyward.ready();
        let port = snippet
            .address()
            .rsplit(':')
            .next()
            .expect("an address has a port");
        let browser = Browser::open(&format!("http://localhost:{port}"), scripts);
        let desk = Self {
            keyward,
            snippet,
            browser,
        };
        desk.sign_in_by_link();
        desk
    }

    /// Opens a one-time link and sets the passphrase there.
    fn sign_in_by_link(&self) {
        let made = self.keyward.cli_json(&["people", "link", OWNER]);
        let link = made["link"].as_str().expect("a link was made");
        let (_, secret) = link.rsplit_once('/').expect("a link has a secret");
        self.browser.go(&format!("/sign-in/link/{secret}"));
        self.browser.fill("input[name=passphrase]", PASSPHRASE);
        self.browser.click("main form button");
        self.browser.arrives_at("/org/");
    }

    /// The address that people open.
    fn base(&self) -> String {
        base_of(&self.snippet)
    }

    /// What the official client meets with this key: `returned`, or `failed`.
    fn client(&self, value: &str) -> Value {
        let snippet = Snippet {
            secret_key: value.to_owned(),
            ..self.snippet.clone()
        };
        script("connect.py", &snippet).run().json()
    }

    /// The path of one of the organization's pages.
    fn path(&self, rest: &str) -> String {
        format!("/org/{}{rest}", self.snippet.organization_id)
    }

    fn keys(&self) -> String {
        self.path("/settings/secret-keys")
    }
}

fn base_of(snippet: &Snippet) -> String {
    let port = snippet
        .address()
        .rsplit(':')
        .next()
        .expect("an address has a port");
    format!("http://localhost:{port}")
}
