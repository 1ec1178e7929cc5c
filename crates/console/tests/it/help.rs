//! Help within an organization: for every member, with the real values, and every link leads somewhere.

use std::collections::BTreeSet;

use http::StatusCode;
use keyward_api::problem::RequestCode;
use keyward_core::management_refusal::ManagementCode;
use keyward_core::refusal::Code;
use keyward_core::role::Role;
use keyward_testkit::engine::Kind;
use keyward_testkit::on_both_databases;

use crate::support::{PUBLIC_URL, TestConsole};

const TOPICS: [&str; 5] = ["", "/sdk", "/create", "/remove", "/errors"];

async fn a_member_reads_all_of_it_with_this_server_and_organization_filled_in(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut member = console.member("jo@example.com", Role::Member).await;
    for topic in TOPICS {
        let page = member.page(&console.path(&format!("settings/help{topic}"))).await;
        assert!(
            !page.contains("href=\"/org/org-1/settings/secret-keys"),
            "what is not theirs is not linked: {topic}"
        );
    }
    let page = member.page(&console.path("settings/help/sdk")).await;
    for told in [
        &format!("DATATURE_VI_API_ENDPOINT={PUBLIC_URL}\n"),
        "DATATURE_VI_ORGANIZATION_ID=org-1\n",
        "DATATURE_VI_SECRET_KEY=",
        "client.organizations.get().organization_id",
        "for dataset in client.datasets:",
        "vi-sdk==0.1.0b7",
        "vi.datature.com",
        "this server's page",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}

async fn every_code_is_told_with_its_remedy_and_can_be_linked_to(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let page = owner.page(&console.path("settings/help/errors")).await;
    let names = Code::ALL.iter().map(|code| code.name());
    let names = names.chain(ManagementCode::ALL.iter().map(|code| code.name()));
    for name in names.chain(RequestCode::ALL.iter().map(|code| code.name())) {
        assert_eq!(page.matches(&format!("id=\"{name}\"")).count(), 1, "{name}");
    }
}

async fn every_link_of_the_help_leads_to_a_page(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let paths: BTreeSet<&str> = keyward_console::route_table()
        .iter()
        .map(|row| row.path)
        .collect();
    for topic in TOPICS {
        let page = owner.page(&console.path(&format!("settings/help{topic}"))).await;
        for link in page.split("href=\"").skip(1) {
            let link = link.split(['"', '#']).next().unwrap();
            let is_help =
                link.starts_with("/help") || link.starts_with("/v1/") || link.starts_with("/console/");
            if link.is_empty() || is_help {
                continue;
            }
            let pattern = link.replace("/org/org-1", "/org/{organization}");
            assert!(
                paths.contains(pattern.as_str()) || !is_ours(&pattern),
                "{topic}: {link}"
            );
            if paths.contains(pattern.as_str()) {
                let status = owner.get(link).await.status;
                assert!(
                    status.is_success() || status == StatusCode::SEE_OTHER,
                    "{link}: {status}"
                );
            }
        }
    }
}

/// Whether a path is of the pages that this file's help is part of; others are looked at once they are there.
fn is_ours(pattern: &str) -> bool {
    pattern.contains("/settings/help") || pattern.contains("/audit") || pattern.starts_with("/account")
}

on_both_databases!(
    a_member_reads_all_of_it_with_this_server_and_organization_filled_in,
    every_code_is_told_with_its_remedy_and_can_be_linked_to,
    every_link_of_the_help_leads_to_a_page,
);
