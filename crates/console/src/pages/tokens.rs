//! Management tokens: the table, a new one with its value shown once, and its removal.
//!
//! A form that is sent twice makes one token: the page gives each form a number, and the engine draws the token's id from it.

use askama::Template;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keyward_core::field::FieldProblem;
use keyward_core::ids::TokenId;
use keyward_core::management_right::{ManagementRight, RightSet};
use keyward_core::management_token::Token;
use keyward_core::time::DAY_MS;
use keyward_engine::create_token::{CreatedToken, TokenDraft, TokenMade};

use crate::call::Call;
use crate::mending::Mending;
use crate::naming::Naming;
use crate::refused::Refused;
use crate::reply;
use crate::routes::{ConsoleRoutes, done};
use crate::shell::{Section, Shell};
use crate::visit::Visit;
use crate::words::{When, counted};

const TOKENS: &str = "/org/{organization}/settings/tokens";
const NEW: &str = "/org/{organization}/settings/tokens/new";
const REMOVE: &str = "/org/{organization}/settings/tokens/{token}/remove";
const LIMIT: u32 = 50;
/// Days after which a token can be made to end.
const DAYS: [i64; 4] = [7, 30, 90, 365];
const PROPOSED: &str = "90";
const NEVER: &str = "never";
/// Bytes of a form's number; a number is no secret, and is only not to be met twice.
const FORM_BYTES: usize = 16;
/// Longest number that is taken for one.
const MOST_FORM: usize = 64;

const DONE: &[(&str, &str)] = &[
    (
        "removed",
        "The token was removed. It is refused from the next request on.",
    ),
    (
        "before",
        "This form had been sent before, and its token was made then. Its value was shown at that time and is kept nowhere: if you \
         did not copy it, remove the token and create another one.",
    ),
];

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    shell: Shell,
    base: String,
    rows: Vec<TokenRow>,
    next: Option<String>,
    is_first: bool,
}

struct TokenRow {
    id: String,
    name: String,
    hint: String,
    rights: String,
    state: &'static str,
    tone: &'static str,
    is_deleted: bool,
    expires: Option<When>,
    last_used: Option<When>,
    created_by: String,
    created: When,
}

#[derive(Template)]
#[template(path = "token_new.html")]
struct NewPage {
    shell: Shell,
    base: String,
    form: String,
    name: String,
    rights: Vec<RightRow>,
    ends: Vec<EndRow>,
    mending: Mending,
}

struct RightRow {
    value: &'static str,
    title: &'static str,
    sentence: &'static str,
    is_chosen: bool,
}

struct EndRow {
    value: String,
    text: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "token_created.html")]
struct CreatedPage {
    shell: Shell,
    base: String,
    name: String,
    /// The one place where a token's text leaves the console.
    value: String,
    public_url: String,
    path: String,
    expires: Option<When>,
}

#[derive(Template)]
#[template(path = "token_remove.html")]
struct RemovePage {
    shell: Shell,
    base: String,
    row: TokenRow,
}

pub(super) fn add(routes: ConsoleRoutes) -> ConsoleRoutes {
    routes
        .page(TOKENS, ManagementRight::TokensRead, list)
        .page(NEW, ManagementRight::TokensWrite, show_new)
        .form(NEW, ManagementRight::TokensWrite, create)
        .page(REMOVE, ManagementRight::TokensWrite, show_removal)
        .form(REMOVE, ManagementRight::TokensWrite, remove)
}

async fn list(visit: Visit, call: Call) -> Result<Response, Refused> {
    let engine = call.engine();
    let after = call.query.text("after").unwrap_or_default();
    let found = engine.list_tokens(visit.id(), after, LIMIT).await?;
    let mut naming = Naming::new(engine, visit.id());
    let mut rows = Vec::with_capacity(found.items.len());
    for token in &found.items {
        rows.push(row(&call, token, naming.of(&token.created_by).await?));
    }
    reply::page(&TokensPage {
        shell: Shell::of(&visit, &call, Section::Tokens, "Management tokens", DONE),
        base: visit.url("settings/tokens"),
        rows,
        next: found.next.map(|next| call.query.with("after", Some(&next))),
        is_first: after.is_empty(),
    })
}

