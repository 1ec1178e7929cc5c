use crate::support::TestApp;

#[tokio::test]
async fn a_server_says_what_it_is() {
    let app = TestApp::new().await;
    app.key().await;
    let reply = app.admin().get("/v1/status").await;
    assert_eq!(reply.json()["process"], std::process::id());
    insta::assert_snapshot!(reply.shown());

    app.test.engine.shut_down().await;
    let reply = app.admin().get("/v1/status").await;
    assert_eq!(
        (reply.status, &reply.json()["not_ready"]),
        (200, &"shutting down".into())
    );
}
