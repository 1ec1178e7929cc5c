use keyward_core::condition::{AddressRule, RateLimit};
use keyward_core::level::PermissionLevel;
use keyward_core::refusal::Code;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::state::DeleteReason;
use keyward_engine::clock::Clock as _;
use keyward_http::verify::PATH;
use keyward_testkit::engine::{Permission, TestEngine, context};
use keyward_testkit::forgery;

use crate::log::Log;
use crate::support::{ORGANIZATION, Reply, TestApp, Transcript, secret_keys_page};

/// Every header of an accept. One more would be one more thing that is told, and time that every check takes. The router
/// writes the length; the server takes it away again from a 204 to a GET (RFC 9110, 8.6).
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-length",
    "keyward-key-id",
    "keyward-organization-id",
    "keyward-permission",
    "keyward-scopes",
    "x-content-type-options",
];

fn assert_accepted(reply: &Reply) {
    assert_eq!(reply.status, 204, "{reply:?}");
    assert_eq!(reply.header_names(), HEADERS);
    assert_eq!(reply.body, b"");
}

#[tokio::test]
async fn an_accepted_key_is_answered_with_whose_it_is_and_nothing_else() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let reply = app.holder(&key).get(PATH).await;
    assert_accepted(&reply);
    assert_eq!(
        reply.header("keyward-key-id"),
        Some(key.key.record.id.to_string().as_str())
    );
    insta::assert_snapshot!(reply.shown());
    let head = app.holder(&key).send("HEAD", PATH, "").await;
    assert_accepted(&head);
    assert_eq!(head.headers, reply.headers);
}

