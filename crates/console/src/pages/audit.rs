//! The audit trail of an organization: who did what to what, newest first, with filters.
//!
//! A filter is a part of the address, so that a view can be kept and passed on; what was typed wrong is told beside its field and
//! shows nothing rather than everything. Each row opens to the entry's number and hashes. Checking, exporting and erasing have pages of
//! their own.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_api::cursor;
use keyward_core::audit_export::EntryLine;
use keyward_core::ids::KeyId;
use keyward_core::management_right::ManagementRight;
use keyward_core::time::DAY_MS;
use keyward_store::audit::{AuditQuery, StoredEntry};

use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::values::Values;
use crate::visit::Visit;
use crate::words::{When, read_day};

use super::audit_words::{DEEDS, Fact, Names, action_words, facts_of, key_of};

/// The list's name in its cursors.
const LIST: &str = "audit";
const ROWS: u32 = 40;
/// Most people and tokens that the filter offers by name; others are reached from a row.
const OFFERED: u32 = 100;
/// Longer than any actor or target that is written.
const MAX_TEXT: usize = 200;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    base: String,
    may_erase: bool,
    filter: Filter,
    actors: Vec<Choice>,
    actions: Vec<Choice>,
    rows: Vec<Row>,
    older: Option<String>,
    is_first: bool,
}

/// What was asked for, as it was typed.
struct Filter {
    target: String,
    from: String,
    to: String,
    is_on: bool,
    target_problem: Option<&'static str>,
    from_problem: Option<&'static str>,
    to_problem: Option<&'static str>,
}

impl Filter {
    fn has_problem(&self) -> bool {
        [self.target_problem, self.from_problem, self.to_problem]
            .iter()
            .any(Option::is_some)
    }
}

struct Choice {
    value: String,
    words: String,
    is_chosen: bool,
}

struct Row {
    sequence: i64,
    at: When,
    at_exact: When,
    actor: String,
    actor_id: String,
    only_actor: String,
    action: String,
    action_name: String,
    only_action: String,
    target: String,
    target_id: String,
    /// The key's page, if it is about a key.
    key_page: Option<String>,
    only_target: String,
    facts: Vec<Fact>,
    request_id: String,
    hash: String,
    previous_hash: String,
    /// Why it can't be shown; the other texts are empty then.
    is_broken: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes.page("/org/{organization}/audit", ManagementRight::AuditRead, show)
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let (query, filter) = read_filter(&visit, &call).await?;
    let before = position(&call.query)?;
    let mut names = Names::default();
    let (mut rows, mut next) = (Vec::new(), None);
    if !filter.has_problem() {
        let chain = visit.id().as_str();
        let found = call.engine().list_audit(chain, &query, before, ROWS).await?;
        next = found.next;
        let lines: Vec<(StoredEntry, Option<EntryLine>)> = found
            .items
            .into_iter()
            .map(|entry| {
                let line = entry.to_line().ok();
                (entry, line)
            })
            .collect();
        let readable: Vec<EntryLine> = lines.iter().filter_map(|(_, line)| line.clone()).collect();
        names = Names::find(&visit, &call, &readable).await?;
        rows = lines
            .iter()
            .map(|(entry, line)| match line {
                Some(line) => row_of(&visit, &call, line, &names),
                None => broken_row(&call, entry),
            })
            .collect();
    }
    let status = if filter.has_problem() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let page = AuditPage {
        shell: Shell::of(&visit, &call, Section::Audit, "Audit trail", &[]),
        base: visit.url("audit"),
        may_erase: visit.may(ManagementRight::AuditErase),
        actors: actors(&visit, &call, query.actor.as_deref(), &mut names).await?,
        actions: actions(query.action.as_deref()),
        filter,
        rows,
        older: next.map(|position| {
            let cursor = cursor::write(LIST, &position);
            format!(
                "{}?{}",
                visit.url("audit"),
                call.query.with("cursor", Some(&cursor))
            )
        }),
        is_first: before.is_none(),
    };
    reply::page_with(status, &page)
}

/// Where the page begins.
fn position(query: &Values) -> Result<Option<i64>, Refused> {
    let Some(text) = query.text("cursor") else {
        return Ok(None);
    };
    let position = cursor::read(LIST, text).map_err(|_| Refused::NotFound)?;
    position.parse().map(Some).map_err(|_| Refused::NotFound)
}