fn row(call: &Call, token: &Token, created_by: String) -> TokenRow {
    let now = call.now();
    let rights: Vec<_> = token.record.rights.iter().map(right_title).collect();
    let (state, tone) = match token.shown_state(now) {
        "active" => ("Active", "ok"),
        "expired" => ("Expired", ""),
        _ => ("Removed", ""),
    };
    TokenRow {
        id: token.record.id.to_string(),
        name: token.name.to_string(),
        hint: token.hint.clone(),
        rights: rights.join(", "),
        state,
        tone,
        is_deleted: token.record.state.is_deleted(),
        expires: token.record.expires_at.map(|at| When::relative(at, now)),
        last_used: token.last_used_at.map(|at| When::relative(at, now)),
        created_by,
        created: When::date(token.created_at),
    }
}

async fn show_new(visit: Visit, call: Call) -> Result<Response, Refused> {
    new_page(&visit, &call, Mending::none())
}

async fn create(visit: Visit, call: Call) -> Result<Response, Refused> {
    let form = call.form.text("form").unwrap_or_default();
    if form.is_empty() || form.len() > MOST_FORM {
        let problem = "the form has lost its number; it has a new one now, so that sending it once more makes one token";
        return new_page(&visit, &call, Mending::of(vec![field("form", problem)]));
    }
    let draft = match read(&call) {
        Ok(draft) => draft,
        Err(problem) => return new_page(&visit, &call, Mending::of(vec![problem])),
    };
    let made = call
        .engine()
        .create_token_once(
            call.context.clone(),
            visit.id().clone(),
            draft,
            visit.ceiling(),
            form,
        )
        .await;
    match made {
        Ok(TokenMade::Now(created)) => created_page(&visit, &call, &created),
        Ok(TokenMade::Before(_)) => Ok(done(&visit.url("settings/tokens"), "before")),
        Err(error) => new_page(&visit, &call, Mending::after(error)?.rename("expires_at", "ends")),
    }
}

/// Name and rights are the engine's to check, which says all of their problems at once.
fn read(call: &Call) -> Result<TokenDraft, FieldProblem> {
    let rights: RightSet = call
        .form
        .all("right")
        .filter_map(ManagementRight::from_name)
        .collect();
    let ends = call.form.text("ends").unwrap_or_default();
    let days = DAYS.into_iter().find(|days| days.to_string() == ends);
    if days.is_none() && ends != NEVER {
        return Err(field("ends", "choose when it ends"));
    }
    Ok(TokenDraft {
        name: call.form.text("name").unwrap_or_default().to_owned(),
        rights,
        expires_at: days.map(|days| call.now().plus_ms(days.saturating_mul(DAY_MS))),
    })
}

