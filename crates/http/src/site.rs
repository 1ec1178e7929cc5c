//! What every route shares: the engine, and how the outside sees this server.

use std::sync::Arc;

use ipnet::IpNet;
use keyward_core::ids::OrganizationId;
use keyward_engine::Engine;

/// Shared by all routes; one per server.
pub struct Site {
    /// The engine.
    pub engine: Engine,
    /// The only source of absolute addresses, without a final slash; never the `Host` header, which callers choose.
    pub public_url: String,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// How routes hold it.
pub type SharedSite = Arc<Site>;

impl Site {
    /// The page that explains a code.
    pub fn help_url(&self, code: &str) -> String {
        format!("{}/help/errors/{code}", self.public_url)
    }

    /// The Secret Keys page of an organization. The id is the caller's own claim, so that the address tells nothing.
    pub fn secret_keys_url(&self, organization: Option<&OrganizationId>) -> String {
        let id = organization.map_or("your-organization-id", OrganizationId::as_str);
        format!("{}/org/{id}/settings/secret-keys", self.public_url)
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Site({})", self.public_url)
    }
}
