//! `keyward quickstart`: a server for a first try, with an organization, a key, a sample dataset, and a snippet to paste.
//!
//! Run again it uses what is there: the key's value is kept nowhere, so its line is left out and a comment says why. It
//! listens on the loopback address only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use keyward_core::access::Permission;
use keyward_core::address::CallerAddress;
use keyward_core::condition::Conditions;
use keyward_core::credentials::Credentials;
use keyward_core::decision::OrganizationClaim;
use keyward_core::ids::OrganizationId;
use keyward_core::key_text::KeyText;
use keyward_core::new_key::KeyDraft;
use keyward_core::operation::Operation;
use keyward_core::record::Actor;
use keyward_core::resource::ResourceType;
use keyward_core::role::Role;
use keyward_core::rotation::ScheduleChoice;
use keyward_core::scope::ScopeSet;
use keyward_core::secret::{KeyTextKind, Secret};
use keyward_engine::Engine;
use keyward_engine::context::Context;
use keyward_engine::create_organization::OrganizationDraft;
use keyward_engine::datasets::NewDataset;
use keyward_engine::permit::OwnedResource;
use keyward_engine::sign_in_links::{CreatedSignInLink, LinkPurpose};
use keyward_http::request::new_request_id;

use crate::cli::output;
use crate::configuration::{Place, ServeSettings};
use crate::serve::Server;

/// The official client that the snippet installs.
pub(crate) const CLIENT: &str = "vi-sdk==0.1.0b7";

/// Serves, prints, and runs until it is told to stop.
pub(crate) async fn run(place: &Place, settings: &ServeSettings) -> Result<()> {
    for (address, flag) in [
        (settings.listen, "--listen"),
        (settings.admin_listen, "--admin-listen"),
    ] {
        if !address.ip().is_loopback() {
            bail!(
                "quickstart hands out a key that may do everything, so it listens on the loopback address only, not on \
                 {address} ({flag}).\nFor a server that others reach: `keyward serve {flag} {address}`, and keys from \
                 `keyward keys create`"
            );
        }
    }
    let server = Server::start(place, settings).await?;
    let site = server.site();
    let begun = begin(&site.engine).await;
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => {
            site.engine.shut_down().await;
            return Err(error);
        }
    };
    let text = snippet(&site.public_url, &begun, place);
    output::data(&text);
    if let Some(link) = &begun.link {
        output::note(&format!(
            "\nOpen this once to set your passphrase: {}\nIt is good for a day; `keyward people link {}` makes another.",
            site.sign_in_link(&link.secret),
            link.email
        ));
    }
    output::note(&match begun.value {
        Some(_) => format!(
            "\nKeyward serves on {}. Paste the lines above into another terminal: they install the official client and \
             use it.\nThe key's value is shown this once. Ctrl-C stops the server; the data stays in `{}`.",
            site.public_url,
            place.data_dir.display()
        ),
        None => format!("\nKeyward serves on {}. Ctrl-C stops it.", site.public_url),
    });
    server.until_stopped().await
}

/// What the snippet is made of.
struct Begun {
    organization: OrganizationId,
    /// Absent if there were keys already.
    value: Option<Secret<KeyTextKind>>,
    /// Absent if an Owner can sign in already.
    link: Option<CreatedSignInLink>,
}

async fn begin(engine: &Engine) -> Result<Begun> {
    let context = Context::new(Actor::LocalAdministrator, new_request_id());
    let existing = engine.list_organizations("", 1).await?.items.into_iter().next();
    let organization = match existing {
        Some(organization) => organization.id,
        None => {
            let draft = OrganizationDraft {
                name: "My organization".to_owned(),
                id: None,
                owner_email: "owner@localhost".to_owned(),
                owner: keyward_engine::create_organization::OwnerClaim::AddressOnly,
            };
            engine
                .create_organization(context.clone(), draft)
                .await
                .context("could not make the first organization")?
                .id
        }
    };
    let link = owner_link(engine, &context, &organization)
        .await
        .context("could not make the link for the Owner")?;
    // Ended keys count: who deleted the only key knows how to make another.
    if !engine.list_keys(&organization, "", 1).await?.items.is_empty() {
        return Ok(Begun {
            organization,
            value: None,
            link,
        });
    }
    let draft = KeyDraft {
        name: "Quick start".to_owned(),
        description: "Made by `keyward quickstart`".to_owned(),
        environment: None,
        scopes: ScopeSet::ALL,
        permission: Permission::Full,
        conditions: Conditions::NONE,
        tags: Vec::new(),
        schedule: ScheduleChoice::Proposed,
    };
    let created = engine
        .create_key(context, organization.clone(), draft)
        .await
        .context("could not make the first key")?;
    make_sample(engine, created.value.reveal())
        .await
        .context("could not make the sample dataset")?;
    Ok(Begun {
        organization,
        value: Some(created.value),
        link,
    })
}

