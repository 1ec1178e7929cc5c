//! Requests with secret keys, as applications make them: from an address, with a `User-Agent`.

use std::net::Ipv4Addr;

use keyward_core::address::CallerAddress;
use keyward_core::credentials::Credentials;
use keyward_core::decision::{OrganizationClaim, Purpose};
use keyward_core::key_text::KeyText;
use keyward_core::operation::Operation;
use keyward_core::refusal::Code;
use keyward_core::resource::{Resource, ResourceType};
use keyward_engine::Engine;
use keyward_engine::verify::VerifyQuestion;

/// Views datasets.
pub(crate) const READ: Purpose<'static> = Purpose::Perform {
    operation: Operation::DatasetRead,
    resource: Resource::Collection(ResourceType::Dataset),
};

/// Uses a key from 203.0.113.`last`.
pub(crate) async fn use_key(
    engine: &Engine,
    value: &str,
    purpose: Purpose<'_>,
    (last, client): (u8, &str),
) -> Result<(), Code> {
    let key = KeyText::parse(value, engine.prefix()).expect("the test's key is well formed");
    let question = VerifyQuestion {
        credentials: Credentials {
            key,
            organization: None,
        },
        claim: OrganizationClaim::NotAsked,
        purpose,
        address: CallerAddress::Known(Ipv4Addr::new(203, 0, 113, last).into()),
        client: engine.client_of(Some(client.as_bytes())),
    };
    let asked = engine.verify(&question, |_| ()).await;
    asked.map_err(|refusal| refusal.code())
}
