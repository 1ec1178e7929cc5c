//! Keys found by a filter, sorted, page by page.
//!
//! The filter is turned into SQL here and nowhere else; every value is bound. A page is found first, by its ids alone, and
//! then read. A place in a list is the value that the list is sorted by and the id of the last key before it; for names it is
//! the id alone, because a name may be long.
//!
//! Each order goes along an index that also holds what lists are narrowed by (`migrations/0010_key_lists.sql`). Last uses stand in a
//! table of their own, so a list sorted by them has two parts: the keys that were used, and those that never were, by their creation.

use std::fmt::Write as _;

use keyward_core::environment::Environment;
use keyward_core::ids::{KeyId, OrganizationId};
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::record::{Key, ShownState};
use keyward_core::rotation::DueStatus;
use keyward_core::scope::ScopeSet;
use keyward_core::time::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::backend::Store;
use crate::error::StoreError;
use crate::keys::{COLUMNS, KeyRow, group};

/// As the index has it: `search` begins with the name, and may be longer than an index takes.
const NAME_ORDER: &str = "SUBSTR(k.search, 1, 100)";

/// Keys that were never used are placed so far before every use, in the order of their creation.
const NEVER_USED: i64 = 1 << 62;
/// So many of the last uses are looked at first, in their order. Most filters find a page among them; one that means few keys finds
/// it sooner by looking at those keys.
const PROBE: i64 = 1_000;

/// A page of a list.
#[derive(Debug, Clone)]
pub struct KeyQuery<'a> {
    /// Which keys.
    pub filter: &'a KeyFilter,
    /// In which order.
    pub sort: KeySort,
    /// In which direction.
    pub direction: Direction,
    /// After which place.
    pub after: Option<&'a Place>,
    /// At most so many.
    pub limit: i64,
    /// The moment that states are told at.
    pub now: Timestamp,
}

/// Where a page begins: after this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the list is sorted by, where that is a number.
    pub value: i64,
    /// The key.
    pub id: KeyId,
}

/// A key in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedKey {
    /// The key.
    pub key: Key,
    /// Where it stands.
    pub place: Place,
}

#[derive(sqlx::FromRow)]
struct PlaceRow {
    id: String,
    sorted_by: i64,
}

#[derive(sqlx::FromRow)]
struct PlacedRow {
    sorted_by: i64,
    #[sqlx(flatten)]
    key: KeyRow,
}

/// Runs a statement that was put together.
macro_rules! fetch {
    ($on:ident, $row:ty, $sql:ident, $binds:ident) => {{
        let mut prepared = sqlx::query_as::<_, $row>(AssertSqlSafe($sql));
        for bind in $binds {
            prepared = match bind {
                Bind::Text(text) => prepared.bind(text),
                Bind::Number(number) => prepared.bind(number),
            };
        }
        prepared.fetch_all($on).await
    }};
}

/// What one statement reads of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// Of the keys that were used, those that are among the next uses.
    NextUses,
    /// The keys that were used.
    Used,
    /// The keys that never were.
    Never,
}

enum Bind {
    Text(String),
    Number(i64),
}

/// SQL that is being put together, with its binds.
struct Text {
    sql: String,
    binds: Vec<Bind>,
}

impl Text {
    fn bind(&mut self, bind: Bind) -> String {
        self.binds.push(bind);
        format!("${}", self.binds.len())
    }

    fn text(&mut self, value: &str) -> String {
        self.bind(Bind::Text(value.to_owned()))
    }

    fn moment(&mut self, value: Timestamp) -> String {
        self.bind(Bind::Number(value.as_unix_ms()))
    }

    fn and(&mut self, condition: &str) {
        // Writing into a text does not fail.
        let _ = write!(self.sql, " AND ({condition})");
    }

    /// One of several conditions; none at all narrows nothing.
    fn and_any(&mut self, conditions: &[String]) {
        if !conditions.is_empty() {
            self.and(&conditions.join(" OR "));
        }
    }
}

