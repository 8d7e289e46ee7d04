//! The one table of calls. The server registers what stands here, and the OpenAPI document takes each call's problems and its
//! need for a bearer token from here.

use ntex::http::Method;
use ntex::web::{self, Route};

use crate::code::Code;
use crate::{
    access_rules, aggregate, auth, bridges, dead_letters, device_events, device_sessions, devices, export, health,
    import, latest, openapi, telemetry, tenants, topic_rules, usage, users,
};

/// Where the API is, and where it was in the first version of the product: both answer the same.
pub(crate) const PREFIXES: [&str; 2] = ["/api/v1", "/api"];

/// One call.
pub(crate) struct Call {
    /// Its method.
    pub(crate) method: Method,
    /// Its path, below the prefixes.
    pub(crate) path: &'static str,
    /// Whether a bearer token of a person is needed.
    pub(crate) user: bool,
    /// The problems that are its own, beside those that follow from its token, parameters and body.
    pub(crate) problems: &'static [Code],
    /// Its handler.
    pub(crate) handler: fn() -> Route,
}

macro_rules! call {
    ($method:ident $path:literal $access:ident $handler:path $(, $problem:ident)*) => {
        Call {
            method: Method::$method,
            path: $path,
            user: matches!(stringify!($access).as_bytes(), b"user"),
            problems: &[$(Code::$problem),*],
            handler: || web::route().to($handler),
        }
    };
}

/// The calls of the API, below [`PREFIXES`].
pub(crate) static API: &[Call] = &[
    call!(POST "/auth/login" anyone auth::login, Unauthenticated, TooManyAttempts),
    call!(POST "/auth/refresh" user auth::refresh),
    call!(POST "/auth/logout" user auth::logout),
    call!(GET "/auth/me" user auth::me),
    call!(POST "/tenants" user tenants::create, TenantNameTaken),
    call!(GET "/tenants" user tenants::list),
    call!(GET "/tenants/{id}" user tenants::get),
    call!(PATCH "/tenants/{id}" user tenants::update, TenantNameTaken, DefaultTenant),
    call!(DELETE "/tenants/{id}" user tenants::delete, DefaultTenant),
    call!(GET "/tenants/{id}/usage" user usage::usage),
    call!(POST "/users" user users::create, NotFound, UsernameTaken, TooManyAttempts),
    call!(GET "/users" user users::list, NotFound),
    call!(GET "/users/{id}" user users::get),
    call!(PATCH "/users/{id}" user users::update, UsernameTaken, LastAdmin),
    call!(DELETE "/users/{id}" user users::delete, LastAdmin),
    call!(POST "/users/{id}/password" user users::set_password, TooManyAttempts),
    call!(POST "/devices" user devices::create, NotFound, DeviceNameTaken),
    call!(GET "/devices" user devices::list, NotFound),
    call!(GET "/devices/{id}" user devices::get),
    call!(PATCH "/devices/{id}" user devices::update, DeviceNameTaken),
    call!(DELETE "/devices/{id}" user devices::delete),
    call!(POST "/devices/{id}/regenerate-token" user devices::regenerate_token),
    call!(PUT "/devices/{id}/credentials" user devices::set_credentials, UsernameTaken, TooManyAttempts),
    call!(DELETE "/devices/{id}/credentials" user devices::remove_credentials),
    call!(GET "/devices/{id}/events" user device_events::list),
    call!(GET "/devices/{id}/sessions" user device_sessions::list),
    call!(DELETE "/devices/{id}/sessions/{clientId}" user device_sessions::end),
    call!(GET "/devices/{id}/latest" user latest::latest),
    call!(GET "/devices/{id}/keys" user latest::keys),
    call!(GET "/devices/{id}/access" user access_rules::explain),
    call!(POST "/access-rules" user access_rules::create, NotFound, TooManyAccessRules),
    call!(GET "/access-rules" user access_rules::list, NotFound),
    call!(GET "/access-rules/{id}" user access_rules::get),
    call!(DELETE "/access-rules/{id}" user access_rules::delete),
    call!(GET "/topic-rules" user topic_rules::get, NotFound),
    call!(PUT "/topic-rules" user topic_rules::set, NotFound),
    call!(DELETE "/topic-rules" user topic_rules::delete, NotFound),
    call!(POST "/topic-rules/preview" user topic_rules::preview, NotFound),
    call!(POST "/telemetry" user telemetry::create, NotFound),
    call!(GET "/telemetry" user telemetry::list, NotFound),
    call!(GET "/telemetry/export" user export::export, NotFound, Unavailable),
    call!(POST "/telemetry/import" user import::import, NotFound, RequestTimeout, Unavailable),
    call!(GET "/telemetry/aggregate" user aggregate::aggregate, NotFound),
    call!(GET "/bridges" user bridges::list),
    call!(GET "/dead-letters" user dead_letters::list, NotFound),
    call!(DELETE "/dead-letters/{id}" user dead_letters::delete),
    call!(POST "/dead-letters/{id}/retry" user dead_letters::retry),
];

/// The calls beside the API.
pub(crate) static BESIDE: &[Call] = &[
    call!(GET "/health" anyone health::health),
    call!(GET "/ready" anyone health::ready, Unavailable),
    call!(GET "/metrics" anyone health::metrics, Unauthenticated, Forbidden),
];

/// The OpenAPI document, which does not describe itself.
pub(crate) static DOCUMENT: &[Call] = &[call!(GET "/api/openapi.json" anyone openapi::document)];
