//! The resource API that secret keys open, in the form that the official Vi client sends and accepts.
//!
//! [`endpoints`] is the table of all 115; the router is made from it and from nothing else. A request that reaches a
//! handler was let in by `keyward_http::routes`; handlers parse, make one engine call, and render a shape. The client is
//! strict about what it is sent and evolves in what it sends: replies have every member that it demands in the type
//! that it demands, and members of requests that nobody knows are ignored.

mod collaborators;
mod datasets;
pub mod endpoints;
mod not_available;
mod organizations;
mod paging;
mod shapes;
mod values;

use axum::Router;
use keyward_http::routes::Routes;
use keyward_http::site::SharedSite;

use crate::endpoints::{Answer, ENDPOINTS, Endpoint, FOLDER_CALLED_CHILDREN};

/// All routes of the resource API.
pub fn router() -> Router<SharedSite> {
    ENDPOINTS
        .iter()
        .chain(&FOLDER_CALLED_CHILDREN)
        .fold(Routes::new(), add)
        .finish()
}

fn add(routes: Routes, endpoint: &'static Endpoint) -> Routes {
    let (method, path, guard) = (endpoint.verb.filter(), endpoint.path, endpoint.guard);
    match endpoint.answer {
        Answer::ListOrganizations => routes.add(method, path, guard, organizations::list),
        Answer::ShowOrganization => routes.add(method, path, guard, organizations::show),
        Answer::EditOrganization => routes.add(method, path, guard, organizations::edit),
        Answer::ListMembers => routes.add(method, path, guard, collaborators::of_organization),
        Answer::ListDatasets => routes.add(method, path, guard, datasets::list::list),
        Answer::ListSimpleDatasets => routes.add(method, path, guard, datasets::list::list_simple),
        Answer::CreateDataset => routes.add(method, path, guard, datasets::create::create),
        Answer::ShowDataset => routes.add(method, path, guard, datasets::show::show),
        Answer::EditDataset => routes.add(method, path, guard, datasets::edit::edit),
        Answer::DeleteDataset => routes.add(method, path, guard, datasets::delete::delete),
        Answer::ShowDeletion => routes.add(method, path, guard, datasets::delete::show_deletion),
        Answer::ListCollaborators => routes.add(method, path, guard, collaborators::of_dataset),
        Answer::NotAvailable => routes.add(method, path, guard, move |permit, _| {
            not_available::refuse(permit, endpoint)
        }),
        Answer::CancelNotAvailable => routes.add(method, path, guard, move |permit, call| {
            not_available::refuse_cancel(permit, call, endpoint)
        }),
    }
}
