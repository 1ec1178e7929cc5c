//! Notices by mail: one plain text to one address, over the mail server that the operator names.
//!
//! What becomes of the mail behind that server is not known here. The password is part of the setting, and is neither printed nor
//! logged; what the server says is.

use std::fmt;
use std::time::Duration;

use keyward_core::email::EmailAddress;
use keyward_core::notice::NoticeText;
use keyward_engine::deliver::{Outcome, Outgoing};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Mailbox, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends mail.
pub(crate) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// The settings of the mail server can't be used; the text never repeats them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailRefused {
    #[error(
        "the mail server's address (--smtp-url, KEYWARD_SMTP_URL) must be `smtps://user:password@host:465`, \
         `smtp://user:password@host:587?tls=required` (STARTTLS), or `smtp://host:25` without encryption and password"
    )]
    Url,
    #[error(
        "the password for the mail server would go unencrypted; use `smtps://`, or `smtp://...?tls=required` for STARTTLS"
    )]
    Unencrypted,
    #[error(
        "the sender (--smtp-from, KEYWARD_SMTP_FROM) must be an address such as `Keyward <keyward@example.com>`"
    )]
    From,
    #[error("a mail server (--smtp-url) and a sender (--smtp-from) are needed together")]
    Incomplete,
}

impl fmt::Debug for Mail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mail")
    }
}

