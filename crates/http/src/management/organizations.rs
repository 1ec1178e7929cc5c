//! Create, list, show and edit organizations, lock and unlock them. Their end is [`super::organization_end`]'s, a stop is among
//! what is done to keys.

use axum::response::Response;
use http::{Method, StatusCode};
use keyward_api::organization_settings::{EditOrganization, EditOrganizationBody, SettingsView};
use keyward_api::organizations::{
    NewOrganization, NewOrganizationBody, OrganizationStateView, OrganizationView,
};
use keyward_api::{cursor, moment};
use keyward_core::management_right::ManagementRight;
use keyward_core::role::Role;
use keyward_engine::create_organization::{OrganizationDraft, OwnerClaim};
use keyward_engine::edit_settings::SettingsEdit;
use keyward_engine::sign_in_links::LinkPurpose;
use keyward_engine::stop_organization::OrganizationWritten;
use keyward_store::organizations::Organization;

use super::endpoint::{Endpoint, Tag};
use super::principal::{Grant, Principal};
use super::{ListView, ManagementCall, ManagementRoutes, contacts, members, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "organizations";
const ORGANIZATIONS: &str = "/v1/organizations";
const ORGANIZATION: &str = "/v1/organizations/{organization}";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(ORGANIZATIONS, ManagementRight::Installation)
                .named(
                    Tag::Installation,
                    "create_organization",
                    "Create an organization with its Owner",
                )
                .takes::<NewOrganizationBody>()
                .answers::<OrganizationView>(StatusCode::CREATED)
                .may_refuse(&[409]),
            create,
        )
        .add(
            Endpoint::get(ORGANIZATIONS, ManagementRight::OrganizationRead)
                .named(
                    Tag::Organizations,
                    "list_organizations",
                    "List the organizations that the caller may see",
                )
                .pages()
                .answers::<ListView<OrganizationView>>(StatusCode::OK),
            list,
        )
        .add(
            Endpoint::get(ORGANIZATION, ManagementRight::OrganizationRead)
                .named(Tag::Organizations, "show_organization", "Show an organization")
                .answers::<OrganizationView>(StatusCode::OK),
            show,
        )
        .add(
            Endpoint::new(
                Method::PATCH,
                ORGANIZATION,
                ManagementRight::OrganizationWrite.into(),
            )
            .named(
                Tag::Organizations,
                "edit_organization",
                "Edit an organization's name and settings",
            )
            .takes::<EditOrganizationBody>()
            .may_expect_a_version()
            .answers::<OrganizationView>(StatusCode::OK),
            edit,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/lock",
                ManagementRight::OrganizationWrite,
            )
            .named(
                Tag::Organizations,
                "lock_organization",
                "Refuse every operation of an organization's keys",
            )
            .answers::<OrganizationStateView>(StatusCode::OK),
            lock,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/unlock",
                ManagementRight::OrganizationWrite,
            )
            .named(
                Tag::Organizations,
                "unlock_organization",
                "Take an organization's lock back; a stop stays",
            )
            .answers::<OrganizationStateView>(StatusCode::OK),
            unlock,
        )
}

async fn create(_: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let new = NewOrganization::read(call.fields().await?)?;
    let owner_email = new.owner_email.clone();
    let draft = OrganizationDraft {
        name: new.name,
        id: new.id,
        owner_email: new.owner_email,
        owner: if new.is_owner_known {
            OwnerClaim::Known
        } else {
            OwnerClaim::AddressOnly
        },
    };
    let made = call
        .engine()
        .create_organization(call.context.clone(), draft)
        .await?;
    let mut shown = view(&made);
    shown.owner_link = owner_link(&call, &owner_email).await;
    reply::json(StatusCode::CREATED, &shown)
}

