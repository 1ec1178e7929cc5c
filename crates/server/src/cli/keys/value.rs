//! How a key's value is printed, this once: ready to be pasted where a program reads it.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::json;

use crate::cli::output;

/// The forms in which a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Snippet {
    /// Lines for a `.env` file
    Env,
    /// `export` lines for a shell
    Shell,
    /// The official client's configuration file
    Json,
}

/// What a program needs to use a key.
#[derive(Clone, Copy)]
pub(super) struct NewValue<'a> {
    /// The address of the resource API.
    pub(super) endpoint: &'a str,
    /// The key's organization.
    pub(super) organization_id: &'a str,
    /// The key's value; a reply to a repeated request may be without.
    pub(super) value: Option<&'a str>,
    /// The key's id, for the advice if there is no value.
    pub(super) key_id: &'a str,
}

impl NewValue<'_> {
    /// Prints one form, or all of them.
    ///
    /// # Errors
    /// If there is no value to print.
    pub(super) fn print(self, form: Option<Snippet>) -> Result<()> {
        let value = self.present()?;
        match form {
            Some(form) => output::data(&self.snippet(form, value)),
            None => {
                let headed = [
                    ("# for a .env file", Snippet::Env),
                    ("\n# for a shell", Snippet::Shell),
                    ("\n# for vi.Client(config_file=...)", Snippet::Json),
                ];
                for (heading, form) in headed {
                    output::data(&format!("{heading}\n{}", self.snippet(form, value)));
                }
            }
        }
        Ok(())
    }

    /// The value.
    ///
    /// # Errors
    /// If the reply holds none any more.
    pub(super) fn present(&self) -> Result<&str> {
        self.value.with_context(|| {
            format!(
                "this was done before, by a request with the same Idempotency-Key, and its value is not given out again: that is \
                 possible for ten minutes and while the key lives. For another value: `keyward keys rotate {}`",
                self.key_id
            )
        })
    }

    fn snippet(self, form: Snippet, value: &str) -> String {
        let lines = [
            ("DATATURE_VI_API_ENDPOINT", self.endpoint),
            ("DATATURE_VI_ORGANIZATION_ID", self.organization_id),
            ("DATATURE_VI_SECRET_KEY", value),
        ];
        let each = |lead: &str| {
            lines
                .map(|(name, value)| format!("{lead}{name}={value}\n"))
                .concat()
        };
        match form {
            Snippet::Env => each(""),
            Snippet::Shell => each("export "),
            Snippet::Json => {
                let file = json!({"secret_key": value, "organization_id": self.organization_id});
                format!("{file}\n")
            }
        }
    }
}

/// What is said beside every new value.
pub(super) const SHOWN_ONCE: &str =
    "The value is shown this once and kept nowhere: put it where your program reads it, like a password.";
