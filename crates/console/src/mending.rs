//! What is wrong with a form: a sentence for the whole and one for each field, and the status of the page that shows them.
//!
//! A page that has a form takes a [`Mending`] along, which is empty when the page is only looked at. What the engine refuses is put
//! in here where the form can answer it; the rest is [`Refused`]'s.

use http::StatusCode;
use keyward_core::field::FieldProblem;
use keyward_engine::EngineError;

use crate::refused::Refused;

/// What is to be mended before a form can be carried out.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    /// What is said above the form.
    pub(crate) notice: Option<String>,
    fields: Vec<FieldProblem>,
    status: StatusCode,
}

impl Mending {
    /// A form that nobody sent yet.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// The form with these problems.
    pub(crate) fn of(fields: Vec<FieldProblem>) -> Self {
        let notice = match fields.len() {
            0 => None,
            1 => Some("Nothing was changed: one field below needs another value.".to_owned()),
            count => Some(format!(
                "Nothing was changed: {count} fields below need other values."
            )),
        };
        Self {
            notice,
            fields,
            status: StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// The form that the engine refused.
    ///
    /// # Errors
    /// What no form can answer.
    pub(crate) fn after(error: EngineError) -> Result<Self, Refused> {
        let (status, why) = match error {
            EngineError::Invalid(fields) => return Ok(Self::of(fields)),
            EngineError::Conflict(why) => (StatusCode::CONFLICT, format!("Nothing was changed: {why}.")),
            EngineError::Forbidden(why) => (StatusCode::FORBIDDEN, format!("Nothing was changed: {why}.")),
            EngineError::Stale { .. } => (
                StatusCode::CONFLICT,
                "Nothing was changed: somebody else saved other settings since you opened this page. The form holds what you \
                 typed. Look at the page in another tab to see what is there now; saving again replaces it."
                    .to_owned(),
            ),
            other => return Err(other.into()),
        };
        Ok(Self {
            notice: Some(why),
            fields: Vec::new(),
            status,
        })
    }

    /// What is wrong with a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|problem| problem.field == name);
        found.map(|problem| problem.message.as_str())
    }

    /// The problems of fields that a page has no place for, by field and message.
    pub(crate) fn rename(mut self, from: &str, to: &str) -> Self {
        for problem in &mut self.fields {
            if problem.field == from {
                to.clone_into(&mut problem.field);
            }
        }
        self
    }

    /// The status of the page: 200 as long as nothing is wrong.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether there is something to be mended.
    pub(crate) fn is_needed(&self) -> bool {
        self.notice.is_some()
    }
}
