//! What a list of keys is shown with beside the keys: how many there are of which kind, who made them, which are being rotated,
//! and what people are called.
//!
//! Counting reads every key of the organization, so whoever asks first asks whether there are few. Creators are found one
//! after the other along their index, which costs as much as there are creators, not keys.

use keyward_core::environment::Environment;
use keyward_core::ids::{KeyId, OrganizationId, PersonId};
use keyward_core::record::Actor;
use keyward_core::rotation::DueStatus;
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::backend::Store;
use crate::error::StoreError;
use crate::uses::rows_of_binds;

const COUNT_UP_TO: &str =
    "SELECT COUNT(*) FROM (SELECT 1 AS one FROM secret_key WHERE organization_id = $1 LIMIT $2) AS counted";
/// Of the keys that are not deleted; an expired key is never due.
const BY_KIND: &str = "SELECT COALESCE(k.environment, ''), COUNT(*), \
    CAST(SUM(CASE WHEN (k.state = 'paused' OR k.expires_at IS NULL OR k.expires_at > $2) \
        AND k.rotation_due_at >= $3 AND k.rotation_due_at < $4 THEN 1 ELSE 0 END) AS BIGINT), \
    CAST(SUM(CASE WHEN (k.state = 'paused' OR k.expires_at IS NULL OR k.expires_at > $2) \
        AND k.rotation_due_at < $3 THEN 1 ELSE 0 END) AS BIGINT), \
    CAST(SUM(CASE WHEN COALESCE(u.last_used_at, k.created_at) < $5 THEN 1 ELSE 0 END) AS BIGINT), \
    CAST(SUM(CASE WHEN COALESCE(u.last_used_at, k.created_at) < $6 THEN 1 ELSE 0 END) AS BIGINT) \
    FROM secret_key k LEFT JOIN key_use u ON u.key_id = k.id \
    WHERE k.organization_id = $1 AND k.state <> 'deleted' GROUP BY COALESCE(k.environment, '')";
/// From each creator to the next one; a plain DISTINCT would read the whole index.
const CREATORS: &str = "WITH RECURSIVE creator (name) AS (\
    SELECT MIN(created_by) FROM secret_key WHERE organization_id = $1 UNION ALL \
    SELECT (SELECT MIN(k.created_by) FROM secret_key k WHERE k.organization_id = $1 AND k.created_by > creator.name) \
    FROM creator WHERE creator.name IS NOT NULL) \
    SELECT name FROM creator WHERE name IS NOT NULL LIMIT $2";
const ROTATING: &str = "SELECT DISTINCT s.key_id FROM secret s JOIN secret_key k ON k.id = s.key_id \
    WHERE k.organization_id = $1 AND s.life IN ('until', 'pending') AND s.valid_until > $2 AND s.key_id IN ";
/// An id can be typed into an address: whoever never had to do with the organization is nobody here.
const PEOPLE: &str = "SELECT p.id, p.email, m.role IS NOT NULL FROM person p \
    LEFT JOIN membership m ON m.person_id = p.id AND m.organization_id = $1 WHERE (m.role IS NOT NULL \
        OR EXISTS (SELECT 1 FROM audit_entry a WHERE a.chain = $1 AND a.actor = 'person/' || p.id) \
        OR EXISTS (SELECT 1 FROM audit_entry a WHERE a.chain = $1 AND a.target = 'person/' || p.id)) AND p.id IN ";

/// How many keys there are of which kind; deleted ones are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyCounts {
    /// All of them.
    pub keys: i64,
    /// By environment; `None` are those without one.
    pub environments: Vec<(Option<Environment>, i64)>,
    /// Those whose rotation is due soon.
    pub due_soon: i64,
    /// Those whose rotation is due or overdue.
    pub due: i64,
    /// Those not used since each of the moments that were asked for.
    pub unused: [i64; 2],
}

/// A person as they are named beside what they made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPerson {
    /// Who.
    pub person_id: PersonId,
    /// Their address.
    pub email: String,
    /// Whether they belong to the organization now.
    pub is_member: bool,
}

