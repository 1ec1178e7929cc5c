//! The description of the management API as an OpenAPI 3.1 document, made from the same table as its router.
//!
//! `GET /v1/openapi.json` serves it to everybody: it says what this program can be asked, and nothing of anybody's data. The
//! page `/help/api` is made from it as well (`api_reference`). The document is kept in `crates/http/openapi.json`,
//! and a test fails where the two differ, so that no change of the API goes unseen.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use keyward_api::problem::{CONTENT_TYPE, ProblemDocument};
use utoipa::PartialSchema as _;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Components, KnownFormat, Object, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Header, HttpMethod, InfoBuilder, LicenseBuilder, OpenApi,
    OpenApiBuilder, RefOr, Required, ResponseBuilder, ResponsesBuilder,
};

use super::endpoint::{Demand, Endpoint, Shape, Tag};
use crate::problem::Problem;
use crate::request::{RequestInfo, Who, peer_of};
use crate::routes::finish;
use crate::site::SharedSite;
use crate::{credentials, reply, verify};

const TOKEN: &str = "managementToken";
const KEY: &str = "secretKey";
/// The extension that names the right of an operation.
pub(crate) const RIGHT: &str = "x-keyward-right";

/// The document.
pub fn document() -> OpenApi {
    let endpoints: Vec<Endpoint> = super::all_routes()
        .routes
        .into_iter()
        .map(|route| route.endpoint)
        .chain([super::acceptance::endpoint()])
        .collect();
    let mut paths = Paths::new();
    for endpoint in &endpoints {
        paths.add_path_operation(endpoint.path, vec![method_of(endpoint)], operation(endpoint));
    }
    paths.add_path_operation(verify::PATH, vec![HttpMethod::Get], verify_own_key());
    let tags = Tag::ALL
        .iter()
        .filter(|tag| endpoints.iter().any(|endpoint| endpoint.tag == **tag));
    let tags = tags.map(|tag| {
        TagBuilder::new()
            .name(tag.title())
            .description(Some(tag.description()))
            .build()
    });
    let info = InfoBuilder::new()
        .title("Keyward management API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Create, narrow, watch and end the secret keys of an organization. Over the network every request carries a \
             management token, which `keyward tokens create` makes; a secret key never manages anything. The same routes \
             are on the Unix socket in the server's data folder, where whoever may open it is the local administrator. \
             Refusals are problem documents (RFC 9457). The resource API that secret keys open is not described here.",
        ))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components(&endpoints)))
        .tags(Some(tags.collect::<Vec<_>>()))
        .build()
}

/// The route of the document itself.
#[expect(
    clippy::disallowed_methods,
    reason = "the description of the API is public and the same for everybody"
)]
pub(super) fn routes() -> Router<SharedSite> {
    // Once: it does not change while the program runs.
    let text = serde_json::to_vec(&document()).unwrap_or_default();
    Router::new().route(
        "/v1/openapi.json",
        get(move |State(site): State<SharedSite>, request: Request<Body>| {
            let text = text.clone();
            async move { serve(&site, request, text) }
        }),
    )
}

fn serve(site: &SharedSite, request: Request<Body>, text: Vec<u8>) -> Response {
    let (parts, _) = request.into_parts();
    let answered = credentials::refuse_key_in_query(site, &parts).map_err(Problem::from);
    let answered = answered.map(|()| reply::with_body(StatusCode::OK, "application/json", text));
    match answered {
        Ok(response) => response,
        Err(problem) => {
            let info = RequestInfo::of(site, &parts, peer_of(&parts));
            finish(site, &info, Who::Stranger, Err(problem))
        }
    }
}

/// The size of a page.
pub(super) fn limit() -> RefOr<Schema> {
    Object::builder()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(1_000))
        .default(Some(serde_json::json!(100)))
        .into()
}

/// A number of days.
pub(super) fn days() -> RefOr<Schema> {
    Object::builder()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(3_650))
        .into()
}

/// How many entries of a list without pages.
pub(super) fn limit_of_top() -> RefOr<Schema> {
    Object::builder()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(100))
        .default(Some(serde_json::json!(20)))
        .into()
}

/// A date and time.
pub(super) fn moment() -> RefOr<Schema> {
    Object::builder()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .into()
}

fn method_of(endpoint: &Endpoint) -> HttpMethod {
    match endpoint.method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(endpoint: &Endpoint) -> OperationBuilder {
    let right = endpoint.demand.name();
    let security = match endpoint.demand {
        Demand::Right(right) => SecurityRequirement::new(TOKEN, [right.name()]),
        Demand::Identity => SecurityRequirement::new(TOKEN, [] as [&str; 0]),
        // The empty requirement: no credential at all.
        Demand::Nothing => SecurityRequirement::default(),
    };
    let mut operation = OperationBuilder::new()
        .tag(endpoint.tag.title())
        .operation_id(Some(endpoint.id))
        .summary(Some(endpoint.summary))
        .security(security)
        .extensions(Some(Extensions::from_iter([(RIGHT, serde_json::json!(right))])));
    for name in endpoint.path_parameters() {
        let (description, schema) = path_parameter(name);
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(description))
                .schema(Some(schema)),
        );
    }
    for parameter in &endpoint.query {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(parameter.name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(parameter.description))
                .schema(Some((parameter.schema)())),
        );
    }
    for header in &endpoint.headers {
        let required = if header.is_required {
            Required::True
        } else {
            Required::False
        };
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(header.name)
                .parameter_in(ParameterIn::Header)
                .required(required)
                .description(Some(header.description))
                .schema(Some(Object::builder().schema_type(Type::String).build())),
        );
    }
    if let Some(body) = endpoint.body {
        let required = if body.is_required {
            Required::True
        } else {
            Required::False
        };
        let content = ContentBuilder::new().schema(Some(body.shape.reference())).build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(required));
        operation = operation.request_body(Some(body.build()));
    }
    operation.responses(responses(endpoint))
}

