//! Every route asked by every kind of caller.
//!
//! What each route asks for, and what each role and token holds, is written down here by hand, as it was decided, and nothing
//! of it is taken from the code. A route that is not in [`ROUTES`] fails the test. The matrix of the resource API is in the
//! tests of `keyward-vi`.

use std::collections::BTreeSet;

use axum::body::Body;
use keyward_http::management::route_table;
use keyward_testkit::clock::START;
use keyward_testkit::engine::context;
use keyward_testkit::forgery::with_other_secret;
use serde_json::json;

use super::principals::{acting, member};
use crate::support::{Caller, TestApp};

/// Method, path, and the right that it asks for; `-` is to be signed in.
#[rustfmt::skip]
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v1/organizations/{organization}/keys", "keys:read"),
    ("POST", "/v1/organizations/{organization}/keys", "keys:write"),
    ("POST", "/v1/organizations/{organization}/keys/lookup", "keys:read"),
    ("POST", "/v1/organizations/{organization}/keys/bulk/preview", "keys:write"),
    ("POST", "/v1/organizations/{organization}/keys/bulk", "keys:write"),
    ("POST", "/v1/organizations/{organization}/stop", "keys:write"),
    ("POST", "/v1/organizations/{organization}/resume", "keys:write"),
    ("GET", "/v1/keys/{key}", "keys:read"),
    ("PATCH", "/v1/keys/{key}", "keys:write"),
    ("POST", "/v1/keys/{key}/pause", "keys:write"),
    ("POST", "/v1/keys/{key}/resume", "keys:write"),
    ("POST", "/v1/keys/{key}/rotate", "keys:write"),
    ("POST", "/v1/keys/{key}/rotation/finish", "keys:write"),
    ("POST", "/v1/keys/{key}/rotation/cancel", "keys:write"),
    ("POST", "/v1/keys/{key}/replace", "keys:write"),
    ("POST", "/v1/keys/{key}/delete", "keys:write"),
    ("POST", "/v1/keys/{key}/explain", "keys:read"),
    ("GET", "/v1/keys/{key}/usage", "keys:read"),
    ("GET", "/v1/keys/{key}/usage/summary", "keys:read"),
    ("GET", "/v1/keys/{key}/usage/series", "keys:read"),
    ("GET", "/v1/keys/{key}/advice", "keys:read"),
    ("GET", "/v1/organizations/{organization}/usage", "keys:read"),
    ("GET", "/v1/organizations/{organization}/usage/series", "keys:read"),
    ("GET", "/v1/organizations/{organization}/usage/top", "keys:read"),
    ("GET", "/v1/organizations/{organization}/usage/unused", "keys:read"),
    ("GET", "/v1/organizations/{organization}/usage/addresses", "keys:read"),
    ("POST", "/v1/verify", "verify"),
    ("GET", "/v1/organizations", "organization:read"),
    ("POST", "/v1/organizations", "installation"),
    ("GET", "/v1/organizations/{organization}", "organization:read"),
    ("PATCH", "/v1/organizations/{organization}", "organization:write"),
    ("POST", "/v1/organizations/{organization}/lock", "organization:write"),
    ("POST", "/v1/organizations/{organization}/unlock", "organization:write"),
    ("POST", "/v1/organizations/{organization}/delete", "organization:delete"),
    ("POST", "/v1/organizations/{organization}/restore", "organization:delete"),
    ("GET", "/v1/organizations/{organization}/contacts", "organization:write"),
    ("POST", "/v1/organizations/{organization}/contacts/test", "organization:write"),
    ("POST", "/v1/organizations/{organization}/contacts/{contact}/enable", "organization:write"),
    ("POST", "/v1/organizations/{organization}/contacts/{contact}/rotate-secret", "organization:write"),
    ("GET", "/v1/organizations/{organization}/deliveries", "organization:write"),
    ("GET", "/v1/organizations/{organization}/members", "members:read"),
    ("GET", "/v1/organizations/{organization}/members/{person}", "members:read"),
    ("PATCH", "/v1/organizations/{organization}/members/{person}", "members:write"),
    ("POST", "/v1/organizations/{organization}/members/{person}/remove", "members:write"),
    ("POST", "/v1/organizations/{organization}/leave", "organization:read"),
    ("GET", "/v1/organizations/{organization}/invitations", "members:read"),
    ("POST", "/v1/organizations/{organization}/invitations", "members:write"),
    ("POST", "/v1/organizations/{organization}/invitations/{invitation}/revoke", "members:write"),
    ("GET", "/v1/organizations/{organization}/tokens", "tokens:read"),
    ("POST", "/v1/organizations/{organization}/tokens", "tokens:write"),
    ("GET", "/v1/organizations/{organization}/tokens/{token}", "tokens:read"),
    ("POST", "/v1/organizations/{organization}/tokens/{token}/delete", "tokens:write"),
    ("GET", "/v1/me", "-"),
    ("GET", "/v1/organizations/{organization}/audit", "audit:read"),
    ("GET", "/v1/organizations/{organization}/audit/export", "audit:read"),
    ("GET", "/v1/organizations/{organization}/audit/checkpoints", "audit:read"),
    ("POST", "/v1/organizations/{organization}/audit/checkpoints", "audit:read"),
    ("POST", "/v1/organizations/{organization}/audit/check", "audit:read"),
    ("POST", "/v1/organizations/{organization}/audit/erase", "audit:erase"),
    ("GET", "/v1/audit", "installation"),
    ("GET", "/v1/audit/export", "installation"),
    ("GET", "/v1/audit/checkpoints", "installation"),
    ("POST", "/v1/audit/checkpoints", "installation"),
    ("POST", "/v1/audit/check", "installation"),
    ("POST", "/v1/audit/erase", "installation"),
    ("GET", "/v1/audit/public-keys", "-"),
    ("POST", "/v1/people/link", "installation"),
    ("POST", "/v1/keyring/rotate", "installation"),
    ("POST", "/v1/restore/accept-old-state", "installation"),
    ("GET", "/v1/nodes", "installation"),
    ("GET", "/v1/status", "installation"),
    ("POST", "/v1/stop", "installation"),
];

