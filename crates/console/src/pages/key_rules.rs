//! The rules of a Restricted key as rows of a form: ticked operations, ticked resources, and others by their ids.
//!
//! A row keeps what was typed, readable or not. Rows are added and taken away by the form's own buttons, so that all of it works
//! without JavaScript. Rows are bounded by weight: beyond a number of them, and of datasets, texts take the place of boxes.

use keyward_core::operation::{Family, Operation};
use keyward_core::resource::ResourceType;
use keyward_core::rule::{MAX_RULES, OperationPattern, ResourcePattern, Rule};

use super::key_summary::{family_words, phrase, type_names};
use crate::call::Call;
use crate::refused::Refused;
use crate::values::Values;
use crate::visit::Visit;

/// Most datasets that a form offers.
pub(super) const MAX_DATASETS: u32 = 200;
/// Rows with boxes; later ones have two fields of text.
const ROWS_WITH_BOXES: usize = 4;
/// Boxes of datasets in all rows together, so that a page stays light; fewer where there are rows without boxes.
const DATASET_BOXES: usize = 200;
const DATASET_BOXES_OF_MANY: usize = 80;
/// Longest name of a dataset on a box, in characters.
const SHOWN_NAME: usize = 60;

/// One row as it was filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RuleRow {
    /// Patterns of operations.
    pub(super) operations: Vec<String>,
    /// Patterns of resources that have a box.
    pub(super) resources: Vec<String>,
    /// Patterns of resources as they were typed.
    pub(super) typed: String,
}

/// The datasets that a form offers.
#[derive(Debug, Default)]
pub(super) struct Datasets {
    /// Ids and names.
    pub(super) named: Vec<(String, String)>,
    /// Whether the organization has more.
    pub(super) has_more: bool,
}

/// One box.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_on: bool,
}

/// A row as the template shows it.
pub(super) struct RuleView {
    pub(super) index: usize,
    /// Counted from 1.
    pub(super) number: usize,
    /// Whether it has boxes.
    pub(super) has_boxes: bool,
    /// Operations of a family each.
    pub(super) families: Vec<(&'static str, Vec<Choice>)>,
    pub(super) operations_text: String,
    /// `*` and all of a type.
    pub(super) wholes: Vec<Choice>,
    pub(super) datasets: Vec<Choice>,
    pub(super) typed: String,
    pub(super) operations_problem: Option<String>,
    pub(super) resources_problem: Option<String>,
}

impl Datasets {
    /// The first datasets of the organization.
    pub(super) async fn of(visit: &Visit, call: &Call) -> Result<Self, Refused> {
        let listed = call
            .engine()
            .list_datasets_of(visit.id(), "", MAX_DATASETS)
            .await?;
        Ok(Self {
            has_more: listed.next.is_some(),
            named: listed
                .items
                .into_iter()
                .map(|(id, name)| (id.to_string(), name))
                .collect(),
        })
    }
}

/// The entries of a text: between spaces, line ends, commas.
pub(super) fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'))
        .filter(|entry| !entry.is_empty())
}

impl RuleRow {
    /// The rows that a form sent.
    pub(super) fn of_values(values: &Values) -> Vec<Self> {
        let count = values
            .text("rules")
            .and_then(|text| text.parse().ok())
            .unwrap_or(1_usize);
        let row = |index: usize| {
            let all = |field: &str| {
                let name = format!("rule-{index}-{field}");
                let sent: Vec<_> = values.all(&name).flat_map(entries).map(str::to_owned).collect();
                sent
            };
            Self {
                operations: all("operation"),
                resources: all("resource"),
                typed: values
                    .raw(&format!("rule-{index}-other"))
                    .unwrap_or_default()
                    .to_owned(),
            }
        };
        (0..count.clamp(1, MAX_RULES)).map(row).collect()
    }

    /// The rows of rules that a key has.
    pub(super) fn of_rules(rules: &[Rule]) -> Vec<Self> {
        let rows = rules.iter().map(|rule| Self {
            operations: rule.operations.iter().map(ToString::to_string).collect(),
            resources: rule.resources.iter().map(ToString::to_string).collect(),
            typed: String::new(),
        });
        rows.collect()
    }

    /// Whether nothing was chosen yet.
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.resources.is_empty() && entries(&self.typed).next().is_none()
    }

    /// The rule, and what can't be read of its operations and of its resources.
    pub(super) fn read(&self) -> (Rule, Vec<String>, Vec<String>) {
        let (operations, unread_operations) = sorted(self.operations.iter().map(String::as_str));
        let resources = self
            .resources
            .iter()
            .map(String::as_str)
            .chain(entries(&self.typed));
        let (resources, unread_resources) = sorted::<ResourcePattern>(resources);
        (
            Rule {
                operations,
                resources,
            },
            unread_operations,
            unread_resources,
        )
    }

    fn has(&self, resource: &str) -> bool {
        self.resources.iter().any(|own| own == resource)
    }
}

fn sorted<'a, P>(texts: impl Iterator<Item = &'a str>) -> (Vec<P>, Vec<String>)
where
    P: std::str::FromStr + PartialEq,
    P::Err: std::fmt::Display,
{
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for text in texts {
        match text.parse::<P>() {
            Ok(pattern) if read.contains(&pattern) => {}
            Ok(pattern) => read.push(pattern),
            Err(problem) => unread.push(problem.to_string()),
        }
    }
    (read, unread)
}

