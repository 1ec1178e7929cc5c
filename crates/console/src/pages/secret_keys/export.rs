//! The keys that a view means, as CSV or JSON Lines: streamed, a page at a time, so that its memory does not grow with the list.
//!
//! Before each page the caller is asked for anew: who was taken out of the organization meanwhile gets no more of it. Cells are made
//! harmless by `keyward_api::csv`. An export that can't be finished is cut off, which the browser shows as a failed download.

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use keyward_api::csv::{JSON_LINES, header, json_lines, lines};
use keyward_api::keys::{KeyView, LastUseView};
use keyward_core::ids::KeyId;
use keyward_core::key_filter::KeyFilter;
use keyward_core::management_right::ManagementRight;
use keyward_core::record::Key;
use keyward_engine::EngineError;
use keyward_engine::list_keys::KeyPage;
use keyward_engine::sessions::SessionStage;

use super::view::View;
use crate::call::Call;
use crate::refused::Refused;
use crate::reply;
use crate::visit::{Person, Visit};

/// Keys that are read at a time.
const ROWS: u32 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

/// An export that is under way.
struct Export {
    visit: Visit,
    call: Call,
    view: View,
    filter: KeyFilter,
    format: Format,
    /// What was made already.
    first: Option<String>,
    next: Option<String>,
}

pub(super) async fn export(visit: Visit, call: Call) -> Result<Response, Refused> {
    let view = View::read(&call.query);
    let format = match call.query.text("format") {
        Some("jsonl") => Format::JsonLines,
        _ => Format::Csv,
    };
    let mut export = Export {
        filter: view.filter(call.now()),
        visit,
        call,
        view,
        format,
        first: None,
        next: None,
    };
    let (text, next) = export.read("").await?;
    export.next = next;
    export.first = Some(match format {
        Format::Csv => header::<KeyView>() + &text,
        Format::JsonLines => text,
    });
    let (content_type, extension) = match format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        Format::JsonLines => (JSON_LINES, "jsonl"),
    };
    let name = format!("secret-keys-{}.{extension}", export.visit.id());
    let body = Body::from_stream(stream::try_unfold(export, next_part));
    Ok(reply::file(content_type, &name, body))
}

async fn next_part(mut export: Export) -> Result<Option<(String, Export)>, std::io::Error> {
    if let Some(first) = export.first.take() {
        return Ok(Some((first, export)));
    }
    let Some(after) = export.next.take() else {
        return Ok(None);
    };
    let part = async {
        export.confirm().await?;
        export.read(&after).await
    };
    match part.await {
        Ok((text, next)) => {
            export.next = next;
            Ok(Some((text, export)))
        }
        Err(refused) => {
            let request = export.call.info.id.clone();
            tracing::warn!(request.id = %request, outcome = refused.code(), "an export was cut off");
            Err(std::io::Error::other("the export can't be finished"))
        }
    }
}

impl Export {
    /// Whether the caller is still signed in and holds the right still.
    async fn confirm(&self) -> Result<(), Refused> {
        let engine = self.call.engine();
        let token = self.visit.person.token();
        let session = engine.find_session(token).await?;
        let whole = session.filter(|session| session.stage == SessionStage::Whole);
        let person = Person::new(whole.ok_or(Refused::SignIn)?, token.clone());
        Visit::check(
            engine,
            person,
            self.visit.id().as_str(),
            ManagementRight::KeysRead,
        )
        .await?;
        Ok(())
    }

    /// The lines of the page after a position, and where the next one begins.
    async fn read(&self, after: &str) -> Result<(String, Option<String>), Refused> {
        let page = KeyPage {
            filter: &self.filter,
            sort: self.view.sort,
            direction: self.view.direction,
            after,
            limit: ROWS,
        };
        let found = self.call.engine().find_keys(self.visit.id(), &page).await?;
        let rows = self.rows_of(&found.items).await?;
        let text = match self.format {
            Format::Csv => lines(&rows),
            Format::JsonLines => json_lines(&rows).map_err(|error| Refused::Internal(error.to_string()))?,
        };
        Ok((text, found.next))
    }

    async fn rows_of(&self, keys: &[Key]) -> Result<Vec<KeyView>, Refused> {
        let engine = self.call.engine();
        let now = self.call.now();
        let ids: Vec<KeyId> = keys.iter().map(|key| key.record.id).collect();
        let uses = engine.last_uses(self.visit.id(), &ids).await;
        let uses = uses.map_err(EngineError::from)?;
        let rows = keys.iter().map(|key| {
            let used = uses.get(&key.record.id);
            let last = used.and_then(|used| used.secrets.iter().max_by_key(|one| one.last_used_at));
            let circumstances = last.and_then(|one| one.last.as_ref()).map(|last| LastUseView {
                operation: last.operation.clone(),
                address: last.address.clone(),
                client: last.client.clone(),
            });
            KeyView::of(key, now).used(used.map(|used| used.last_used_at), circumstances)
        });
        Ok(rows.collect())
    }
}
