//! The report about a key, to print, to keep or to hand on: what it was, what was done to it, who used it, who still tries, who was told.
//!
//! Page, text and JSON are made of the same rows, as they stand when they are asked for. Texts of others are made harmless for where
//! they go.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use keyward_core::audit_export::EntryLine;
use keyward_core::harmless::{for_json, for_line};
use keyward_core::ids::KeyId;
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Actor;
use keyward_engine::show_usage::MAX_DAYS;
use serde_json::{Map, Value, json};

use super::audit_words::words_on_key;
use super::callers::Callers;
use super::key_head::{KeyHead, reason_words, subject};
use super::leak::{Leak, attempts, entries};
use crate::call::Call;
use crate::naming::Naming;
use crate::refused::Refused;
use crate::reply;
use crate::routes::ConsoleRoutes;
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{access_line, day_text, environment_name, exact};

/// Rows of a table on the page; a download has all.
const SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "key_report.html")]
struct ReportPage {
    shell: Shell,
    head: KeyHead,
    report: Report,
}

/// The report.
struct Report {
    title: String,
    facts: Vec<Fact>,
    tables: Vec<Table>,
}

struct Fact {
    /// Its name in JSON.
    name: &'static str,
    label: &'static str,
    value: String,
}

struct Table {
    name: &'static str,
    title: &'static str,
    /// What is said where there are no rows.
    empty: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    /// Whether there was more than could be read.
    is_whole: bool,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(
            "/org/{organization}/settings/secret-keys/{key}/report",
            ManagementRight::KeysRead,
            show,
        )
        .page(
            "/org/{organization}/settings/secret-keys/{key}/report/download",
            ManagementRight::KeysRead,
            download,
        )
}

async fn show(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let (report, leak) = Report::make(&visit, &call, id).await?;
    let head = KeyHead::of(&visit, &leak.key, &leak.secrets, call.now());
    reply::page(&ReportPage {
        shell: Shell::of(&visit, &call, Section::SecretKeys, &report.title, &[]),
        head,
        report,
    })
}

async fn download(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = subject(&call)?;
    let (report, _) = Report::make(&visit, &call, id).await?;
    let name = format!("report-{id}-{}", day_text(call.now()));
    Ok(if call.query.text("format") == Some("json") {
        let text = format!("{:#}\n", report.as_json());
        reply::file(
            "application/json",
            &format!("{name}.json"),
            Body::from(for_json(&text).into_owned()),
        )
    } else {
        reply::file(
            "text/plain; charset=utf-8",
            &format!("{name}.txt"),
            Body::from(report.as_text()),
        )
    })
}

impl Report {
    async fn make(visit: &Visit, call: &Call, id: KeyId) -> Result<(Self, Leak), Refused> {
        let now = call.now();
        let mut naming = Naming::new(call.engine(), visit.id());
        let leak = Leak::find(visit, call, id).await?;
        let key = &leak.key;
        let users = leak.users(visit, call, MAX_DAYS).await?;
        let tried = match leak.ended {
            Some((_, at)) => attempts(visit, call, id, at).await?,
            None => Callers {
                items: Vec::new(),
                is_whole: true,
            },
        };
        let uses = call.engine().last_uses(visit.id(), &[id]).await;
        let uses = uses.map_err(keyward_engine::EngineError::from)?;
        let fact = |name, label, value: String| Fact { name, label, value };
        let mut facts = vec![
            fact(
                "organization",
                "Organization",
                format!("{} ({})", visit.organization.name, visit.id()),
            ),
            fact("key_id", "Key id", id.to_string()),
            fact("key_name", "Name", key.name.to_string()),
            fact("hint", "Looks like", key.hint.clone()),
            fact(
                "environment",
                "Environment",
                environment_name(key.environment).to_owned(),
            ),
            fact("access", "Access and permission", access_line(&key.record.access)),
            fact("created_at", "Created", exact(key.created_at)),
            fact("created_by", "Created by", naming.of(&key.created_by).await?),
            fact(
                "last_used_at",
                "Last used",
                uses.get(&id)
                    .map_or_else(|| "never".to_owned(), |used| exact(used.last_used_at)),
            ),
            fact(
                "ended",
                "Ended",
                leak.ended.map_or_else(
                    || "no: it is not revoked".to_owned(),
                    |(reason, at)| format!("{}, because {}", exact(at), reason_words(reason)),
                ),
            ),
        ];
        if let Some(new) = &leak.replacement {
            let relation = if new.is_certain {
                ""
            } else {
                ", which has the same name"
            };
            facts.push(fact(
                "replacement",
                "Replacement",
                format!("{} ({}){relation}, made {}", new.name, new.id, exact(new.made_at)),
            ));
        }
        facts.push(fact("report_made_at", "Report made", exact(now)));
        facts.push(fact(
            "report_made_by",
            "Report made by",
            visit.person.session.email.to_string(),
        ));
        let mut timeline = Vec::new();
        for entry in entries(visit, call, id).await? {
            timeline.push(timeline_row(&mut naming, &entry).await?);
        }
        let tables = vec![
            Table {
                name: "timeline",
                title: "Timeline",
                empty: "The audit trail has no entry about this key that you may read.",
                columns: &["When", "What", "Who"],
                rows: timeline,
                is_whole: true,
            },
            Table {
                name: "addresses",
                title: "Addresses that it was used from",
                empty: "It was never used.",
                columns: &["Address", "First", "Last", "Mark"],
                rows: leak
                    .seen
                    .iter()
                    .map(|seen| {
                        let mark = if leak.is_new(&seen.address, now) {
                            "new"
                        } else {
                            ""
                        };
                        vec![
                            seen.address.clone(),
                            exact(seen.first_at),
                            exact(seen.last_at),
                            mark.to_owned(),
                        ]
                    })
                    .collect(),
                is_whole: true,
            },
            Table {
                name: "users",
                title: "Who used it",
                empty: "Nobody used it in the last 400 days.",
                columns: &["Address", "Client", "First", "Last", "Accepted"],
                rows: caller_rows(&users, |caller| caller.accepted),
                is_whole: users.is_whole,
            },
            Table {
                name: "refused_attempts",
                title: "Refused attempts after its end",
                empty: if leak.ended.is_some() {
                    "Nobody has tried it since."
                } else {
                    "The key is not revoked."
                },
                columns: &["Address", "Client", "First", "Last", "Refused"],
                rows: caller_rows(&tried, |caller| caller.refused),
                is_whole: tried.is_whole,
            },
            Table {
                name: "contacts",
                title: "Security contacts",
                empty: "The organization has no security contacts; nobody was told by Keyward.",
                columns: &["Contact", "State"],
                rows: leak
                    .told
                    .iter()
                    .map(|row| vec![row.address.clone(), row.in_one_line()])
                    .collect(),
                is_whole: true,
            },
        ];
        let report = Self {
            title: format!("Report on {}", key.name),
            facts,
            tables,
        };
        Ok((report, leak))
    }