impl Store {
    /// Keys of an organization, found and sorted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn query_keys(
        &self,
        organization: &OrganizationId,
        query: &KeyQuery<'_>,
    ) -> Result<Vec<PlacedKey>, StoreError> {
        let rows: Vec<PlacedRow> = self.fetch_list(organization, query, whole_keys).await?;
        rows.into_iter()
            .map(|row| {
                let value = row.sorted_by;
                let key = group(vec![row.key])?.key;
                let place = Place {
                    value,
                    id: key.record.id,
                };
                Ok(PlacedKey { key, place })
            })
            .collect()
    }

    /// As [`Store::query_keys`], where only which keys they are matters: a row that can't be read is among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn query_key_places(
        &self,
        organization: &OrganizationId,
        query: &KeyQuery<'_>,
    ) -> Result<Vec<Place>, StoreError> {
        let rows: Vec<PlaceRow> = self.fetch_list(organization, query, |found, _| found).await?;
        let read = rows.into_iter().map(|row| {
            let id = row.id.parse();
            let id = id.map_err(|_| StoreError::Unreadable { what: "key id" })?;
            Ok(Place {
                value: row.sorted_by,
                id,
            })
        });
        read.collect()
    }

    /// Rows of the parts of a list, one part after the other; `finish` makes the statement that finds them one that reads them.
    async fn fetch_list<R>(
        &self,
        organization: &OrganizationId,
        query: &KeyQuery<'_>,
        finish: fn(Text, &KeyQuery<'_>) -> Text,
    ) -> Result<Vec<R>, StoreError>
    where
        R: Send + Unpin + for<'r> sqlx::FromRow<'r, SqliteRow> + for<'r> sqlx::FromRow<'r, PgRow>,
    {
        let mut found: Vec<R> = Vec::new();
        for (part, after) in parts_of(query) {
            let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
            let query = KeyQuery {
                after,
                limit: query.limit.saturating_sub(count),
                ..query.clone()
            };
            if query.limit <= 0 {
                break;
            }
            if part == Part::Used {
                let next: Vec<R> = self
                    .fetch_part(finish(places(organization, &query, Part::NextUses), &query))
                    .await?;
                let is_full = i64::try_from(next.len()).is_ok_and(|count| count >= query.limit);
                if is_full || self.count_next_uses(organization, &query).await? < PROBE {
                    found.extend(next);
                    continue;
                }
            }
            let rows: Vec<R> = self
                .fetch_part(finish(places(organization, &query, part), &query))
                .await?;
            found.extend(rows);
        }
        Ok(found)
    }

    /// How many uses the next ones are, up to [`PROBE`]: if there are fewer, they are all of them.
    async fn count_next_uses(
        &self,
        organization: &OrganizationId,
        query: &KeyQuery<'_>,
    ) -> Result<i64, StoreError> {
        let mut text = Text {
            sql: String::new(),
            binds: Vec::new(),
        };
        let own = text.text(organization.as_str());
        let next = next_uses(&mut text, &own, query);
        let Text { binds, .. } = text;
        let sql = format!("SELECT COUNT(*) FROM ({next}) c");
        let counted: Vec<(i64,)> = on_read!(self, on => fetch!(on, (i64,), sql, binds))?;
        Ok(counted.first().map_or(0, |(count,)| *count))
    }

    async fn fetch_part<R>(&self, Text { sql, binds }: Text) -> Result<Vec<R>, StoreError>
    where
        R: Send + Unpin + for<'r> sqlx::FromRow<'r, SqliteRow> + for<'r> sqlx::FromRow<'r, PgRow>,
    {
        Ok(on_read!(self, on => fetch!(on, R, sql, binds))?)
    }
}

/// The parts of a list from a place on, in their order.
fn parts_of<'a>(query: &KeyQuery<'a>) -> Vec<(Part, Option<&'a Place>)> {
    if query.sort != KeySort::LastUsed {
        return vec![(Part::Whole, query.after)];
    }
    let is_among_used = query.after.is_none_or(|place| place.value >= 0);
    match (query.direction, query.after) {
        (Direction::Descending, after) if is_among_used => vec![(Part::Used, after), (Part::Never, None)],
        (Direction::Descending, after) => vec![(Part::Never, after)],
        (Direction::Ascending, Some(place)) if is_among_used => vec![(Part::Used, Some(place))],
        (Direction::Ascending, after) => vec![(Part::Never, after), (Part::Used, None)],
    }
}