/// The rows for the template.
pub(super) fn views(
    rows: &[RuleRow],
    datasets: &Datasets,
    problem: impl Fn(&str) -> Option<String>,
) -> Vec<RuleView> {
    let with_boxes = rows.len().clamp(1, ROWS_WITH_BOXES);
    let boxes = if rows.len() > ROWS_WITH_BOXES {
        DATASET_BOXES_OF_MANY
    } else {
        DATASET_BOXES
    };
    let room = boxes / with_boxes;
    let view = |(index, row): (usize, &RuleRow)| {
        let has_boxes = index < ROWS_WITH_BOXES;
        let wholes = wholes(row);
        // What is ticked always has its box, however many come before it.
        let known: Vec<_> = datasets
            .named
            .iter()
            .enumerate()
            .map(|(at, (id, name))| (at, format!("dataset/{id}"), name))
            .filter(|(at, value, _)| *at < room || row.has(value))
            .map(|(_, value, name)| Choice {
                is_on: row.has(&value),
                label: name.chars().take(SHOWN_NAME).collect(),
                value,
            })
            .collect();
        let boxed = |value: &String| wholes.iter().chain(&known).any(|choice| choice.value == *value);
        let others = row.resources.iter().filter(|value| !has_boxes || !boxed(value));
        let typed: Vec<_> = others.map(String::as_str).chain(entries(&row.typed)).collect();
        RuleView {
            index,
            number: index + 1,
            has_boxes,
            families: families(row),
            operations_text: row.operations.join(", "),
            typed: typed.join(", "),
            wholes,
            datasets: known,
            operations_problem: problem(&format!("rules[{index}].operations")),
            resources_problem: problem(&format!("rules[{index}].resources")),
        }
    };
    rows.iter().enumerate().map(view).collect()
}

fn families(row: &RuleRow) -> Vec<(&'static str, Vec<Choice>)> {
    let choice = |pattern: OperationPattern, label: String| {
        let value = pattern.to_string();
        Choice {
            is_on: row.operations.contains(&value),
            value,
            label,
        }
    };
    let ruled = Family::ALL.into_iter().filter(|family| family.scope().is_some());
    ruled
        .map(|family| {
            let all = format!("everything with {}", family_words(family));
            let own = Operation::ALL.into_iter().filter(|one| one.family() == family);
            let own = own.map(|one| choice(OperationPattern::One(one), phrase(one).to_owned()));
            let whole = choice(OperationPattern::Family(family), all);
            (family.name(), std::iter::once(whole).chain(own).collect())
        })
        .collect()
}

fn wholes(row: &RuleRow) -> Vec<Choice> {
    let everything = Choice {
        is_on: row.has("*"),
        value: "*".to_owned(),
        label: "everything".to_owned(),
    };
    let types = ResourceType::ALL.map(|of| {
        let value = format!("{}/*", of.name());
        Choice {
            is_on: row.has(&value),
            label: format!("all {}", type_names(of).1),
            value,
        }
    });
    std::iter::once(everything).chain(types).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_rule_and_keeps_what_can_not_be_read() {
        let values = Values::parse(
            b"rules=2&rule-0-operation=dataset.read&rule-0-operation=dataset.fly&rule-0-resource=dataset%2Fd1\
              &rule-0-other=run%2Fr1%2C+run%2Fr1%0Amoon",
        );
        let rows = RuleRow::of_values(&values);
        assert_eq!(rows.len(), 2);
        assert!(rows[1].is_empty());
        let (rule, operations, resources) = rows[0].read();
        assert_eq!(rule.operations.len(), 1);
        assert_eq!(
            rule.resources.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["dataset/d1", "run/r1"]
        );
        assert!(operations[0].contains("dataset.fly") && resources[0].contains("moon"));
    }

    #[test]
    fn nothing_that_was_chosen_is_lost_when_a_form_is_shown_again() {
        let datasets = Datasets {
            named: (0..200)
                .map(|at| (format!("d{at}"), format!("Dataset {at}")))
                .collect(),
            has_more: true,
        };
        let row = RuleRow {
            operations: vec!["dataset.*".to_owned()],
            resources: vec![
                "dataset/d199".to_owned(),
                "dataset/gone".to_owned(),
                "*".to_owned(),
            ],
            typed: "run/r1".to_owned(),
        };
        let rows = vec![row; MAX_RULES];
        let views = views(&rows, &datasets, |_| None);
        let first = &views[0];
        let ticked = first
            .wholes
            .iter()
            .chain(&first.datasets)
            .filter(|choice| choice.is_on);
        assert_eq!(
            ticked.map(|choice| choice.value.as_str()).collect::<Vec<_>>(),
            ["*", "dataset/d199"]
        );
        assert_eq!(first.typed, "dataset/gone, run/r1");
        let last = &views[MAX_RULES - 1];
        assert!(!last.has_boxes);
        assert_eq!(last.typed, "dataset/d199, dataset/gone, *, run/r1");
        let boxes: usize = views
            .iter()
            .filter(|view| view.has_boxes)
            .map(|view| view.datasets.len())
            .sum();
        assert!(boxes <= DATASET_BOXES + ROWS_WITH_BOXES);
    }
}
