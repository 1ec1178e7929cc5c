//! The key's own organization: list, show, edit. A key sees no other one.
//!
//! People are shown to an unnarrowed key only; to others their members are there and blank. The datasets are those that
//! the key may read.

use axum::response::Response;
use http::StatusCode;
use keyward_api::fields::Fields;
use keyward_core::field::FieldProblem;
use keyward_core::time::Timestamp;
use keyward_engine::edit_organization::OrganizationEdit;
use keyward_engine::permit::Permit;
use keyward_http::problem::Problem;
use keyward_http::reply;
use keyward_http::routes::Call;
use keyward_http::site::Site;
use keyward_store::organizations;

use crate::shapes::{Organization, Page};
use crate::{paging, values};

const LIST: &str = "workspaces";
/// Most ids of datasets that an organization is shown with; a key that needs more lists the datasets.
const MAX_DATASET_IDS: u32 = 1_000;
/// The last moment of the year 9999: the client turns moments into dates, and fails beyond.
const LATEST_MS: i64 = 253_402_300_799_999;

/// A page with the key's organization, or the empty page after it.
pub(crate) async fn list(permit: Permit, call: Call) -> Result<Response, Problem> {
    let page = paging::read(LIST, call.query)?;
    let mut items = Vec::new();
    if permit.organization_id().as_str() > page.after.as_str() {
        let found = call
            .site
            .engine
            .show_organization(permit.organization_id())
            .await?;
        items.push(shape(&permit, &call.site, found).await?);
    }
    reply::json(
        StatusCode::OK,
        &Page {
            items,
            next_page: None,
        },
    )
}

/// The organization.
pub(crate) async fn show(permit: Permit, call: Call) -> Result<Response, Problem> {
    let found = call
        .site
        .engine
        .show_organization(permit.organization_id())
        .await?;
    reply::json(StatusCode::OK, &shape(&permit, &call.site, found).await?)
}

/// Changes the display name, preferences and attributes.
pub(crate) async fn edit(permit: Permit, mut call: Call) -> Result<Response, Problem> {
    let edit = read_edit(call.fields().await?)?;
    let engine = &call.site.engine;
    let edited = engine.edit_organization(&permit, &call.context, edit).await?;
    reply::json(StatusCode::OK, &shape(&permit, &call.site, edited).await?)
}

fn read_edit(mut fields: Fields) -> Result<OrganizationEdit, Vec<FieldProblem>> {
    let edit = OrganizationEdit {
        name: fields.parsed("name", values::name),
        last_access_at: read_last_access(&mut fields),
        preference: values::preference(&mut fields),
        attributes: values::attributes(&mut fields, values::attribute_edit),
    };
    fields.finish(edit)
}

fn read_last_access(fields: &mut Fields) -> Option<Timestamp> {
    let ms = fields.integer("lastAccess")?;
    let read = (0..=LATEST_MS)
        .contains(&ms)
        .then(|| Timestamp::from_unix_ms(ms))
        .ok_or("must be a moment in Unix milliseconds, before the year 10000");
    fields.keep("lastAccess", read)
}

/// The organization as the permit's key may see it.
async fn shape(
    permit: &Permit,
    site: &Site,
    organization: organizations::Organization,
) -> Result<Organization, Problem> {
    let datasets = site
        .engine
        .list_readable_dataset_ids(permit, MAX_DATASET_IDS)
        .await?;
    let members = if permit.sees_people() {
        site.engine.list_members(&organization.id).await?
    } else {
        Vec::new()
    };
    Ok(Organization::of(site, organization, datasets, members))
}
