//! Every page, a file each: its struct with the words of its template, above its handler.
//!
//! A page's address and its form's address are the same where they can be: the form that has to be mended is shown again by the
//! POST, with everything that was typed, and one that was carried out leads to a GET.

mod create_key;
mod edit_key;
mod key_difference;
mod key_fields;
mod key_form;
mod key_rules;
pub(crate) mod key_summary;
pub(crate) mod key_value;
mod replace_key;
mod sign_in;

use crate::routes::ConsoleRoutes;

/// Adds every page.
pub(crate) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let routes = sign_in::add(routes);
    let routes = key_value::add(routes);
    let routes = create_key::add(routes);
    let routes = edit_key::add(routes);
    replace_key::add(routes)
}
