//! Every page, a file each: its struct with the words of its template, above its handler.
//!
//! A page's address and its form's address are the same where they can be: the form that has to be mended is shown again by the
//! POST, with everything that was typed, and one that was carried out leads to a GET.

mod key_value;
mod sign_in;

use crate::routes::ConsoleRoutes;

/// Adds every page.
pub(crate) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let routes = sign_in::add(routes);
    key_value::add(routes)
}
