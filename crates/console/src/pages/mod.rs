//! Every page, a file each: its struct with the words of its template, above its handler.
//!
//! A page's address and its form's address are the same where they can be: the form that has to be mended is shown again by the
//! POST, with everything that was typed, and one that was carried out leads to a GET.

mod access_words;
mod account;
mod activity;
mod activity_rows;
mod audit;
mod audit_erase;
mod audit_export;
mod audit_verify;
mod audit_words;
mod callers;
mod chart;
mod compromised;
mod contacts;
mod create_key;
mod deliveries;
mod edit_key;
mod emergency;
mod explain_key;
mod general;
mod help;
mod invitation_links;
mod invitations;
mod key;
mod key_activity;
mod key_advice;
mod key_difference;
mod key_fields;
mod key_form;
mod key_head;
mod key_report;
mod key_rules;
mod key_secrets;
mod key_summary;
mod key_value;
mod leak;
mod leaving;
mod members;
mod organization_end;
mod overview;
mod replace_key;
mod roles;
mod rotate_key;
mod second_factor;
mod secret_keys;
mod security;
mod sign_in;
mod sign_in_links;
mod tokens;
mod usage_export;
mod usage_filter;
mod usage_words;

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
    let routes = tokens::add(routes);
    let routes = sign_in_links::add(routes);
    let routes = invitation_links::add(routes);
    let routes = account::add(routes);
    let routes = second_factor::add(routes);
    let routes = audit::add(routes);
    let routes = audit_verify::add(routes);
    let routes = audit_export::add(routes);
    let routes = audit_erase::add(routes);
    let routes = help::add(routes);
    let routes = key_value::add(routes);
    let routes = create_key::add(routes);
    let routes = edit_key::add(routes);
    let routes = replace_key::add(routes);
    let routes = key::add(routes);
    let routes = key_secrets::add(routes);
    let routes = key_advice::add(routes);
    let routes = explain_key::add(routes);
    let routes = rotate_key::add(routes);
    let routes = key_activity::add(routes);
    let routes = usage_export::add(routes);
    let routes = activity::add(routes);
    let routes = compromised::add(routes);
    key_report::add(routes)
}