#[tokio::test]
async fn scopes_and_level_are_told_as_they_are() {
    let app = TestApp::new().await;
    let restricted = || {
        Permission::Restricted(vec![keyward_core::rule::Rule {
            operations: vec!["dataset.*".parse().unwrap()],
            resources: vec!["dataset/*".parse().unwrap()],
        }])
    };
    let mut told = Vec::new();
    for bits in 1..8_u8 {
        let scopes: ScopeSet = Scope::ALL
            .into_iter()
            .enumerate()
            .filter(|(at, _)| bits & (1 << at) != 0)
            .map(|(_, scope)| scope)
            .collect();
        for level in PermissionLevel::ALL {
            let needs_datasets = matches!(level, PermissionLevel::LabelerOnly | PermissionLevel::Restricted);
            if needs_datasets && !scopes.contains(Scope::Dataset) {
                continue;
            }
            let key = app
                .key_with(|draft| {
                    draft.scopes = scopes;
                    draft.permission = match level {
                        PermissionLevel::Full => Permission::Full,
                        PermissionLevel::ReadOnly => Permission::ReadOnly,
                        PermissionLevel::LabelerOnly => Permission::LabelerOnly,
                        PermissionLevel::Restricted => restricted(),
                    };
                })
                .await;
            let reply = app.holder(&key).get(PATH).await;
            assert_accepted(&reply);
            let header = |name| reply.header(name).unwrap().to_owned();
            told.push(format!(
                "{} | {}",
                header("keyward-scopes"),
                header("keyward-permission")
            ));
        }
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    dataset | full
    dataset | read_only
    dataset | labeler_only
    dataset | restricted
    training | full
    training | read_only
    dataset,training | full
    dataset,training | read_only
    dataset,training | labeler_only
    dataset,training | restricted
    deployment | full
    deployment | read_only
    dataset,deployment | full
    dataset,deployment | read_only
    dataset,deployment | labeler_only
    dataset,deployment | restricted
    training,deployment | full
    training,deployment | read_only
    dataset,training,deployment | full
    dataset,training,deployment | read_only
    dataset,training,deployment | labeler_only
    dataset,training,deployment | restricted
    ");
}

#[tokio::test]
async fn an_organization_id_that_is_sent_must_be_the_keys() {
    let app = TestApp::new().await;
    app.test.organization("org-2").await;
    let key = app.key().await;
    let caller = app.holder(&key);
    assert_accepted(&caller.clone().of(ORGANIZATION).get(PATH).await);

    let empty = caller.clone().of("").get(PATH).await;
    assert_eq!(empty.problem(), (401, "organization_missing".to_owned()));
    for other in [
        "ORG-1",
        "org-1-",
        "org-11",
        "org",
        "org-2",
        "org-1,org-1",
        "-",
        "a_b",
    ] {
        let refused = caller.clone().of(other).get(PATH).await;
        assert_eq!(
            refused.problem(),
            (401, "organization_mismatch".to_owned()),
            "{other}"
        );
        assert!(
            !refused.text().contains(&format!("\"{ORGANIZATION}\"")),
            "whose key it is"
        );
    }
    let bytes = caller
        .clone()
        .with("organization-id", b"org-1\xff")
        .get(PATH)
        .await;
    assert_eq!(bytes.problem(), (401, "organization_mismatch".to_owned()));
}

#[tokio::test]
async fn a_refusal_does_not_tell_whether_the_other_organization_exists() {
    let app = TestApp::new().await;
    app.test.organization("org-2").await;
    let caller = app.holder(&app.key().await);
    let mut told = Vec::new();
    for other in ["org-2", "org-3"] {
        let refused = caller.clone().of(other).get(PATH).await;
        assert!(!refused.text().contains(ORGANIZATION));
        told.push(refused.shown().replace(other, "[claim]"));
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn the_page_that_a_refusal_names_is_the_callers_own() {
    let app = TestApp::new().await;
    for (caller, id) in [
        (app.nobody(), "your-organization-id"),
        (app.nobody().of("org-9"), "org-9"),
        (app.nobody().of("../../evil"), "your-organization-id"),
        (
            app.nobody().with("organization-id", b"\xff"),
            "your-organization-id",
        ),
    ] {
        // The host that a caller names is the caller's own choice.
        let refused = caller.with("host", "evil.example").get(PATH).await;
        let message = refused.message();
        let page = secret_keys_page(&message);
        assert_eq!(
            page,
            format!("https://keys.example.com/org/{id}/settings/secret-keys")
        );
        assert!(!refused.text().contains("evil"));
    }
}

/// One reply for each code that this route can answer with.
#[tokio::test]
async fn every_refusal_says_what_would_help() {
    let (log, _guard) = Log::follow();
    let app = TestApp::new().await;
    let mut replies = Transcript::default();
    let mut seen = Vec::new();
    let mut add = |asked: &str, reply: Reply| {
        let (_, code) = reply.problem();
        replies.add(asked, &reply);
        seen.push(code);
    };
    let now = app.test.clock.now();
    let key = app.key().await;
    let value = key.value.reveal();

    let twice = app.holder(&key).with("authorization", format!("Bearer {value}"));
    add("two Authorization headers", twice.get(PATH).await);
    let twice = app.holder(&key).of(ORGANIZATION).of(ORGANIZATION);
    add("two Organization-Id headers", twice.get(PATH).await);
    let in_query = app.nobody().get(&format!("{PATH}?secret_key={value}")).await;
    add("the key in the query", in_query);
    add("no key", app.nobody().of(ORGANIZATION).get(PATH).await);
    add("a cut key", app.bearer(&value[..60]).get(PATH).await);
    let forged = forgery::with_other_secret(value);
    add("another secret", app.bearer(&forged).get(PATH).await);
    add(
        "an empty organization id",
        app.holder(&key).of("").get(PATH).await,
    );
    add(
        "another organization",
        app.holder(&key).of("org-2").get(PATH).await,
    );

    let early = app
        .key_with(|draft| draft.conditions.not_before = Some(now.plus_ms(1_500)))
        .await;
    add("before its time", app.holder(&early).get(PATH).await);
    let short = app
        .key_with(|draft| draft.conditions.expires_at = Some(now.plus_ms(1_000)))
        .await;
    app.test.clock.advance_ms(1_000);
    add("at its end", app.holder(&short).get(PATH).await);
    let elsewhere = app
        .key_with(|draft| {
            draft.conditions.addresses = AddressRule::Only(vec!["192.0.2.0/24".parse().unwrap()]);
        })
        .await;
    add("from elsewhere", app.holder(&elsewhere).get(PATH).await);

    let often = app
        .key_with(|draft| {
            draft.conditions.rate_limit = Some(RateLimit {
                requests: 1,
                per_ms: 60_000,
            });
        })
        .await;
    assert_eq!(app.holder(&often).get(PATH).await.status, 204);
    add("too often", app.holder(&often).get(PATH).await);

    let paused = app.key().await;
    let id = paused.key.record.id;
    app.test
        .engine
        .pause_key(context(), app.organization.clone(), id)
        .await
        .unwrap();
    add("paused", app.holder(&paused).get(PATH).await);
    app.test.delete(&app.organization, id).await.unwrap();
    add("deleted", app.holder(&paused).get(PATH).await);

    set_organization_state(&app, "locked").await;
    add("a locked organization", app.holder(&key).get(PATH).await);
    set_organization_state(&app, "stopped").await;
    add("a stopped organization", app.holder(&key).get(PATH).await);
    set_organization_state(&app, "open").await;
    assert_accepted(&app.holder(&key).get(PATH).await);

    app.test.place.run("UPDATE secret_key SET scopes = 1").await;
    app.test.engine.cache().clear();
    add("a row that was changed", app.holder(&key).get(PATH).await);

    seen.dedup();
    let reachable = [
        "bad_request",
        "key_missing",
        "key_malformed",
        "key_unknown",
        "organization_missing",
        "organization_mismatch",
        "key_not_yet_valid",
        "key_expired",
        "address_not_allowed",
        "rate_limited",
        "key_paused",
        "key_deleted",
        "organization_locked",
        "key_paused",
        "store_unavailable",
    ];
    assert_eq!(seen, reachable);
    // The rest is about operations, which this route has none of, or about what there is not yet.
    let elsewhere = [
        Code::KeySuperseded,
        Code::ScopeMissing,
        Code::OperationNotPermitted,
        Code::ResourceNotPermitted,
    ];
    for code in Code::ALL {
        assert_ne!(
            reachable.contains(&code.name()),
            elsewhere.contains(&code),
            "{code:?}"
        );
    }
    insta::assert_snapshot!(replies.0);

    let lines = log.lines_with("request finished");
    let at = |level: &str| lines.iter().filter(|line| line.starts_with(level)).count();
    assert_eq!((at("INFO "), at("WARN ")), (16, 1), "one could not be checked");
    let refused = log.lines_with("outcome=key_deleted");
    assert!(refused[0].contains(&format!("key.id={id}")), "{refused:?}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("client.address=198.51.100.7")),
        "{lines:?}"
    );
    assert!(
        log.lines_with("outcome=key_unknown")
            .iter()
            .all(|line| !line.contains("key.id"))
    );
    // Guessing fills no log: 20 lines are shown of a second, and the clock stands.
    app.test.clock.advance_ms(1_000);
    for _ in 0..30 {
        app.nobody().get(PATH).await;
    }
    let lines = log.lines_with("request finished");
    let at = |level: &str| lines.iter().filter(|line| line.starts_with(level)).count();
    assert_eq!((at("INFO "), at("WARN "), at("DEBUG ")), (16 + 20, 1, 10));
    app.assert_no_key_in(&log.lines_with("").join("\n"));
}

async fn set_organization_state(app: &TestApp, state: &str) {
    let changed = app
        .test
        .place
        .run(&format!("UPDATE organization SET state = '{state}'"))
        .await;
    assert_eq!(changed, 1);
    app.test.engine.cache().clear();
}

#[tokio::test]
async fn a_header_that_holds_no_bearer_key_is_no_key() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let value = key.value.reveal();
    for header in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer    ".to_owned(),
        format!("Basic {value}"),
        format!("Bearer:{value}"),
        format!("Bearer{value}"),
        value.to_owned(),
        format!("Token {value}"),
    ] {
        let refused = app.nobody().with("authorization", &header).get(PATH).await;
        assert_eq!(refused.problem(), (401, "key_missing".to_owned()), "{header}");
        // RFC 6750, 3.1: who sent no credentials is told no error.
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Bearer realm=\"keyward\"")
        );
    }
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let caller = app.nobody().with("authorization", format!("{scheme} {value}"));
        assert_accepted(&caller.get(PATH).await);
    }
}

