//! A real headless Chromium, driven over WebDriver, for tests that look at the console as people do.
//!
//! Every [`Browser`] is a process of its own with an empty profile; dropping it ends driver and browser and removes the profile. The
//! methods wait for what they look for, and panic with what was there instead. It knows nothing of the console's pages.

use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::deadline::{PATIENCE, wait_for};
use crate::environment::scrubbed;

/// Names Chromium; set by `cargo xtask test`.
pub const CHROMIUM_VARIABLE: &str = "KEYWARD_TEST_CHROMIUM";
/// Names its driver.
pub const CHROMEDRIVER_VARIABLE: &str = "KEYWARD_TEST_CHROMEDRIVER";
/// Names the script of axe-core, which looks for what keeps people with disabilities out.
pub const AXE_VARIABLE: &str = "KEYWARD_TEST_AXE";

/// The Enter key for [`Browser::press`].
pub const ENTER: &str = "\u{e007}";
/// The Escape key.
pub const ESCAPE: &str = "\u{e00c}";
/// The Tab key.
pub const TAB: &str = "\u{e004}";
/// The space bar.
pub const SPACE: &str = " ";
/// The down arrow.
pub const DOWN: &str = "\u{e015}";

/// Whether pages may run scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// They may, as for most people.
    On,
    /// They may not.
    Off,
}

/// Which colours the person prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// A browser with one window.
pub struct Browser {
    runtime: Runtime,
    client: Client,
    driver: Child,
    base: String,
    _profile: TempDir,
}

