//! Following a rotation: which of the two secrets is used, until the old one has ended.
//!
//! It asks every two seconds and says only what is new. A server that does not answer for a while is asked again: whoever
//! watches waits for the end of the old secret, and not for that of a restart.

use std::time::Duration;

use anyhow::{Context as _, Result};
use keyward_api::keys::{KeyDetailView, SecretView};
use tokio::signal::unix::{SignalKind, signal};

use super::show::find;
use crate::cli::client::{NoAnswer, NoServer};
use crate::cli::{Surroundings, output, words};
use crate::clock;

const EVERY: Duration = Duration::from_secs(2);

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// They are the data.
    Data,
    /// They stand beside the data.
    Notes,
}

impl Lines {
    /// With `--json` nothing but one value is data.
    pub(super) const fn of(surroundings: &Surroundings) -> Self {
        if surroundings.is_json {
            Self::Notes
        } else {
            Self::Data
        }
    }

    fn print(self, line: &str) {
        match self {
            Self::Data => output::data(&format!("{line}\n")),
            Self::Notes => output::note(line),
        }
    }
}

/// Follows the rotation of a key to its end, or until it is interrupted; the key as it was last seen.
pub(super) async fn watch(surroundings: &Surroundings, id: &str, lines: Lines) -> Result<KeyDetailView> {
    // Before the first line, after which somebody may have seen enough.
    let mut interrupts = signal(SignalKind::interrupt()).context("could not listen for Ctrl-C")?;
    let mut key = find(&surroundings.target, id).await?;
    let mut seen = Seen::default();
    let mut is_away = false;
    loop {
        for line in seen.news(&key) {
            lines.print(&line);
        }
        if let Some(end) = end_of(&key) {
            output::note(&end);
            return Ok(key);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = interrupts.recv() => {
                output::note(&format!(
                    "\nthe rotation goes on. Watch it again with `keyward keys rotation watch {id}`, or end the old secret with \
                     `keyward keys rotation finish {id}`"
                ));
                return Ok(key);
            }
        }
        match find(&surroundings.target, id).await {
            Ok(found) => {
                is_away = false;
                key = found;
            }
            Err(error) if error.is::<NoServer>() || error.is::<NoAnswer>() => {
                if !std::mem::replace(&mut is_away, true) {
                    output::note("the server does not answer just now; asking again");
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// What was said already.
#[derive(Default)]
struct Seen {
    lines: Vec<(i64, String)>,
}

impl Seen {
    /// A line for each living secret of which something is new.
    fn news(&mut self, key: &KeyDetailView) -> Vec<String> {
        let newest = key.secrets.iter().map(|secret| secret.number).max();
        let mut news = Vec::new();
        // The oldest first, because it is the one that is watched.
        for secret in key.secrets.iter().rev() {
            let was_seen = self.lines.iter().position(|(number, _)| *number == secret.number);
            if secret.state == "ended" && was_seen.is_none() {
                continue;
            }
            let state = line_of(secret, Some(secret.number) == newest);
            match was_seen.and_then(|at| self.lines.get_mut(at)) {
                Some((_, said)) if *said == state => continue,
                Some((_, said)) => said.clone_from(&state),
                None => self.lines.push((secret.number, state.clone())),
            }
            news.push(format!("{state}{}", since(secret)));
        }
        news
    }
}

/// Without what changes by the mere passing of time.
fn line_of(secret: &SecretView, is_new: bool) -> String {
    let age = if is_new { "new" } else { "old" };
    let used = match &secret.last_used_at {
        None => "not used yet".to_owned(),
        Some(at) => format!("last used {at}"),
    };
    let life = match (secret.state.as_str(), &secret.ends_at) {
        ("ended", _) => "; ended".to_owned(),
        ("pending", Some(end)) => format!("; takes effect with its first use, dropped {end} without one"),
        (_, Some(end)) => format!("; accepted until {end}"),
        _ => "; accepted".to_owned(),
    };
    format!("{age} secret {} ({}): {used}{life}", secret.number, secret.hint)
}

fn since(secret: &SecretView) -> String {
    match secret.last_used_at.as_deref() {
        None => String::new(),
        at => format!(" [{}]", words::ago(at, clock::now())),
    }
}

/// What there is to say if nothing is left to be watched.
fn end_of(key: &KeyDetailView) -> Option<String> {
    if matches!(key.key.state.as_str(), "deleted" | "expired") {
        return Some(format!(
            "the key is {}: no secret of it is accepted",
            key.key.state
        ));
    }
    let living: Vec<&SecretView> = key
        .secrets
        .iter()
        .filter(|secret| secret.state != "ended")
        .collect();
    match living.as_slice() {
        [] => Some("no secret of the key is accepted".to_owned()),
        [only] => {
            let newest = key.secrets.iter().map(|secret| secret.number).max();
            Some(if newest == Some(1) {
                "no rotation is under way: the key has one secret, its first".to_owned()
            } else if Some(only.number) == newest {
                format!(
                    "the old secret has ended: only secret {} ({}) is accepted",
                    only.number, only.hint
                )
            } else {
                format!(
                    "the new secret has ended, and the old one stays: only secret {} ({}) is accepted",
                    only.number, only.hint
                )
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn key(secrets: Value) -> KeyDetailView {
        serde_json::from_value(json!({
            "id": "i", "organization_id": "o", "name": "n", "description": "", "state": "active", "scopes": [], "level": "full",
            "rules": [], "tags": [], "rotation": "not_due", "hint": "", "created_by": "", "created_at": "", "updated_at": "",
            "version": 1, "secrets": secrets
        }))
        .unwrap()
    }

    fn secret(number: i64, state: &str, used: Option<&str>) -> Value {
        json!({"number": number, "state": state, "hint": "h", "created_at": "", "last_used_at": used})
    }

    #[test]
    fn only_what_is_new_is_said() {
        let mut seen = Seen::default();
        let of = |old: Option<&str>, new: Option<&str>| {
            key(json!([secret(2, "current", new), secret(1, "until", old)]))
        };
        let used = Some("2027-01-31T12:00:00Z");
        let first = seen.news(&of(None, None));
        assert_eq!(first.len(), 2);
        assert!(first[0].starts_with("old secret 1") && first[1].starts_with("new secret 2"));
        assert_eq!(seen.news(&of(None, None)), Vec::<String>::new());
        let later = seen.news(&of(None, used));
        assert_eq!(later.len(), 1);
        assert!(later[0].contains("last used 2027"), "{later:?}");
        let ended = seen.news(&key(json!([
            secret(2, "current", used),
            secret(1, "ended", None)
        ])));
        assert!(ended.len() == 1 && ended[0].contains("ended"), "{ended:?}");
    }

    #[test]
    fn it_ends_when_one_secret_is_left_and_says_which() {
        let end = |secrets| end_of(&key(secrets));
        let two = json!([secret(2, "pending", None), secret(1, "current", None)]);
        assert_eq!(end(two), None);
        for (secrets, words) in [
            (json!([secret(1, "current", None)]), "no rotation"),
            (
                json!([secret(2, "current", None), secret(1, "ended", None)]),
                "the old secret has ended",
            ),
            (
                json!([secret(2, "ended", None), secret(1, "current", None)]),
                "the old one stays",
            ),
        ] {
            assert!(end(secrets).unwrap().contains(words), "{words}");
        }
    }
}
