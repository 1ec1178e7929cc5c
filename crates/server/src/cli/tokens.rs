//! `keyward tokens`: create, list, show and delete management tokens.

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use keyward_api::tokens::{CreatedTokenView, TokenStateView, TokenView};
use keyward_http::management::ListView;
use serde_json::{Value, json};

use super::Surroundings;
use super::client::{Target, call, call_for_all};
use super::org::{meant, segment};
use super::output;
use crate::configuration::TOKEN_VARIABLE;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Tokens {
    /// Create a management token and print its text, this once
    Create {
        /// What people call it; need not be unique
        #[arg(long)]
        name: String,
        /// What it may do, separated by commas: `keys:read`, `keys:write`, `tokens:read`, `tokens:write`, `members:read`,
        /// `members:write`, `organization:read`, `organization:write`, `audit:read`, `verify`
        #[arg(long, value_name = "RIGHTS", value_delimiter = ',', required = true)]
        rights: Vec<String>,
        /// When it ends, from now: `12h`, `90d` [default: never]
        #[arg(long, value_name = "DURATION", conflicts_with = "expires_at")]
        expires_in: Option<String>,
        /// When it ends: `2027-01-31T12:00:00Z`
        #[arg(long, value_name = "MOMENT")]
        expires_at: Option<String>,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// List an organization's management tokens, ended ones included
    List {
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Show one management token
    Show {
        /// Its id
        id: String,
        /// Its organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Delete a management token for good; it is refused from the moment this returns
    Delete {
        /// Its id
        id: String,
        /// Its organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(super) async fn run(surroundings: &Surroundings, command: Tokens) -> Result<()> {
    let target = &surroundings.target;
    match command {
        Tokens::Create {
            name,
            rights,
            expires_in,
            expires_at,
            organization,
        } => {
            let rights: Vec<&str> = rights.iter().map(|right| right.trim()).collect();
            let mut body = json!({"name": name, "rights": rights});
            for (field, value) in [("expires_in", expires_in), ("expires_at", expires_at)] {
                if let (Some(value), Some(fields)) = (value, body.as_object_mut()) {
                    fields.insert(field.to_owned(), value.into());
                }
            }
            create(surroundings, organization, body).await
        }
        Tokens::List { organization } => list(surroundings, organization).await,
        Tokens::Show { id, organization } => {
            let path = path_of(target, &id, organization).await?;
            let token: TokenView = call(target, Method::GET, &path, None).await?;
            if surroundings.is_json {
                return output::json(&token);
            }
            show(token);
            Ok(())
        }
        Tokens::Delete {
            id,
            organization,
            yes,
        } => {
            let path = path_of(target, &id, organization).await?;
            if !yes {
                let token: TokenView = call(target, Method::GET, &path, None).await?;
                let question = format!(
                    "Delete the token `{}` ({}) of {}? Whoever uses it is refused at once, and it never comes back.",
                    token.name, token.hint, token.organization_id
                );
                if !output::confirm(&question)? {
                    output::note("nothing was changed");
                    return Ok(());
                }
            }
            delete(surroundings, &path).await
        }
    }
}

async fn path_of(target: &Target, id: &str, organization: Option<String>) -> Result<String> {
    let id = segment(id)?;
    let organization = meant(target, organization).await?;
    Ok(format!("/v1/organizations/{organization}/tokens/{id}"))
}

async fn create(surroundings: &Surroundings, organization: Option<String>, body: Value) -> Result<()> {
    let target = &surroundings.target;
    let organization = meant(target, organization).await?;
    let path = format!("/v1/organizations/{organization}/tokens");
    let created: CreatedTokenView = call(target, Method::POST, &path, Some(body)).await?;
    if surroundings.is_json {
        return output::json(&created);
    }
    output::data(&format!(
        "KEYWARD_SERVER={}\n{TOKEN_VARIABLE}={}\n",
        created.endpoint, created.value
    ));
    let token = &created.token;
    output::note(&format!(
        "\ncreated the token `{}` ({}) of {}: {}{}\nIts text is shown this once and kept nowhere: put it where your program \
         reads it, like a password.",
        token.name,
        token.id,
        token.organization_id,
        token.rights.join(", "),
        token
            .expires_at
            .as_ref()
            .map(|end| format!(", until {end}"))
            .unwrap_or_default(),
    ));
    Ok(())
}

async fn list(surroundings: &Surroundings, organization: Option<String>) -> Result<()> {
    let target = &surroundings.target;
    let organization = meant(target, organization).await?;
    let path = format!("/v1/organizations/{organization}/tokens");
    let items: Vec<TokenView> = call_for_all(target, &path).await?;
    if surroundings.is_json {
        return output::json(&ListView { items, next: None });
    }
    if items.is_empty() {
        output::note(&format!(
            "{organization} has no management tokens. A program that manages keys over the network needs one:\n  keyward \
             tokens create --organization {organization} --name \"My program\" --rights keys:read,keys:write"
        ));
        return Ok(());
    }
    let rows = items.into_iter().map(|token| {
        vec![
            token.name,
            token.id,
            token.state,
            token.rights.join(","),
            token.expires_at.unwrap_or_else(|| "never".to_owned()),
            token.last_used_at.unwrap_or_else(|| "never".to_owned()),
            token.hint,
        ]
    });
    let header = ["NAME", "ID", "STATE", "RIGHTS", "EXPIRES", "LAST USED", "HINT"];
    output::table(&header, rows.collect());
    Ok(())
}

fn show(token: TokenView) {
    let mut facts = vec![
        ("Name", token.name),
        ("Id", token.id),
        ("Organization", token.organization_id),
        ("State", token.state),
        ("Rights", token.rights.join(", ")),
        ("Expires", token.expires_at.unwrap_or_else(|| "never".to_owned())),
        (
            "Last used",
            token.last_used_at.unwrap_or_else(|| "never".to_owned()),
        ),
        ("Hint", token.hint),
        ("Created by", token.created_by),
        ("Created", token.created_at),
    ];
    facts.extend(token.deleted_at.map(|at| ("Deleted", at)));
    output::facts(&facts);
}

async fn delete(surroundings: &Surroundings, path: &str) -> Result<()> {
    let path = format!("{path}/delete");
    let done: TokenStateView = call(&surroundings.target, Method::POST, &path, None).await?;
    if surroundings.is_json {
        return output::json(&done);
    }
    output::data(&format!("{} {}\n", done.id, done.state));
    let already = if done.changed { "" } else { ", as it was before" };
    output::note(&format!("the token is {}{already}", done.state));
    Ok(())
}
