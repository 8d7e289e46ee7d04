//! Calls about tenants.

use pocket_domain::TenantId;

use crate::answer::{Answer, created_at, no_content, ok};
use crate::body::Json;
use crate::dto::page::{IdParameter, NoParameters, Page, PageParameters};
use crate::dto::tenants::{CreateTenant, DeleteParameters, Tenant, UpdateTenant};
use crate::extract::{App, Id, User};
use crate::query::Query;

/// Add a tenant
#[utoipa::path(post, path = "/tenants", tag = "tenants", operation_id = "createTenant",
    request_body = CreateTenant,
    responses((status = 201, description = "The tenant was added.", body = Tenant)))]
pub(crate) async fn create(app: App, user: User, _: Query<NoParameters>, body: Json<CreateTenant>) -> Answer {
    let tenant = app.tenants.create(&user, body.0.parse()?).await?;
    created_at(&format!("/api/v1/tenants/{}", tenant.id), &Tenant::from(tenant))
}

/// List tenants, ordered by id
#[utoipa::path(get, path = "/tenants", tag = "tenants", operation_id = "listTenants",
    params(PageParameters),
    responses((status = 200, description = "A page of tenants.", body = Page<Tenant>)))]
pub(crate) async fn list(app: App, user: User, query: Query<PageParameters>) -> Answer {
    let page = query.page()?;
    let tenants = app.tenants.list(&user, page).await?;
    ok(&Page::<Tenant>::of(tenants, page))
}

/// Show a tenant
#[utoipa::path(get, path = "/tenants/{id}", tag = "tenants", operation_id = "getTenant",
    params(IdParameter),
    responses((status = 200, description = "The tenant.", body = Tenant)))]
pub(crate) async fn get(app: App, user: User, _: Query<NoParameters>, id: Id<TenantId>) -> Answer {
    ok(&Tenant::from(app.tenants.get(&user, id.0).await?))
}

/// Change a tenant
///
/// The tenant `default` cannot be renamed.
#[utoipa::path(patch, path = "/tenants/{id}", tag = "tenants", operation_id = "updateTenant",
    params(IdParameter),
    request_body = UpdateTenant,
    responses((status = 200, description = "The tenant as it is now.", body = Tenant)))]
pub(crate) async fn update(
    app: App,
    user: User,
    _: Query<NoParameters>,
    id: Id<TenantId>,
    body: Json<UpdateTenant>,
) -> Answer {
    ok(&Tenant::from(app.tenants.update(&user, id.0, body.0.parse()?).await?))
}

/// Delete a tenant with its users, devices and telemetry
///
/// The parameter `confirm` must repeat the tenant's name. The tenant `default` cannot be deleted.
#[utoipa::path(delete, path = "/tenants/{id}", tag = "tenants", operation_id = "deleteTenant",
    params(IdParameter, DeleteParameters),
    responses((status = 204, description = "The tenant and everything it owned were removed.")))]
pub(crate) async fn delete(app: App, user: User, query: Query<DeleteParameters>, id: Id<TenantId>) -> Answer {
    app.tenants.delete(&user, id.0, query.confirm.as_deref()).await?;
    no_content()
}