/// A link for an Owner who could not sign in otherwise. The organization is there, whether it comes about or not: `keyward people
/// link` makes another.
async fn owner_link(call: &ManagementCall, email: &str) -> Option<String> {
    let engine = call.engine();
    let made = async {
        if engine.has_passphrase(email).await? {
            return Ok(None);
        }
        let purpose = LinkPurpose::SetPassphrase;
        engine
            .create_sign_in_link(&call.context, email, purpose)
            .await
            .map(Some)
    };
    match made.await {
        Ok(made) => made.map(|made| call.management.site.sign_in_link(&made.secret)),
        Err(error) => {
            tracing::warn!(%error, "the Owner of a new organization has no sign-in link yet");
            None
        }
    }
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    let shown = match grant.only_organization() {
        Some(own) => ListView {
            items: vec![view(&engine.show_organization(own).await?)],
            next: None,
        },
        None => {
            let found = engine.list_organizations(&page.after, page.limit).await?;
            ListView {
                items: found.items.iter().map(view).collect(),
                next: found.next.map(|position| cursor::write(LIST, &position)),
            }
        }
    };
    reply::json(StatusCode::OK, &shown)
}

async fn show(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let id = grant.organization()?;
    let engine = call.engine();
    let found = engine.show_organization(id).await?;
    let mut shown = whole_view(&grant, &found);
    // Who belongs to it is another right's to see.
    if grant.rights().contains(ManagementRight::MembersRead) {
        let members = engine.list_members(id).await?;
        shown.members = Some(members.iter().map(members::view).collect());
    }
    reply::json_at_version(StatusCode::OK, found.version, &shown)
}

async fn edit(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let expected = call.expected_version()?;
    let edit = EditOrganization::read(call.fields().await?)?;
    let edit = SettingsEdit {
        name: edit.name,
        advanced_access_control: edit.advanced_access_control,
        max_key_lifetime_ms: edit.max_key_lifetime_ms,
        rotation_policy: edit.rotation_policy,
        security_contacts: edit.security_contacts,
        usage_retention_days: edit.usage_retention_days,
        second_factor_required: edit.second_factor_required,
    };
    let edited = call
        .engine()
        .edit_settings(&call.context, grant.organization()?, expected, edit)
        .await?;
    let mut shown = whole_view(&grant, &edited.organization);
    if !edited.signing_secrets.is_empty() {
        let secrets = edited.signing_secrets.iter();
        shown.signing_secrets = Some(secrets.map(contacts::secret_view).collect());
    }
    reply::json_at_version(StatusCode::OK, edited.organization.version, &shown)
}

async fn lock(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let engine = call.engine();
    let written = engine
        .lock_organization(call.context.clone(), organization)
        .await?;
    reply::json(StatusCode::OK, &standing(&written))
}

async fn unlock(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?.clone();
    let engine = call.engine();
    let written = engine
        .unlock_organization(call.context.clone(), organization)
        .await?;
    reply::json(StatusCode::OK, &standing(&written))
}

pub(super) fn standing(written: &OrganizationWritten) -> OrganizationStateView {
    OrganizationStateView {
        id: written.organization.id.to_string(),
        state: written.organization.state.name().to_owned(),
        changed: written.is_changed,
        confirmed: written.known.confirmed,
        waited_out: written.known.waited_out,
        waited_ms: written.known.waited_ms,
        survives_failover: written.known.survives_failover,
    }
}

/// An organization with as much of its settings as the caller may see.
fn whole_view(grant: &Grant, organization: &Organization) -> OrganizationView {
    let settings = &organization.settings;
    let is_member =
        matches!(grant.principal(), Principal::Person(membership) if membership.role == Role::Member);
    let shown = SettingsView::of(settings);
    let shown = match (
        is_member,
        grant.rights().contains(ManagementRight::OrganizationWrite),
    ) {
        (true, _) => None,
        (false, true) => Some(shown.with_contacts(settings)),
        (false, false) => Some(shown),
    };
    OrganizationView {
        settings: shown,
        ..view(organization)
    }
}

fn view(organization: &Organization) -> OrganizationView {
    let deletion = organization.deletion.as_ref();
    OrganizationView {
        id: organization.id.to_string(),
        name: organization.name.clone(),
        state: organization.state.name().to_owned(),
        created_at: moment::write(organization.created_at),
        updated_at: moment::write(organization.updated_at),
        version: organization.version,
        deleted_at: deletion.map(|deletion| moment::write(deletion.deleted_at)),
        purge_at: deletion.map(|deletion| moment::write(deletion.purge_at)),
        settings: None,
        members: None,
        signing_secrets: None,
        owner_link: None,
    }
}