#[tokio::test]
async fn a_malformed_key_is_named_by_its_defect() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let value = key.value.reveal();
    let other_end = if value.ends_with('A') { "B" } else { "A" };
    let defects = [
        ("two spaces before it", format!(" {value}")),
        ("double quotes", format!("\"{value}\"")),
        ("single quotes", format!("'{value}'")),
        ("a quote at its end", format!("{value}`")),
        ("a space inside", format!("{} {}", &value[..50], &value[50..])),
        ("a tab inside", format!("{}\t{}", &value[..50], &value[50..])),
        ("another prefix", value.replacen("dtvi_", "sk_", 1)),
        ("an upper-case prefix", value.replacen("dtvi_", "DTVI_", 1)),
        ("a character less", value[..102].to_owned()),
        ("a character more", format!("{value}A")),
        ("twice", format!("{value}{value}")),
        ("only its head", "dtvi_".to_owned()),
        (
            "a character of no key",
            format!("{}+{}", &value[..50], &value[51..]),
        ),
        ("an umlaut", format!("{}ä{}", &value[..50], &value[51..])),
        ("another last character", format!("{}{other_end}", &value[..102])),
        ("two characters swapped", with_swapped_secret_characters(value)),
    ];
    let mut told = Vec::new();
    for (defect, text) in defects {
        let refused = app.bearer(&text).get(PATH).await;
        assert_eq!(refused.problem(), (401, "key_malformed".to_owned()), "{defect}");
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Bearer realm=\"keyward\", error=\"invalid_token\"")
        );
        let message = refused.message();
        let (message, _) = message.split_once(" This server's").unwrap();
        told.push(format!("{defect}: {message}"));
    }
    let bytes = app
        .nobody()
        .with("authorization", b"Bearer dtvi_\xff\xfe")
        .get(PATH)
        .await;
    assert_eq!(bytes.problem(), (401, "key_malformed".to_owned()));
    insta::assert_snapshot!(told.join("\n"));
}

