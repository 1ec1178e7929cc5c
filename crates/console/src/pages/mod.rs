//! Every page, a file each: its struct with the words of its template, above its handler.
//!
//! A page's address and its form's address are the same where they can be: the form that has to be mended is shown again by the
//! POST, with everything that was typed, and one that was carried out leads to a GET.

mod contacts;
mod deliveries;
mod emergency;
mod general;
mod invitations;
mod leaving;
mod members;
mod organization_end;
mod overview;
mod roles;
mod secret_keys;
mod security;
mod sign_in;
mod tokens;

use crate::routes::ConsoleRoutes;

/// Adds every page.
pub(crate) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    let routes = sign_in::add(routes);
    let routes = overview::add(routes);
    let routes = members::add(routes);
    let routes = roles::add(routes);
    let routes = leaving::add(routes);
    let routes = invitations::add(routes);
    let routes = general::add(routes);
    let routes = organization_end::add(routes);
    let routes = security::add(routes);
    let routes = contacts::add(routes);
    let routes = deliveries::add(routes);
    let routes = emergency::add(routes);
    let routes = secret_keys::add(routes);
    tokens::add(routes)
}
