//! The two parameters of every paged list: `p`, an opaque cursor, and `s`, the size of a page.

use keyward_core::field::FieldProblem;
use keyward_engine::show_keys::Page as Found;
use keyward_http::query::{PageRequest, Paging, Query};

use crate::shapes::Page;

/// The size of a page that nobody asked a size for; what the client sends by default.
const DEFAULT: u32 = 10;
/// The largest page; the client asks for no larger one.
const MOST: u32 = 1_000;

/// Reads which page of `list` is asked for.
///
/// # Errors
/// The problems of both parameters.
pub(crate) fn read(list: &'static str, mut query: Query) -> Result<PageRequest, Vec<FieldProblem>> {
    let page = query.page(Paging {
        list,
        cursor: "p",
        size: "s",
        default: DEFAULT,
        most: MOST,
    });
    query.finish(page)
}

/// The page of `list` on the wire.
pub(crate) fn page<'a, T, U>(list: &'static str, found: &'a Found<T>, shape: impl Fn(&'a T) -> U) -> Page<U> {
    Page {
        items: found.items.iter().map(shape).collect(),
        next_page: found
            .next
            .as_deref()
            .map(|position| keyward_api::cursor::write(list, position)),
    }
}
