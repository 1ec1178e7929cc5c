//! `keyward members`: list the people of an organization, change their roles, remove them.

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use http::Method;
use keyward_api::members::{MemberRemovedView, MemberView, UndecidedKeysView};
use keyward_http::management::ListView;
use serde_json::{Value, json};

use super::Surroundings;
use super::client::{Refused, Target, call, call_for_all};
use super::org::{meant, segment};
use super::output;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Members {
    /// List the people of an organization
    List {
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Give a member another role
    Role {
        /// Their e-mail address or id
        person: String,
        /// The role from now on: `owner`, `admin` or `member`
        role: String,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Remove a member, and say what becomes of the keys that they answer for
    Remove {
        /// Their e-mail address or id
        person: String,
        /// What becomes of their keys
        #[arg(long, value_enum)]
        keys: Option<Keys>,
        /// Whom the keys are handed over to: the e-mail address or id of an Owner or Admin
        #[arg(long, value_name = "PERSON", required_if_eq("keys", "hand-over"))]
        to: Option<String>,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// What becomes of keys.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// They stay as they are
    Keep,
    /// Another Owner or Admin answers for them
    HandOver,
    /// They end for good
    End,
}

impl Keys {
    const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::HandOver => "hand_over",
            Self::End => "end",
        }
    }
}

pub(super) async fn run(surroundings: &Surroundings, command: Members) -> Result<()> {
    let target = &surroundings.target;
    match command {
        Members::List { organization } => {
            let organization = meant(target, organization).await?;
            let items = all(target, &organization).await?;
            if surroundings.is_json {
                return output::json(&ListView { items, next: None });
            }
            let rows = items
                .into_iter()
                .map(|member| vec![member.email, member.role, member.member_since, member.person_id]);
            output::table(&["MEMBER", "ROLE", "SINCE", "PERSON ID"], rows.collect());
            Ok(())
        }
        Members::Role {
            person,
            role,
            organization,
        } => {
            let organization = meant(target, organization).await?;
            let person = person_id(target, &organization, &person).await?;
            let path = format!("/v1/organizations/{organization}/members/{person}");
            let body = json!({ "role": role });
            let member: MemberView = call(target, Method::PATCH, &path, Some(body)).await?;
            if surroundings.is_json {
                return output::json(&member);
            }
            output::data(&format!("{} {}\n", member.person_id, member.role));
            output::note(&format!("{} is {} now", member.email, member.role));
            Ok(())
        }
        Members::Remove {
            person,
            keys,
            to,
            organization,
            yes,
        } => {
            let organization = meant(target, organization).await?;
            let mut body = serde_json::Map::new();
            if let Some(keys) = keys {
                body.insert("keys".to_owned(), keys.name().into());
            }
            if let Some(to) = to {
                let to = person_id(target, &organization, &to).await?;
                body.insert("to".to_owned(), to.into());
            }
            let member = found(target, &organization, &person).await?;
            if !yes {
                let ending = match keys {
                    Some(Keys::End) => " Their keys end for good, and are refused at once.",
                    _ => "",
                };
                let question = format!("Remove {} from {organization}?{ending}", member.email);
                if !output::confirm(&question)? {
                    output::note("nothing was changed");
                    return Ok(());
                }
            }
            remove(surroundings, &organization, &member, body.into()).await
        }
    }
}

async fn remove(
    surroundings: &Surroundings,
    organization: &str,
    member: &MemberView,
    body: Value,
) -> Result<()> {
    let path = format!(
        "/v1/organizations/{organization}/members/{}/remove",
        member.person_id
    );
    let removed: Result<MemberRemovedView> =
        call(&surroundings.target, Method::POST, &path, Some(body)).await;
    let removed = removed.inspect_err(|error| {
        let keys = error
            .downcast_ref::<Refused>()
            .and_then(|refused| refused.0.keys.as_ref());
        if let Some(keys) = keys {
            tell_undecided(keys);
        }
    })?;
    if surroundings.is_json {
        return output::json(&removed);
    }
    output::data(&format!("{} removed\n", removed.person_id));
    output::note(&format!(
        "{} does not belong to {organization} any more; of their keys {} stay, {} were handed over, {} were ended",
        member.email, removed.kept, removed.handed_over, removed.ended
    ));
    Ok(())
}

/// The keys that have to be decided about, for whoever sits in front.
fn tell_undecided(keys: &UndecidedKeysView) {
    for key in &keys.items {
        let environment = key.environment.as_deref().unwrap_or("None");
        output::note(&format!(
            "  {}  {}  {environment}  {}",
            key.id, key.hint, key.name
        ));
    }
    let more = keys
        .count
        .saturating_sub(u64::try_from(keys.items.len()).unwrap_or(u64::MAX));
    if more > 0 {
        output::note(&format!("  and {more} more"));
    }
    output::note("say what becomes of them: --keys keep, --keys hand-over --to PERSON, or --keys end");
}

async fn all(target: &Target, organization: &str) -> Result<Vec<MemberView>> {
    call_for_all(target, &format!("/v1/organizations/{organization}/members")).await
}

/// The member with this e-mail address or id.
async fn found(target: &Target, organization: &str, person: &str) -> Result<MemberView> {
    let wanted = person.to_lowercase();
    let members = all(target, organization).await?;
    let found = members
        .into_iter()
        .find(|member| member.email == wanted || member.person_id == person);
    match found {
        Some(member) => Ok(member),
        None => bail!(
            "nobody of that e-mail address or id belongs to {organization}; `keyward members list` shows who does"
        ),
    }
}

async fn person_id(target: &Target, organization: &str, person: &str) -> Result<String> {
    if person.contains('@') {
        return Ok(found(target, organization, person).await?.person_id);
    }
    segment(person)
}
