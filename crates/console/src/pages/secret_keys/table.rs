//! The table of an organization's secret keys: a page of fifty, its filters, its order, and what it says when there is none.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_api::cursor;
use keyward_core::environment::Environment;
use keyward_core::key_filter::{Direction, KeySort};
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Actor;
use keyward_core::scope::Scope;
use keyward_engine::EngineError;
use keyward_engine::describe_keys::ActorName;
use keyward_engine::list_keys::KeyPage;
use keyward_store::key_list_context::KeyCounts;

use super::row::{Row, rows_of, shortened};
use super::view::{DueChoice, StateChoice, UNUSED_DAYS, View, first_direction};
use super::{SENTENCES, TABLE};
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{counted, environment_name, grouped, scope_name, scope_sentence};

/// Keys of a page.
const PAGE: u32 = 50;
/// What a cursor of this list says that it is of.
const LIST: &str = "keys";
/// Most creators in the select: each of them is an option.
const MAX_CREATORS: usize = 40;

#[derive(Template)]
#[template(path = "secret_keys.html")]
struct TablePage {
    shell: Shell,
    organization: String,
    /// The table's own address, for forms.
    action: String,
    /// What the addresses of rows begin with: relative where that is possible, because it stands there three hundred times.
    base: String,
    may_write: bool,
    problem: Option<String>,
    text: String,
    environments: Vec<Chip>,
    conditions: Vec<Chip>,
    states: Vec<Choice>,
    creators: Vec<Choice>,
    /// The view as hidden fields, without what the selects say.
    kept: Vec<(&'static str, String)>,
    /// The whole view as hidden fields, for what is done to everything that it shows.
    whole: Vec<(&'static str, String)>,
    is_narrowed: bool,
    clear: String,
    export: [Export; 2],
    columns: Columns,
    rows: Vec<Row>,
    shown: String,
    first: Option<String>,
    next: Option<String>,
    /// What stands there instead of a table without rows.
    nothing: Nothing,
    endpoint: String,
    /// How a key's value begins.
    example: String,
    /// Each scope and what it opens.
    scope_lines: [(&'static str, &'static str); 3],
}

/// A filter as a link.
struct Chip {
    label: String,
    count: Option<String>,
    href: String,
    is_on: bool,
}

/// An option of a select.
struct Choice {
    value: String,
    label: String,
    is_on: bool,
}

struct Export {
    label: &'static str,
    href: String,
}

/// A column that the table can be sorted by.
struct Column {
    href: String,
    /// The value of `aria-sort`, if the table is sorted by it.
    sorted: Option<&'static str>,
    arrow: &'static str,
}

struct Columns {
    name: Column,
    due: Column,
    last_used: Column,
    created: Column,
}

/// Why there is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nothing {
    /// There are rows, or the end of the list was reached.
    Else,
    /// The organization never had a key.
    NoKeys,
    /// All keys are deleted.
    OnlyDeleted,
    /// The filter means none.
    NoneFits,
}

pub(super) async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let view = View::read(&call.query);
    let after = match call.query.text("after").map(|text| cursor::read(LIST, text)) {
        None => String::new(),
        Some(Ok(position)) => position,
        // From another order or mistyped: the list's begin is what they can go on from.
        Some(Err(_)) => return Ok(reply::see_other(&view.link(&visit.url(TABLE)))),
    };
    render(&visit, &call, &view, &after, None).await
}

/// The table, with a problem of the form that was sent on top of it.
pub(super) async fn show_with_problem(
    visit: &Visit,
    call: &Call,
    view: &View,
    problem: String,
) -> Result<Response, Refused> {
    render(visit, call, view, "", Some(problem)).await
}

