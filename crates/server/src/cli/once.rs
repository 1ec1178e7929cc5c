//! Requests whose answer holds a key's value, sent so that a lost answer loses no value.
//!
//! Each carries an `Idempotency-Key`, the caller's or a random one. If the connection breaks before the answer came, the same
//! request is sent once more, which makes nothing twice and is answered like the first.

use std::time::Duration;

use anyhow::{Context as _, Result};
use http::{HeaderName, Method};
use keyward_api::problem::RequestCode;
use keyward_core::idempotency::read_idempotency_key;
use keyward_core::random::fill_base36;
use keyward_engine::clock::SystemRandom;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{Client, NoAnswer, NoServer, Refused, Target};
use super::output;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// More than 160 bits.
const DRAWN_LENGTH: usize = 32;
/// While the first request is still being carried out, the second is told so and asks again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);
const MOST_QUESTIONS: usize = 120;

/// Reads an idempotency key as a person gives it.
pub(super) fn idempotency_key(text: &str) -> Result<String, String> {
    match read_idempotency_key(text.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(refused) => Err(refused.to_string()),
    }
}

/// Sends a POST that is carried out once, however often it arrives.
///
/// # Errors
/// As [`Client::call`]; if no answer came, the error names the idempotency key with which the command can be repeated.
pub(super) async fn call_once<T: DeserializeOwned>(
    target: &Target,
    path: &str,
    body: &Value,
    named: Option<String>,
) -> Result<T> {
    let key = named.map_or_else(draw, Ok)?;
    let first = attempt(target, path, body, &key).await;
    let answer = match first {
        Err(error) if error.is::<NoAnswer>() => {
            output::note(
                "the connection broke before the answer came; asking once more, which makes nothing twice",
            );
            settled(target, path, body, &key).await
        }
        answered => return answered,
    };
    answer.map_err(|error| {
        if error.is::<Refused>() && !is_in_progress(&error) {
            return error;
        }
        let advice = format!(
            "whether it was done is not known. Repeat the command within ten minutes with `--idempotency-key {key}` added: it \
             makes nothing twice, and prints the value"
        );
        // A server that went away meanwhile is no reason to say that there was none.
        let is_away = error.is::<NoServer>();
        if is_away { anyhow::anyhow!("{error:#}; {advice}") } else { error.context(advice) }
    })
}

async fn attempt<T: DeserializeOwned>(target: &Target, path: &str, body: &Value, key: &str) -> Result<T> {
    let client = Client::connect(target).await?.with(IDEMPOTENCY_KEY, key)?;
    client.call(Method::POST, path, Some(body.clone())).await
}

/// The second request, until the first is not under way any more.
async fn settled<T: DeserializeOwned>(target: &Target, path: &str, body: &Value, key: &str) -> Result<T> {
    let mut asked = 1;
    loop {
        let answer = attempt(target, path, body, key).await;
        match &answer {
            Err(error) if is_in_progress(error) && asked < MOST_QUESTIONS => {
                asked += 1;
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
            _ => return answer,
        }
    }
}

fn is_in_progress(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|Refused(problem)| problem.code == RequestCode::InProgress.name())
}

fn draw() -> Result<String> {
    let mut drawn = [0_u8; DRAWN_LENGTH];
    fill_base36(&mut SystemRandom, &mut drawn).context("could not draw an Idempotency-Key")?;
    Ok(String::from_utf8_lossy(&drawn).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_key_is_one_that_servers_take_and_never_the_same() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(idempotency_key(&one), Ok(one));
        assert!(idempotency_key("too-short").unwrap_err().contains("22"));
    }
}