impl Mail {
    /// A sender by way of the server at `url`.
    pub(crate) fn new(url: &str, from: &str) -> Result<Self, MailRefused> {
        let uri: http::Uri = url.parse().map_err(|_| MailRefused::Url)?;
        let authority = uri.authority().ok_or(MailRefused::Url)?;
        let is_encrypted = match uri.scheme_str() {
            Some("smtps") => true,
            Some("smtp") => uri.query() == Some("tls=required"),
            _ => return Err(MailRefused::Url),
        };
        let host = authority.host().trim_matches(['[', ']']);
        let is_here =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if authority.as_str().contains('@') && !is_encrypted && !is_here {
            return Err(MailRefused::Unencrypted);
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .map_err(|_| MailRefused::Url)?
            .timeout(Some(PATIENCE))
            .build();
        let from = from.parse().map_err(|_| MailRefused::From)?;
        Ok(Self { transport, from })
    }

    /// Sends one notice to one address.
    pub(crate) async fn send(&self, to: &EmailAddress, outgoing: &Outgoing, text: &NoticeText) -> Outcome {
        let Some(message) = self.message(to, outgoing, text) else {
            return Outcome::Refused {
                status: None,
                why: "no mail can be sent to such an address".to_owned(),
            };
        };
        let sending = tokio::time::timeout(PATIENCE, self.transport.send(message)).await;
        match sending {
            Ok(Ok(response)) => Outcome::Sent {
                status: Some(response.code().into()),
            },
            Ok(Err(error)) if error.is_permanent() => Outcome::Refused {
                status: error.status().map(Into::into),
                why: format!("the mail server refused it: {error}"),
            },
            Ok(Err(error)) => Outcome::Failed {
                status: error.status().map(Into::into),
                why: format!("the mail server did not take it: {error}"),
                retry_after_ms: None,
            },
            Err(_) => Outcome::Failed {
                status: None,
                why: "the mail server did not answer in time".to_owned(),
                retry_after_ms: None,
            },
        }
    }

    fn message(&self, to: &EmailAddress, outgoing: &Outgoing, text: &NoticeText) -> Option<Message> {
        let to = Mailbox::new(None, to.as_str().parse().ok()?);
        let domain = self.from.email.domain();
        let seconds = u64::try_from(outgoing.now.as_unix_ms() / 1_000).unwrap_or(0);
        let part = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            // Lines of any length, and characters of any language, arrive as they are.
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(text.body.clone());
        Message::builder()
            .from(self.from.clone())
            .to(to)
            // The same for every attempt: a repetition can be told from another notice.
            .message_id(Some(format!("<{}@{domain}>", outgoing.id)))
            .date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
            .subject(keyward_core::notice::harmless(&text.subject))
            .singlepart(part)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use keyward_core::notice::{Notice, NoticeKind, Wording};
    use keyward_core::time::Timestamp;
    use keyward_testkit::python::{RunningScript, Script};
    use serde_json::{Value, json};

    use super::*;

    /// A real mail server: `550` and `451` in a recipient's name are answered with that.
    const SERVER: &str = r#"
import asyncio, json, sys
from aiosmtpd.smtp import SMTP
class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        for code in ('550', '451'):
            if code in address:
                return code + ' not today'
        envelope.rcpt_tos.append(address)
        return '250 OK'
    async def handle_DATA(self, server, session, envelope):
        print('MAIL ' + json.dumps({'from': envelope.mail_from, 'to': envelope.rcpt_tos, 'raw': envelope.content.decode()}), flush=True)
        return '250 taken'
async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname='localhost'), '127.0.0.1', 0)
    print('PORT %d' % server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
asyncio.run(serve())
"#;

    fn server() -> (RunningScript, Mail) {
        let script = Script::text(SERVER).start();
        let port: u16 = script.wait_until("the port", |text| {
            text.lines()
                .find_map(|line| line.strip_prefix("PORT ")?.parse().ok())
        });
        let url = format!("smtp://127.0.0.1:{port}");
        (script, Mail::new(&url, "Keyward <keyward@example.com>").unwrap())
    }

    fn outgoing(name: &str) -> Outgoing {
        Outgoing {
            id: "msg_7_abc".to_owned(),
            contact: keyward_core::contact::SecurityContact::Email("sec@example.com".parse().unwrap()),
            secret: None,
            notice: Notice {
                kind: NoticeKind::Compromised,
                organization_id: "org-1".parse().unwrap(),
                organization_name: "Müller".to_owned(),
                key_id: Some("k1".to_owned()),
                key_name: Some(name.to_owned()),
                facts: json!({}),
                at: Timestamp::from_unix_ms(0),
            },
            now: Timestamp::from_unix_ms(1_767_225_600_000),
        }
    }

    async fn send(mail: &Mail, to: &str, outgoing: &Outgoing) -> Outcome {
        let text = outgoing.notice.text(Wording {
            public_url: "https://keys.example.com",
            moment: keyward_api::moment::write,
        });
        mail.send(&to.parse().unwrap(), outgoing, &text).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_real_mail_server_takes_refuses_or_postpones_it() {
        let (script, mail) = server();
        let sent = send(
            &mail,
            "sec@example.com",
            &outgoing("Robot\r\nBcc: evil@example.com\r\n\r\nx"),
        )
        .await;
        assert_eq!(sent, Outcome::Sent { status: Some(250) });
        let got: Value = script.wait_until("the mail", |text| {
            text.lines()
                .find_map(|line| serde_json::from_str(line.strip_prefix("MAIL ")?).ok())
        });
        assert_eq!(
            (&got["from"], &got["to"]),
            (&json!("keyward@example.com"), &json!(["sec@example.com"]))
        );
        let raw = got["raw"].as_str().unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        assert!(
            !head.lines().any(|line| line.to_lowercase().starts_with("bcc")),
            "{head}"
        );
        assert!(head.contains("Message-ID: <msg_7_abc@example.com>"), "{head}");
        assert!(
            body.contains("https://keys.example.com/org/org-1/settings/secret-keys"),
            "{body}"
        );

        let refused = send(&mail, "x550@example.com", &outgoing("Robot")).await;
        assert!(
            matches!(
                refused,
                Outcome::Refused {
                    status: Some(550),
                    ..
                }
            ),
            "{refused:?}"
        );
        let later = send(&mail, "x451@example.com", &outgoing("Robot")).await;
        assert!(
            matches!(
                later,
                Outcome::Failed {
                    status: Some(451),
                    ..
                }
            ),
            "{later:?}"
        );
        drop(script);
        let away = send(&mail, "sec@example.com", &outgoing("Robot")).await;
        assert!(matches!(away, Outcome::Failed { status: None, .. }), "{away:?}");
    }

    #[test]
    fn a_password_goes_only_where_nobody_reads_along() {
        for good in [
            "smtp://mail.example.com:25",
            "smtps://u:p@mail.example.com",
            "smtp://u:p@mail.example.com:587?tls=required",
            "smtp://u:p@127.0.0.1:2525",
        ] {
            assert!(Mail::new(good, "a@example.com").is_ok(), "{good}");
        }
        let refused = Mail::new("smtp://u:s3cret@mail.example.com", "a@example.com").unwrap_err();
        assert!(matches!(refused, MailRefused::Unencrypted) && !refused.to_string().contains("s3cret"));
        assert!(matches!(
            Mail::new("https://x", "a@example.com"),
            Err(MailRefused::Url)
        ));
        assert!(matches!(Mail::new("smtp://x", "nobody"), Err(MailRefused::From)));
    }
}
