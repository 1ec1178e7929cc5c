use keyward_http::verify::PATH;
use serde_json::json;

use crate::support::TestApp;

const ACCEPT: &str = "/v1/restore/accept-old-state";

#[tokio::test]
async fn with_nothing_held_nothing_is_released() {
    let app = TestApp::new().await;
    let (active, paused) = (app.key().await, app.key().await);
    app.test
        .engine
        .pause_key(
            keyward_testkit::engine::context(),
            app.organization.clone(),
            paused.key.record.id,
        )
        .await
        .unwrap();
    for _ in 0..2 {
        let reply = app.admin().post(ACCEPT, &json!({})).await;
        insta::assert_snapshot!("nothing_released", reply.shown());
    }
    assert_eq!(app.holder(&active).get(PATH).await.status, 204);
    // Somebody paused it, and no restore: it stays paused.
    let refused = app.holder(&paused).get(PATH).await;
    assert_eq!(refused.problem(), (401, "key_paused".to_owned()));
}
