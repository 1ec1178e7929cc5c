//! Lists as JSON, CSV or JSON Lines: one page, or the whole list streamed.
//!
//! `format` decides, else `Accept`. A page of CSV or JSON Lines tells the next one in a `Link` header. With `all=true` the pages
//! follow each other in one answer, each read when the one before was taken, so that an export of any length needs the memory
//! of one page; before each the caller is asked for anew. An export that can't be finished is cut off, which a client sees.

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use keyward_api::csv::{CSV, CsvRow, JSON_LINES, header as csv_header, json_lines, lines};
use keyward_api::cursor;
use serde::Serialize;

use super::{ListView, ManagementCall, paging};
use crate::problem::Problem;
use crate::query::{PageRequest, Query};
use crate::reply;

/// Rows that a whole export reads at a time.
const ROWS_OF_EXPORT: u32 = 1_000;

/// How a list is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// An object with `items` and `next`.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// An object a line.
    JsonLines,
}

/// What is asked of a list beside what it is of.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) format: Format,
    is_whole: bool,
    page: PageRequest,
    /// The query without its cursor, for the link to the next page.
    query: String,
    list: &'static str,
}

/// Rows of a page, and the position that the next one begins after.
pub(super) type Rows<T> = (Vec<T>, Option<String>);

impl ManagementCall {
    /// The format that is asked for. What `Accept` names that there is not, is answered as JSON.
    pub(super) fn format(&mut self) -> Format {
        let named = self.query.parsed("format", |text| match text {
            "json" => Ok(Format::Json),
            "csv" => Ok(Format::Csv),
            "jsonl" => Ok(Format::JsonLines),
            _ => Err("is one of json, csv, jsonl"),
        });
        named.unwrap_or_else(|| self.accepted())
    }

    fn accepted(&self) -> Format {
        let values = self.headers.get_all(header::ACCEPT).iter();
        let named = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|entry| match entry.split(';').next().unwrap_or_default().trim() {
                "application/json" => Some(Format::Json),
                CSV => Some(Format::Csv),
                JSON_LINES | "application/x-ndjson" | "application/x-jsonlines" => Some(Format::JsonLines),
                _ => None,
            });
        // The first that we know; weights between formats of the same rows decide nothing.
        named.into_iter().next().unwrap_or(Format::Json)
    }

    /// Format and page of a list. To be read last of the query.
    ///
    /// # Errors
    /// Every parameter's problem.
    pub(super) fn wanted(&mut self, list: &'static str) -> Result<Wanted, Problem> {
        let format = self.format();
        let is_whole = self.query.parsed("all", |text| match text {
            "true" if format == Format::Json => {
                Err("goes with the formats csv and jsonl; JSON comes page by page")
            }
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is true or false"),
        });
        let query = self.query.without("cursor");
        let page = self.page(paging(list))?;
        Ok(Wanted {
            format,
            is_whole: is_whole.unwrap_or(false),
            page,
            query,
            list,
        })
    }

    /// Answers a list whose pages `fetch` reads.
    ///
    /// # Errors
    /// What `fetch` says of the first page.
    pub(super) async fn answer_list<T, F, Fetched>(
        self,
        wanted: Wanted,
        fetch: F,
    ) -> Result<Response, Problem>
    where
        T: CsvRow + Serialize + Send + 'static,
        F: Fn(keyward_engine::Engine, PageRequest) -> Fetched + Send + Sync + 'static,
        Fetched: Future<Output = Result<Rows<T>, Problem>> + Send + 'static,
    {
        let mut page = wanted.page.clone();
        if wanted.is_whole {
            page.limit = ROWS_OF_EXPORT;
        }
        let (items, next) = fetch(self.engine().clone(), page.clone()).await?;
        let written = |position: String| cursor::write(wanted.list, &position);
        if wanted.format == Format::Json {
            let next = next.map(written);
            return reply::json(StatusCode::OK, &ListView { items, next });
        }
        let mut first = match wanted.format {
            Format::Csv => csv_header::<T>(),
            Format::Json | Format::JsonLines => String::new(),
        };
        first.push_str(&encoded(wanted.format, &items)?);
        if !wanted.is_whole {
            let mut response =
                reply::with_body(StatusCode::OK, media_type(wanted.format), first.into_bytes());
            if let Some(position) = next {
                let link = link_to(&wanted.query, &written(position));
                response.headers_mut().insert(header::LINK, link);
            }
            return Ok(response);
        }
        let begin = Export {
            call: self,
            fetch,
            format: wanted.format,
            page,
            first: Some(first),
            next,
        };
        let body = Body::from_stream(stream::try_unfold(begin, next_part));
        let mut response = reply::with_body(StatusCode::OK, media_type(wanted.format), Vec::new());
        *response.body_mut() = body;
        Ok(response)
    }
}

