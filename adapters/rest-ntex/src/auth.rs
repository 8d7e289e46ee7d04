//! Calls about logging in.

use crate::answer::{Answer, no_content, ok};
use crate::body::Json;
use crate::dto;
use crate::dto::auth::{LoggedIn, Login, LogoutParameters};
use crate::dto::page::NoParameters;
use crate::extract::{App, Source, User};
use crate::query::Query;

/// Log in
///
/// A wrong user name, password or tenant gets the same response after the same time.
#[utoipa::path(post, path = "/auth/login", tag = "auth", operation_id = "login",
    request_body = Login,
    responses((status = 200, description = "A bearer token.", body = LoggedIn)))]
pub(crate) async fn login(app: App, source: Source, _: Query<NoParameters>, body: Json<Login>) -> Answer {
    ok(&LoggedIn::from(app.auth.login(body.0.attempt(source.0)).await?))
}

/// Get a new bearer token for one that is still valid
///
/// It belongs to the same log-in, which ends after a time that the configuration names (`POCKET_JWT_MAX_AGE`): then the user logs
/// in again.
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", operation_id = "refresh",
    responses((status = 200, description = "A new bearer token.", body = LoggedIn)))]
pub(crate) async fn refresh(app: App, user: User, _: Query<NoParameters>) -> Answer {
    ok(&LoggedIn::from(app.auth.refresh(&user)?))
}

/// Log out
///
/// Ends the log-in whose bearer token is shown, with all tokens that it was renewed to, or all log-ins of the user. Connections to
/// the broker that were opened with such a token are closed. Other processes on the same database follow within seconds.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", operation_id = "logout",
    params(LogoutParameters),
    responses((status = 204, description = "The token is refused from now on.")))]
pub(crate) async fn logout(app: App, user: User, query: Query<LogoutParameters>) -> Answer {
    app.auth.logout(&user, query.all()).await?;
    no_content()
}

/// Show who is logged in
#[utoipa::path(get, path = "/auth/me", tag = "auth", operation_id = "me",
    responses((status = 200, description = "The user of the bearer token.", body = dto::users::User)))]
pub(crate) async fn me(user: User, _: Query<NoParameters>) -> Answer {
    ok(&dto::users::User::from(user.user().clone()))
}
