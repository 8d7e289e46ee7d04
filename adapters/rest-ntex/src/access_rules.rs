//! Calls about access rules.

use pocket_domain::{AccessRuleId, DeviceId};

use crate::answer::{Answer, created_at, no_content, ok};
use crate::body::Json;
use crate::dto::access_rules::{AccessParameters, AccessRule, AccessRuleParameters, AccessVerdict, CreateAccessRule};
use crate::dto::page::{IdParameter, Page, TenantParameters};
use crate::extract::{App, Id, User};
use crate::query::Query;

/// Add an access rule
///
/// For one device, or without `deviceId` for all devices of the tenant, which takes an administrator. It holds for connected
/// devices at once.
#[utoipa::path(post, path = "/access-rules", tag = "access-rules", operation_id = "createAccessRule",
    params(TenantParameters),
    request_body = CreateAccessRule,
    responses((status = 201, description = "The rule.", body = AccessRule)))]
pub(crate) async fn create(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    body: Json<CreateAccessRule>,
) -> Answer {
    let rule = AccessRule::from(app.access_rules.create(&user, query.tenant(), body.0.parse()?).await?);
    created_at(&rule.location(), &rule)
}

/// List the access rules of the tenant, or those of one device, ordered by id
#[utoipa::path(get, path = "/access-rules", tag = "access-rules", operation_id = "listAccessRules",
    params(AccessRuleParameters),
    responses((status = 200, description = "A page of rules.", body = Page<AccessRule>)))]
pub(crate) async fn list(app: App, user: User, query: Query<AccessRuleParameters>) -> Answer {
    let page = query.page()?;
    let rules = app.access_rules.list(&user, query.tenant(), query.device(), page).await?;
    ok(&Page::<AccessRule>::of(rules, page))
}

/// Show an access rule
#[utoipa::path(get, path = "/access-rules/{id}", tag = "access-rules", operation_id = "getAccessRule",
    params(IdParameter, TenantParameters),
    responses((status = 200, description = "The rule.", body = AccessRule)))]
pub(crate) async fn get(app: App, user: User, query: Query<TenantParameters>, id: Id<AccessRuleId>) -> Answer {
    ok(&AccessRule::from(app.access_rules.get(&user, query.tenant(), id.0).await?))
}

/// Remove an access rule
///
/// Connected devices are judged without it at once.
#[utoipa::path(delete, path = "/access-rules/{id}", tag = "access-rules", operation_id = "deleteAccessRule",
    params(IdParameter, TenantParameters),
    responses((status = 204, description = "The rule was removed.")))]
pub(crate) async fn delete(app: App, user: User, query: Query<TenantParameters>, id: Id<AccessRuleId>) -> Answer {
    app.access_rules.delete(&user, query.tenant(), id.0).await?;
    no_content()
}

/// Explain whether a device may publish on a topic or subscribe to it, and which rule decides
#[utoipa::path(get, path = "/devices/{id}/access", tag = "access-rules", operation_id = "explainAccess",
    params(IdParameter, AccessParameters),
    responses((status = 200, description = "The verdict.", body = AccessVerdict)))]
pub(crate) async fn explain(app: App, user: User, query: Query<AccessParameters>, id: Id<DeviceId>) -> Answer {
    let question = query.question()?;
    let explained = app.access_rules.explain(&user, query.tenant(), id.0, &question, query.client_id()).await?;
    ok(&AccessVerdict::from(explained))
}
