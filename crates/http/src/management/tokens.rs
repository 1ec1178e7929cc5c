//! Create, list, show and delete management tokens.

use axum::response::Response;
use http::StatusCode;
use keyward_api::cursor;
use keyward_api::tokens::{CreatedTokenView, NewToken, NewTokenBody, TokenStateView, TokenView};
use keyward_core::ids::TokenId;
use keyward_core::management_right::ManagementRight;
use keyward_engine::create_token::TokenDraft;

use super::endpoint::{Endpoint, Tag};
use super::principal::Grant;
use super::{ListView, ManagementCall, ManagementRoutes, paging};
use crate::problem::Problem;
use crate::reply;

const LIST: &str = "tokens";
const TOKENS: &str = "/v1/organizations/{organization}/tokens";
const TOKEN: &str = "/v1/organizations/{organization}/tokens/{token}";
const DELETE: &str = "/v1/organizations/{organization}/tokens/{token}/delete";

pub(super) fn add(routes: ManagementRoutes) -> ManagementRoutes {
    routes
        .add(
            Endpoint::post(TOKENS, ManagementRight::TokensWrite)
                .named(
                    Tag::Tokens,
                    "create_token",
                    "Create a management token and show its text, this once",
                )
                .takes::<NewTokenBody>()
                .answers::<CreatedTokenView>(StatusCode::CREATED)
                .may_refuse(&[409]),
            create,
        )
        .add(
            Endpoint::get(TOKENS, ManagementRight::TokensRead)
                .named(
                    Tag::Tokens,
                    "list_tokens",
                    "List management tokens, ended ones included",
                )
                .pages()
                .answers::<ListView<TokenView>>(StatusCode::OK),
            list,
        )
        .add(
            Endpoint::get(TOKEN, ManagementRight::TokensRead)
                .named(Tag::Tokens, "show_token", "Show a management token")
                .answers::<TokenView>(StatusCode::OK),
            show,
        )
        .add(
            Endpoint::post(DELETE, ManagementRight::TokensWrite)
                .named(Tag::Tokens, "delete_token", "Delete a management token for good")
                .answers::<TokenStateView>(StatusCode::OK),
            delete,
        )
}

async fn create(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let engine = call.engine().clone();
    let new = NewToken::read(call.fields().await?, engine.now())?;
    let draft = TokenDraft {
        name: new.name,
        rights: new.rights,
        expires_at: new.expires_at,
    };
    let organization = grant.organization()?.clone();
    let created = engine
        .create_token(call.context.clone(), organization, draft, grant.ceiling())
        .await?;
    let shown = CreatedTokenView {
        token: TokenView::of(&created.token, engine.now()),
        // The one place where a token's text leaves the server.
        value: created.value.reveal().to_owned(),
        endpoint: call.management.site.public_url.clone(),
    };
    reply::json(StatusCode::CREATED, &shown)
}

async fn list(grant: Grant, mut call: ManagementCall) -> Result<Response, Problem> {
    let organization = grant.organization()?;
    let page = call.page(paging(LIST))?;
    let engine = call.engine();
    // An organization that does not exist is said to be none, not to be without tokens.
    engine.show_organization(organization).await?;
    let found = engine.list_tokens(organization, &page.after, page.limit).await?;
    let now = engine.now();
    let shown = ListView {
        items: found
            .items
            .iter()
            .map(|token| TokenView::of(token, now))
            .collect(),
        next: found.next.map(|position| cursor::write(LIST, &position)),
    };
    reply::json(StatusCode::OK, &shown)
}

async fn show(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let id: TokenId = call.id("token", "management token")?;
    let engine = call.engine();
    let token = engine.show_token(grant.organization()?, id).await?;
    reply::json(StatusCode::OK, &TokenView::of(&token, engine.now()))
}

async fn delete(grant: Grant, call: ManagementCall) -> Result<Response, Problem> {
    let id: TokenId = call.id("token", "management token")?;
    let engine = call.engine();
    let organization = grant.organization()?.clone();
    let deleted = engine
        .delete_token(call.context.clone(), organization, id)
        .await?;
    let shown = TokenStateView {
        id: id.to_string(),
        state: deleted.token.record.state.name().to_owned(),
        changed: deleted.is_changed,
    };
    reply::json(StatusCode::OK, &shown)
}