async fn render(
    visit: &Visit,
    call: &Call,
    view: &View,
    after: &str,
    problem: Option<String>,
) -> Result<Response, Refused> {
    let engine = call.engine();
    let filter = view.filter(call.now());
    let asked = KeyPage {
        filter: &filter,
        sort: view.sort,
        direction: view.direction,
        after,
        limit: PAGE,
    };
    let action = visit.url(TABLE);
    let page = match engine.find_keys(visit.id(), &asked).await {
        Ok(page) => page,
        Err(EngineError::Invalid(_)) => return Ok(reply::see_other(&view.link(&action))),
        Err(error) => return Err(error.into()),
    };
    let rows = rows_of(engine, visit.id(), &page.items).await?;
    let (has_keys, counts) = engine.count_keys(visit.id()).await?;
    let creators = engine.list_creators(visit.id()).await?;
    let creators = engine.name_actors(visit.id(), &creators).await?;
    let nothing = match (rows.is_empty() && after.is_empty(), has_keys) {
        (false, _) => Nothing::Else,
        (true, false) => Nothing::NoKeys,
        (true, true) if view.is_narrowed() => Nothing::NoneFits,
        (true, true) => Nothing::OnlyDeleted,
    };
    let status = if problem.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let next = page.next.map(|position| cursor::write(LIST, &position));
    let export_path = format!("{action}/export");
    let export = |label, format| Export {
        label,
        href: view.link_with(&export_path, &[("format", format)]),
    };
    let template = TablePage {
        shell: Shell::of(visit, call, Section::SecretKeys, "Secret Keys", &SENTENCES),
        organization: visit.id().to_string(),
        base: if call.asked == action {
            "secret-keys".to_owned()
        } else {
            action.clone()
        },
        may_write: visit.may(ManagementRight::KeysWrite),
        problem,
        text: view.text.clone().unwrap_or_default(),
        environments: environment_chips(view, &action, counts.as_ref()),
        conditions: condition_chips(view, &action, counts.as_ref()),
        states: state_choices(view),
        creators: creator_choices(view, &creators),
        kept: without(view, &["state", "creator"]),
        whole: view.pairs(),
        is_narrowed: view.is_narrowed(),
        clear: clear_link(view, &action),
        export: [
            export("CSV, for spreadsheets", "csv"),
            export("JSON Lines, for programs", "jsonl"),
        ],
        columns: columns(view, &action),
        shown: shown_words(
            view,
            rows.len(),
            counts.as_ref(),
            after.is_empty() && next.is_none(),
        ),
        rows,
        first: (!after.is_empty()).then(|| view.link(&action)),
        next: next.map(|next| view.link_with(&action, &[("after", &next)])),
        nothing,
        endpoint: call.site.public_url.clone(),
        example: format!("{}_...", engine.prefix().as_str()),
        scope_lines: Scope::ALL.map(|scope| (scope_name(scope), scope_sentence(scope))),
        action,
    };
    reply::page_with(status, &template)
}

/// Whether nothing but the part that a chip sets narrows the view: only then is the chip's count what it leads to.
fn counts_if<'a>(
    counts: Option<&'a KeyCounts>,
    view: &View,
    without: impl FnOnce(&mut View),
) -> Option<&'a KeyCounts> {
    let mut others = view.clone();
    without(&mut others);
    counts.filter(|_| !others.is_narrowed())
}

fn count_words(count: i64) -> String {
    grouped(u64::try_from(count).unwrap_or_default())
}

fn environment_chips(view: &View, action: &str, counts: Option<&KeyCounts>) -> Vec<Chip> {
    let counts = counts_if(counts, view, |view| view.environment = None);
    let of = |environment: Option<Environment>| {
        counts.map(|counts| {
            let found = counts.environments.iter().find(|(one, _)| *one == environment);
            found.map_or(0, |(_, count)| *count)
        })
    };
    let to = |environment| {
        let view = View {
            environment,
            ids: Vec::new(),
            ..view.clone()
        };
        view.link(action)
    };
    let mut chips = vec![Chip {
        label: "All".to_owned(),
        count: counts.map(|counts| count_words(counts.keys)),
        href: to(None),
        is_on: view.environment.is_none(),
    }];
    let known = Environment::ALL.map(Some).into_iter().chain([None]);
    chips.extend(known.map(|environment| Chip {
        label: match environment {
            None => "No environment".to_owned(),
            some => environment_name(some).to_owned(),
        },
        count: of(environment).map(count_words),
        href: to(Some(environment)),
        is_on: view.environment == Some(environment),
    }));
    chips
}