/// Only a person belongs to an organization and can leave it.
const LEAVE: &str = "/v1/organizations/{organization}/leave";

/// What a management token can hold.
const RIGHTS_OF_TOKENS: [&str; 10] = [
    "organization:read",
    "organization:write",
    "keys:read",
    "keys:write",
    "members:read",
    "members:write",
    "tokens:read",
    "tokens:write",
    "audit:read",
    "verify",
];

/// What a caller can show for themselves.
enum Standing {
    /// Nothing that counts: this refusal, whatever is asked.
    Refused(u16, &'static str),
    /// These rights in this organization, and nothing elsewhere.
    Holds(Vec<&'static str>, &'static str, As),
    /// The whole installation.
    Everything,
}

/// As what somebody comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// A management token: nobody's, and told what is missing.
    Token,
    /// A person who manages, and is told what is missing.
    Manager,
    /// A Member, who does not learn what there is to manage.
    Member,
}

struct Asking {
    name: String,
    caller: Caller,
    standing: Standing,
}

/// Every kind of caller. The clock goes past the end of the token that expires.
async fn callers(app: &TestApp) -> Vec<Asking> {
    let all = RIGHTS_OF_TOKENS.join(",");
    let elsewhere = app.test.organization("org-2").await;
    let key = app.key().await;
    let whole = app.token(&all).await;
    let deleted = app.token(&all).await;
    let delete = app
        .test
        .engine
        .delete_token(context(), app.organization.clone(), deleted.token.record.id);
    delete.await.unwrap();
    let end = Some(START.plus_ms(1_000));
    let expired = app.token_of(&app.organization, &all, end).await;
    app.test.clock.advance_ms(1_000);
    let theirs = app.token_of(&elsewhere, &all, None).await;
    let forged = with_other_secret(whole.value.reveal());
    let mut callers = Vec::new();
    let mut add = |name: &str, caller: Caller, standing: Standing| {
        let name = name.to_owned();
        callers.push(Asking {
            name,
            caller,
            standing,
        });
    };
    let refused = |code| Standing::Refused(401, code);
    add("nobody", app.nobody(), refused("token_missing"));
    add("garbage", app.bearer("garbage"), refused("token_malformed"));
    add(
        "half a token",
        app.bearer(&whole.value.reveal()[..50]),
        refused("token_malformed"),
    );
    add("a secret key", app.holder(&key), refused("secret_key_sent"));
    add("a wrong secret", app.bearer(&forged), refused("token_unknown"));
    add("a deleted token", app.manager(&deleted), refused("token_deleted"));
    add(
        "an expired token",
        app.manager(&expired),
        refused("token_expired"),
    );
    let acting_token = app.manager(&whole).with("keyward-act-as", "p-owner");
    add(
        "a token that acts as somebody",
        acting_token,
        Standing::Refused(400, "acting_not_accepted"),
    );
    for right in RIGHTS_OF_TOKENS {
        let token = app.token(right).await;
        let standing = Standing::Holds(vec![right], "org-1", As::Token);
        add(&format!("a token with {right}"), app.manager(&token), standing);
    }
    let holds_all = |organization| Standing::Holds(RIGHTS_OF_TOKENS.to_vec(), organization, As::Token);
    add("a token with all rights", app.manager(&whole), holds_all("org-1"));
    add(
        "a token of another organization",
        app.manager(&theirs),
        holds_all("org-2"),
    );
    let of_owners: Vec<&str> = RIGHTS_OF_TOKENS
        .into_iter()
        .chain(["organization:delete", "audit:erase"])
        .collect();
    for (role, rights, comes_as) in [
        ("member", vec!["organization:read"], As::Member),
        ("admin", RIGHTS_OF_TOKENS.to_vec(), As::Manager),
        ("owner", of_owners.clone(), As::Manager),
    ] {
        let person = format!("p-{role}");
        member(app, &person, role).await;
        let caller = acting(app, &person).with("keyward-organization", "org-1");
        add(
            &format!("the {role}"),
            caller,
            Standing::Holds(rights, "org-1", comes_as),
        );
    }
    let their_owner = acting(app, "owner@example.com").with("keyward-organization", "org-2");
    add(
        "the owner of another organization",
        their_owner,
        Standing::Holds(of_owners, "org-2", As::Manager),
    );
    let unknown = acting(app, "p-nobody").with("keyward-organization", "org-1");
    add(
        "somebody who is no member",
        unknown,
        Standing::Refused(403, "actor_unknown"),
    );
    add("the local administrator", app.admin(), Standing::Everything);
    callers
}

