//! Pictures of every page of the console, light and dark, wide and narrow: `cargo xtask screenshots FOLDER`.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a command for people: it says what it does, and ends with a sentence where it can't go on"
)]

use std::path::PathBuf;

use keyward_testkit::browser::{Browser, Scheme, Scripts};
use keyward_testkit::sample::{PASSPHRASE, Page, Sample};

fn main() {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let program = arguments
        .next()
        .expect("the first argument is the `keyward` program");
    let folder = arguments
        .next()
        .expect("the second argument is the folder for the pictures");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let sample = Sample::new(&program);
    let browser = Browser::open(&sample.base(), Scripts::On);
    let take = |pages: &[Page]| {
        for page in pages {
            browser.go(&page.path);
            for (scheme, colours) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
                browser.prefer(scheme);
                for width in [1280, 360] {
                    browser.size(width, 900);
                    // As tall as the page, so that what sticks to the window's edges is where it belongs.
                    browser.size(width, browser.height().clamp(900, 12_000));
                    browser.picture(&folder.join(format!("{}-{colours}-{width}.png", page.name)));
                }
            }
            println!("{}", page.name);
        }
    };
    take(&sample.open_pages());
    browser.go(&sample.link);
    browser.fill("input[name=passphrase]", PASSPHRASE);
    browser.click("main form button");
    browser.arrives_at("/org/");
    take(&sample.pages());
    println!("The pictures are in {}", folder.display());
}
