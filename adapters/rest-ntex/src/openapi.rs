//! The OpenAPI 3.1 document, made of the descriptions beside the handlers and of the table of calls.

use std::sync::OnceLock;

use ntex::http::header;
use ntex::web::HttpResponse;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

use crate::answer::Answer;
use crate::code::Code;
use crate::problem::{self, Problem, ProblemBody};
use crate::routes::{self, Call, PREFIXES};
use crate::{
    access_rules, aggregate, auth, bridges, dead_letters, device_events, device_sessions, devices, export, health,
    import, latest, telemetry, tenants, topic_rules, usage, users,
};

/// The name of the security scheme in the document.
const BEARER: &str = "bearer";

#[derive(OpenApi)]
#[openapi(paths(
    auth::login,
    auth::refresh,
    auth::logout,
    auth::me,
    tenants::create,
    tenants::list,
    tenants::get,
    tenants::update,
    tenants::delete,
    usage::usage,
    users::create,
    users::list,
    users::get,
    users::update,
    users::delete,
    users::set_password,
    devices::create,
    devices::list,
    devices::get,
    devices::update,
    devices::delete,
    devices::regenerate_token,
    devices::set_credentials,
    devices::remove_credentials,
    device_events::list,
    device_sessions::list,
    device_sessions::end,
    latest::latest,
    latest::keys,
    access_rules::explain,
    access_rules::create,
    access_rules::list,
    access_rules::get,
    access_rules::delete,
    topic_rules::get,
    topic_rules::set,
    topic_rules::delete,
    topic_rules::preview,
    telemetry::create,
    telemetry::list,
    export::export,
    import::import,
    aggregate::aggregate,
    bridges::list,
    dead_letters::list,
    dead_letters::delete,
    dead_letters::retry,
))]
struct Api;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pocket IoT",
        description = "Devices, users, tenants and telemetry. Every path under /api/v1 also exists under /api.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(health::health, health::ready, health::metrics),
    components(schemas(ProblemBody<'_>)),
    tags(
        (name = "auth", description = "Logging in."),
        (name = "tenants", description = "Tenants separate customers from each other; for platform administrators."),
        (name = "users", description = "Users; for administrators."),
        (name = "devices", description = "Devices, which publish telemetry."),
        (name = "access-rules", description = "Which topics devices may use."),
        (name = "topic-rules", description = "How values of topics are named."),
        (name = "telemetry", description = "Stored telemetry."),
        (name = "bridges", description = "Connections to other brokers; for platform administrators."),
        (name = "health", description = "Health and metrics, for monitoring."),
    )
)]
struct Beside;

/// The OpenAPI document
pub(crate) async fn document() -> Answer {
    // Made on the first request: a process that nobody asks does not hold it. It takes long, so not on the thread of all requests.
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let text = match DOCUMENT.get() {
        Some(text) => text,
        None => tokio::task::spawn_blocking(|| DOCUMENT.get_or_init(|| build().to_json().unwrap_or_default()))
            .await
            .map_err(|error| Problem::internal(error.to_string()))?,
    };
    Ok(HttpResponse::Ok().header(header::CONTENT_TYPE, "application/json").body(text.as_str()))
}

/// Builds the document.
pub(crate) fn build() -> utoipa::openapi::OpenApi {
    let mut document = Beside::openapi().nest(PREFIXES[0], Api::openapi());
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    for (prefix, calls, general) in [
        (PREFIXES[0], routes::API, &[Code::Invalid, Code::Unavailable, Code::Internal][..]),
        ("", routes::BESIDE, &[Code::Internal]),
    ] {
        for call in calls {
            let path = document.paths.paths.get_mut(&format!("{prefix}{}", call.path));
            if let Some(operation) = path.and_then(|path| operation_of(path, call)) {
                complete(operation, call, general);
            }
        }
    }
    if let Some(components) = &mut document.components {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme(BEARER, scheme);
        if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem") {
            problem.properties.insert("code".into(), code_schema());
        }
    }
    document
}

fn operation_of<'a>(path: &'a mut PathItem, call: &Call) -> Option<&'a mut Operation> {
    match call.method.as_str() {
        "GET" => path.get.as_mut(),
        "POST" => path.post.as_mut(),
        "PATCH" => path.patch.as_mut(),
        "PUT" => path.put.as_mut(),
        "DELETE" => path.delete.as_mut(),
        _ => None,
    }
}

/// Adds the bearer token and every problem that can come.
fn complete(operation: &mut Operation, call: &Call, general: &[Code]) {
    let mut codes = [call.problems, general].concat();
    if call.user {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
        codes.extend([Code::Unauthenticated, Code::Forbidden]);
    }
    if call.path.contains("{id}") {
        codes.push(Code::NotFound);
    }
    if operation.request_body.is_some() {
        codes.extend([Code::BadRequest, Code::MalformedJson, Code::PayloadTooLarge, Code::UnsupportedMediaType]);
    }
    codes.sort();
    codes.dedup();
    for group in codes.chunk_by(|a, b| a.status() == b.status()) {
        let names = group.iter().map(|code| format!("`{}`", code.as_str())).collect::<Vec<_>>().join(", ");
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description(format!("{}: {names}", group[0].title()))
            .content(problem::MEDIA_TYPE, content)
            .build();
        operation.responses.responses.insert(group[0].status().as_str().to_owned(), response.into());
    }
}

fn code_schema() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A stable error code."))
        .enum_values(Some(Code::ALL.map(Code::as_str)))
        .into()
}