/// The refusal that the rules ask for; `None` lets the caller in.
fn expected(standing: &Standing, path: &str, right: &str) -> Option<(u16, &'static str)> {
    const NOT_THERE: Option<(u16, &str)> = Some((404, "not_found"));
    match standing {
        Standing::Refused(status, code) => Some((*status, code)),
        Standing::Everything if path == LEAVE => NOT_THERE,
        Standing::Everything => None,
        Standing::Holds(rights, organization, comes_as) => {
            let is_elsewhere = *organization != "org-1";
            let is_held = right == "-" || rights.contains(&right);
            match (is_held, comes_as) {
                _ if is_elsewhere && path.contains("{organization}") => NOT_THERE,
                (true, _) if is_elsewhere && path.contains("{key}") => NOT_THERE,
                (true, As::Token) if path == LEAVE => NOT_THERE,
                (true, _) => None,
                (false, As::Member) => NOT_THERE,
                (false, As::Token | As::Manager) => Some((403, "right_missing")),
            }
        }
    }
}

/// The path with things of `org-1` that nobody has touched yet; `number` tells apart whom it makes for that.
async fn filled(app: &TestApp, path: &str, number: usize) -> String {
    let mut path = path.replace("{organization}", "org-1");
    if path.contains("{key}") {
        path = path.replace("{key}", app.key().await.key.record.id.as_str());
    }
    if path.contains("{token}") {
        path = path.replace("{token}", app.token("verify").await.token.record.id.as_str());
    }
    if path.contains("{person}") {
        let person = format!("somebody-{number}");
        member(app, &person, "member").await;
        path = path.replace("{person}", &person);
    }
    if path.contains("{invitation}") {
        let body = json!({ "email": format!("invited-{number}@example.com"), "role": "member" });
        let invited = app
            .admin()
            .post("/v1/organizations/org-1/invitations", &body)
            .await;
        assert_eq!(invited.status, 201, "{}", invited.text());
        path = path.replace("{invitation}", invited.json()["id"].as_str().unwrap());
    }
    if path.contains("{contact}") {
        let settings =
            json!({ "security_contacts": [{ "kind": "webhook", "address": "https://example.com/hook" }] });
        let edited = app.admin().patch("/v1/organizations/org-1", &settings).await;
        assert_eq!(edited.status, 200, "{}", edited.text());
        let contacts = app.admin().get("/v1/organizations/org-1/contacts").await;
        path = path.replace("{contact}", contacts.json()["items"][0]["id"].as_str().unwrap());
    }
    assert!(!path.contains('{'), "{path}: nothing is put in here yet");
    path
}

