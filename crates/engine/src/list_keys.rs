//! List the keys of an organization: filtered, sorted, page by page.

use std::collections::HashMap;

use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::record::Key;
use keyward_store::key_list::{KeyQuery, Place};

use crate::Engine;
use crate::error::EngineError;
use crate::show_keys::Page;

/// Which page of which list.
#[derive(Debug, Clone, Copy)]
pub struct KeyPage<'a> {
    /// Which keys.
    pub filter: &'a KeyFilter,
    /// In which order.
    pub sort: KeySort,
    /// In which direction.
    pub direction: Direction,
    /// The position after which it begins; empty for the first page.
    pub after: &'a str,
    /// At most so many.
    pub limit: u32,
}

impl Engine {
    /// A page of the keys that a filter means.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] without the organization, [`EngineError::Invalid`] for a position of another order.
    pub async fn find_keys(
        &self,
        organization: &OrganizationId,
        page: &KeyPage<'_>,
    ) -> Result<Page<Key>, EngineError> {
        // An organization that does not exist is said to be none, not to be without keys.
        self.show_organization(organization).await?;
        let after = match page.after {
            "" => None,
            position => Some(read_position(page, position).ok_or_else(other_order)?),
        };
        if page.sort == KeySort::LastUsed || page.filter.unused_since.is_some() {
            // Under load uses reach the database's tables later than they are counted.
            self.settle_usage().await?;
        }
        let query = KeyQuery {
            filter: page.filter,
            sort: page.sort,
            direction: page.direction,
            after: after.as_ref(),
            limit: i64::from(page.limit) + 1,
            now: self.now(),
        };
        let rows = self.inner.store.query_keys(organization, &query).await?;
        let cut = Page::cut(rows, page.limit, |placed| write_position(page, &placed.place));
        Ok(Page {
            items: cut.items.into_iter().map(|placed| placed.key).collect(),
            next: cut.next,
        })
    }
}

impl Engine {
    /// Keys of an organization in the order of these ids; one that is not there any more is left out.
    pub(crate) async fn keys_in_order(
        &self,
        organization: &OrganizationId,
        ids: &[KeyId],
    ) -> Result<Vec<Key>, EngineError> {
        if ids.is_empty() {
            // An empty filter means every key.
            return Ok(Vec::new());
        }
        let filter = KeyFilter {
            ids: ids.to_vec(),
            ..KeyFilter::default()
        };
        let query = KeyQuery {
            filter: &filter,
            sort: KeySort::Created,
            direction: Direction::Ascending,
            after: None,
            limit: i64::try_from(ids.len()).unwrap_or(i64::MAX),
            now: self.now(),
        };
        let found = self.inner.store.query_keys(organization, &query).await?;
        let mut keys: HashMap<KeyId, Key> = found
            .into_iter()
            .map(|placed| (placed.key.record.id, placed.key))
            .collect();
        Ok(ids.iter().filter_map(|id| keys.remove(id)).collect())
    }
}

/// `created+1767225600000.0123456789abcdef`: the order, the value and the key.
fn write_position(page: &KeyPage<'_>, place: &Place) -> String {
    format!("{}{}.{}", order_of(page), place.value, place.id)
}

fn read_position(page: &KeyPage<'_>, text: &str) -> Option<Place> {
    let (value, id) = text.strip_prefix(&order_of(page))?.split_once('.')?;
    Some(Place {
        value: value.parse().ok()?,
        id: id.parse::<KeyId>().ok()?,
    })
}

fn order_of(page: &KeyPage<'_>) -> String {
    let direction = match page.direction {
        Direction::Ascending => '+',
        Direction::Descending => '-',
    };
    format!("{}{direction}", page.sort.name())
}

fn other_order() -> EngineError {
    EngineError::Invalid(vec![keyward_core::field::FieldProblem {
        field: "cursor".to_owned(),
        message: "belongs to a list in another order; begin at its first page".to_owned(),
    }])
}