    fn as_json(&self) -> Value {
        let mut report = Map::new();
        for fact in &self.facts {
            report.insert(fact.name.to_owned(), json!(fact.value));
        }
        for table in &self.tables {
            let rows = table.rows.iter().map(|row| {
                let cells = table.columns.iter().zip(row);
                let cells = cells.map(|(column, cell)| (column.to_lowercase(), json!(cell)));
                Value::Object(cells.collect())
            });
            report.insert(table.name.to_owned(), rows.collect());
        }
        Value::Object(report)
    }

    fn as_text(&self) -> String {
        let mut lines = vec![for_line(&self.title).into_owned(), String::new()];
        for fact in &self.facts {
            lines.push(format!("{}: {}", fact.label, for_line(&fact.value)));
        }
        for table in &self.tables {
            lines.extend([String::new(), table.title.to_owned()]);
            if table.rows.is_empty() {
                lines.push(format!("  {}", table.empty));
            } else {
                lines.push(format!("  {}", table.columns.join(" | ")));
            }
            for row in &table.rows {
                let cells: Vec<_> = row.iter().map(|cell| for_line(cell)).collect();
                lines.push(format!("  {}", cells.join(" | ")));
            }
            if !table.is_whole {
                lines.push("  (more than could be read at once; the activity's download has all)".to_owned());
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

impl Table {
    fn shown(&self) -> &[Vec<String>] {
        self.rows.get(..SHOWN).unwrap_or(&self.rows)
    }

    /// What is not on the page, in a sentence; empty if all is.
    fn more(&self) -> String {
        match (self.rows.len().saturating_sub(SHOWN), self.is_whole) {
            (0, true) => String::new(),
            (0, false) => "There is more; the activity's download has all.".to_owned(),
            (more, _) => format!("And {more} more, in the download."),
        }
    }
}

fn caller_rows(callers: &Callers, count: impl Fn(&super::callers::Caller) -> i64) -> Vec<Vec<String>> {
    let rows = callers.items.iter().map(|caller| {
        vec![
            caller.address.clone(),
            caller.client.clone(),
            exact(caller.first_at),
            exact(caller.last_at),
            count(caller).to_string(),
        ]
    });
    rows.collect()
}

async fn timeline_row(naming: &mut Naming<'_>, entry: &EntryLine) -> Result<Vec<String>, Refused> {
    let who = match entry.actor.parse::<Actor>() {
        Ok(actor) => naming.of(&actor).await?,
        Err(_) => entry.actor.clone(),
    };
    let facts = entry.read_facts();
    let fact = |name: &str| facts.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut what = words_on_key(&entry.action);
    if let Some(reason) = fact("reason").filter(|_| entry.action == "key.delete") {
        what.push_str(&format!(" ({})", reason.replace('_', " ")));
    }
    if let Some(new) = fact("replaced_by") {
        what.push_str(&format!(", replaced by {new}"));
    }
    if let Some(mode) = fact("mode") {
        what.push_str(&format!(" ({})", mode.replace('_', " ")));
    }
    Ok(vec![exact(entry.at_ms), what, who])
}