/// A one-time link for the first Owner, while no Owner can sign in.
async fn owner_link(
    engine: &Engine,
    context: &Context,
    organization: &OrganizationId,
) -> Result<Option<CreatedSignInLink>> {
    let members = engine.list_members(organization).await?;
    let owners: Vec<_> = members.iter().filter(|one| one.role == Role::Owner).collect();
    for owner in &owners {
        if engine.has_passphrase(&owner.email).await? {
            return Ok(None);
        }
    }
    let Some(first) = owners.first() else {
        return Ok(None);
    };
    let made = engine.create_sign_in_link(context, &first.email, LinkPurpose::SetPassphrase);
    Ok(Some(made.await?))
}

/// Made with the new key itself, as a client would.
async fn make_sample(engine: &Engine, value: &str) -> Result<()> {
    let key = KeyText::parse(value, engine.prefix()).context("the new key is not well formed")?;
    let credentials = Credentials {
        key,
        organization: None,
    };
    let asked = (Operation::DatasetWrite, OwnedResource::New(ResourceType::Dataset));
    let permit = engine
        .permit(
            credentials,
            OrganizationClaim::NotAsked,
            asked,
            (
                CallerAddress::Unknown,
                engine.client_of(Some(b"keyward quickstart")),
            ),
        )
        .await
        .map_err(|refusal| anyhow::anyhow!("the new key was refused: {}", refusal.sentence()))?;
    let context = Context::new(permit.actor(), new_request_id());
    let new = NewDataset {
        name: "Sample dataset".to_owned(),
        description: Some("Made by `keyward quickstart`; delete it when you like".to_owned()),
        kind: "phrase-grounding".to_owned(),
        content: "Image".to_owned(),
        owner: permit.organization_id().to_string(),
        status: 0,
        localization: Some("Datature/Multi".to_owned()),
        data_localization: Some("Datature/Multi".to_owned()),
        tags: BTreeMap::new(),
        attributes: BTreeMap::new(),
    };
    engine.create_dataset(&permit, &context, new).await?;
    Ok(())
}

/// What is printed. The first time it can be pasted whole into bash, dash or zsh, so it holds no comment then: an
/// interactive zsh takes one for a command.
fn snippet(public_url: &str, begun: &Begun, place: &Place) -> String {
    let mut text = format!(
        "DATATURE_VI_API_ENDPOINT={public_url}\nDATATURE_VI_ORGANIZATION_ID={}\n",
        begun.organization
    );
    // Writing into a text does not fail.
    let _ = match &begun.value {
        Some(value) => write!(
            text,
            "DATATURE_VI_SECRET_KEY={}\n\
             export DATATURE_VI_API_ENDPOINT DATATURE_VI_ORGANIZATION_ID DATATURE_VI_SECRET_KEY\n\
             [ -x keyward-venv/bin/python ] || python3 -m venv keyward-venv\n\
             keyward-venv/bin/python -c 'import vi' 2>/dev/null || keyward-venv/bin/pip install --quiet {CLIENT}\n\
             keyward-venv/bin/python - <<'EOF'\n\
             import vi\n\n\
             client = vi.Client()\n\
             print(client.organizations.get().organization_id)\n\
             client.datasets.create(name=\"My first dataset\")\n\
             for dataset in client.datasets:\n    \
                 print(dataset.name)\n\
             EOF\n",
            value.reveal()
        ),
        None => writeln!(
            text,
            "# The line DATATURE_VI_SECRET_KEY is left out: a key's value is shown once, when it is made, and kept \
             nowhere.\n# Make another key with:\n#   keyward keys create --name \"My key\" --data-dir {} --organization {}",
            place.data_dir.display(),
            begun.organization
        ),
    };
    text
}
