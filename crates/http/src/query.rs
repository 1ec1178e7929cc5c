//! Query strings: read once, with every parameter's problem collected.
//!
//! A second `?` separates like `&`: the official client writes one. Parameters that nobody asks for are ignored, because
//! clients evolve; one that is asked for must not be there twice.

use keyward_core::field::{FieldProblem, FieldProblems};

/// The parameters of a request.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    problems: FieldProblems,
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The id after which it begins; empty for the first page.
    pub after: String,
    /// At most so many items.
    pub limit: u32,
}

/// The names and bounds of a list's page parameters.
#[derive(Debug, Clone, Copy)]
pub struct Paging {
    /// The list that cursors belong to.
    pub list: &'static str,
    /// The parameter that holds the cursor.
    pub cursor: &'static str,
    /// The parameter that holds the size.
    pub size: &'static str,
    /// The size if none is asked for.
    pub default: u32,
    /// The largest size.
    pub most: u32,
}

impl Query {
    /// Reads a query string.
    pub fn of(query: Option<&str>) -> Self {
        Self {
            pairs: pairs(query),
            problems: FieldProblems::new(),
        }
    }

    /// The value of a parameter, if it is there.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.pairs.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| value.clone());
        if values.next().is_some() {
            self.problems.add(name, "is there twice; send it once");
        }
        value
    }

    /// The value of a parameter, read; `None` if it is absent or can't be read.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.problems
            .keep(name, read(&text).map_err(|error| error.to_string()))
    }

    /// Names and values in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads cursor and size of a page.
    pub fn page(&mut self, paging: Paging) -> PageRequest {
        let after = match self.text(paging.cursor) {
            None => String::new(),
            Some(cursor) if cursor.is_empty() => String::new(),
            Some(cursor) => {
                let read = keyward_api::cursor::read(paging.list, &cursor);
                self.problems.keep(paging.cursor, read).unwrap_or_default()
            }
        };
        let limit = match self.text(paging.size) {
            None => paging.default,
            Some(text) => {
                let read = text
                    .parse::<u32>()
                    .ok()
                    .filter(|size| (1..=paging.most).contains(size));
                let read = read.ok_or_else(|| format!("is a whole number from 1 to {}", paging.most));
                self.problems.keep(paging.size, read).unwrap_or(paging.default)
            }
        };
        PageRequest { after, limit }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Every parameter's problem.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<FieldProblem>> {
        self.problems.finish(value)
    }
}

/// Names and values in their order, decoded. Whoever decides by a parameter and whoever uses it read it here, so that they
/// can't read it differently.
pub(crate) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    let query = query.unwrap_or_default().replace('?', "&");
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGING: Paging = Paging {
        list: "datasets",
        cursor: "p",
        size: "s",
        default: 10,
        most: 1_000,
    };

    fn page(query: &str) -> Result<PageRequest, Vec<FieldProblem>> {
        let mut query = Query::of(Some(query));
        let page = query.page(PAGING);
        query.finish(page)
    }

    #[test]
    fn a_page_has_a_place_and_a_size() {
        let first = PageRequest {
            after: String::new(),
            limit: 10,
        };
        assert_eq!(page(""), Ok(first.clone()));
        assert_eq!(page("p="), Ok(first));
        let cursor = keyward_api::cursor::write("datasets", "d1");
        let second = PageRequest {
            after: "d1".to_owned(),
            limit: 1_000,
        };
        assert_eq!(page(&format!("s=1000&p={cursor}")), Ok(second.clone()));
        assert_eq!(page(&format!("intent=x?s=1000&p={cursor}")), Ok(second));
    }

    #[test]
    fn every_bad_parameter_is_named() {
        for bad in ["s=0", "s=1001", "s=ten", "s=-1", "s=1&s=2", "s="] {
            assert_eq!(page(bad).unwrap_err()[0].field, "s", "{bad}");
        }
        let both = page("p=zzz&s=0").unwrap_err();
        assert_eq!((both[0].field.as_str(), both[1].field.as_str()), ("p", "s"));
    }
}
