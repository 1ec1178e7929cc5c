//! List and show management tokens, as their owners see them: never a text, never a digest.

use keyward_core::ids::{OrganizationId, TokenId};
use keyward_core::management_token::Token;

use crate::Engine;
use crate::error::EngineError;
use crate::show_keys::Page;

impl Engine {
    /// One management token of an organization.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn show_token(&self, organization: &OrganizationId, id: TokenId) -> Result<Token, EngineError> {
        let found = self.inner.store.find_token(organization, id).await?;
        found.ok_or(EngineError::NotFound("management token"))
    }

    /// Management tokens of an organization, after a position, in the order of their ids.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list_tokens(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: u32,
    ) -> Result<Page<Token>, EngineError> {
        let rows = self
            .inner
            .store
            .list_tokens(organization, after, i64::from(limit) + 1)
            .await?;
        Ok(Page::cut(rows, limit, |token| token.record.id.to_string()))
    }
}
