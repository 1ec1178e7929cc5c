//! The pages for people: what a refusal means, and how keys are managed here.

use keyward_api::problem::RequestCode;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::refusal::Code;
use keyward_http::management::route_table;

use crate::support::{PUBLIC_URL, Reply, Setup, TestApp};

const PAGES: [&str; 3] = ["/help", "/help/api", "/help/errors"];

/// Every header of a page.
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "referrer-policy",
    "x-content-type-options",
];

fn error_pages() -> Vec<String> {
    let about_keys = Code::ALL.iter().map(|code| code.name());
    let about_tokens = ManagementCode::ALL.iter().map(|code| code.name());
    let about_requests = RequestCode::ALL.iter().map(|code| code.name());
    about_keys
        .chain(about_tokens)
        .chain(about_requests)
        .map(|code| format!("/help/errors/{code}"))
        .collect()
}

fn all_pages() -> Vec<String> {
    let mut pages = PAGES.map(str::to_owned).to_vec();
    pages.extend(error_pages());
    pages
}

fn assert_safe(path: &str, reply: &Reply) {
    assert_eq!(reply.status, 200, "{path}");
    assert_eq!(reply.header_names(), HEADERS, "{path}");
    assert_eq!(
        reply.header("content-security-policy"),
        Some(
            "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    );
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"));
}

/// What stands in quotes after each of these attributes.
fn links(html: &str) -> Vec<&str> {
    ["href=\"", "src=\""]
        .into_iter()
        .flat_map(|attribute| html.split(attribute).skip(1))
        .map(|rest| rest.split_once('"').unwrap().0)
        .collect()
}

#[tokio::test]
async fn every_page_is_safe_whole_and_of_this_server() {
    let app = TestApp::new().await;
    for path in all_pages() {
        let reply = app.nobody().get(&path).await;
        assert_safe(&path, &reply);
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        let html = reply.text();
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{path}");
        assert!(html.trim_end().ends_with("</html>"), "{path}");
        assert_eq!(html.matches("<h1>").count(), 1, "{path}");
        let of_others = html.replace(PUBLIC_URL, "");
        assert!(!of_others.contains("://"), "{path}: an address of somebody else");
        // The policy would block them, and nothing of the page would tell why.
        for blocked in ["<script", "<style", " style=", " on", "<form", "<img", "<iframe"] {
            let tags = html
                .split('<')
                .skip(1)
                .map(|tag| format!("<{}", tag.split('>').next().unwrap()));
            assert!(
                tags.into_iter().all(|tag| !tag.contains(blocked)),
                "{path}: {blocked}"
            );
        }
        for link in links(html) {
            assert!(link.starts_with('/') && !link.starts_with("//"), "{path}: {link}");
            // The console's, which is another crate's.
            if ["/", "/sign-in"].contains(&link) {
                continue;
            }
            assert_eq!(app.nobody().get(link).await.status, 200, "{path} leads to {link}");
        }
        let head = app.nobody().send("HEAD", &path, "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
}

#[tokio::test]
async fn the_stylesheet_loads_nothing() {
    let app = TestApp::new().await;
    let reply = app.nobody().get("/help/keyward.css").await;
    assert_safe("/help/keyward.css", &reply);
    assert_eq!(reply.header("content-type"), Some("text/css; charset=utf-8"));
    for loads in ["url(", "@import", "://"] {
        assert!(!reply.text().contains(loads), "{loads}");
    }
}

#[tokio::test]
async fn every_code_has_a_page_that_says_what_to_do() {
    let app = TestApp::new().await;
    let list = app.nobody().get("/help/errors").await;
    for path in error_pages() {
        assert!(
            list.text().contains(&format!("href=\"{path}\"")),
            "{path} is in the list"
        );
        let (_, code) = path.rsplit_once('/').unwrap();
        let page = app.nobody().get(&path).await;
        assert!(page.text().contains(&format!("<code>{code}</code>")), "{path}");
    }
    insta::assert_snapshot!(app.nobody().get("/help/errors/key_missing").await.text());
    let unknown = app.nobody().get("/help/errors/key_lost").await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn the_link_of_a_problem_opens() {
    let app = TestApp::new().await;
    let refusals = [
        app.nobody().get("/v1/verify").await,
        app.nobody().get("/nowhere").await,
        app.nobody().send("PUT", "/v1/verify", "").await,
        app.admin()
            .post("/v1/organizations", &serde_json::json!({}))
            .await,
        app.admin().send("POST", "/v1/organizations", "{").await,
        app.admin().get("/v1/organizations/none").await,
    ];
    for refused in refusals {
        let problem = refused.json();
        let link = problem["type"].as_str().unwrap();
        let page = app.nobody().get(link.strip_prefix(PUBLIC_URL).unwrap()).await;
        assert_eq!(page.status, 200, "{link}");
        assert!(page.text().contains(problem["title"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_like_everything_else() {
    let app = TestApp::new().await;
    for path in ["/help/errors/%ff", "/org/%ff/settings/secret-keys"] {
        let refused = app.nobody().get(path).await;
        assert_eq!(refused.problem(), (404, "no_such_route".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn what_is_shown_is_text_and_never_markup() {
    let app = TestApp::with(Setup {
        public_url: "https://keys.example.com/\"><script>alert(1)</script>&",
        ..Setup::default()
    })
    .await;
    for path in PAGES {
        let page = app.nobody().get(path).await;
        assert!(!page.text().contains("<script"), "{path}");
    }
    let remedy = app.nobody().get("/help/errors/key_missing").await;
    assert!(
        remedy.text().contains("Bearer &#60;secret key&#62;"),
        "{}",
        remedy.text()
    );
}

#[tokio::test]
async fn a_key_in_the_address_of_a_page_is_refused_too() {
    let app = TestApp::new().await;
    let value = app.key().await.value.reveal().to_owned();
    for path in all_pages() {
        let refused = app.nobody().get(&format!("{path}?key={value}")).await;
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{path}");
    }
    let refused = app.nobody().get(&format!("/help/errors/{value}")).await;
    assert_eq!(refused.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn the_reference_has_every_route_and_every_link_in_it_leads_somewhere() {
    let app = TestApp::new().await;
    let page = app.nobody().get("/help/api").await;
    let html = page.text();
    for row in route_table() {
        let shown = format!("<span class=\"method\">{}</span> {}</code>", row.method, row.path);
        assert!(html.contains(&shown), "{shown}");
    }
    for link in links(html) {
        if let Some(id) = link.strip_prefix("/help/api#") {
            assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{link}");
        }
    }
    let example = "curl $KEYWARD_SERVER/v1/organizations/ORGANIZATION_ID/tokens \\\n  \
                   -H &#34;Authorization: Bearer $KEYWARD_TOKEN&#34; \\\n  -X POST";
    assert!(html.contains(example), "{html}");
}