/// An export that is under way.
struct Export<F> {
    call: ManagementCall,
    fetch: F,
    format: Format,
    page: PageRequest,
    first: Option<String>,
    next: Option<String>,
}

async fn next_part<T, F, Fetched>(
    mut export: Export<F>,
) -> Result<Option<(String, Export<F>)>, std::io::Error>
where
    T: CsvRow + Serialize + Send + 'static,
    F: Fn(keyward_engine::Engine, PageRequest) -> Fetched + Send + Sync + 'static,
    Fetched: Future<Output = Result<Rows<T>, Problem>> + Send + 'static,
{
    if let Some(first) = export.first.take() {
        return Ok(Some((first, export)));
    }
    let Some(after) = export.next.take() else {
        return Ok(None);
    };
    export.page.after = after;
    let part = async {
        // A reader may be as slow as it likes, and whoever was let in at the begin need not be any more.
        export.call.confirm().await?;
        let (items, next) = (export.fetch)(export.call.engine().clone(), export.page.clone()).await?;
        let text = encoded(export.format, &items)?;
        Ok::<_, Problem>((text, next))
    };
    match part.await {
        Ok((text, next)) => {
            export.next = next;
            Ok(Some((text, export)))
        }
        Err(problem) => {
            let request = export.call.context.request_id.clone();
            tracing::warn!(request.id = %request, outcome = problem.code(), "an export was cut off");
            Err(std::io::Error::other("the export can't be finished"))
        }
    }
}

/// A list without pages in the format that is asked for; `json` says what it is in JSON.
///
/// # Errors
/// Never in practice.
pub(super) fn answer_rows<T: CsvRow + Serialize>(
    format: Format,
    rows: &[T],
    json: &impl Serialize,
) -> Result<Response, Problem> {
    if format == Format::Json {
        return reply::json(StatusCode::OK, json);
    }
    let header = match format {
        Format::Csv => csv_header::<T>(),
        Format::Json | Format::JsonLines => String::new(),
    };
    let text = header + &encoded(format, rows)?;
    Ok(reply::with_body(
        StatusCode::OK,
        media_type(format),
        text.into_bytes(),
    ))
}

fn encoded<T: CsvRow + Serialize>(format: Format, rows: &[T]) -> Result<String, Problem> {
    match format {
        Format::Csv => Ok(lines(rows)),
        Format::Json | Format::JsonLines => json_lines(rows).map_err(|error| Problem::internal(&error)),
    }
}

const fn media_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::JsonLines => JSON_LINES,
    }
}

/// The same request with another cursor, as a reference from this one.
fn link_to(query: &str, cursor: &str) -> HeaderValue {
    let joint = if query.is_empty() { "" } else { "&" };
    // Percent-encoded, so that it always makes a header value.
    let link = HeaderValue::from_str(&format!("<?{query}{joint}cursor={cursor}>; rel=\"next\""));
    link.unwrap_or(HeaderValue::from_static(""))
}

impl Query {
    /// All parameters but one, as a query.
    fn without(&self, name: &str) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(self.pairs().filter(|(other, _)| *other != name));
        text.finish()
    }
}
