//! What is true of a key whose value may have leaked: whether it ended, what took its place, who used it, who still tries, who was told.
//!
//! Nothing of the guided flow is kept as progress: each visit reads how things stand, so that two people can work on it, and whoever comes
//! back sees what is done.

use keyward_core::audit_export::EntryLine;
use keyward_core::ids::KeyId;
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::management_right::ManagementRight;
use keyward_core::notice::NoticeKind;
use keyward_core::record::{Key, ShownState};
use keyward_core::refusal::Code;
use keyward_core::state::{DeleteReason, KeyState};
use keyward_core::time::{DAY_MS, Timestamp};
use keyward_core::usage::Outcome;
use keyward_engine::list_keys::KeyPage;
use keyward_engine::show_keys::ShownSecret;
use keyward_engine::show_usage::{MAX_DAYS, Span};
use keyward_store::StoreError;
use keyward_store::audit::AuditQuery;
use keyward_store::deliveries::{ContactRow, Delivery, DeliveryFilter, DeliveryStatus};
use keyward_store::usage_overview::KeyAddress;
use keyward_store::usage_queries::{HistoryFilter, OutcomeFilter};

use super::callers::Callers;
use crate::call::Call;
use crate::refused::Refused;
use crate::visit::Visit;
use crate::words::relative;

/// An address is called new for so long.
const NEW_MS: i64 = 7 * DAY_MS;
/// A key of the same name that is at most so much older than the end counts as its replacement.
const REPLACED_BEFORE_MS: i64 = 7 * DAY_MS;
/// Deliveries and entries that are read.
const DELIVERIES: u32 = 100;
const ENTRIES: u32 = 200;

/// How things stand.
pub(super) struct Leak {
    pub(super) key: Key,
    pub(super) secrets: Vec<ShownSecret>,
    /// Why and when it ended.
    pub(super) ended: Option<(DeleteReason, Timestamp)>,
    pub(super) replacement: Option<Replacement>,
    /// Everywhere it was used from.
    pub(super) seen: Vec<KeyAddress>,
    pub(super) told: Vec<ToldRow>,
}

/// The key that took its place.
pub(super) struct Replacement {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) made_at: Timestamp,
    /// Whether the trail says so; otherwise it has the same name.
    pub(super) is_certain: bool,
}

/// A security contact, and whether it was told.
pub(super) struct ToldRow {
    pub(super) address: String,
    /// What became of it, in few words.
    pub(super) status: String,
    /// Why it did not arrive; empty if it did.
    pub(super) why: String,
    pub(super) tone: &'static str,
    pub(super) is_told: bool,
}

impl ToldRow {
    /// What became of it and why, for a table without room for two lines.
    pub(super) fn in_one_line(&self) -> String {
        match self.why.as_str() {
            "" => self.status.clone(),
            why => format!("{}: {why}", self.status),
        }
    }
}

impl Leak {
    /// Reads it all.
    ///
    /// # Errors
    /// What the engine says: nothing there, above all.
    pub(super) async fn find(visit: &Visit, call: &Call, id: KeyId) -> Result<Self, Refused> {
        let engine = call.engine();
        let (key, secrets) = engine.show_key_whole(visit.id(), id).await?;
        let ended = match key.record.state {
            KeyState::Deleted { reason, at } => Some((reason, at)),
            KeyState::Active | KeyState::Paused { .. } => None,
        };
        Ok(Self {
            replacement: find_replacement(visit, call, &key, ended.map(|(_, at)| at)).await?,
            seen: engine.key_addresses(visit.id(), id).await?,
            told: told(visit, call, id, ended.is_some()).await?,
            key,
            secrets,
            ended,
        })
    }

    /// Who used it in the last days.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn users(&self, visit: &Visit, call: &Call, days: i64) -> Result<Callers, Refused> {
        let filter = HistoryFilter {
            outcome: Some(OutcomeFilter::One(Outcome::Accepted)),
            ..HistoryFilter::default()
        };
        let span = Span::last_days(days.min(MAX_DAYS), call.now());
        Callers::find(call.engine(), (visit.id(), self.key.record.id), filter, span).await
    }

    /// Whether an address was new shortly before the end, or before now, and not the key's first.
    pub(super) fn is_new(&self, address: &str, now: Timestamp) -> bool {
        let until = self.ended.map_or(now, |(_, at)| at);
        let first_ever = self.seen.iter().map(|one| one.first_at).min();
        self.seen.iter().any(|one| {
            one.address == address
                && Some(one.first_at) != first_ever
                && one.first_at >= until.plus_ms(-NEW_MS)
        })
    }
}

/// Who tried a key after its end, refused because of it. That only its id matched is not among them: anybody can send that.
///
/// # Errors
/// What the engine says.
pub(super) async fn attempts(
    visit: &Visit,
    call: &Call,
    id: KeyId,
    ended_at: Timestamp,
) -> Result<Callers, Refused> {
    let filter = HistoryFilter {
        outcome: Some(OutcomeFilter::One(Outcome::Refused(Code::KeyDeleted))),
        ..HistoryFilter::default()
    };
    let now = call.now();
    let earliest = now.plus_ms(-MAX_DAYS * DAY_MS);
    let span = Span {
        from: ended_at.max(earliest),
        until: now,
    };
    Callers::find(call.engine(), (visit.id(), id), filter, span).await
}

