//! What is wrong with one field of a request, so that all problems can be reported at once.
//!
//! Collecting, not failing at the first: a person who fixes one mistake should not meet the next one afterwards.

use serde::Serialize;

/// One field's problem: where it is and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field's path in the request (`rules[0].resources[1]`).
    pub field: String,
    /// A sentence that says what is accepted.
    pub message: String,
}

/// Collects [`FieldProblem`]s while a request is read.
#[derive(Debug, Default)]
pub struct FieldProblems(Vec<FieldProblem>);

impl FieldProblems {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes one problem.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldProblem {
            field: field.into(),
            message: message.into(),
        });
    }

    /// Notes all of `problems`.
    pub fn extend(&mut self, problems: Vec<FieldProblem>) {
        self.0.extend(problems);
    }

    /// Keeps the value of a good result, notes the problem of a bad one.
    pub fn keep<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|problem| self.add(field, problem.to_string()))
            .ok()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Ok` with `value` if nothing was noted, all problems otherwise.
    ///
    /// # Errors
    /// Every problem noted so far.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<FieldProblem>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }

    /// What was noted.
    pub fn into_inner(self) -> Vec<FieldProblem> {
        self.0
    }
}
