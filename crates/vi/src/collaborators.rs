//! Who works with an organization, and with a dataset: the members of the organization in both cases, because nobody is
//! let into a single dataset here.
//!
//! A key that was narrowed sees an empty page. The client does not go on to a second page, so there is none.

use axum::response::Response;
use http::StatusCode;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::Call;
use keyward_http::site::Site;

use crate::datasets;
use crate::shapes::{Collaborator, Page};

/// The people of the organization.
pub(crate) async fn of_organization(permit: Permit, call: Call) -> Result<Response, Problem> {
    members(&permit, &call.site).await
}

/// The people of a dataset.
pub(crate) async fn of_dataset(permit: Permit, call: Call) -> Result<Response, Problem> {
    let id = datasets::id_of(&call)?;
    // A dataset that is not there has nobody, which is not the same as an empty page.
    call.site.engine.show_dataset(&permit, &id).await?;
    members(&permit, &call.site).await
}

async fn members(permit: &Permit, site: &Site) -> Result<Response, Problem> {
    let members = if permit.sees_people() {
        site.engine.list_members(permit.organization_id()).await?
    } else {
        Vec::new()
    };
    let items: Vec<Collaborator> = members.into_iter().map(Collaborator::of).collect();
    reply::json(
        StatusCode::OK,
        &Page {
            items,
            next_page: None,
        },
    )
}
