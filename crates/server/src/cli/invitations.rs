//! `keyward invitations`: invite people by a link, list and take back invitations, accept one.

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use keyward_api::invitations::{AcceptedInvitationView, CreatedInvitationView, InvitationView};
use keyward_http::management::ListView;
use serde_json::json;

use super::Surroundings;
use super::client::{call, call_for_all};
use super::org::{meant, segment};
use super::output;
use crate::configuration::PublicUrl;

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Invitations {
    /// Invite somebody and print the link, this once
    Create {
        /// Their e-mail address
        email: String,
        /// In which role: `owner`, `admin` or `member`
        #[arg(long, default_value = "member")]
        role: String,
        /// For how long the link is good, `30d` at most [default: 7d]
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// List an organization's invitations, ended ones included
    List {
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
    },
    /// Take an invitation back
    Revoke {
        /// Its id
        id: String,
        /// The organization [default: the only one there is]
        #[arg(long, short, value_name = "ID")]
        organization: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Become a member by a link; nothing else is needed
    ///
    /// The server that the link names is asked, unless another is named. `-` reads the link from standard input, so that it
    /// stays out of the history of a shell.
    Accept {
        /// The link, or what follows its last slash
        link: String,
    },
}

pub(super) async fn run(surroundings: &Surroundings, command: Invitations) -> Result<()> {
    let target = &surroundings.target;
    match command {
        Invitations::Create {
            email,
            role,
            expires_in,
            organization,
        } => {
            let organization = meant(target, organization).await?;
            let path = format!("/v1/organizations/{organization}/invitations");
            let body = json!({ "email": email, "role": role, "expires_in": expires_in });
            let made: CreatedInvitationView = call(target, Method::POST, &path, Some(body)).await?;
            if surroundings.is_json {
                return output::json(&made);
            }
            output::data(&format!("{}\n", made.link));
            output::note(&format!(
                "invited {} into {organization} as {}, until {}. Whoever has the link becomes a member: send it to them alone. \
                 It is shown this once",
                made.invitation.email, made.invitation.role, made.invitation.expires_at
            ));
            Ok(())
        }
        Invitations::List { organization } => {
            let organization = meant(target, organization).await?;
            let path = format!("/v1/organizations/{organization}/invitations");
            let items: Vec<InvitationView> = call_for_all(target, &path).await?;
            if surroundings.is_json {
                return output::json(&ListView { items, next: None });
            }
            if items.is_empty() {
                output::note(&format!(
                    "nobody was invited into {organization}; invite somebody with `keyward invitations create ADDRESS`"
                ));
                return Ok(());
            }
            let rows = items.into_iter().map(|one| {
                vec![
                    one.email,
                    one.role,
                    one.state,
                    one.expires_at,
                    one.invited_by,
                    one.id,
                ]
            });
            let header = ["INVITED", "ROLE", "STATE", "EXPIRES", "BY", "ID"];
            output::table(&header, rows.collect());
            Ok(())
        }
        Invitations::Revoke {
            id,
            organization,
            yes,
        } => {
            let id = segment(&id)?;
            let organization = meant(target, organization).await?;
            if !yes && !output::confirm("Take the invitation back? Its link is refused at once.")? {
                output::note("nothing was changed");
                return Ok(());
            }
            let path = format!("/v1/organizations/{organization}/invitations/{id}/revoke");
            let revoked: InvitationView = call(target, Method::POST, &path, None).await?;
            if surroundings.is_json {
                return output::json(&revoked);
            }
            output::data(&format!("{} {}\n", revoked.id, revoked.state));
            output::note(&format!(
                "the invitation of {} is {}",
                revoked.email, revoked.state
            ));
            Ok(())
        }
        Invitations::Accept { link } => accept(surroundings, link).await,
    }
}

async fn accept(surroundings: &Surroundings, link: String) -> Result<()> {
    let link = if link == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        link
    };
    let (server, token) = parts_of(link.trim());
    let target = surroundings.target.as_nobody(server);
    let body = json!({ "token": token });
    let accepted: AcceptedInvitationView =
        call(&target, Method::POST, "/v1/invitations/accept", Some(body)).await?;
    if surroundings.is_json {
        return output::json(&accepted);
    }
    output::data(&format!("{} {}\n", accepted.organization_id, accepted.role));
    output::note(&format!(
        "{} belongs to `{}` ({}) now, as {}",
        accepted.email, accepted.organization_name, accepted.organization_id, accepted.role
    ));
    Ok(())
}

/// The server and the secret of a link; of a secret alone, no server.
fn parts_of(link: &str) -> (Option<PublicUrl>, &str) {
    match link.rsplit_once("/invitations/") {
        Some((server, token)) => (server.parse().ok(), token),
        None => (None, link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_its_server_and_a_secret_alone_none() {
        let (server, token) = parts_of("https://keys.example.com:8443/invitations/abc");
        assert_eq!(
            (server.as_ref().map(PublicUrl::as_str), token),
            (Some("https://keys.example.com:8443"), "abc")
        );
        assert_eq!(parts_of("abc"), (None, "abc"));
        let (server, _) = parts_of("ftp://keys.example.com/invitations/abc");
        assert_eq!(server, None);
    }
}