fn field(field: &str, message: &str) -> FieldProblem {
    FieldProblem {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

fn new_page(visit: &Visit, call: &Call, mending: Mending) -> Result<Response, Refused> {
    let mut bytes = [0_u8; FORM_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Refused::Unavailable("no random bytes".to_owned()))?;
    // Whatever was refused made nothing, so that the form may keep its number or not.
    let form = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let held = RightSet::of_role(visit.role).and(RightSet::all_of_tokens());
    let rights = held.iter().map(|right| RightRow {
        value: right.name(),
        title: right_title(right),
        sentence: right_sentence(right),
        is_chosen: call.form.has("right", right.name()),
    });
    let chosen = call.form.text("ends").unwrap_or(PROPOSED);
    let end = |value: String, text: String| EndRow {
        is_chosen: value == chosen,
        value,
        text,
    };
    let ends = DAYS.map(|days| {
        let text = format!("In {}", counted(days.unsigned_abs(), "day", "days"));
        end(days.to_string(), text)
    });
    let never = end(NEVER.to_owned(), "Never: until somebody removes it".to_owned());
    let status = mending.status();
    let page = NewPage {
        shell: Shell::of(visit, call, Section::Tokens, "Create a management token", &[]),
        base: visit.url("settings/tokens"),
        form,
        name: call.form.raw("name").unwrap_or_default().to_owned(),
        rights: rights.collect(),
        ends: ends.into_iter().chain(std::iter::once(never)).collect(),
        mending,
    };
    reply::page_with(status, &page)
}

fn created_page(visit: &Visit, call: &Call, created: &CreatedToken) -> Result<Response, Refused> {
    let rights = created.token.record.rights;
    // A call that this very token may make.
    let path = if rights.contains(ManagementRight::KeysRead) {
        format!("/v1/organizations/{}/keys", visit.id())
    } else {
        "/v1/me".to_owned()
    };
    reply::page(&CreatedPage {
        shell: Shell::of(visit, call, Section::Tokens, "Management token", &[]),
        base: visit.url("settings/tokens"),
        name: created.token.name.to_string(),
        value: created.value.reveal().to_owned(),
        public_url: call.site.public_url.clone(),
        path,
        expires: created.token.record.expires_at.map(When::exact),
    })
}

async fn show_removal(visit: Visit, call: Call) -> Result<Response, Refused> {
    let engine = call.engine();
    let token = engine.show_token(visit.id(), token_of(&call)?).await?;
    let created_by = Naming::new(engine, visit.id()).of(&token.created_by).await?;
    reply::page(&RemovePage {
        shell: Shell::of(&visit, &call, Section::Tokens, "Remove a management token", &[]),
        base: visit.url("settings/tokens"),
        row: row(&call, &token, created_by),
    })
}

async fn remove(visit: Visit, call: Call) -> Result<Response, Refused> {
    let id = token_of(&call)?;
    call.engine()
        .delete_token(call.context.clone(), visit.id().clone(), id)
        .await?;
    Ok(done(&visit.url("settings/tokens"), "removed"))
}

fn token_of(call: &Call) -> Result<TokenId, Refused> {
    call.path("token").parse().map_err(|_| Refused::NotFound)
}

const fn right_title(right: ManagementRight) -> &'static str {
    match right {
        ManagementRight::OrganizationRead => "See the organization",
        ManagementRight::OrganizationWrite => "Change the organization",
        ManagementRight::KeysRead => "See keys",
        ManagementRight::KeysWrite => "Manage keys",
        ManagementRight::MembersRead => "See members",
        ManagementRight::MembersWrite => "Manage members",
        ManagementRight::TokensRead => "See tokens",
        ManagementRight::TokensWrite => "Manage tokens",
        ManagementRight::AuditRead => "Read the audit trail",
        ManagementRight::Verify => "Check keys",
        ManagementRight::OrganizationDelete => "Delete the organization",
        ManagementRight::AuditErase => "Erase personal values",
        ManagementRight::Installation => "Operate the server",
    }
}

const fn right_sentence(right: ManagementRight) -> &'static str {
    match right {
        ManagementRight::OrganizationRead => "Its name, id and settings.",
        ManagementRight::OrganizationWrite => {
            "Name, rules and security contacts; stop and lock all keys, and resume them."
        }
        ManagementRight::KeysRead => "Names, access, last use and activity of secret keys; never a value.",
        ManagementRight::KeysWrite => "Create keys and get their values, edit, rotate, pause and end them.",
        ManagementRight::MembersRead => "E-mail addresses and roles, and who is invited.",
        ManagementRight::MembersWrite => "Invite and remove people and change roles, except Owners.",
        ManagementRight::TokensRead => "Names, rights and last use of management tokens; never a value.",
        ManagementRight::TokensWrite => "Create tokens that may do no more than this one, and end any.",
        ManagementRight::AuditRead => "Every change with who made it; check and export it.",
        ManagementRight::Verify => {
            "Ask whether somebody's key may do something, as a server does that is called with keys."
        }
        ManagementRight::OrganizationDelete | ManagementRight::AuditErase | ManagementRight::Installation => {
            "No token holds this."
        }
    }
}