/// The statement that finds a page of a part: id and place of each key, in order.
fn places(organization: &OrganizationId, query: &KeyQuery<'_>, part: Part) -> Text {
    let mut text = Text {
        sql: String::new(),
        binds: Vec::new(),
    };
    let own = text.text(organization.as_str());
    let (sorted_by, value) = sorted_by(query, part);
    let (order, beyond) = order_of(query.direction);
    let after = query.after.filter(|_| part != Part::NextUses);
    let place = after.map(|place| {
        let value = match part {
            // A name's place is its key's id alone; PostgreSQL takes no value that is not asked for.
            _ if query.sort == KeySort::Name => String::new(),
            Part::Never => text.bind(Bind::Number(place.value.saturating_add(NEVER_USED))),
            Part::Whole | Part::NextUses | Part::Used => text.bind(Bind::Number(place.value)),
        };
        (value, text.text(place.id.as_str()))
    });
    let source = match part {
        Part::Whole => "secret_key k LEFT JOIN key_use u ON u.key_id = k.id WHERE TRUE".to_owned(),
        // Keys first: the filter leaves few of them, or else they had been found among the next uses.
        Part::Used => "secret_key k CROSS JOIN key_use u WHERE u.key_id = k.id".to_owned(),
        Part::Never => {
            "secret_key k WHERE NOT EXISTS (SELECT 1 FROM key_use u WHERE u.key_id = k.id)".to_owned()
        }
        Part::NextUses => {
            let next = next_uses(&mut text, &own, query);
            format!("({next}) u CROSS JOIN secret_key k WHERE k.id = u.key_id")
        }
    };
    // Each of the next uses is looked up by its key's id. SQLite would take any index that begins with the organization instead.
    let organization_column = match part {
        Part::NextUses => "k.organization_id || ''",
        Part::Whole | Part::Used | Part::Never => "k.organization_id",
    };
    let _ = write!(
        text.sql,
        "SELECT k.id AS id, {sorted_by} AS sort_key, CAST({value} AS BIGINT) AS sorted_by FROM {source} \
         AND {organization_column} = {own}"
    );
    narrow(&mut text, query.filter, query.now, part);
    if let Some((value, id)) = place {
        let condition = if query.sort == KeySort::Name {
            let name = format!(
                "SELECT SUBSTR(p.search, 1, 100) FROM secret_key p WHERE p.organization_id = {own} AND p.id = {id}"
            );
            // The first comparison says nothing new; with it SQLite begins at the place instead of at the first key.
            format!("{sorted_by} {beyond}= ({name}) AND ({sorted_by}, k.id) {beyond} (({name}), {id})")
        } else {
            format!("({sorted_by}, k.id) {beyond} ({value}, {id})")
        };
        text.and(&condition);
    }
    let limit = text.bind(Bind::Number(query.limit));
    let _ = write!(
        text.sql,
        " ORDER BY {sorted_by} {order}, k.id {order} LIMIT {limit}"
    );
    text
}

/// The statement of the uses that come next in an order, at most [`PROBE`], whosever they are.
fn next_uses(text: &mut Text, own: &str, query: &KeyQuery<'_>) -> String {
    let (order, beyond) = order_of(query.direction);
    let begin = query.after.map(|place| {
        let value = text.bind(Bind::Number(place.value));
        let id = text.text(place.id.as_str());
        format!(" AND (n.last_used_at, n.key_id) {beyond} ({value}, {id})")
    });
    let unused = query.filter.unused_since.map(|since| {
        let since = text.moment(since);
        format!(" AND n.last_used_at < {since}")
    });
    format!(
        "SELECT n.key_id, n.last_used_at FROM key_use n WHERE n.organization_id = {own}{}{} \
         ORDER BY n.last_used_at {order}, n.key_id {order} LIMIT {PROBE}",
        begin.unwrap_or_default(),
        unused.unwrap_or_default()
    )
}

/// The page with its keys read whole.
fn whole_keys(found: Text, query: &KeyQuery<'_>) -> Text {
    let (order, _) = order_of(query.direction);
    Text {
        sql: format!(
            "SELECT p.sorted_by, {COLUMNS} FROM ({}) p \
             JOIN secret_key k ON k.id = p.id JOIN organization o ON o.id = k.organization_id \
             LEFT JOIN secret s ON s.key_id = k.id AND s.life = 'current' ORDER BY p.sort_key {order}, k.id {order}",
            found.sql
        ),
        binds: found.binds,
    }
}

