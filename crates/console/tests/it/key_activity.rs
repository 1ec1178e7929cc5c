//! Activity of a key and of the organization: filters, pages, marks, and downloads that nothing computes or obeys.

use http::StatusCode;
use keyward_core::decision::Purpose;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::resource::Resource;
use keyward_core::time::HOUR_MS;
use keyward_testkit::engine::Kind;
use keyward_testkit::on_both_databases;

use crate::support::{TestConsole, between};
use crate::uses::{READ, use_key};

const MEMBERS: Purpose<'static> = Purpose::Perform {
    operation: Operation::MembersWrite,
    resource: Resource::Organization,
};

async fn what_a_client_calls_itself_is_neither_markup_nor_a_formula(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let engine = &console.test.engine;
    let key = console.test.full_key(&console.organization).await;
    let value = key.value.reveal();
    use_key(engine, value, READ, (1, "<script>alert(1)</script>"))
        .await
        .unwrap();
    use_key(engine, value, READ, (2, "=HYPERLINK(\"http://x\",\"y\")"))
        .await
        .unwrap();
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{}", key.key.record.id));
    for page in ["", "/activity", "/compromised", "/report", "/rotate"] {
        let text = owner.page(&format!("{base}{page}")).await;
        assert!(!text.contains("<script>alert"), "{page}");
        assert!(text.contains("&#60;script&#62;alert"), "{page}: {text}");
    }
    let all = owner.page(&console.path("activity")).await;
    assert!(!all.contains("<script>alert") && all.contains("&#60;script&#62;alert"));
    let csv = owner.get(&format!("{base}/activity/export?format=csv")).await;
    assert!(csv.text.contains("\"'=HYPERLINK("), "{}", csv.text);
    let disposition = csv.headers["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment; filename=\"activity-") && disposition.ends_with(".csv\""));
    let clients = owner
        .get(&console.path("activity/export?of=clients&format=csv"))
        .await;
    assert!(clients.text.contains("\"'=HYPERLINK("), "{}", clients.text);
    let lines = owner
        .get(&format!(
            "{base}/activity/export?format=jsonl&client=%3Cscript%3Ealert(1)%3C/script%3E"
        ))
        .await;
    assert_eq!(lines.text.lines().count(), 1, "{}", lines.text);
    assert!(
        lines.text.contains("\"address\":\"203.0.113.1\""),
        "{}",
        lines.text
    );
}

async fn filters_narrow_pages_follow_each_other_and_new_addresses_are_marked(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let engine = &console.test.engine;
    let key = console.test.full_key(&console.organization).await;
    let value = key.value.reveal();
    use_key(engine, value, READ, (1, "vi-sdk/1")).await.unwrap();
    console.test.clock.advance_ms(HOUR_MS);
    use_key(engine, value, READ, (2, "vi-sdk/1")).await.unwrap();
    for _ in 0..25 {
        let refused = use_key(engine, value, MEMBERS, (1, "prober/1")).await;
        assert_eq!(refused, Err(Code::OperationNotPermitted));
    }
    let mut owner = console.owner().await;
    let base = console.path(&format!("settings/secret-keys/{}/activity", key.key.record.id));
    let all = owner.page(&base).await;
    assert_eq!(all.matches(">New address<").count(), 1, "{all}");
    assert_eq!(all.matches(">First use<").count(), 1, "{all}");
    assert!(all.contains("Refusals rise: 25 requests refused"), "{all}");
    assert!(
        all.contains("role=\"img\" aria-label=\"Requests with this key a day"),
        "{all}"
    );
    let rows = |page: &str| page.matches("data-label=\"Operation\"").count();
    for (query, count) in [
        ("", 3),
        ("?outcome=refused", 1),
        ("?outcome=operation_not_permitted", 1),
        ("?outcome=key_expired", 0),
        ("?operation=dataset.read", 2),
        ("?address=203.0.113.2", 1),
        ("?client=vi-sdk/1", 2),
        ("?secret=1", 3),
        ("?secret=0", 0),
        ("?from=2020-01-01&to=2020-01-02", 0),
    ] {
        let page = owner.page(&format!("{base}{query}")).await;
        assert_eq!(rows(&page), count, "{query}");
        let export = owner.get(&format!("{base}/export{query}")).await;
        assert_eq!(export.text.lines().count(), count + 1, "{query}");
    }
    for bad in ["outcome=fine", "from=2027-01-01&to=2026-01-01", "secret=x"] {
        let answer = owner.get(&format!("{base}?{bad}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        assert!(answer.text.contains("role=\"alert\""), "{bad}");
    }
    // More than a page has.
    for hour in 0..70_u8 {
        console.test.clock.advance_ms(HOUR_MS / 12);
        use_key(engine, value, READ, (3, &format!("batch/{hour}")))
            .await
            .unwrap();
    }
    let mut owner = console.owner().await;
    let first = owner.page(&base).await;
    let next = between(&first, "rel=\"next\"", ">").map(|_| ());
    assert!(next.is_some(), "{first}");
    let link = first
        .split("href=\"")
        .filter_map(|rest| rest.split_once('"'))
        .map(|(link, _)| link)
        .find(|link| link.contains("cursor="))
        .unwrap()
        .replace("&#38;", "&");
    let second = owner.page(&link).await;
    assert_eq!((rows(&first), rows(&second)), (60, 13));
    let whole = owner.get(&format!("{base}/export")).await;
    assert_eq!(whole.text.lines().count(), 74);
    let strange = owner.page(&format!("{base}?cursor=abc")).await;
    assert_eq!(rows(&strange), 60);
}

async fn the_organization_sees_its_busiest_keys_refusals_and_new_addresses(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let engine = &console.test.engine;
    let mut owner = console.owner().await;
    let path = console.path("activity");
    assert!(owner.page(&path).await.contains("No requests yet"));
    let key = console.test.full_key(&console.organization).await;
    let value = key.value.reveal();
    for last in 1..4 {
        console.test.clock.advance_ms(1_000);
        use_key(engine, value, READ, (last, "vi-sdk/1")).await.unwrap();
    }
    let _ = use_key(engine, value, MEMBERS, (1, "vi-sdk/1")).await;
    for span in [1, 7, 30, 90, 400] {
        let page = owner.page(&format!("{path}?span={span}")).await;
        let link = format!(
            "/settings/secret-keys/{}/activity\">A key of a test",
            key.key.record.id
        );
        assert!(page.contains(&link), "{page}");
        assert!(page.contains("Refused: operation not permitted"), "{page}");
        assert_eq!(page.matches(">New address<").count(), 2, "{page}");
        assert!(page.contains("with all keys"), "{page}");
    }
    let csv = owner.get(&format!("{path}/export?span=1")).await;
    assert!(
        csv.text.starts_with("at,accepted,refused") && csv.text.contains(",3,1,"),
        "{}",
        csv.text
    );
}

on_both_databases!(
    what_a_client_calls_itself_is_neither_markup_nor_a_formula,
    filters_narrow_pages_follow_each_other_and_new_addresses_are_marked,
    the_organization_sees_its_busiest_keys_refusals_and_new_addresses,
);