/// The first two neighbours in the secret part that differ change places: all characters are possible ones.
fn with_swapped_secret_characters(value: &str) -> String {
    let mut bytes = value.as_bytes().to_vec();
    let at = (40..90).find(|at| bytes[*at] != bytes[at + 1]).unwrap();
    bytes.swap(at, at + 1);
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn what_was_never_issued_here_is_unknown() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let stranger = TestEngine::new(keyward_testkit::engine::Kind::Sqlite).await;
    let organization = stranger.organization(ORGANIZATION).await;
    let foreign = stranger.full_key(&organization).await;
    for text in [
        forgery::with_other_secret(key.value.reveal()),
        foreign.value.reveal().to_owned(),
    ] {
        // The organization is looked at only after the whole secret matched.
        for caller in [app.bearer(&text), app.bearer(&text).of("org-2")] {
            assert_eq!(caller.get(PATH).await.problem(), (401, "key_unknown".to_owned()));
        }
    }
}

#[tokio::test]
async fn contradictions_are_refused_before_anything_else() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let value = key.value.reveal();
    let holder = || app.holder(&key);
    let encoded = value.replace('_', "%5F");
    let mut refused = vec![
        app.nobody()
            .with("authorization", "Basic x")
            .with("authorization", format!("Bearer {value}"))
            .get(PATH)
            .await,
        holder().of("").of("").get(PATH).await,
    ];
    for query in [
        format!("secret_key={value}"),
        format!("x={value}"),
        format!("x={encoded}"),
        format!("a=b&api-key={value}"),
        "access_token=whatever".to_owned(),
        value.to_owned(),
    ] {
        refused.push(holder().get(&format!("{PATH}?{query}")).await);
    }
    for reply in refused {
        assert_eq!(reply.problem(), (400, "bad_request".to_owned()), "{reply:?}");
    }
    // Parameters that hold no key are nobody's business.
    assert_accepted(&holder().get(&format!("{PATH}?key=dtvi_2024&x=1")).await);
}

#[tokio::test]
async fn a_key_is_accepted_from_its_beginning_up_to_its_end() {
    let app = TestApp::new().await;
    let now = app.test.clock.now();
    let key = app
        .key_with(|draft| {
            draft.conditions.not_before = Some(now.plus_ms(1_000));
            draft.conditions.expires_at = Some(now.plus_ms(2_000));
        })
        .await;
    let caller = app.holder(&key);
    let not_yet = caller.get(PATH).await;
    assert_eq!(not_yet.problem(), (401, "key_not_yet_valid".to_owned()));
    assert!(
        not_yet
            .message()
            .contains("(it is accepted from 2026-01-01T00:00:01Z)")
    );
    app.test.clock.advance_ms(999);
    assert_eq!(caller.get(PATH).await.status, 401);
    app.test.clock.advance_ms(1);
    assert_accepted(&caller.get(PATH).await);
    app.test.clock.advance_ms(999);
    assert_accepted(&caller.get(PATH).await);
    app.test.clock.advance_ms(1);
    let over = caller.get(PATH).await;
    assert_eq!(over.problem(), (401, "key_expired".to_owned()));
    assert!(over.message().contains("(it ended at 2026-01-01T00:00:02Z)"));
}

