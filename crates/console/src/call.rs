//! What a handler gets beside who visits: the site, the request, its path, its query and its form.

use keyward_core::secret::{Secret, SessionKind};
use keyward_core::time::Timestamp;
use keyward_engine::Engine;
use keyward_engine::context::Context;
use keyward_http::request::RequestInfo;
use keyward_http::site::SharedSite;

use crate::values::Values;

/// One request for a page, or one form.
pub(crate) struct Call {
    /// The site.
    pub(crate) site: SharedSite,
    /// Its id, address and client.
    pub(crate) info: RequestInfo,
    /// Who acts, for the trail.
    pub(crate) context: Context,
    /// The query.
    pub(crate) query: Values,
    /// The form; empty for a page that is only looked at.
    pub(crate) form: Values,
    /// The session's token that the request brought, whatever became of the session.
    pub(crate) session_token: Option<Secret<SessionKind>>,
    /// The path as it was asked for.
    pub(crate) asked: String,
    pub(crate) path: Vec<(String, String)>,
}

impl Call {
    /// A path parameter, decoded; empty if the route has none of that name.
    pub(crate) fn path(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.site.engine
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.site.engine.now()
    }
}