/// Chips that are put on and taken off.
fn condition_chips(view: &View, action: &str, counts: Option<&KeyCounts>) -> Vec<Chip> {
    let due = counts_if(counts, view, |view| view.due = None);
    let unused = counts_if(counts, view, |view| view.unused_days = None);
    let due_chip = |label: &str, choice, count: Option<i64>| {
        let is_on = view.due == Some(choice);
        Chip {
            label: label.to_owned(),
            count: count.map(count_words),
            href: View {
                due: (!is_on).then_some(choice),
                ids: Vec::new(),
                ..view.clone()
            }
            .link(action),
            is_on,
        }
    };
    let mut chips = vec![
        due_chip("Due soon", DueChoice::Soon, due.map(|counts| counts.due_soon)),
        due_chip("Due or overdue", DueChoice::Due, due.map(|counts| counts.due)),
    ];
    for (at, days) in UNUSED_DAYS.into_iter().enumerate() {
        let is_on = view.unused_days == Some(days);
        let count = unused.and_then(|counts| counts.unused.get(at).copied());
        chips.push(Chip {
            label: format!("Unused for {days} days"),
            count: count.map(count_words),
            href: View {
                unused_days: (!is_on).then_some(days),
                ids: Vec::new(),
                ..view.clone()
            }
            .link(action),
            is_on,
        });
    }
    chips
}

fn state_choices(view: &View) -> Vec<Choice> {
    let choices = StateChoice::ALL.into_iter().map(|choice| Choice {
        value: choice.name().to_owned(),
        label: choice.label().to_owned(),
        is_on: view.state == choice,
    });
    choices.collect()
}

fn creator_choices(view: &View, creators: &[(Actor, ActorName)]) -> Vec<Choice> {
    let mut choices = vec![Choice {
        value: String::new(),
        label: "Anybody".to_owned(),
        is_on: view.creator.is_none(),
    }];
    let is_chosen = |actor: &Actor| view.creator.as_ref() == Some(actor);
    let named = creators
        .iter()
        .enumerate()
        .filter(|(at, (actor, _))| *at < MAX_CREATORS || is_chosen(actor));
    choices.extend(named.map(|(_, (actor, name))| Choice {
        value: actor.to_string(),
        label: shortened(&crate::naming::words_of(Some(name))),
        is_on: is_chosen(actor),
    }));
    // By name, as people look for themselves; "Anybody" stays first.
    if let Some((_, others)) = choices.split_first_mut() {
        others.sort_by(|one, other| one.label.cmp(&other.label));
    }
    choices
}

fn without(view: &View, names: &[&str]) -> Vec<(&'static str, String)> {
    let pairs = view.pairs().into_iter();
    // A select says something new of all keys, not of those that a search found.
    pairs
        .filter(|(name, _)| !names.contains(name) && !matches!(*name, "id" | "ids"))
        .collect()
}

fn clear_link(view: &View, action: &str) -> String {
    let clear = View {
        sort: view.sort,
        direction: view.direction,
        ..View::default()
    };
    clear.link(action)
}

fn columns(view: &View, action: &str) -> Columns {
    let column = |sort: KeySort| {
        let is_sorted = view.sort == sort;
        let direction = match (is_sorted, view.direction) {
            (true, Direction::Ascending) => Direction::Descending,
            (true, Direction::Descending) => Direction::Ascending,
            (false, _) => first_direction(sort),
        };
        let to = View {
            sort,
            direction,
            ..view.clone()
        };
        Column {
            href: to.link(action),
            sorted: is_sorted.then(|| super::view::direction_name(view.direction)),
            arrow: match (is_sorted, view.direction) {
                (false, _) => "",
                (true, Direction::Ascending) => " \u{2191}",
                (true, Direction::Descending) => " \u{2193}",
            },
        }
    };
    Columns {
        name: column(KeySort::Name),
        due: column(KeySort::Due),
        last_used: column(KeySort::LastUsed),
        created: column(KeySort::Created),
    }
}

/// `6 of 14 keys`, as far as that is known.
fn shown_words(view: &View, rows: usize, counts: Option<&KeyCounts>, is_all: bool) -> String {
    let shown = u64::try_from(rows).unwrap_or_default();
    match counts {
        Some(counts) if !view.is_narrowed() && !is_all => {
            let keys = u64::try_from(counts.keys).unwrap_or_default();
            format!("{} of {}", grouped(shown), counted(keys, "key", "keys"))
        }
        _ => counted(shown, "key", "keys"),
    }
}
