//! Which keys the table shows, and in which order: read out of an address or a form, and written into the addresses of links.
//!
//! Only what is understood is taken over, so that no address puts a text of its own on the page or into a link.

use keyward_core::environment::Environment;
use keyward_core::ids::KeyId;
use keyward_core::key_filter::{Direction, KeyFilter, KeySort};
use keyward_core::record::{Actor, ShownState};
use keyward_core::rotation::DueStatus;
use keyward_core::time::{DAY_MS, Timestamp};

use crate::values::Values;

/// Most keys that an address names one by one; as many as a search finds.
const MAX_IDS: usize = 100;
/// Longest text that is searched for.
pub(super) const MAX_TEXT: usize = 200;
/// Days of the filters for unused keys.
pub(super) const UNUSED_DAYS: [i64; 2] = [30, 90];

/// Which keys by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum StateChoice {
    /// All but deleted ones.
    #[default]
    Kept,
    /// Deleted ones too.
    All,
    /// Those in this state.
    Only(ShownState),
}

impl StateChoice {
    pub(super) const ALL: [Self; 6] = [
        Self::Kept,
        Self::Only(ShownState::Active),
        Self::Only(ShownState::Paused),
        Self::Only(ShownState::Expired),
        Self::Only(ShownState::Deleted),
        Self::All,
    ];

    /// Its word in an address; empty for the usual choice.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kept => "",
            Self::All => "all",
            Self::Only(state) => state.name(),
        }
    }

    /// As people choose it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Kept => "All but deleted",
            Self::All => "All, deleted too",
            Self::Only(ShownState::Active) => "Active",
            Self::Only(ShownState::Paused) => "Paused",
            Self::Only(ShownState::Expired) => "Expired",
            Self::Only(ShownState::Deleted) => "Deleted",
        }
    }

    fn states(self) -> Vec<ShownState> {
        match self {
            Self::Kept => vec![ShownState::Active, ShownState::Paused, ShownState::Expired],
            Self::All => Vec::new(),
            Self::Only(state) => vec![state],
        }
    }
}

/// Which keys by their next rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DueChoice {
    /// Within the next two weeks.
    Soon,
    /// Due or overdue.
    Due,
}

impl DueChoice {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Soon => "soon",
            Self::Due => "due",
        }
    }

    fn statuses(self) -> Vec<DueStatus> {
        match self {
            Self::Soon => vec![DueStatus::DueSoon],
            Self::Due => vec![DueStatus::Due, DueStatus::Overdue],
        }
    }
}

/// What the table shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) environment: Option<Option<Environment>>,
    pub(super) state: StateChoice,
    pub(super) unused_days: Option<i64>,
    pub(super) due: Option<DueChoice>,
    pub(super) creator: Option<Actor>,
    pub(super) text: Option<String>,
    pub(super) ids: Vec<KeyId>,
    pub(super) sort: KeySort,
    pub(super) direction: Direction,
}

impl Default for View {
    fn default() -> Self {
        Self {
            environment: None,
            state: StateChoice::Kept,
            unused_days: None,
            due: None,
            creator: None,
            text: None,
            ids: Vec::new(),
            sort: KeySort::Created,
            direction: first_direction(KeySort::Created),
        }
    }
}

/// In which direction an order is looked at first: what is newest or most urgent comes on top.
pub(super) const fn first_direction(sort: KeySort) -> Direction {
    match sort {
        KeySort::Created | KeySort::LastUsed => Direction::Descending,
        KeySort::Name | KeySort::Expires | KeySort::Due => Direction::Ascending,
    }
}

pub(super) const fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "ascending",
        Direction::Descending => "descending",
    }
}

pub(super) const fn environment_value(environment: Option<Environment>) -> &'static str {
    match environment {
        Some(environment) => environment.name(),
        None => "none",
    }
}

