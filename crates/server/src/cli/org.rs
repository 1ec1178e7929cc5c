//! `keyward org`: create, list and show organizations. What changes one is in [`super::org_changes`].

use anyhow::{Result, bail};
use clap::Subcommand;
use http::Method;
use keyward_api::organizations::OrganizationView;
use keyward_http::management::ListView;
use serde_json::json;

use super::Surroundings;
use super::client::{Target, call, call_for_all};
use super::{org_changes, output, stop};

const ORGANIZATIONS: &str = "/v1/organizations";

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Org {
    /// Create an organization with its Owner
    Create {
        /// The display name
        #[arg(long)]
        name: String,
        /// The id, such as `org-123`; it never changes [default: drawn]
        #[arg(long)]
        id: Option<String>,
        /// The Owner's e-mail address
        #[arg(long, default_value = "owner@localhost", value_name = "ADDRESS")]
        owner_email: String,
        /// Somebody signs in with that address already, and you made sure who they are
        #[arg(long)]
        owner_is_known: bool,
    },
    /// List the organizations of this installation
    List,
    /// Show one organization with its people
    Show {
        /// Its id
        id: String,
    },
    /// End the stop of a whole organization; keys that were paused one by one stay so
    Resume {
        /// Its id
        id: String,
    },
    /// Edit an organization's name and settings
    Edit(Box<org_changes::Edit>),
    /// Refuse every operation of an organization's keys, until it is unlocked
    Lock {
        /// Its id
        id: String,
    },
    /// Take an organization's lock back; a stop stays
    Unlock {
        /// Its id
        id: String,
    },
    /// Stop an organization at once, and purge it after 30 days
    Delete {
        /// Its id
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Take the deletion of an organization back; it stays stopped until it is resumed
    Restore {
        /// Its id
        id: String,
    },
}

pub(super) async fn run(surroundings: &Surroundings, command: Org) -> Result<()> {
    let target = &surroundings.target;
    match command {
        Org::Create {
            name,
            id,
            owner_email,
            owner_is_known,
        } => {
            let mut body =
                json!({"name": name, "owner_email": owner_email, "owner_is_known": owner_is_known});
            if let (Some(id), Some(fields)) = (id, body.as_object_mut()) {
                fields.insert("id".to_owned(), id.into());
            }
            let made: OrganizationView = call(target, Method::POST, ORGANIZATIONS, Some(body)).await?;
            if surroundings.is_json {
                return output::json(&made);
            }
            output::data(&format!("{}\n", made.id));
            if let Some(link) = &made.owner_link {
                output::note(&format!(
                    "the Owner opens this link once, within a day, to set a passphrase: {link}\nWhoever has it can sign in as them"
                ));
            }
            output::note(&format!(
                "created the organization; a first key: `keyward keys create --organization {} --name \"My key\"`",
                made.id
            ));
            Ok(())
        }
        Org::List => {
            let items = all(target).await?;
            if surroundings.is_json {
                return output::json(&ListView { items, next: None });
            }
            if items.is_empty() {
                output::note("there is no organization yet; make one with `keyward org create --name NAME`");
                return Ok(());
            }
            let rows = items
                .into_iter()
                .map(|item| vec![item.id, item.name, item.state, item.created_at])
                .collect();
            output::table(&["ID", "NAME", "STATE", "CREATED"], rows);
            Ok(())
        }
        Org::Resume { id } => stop::resume_organization(surroundings, &id).await,
        Org::Edit(edit) => org_changes::edit(surroundings, *edit).await,
        Org::Lock { id } => org_changes::set_lock(surroundings, &id, "lock").await,
        Org::Unlock { id } => org_changes::set_lock(surroundings, &id, "unlock").await,
        Org::Delete { id, yes } => org_changes::delete(surroundings, &id, yes).await,
        Org::Restore { id } => org_changes::restore(surroundings, &id).await,
        Org::Show { id } => {
            let path = format!("/v1/organizations/{}", segment(&id)?);
            let shown: OrganizationView = call(target, Method::GET, &path, None).await?;
            if surroundings.is_json {
                return output::json(&shown);
            }
            let mut facts = vec![
                ("Id", shown.id),
                ("Name", shown.name),
                ("State", shown.state),
                ("Created", shown.created_at),
                ("Changed", shown.updated_at),
            ];
            facts.extend(shown.purge_at.map(|at| ("Deleted, purged at", at)));
            facts.extend(shown.settings.iter().flat_map(org_changes::setting_facts));
            output::facts(&facts);
            let members = shown.members.unwrap_or_default();
            let rows = members
                .into_iter()
                .map(|member| vec![member.email, member.role, member.person_id]);
            output::data("\n");
            output::table(&["MEMBER", "ROLE", "PERSON ID"], rows.collect());
            Ok(())
        }
    }
}

/// Every organization.
pub(super) async fn all(target: &Target) -> Result<Vec<OrganizationView>> {
    call_for_all(target, ORGANIZATIONS).await
}

/// The ids of the organizations that may be managed.
pub(super) async fn reachable(target: &Target) -> Result<Vec<String>> {
    match target.only_organization().await? {
        Some(only) => Ok(vec![only]),
        None => Ok(all(target).await?.into_iter().map(|one| one.id).collect()),
    }
}

/// The organization that is meant: the one that was named, the token's or the acting member's, or the only one there is.
pub(super) async fn meant(target: &Target, named: Option<String>) -> Result<String> {
    if let Some(named) = named {
        return segment(&named);
    }
    if let Some(only) = target.only_organization().await? {
        return segment(&only);
    }
    let mut all = all(target).await?;
    match all.len() {
        0 => bail!("there is no organization yet; make one with `keyward org create --name NAME`"),
        1 => Ok(all.remove(0).id),
        _ => {
            let ids: Vec<String> = all
                .iter()
                .map(|one| format!("{} ({})", one.id, one.name))
                .collect();
            bail!(
                "there are several organizations; name one with --organization: {}",
                ids.join(", ")
            )
        }
    }
}

/// An id as a segment of a path; what can't be an id is refused here, before it changes the path.
pub(super) fn segment(id: &str) -> Result<String> {
    let is_plain = !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_plain {
        bail!(
            "`{}` is no id; an id is made of letters, digits and hyphens",
            keyward_api::fields::shortened(id)
        );
    }
    Ok(id.to_owned())
}
