//! The Secret Keys page of an organization, and what is done from its rows: search, remove many, pause, resume, remove, export.
//!
//! The table's view (filter, order, place) is in its address, so that it can be kept as a bookmark and every form leads back to it. A
//! pasted key is the one thing that never stands there: the search is a form, and leads to the id of what it found.

mod bulk;
mod export;
mod one;
mod row;
mod search;
mod table;
mod victims;
mod view;

use keyward_core::management_right::ManagementRight;

use crate::routes::ConsoleRoutes;

/// The page's address below that of the organization.
const TABLE: &str = "settings/secret-keys";

/// What the page says after a form: the word in the address, and the sentence.
const SENTENCES: [(&str, &str); 5] = [
    (
        "paused",
        "The key is paused. Its next request is refused, until somebody resumes it.",
    ),
    (
        "resumed",
        "The key is resumed. It is accepted again, within its conditions.",
    ),
    (
        "removed",
        "The key is removed. No request is accepted with it from now on.",
    ),
    ("created", "The key is created."),
    (
        "edited",
        "The key is changed. What it may do now counts from its next request on.",
    ),
];

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let (read, write) = (ManagementRight::KeysRead, ManagementRight::KeysWrite);
    routes
        .page("/org/{organization}/settings/secret-keys", read, table::show)
        .form(
            "/org/{organization}/settings/secret-keys/search",
            read,
            search::find,
        )
        .page(
            "/org/{organization}/settings/secret-keys/export",
            read,
            export::export,
        )
        .form(
            "/org/{organization}/settings/secret-keys/bulk",
            write,
            bulk::preview,
        )
        .form(
            "/org/{organization}/settings/secret-keys/bulk/run",
            write,
            bulk::run,
        )
        .page(
            "/org/{organization}/settings/secret-keys/{key}/pause",
            write,
            one::show_pause,
        )
        .form(
            "/org/{organization}/settings/secret-keys/{key}/pause",
            write,
            one::pause,
        )
        .form(
            "/org/{organization}/settings/secret-keys/{key}/resume",
            write,
            one::resume,
        )
        .page(
            "/org/{organization}/settings/secret-keys/{key}/remove",
            write,
            one::show_remove,
        )
        .form(
            "/org/{organization}/settings/secret-keys/{key}/remove",
            write,
            one::remove,
        )
}
