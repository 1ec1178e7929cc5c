//! Datasets: create, list, show, edit, delete. Their content is not here.
//!
//! In paths the client writes `{organization}_{dataset}`; on the wire a dataset's id stands alone, so that what is read
//! in one reply can be used in any request.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod list;
pub(crate) mod show;

use keyward_core::ids::DatasetId;
use keyward_http::problem::Problem;
use keyward_http::routes::{Call, dataset_id};

/// The dataset that the path names; what can be no dataset's id names nothing.
pub(crate) fn id_of(call: &Call) -> Result<DatasetId, Problem> {
    dataset_id(call.path("organization"), call.path("dataset"))
        .parse()
        .map_err(|_| Problem::not_found("dataset"))
}