#[tokio::test]
async fn a_deleted_key_is_told_why() {
    let app = TestApp::new().await;
    for reason in DeleteReason::ALL {
        let key = app.key().await;
        app.test
            .engine
            .delete_key(context(), app.organization.clone(), key.key.record.id, *reason)
            .await
            .unwrap();
        let refused = app.holder(&key).get(PATH).await;
        assert_eq!(refused.problem(), (401, "key_deleted".to_owned()));
        let words = reason.name().replace('_', " ");
        assert!(refused.message().contains(&format!("(reason: {words})")));
        let forged = forgery::with_other_secret(key.value.reveal());
        let stranger = app.bearer(&forged).get(PATH).await;
        assert_eq!(
            stranger.problem(),
            (401, "key_unknown".to_owned()),
            "without the whole secret"
        );
    }
}

#[tokio::test]
async fn a_check_that_could_not_be_made_is_neither_a_yes_nor_a_no() {
    let (log, _guard) = Log::follow();
    let app = TestApp::new().await;
    let key = app.key().await;
    app.test.engine.store().close().await;
    app.test.engine.cache().clear();
    let refused = app.holder(&key).get(PATH).await;
    assert_eq!(refused.problem(), (503, "store_unavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("www-authenticate"), None);
    let head = app.holder(&key).send("HEAD", PATH, "").await;
    assert_eq!((head.status, head.body.len()), (503, 0));
    // The help page sends the operator to the log with the trace id.
    let trace = refused.header("x-cloud-trace-context").unwrap();
    let lines = log.lines_with(trace);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN ") && lines[0].contains("outcome=store_unavailable"));

    // What needs no look-up is answered as ever.
    assert_eq!(
        app.nobody().get(PATH).await.problem(),
        (401, "key_missing".to_owned())
    );
}

#[tokio::test]
async fn no_page_of_another_origin_can_use_a_key() {
    let app = TestApp::new().await;
    let key = app.key().await;
    // That no reply has an Access-Control header is checked wherever a request is made.
    let caller = app.holder(&key).with("origin", "https://evil.example");
    assert_accepted(&caller.get(PATH).await);
    let preflight = app
        .nobody()
        .with("origin", "https://evil.example")
        .with("access-control-request-method", "GET")
        .with("access-control-request-headers", "authorization")
        .send("OPTIONS", PATH, "")
        .await;
    insta::assert_snapshot!(preflight.shown());
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
        let refused = caller.send(method, PATH, "").await;
        assert_eq!(refused.problem(), (405, "method_not_allowed".to_owned()));
        assert_eq!(refused.header("allow"), Some("GET,HEAD,POST"));
    }
    // Asking about keys is for management tokens.
    let refused = caller.send("POST", PATH, crate::body::never_read()).await;
    assert_eq!(refused.problem(), (401, "secret_key_sent".to_owned()));
}

#[tokio::test]
async fn what_comes_with_a_request_for_nothing_is_not_read() {
    let app = TestApp::new().await;
    let key = app.key().await;
    let body = crate::body::never_read();
    assert_accepted(&app.holder(&key).send("GET", PATH, body).await);
    let body = crate::body::never_read();
    assert_eq!(app.nobody().send("GET", PATH, body).await.status, 401);
}

/// What strangers are told is made once; whoever names an organization gets words of their own, so that both ways show.
#[tokio::test]
async fn a_refusal_that_is_kept_says_the_same_as_one_that_is_made_anew() {
    let app = TestApp::new().await;
    let whole = app.key().await.value.reveal().to_owned();
    let forged = keyward_testkit::seed::draw_text(keyward_testkit::seed::unmarked_id());
    let (other, spaced) = (forgery::with_other_secret(&whole), format!(" {whole} "));
    let texts = [
        forged.reveal(),
        &other,
        &spaced,
        &whole[..40],
        &whole[..102],
        "\"dtvi\"",
        "kwmt_1",
        "sk-1",
    ];
    for text in texts {
        let mut bodies = Vec::new();
        for _ in 0..3 {
            let reply = app.bearer(text).get(PATH).await;
            bodies.push(without_trace(&reply));
        }
        let named = app.bearer(text).of("org-other").get(PATH).await;
        bodies.push(without_trace(&named).replace("/org/org-other/", "/org/your-organization-id/"));
        assert!(bodies[0].contains("your-organization-id"), "{}", bodies[0]);
        for body in &bodies {
            assert_eq!(body, &bodies[0], "{text}");
        }
    }
}

/// The body; its trace id has to be the one of the header, and is taken out.
fn without_trace(reply: &Reply) -> String {
    let trace = reply.header("x-cloud-trace-context").unwrap();
    assert_eq!(reply.json()["trace_id"], trace);
    reply.text().replace(trace, "[trace]")
}
