//! Calls about people.

use pocket_domain::UserId;

use crate::answer::{Answer, created_at, no_content, ok};
use crate::body::Json;
use crate::dto::page::{IdParameter, Page, TenantPageParameters, TenantParameters};
use crate::dto::users::{self as dto, CreateUser, SetPassword, UpdateUser};
use crate::extract::{App, Id, Source, User};
use crate::query::Query;

/// Add a user
#[utoipa::path(post, path = "/users", tag = "users", operation_id = "createUser",
    params(TenantParameters),
    request_body = CreateUser,
    responses((status = 201, description = "The user was added.", body = dto::User)))]
pub(crate) async fn create(app: App, user: User, query: Query<TenantParameters>, body: Json<CreateUser>) -> Answer {
    let created = app.users.create(&user, query.tenant(), body.0.parse()?).await?;
    created_at(&format!("/api/v1/users/{}", created.id), &dto::User::from(created))
}

/// List users, ordered by id
#[utoipa::path(get, path = "/users", tag = "users", operation_id = "listUsers",
    params(TenantPageParameters),
    responses((status = 200, description = "A page of users.", body = Page<dto::User>)))]
pub(crate) async fn list(app: App, user: User, query: Query<TenantPageParameters>) -> Answer {
    let page = query.page()?;
    let users = app.users.list(&user, query.tenant(), page).await?;
    ok(&Page::<dto::User>::of(users, page))
}

/// Show a user
#[utoipa::path(get, path = "/users/{id}", tag = "users", operation_id = "getUser",
    params(IdParameter, TenantParameters),
    responses((status = 200, description = "The user.", body = dto::User)))]
pub(crate) async fn get(app: App, user: User, query: Query<TenantParameters>, id: Id<UserId>) -> Answer {
    ok(&dto::User::from(app.users.get(&user, query.tenant(), id.0).await?))
}

/// Change a user's name or role
///
/// The last administrator of a tenant cannot lose that role.
#[utoipa::path(patch, path = "/users/{id}", tag = "users", operation_id = "updateUser",
    params(IdParameter, TenantParameters),
    request_body = UpdateUser,
    responses((status = 200, description = "The user as they are now.", body = dto::User)))]
pub(crate) async fn update(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    id: Id<UserId>,
    body: Json<UpdateUser>,
) -> Answer {
    ok(&dto::User::from(app.users.update(&user, query.tenant(), id.0, body.0.parse()?).await?))
}

/// Remove a user
///
/// Their bearer tokens end at once. The last administrator of a tenant cannot be removed.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", operation_id = "deleteUser",
    params(IdParameter, TenantParameters),
    responses((status = 204, description = "The user was removed.")))]
pub(crate) async fn delete(app: App, user: User, query: Query<TenantParameters>, id: Id<UserId>) -> Answer {
    app.users.delete(&user, query.tenant(), id.0).await?;
    no_content()
}

/// Give a user a new password
///
/// Their bearer tokens end at once. Administrators do it for others who are not above them; everybody does it for
/// themselves with their present password.
#[utoipa::path(post, path = "/users/{id}/password", tag = "users", operation_id = "setPassword",
    params(IdParameter, TenantParameters),
    request_body = SetPassword,
    responses((status = 204, description = "The password was changed.")))]
pub(crate) async fn set_password(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    id: Id<UserId>,
    source: Source,
    body: Json<SetPassword>,
) -> Answer {
    app.users.set_password(&user, query.tenant(), id.0, body.0.parse(source.0)?).await?;
    no_content()
}
