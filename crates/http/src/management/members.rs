//! The people of an organization: list, show, change a role, remove, leave.

use axum::response::Response;
use http::{Method, StatusCode};
use keyward_api::members::{
    self, EditMemberBody, MemberRemovedView, MemberView, RemoveMemberBody, UndecidedKeyView,
    UndecidedKeysView, read_member_edit, read_removal,
};
use keyward_api::{cursor, moment};
use keyward_core::ids::PersonId;
use keyward_core::management_refusal::ManagementRefusal;
use keyward_core::management_right::ManagementRight;
use keyward_engine::remove_member::{KeysOfLeaver, LivingKeys, Removal};
use keyward_store::members::Member;

use super::endpoint::{Endpoint, Tag};
use super::principal::{Grant, Principal};
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "members";
const MEMBERS: &str = "/v1/organizations/{organization}/members";
const MEMBER: &str = "/v1/organizations/{organization}/members/{person}";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::get(MEMBERS, ManagementRight::MembersRead)
                .named(Tag::People, "list_members", "List the people of an organization")
                .pages()
                .answers::<ListView<MemberView>>(StatusCode::OK),
            list,
        )
        .add(
            Endpoint::get(MEMBER, ManagementRight::MembersRead)
                .named(Tag::People, "show_member", "Show one of the people")
                .answers::<MemberView>(StatusCode::OK),
            show,
        )
        .add(
            Endpoint::new(Method::PATCH, MEMBER, ManagementRight::MembersWrite.into())
                .named(Tag::People, "edit_member", "Give a member another role")
                .takes::<EditMemberBody>()
                .answers::<MemberView>(StatusCode::OK)
                .may_refuse(&[409]),
            edit,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/members/{person}/remove",
                ManagementRight::MembersWrite,
            )
            .named(
                Tag::People,
                "remove_member",
                "Remove a member, and say what becomes of their keys",
            )
            .may_take::<RemoveMemberBody>()
            .answers::<MemberRemovedView>(StatusCode::OK)
            .may_refuse(&[409]),
            remove,
        )
        .add(
            Endpoint::post(
                "/v1/organizations/{organization}/leave",
                ManagementRight::OrganizationRead,
            )
            .named(
                Tag::People,
                "leave_organization",
                "Leave an organization oneself, and say what becomes of one's keys",
            )
            .may_take::<RemoveMemberBody>()
            .answers::<MemberRemovedView>(StatusCode::OK)
            .may_refuse(&[409]),
            leave,
        )
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?;
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    // An organization that does not exist is said to be none, not to be without people.
    engine.show_organization(organization).await?;
    let found = engine
        .list_members_after(organization, &page.after, page.limit)
        .await?;
    let shown = ListView {
        items: found.items.iter().map(view).collect(),
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn show(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let person: PersonId = call.id("person", "member")?;
    let member = call.engine().show_member(grant.organization()?, &person).await?;
    reply::json(StatusCode::OK, &view(&member))
}

async fn edit(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let person: PersonId = call.id("person", "member")?;
    let role = read_member_edit(call.fields().await?)?;
    let organization = grant.organization()?;
    let member = call
        .engine()
        .change_role(&call.context, organization, &person, role)
        .await?;
    reply::json(StatusCode::OK, &view(&member))
}

async fn remove(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let person: PersonId = call.id("person", "member")?;
    let keys = read_removal(call.optional_fields().await?)?;
    remove_person(&grant, &call, person, keys).await
}

async fn leave(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let keys = read_removal(call.optional_fields().await?)?;
    let Principal::Person(membership) = grant.principal() else {
        return Err(Problem::not_found("member"));
    };
    remove_person(&grant, &call, membership.person_id.clone(), keys).await
}

async fn remove_person(
    grant: &Grant,
    call: &ManagementCall,
    person: PersonId,
    keys: Option<members::KeysOfLeaver>,
) -> Result<Response, Problem> {
    let keys = keys.map(|keys| match keys {
        members::KeysOfLeaver::Keep => KeysOfLeaver::Keep,
        members::KeysOfLeaver::HandOver(to) => KeysOfLeaver::HandOver(to),
        members::KeysOfLeaver::End => KeysOfLeaver::End,
    });
    let changes_keys = keys.as_ref().is_some_and(|keys| *keys != KeysOfLeaver::Keep);
    if changes_keys && !grant.rights().contains(ManagementRight::KeysWrite) {
        return Err(ManagementRefusal::RightMissing(ManagementRight::KeysWrite).into());
    }
    let organization = grant.organization()?.clone();
    let removal = call
        .engine()
        .remove_member(call.context.clone(), organization, person, keys)
        .await?;
    match removal {
        Removal::Done(removed) => reply::json(
            StatusCode::OK,
            &MemberRemovedView {
                person_id: removed.member.person_id.to_string(),
                kept: removed.kept,
                handed_over: removed.handed_over,
                ended: removed.ended,
            },
        ),
        Removal::Undecided(living) => Err(Problem::keys_undecided(undecided(grant, &living))),
    }
}

/// Which keys there are, to whoever may see keys.
fn undecided(grant: &Grant, living: &LivingKeys) -> UndecidedKeysView {
    let items = if grant.rights().contains(ManagementRight::KeysRead) {
        living.keys.iter().map(UndecidedKeyView::of).collect()
    } else {
        Vec::new()
    };
    UndecidedKeysView {
        count: living.count,
        items,
    }
}

pub(super) fn view(member: &Member) -> MemberView {
    MemberView {
        person_id: member.person_id.to_string(),
        email: member.email.clone(),
        role: member.role.name().to_owned(),
        member_since: moment::write(member.created_at),
    }
}