#[tokio::test]
async fn every_route_lets_in_whom_the_rules_let_in_and_refuses_everybody_else_with_the_right_words() {
    let written: BTreeSet<(String, String, String)> = ROUTES
        .iter()
        .map(|(method, path, right)| ((*method).to_owned(), (*path).to_owned(), (*right).to_owned()))
        .collect();
    let there: BTreeSet<(String, String, String)> = route_table()
        .into_iter()
        .map(|row| {
            let right = row.demand.name().to_owned();
            (row.method.to_string(), row.path.to_owned(), right)
        })
        .collect();
    assert_eq!(
        there, written,
        "the routes that exist, and those that are written down here"
    );

    let (mut asked, mut let_in, mut kinds) = (0, 0, 0);
    for (method, path, right) in ROUTES {
        // A place of its own, because some of them end what the next one would need.
        let app = TestApp::new().await;
        let callers = callers(&app).await;
        kinds = callers.len();
        for (number, asking) in callers.into_iter().enumerate() {
            let Asking {
                name,
                caller,
                standing,
            } = asking;
            let this = filled(&app, path, number).await;
            // Of whoever can show nothing no body is read.
            let body = match standing {
                Standing::Refused(..) => crate::body::never_read(),
                Standing::Holds(..) | Standing::Everything => Body::from("{}"),
            };
            let reply = caller.with("if-match", "*").send(method, &this, body).await;
            let what = format!("{method} {path} by {name}: {} {}", reply.status, reply.text());
            asked += 1;
            match expected(&standing, path, right) {
                Some((status, code)) => {
                    assert_eq!(reply.problem(), (status, code.to_owned()), "{what}");
                    if code == "right_missing" {
                        assert!(reply.message().contains(&format!("`{right}`")), "{what}");
                    }
                }
                None => {
                    let_in += 1;
                    assert!(
                        reply.status < 400
                            || matches!(reply.problem().1.as_str(), "invalid_fields" | "conflict"),
                        "{what}"
                    );
                }
            }
        }
    }
    println!(
        "matrix of the management API: {} routes x {kinds} callers = {asked} requests, {let_in} let in",
        ROUTES.len()
    );
    assert_eq!(asked, ROUTES.len() * kinds);
    assert!(let_in > 3 * ROUTES.len());
}