/// What a part of a list is sorted by, and what of that is its place as a number.
fn sorted_by(query: &KeyQuery<'_>, part: Part) -> (String, String) {
    let column = match (query.sort, part) {
        (KeySort::Name, _) => return (NAME_ORDER.to_owned(), "0".to_owned()),
        (KeySort::LastUsed, Part::Never) => {
            let sorted = along_index(query, "k.created_at");
            let value = format!("k.created_at - {NEVER_USED}");
            return (sorted, value);
        }
        (KeySort::LastUsed, _) => return ("u.last_used_at".to_owned(), "u.last_used_at".to_owned()),
        (KeySort::Created, _) => "k.created_at",
        (KeySort::Expires, _) => "COALESCE(k.expires_at, 9223372036854775807)",
        (KeySort::Due, _) => "COALESCE(k.rotation_due_at, 9223372036854775807)",
    };
    (along_index(query, column), column.to_owned())
}

/// The column to sort by. Where a text is searched for, no index may be taken for its order: the one of names is to be read.
fn along_index(query: &KeyQuery<'_>, column: &str) -> String {
    if query.filter.text.is_some() {
        format!("({column} + 0)")
    } else {
        column.to_owned()
    }
}

/// The direction's word, and what lies beyond a place.
const fn order_of(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Ascending => ("ASC", ">"),
        Direction::Descending => ("DESC", "<"),
    }
}

fn narrow(text: &mut Text, filter: &KeyFilter, now: Timestamp, part: Part) {
    if !filter.ids.is_empty() {
        // Not one comparison after the other, of which SQLite takes no thousand.
        let ids: Vec<String> = filter.ids.iter().map(|id| text.text(id.as_str())).collect();
        text.and(&format!("k.id IN ({})", ids.join(", ")));
    }
    let is_any_but_deleted = filter.states.len() == 3 && !filter.states.contains(&ShownState::Deleted);
    let states: &[ShownState] = if is_any_but_deleted {
        text.and("k.state <> 'deleted'");
        &[]
    } else {
        &filter.states
    };
    let states: Vec<String> = states
        .iter()
        .map(|state| match state {
            ShownState::Paused => "k.state = 'paused'".to_owned(),
            ShownState::Deleted => "k.state = 'deleted'".to_owned(),
            ShownState::Active => format!("k.state = 'active' AND {}", unexpired(text, now)),
            ShownState::Expired => format!("k.state = 'active' AND k.expires_at <= {}", text.moment(now)),
        })
        .collect();
    text.and_any(&states);
    let environments: Vec<String> = filter
        .environments
        .iter()
        .map(|environment| match environment {
            None => "k.environment IS NULL".to_owned(),
            Some(environment) => format!("k.environment = {}", text.text(Environment::name(*environment))),
        })
        .collect();
    text.and_any(&environments);
    if !filter.scopes.is_empty() {
        let wanted: ScopeSet = filter.scopes.iter().copied().collect();
        let holding: Vec<String> = (0..=ScopeSet::ALL.bits())
            .filter(|bits| ScopeSet::from_bits(*bits).is_some_and(|set| set.contains_all(wanted)))
            .map(|bits| bits.to_string())
            .collect();
        text.and(&format!("k.scopes IN ({})", holding.join(", ")));
    }
    let levels: Vec<String> = filter
        .levels
        .iter()
        .map(|level| format!("k.level = {}", text.text(level.name())))
        .collect();
    text.and_any(&levels);
    let creators: Vec<String> = filter
        .creators
        .iter()
        .map(|creator| format!("k.created_by = {}", text.text(&creator.to_string())))
        .collect();
    text.and_any(&creators);
    let tags: Vec<String> = filter
        .tags
        .iter()
        .map(|tag| {
            // A list of quoted words; the alphabet of tags holds no quote.
            let pattern = format!("%\"{}\"%", escaped(tag.as_str()));
            format!("k.tags LIKE {} ESCAPE '!'", text.text(&pattern))
        })
        .collect();
    text.and_any(&tags);
    let due: Vec<String> = filter
        .due
        .iter()
        .map(|status| due_condition(text, *status, now))
        .collect();
    text.and_any(&due);
    if let Some(since) = filter.unused_since {
        let since = text.moment(since);
        text.and(&match part {
            Part::Whole => format!("COALESCE(u.last_used_at, k.created_at) < {since}"),
            Part::NextUses | Part::Used => format!("u.last_used_at < {since}"),
            Part::Never => format!("k.created_at < {since}"),
        });
    }
    if let Some(wanted) = &filter.text {
        let small = wanted.to_lowercase();
        let within = text.text(&format!("%{}%", escaped(&small)));
        let id = text.text(&small);
        // The first comparison is always true, and names the index to be read. What is longer than that has is looked at in its row.
        text.and(&format!(
            "{NAME_ORDER} >= '' AND ({NAME_ORDER} LIKE {within} ESCAPE '!' OR k.id = {id} \
             OR (LENGTH(k.search) > 100 AND k.search LIKE {within} ESCAPE '!'))"
        ));
    }
    if let Some(head) = &filter.hint_head {
        let (head, length) = (text.text(head), head.chars().count());
        // Not LIKE, which tells capitals apart on one database and not on the other.
        text.and(&of_current_hint(&format!("SUBSTR(h.hint, 1, {length}) = {head}")));
    }
    if let Some(tail) = &filter.hint_tail {
        let (tail, length) = (text.text(tail), tail.chars().count());
        text.and(&of_current_hint(&format!(
            "SUBSTR(h.hint, LENGTH(h.hint) - {length} + 1, {length}) = {tail}"
        )));
    }
}