fn responses(endpoint: &Endpoint) -> ResponsesBuilder {
    endpoint
        .statuses()
        .into_iter()
        .fold(ResponsesBuilder::new(), |responses, status| {
            let response = match endpoint.answer {
                Some((good, shape)) if good.as_u16() == status => {
                    let content = ContentBuilder::new().schema(Some(shape.reference())).build();
                    let response = ResponseBuilder::new()
                        .description(if status == 201 { "Made." } else { "Done." })
                        .content(endpoint.answer_form, content);
                    if endpoint.is_exported {
                        let text = || ContentBuilder::new().schema(Some(String::schema())).build();
                        response
                            .content(keyward_api::csv::CSV, text())
                            .content(keyward_api::csv::JSON_LINES, text())
                            .header("Link", header(Type::String))
                    } else {
                        response
                    }
                }
                _ => problem(status),
            };
            responses.response(status.to_string(), response)
        })
}

fn problem(status: u16) -> ResponseBuilder {
    let description = match status {
        400 => "The request contradicts itself, or its body can't be read.",
        401 => "No token, or one that is not accepted; the code says which.",
        403 => "The caller is known and does not hold the right.",
        404 => "There is no such thing, or it is not the caller's to know of.",
        409 => "It does not fit the present state.",
        410 => "The invitation is over; the code says why.",
        412 => "It was changed since it was read.",
        413 => "The body is too large.",
        422 => "Fields have to be changed; all of them are named at once.",
        428 => "If-Match is missing.",
        429 => "Too many requests with this token; Retry-After says when to come back.",
        500 => "A defect of the server.",
        503 => "Not possible just now, or the outcome is not known yet; asking again is safe.",
        _ => "Refused.",
    };
    let content = ContentBuilder::new()
        .schema(Some(Shape::of::<ProblemDocument>().reference()))
        .build();
    let response = ResponseBuilder::new()
        .description(description)
        .content(CONTENT_TYPE, content);
    match status {
        401 => response.header("WWW-Authenticate", header(Type::String)),
        429 | 503 => response.header("Retry-After", header(Type::Integer)),
        _ => response,
    }
}

fn header(of: Type) -> Header {
    Header::new(Object::builder().schema_type(of).build())
}

fn path_parameter(name: &str) -> (&'static str, RefOr<Schema>) {
    let text = |pattern: &str| {
        Object::builder()
            .schema_type(Type::String)
            .pattern(Some(pattern))
            .into()
    };
    match name {
        "organization" => ("The organization's id.", text("^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")),
        "key" => ("The key's id.", text("^[0-9a-z]{16}$")),
        "person" => ("The person's id.", text("^[A-Za-z0-9-]{1,64}$")),
        "invitation" => (
            "The invitation's id, which is not its secret.",
            text("^[A-Za-z0-9-]{1,64}$"),
        ),
        "token" => ("The token's id.", text("^[0-9a-z]{16}$")),
        _ => ("Its id.", text("^[A-Za-z0-9-]{1,64}$")),
    }
}

/// The one operation that a secret key is for: it is served outside of the management routes.
fn verify_own_key() -> OperationBuilder {
    let accepted = ResponseBuilder::new()
        .description("The key is accepted; its identity is in the headers.")
        .header("keyward-key-id", header(Type::String))
        .header("keyward-organization-id", header(Type::String))
        .header("keyward-scopes", header(Type::String))
        .header("keyward-permission", header(Type::String));
    let responses = [400, 401, 403, 429, 503].into_iter().fold(
        ResponsesBuilder::new().response("204", accepted),
        |responses, status| {
            let described = match status {
                400 => "The request contradicts itself.",
                401 => "No key, or one that is not accepted; the code says which.",
                403 => "The key is not accepted from here.",
                429 => "Too many requests with this key; Retry-After says when to come back.",
                _ => "The check could not be made; try again.",
            };
            responses.response(status.to_string(), problem(status).description(described))
        },
    );
    OperationBuilder::new()
        .tag(Tag::Verify.title())
        .operation_id(Some("verify_own_key"))
        .summary(Some(
            "Ask whether the key in the request is accepted, and whose it is",
        ))
        .security(SecurityRequirement::new(KEY, [] as [&str; 0]))
        .parameter(
            ParameterBuilder::new()
                .name("Organization-Id")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some("If it is sent, the key has to belong to this organization."))
                .schema(Some(Object::builder().schema_type(Type::String).build())),
        )
        .responses(responses)
}

fn components(endpoints: &[Endpoint]) -> Components {
    let mut schemas = Vec::new();
    (Shape::of::<ProblemDocument>().collect)(&mut schemas);
    for endpoint in endpoints {
        for shape in endpoint
            .body
            .map(|body| body.shape)
            .into_iter()
            .chain(endpoint.answer.map(|(_, shape)| shape))
        {
            (shape.collect)(&mut schemas);
        }
    }
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("kwmt_...")
        .description(Some(
            "A management token of one organization, with the rights that it was given.",
        ))
        .build();
    let key = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("dtvi_...")
        .description(Some("A secret key."))
        .build();
    schemas
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, schema)| {
            components.schema(name, schema)
        })
        .security_scheme(TOKEN, SecurityScheme::Http(token))
        .security_scheme(KEY, SecurityScheme::Http(key))
        .build()
}
