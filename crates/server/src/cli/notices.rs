//! `keyward notices`: what security contacts were told, and what can be done about a contact to whom nothing comes through.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use keyward_api::deliveries::{
    ContactChannelView, ContactTestsView, DeliveryView, STATUSES, SigningSecretView,
};
use keyward_http::management::ListView;
use serde_json::json;

use super::Surroundings;
use super::client::{call, call_for_all};
use super::org::{meant, segment};
use super::output;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Notices {
    /// List what was sent and what failed in the last 90 days, the newest first
    List {
        /// Only to this contact, by its id
        #[arg(long, value_name = "ID")]
        contact: Option<String>,
        /// Only of this status
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(STATUSES))]
        status: Option<String>,
        /// Only about this key, by its id
        #[arg(long, value_name = "ID")]
        key: Option<String>,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// List the security contacts, and which of them are switched off
    Contacts {
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Send a test message now and say what became of it; the exit code is 1 if one did not arrive
    Test {
        /// A contact's id [default: all of them]
        contact: Option<String>,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Switch a contact on again
    Enable {
        /// The contact's id
        contact: String,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Give a webhook a new signing secret and print it, this once; the old one signs nothing any more
    RotateSecret {
        /// The contact's id
        contact: String,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(super) async fn run(surroundings: &Surroundings, command: Notices) -> Result<ExitCode> {
    let target = &surroundings.target;
    match command {
        Notices::List {
            contact,
            status,
            key,
            organization,
        } => {
            let organization = meant(target, organization).await?;
            let mut query = form_urlencoded::Serializer::new(String::new());
            for (name, value) in [("contact", contact), ("status", status), ("key", key)] {
                if let Some(value) = value {
                    query.append_pair(name, &value);
                }
            }
            let path = format!("/v1/organizations/{organization}/deliveries?{}", query.finish());
            let items: Vec<DeliveryView> = call_for_all(target, path.trim_end_matches('?')).await?;
            if surroundings.is_json {
                output::json(&ListView { items, next: None })?;
            } else if items.is_empty() {
                output::note("nothing was sent");
            } else {
                show(items);
            }
        }
        Notices::Contacts { organization } => {
            let organization = meant(target, organization).await?;
            let path = format!("/v1/organizations/{organization}/contacts");
            let found: ListView<ContactChannelView> = call(target, Method::GET, &path, None).await?;
            if surroundings.is_json {
                output::json(&found)?;
            } else if found.items.is_empty() {
                output::note(&format!(
                    "{organization} has no security contact; name one with `keyward org edit {organization} --add-contact \
                     email:ADDRESS`"
                ));
            } else {
                let rows = found.items.into_iter().map(|one| {
                    let state = match (&one.disabled_at, &one.failing_since) {
                        (Some(at), _) => {
                            format!("off since {at}: {}", one.disabled_reason.unwrap_or_default())
                        }
                        (None, Some(at)) => format!("failing since {at}"),
                        (None, None) => "on".to_owned(),
                    };
                    vec![one.id, one.kind, one.address, state]
                });
                output::table(&["ID", "KIND", "ADDRESS", "STATE"], rows.collect());
            }
        }
        Notices::Test {
            contact,
            organization,
        } => {
            let organization = meant(target, organization).await?;
            let path = format!("/v1/organizations/{organization}/contacts/test");
            let body = contact.map_or_else(|| json!({}), |contact| json!({ "contact": contact }));
            let tested: ContactTestsView = call(target, Method::POST, &path, Some(body)).await?;
            let has_failed = tested.items.iter().any(|one| one.status != "sent");
            if surroundings.is_json {
                output::json(&tested)?;
            } else {
                show(tested.items);
            }
            return Ok(ExitCode::from(u8::from(has_failed)));
        }
        Notices::Enable {
            contact,
            organization,
        } => {
            let contact = segment(&contact)?;
            let organization = meant(target, organization).await?;
            let path = format!("/v1/organizations/{organization}/contacts/{contact}/enable");
            let enabled: ContactChannelView = call(target, Method::POST, &path, None).await?;
            if surroundings.is_json {
                output::json(&enabled)?;
            } else {
                output::data(&format!("{} on\n", enabled.id));
                output::note(
                    "the contact is told what happens from now on; what was given up is not sent again",
                );
            }
        }
        Notices::RotateSecret {
            contact,
            organization,
            yes,
        } => {
            let contact = segment(&contact)?;
            let organization = meant(target, organization).await?;
            let question = "Make a new signing secret? Calls are signed with it at once; a receiver that has the old one refuses them.";
            if !yes && !output::confirm(question)? {
                output::note("nothing was changed");
                return Ok(ExitCode::SUCCESS);
            }
            let path = format!("/v1/organizations/{organization}/contacts/{contact}/rotate-secret");
            let rotated: SigningSecretView = call(target, Method::POST, &path, None).await?;
            if surroundings.is_json {
                output::json(&rotated)?;
            } else {
                output::data(&format!("{}\n", rotated.secret));
                output::note(&format!(
                    "this secret signs the calls of {}; it is shown this once",
                    rotated.address
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(items: Vec<DeliveryView>) {
    let rows = items.into_iter().map(|one| {
        let answer = one.last_status.map(|status| status.to_string());
        vec![
            one.happened_at,
            one.kind,
            one.key_id.unwrap_or_default(),
            one.contact,
            one.status,
            one.attempts.to_string(),
            answer.unwrap_or_default(),
            one.last_error.or(one.next_attempt_at).unwrap_or_default(),
        ]
    });
    let header = [
        "WHEN", "NOTICE", "KEY", "CONTACT", "STATUS", "TRIED", "ANSWER", "WHY",
    ];
    output::table(&header, rows.collect());
}
