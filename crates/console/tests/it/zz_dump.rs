use crate::support::TestConsole;
use keyward_core::environment::Environment;
use keyward_core::scope::{Scope, ScopeSet};
use keyward_core::time::DAY_MS;
use keyward_testkit::engine::{Permission, context, draft};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dump() {
    let console = TestConsole::new().await;
    let mut owner = console.owner().await;
    let keys = console.path("settings/secret-keys");
    std::fs::write("/tmp/dump/empty.html", owner.page(&keys).await).unwrap();
    let engine = console.test.engine.clone();
    let mut ids = Vec::new();
    for (at, (name, environment, scopes)) in [
        (
            "production-deployment",
            Some(Environment::Production),
            ScopeSet::NONE.with(Scope::Deployment),
        ),
        (
            "training-automation",
            Some(Environment::Production),
            ScopeSet::NONE.with(Scope::Training).with(Scope::Dataset),
        ),
        ("annotation-pipeline", Some(Environment::CiCd), ScopeSet::ALL),
        (
            "bi-dashboard with a rather long name that somebody gave it in a hurry",
            Some(Environment::Development),
            ScopeSet::ALL,
        ),
        ("old-ci", Some(Environment::CiCd), ScopeSet::ALL),
        ("robot-arm-7", None, ScopeSet::ALL),
    ]
    .into_iter()
    .enumerate()
    {
        console.test.clock.advance_ms(20 * DAY_MS);
        let mut d = draft(
            scopes,
            if at % 2 == 0 {
                Permission::Full
            } else {
                Permission::ReadOnly
            },
        );
        d.name = name.to_owned();
        d.environment = environment;
        let made = engine
            .create_key(context(), console.organization.clone(), d)
            .await
            .unwrap();
        let text = keyward_core::key_text::KeyText::parse(made.value.reveal(), engine.prefix()).unwrap();
        if at != 4 {
            let q = keyward_engine::verify::VerifyQuestion {
                credentials: keyward_core::credentials::Credentials {
                    key: text,
                    organization: None,
                },
                claim: keyward_core::decision::OrganizationClaim::NotAsked,
                purpose: keyward_core::decision::Purpose::Identify,
                address: keyward_core::address::CallerAddress::Known(std::net::IpAddr::from([
                    203, 0, 113, at as u8,
                ])),
                client: engine.client_of(Some(b"vi-sdk/0.1.0b7 python/3.11")),
            };
            engine.verify(&q, |_| ()).await.unwrap();
        } else {
            engine
                .pause_key(context(), console.organization.clone(), made.key.record.id)
                .await
                .unwrap();
        }
        ids.push(made.key.record.id.to_string());
    }
    let mut owner = console.owner().await;
    for (name, path) in [
        ("table", keys.clone()),
        ("filtered", format!("{keys}?state=paused&sort=name")),
        ("none", format!("{keys}?unused=90&environment=none")),
        ("remove", format!("{keys}/{}/remove", ids[5])),
        ("pause", format!("{keys}/{}/pause", ids[0])),
    ] {
        std::fs::write(format!("/tmp/dump/{name}.html"), owner.page(&path).await).unwrap();
    }
    let bulk = owner
        .post(
            &format!("{keys}/bulk"),
            &[("pick", &ids[0]), ("pick", &ids[5]), ("pick", &ids[3])],
        )
        .await;
    std::fs::write("/tmp/dump/bulk.html", &bulk.text).unwrap();
    let token = crate::support::between(&bulk.text, "name=\"token\" value=\"", "\"")
        .unwrap()
        .to_owned();
    let done = owner
        .post(&format!("{keys}/bulk/run"), &[("token", &token)])
        .await;
    std::fs::write("/tmp/dump/done.html", &done.text).unwrap();
    let bad = owner
        .post(
            &format!("{keys}/search"),
            &[("text", "dtvi_abcdefghijklmnopqrstuvwxyz")],
        )
        .await;
    std::fs::write("/tmp/dump/bad.html", &bad.text).unwrap();
}
