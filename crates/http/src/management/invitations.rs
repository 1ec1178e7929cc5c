//! Invitations by link: create, list, revoke. Accepting one is [`super::acceptance`]'s, which asks for no right.

use axum::response::Response;
use http::StatusCode;
use keyward_api::invitations::{CreatedInvitationView, InvitationView, NewInvitation, NewInvitationBody};
use keyward_api::{cursor, moment};
use keyward_core::ids::InvitationId;
use keyward_core::management_right::ManagementRight;
use keyward_core::time::Timestamp;
use keyward_engine::invitations::InvitationDraft;
use keyward_store::invitations::Invitation;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "invitations";
const INVITATIONS: &str = "/v1/organizations/{organization}/invitations";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(INVITATIONS, ManagementRight::MembersWrite)
                .named(
                    Tag::People,
                    "create_invitation",
                    "Invite somebody and show the link, this once",
                )
                .takes::<NewInvitationBody>()
                .answers::<CreatedInvitationView>(StatusCode::CREATED)
                .may_refuse(&[409]),
            create,
        )
        .add(
            Endpoint::get(INVITATIONS, ManagementRight::MembersRead)
                .named(
                    Tag::People,
                    "list_invitations",
                    "List invitations, ended ones included",
                )
                .pages()
                .answers::<ListView<InvitationView>>(StatusCode::OK),
            list,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/invitations/{invitation}/revoke",
                ManagementRight::MembersWrite,
            )
            .named(Tag::People, "revoke_invitation", "Take an invitation back")
            .answers::<InvitationView>(StatusCode::OK)
            .may_refuse(&[409]),
            revoke,
        )
}

async fn create(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let new = NewInvitation::read(call.fields().await?)?;
    let draft = InvitationDraft {
        email: new.email,
        role: new.role,
        lifetime_ms: new.lifetime_ms,
    };
    let engine = call.engine();
    let created = engine
        .create_invitation(&call.context, grant.organization()?, draft)
        .await?;
    let site = &call.management.site;
    let shown = CreatedInvitationView {
        invitation: view(&created.invitation, engine.now()),
        // The one place where a link's secret leaves the server.
        link: site.page_url(&format!("/invitations/{}", created.secret.reveal())),
    };
    reply::json(StatusCode::CREATED, &shown)
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?;
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    // An organization that does not exist is said to be none, not to have invited nobody.
    engine.show_organization(organization).await?;
    let found = engine
        .list_invitations(organization, &page.after, page.limit)
        .await?;
    let now = engine.now();
    let shown = ListView {
        items: found
            .items
            .iter()
            .map(|invitation| view(invitation, now))
            .collect(),
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn revoke(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let id: InvitationId = call.id("invitation", "invitation")?;
    let engine = call.engine();
    let revoked = engine
        .revoke_invitation(&call.context, grant.organization()?, &id)
        .await?;
    reply::json(StatusCode::OK, &view(&revoked, engine.now()))
}

fn view(invitation: &Invitation, now: Timestamp) -> InvitationView {
    InvitationView {
        id: invitation.id.to_string(),
        email: invitation.email.to_string(),
        role: invitation.role.name().to_owned(),
        state: invitation
            .over_at(now)
            .map_or("open", |over| over.name())
            .to_owned(),
        invited_by: invitation.invited_by.to_string(),
        created_at: moment::write(invitation.created_at),
        expires_at: moment::write(invitation.expires_at),
        ended_at: invitation.ended.map(|(_, at)| moment::write(at)),
    }
}
