//! Every endpoint as a request, and what the matrix says of it.
//!
//! An endpoint that stands in one of the two tables only fails: in `permissions`, or in the crate's own.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Request;
use keyward_vi::endpoints::{ENDPOINTS, FOLDER_CALLED_CHILDREN};

use crate::permissions::{BUILT, On, Row, by_endpoint};
use crate::support::{Reply, Vi};

/// The id that every request names; nothing has it, so that nothing is changed.
pub(crate) const ID: &str = "x1";

/// One way to ask an endpoint.
pub(crate) struct Case {
    pub(crate) number: String,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) row: Row,
    pub(crate) on: On,
}

/// All cases; fails if one of the tables has an endpoint that the other lacks.
pub(crate) fn cases() -> Vec<Case> {
    let mut table = by_endpoint();
    let mut cases = Vec::new();
    let mut seen = BTreeSet::new();
    for endpoint in ENDPOINTS.iter().chain(&FOLDER_CALLED_CHILDREN) {
        let queries: &[&str] = match endpoint.number {
            "95" | "96" => &["", "?contents=y"],
            _ => &[""],
        };
        for query in queries {
            let number = format!("{}{query}", endpoint.number);
            let (row, on) = *table.get(&number).expect("every endpoint stands in the matrix");
            let mut path = filled(endpoint.path);
            if number == "38" {
                path.push_str(":cancel");
            }
            path.push_str(query);
            seen.insert(number.clone());
            cases.push(Case {
                number,
                method: endpoint.verb.name(),
                path,
                row,
                on,
            });
        }
    }
    table.retain(|number, _| !seen.contains(number));
    assert!(table.is_empty(), "in the matrix, but no endpoint: {table:?}");
    cases
}

/// A path with an id for each parameter; the dataset's in the form that the client writes.
fn filled(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment {
        "{organization}" => "org-1".to_owned(),
        "{dataset}" => format!("org-1_{ID}"),
        parameter if parameter.starts_with('{') => ID.to_owned(),
        word => word.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

pub(crate) async fn ask(vi: &Vi, case: &Case, key: Option<&str>, organization: Option<&str>) -> Reply {
    let mut request = Request::builder().method(case.method).uri(&case.path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    if let Some(organization) = organization {
        request = request.header("organization-id", organization);
    }
    let body = match case.method {
        "GET" | "DELETE" => Body::empty(),
        _ => Body::from("{}"),
    };
    vi.send(request.body(body).expect("the case is a request")).await
}

#[track_caller]
pub(crate) fn assert_refused(case: &Case, who: &str, reply: &Reply, status: u16, code: &str) {
    let is_so = reply.status == status && reply.body.contains(&format!("\"code\":\"{code}\""));
    assert!(
        is_so,
        "{} {} {}, {who}: {code} was expected, not {} {}",
        case.number, case.method, case.path, reply.status, reply.body
    );
}

#[track_caller]
pub(crate) fn assert_let_in(case: &Case, who: &str, reply: &Reply) {
    let built = BUILT.iter().find(|(number, ..)| *number == case.number);
    match built {
        None => assert_refused(case, who, reply, 404, "not_available_here"),
        Some((_, status, "")) => assert_eq!(
            reply.status, *status,
            "{} {}, {who}: {}",
            case.number, case.path, reply.body
        ),
        Some((_, status, code)) => assert_refused(case, who, reply, *status, code),
    }
}
