//! How notices leave: by calls of webhooks and by mail. What is sent, when and to whom is the engine's.
//!
//! A call's body and a mail say the same; both come from `keyward_core::notice`. Nothing here keeps a state.

mod mail;
pub(crate) mod networks;
pub(crate) mod webhook;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use keyward_api::moment;
use keyward_core::contact::{SecurityContact, WebhookUrl};
use keyward_core::notice::Wording;
use keyward_engine::deliver::{Attempt, Channels, Outcome, Outgoing};
use serde_json::json;

pub(crate) use self::mail::{Mail, MailRefused};
use self::webhook::{Answer, PostFailed, WebhookClient};

/// The two channels.
pub(crate) struct Delivery {
    pub(crate) webhooks: Arc<WebhookClient>,
    /// Absent where no mail server is named.
    pub(crate) mail: Option<Mail>,
    /// How people reach this server.
    pub(crate) public_url: String,
}

impl Channels for Delivery {
    fn send(&self, outgoing: Outgoing) -> Attempt<'_> {
        Box::pin(async move {
            match &outgoing.contact {
                SecurityContact::Webhook(url) => self.call(url, &outgoing).await,
                SecurityContact::Email(address) => match &self.mail {
                    Some(mail) => mail.send(address, &outgoing, &self.text(&outgoing)).await,
                    None => Outcome::NoChannel {
                        why: "no mail server is named (--smtp-url, KEYWARD_SMTP_URL, with --smtp-from)"
                            .to_owned(),
                    },
                },
            }
        })
    }
}

impl Delivery {
    fn text(&self, outgoing: &Outgoing) -> keyward_core::notice::NoticeText {
        outgoing.notice.text(Wording {
            public_url: &self.public_url,
            moment: moment::write,
        })
    }

    /// Calls a webhook after Standard Webhooks 1.0.
    async fn call(&self, url: &WebhookUrl, outgoing: &Outgoing) -> Outcome {
        let Some(secret) = &outgoing.secret else {
            return Outcome::Refused {
                status: None,
                why: "the contact has no signing secret; rotate it".to_owned(),
            };
        };
        let body = self.body(outgoing);
        let at_seconds = outgoing.now.as_unix_ms().div_euclid(1_000);
        let signature = secret.signature(&outgoing.id, at_seconds, body.as_bytes());
        let headers = [
            ("webhook-id", outgoing.id.clone()),
            ("webhook-timestamp", at_seconds.to_string()),
            ("webhook-signature", signature),
        ];
        let mut sent = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        for (name, value) in headers {
            // Made by us of plain characters.
            if let Ok(value) = HeaderValue::try_from(value) {
                sent.push((HeaderName::from_static(name), value));
            }
        }
        outcome_of(self.webhooks.post(url, &sent, body.into_bytes()).await)
    }

    fn body(&self, outgoing: &Outgoing) -> String {
        let (notice, text) = (&outgoing.notice, self.text(outgoing));
        let key = notice
            .key_id
            .as_ref()
            .map(|id| json!({ "id": id, "name": notice.key_name }));
        json!({
            "type": notice.kind.name(),
            "timestamp": moment::write(notice.at),
            "data": {
                "organization": { "id": notice.organization_id.as_str(), "name": notice.organization_name },
                "key": key,
                "facts": notice.facts,
                "subject": text.subject,
                "text": text.body,
                "page": text.link,
            },
        })
        .to_string()
    }
}

fn outcome_of(answer: Result<Answer, PostFailed>) -> Outcome {
    match answer {
        Ok(answer) if answer.status.is_success() => Outcome::Sent {
            status: Some(answer.status.as_u16()),
        },
        Ok(answer) if answer.status == http::StatusCode::GONE => Outcome::Gone {
            status: answer.status.as_u16(),
        },
        Ok(answer) => Outcome::Failed {
            status: Some(answer.status.as_u16()),
            why: if answer.status.is_redirection() {
                format!(
                    "it answered {}; redirects are not followed, name the last address",
                    answer.status
                )
            } else {
                format!("it answered {}", answer.status)
            },
            retry_after_ms: answer.retry_after_ms,
        },
        Err(failed) => Outcome::Failed {
            status: None,
            why: failed.to_string(),
            retry_after_ms: None,
        },
    }
}
