//! Who may do what, written down by hand as the decided matrix has it, and nothing of it taken from the code.
//!
//! [`OPERATIONS`] is the matrix: an operation, its endpoints, the scope it lies in, and what each level says. What an
//! endpoint is done to stands in [`RESOURCES`].

use std::collections::BTreeMap;

/// What the scopes of a key must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scopes {
    Any,
    AllThree,
    One(&'static str),
    /// No scope opens it.
    Nothing,
}

/// What a level says of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Yes,
    No,
    ByRule,
}

/// What an endpoint is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Organization,
    /// A list.
    List(&'static str),
    /// One that does not exist yet.
    New(&'static str),
    /// The one in the path.
    One(&'static str),
}

/// A row of the matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) operation: &'static str,
    endpoints: &'static str,
    pub(crate) scopes: Scopes,
    /// Full, Read Only, Labeler Only, Restricted.
    pub(crate) levels: [Says; 4],
}

use Says::{ByRule, No, Yes};

/// The endpoints that differ with `contents=y` are written twice, the second time with that behind the number.
#[rustfmt::skip]
const OPERATIONS: &[Row] = &[
    Row { operation: "organization.read", endpoints: "1 2 4 6-8", scopes: Scopes::Any, levels: [Yes, Yes, Yes, Yes] },
    Row { operation: "organization.write", endpoints: "3", scopes: Scopes::AllThree, levels: [Yes, No, No, No] },
    Row { operation: "members.write", endpoints: "5", scopes: Scopes::Nothing, levels: [No, No, No, No] },
    Row { operation: "dataset.read", endpoints: "9 10 12 15-17 19 21 25-27 31-33 35 37 44-47 51 53 56-58 60 63 63b 64 65", scopes: Scopes::One("dataset"), levels: [Yes, Yes, Yes, ByRule] },
    Row { operation: "dataset.export", endpoints: "22-24", scopes: Scopes::One("dataset"), levels: [Yes, Yes, No, ByRule] },
    Row { operation: "dataset.write", endpoints: "11 13 18 29 30 36 38-43 59 61 62 66-68", scopes: Scopes::One("dataset"), levels: [Yes, No, No, ByRule] },
    Row { operation: "dataset.delete", endpoints: "14 20 28 34", scopes: Scopes::One("dataset"), levels: [Yes, No, No, ByRule] },
    Row { operation: "annotation.write", endpoints: "48 49 52 54 55 69", scopes: Scopes::One("dataset"), levels: [Yes, No, Yes, ByRule] },
    Row { operation: "annotation.delete", endpoints: "50", scopes: Scopes::One("dataset"), levels: [Yes, No, No, ByRule] },
    Row { operation: "training.read", endpoints: "70 71 75 77-80 84 86-90 94 95 96", scopes: Scopes::One("training"), levels: [Yes, Yes, No, ByRule] },
    Row { operation: "training.write", endpoints: "72 73 76 81 82 85 91 92", scopes: Scopes::One("training"), levels: [Yes, No, No, ByRule] },
    Row { operation: "training.delete", endpoints: "74 83 93", scopes: Scopes::One("training"), levels: [Yes, No, No, ByRule] },
    Row { operation: "model.download", endpoints: "95?contents=y 96?contents=y", scopes: Scopes::One("training"), levels: [Yes, Yes, No, ByRule] },
    Row { operation: "deployment.read", endpoints: "97 98 102-105 109-111", scopes: Scopes::One("deployment"), levels: [Yes, Yes, No, ByRule] },
    Row { operation: "deployment.write", endpoints: "99 100 106 107 112 113", scopes: Scopes::One("deployment"), levels: [Yes, No, No, ByRule] },
    Row { operation: "deployment.delete", endpoints: "101 108 114", scopes: Scopes::One("deployment"), levels: [Yes, No, No, ByRule] },
];

const RESOURCES: &[(&str, On)] = &[
    ("1-8", On::Organization),
    ("9 10", On::List("dataset")),
    ("11", On::New("dataset")),
    ("12-69 63b", On::One("dataset")),
    ("70 77", On::List("training_project")),
    ("72", On::New("training_project")),
    ("71 73-76", On::One("training_project")),
    ("78 79", On::List("flow")),
    ("80-87", On::One("flow")),
    ("88 89", On::List("run")),
    ("90-96 95?contents=y 96?contents=y", On::One("run")),
    ("97 103", On::List("deployment")),
    ("98-102", On::One("deployment")),
    ("104", On::List("deployment_project")),
    ("105-109", On::One("deployment_project")),
    ("110", On::List("deployment_endpoint")),
    ("111-114", On::One("deployment_endpoint")),
];

/// The endpoints that are built, and how they answer who is let in, for an empty object and an id of nothing.
pub(crate) const BUILT: &[(&str, u16, &str)] = &[
    ("1", 200, ""),
    ("2", 200, ""),
    ("3", 200, ""),
    ("4", 200, ""),
    ("9", 200, ""),
    ("10", 200, ""),
    ("11", 422, "invalid_fields"),
    ("12", 404, "not_found"),
    ("13", 404, "not_found"),
    ("14", 404, "not_found"),
    ("15", 404, "not_found"),
    ("16", 404, "not_found"),
];

/// The row and the resource of each endpoint.
pub(crate) fn by_endpoint() -> BTreeMap<String, (Row, On)> {
    let mut resources = BTreeMap::new();
    for (endpoints, on) in RESOURCES {
        for number in expand(endpoints) {
            let before = resources.insert(number.clone(), *on);
            assert!(before.is_none(), "the resource of {number} is written twice");
        }
    }
    let mut table = BTreeMap::new();
    for row in OPERATIONS {
        for number in expand(row.endpoints) {
            let on = resources
                .remove(&number)
                .expect("an endpoint has a resource, and stands in one row");
            table.insert(number, (*row, on));
        }
    }
    assert!(resources.is_empty(), "without an operation: {resources:?}");
    table
}

fn expand(endpoints: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    for part in endpoints.split(' ') {
        match part.split_once('-') {
            None => numbers.push(part.to_owned()),
            Some((first, last)) => {
                let number = |text: &str| text.parse::<u8>().expect("the ends of a range are numbers");
                numbers.extend((number(first)..=number(last)).map(|number| number.to_string()));
            }
        }
    }
    numbers
}