impl Browser {
    /// Opens a browser that visits `base`, such as `http://localhost:4321`.
    pub fn open(base: &str, scripts: Scripts) -> Self {
        let profile = TempDir::with_prefix("kw-browser-").expect("the temporary folder can be written to");
        let port = free_port();
        let driver = scrubbed(named(CHROMEDRIVER_VARIABLE))
            .arg(format!("--port={port}"))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let capabilities = capabilities(&profile, scripts);
        let url = format!("http://127.0.0.1:{port}");
        let client = wait_for("chromedriver did not begin a session", || {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities.clone());
            runtime.block_on(builder.connect(&url)).ok()
        });
        let browser = Self {
            runtime,
            client,
            driver,
            base: base.to_owned(),
            _profile: profile,
        };
        browser.size(1280, 900);
        browser
    }

    fn wait<T>(&self, what: &str, asked: impl Future<Output = Result<T, CmdError>>) -> T {
        let answered = self.runtime.block_on(asked);
        answered.unwrap_or_else(|error| panic!("{what}: {error}\nat {}\n{}", self.url(), self.shown()))
    }

    /// Opens a path of the site, or another address.
    pub fn go(&self, path: &str) {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.base)
        } else {
            path.to_owned()
        };
        self.wait(&format!("could not open {url}"), self.client.goto(&url));
    }

    /// The address that is open.
    pub fn url(&self) -> String {
        let url = self.runtime.block_on(self.client.current_url());
        url.map(|url| url.to_string()).unwrap_or_default()
    }

    /// Waits until the open address contains this.
    pub fn arrives_at(&self, part: &str) {
        wait_for(
            &format!("did not arrive at {part}, but is at {}", self.url()),
            || self.url().contains(part).then_some(()),
        );
    }

    /// The text that the page shows.
    pub fn shown(&self) -> String {
        let script = "return document.body ? document.body.innerText : ''";
        let text = self.runtime.block_on(self.client.execute(script, Vec::new()));
        text.ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Waits until the page shows this text, whatever the capitals.
    pub fn shows(&self, text: &str) {
        let wanted = text.to_lowercase();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(&format!("the page does not show {text:?}"), || {
                self.shown().to_lowercase().contains(&wanted).then_some(())
            });
        }));
        assert!(
            found.is_ok(),
            "the page does not show {text:?}; at {}:\n{}",
            self.url(),
            self.shown()
        );
    }

    /// The element of this CSS selector, once it is there.
    pub fn find(&self, css: &str) -> Element {
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(css));
        self.wait(&format!("there is no {css}"), found)
    }

    /// How many elements the selector finds now.
    pub fn count(&self, css: &str) -> usize {
        self.wait("could not count", self.client.find_all(Locator::Css(css)))
            .len()
    }

    /// The text of an element.
    pub fn text(&self, css: &str) -> String {
        let element = self.find(css);
        self.wait("could not read a text", element.text())
    }

    /// The page's markup as it is now.
    pub fn source(&self) -> String {
        self.wait("could not read the page", self.client.source())
    }

    /// The text of the table's row whose first words are these.
    pub fn row(&self, name: &str) -> String {
        let xpath = format!("//tr[.//a[normalize-space(.) = \"{name}\"]]");
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&xpath));
        let row = self.wait(&format!("there is no row of {name:?}"), found);
        self.wait("could not read a row", row.text())
    }

    /// Waits until an element's text is another than this.
    pub fn changes(&self, css: &str, before: &str) {
        wait_for(&format!("{css} still says {before:?}"), || {
            (self.text(css) != before).then_some(())
        });
    }

    /// Waits until an element's text contains this, without a reload.
    pub fn changes_to(&self, css: &str, part: &str) {
        wait_for(&format!("{css} does not come to say {part:?}"), || {
            self.text(css).contains(part).then_some(())
        });
    }

    /// Waits until what has the focus is described by this text.
    pub fn focuses(&self, text: &str) {
        wait_for(
            &format!("the focus is not on {text:?}, but on {:?}", self.focus()),
            || self.focus().contains(text).then_some(()),
        );
    }

    /// Whether the focus is in the table's row that contains this text.
    pub fn focus_is_in_row(&self, text: &str) -> bool {
        let script = "const row = document.activeElement.closest('tr'); return row ? row.innerText : ''";
        let row = self.evaluate(script);
        row.as_str().unwrap_or_default().contains(text)
    }

    /// What the browser complained of: errors of scripts, and what the pages' policy forbade.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.wait("could not read the log", self.client.issue_cmd(ConsoleLog));
        let lines = log.as_array().cloned().unwrap_or_default();
        let texts = lines.iter().filter_map(|line| line.get("message")?.as_str());
        // That there is nothing at an address is what some tests look for.
        texts
            .filter(|text| !text.contains("status of 4"))
            .map(str::to_owned)
            .collect()
    }

    /// What a field holds.
    pub fn value(&self, css: &str) -> String {
        let element = self.find(css);
        self.wait("could not read a value", element.prop("value"))
            .unwrap_or_default()
    }

    /// Clicks an element.
    pub fn click(&self, css: &str) {
        let element = self.find(css);
        self.wait(&format!("could not click {css}"), element.click());
    }

    /// Clicks the link or button with this text.
    pub fn press_text(&self, text: &str) {
        let xpath = format!(
            "//*[self::a or self::button or self::summary or self::label][not(@hidden)][not(@aria-hidden)][contains(normalize-space(.), \"{text}\")]"
        );
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&xpath));
        let element = self.wait(&format!("there is nothing to press that says {text:?}"), found);
        self.wait(&format!("could not press {text:?}"), element.click());
    }

    /// Types into a field, in place of what it holds.
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.wait("could not empty a field", element.clear());
        self.wait(&format!("could not type into {css}"), element.send_keys(text));
    }

    /// Chooses an option of a select by its value.
    pub fn choose(&self, css: &str, value: &str) {
        let option = self.find(&format!("{css} option[value=\"{value}\"]"));
        self.wait(&format!("could not choose {value} of {css}"), option.click());
    }

    /// Presses keys where the focus is.
    pub fn press(&self, keys: &str) {
        let focused = self.wait("nothing has the focus", self.client.active_element());
        self.wait("could not press keys", focused.send_keys(keys));
    }

    /// A description of what has the focus: its tag, name or text.
    pub fn focus(&self) -> String {
        let script = "const e = document.activeElement; return e ? `${e.tagName.toLowerCase()} ${e.getAttribute('name') || ''} \
                      ${(e.getAttribute('aria-label') || e.innerText || '').trim().split('\\n')[0]}`.trim() : ''";
        let focus = self.wait(
            "could not ask for the focus",
            self.client.execute(script, Vec::new()),
        );
        focus.as_str().unwrap_or_default().to_owned()
    }

    /// Presses Tab until what has the focus is described by this text.
    pub fn tab_to(&self, text: &str) {
        for _ in 0..120 {
            if self.focus().contains(text) {
                return;
            }
            self.press(TAB);
        }
        panic!(
            "Tab does not come to {text:?}; the focus is on {:?} at {}",
            self.focus(),
            self.url()
        );
    }

    /// Runs a script of the test in the page.
    pub fn evaluate(&self, script: &str) -> Value {
        self.wait("a script failed", self.client.execute(script, Vec::new()))
    }

    /// Opens the page anew.
    pub fn reload(&self) {
        self.wait("could not reload", self.client.refresh());
    }

    /// Goes back.
    pub fn back(&self) {
        self.wait("could not go back", self.client.back());
    }

    /// Gives the window this size in CSS pixels; narrower than a window on a desk can be, too.
    pub fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.developer_tools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Says which colours the person prefers.
    pub fn prefer(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.developer_tools("Emulation.setEmulatedMedia", features);
    }

    /// Whether the page is wider than the window: something sticks out.
    pub fn is_too_wide(&self) -> bool {
        let script = "return document.documentElement.scrollWidth > window.innerWidth";
        self.evaluate(script).as_bool().unwrap_or(true)
    }

    /// How tall the page is, in CSS pixels.
    pub fn height(&self) -> u32 {
        let height = self.evaluate("return document.documentElement.scrollHeight");
        height
            .as_u64()
            .and_then(|height| u32::try_from(height).ok())
            .unwrap_or(900)
    }

    /// What axe-core finds wrong with the page, a line each; empty if nothing.
    pub fn axe(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(named(AXE_VARIABLE)).expect("the script of axe-core can be read");
        let script = format!(
            "const done = arguments[arguments.length - 1];\n{axe}\naxe.run(document, {{resultTypes: ['violations']}}).then(\
             found => done(found.violations.flatMap(rule => rule.nodes.map(node => \
             rule.id + ': ' + node.target.join(' ') + ' | ' + (node.failureSummary || '').replace(/\\s+/g, ' ')))),\
             error => done(['axe failed: ' + error]));"
        );
        let found = self.wait(
            "axe did not answer",
            self.client.execute_async(&script, Vec::new()),
        );
        let lines = found.as_array().cloned().unwrap_or_default();
        lines
            .iter()
            .map(|line| line.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// A picture of the whole page, from top to bottom.
    pub fn picture(&self, file: &Path) {
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.developer_tools("Page.captureScreenshot", parameters);
        let picture = answer
            .get("data")
            .and_then(Value::as_str)
            .expect("a picture was made");
        let picture = BASE64_STANDARD.decode(picture).expect("a picture is base64");
        std::fs::write(file, picture)
            .unwrap_or_else(|error| panic!("could not write {}: {error}", file.display()));
    }

    fn developer_tools(&self, command: &'static str, parameters: Value) -> Value {
        let asked = DeveloperTools { command, parameters };
        self.wait(command, self.client.issue_cmd(asked))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when the session is closed; killed first, it would leave it behind.
        let client = self.client.clone();
        let closing = async { tokio::time::timeout(PATIENCE, client.close()).await };
        drop(self.runtime.block_on(closing));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// The driver's command that reads the browser's log.
#[derive(Debug)]
struct ConsoleLog;

impl WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

/// A command of the Chrome DevTools protocol, sent through the driver.
#[derive(Debug)]
struct DeveloperTools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DeveloperTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({"cmd": self.command, "params": self.parameters});
        (http::Method::POST, Some(body.to_string()))
    }
}

fn capabilities(profile: &TempDir, scripts: Scripts) -> fantoccini::wd::Capabilities {
    let arguments = [
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--hide-scrollbars".to_owned(),
        format!("--user-data-dir={}", profile.path().display()),
    ];
    let allowed = match scripts {
        Scripts::On => 1,
        Scripts::Off => 2,
    };
    let options = json!({
        "binary": named(CHROMIUM_VARIABLE),
        "args": arguments,
        "prefs": {"profile.managed_default_content_settings.javascript": allowed},
    });
    let logging = json!({"browser": "WARNING"});
    [
        ("goog:chromeOptions".to_owned(), options),
        ("goog:loggingPrefs".to_owned(), logging),
    ]
    .into_iter()
    .collect()
}

fn named(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "this test needs a browser, and `{variable}` names none; `cargo xtask test` finds or installs one"
        )
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be taken");
    listener.local_addr().expect("a listener has an address").port()
}