fn of_current_hint(condition: &str) -> String {
    format!("EXISTS (SELECT 1 FROM secret h WHERE h.key_id = k.id AND h.life = 'current' AND {condition})")
}

fn unexpired(text: &mut Text, now: Timestamp) -> String {
    format!("(k.expires_at IS NULL OR k.expires_at > {})", text.moment(now))
}

/// An ended key is never due.
fn due_condition(text: &mut Text, status: DueStatus, now: Timestamp) -> String {
    let alive = format!(
        "(k.state = 'paused' OR (k.state = 'active' AND {}))",
        unexpired(text, now)
    );
    let (from, to) = status.dates(now);
    let mut dates = Vec::new();
    if let Some(from) = from {
        dates.push(format!("k.rotation_due_at >= {}", text.moment(from)));
    }
    if let Some(to) = to {
        dates.push(format!("k.rotation_due_at < {}", text.moment(to)));
    }
    let dates = dates.join(" AND ");
    if status == DueStatus::NotDue {
        format!("NOT {alive} OR k.rotation_due_at IS NULL OR ({dates})")
    } else {
        format!("{alive} AND {dates}")
    }
}

/// The text with what LIKE would read as a pattern taken literally.
fn escaped(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

#[cfg(test)]
mod tests {
    use keyward_testkit::engine::{Kind, Place as TestPlace};
    use keyward_testkit::on_both_databases;

    use super::*;
    use crate::keys::plan_of;

    /// The statement with its values written in, and its plan.
    async fn plan(place: &TestPlace, query: &KeyQuery<'_>) -> String {
        let organization = "org-1".parse().unwrap();
        let Text { mut sql, binds } = whole_keys(places(&organization, query, Part::Whole), query);
        for (at, bind) in binds.iter().enumerate().rev() {
            let value = match bind {
                Bind::Text(text) => format!("'{text}'"),
                Bind::Number(number) => number.to_string(),
            };
            sql = sql.replace(&format!("${}", at + 1), &value);
        }
        plan_of(place, &sql).await
    }

    async fn a_list_by_creation_or_name_goes_along_its_index(kind: Kind) {
        let place = TestPlace::new(kind);
        place.store().await.close().await;
        let filter = KeyFilter::default();
        let after = Place {
            value: 5,
            id: "0123456789abcdef".parse().unwrap(),
        };
        // What stands in a plan that begins at the place, on either database.
        for (sort, index, begins) in [
            (
                KeySort::Created,
                "secret_key_by_creation",
                ["AND (created_at,id)", "AND (ROW(created_at, id) "],
            ),
            (
                KeySort::Name,
                "secret_key_by_name",
                ["AND <expr>", "AND (substr(search, 1, 100) "],
            ),
        ] {
            for direction in [Direction::Ascending, Direction::Descending] {
                for after in [None, Some(&after)] {
                    let query = KeyQuery {
                        filter: &filter,
                        sort,
                        direction,
                        after,
                        limit: 5,
                        now: Timestamp::from_unix_ms(0),
                    };
                    let plan = plan(&place, &query).await;
                    assert!(plan.contains(index), "{sort:?} {direction:?}: {plan}");
                    assert_eq!(
                        after.is_some(),
                        begins.iter().any(|text| plan.contains(text)),
                        "the search begins at the place: {sort:?} {direction:?}: {plan}"
                    );
                }
            }
        }
    }

    on_both_databases!(a_list_by_creation_or_name_goes_along_its_index);
}
