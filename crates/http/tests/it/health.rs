use keyward_http::health::Detail;

use crate::support::{Setup, TestApp, Transcript};

async fn telling(detail: Detail) -> TestApp {
    TestApp::with(Setup {
        detail,
        ..Setup::default()
    })
    .await
}

#[tokio::test]
async fn a_server_says_whether_it_lives_and_whether_it_can_check_keys() {
    for detail in [Detail::Status, Detail::Reason] {
        let app = telling(detail).await;
        let mut replies = Transcript::default();
        for path in ["/healthz", "/readyz"] {
            replies.add(path, &app.nobody().get(path).await);
            let head = app.nobody().send("HEAD", path, "").await;
            assert_eq!((head.status, head.body.len()), (200, 0));
        }
        insta::assert_snapshot!("ready", replies.0);
    }
}

#[tokio::test]
async fn a_server_that_stops_is_alive_and_not_ready() {
    for (detail, name) in [
        (Detail::Status, "not_ready"),
        (Detail::Reason, "not_ready_and_why"),
    ] {
        let app = telling(detail).await;
        app.test.engine.shut_down().await;
        let mut replies = Transcript::default();
        for path in ["/healthz", "/readyz"] {
            replies.add(path, &app.nobody().get(path).await);
        }
        insta::assert_snapshot!(name, replies.0);
    }
}

#[tokio::test]
async fn a_server_without_its_database_is_not_ready() {
    let app = telling(Detail::Status).await;
    app.test.engine.store().close().await;
    let reply = app.nobody().get("/readyz").await;
    assert_eq!((reply.status, reply.text()), (503, r#"{"status":"not_ready"}"#));
    assert_eq!(app.nobody().get("/healthz").await.status, 200);

    let app = telling(Detail::Reason).await;
    app.test.engine.store().close().await;
    let reply = app.nobody().get("/readyz").await;
    assert!(!reply.json()["reason"].as_str().unwrap().is_empty());
}
