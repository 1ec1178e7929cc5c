//! Why a page is not shown, and the page that says so and what would help.
//!
//! Forms answer their own problems on their own page, with everything that was typed; what ends up here is what no page can answer:
//! nothing there, not signed in, a form that is not this session's, a database that is away.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use keyward_core::field::FieldProblem;
use keyward_engine::EngineError;
use keyward_http::request::RequestInfo;

use crate::reply;
use crate::words::wait_words;

/// When it makes sense to ask again for what was not possible for a moment.
const UNAVAILABLE_MS: i64 = 1_000;

/// A page that is not shown.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nothing there that they may know of.
    NotFound,
    /// They have to sign in first; then they are taken to where they wanted.
    SignIn,
    /// The organization demands a second factor that they do not have.
    NeedsSecondFactor,
    /// The form is not one of this session's pages.
    ForeignForm,
    /// The form is larger than any of ours.
    TooLarge,
    /// Somebody may know of it, and not do it; the text says who may.
    Forbidden(String),
    /// It does not fit the present state; the text says why.
    Conflict(String),
    /// Values that no page of ours sends.
    Invalid(Vec<FieldProblem>),
    /// Too often, by whoever is signed in.
    TooMany {
        /// When it is worth to try again.
        retry_after_ms: i64,
    },
    /// Not possible just now.
    Unavailable(String),
    /// It may have happened.
    OutcomeUnknown,
    /// A defect.
    Internal(String),
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(_) => Self::NotFound,
            EngineError::Invalid(problems) => Self::Invalid(problems),
            EngineError::Forbidden(why) => Self::Forbidden(why),
            EngineError::Stale { .. } => Self::Conflict(
                "somebody changed it since this page was opened; open it again and look before you repeat it"
                    .to_owned(),
            ),
            EngineError::Conflict(why) => Self::Conflict(why),
            EngineError::InvitationOver(over) => Self::Conflict(over.to_string()),
            EngineError::InProgress => {
                Self::Conflict("the same form was sent twice, and its first sending is under way".to_owned())
            }
            EngineError::OtherRequest => {
                Self::Conflict("this form was sent before with other values; open it again".to_owned())
            }
            EngineError::OutcomeUnknown => Self::OutcomeUnknown,
            EngineError::TooMany { retry_after_ms } => Self::TooMany { retry_after_ms },
            EngineError::Unavailable(_) | EngineError::Busy | EngineError::Random(_) => {
                Self::Unavailable(error.to_string())
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<askama::Error> for Refused {
    fn from(error: askama::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    title: &'a str,
    text: &'a str,
    problems: &'a [FieldProblem],
    /// The request's id, for whoever asks an operator.
    request_id: String,
    stylesheet: String,
}

impl Refused {
    /// The status of the answer.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::SignIn | Self::NeedsSecondFactor => StatusCode::SEE_OTHER,
            Self::ForeignForm | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The word in the log.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::SignIn => "sign_in",
            Self::NeedsSecondFactor => "second_factor_demanded",
            Self::ForeignForm => "foreign_form",
            Self::TooLarge => "body_too_large",
            Self::Forbidden(_) => "forbidden",
            Self::Conflict(_) => "conflict",
            Self::Invalid(_) => "invalid_fields",
            Self::TooMany { .. } => "too_many",
            Self::Unavailable(_) => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Internal(_) => "internal",
        }
    }

    fn words(&self) -> (&str, String) {
        match self {
            Self::NotFound | Self::SignIn | Self::NeedsSecondFactor => (
                "There is nothing here",
                "The address may be mistyped, or what was here is not yours to see. Owners and Admins manage an organization's \
                 keys; ask one of them to let you in."
                    .to_owned(),
            ),
            Self::ForeignForm => (
                "This form is not from your session",
                "Nothing was changed. You may have signed in again or signed out in another tab since the page was opened, or \
                 your browser does not keep cookies of this site. Go back, reload the page, and send it once more."
                    .to_owned(),
            ),
            Self::TooLarge => (
                "That is too much for one form",
                "Nothing was changed. Send less at a time.".to_owned(),
            ),
            Self::Forbidden(why) => ("You may not do that", format!("Nothing was changed: {why}.")),
            Self::Conflict(why) => ("That is not possible now", format!("Nothing was changed: {why}.")),
            Self::Invalid(_) => ("Something in it can't be read", "Nothing was changed.".to_owned()),
            Self::TooMany { retry_after_ms } => (
                "Too often in a row",
                format!(
                    "Nothing was done: this reads a whole trail or sends messages, so it has a limit for each person. Try again in {}.",
                    wait_words(*retry_after_ms)
                ),
            ),
            Self::Unavailable(_) => (
                "Not possible just now",
                "The server could not reach its database, may not write to it at the moment, or has too much to do. Nothing is lost: \
                 reload this page in a moment, and what you sent is sent again."
                    .to_owned(),
            ),
            Self::OutcomeUnknown => (
                "It may have happened",
                "The connection to the database was lost while the change was being written. Look at the page again before you \
                 repeat it; repeating it is safe."
                    .to_owned(),
            ),
            Self::Internal(_) => (
                "Something went wrong in Keyward",
                "This is a defect, and it is in the server's log. Nothing else was harmed.".to_owned(),
            ),
        }
    }

    /// When it makes sense to try again, if that is all it takes.
    const fn retry_after_ms(&self) -> Option<i64> {
        match self {
            Self::TooMany { retry_after_ms } => Some(*retry_after_ms),
            Self::Unavailable(_) => Some(UNAVAILABLE_MS),
            _ => None,
        }
    }

    /// The answer. `asked` is where the visitor wanted to go.
    pub(crate) fn into_response(self, info: &RequestInfo, asked: &str) -> Response {
        match &self {
            Self::SignIn => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                if is_own_path(asked) && asked != "/" {
                    query.append_pair("next", asked);
                }
                let query = query.finish();
                let question = if query.is_empty() { "" } else { "?" };
                return reply::see_other(&format!("/sign-in{question}{query}"));
            }
            Self::NeedsSecondFactor => return reply::see_other("/account/second-factor?why=demanded"),
            Self::Internal(cause) => {
                tracing::error!(request.id = %info.id, error = %cause, "a page failed");
            }
            Self::Unavailable(cause) => {
                tracing::warn!(request.id = %info.id, error = %cause, "a page could not be made");
            }
            _ => {}
        }
        let (title, text) = self.words();
        let page = RefusedPage {
            title,
            text: &text,
            problems: match &self {
                Self::Invalid(problems) => problems,
                _ => &[],
            },
            request_id: info.id.to_string(),
            stylesheet: crate::assets::stylesheet_url(),
        };
        let html = page.render().unwrap_or_else(|_| title.to_owned());
        let mut response = reply::html(self.status(), html);
        if let Some(retry_after_ms) = self.retry_after_ms() {
            reply::retry_after(&mut response, retry_after_ms);
        }
        response
    }
}

/// Whether a text is the path of a page here: what is after a sign-in is never another site.
pub(crate) fn is_own_path(text: &str) -> bool {
    let is_plain = text.bytes().all(|c| c.is_ascii_graphic() && c != b'\\');
    is_plain && text.starts_with('/') && !text.starts_with("//") && text.len() <= 1_000
}

#[cfg(test)]
mod tests {
    use keyward_store::StoreError;

    use super::*;

    #[test]
    fn what_was_not_possible_says_that_it_can_be_sent_again() {
        let refused = Refused::from(EngineError::Unavailable(StoreError::NotTheWriter));
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.retry_after_ms(), Some(1_000));
        let (_, text) = refused.words();
        assert!(text.contains("reload this page in a moment"), "{text}");
    }

    #[test]
    fn only_paths_of_this_site_are_followed() {
        for own in ["/", "/org/org-a/settings/secret-keys?sort=name", "/account"] {
            assert!(is_own_path(own), "{own}");
        }
        for other in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "org",
            "/a\r\nSet-Cookie: x",
            "/ä",
            "\t//evil.example",
            "/\t/evil.example",
        ] {
            assert!(!is_own_path(other), "{other}");
        }
    }
}