/// Entries of the trail about a key, the oldest first; none for who may not read the trail.
///
/// # Errors
/// What the engine says.
pub(super) async fn entries(visit: &Visit, call: &Call, id: KeyId) -> Result<Vec<EntryLine>, Refused> {
    if !visit.may(ManagementRight::AuditRead) {
        return Ok(Vec::new());
    }
    let query = AuditQuery {
        target: Some(format!("key/{id}")),
        ..AuditQuery::default()
    };
    let found = call
        .engine()
        .list_audit(visit.id().as_str(), &query, None, ENTRIES)
        .await?;
    let lines = found.items.iter().rev().map(|entry| entry.to_line());
    let lines: Result<Vec<EntryLine>, StoreError> = lines.collect();
    lines.map_err(|error| keyward_engine::EngineError::from(error).into())
}

async fn find_replacement(
    visit: &Visit,
    call: &Call,
    key: &Key,
    ended_at: Option<Timestamp>,
) -> Result<Option<Replacement>, Refused> {
    let engine = call.engine();
    if ended_at.is_some() {
        let entries = entries(visit, call, key.record.id).await?;
        let named = entries.iter().find_map(|entry| {
            let facts = entry.read_facts();
            let id = facts.get("replaced_by")?.as_str()?;
            id.parse::<KeyId>().ok()
        });
        if let Some(id) = named {
            let new = engine.show_key(visit.id(), id).await?;
            return Ok(Some(Replacement {
                id: id.to_string(),
                name: new.name.to_string(),
                made_at: new.created_at,
                is_certain: true,
            }));
        }
    }
    let filter = KeyFilter {
        states: vec![ShownState::Active, ShownState::Paused],
        text: Some(key.name.to_string()),
        ..KeyFilter::default()
    };
    let page = KeyPage {
        filter: &filter,
        sort: KeySort::Created,
        direction: Direction::Descending,
        after: "",
        limit: 20,
    };
    let found = engine.find_keys(visit.id(), &page).await?;
    let since = ended_at.unwrap_or(call.now()).plus_ms(-REPLACED_BEFORE_MS);
    let same = found.items.into_iter().find(|other| {
        other.name == key.name
            && other.record.id != key.record.id
            && other.created_at >= since
            && other.created_at > key.created_at
    });
    Ok(same.map(|other| Replacement {
        id: other.record.id.to_string(),
        name: other.name.to_string(),
        made_at: other.created_at,
        is_certain: false,
    }))
}

async fn told(visit: &Visit, call: &Call, id: KeyId, has_ended: bool) -> Result<Vec<ToldRow>, Refused> {
    let engine = call.engine();
    let contacts = engine.list_contacts(visit.id()).await?;
    if !has_ended {
        let rows = contacts.iter().map(|contact| ToldRow {
            address: contact.address.clone(),
            status: match &contact.disabled {
                Some((_, why)) => format!("Switched off: {why}"),
                None => "Is told when the key is revoked".to_owned(),
            },
            why: String::new(),
            tone: if contact.disabled.is_some() { "warn" } else { "" },
            is_told: false,
        });
        return Ok(rows.collect());
    }
    let filter = DeliveryFilter {
        key_id: id.to_string(),
        ..DeliveryFilter::default()
    };
    let deliveries = engine
        .list_deliveries(visit.id(), &filter, "", DELIVERIES)
        .await?;
    let ends = [NoticeKind::Compromised, NoticeKind::Replaced, NoticeKind::Deleted];
    let mut of_end: Vec<&Delivery> = deliveries
        .items
        .iter()
        .filter(|delivery| ends.iter().any(|kind| kind.name() == delivery.kind))
        .collect();
    of_end.reverse();
    let now = call.now();
    let mut rows: Vec<ToldRow> = of_end
        .iter()
        .map(|delivery| {
            let contact = contacts
                .iter()
                .find(|contact| contact.contact == delivery.contact);
            told_row(delivery, contact, now)
        })
        .collect();
    let waiting = contacts
        .iter()
        .filter(|contact| !of_end.iter().any(|delivery| delivery.contact == contact.contact));
    rows.extend(waiting.map(|contact| ToldRow {
        address: contact.address.clone(),
        status: "On its way".to_owned(),
        why: String::new(),
        tone: "",
        is_told: false,
    }));
    Ok(rows)
}

fn told_row(delivery: &Delivery, contact: Option<&ContactRow>, now: Timestamp) -> ToldRow {
    let why = || {
        delivery
            .last_error
            .clone()
            .unwrap_or_else(|| "no answer".to_owned())
    };
    let (status, why, tone) = match delivery.status {
        DeliveryStatus::Pending => ("On its way".to_owned(), String::new(), ""),
        DeliveryStatus::Sent => (
            format!(
                "Told {}",
                relative(delivery.finished_at.unwrap_or(delivery.happened_at), now)
            ),
            String::new(),
            "ok",
        ),
        DeliveryStatus::Failed => (
            "Did not arrive yet".to_owned(),
            format!(
                "{}; tried again {}",
                why(),
                delivery
                    .next_attempt_at
                    .map_or_else(|| "soon".to_owned(), |at| relative(at, now))
            ),
            "warn",
        ),
        DeliveryStatus::GivenUp => ("Did not arrive".to_owned(), why(), "danger"),
    };
    ToldRow {
        address: contact.map_or_else(
            || format!("a contact that was removed ({})", delivery.contact_kind),
            |contact| contact.address.clone(),
        ),
        status,
        why,
        tone,
        is_told: delivery.status == DeliveryStatus::Sent,
    }
}
