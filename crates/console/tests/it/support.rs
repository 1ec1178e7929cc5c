//! The console of one test, and browsers that visit it.
//!
//! A [`Browser`] keeps cookies, follows nothing by itself, and sends forms as a page without scripts does: with the fields that
//! the test names and the proof that the last page held. Each answer is checked for what holds for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use keyward_core::email::EmailAddress;
use keyward_core::ids::OrganizationId;
use keyward_core::role::Role;
use keyward_core::secret::{PassphraseKind, Secret};
use keyward_core::usage::ClientName;
use keyward_engine::invitations::InvitationDraft;
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_http::request::Peer;
use keyward_http::site::Site;
use keyward_testkit::engine::{Kind, TestEngine, arrival, context};
use tower::ServiceExt as _;

pub(crate) const PUBLIC_URL: &str = "http://localhost:8787";
pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const PASSPHRASE: &str = "seven violet kettles hum at dawn";

/// A console with one organization, `org-1`.
pub(crate) struct TestConsole {
    pub(crate) test: TestEngine,
    pub(crate) organization: OrganizationId,
    router: Router,
}

impl TestConsole {
    pub(crate) async fn new(kind: Kind) -> Self {
        let test = TestEngine::new(kind).await;
        let organization = test.organization("org-1").await;
        let site = Arc::new(Site::new(test.engine.clone(), PUBLIC_URL.to_owned(), Vec::new()));
        let router = keyward_console::routes().with_state(site);
        Self {
            test,
            organization,
            router,
        }
    }

    /// The path of one of the organization's pages.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/org/{}/{rest}", self.organization)
    }

    /// A browser that nobody signed in with.
    pub(crate) fn browser(&self) -> Browser {
        Browser {
            router: self.router.clone(),
            cookies: BTreeMap::new(),
            proof: String::new(),
            user_agent: "Mozilla/5.0 (test)".to_owned(),
            address: [198, 51, 100, 7],
            host: None,
            fetch_site: None,
        }
    }

    /// A browser that the Owner signed in with.
    pub(crate) async fn owner(&self) -> Browser {
        self.signed_in(OWNER).await
    }

    /// A browser that a new member in this role signed in with.
    pub(crate) async fn member(&self, email: &str, role: Role) -> Browser {
        let email: EmailAddress = email.parse().expect("the test's address is one");
        let draft = InvitationDraft {
            email: email.clone(),
            role,
            lifetime_ms: None,
        };
        let engine = &self.test.engine;
        let invited = engine
            .create_invitation(&context(), &self.organization, draft)
            .await;
        let invited = invited.expect("somebody can be invited");
        let passphrase = Secret::<PassphraseKind>::new(PASSPHRASE.to_owned());
        let accepted = engine
            .accept_invitation_anew(&arrival(), &ClientName::NONE, &invited.secret, &passphrase)
            .await;
        let (_, begun) = accepted.expect("an invitation can be accepted");
        self.with_token(begun.token.reveal())
    }

    /// A browser that whoever has this address signed in with, by a link.
    pub(crate) async fn signed_in(&self, email: &str) -> Browser {
        let engine = &self.test.engine;
        let link = engine
            .create_sign_in_link(&context(), email, LinkPurpose::SetPassphrase)
            .await
            .expect("a link can be made");
        let passphrase = Secret::<PassphraseKind>::new(PASSPHRASE.to_owned());
        let begun = engine
            .redeem_sign_in_link(&arrival(), &ClientName::NONE, &link.secret, &passphrase)
            .await
            .expect("a link can be redeemed");
        self.with_token(begun.token.reveal())
    }

    fn with_token(&self, token: &str) -> Browser {
        let mut browser = self.browser();
        browser
            .cookies
            .insert("keyward-session".to_owned(), token.to_owned());
        browser
    }
}

/// A browser without JavaScript.
#[derive(Clone)]
pub(crate) struct Browser {
    router: Router,
    pub(crate) cookies: BTreeMap<String, String>,
    /// The proof that the last page held.
    pub(crate) proof: String,
    pub(crate) user_agent: String,
    pub(crate) address: [u8; 4],
    /// What it says the server is called, if it says something.
    pub(crate) host: Option<String>,
    /// Which site it says that its requests begin at.
    pub(crate) fetch_site: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Browser {
    /// Asks for a page.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// Asks for a page that must be there; its text.
    pub(crate) async fn page(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}\n{}", answer.text);
        answer.text
    }

    /// Sends a form with the proof of the last page.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let proof = self.proof.clone();
        self.post_with(&proof, path, fields).await
    }

    /// Sends a form with another proof.
    pub(crate) async fn post_with(&mut self, proof: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", proof);
        for (name, value) in fields {
            form.append_pair(name, value);
        }
        self.send(Method::POST, path, Some(form.finish())).await
    }

    async fn send(&mut self, method: Method, path: &str, form: Option<String>) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = Request::builder().method(method).uri(path);
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if form.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(host) = &self.host {
            request = request
                .header(header::HOST, host)
                .header("x-forwarded-host", host);
        }
        if let Some(site) = &self.fetch_site {
            request = request.header("sec-fetch-site", site);
        }
        let request = request
            .header(header::USER_AGENT, &self.user_agent)
            .extension(Peer(self.address.into()))
            .body(Body::from(form.unwrap_or_default()))
            .expect("the test's request is one");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("a router answers");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("an answer has an end").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("pages are text");
        for line in parts.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().expect("a cookie is text");
            let (pair, attributes) = line.split_once(';').expect("a cookie has attributes");
            assert!(
                attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"),
                "{line}"
            );
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        check(path, &parts.headers, &text);
        if let Some(proof) = between(&text, "name=\"csrf\" value=\"", "\"") {
            self.proof = proof.to_owned();
        }
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }
}

impl Answer {
    /// Where the answer leads.
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        let location = self
            .headers
            .get(header::LOCATION)
            .expect("a redirect leads somewhere");
        location.to_str().expect("a location is text")
    }
}

/// What holds for every answer.
fn check(path: &str, headers: &http::HeaderMap, text: &str) {
    if path.starts_with("/console/") {
        return;
    }
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let policy = header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{path}: {policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
    assert_eq!(header("cache-control"), "no-store", "{path}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    assert!(
        !text.contains(" style=\"") && !text.contains("<style"),
        "{path} has inline style"
    );
    assert!(
        !text.contains(" onclick=") && !text.contains("javascript:"),
        "{path} has inline script"
    );
    assert!(text.len() < 100_000, "{path} weighs {} bytes", text.len());
    for outside in ["src=\"http", "url(http", "@import"] {
        assert!(!text.contains(outside), "{path} loads something from elsewhere");
    }
}

/// The text between two others.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}