impl Store {
    /// How many keys an organization has, deleted ones included; no more than `most` are counted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_keys_up_to(
        &self,
        organization: &OrganizationId,
        most: i64,
    ) -> Result<i64, StoreError> {
        Ok(on_read!(self, on => sqlx::query_scalar::<_, i64>(COUNT_UP_TO)
            .bind(organization.as_str()).bind(most).fetch_one(on).await)?)
    }

    /// How many keys there are of which kind at `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_keys_by_kind(
        &self,
        organization: &OrganizationId,
        now: Timestamp,
        unused_since: [Timestamp; 2],
    ) -> Result<KeyCounts, StoreError> {
        let (today, soon) = DueStatus::DueSoon.dates(now);
        let bound = |moment: Option<Timestamp>| moment.unwrap_or(now).as_unix_ms();
        let [first, second] = unused_since;
        let rows = on_read!(self, on => sqlx::query_as::<_, (String, i64, i64, i64, i64, i64)>(BY_KIND)
            .bind(organization.as_str())
            .bind(now.as_unix_ms())
            .bind(bound(today))
            .bind(bound(soon))
            .bind(first.as_unix_ms())
            .bind(second.as_unix_ms())
            .fetch_all(on)
            .await)?;
        let mut counts = KeyCounts::default();
        for (environment, keys, due_soon, due, unused_first, unused_second) in rows {
            counts.keys += keys;
            counts.due_soon += due_soon;
            counts.due += due;
            let [first, second] = &mut counts.unused;
            *first += unused_first;
            *second += unused_second;
            counts
                .environments
                .push((Environment::from_name(&environment), keys));
        }
        Ok(counts)
    }

    /// Who made keys of an organization, at most so many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_creators(
        &self,
        organization: &OrganizationId,
        limit: i64,
    ) -> Result<Vec<Actor>, StoreError> {
        let names = on_read!(self, on => sqlx::query_scalar::<_, String>(CREATORS)
            .bind(organization.as_str()).bind(limit).fetch_all(on).await)?;
        let actors = names.into_iter().map(|name| {
            name.parse()
                .map_err(|_| StoreError::Unreadable { what: "creator" })
        });
        actors.collect()
    }

    /// Those of these keys that have a secret beside the current one which may still be accepted at `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_rotating(
        &self,
        organization: &OrganizationId,
        keys: &[KeyId],
        now: Timestamp,
    ) -> Result<Vec<KeyId>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("{ROTATING}{}", rows_of_binds(1, keys.len(), 3));
        let ids = on_read!(self, on => {
            let query = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql))
                .bind(organization.as_str()).bind(now.as_unix_ms());
            keys.iter().fold(query, |query, key| query.bind(key.as_str())).fetch_all(on).await
        })?;
        let read = ids
            .into_iter()
            .map(|id| id.parse().map_err(|_| StoreError::Unreadable { what: "key id" }));
        read.collect()
    }

    /// What these people are called, seen from an organization. Whoever does not exist is left out, and so is whoever is no
    /// member and has no entry by them or about them in its trail.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn name_people(
        &self,
        organization: &OrganizationId,
        people: &[PersonId],
    ) -> Result<Vec<NamedPerson>, StoreError> {
        if people.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("{PEOPLE}{}", rows_of_binds(1, people.len(), 2));
        let rows = on_read!(self, on => {
            let query = sqlx::query_as::<_, (String, String, bool)>(AssertSqlSafe(sql)).bind(organization.as_str());
            people.iter().fold(query, |query, person| query.bind(person.as_str())).fetch_all(on).await
        })?;
        let read = rows.into_iter().map(|(id, email, is_member)| {
            let person_id = id.parse();
            Ok(NamedPerson {
                person_id: person_id.map_err(|_| StoreError::Unreadable { what: "person id" })?,
                email,
                is_member,
            })
        });
        read.collect()
    }
}
