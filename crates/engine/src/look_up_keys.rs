//! Look up: which key a pasted text is of, by its whole value, its first characters, or a hint.
//!
//! A whole value is known by the id in it; nothing is said of whether its secret is right. The text is kept nowhere.

use keyward_core::ids::OrganizationId;
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::key_text::KeyText;
use keyward_core::record::Key;
use keyward_store::key_list::KeyQuery;

use crate::Engine;
use crate::error::EngineError;

/// Most keys that one text finds.
const MAX_FOUND: i64 = 100;
/// A hint's head is the prefix, an underscore and six characters.
const HEAD_BODY: usize = 6;

impl Engine {
    /// The keys of an organization that a text means.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn look_up_keys(
        &self,
        organization: &OrganizationId,
        text: &str,
    ) -> Result<Vec<Key>, EngineError> {
        self.show_organization(organization).await?;
        let Some(filter) = self.filter_of(text.trim().trim_matches(['"', '\'', '`'])) else {
            return Ok(Vec::new());
        };
        let query = KeyQuery {
            filter: &filter,
            sort: KeySort::Created,
            direction: Direction::Descending,
            after: None,
            limit: MAX_FOUND,
            now: self.now(),
        };
        let found = self.inner.store.query_keys(organization, &query).await?;
        Ok(found.into_iter().map(|placed| placed.key).collect())
    }

    /// What a text means: a whole value by its id, the beginning of one by its head, a hint by its head and tail, or an id.
    fn filter_of(&self, text: &str) -> Option<KeyFilter> {
        let prefix = self.prefix();
        let ids = |id| KeyFilter {
            ids: vec![id],
            ..KeyFilter::default()
        };
        if let Ok(pasted) = KeyText::parse(text, prefix) {
            return Some(ids(pasted.id()));
        }
        let (begin, end) = text.split_once("...").unwrap_or((text, ""));
        let lead = format!("{}_", prefix.as_str());
        let head_length = lead.len() + HEAD_BODY;
        let head: String = begin.chars().take(head_length).collect();
        let is_head = head.starts_with(&lead) && head.chars().count() == head_length;
        if is_head || (begin.is_empty() && !end.is_empty()) {
            return Some(KeyFilter {
                hint_head: is_head.then_some(head),
                hint_tail: (!end.is_empty()).then(|| end.to_owned()),
                ..KeyFilter::default()
            });
        }
        text.to_lowercase().parse().ok().map(ids)
    }
}