async fn read_filter(visit: &Visit, call: &Call) -> Result<(AuditQuery, Filter), Refused> {
    let text = |name: &str| call.query.text(name).unwrap_or_default().to_owned();
    let (target, from, to) = (text("target"), text("from"), text("to"));
    let day = |text: &str| (!text.is_empty()).then(|| read_day(text));
    let (first, last) = (day(&from), day(&to));
    let mut filter = Filter {
        target_problem: (target.len() > MAX_TEXT).then_some("Paste an id or an e-mail address."),
        from_problem: (first == Some(None)).then_some("A date is written 2026-09-24."),
        to_problem: (last == Some(None)).then_some("A date is written 2026-09-24."),
        is_on: ["actor", "action", "target", "from", "to"]
            .iter()
            .any(|name| call.query.text(name).is_some()),
        target,
        from,
        to,
    };
    if let (Some(Some(first)), Some(Some(last))) = (first, last)
        && first > last
    {
        filter.to_problem = Some("The last day is before the first.");
    }
    let wanted = if filter.target.is_empty() || filter.has_problem() {
        None
    } else {
        Some(target_of(visit, call, &filter.target).await?)
    };
    let short = |name: &str| call.query.text(name).filter(|text| text.len() <= MAX_TEXT);
    let query = AuditQuery {
        actor: short("actor").map(str::to_owned),
        action: short("action").map(str::to_owned),
        target: wanted,
        from: first.flatten(),
        to: last.flatten().map(|day| day.plus_ms(DAY_MS)),
    };
    Ok((query, filter))
}

/// What a typed text means: a member's address, a bare key id, or what the trail calls it.
async fn target_of(visit: &Visit, call: &Call, text: &str) -> Result<String, Refused> {
    if text.contains('@') {
        let found = call.engine().memberships_of(Some(visit.id()), text).await?;
        if let [one] = found.as_slice() {
            return Ok(format!("person/{}", one.person_id));
        }
    }
    let key: Option<KeyId> = text.parse().ok();
    Ok(key.map_or_else(|| text.to_owned(), |id| format!("key/{id}")))
}

async fn actors(
    visit: &Visit,
    call: &Call,
    chosen: Option<&str>,
    names: &mut Names,
) -> Result<Vec<Choice>, Refused> {
    let engine = call.engine();
    let members = engine.list_members_after(visit.id(), "", OFFERED).await?;
    let tokens = engine.list_tokens(visit.id(), "", OFFERED).await?;
    let mut offered: Vec<(String, String)> = members
        .items
        .into_iter()
        .map(|member| (format!("person/{}", member.person_id), member.email))
        .collect();
    offered.sort_by(|one, other| one.1.cmp(&other.1));
    offered.extend(tokens.items.into_iter().map(|token| {
        (
            format!("token/{}", token.record.id),
            format!("Token {}", token.name),
        )
    }));
    for fixed in ["local_administrator", "system"] {
        offered.push((fixed.to_owned(), names.words(fixed)));
    }
    if let Some(chosen) = chosen
        && !offered.iter().any(|(value, _)| value == chosen)
    {
        names.look_up(visit, call, chosen).await?;
        offered.push((chosen.to_owned(), names.words(chosen)));
    }
    let choices = offered.into_iter().map(|(value, words)| Choice {
        is_chosen: chosen == Some(value.as_str()),
        value,
        words,
    });
    Ok(choices.collect())
}

fn actions(chosen: Option<&str>) -> Vec<Choice> {
    let mut choices: Vec<Choice> = DEEDS
        .iter()
        .map(|deed| Choice {
            value: deed.name.to_owned(),
            words: deed.words.to_owned(),
            is_chosen: chosen == Some(deed.name),
        })
        .collect();
    if let Some(chosen) = chosen.filter(|chosen| !DEEDS.iter().any(|deed| deed.name == *chosen)) {
        choices.push(Choice {
            value: chosen.to_owned(),
            words: action_words(chosen),
            is_chosen: true,
        });
    }
    choices
}

fn row_of(visit: &Visit, call: &Call, line: &EntryLine, names: &Names) -> Row {
    let only = |name: &str, value: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair(name, value);
        format!("{}?{}", visit.url("audit"), query.finish())
    };
    Row {
        sequence: line.sequence,
        at: When::relative(line.at_ms, call.now()),
        at_exact: When::exact(line.at_ms),
        actor: names.words(&line.actor),
        actor_id: line.actor.clone(),
        only_actor: only("actor", &line.actor),
        action: action_words(&line.action),
        action_name: line.action.clone(),
        only_action: only("action", &line.action),
        target: names.words(&line.target),
        target_id: line.target.clone(),
        key_page: key_of(&line.target).map(|id| visit.url(&format!("settings/secret-keys/{id}"))),
        only_target: only("target", &line.target),
        facts: facts_of(line, names),
        request_id: line.request_id.clone(),
        hash: line.hash.to_string(),
        previous_hash: line.previous_hash.to_string(),
        is_broken: false,
    }
}

/// An entry whose row in the database is damaged: said, not hidden, and no reason to hide the others.
fn broken_row(call: &Call, entry: &StoredEntry) -> Row {
    let at = keyward_core::time::Timestamp::from_unix_ms(entry.at);
    Row {
        sequence: entry.sequence,
        at: When::relative(at, call.now()),
        at_exact: When::exact(at),
        actor: String::new(),
        actor_id: String::new(),
        only_actor: String::new(),
        action: String::new(),
        action_name: String::new(),
        only_action: String::new(),
        target: String::new(),
        target_id: String::new(),
        key_page: None,
        only_target: String::new(),
        facts: Vec::new(),
        request_id: String::new(),
        hash: String::new(),
        previous_hash: String::new(),
        is_broken: true,
    }
}
