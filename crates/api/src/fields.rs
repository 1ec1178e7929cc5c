//! Reading the fields of a JSON object, with every field's problem collected before anything is refused.
//!
//! A reader takes field by field; whoever reads decides at the end whether fields that nobody asked for are a mistake
//! ([`Fields::finish_strictly`], for the management API) or a later client's ([`Fields::finish`], for the resource API).
//! Wrong types are problems, never coerced: `"1"` is no number.

use std::collections::BTreeMap;

use keyward_core::field::{FieldProblem, FieldProblems};
use serde_json::{Map, Value};

/// Most field problems that are reported of one request.
const MAX_PROBLEMS: usize = 100;
/// A field name in a message is cut after so many characters.
const MAX_SHOWN_NAME: usize = 60;

/// The body is no JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    /// Not JSON.
    #[error("the body is no valid JSON (line {line}, column {column})")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// JSON, but no object.
    #[error("the body must be a JSON object, not {0}")]
    NotAnObject(&'static str),
    /// There is none.
    #[error("the body is empty; send a JSON object")]
    Empty,
}

/// The fields of an object that is being read.
#[derive(Debug)]
pub struct Fields {
    values: Map<String, Value>,
    path: String,
    problems: FieldProblems,
}

impl Fields {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyRefused`]; no content of the body is part of it.
    pub fn of_body(body: &[u8]) -> Result<Self, BodyRefused> {
        if body.trim_ascii().is_empty() {
            return Err(BodyRefused::Empty);
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| BodyRefused::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        match value {
            Value::Object(values) => Ok(Self::of_object(values, String::new())),
            other => Err(BodyRefused::NotAnObject(kind_of(&other))),
        }
    }

    /// Reads an object that stands at `path` in a request.
    pub fn of_object(values: Map<String, Value>, path: String) -> Self {
        Self {
            values,
            path,
            problems: FieldProblems::new(),
        }
    }

    /// Notes a problem of a field of this object.
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        let path = self.path_of(name);
        self.problems.add(path, message);
    }

    /// Keeps a good value, notes the problem of a bad one.
    pub fn keep<T, E: std::fmt::Display>(&mut self, name: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.problem(name, error.to_string())).ok()
    }

    /// Takes a field; `None` if it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field; `Some(None)` if it is null, `None` if it is absent.
    pub fn take_nullable(&mut self, name: &str) -> Option<Option<Value>> {
        let value = self.values.remove(name)?;
        Some(Some(value).filter(|value| !value.is_null()))
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.wrong_type(name, "a text", &other),
        }
    }

    /// Whether a field is there and not null. To be asked before it is taken.
    pub fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether a field is there and null. To be asked before it is taken.
    pub fn is_null(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(Value::is_null)
    }

    /// Notes a problem if a field is absent or null. To be asked before it is taken.
    pub fn require(&mut self, name: &str) {
        if !self.has(name) {
            self.problem(name, "is required");
        }
    }

    /// Takes a text that must be there.
    pub fn required_text(&mut self, name: &str) -> Option<String> {
        self.require(name);
        self.text(name)
    }

    /// Takes a text and reads it.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.keep(name, read(&text))
    }

    /// Takes a whole number.
    pub fn integer(&mut self, name: &str) -> Option<i64> {
        let value = self.take(name)?;
        match value.as_i64() {
            Some(number) => Some(number),
            None => self.wrong_type(name, "a whole number", &value),
        }
    }

    /// Takes a list.
    pub fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(items) => Some(items),
            other => self.wrong_type(name, "a list", &other),
        }
    }

    /// Takes a list of at most `most` texts and reads each; a bad entry is named by its position.
    pub fn parsed_list<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        most: usize,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let items = self.list(name)?;
        let count = items.len();
        if count > most {
            self.problem(name, format!("at most {most} entries"));
            return None;
        }
        let mut values = Vec::with_capacity(count);
        for (at, item) in items.into_iter().enumerate() {
            let entry = format!("{name}[{at}]");
            match item {
                Value::String(text) => values.extend(self.keep(&entry, read(&text))),
                other => {
                    self.problem(&entry, format!("must be a text, not {}", kind_of(&other)));
                }
            }
        }
        (values.len() == count).then_some(values)
    }

    /// Takes an object.
    pub fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(values) => Some(values),
            other => self.wrong_type(name, "an object", &other),
        }
    }

    /// Takes an object of which every value is read; a bad value is named by its key.
    pub fn map<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl Fn(Value) -> Result<T, String>,
    ) -> Option<BTreeMap<String, T>> {
        let values = self.object(name)?;
        if values.len() > most {
            self.problem(name, format!("at most {most} entries"));
            return None;
        }
        let count = values.len();
        let mut read_values = BTreeMap::new();
        for (key, value) in values {
            let entry = format!("{name}.{}", shortened(&key));
            match read(value) {
                Ok(value) => {
                    read_values.insert(key, value);
                }
                Err(message) => self.problem(&entry, message),
            }
        }
        (read_values.len() == count).then_some(read_values)
    }

    /// Takes the problems of an object inside this one.
    pub fn absorb(&mut self, problems: Vec<FieldProblem>) {
        self.problems.extend(problems);
    }

    /// Whether nothing is wrong so far.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// Ends the reading; fields that nobody took are ignored.
    ///
    /// # Errors
    /// Every problem.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<FieldProblem>> {
        self.problems.finish(value).map_err(bounded)
    }

    /// Ends the reading; fields that nobody took are problems.
    ///
    /// # Errors
    /// Every problem.
    pub fn finish_strictly<T>(mut self, value: T) -> Result<T, Vec<FieldProblem>> {
        let unknown: Vec<String> = self
            .values
            .keys()
            .take(MAX_PROBLEMS)
            .map(|name| shortened(name))
            .collect();
        for name in unknown {
            self.problem(
                &name,
                "is no field of this request; check the spelling, or leave it out",
            );
        }
        self.finish(value)
    }

    fn wrong_type<T>(&mut self, name: &str, expected: &str, got: &Value) -> Option<T> {
        self.problem(name, format!("must be {expected}, not {}", kind_of(got)));
        None
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

/// As many problems as are reported of one request.
pub(crate) fn bounded(mut problems: Vec<FieldProblem>) -> Vec<FieldProblem> {
    problems.truncate(MAX_PROBLEMS);
    problems
}

/// A field's name as a message may show it: it comes from outside and may be of any length.
pub fn shortened(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(MAX_SHOWN_NAME)
        .collect();
    if name.chars().count() > MAX_SHOWN_NAME {
        shown.push_str("...");
    }
    shown
}

/// What a JSON value is, in words.
pub const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::of_body(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_body_that_is_no_object_says_what_it_is() {
        assert_eq!(Fields::of_body(b" \n").unwrap_err(), BodyRefused::Empty);
        assert_eq!(
            Fields::of_body(b"[1]").unwrap_err(),
            BodyRefused::NotAnObject("a list")
        );
        assert_eq!(
            Fields::of_body(b"{\"a\":1,\n}").unwrap_err(),
            BodyRefused::NotJson { line: 2, column: 1 }
        );
        assert!(Fields::of_body(b"\xff").is_err());
        let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(
            Fields::of_body(deep.as_bytes()).is_err(),
            "and the stack is still there"
        );
    }

    #[test]
    fn every_problem_comes_at_once() {
        let mut read =
            fields(r#"{"name": 1, "status": "1", "tags": {"a": 1, "b": "x"}, "list": ["1", 2, "z"]}"#);
        assert_eq!(read.required_text("name"), None);
        assert_eq!(read.required_text("type"), None);
        assert_eq!(read.integer("status"), None);
        let number = |value: Value| value.as_i64().ok_or_else(|| "must be a whole number".to_owned());
        assert_eq!(read.map("tags", 10, number), None);
        assert_eq!(read.parsed_list("list", 10, str::parse::<u8>), None);
        let problems = read.finish(()).unwrap_err();
        let names: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(names, ["name", "type", "status", "tags.b", "list[1]", "list[2]"]);
    }

    #[test]
    fn what_nobody_took_is_a_problem_only_for_a_strict_reader() {
        assert_eq!(fields(r#"{"nmae": "x"}"#).finish(7), Ok(7));
        let problems = fields(r#"{"nmae": "x"}"#).finish_strictly(7).unwrap_err();
        assert_eq!(problems[0].field, "nmae");
    }

    #[test]
    fn numbers_are_never_coerced() {
        for body in [
            r#"{"n": "1"}"#,
            r#"{"n": 1.0}"#,
            r#"{"n": true}"#,
            r#"{"n": 1e400}"#,
        ] {
            // The last one is no number at all to the parser, which is as good.
            if let Ok(mut read) = Fields::of_body(body.as_bytes()) {
                assert_eq!(read.integer("n"), None, "{body}");
                assert!(!read.is_good());
            }
        }
    }
}