impl View {
    /// Reads what an address or a form says.
    pub(super) fn read(values: &Values) -> Self {
        let environment = values.text("environment").and_then(|text| match text {
            "none" => Some(None),
            name => Environment::from_name(name).map(Some),
        });
        let state = StateChoice::ALL
            .into_iter()
            .find(|choice| Some(choice.name()) == values.text("state"));
        let days = values.text("unused").and_then(|text| text.parse::<i64>().ok());
        let due = [DueChoice::Soon, DueChoice::Due]
            .into_iter()
            .find(|choice| Some(choice.name()) == values.text("due"));
        let ids = values.text("ids").unwrap_or_default().split(',');
        let ids = values.text("id").into_iter().chain(ids);
        let sort = values.text("sort").and_then(KeySort::from_name);
        let sort = sort.unwrap_or(KeySort::Created);
        let direction = match values.text("direction") {
            Some("ascending") => Direction::Ascending,
            Some("descending") => Direction::Descending,
            _ => first_direction(sort),
        };
        Self {
            environment,
            state: state.unwrap_or_default(),
            unused_days: days.filter(|days| UNUSED_DAYS.contains(days)),
            due,
            creator: values.text("creator").and_then(|text| text.parse().ok()),
            text: values
                .text("text")
                .filter(|text| is_searchable(text))
                .map(str::to_owned),
            ids: ids.filter_map(|id| id.parse().ok()).take(MAX_IDS).collect(),
            sort,
            direction,
        }
    }

    /// What the engine is asked for.
    pub(super) fn filter(&self, now: Timestamp) -> KeyFilter {
        KeyFilter {
            ids: self.ids.clone(),
            // Keys that are named are shown whatever became of them.
            states: if self.ids.is_empty() {
                self.state.states()
            } else {
                Vec::new()
            },
            environments: self.environment.into_iter().collect(),
            creators: self.creator.iter().cloned().collect(),
            due: self.due.map(DueChoice::statuses).unwrap_or_default(),
            unused_since: self.unused_days.map(|days| now.plus_ms(1 - days * DAY_MS)),
            text: self.text.clone(),
            ..KeyFilter::default()
        }
    }

    /// Whether it leaves out keys that are not deleted.
    pub(super) fn is_narrowed(&self) -> bool {
        let order = Self {
            sort: self.sort,
            direction: self.direction,
            ..Self::default()
        };
        *self != order
    }

    /// Names and values of its address, those of the usual view left out.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if let Some(environment) = self.environment {
            pairs.push(("environment", environment_value(environment).to_owned()));
        }
        if self.state != StateChoice::Kept {
            pairs.push(("state", self.state.name().to_owned()));
        }
        if let Some(days) = self.unused_days {
            pairs.push(("unused", days.to_string()));
        }
        if let Some(due) = self.due {
            pairs.push(("due", due.name().to_owned()));
        }
        if let Some(creator) = &self.creator {
            pairs.push(("creator", creator.to_string()));
        }
        if let Some(text) = &self.text {
            pairs.push(("text", text.clone()));
        }
        match self.ids.as_slice() {
            [] => {}
            [one] => pairs.push(("id", one.to_string())),
            several => {
                let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
                pairs.push(("ids", ids.join(",")));
            }
        }
        if self.sort != KeySort::Created || self.direction != first_direction(self.sort) {
            pairs.push(("sort", self.sort.name().to_owned()));
            if self.direction != first_direction(self.sort) {
                pairs.push(("direction", direction_name(self.direction).to_owned()));
            }
        }
        pairs
    }

    /// `path` with this view.
    pub(super) fn link(&self, path: &str) -> String {
        self.link_with(path, &[])
    }

    /// The same with further names and values.
    pub(super) fn link_with(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.pairs());
        query.extend_pairs(more);
        let query = query.finish();
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        }
    }
}

fn is_searchable(text: &str) -> bool {
    text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_back_from_its_own_address_and_takes_nothing_else_over() {
        let asked = "environment=ci_cd&state=paused&unused=30&due=due&creator=token%2F0123456789abcdef\
                     &text=a%26b&ids=0123456789abcdef,0123456789abcdeg&sort=name&direction=descending";
        let view = View::read(&Values::parse(asked.as_bytes()));
        let link = view.link("keys");
        assert_eq!(
            View::read(&Values::parse(link.trim_start_matches("keys?").as_bytes())),
            view
        );
        assert!(
            link.contains("text=a%26b") && link.contains("sort=name&direction=descending"),
            "{link}"
        );
        for nonsense in [
            "environment=moon&state=%3Cscript%3E&unused=31&due=never&creator=me&sort=size&direction=up&x=y",
            "text=%00&id=1&ids=,,",
        ] {
            let view = View::read(&Values::parse(nonsense.as_bytes()));
            assert_eq!(view, View::default(), "{nonsense}");
            assert_eq!(view.link("keys"), "keys");
        }
    }
}
