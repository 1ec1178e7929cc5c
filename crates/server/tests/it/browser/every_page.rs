//! What holds for every page, with a sample of all that can be on one.

use std::path::Path;

use keyward_testkit::browser::{Browser, Scheme, Scripts};
use keyward_testkit::sample::{PASSPHRASE, Page, Sample};

/// Parts of pages, files, and addresses that only lead elsewhere: no page to look at.
const NO_PAGES: [&str; 11] = [
    "/",
    "/sign-in/code",
    "/org/{organization}/activity/export",
    "/org/{organization}/settings/secret-keys/export",
    "/org/{organization}/settings/secret-keys/new/summary",
    "/org/{organization}/settings/secret-keys/{key}/edit/summary",
    "/org/{organization}/settings/secret-keys/{key}/replace/summary",
    "/org/{organization}/settings/secret-keys/{key}/first-use",
    "/org/{organization}/settings/secret-keys/{key}/activity/export",
    "/org/{organization}/settings/secret-keys/{key}/compromised/attempts",
    "/org/{organization}/settings/secret-keys/{key}/report/download",
];

use crate::PROGRAM;

/// Nobody is kept out by how a page is made, nothing sticks out at 360 pixels, nothing is loaded from elsewhere, nothing weighs
/// 100 kB, and no browser complains, in both schemes.
#[test]
fn every_page_is_for_everybody_and_fits() {
    let sample = Sample::new(Path::new(PROGRAM));
    let browser = Browser::open(&sample.base(), Scripts::On);
    let mut wrong = Vec::new();
    look_at(&browser, &sample.open_pages(), &mut wrong);
    browser.go(&sample.link);
    browser.fill("input[name=passphrase]", PASSPHRASE);
    browser.click("main form button");
    browser.arrives_at("/org/");
    look_at(&browser, &sample.pages(), &mut wrong);
    let visited: Vec<Page> = sample.open_pages().into_iter().chain(sample.pages()).collect();
    for row in keyward_console::route_table() {
        let is_page = row.method.as_str() == "GET" && !NO_PAGES.contains(&row.path);
        if is_page && !visited.iter().any(|page| fits(row.path, &page.path)) {
            wrong.push(format!("{}: no page of the sample is there", row.path));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} problems:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Whether a path is one of a route's.
fn fits(route: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    let is_same =
        |(route, path): (&&str, &&str)| route == path || (route.starts_with('{') && !path.is_empty());
    route.len() == path.len() && route.iter().zip(&path).all(is_same)
}

fn look_at(browser: &Browser, pages: &[Page], wrong: &mut Vec<String>) {
    let weigh = "return JSON.stringify(performance.getEntriesByType('navigation').concat(\
                 performance.getEntriesByType('resource')).map(e => [e.name, e.decodedBodySize || 0]))";
    for page in pages {
        browser.size(1280, 900);
        browser.prefer(Scheme::Light);
        browser.go(&page.path);
        let title = browser.evaluate("return document.title");
        let is_found = !title
            .as_str()
            .unwrap_or_default()
            .starts_with("There is nothing here");
        if is_found == (page.name == "nothing-here") {
            wrong.push(format!("{}: there is {title} at {}", page.name, page.path));
            continue;
        }
        let loaded = browser.evaluate(weigh);
        let loaded: Vec<(String, u64)> =
            serde_json::from_str(loaded.as_str().unwrap_or("[]")).unwrap_or_default();
        for (name, bytes) in &loaded {
            if !name.starts_with("http://localhost:") {
                wrong.push(format!("{}: loads {name}", page.name));
            }
            if *bytes >= 100_000 {
                wrong.push(format!("{}: {name} weighs {bytes} bytes", page.name));
            }
        }
        if loaded.is_empty() {
            wrong.push(format!("{}: could not be weighed", page.name));
        }
        for (scheme, colours) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
            browser.prefer(scheme);
            let found = browser.axe().into_iter();
            wrong.extend(found.map(|line| format!("{} ({colours}): {line}", page.name)));
        }
        browser.size(360, 740);
        if browser.is_too_wide() {
            wrong.push(format!("{}: something sticks out at 360 pixels", page.name));
        }
        wrong.extend(
            browser
                .axe()
                .into_iter()
                .map(|line| format!("{} (360): {line}", page.name)),
        );
    }
}
