//! The call about how much is stored.

use pocket_domain::TenantId;

use crate::answer::{Answer, ok};
use crate::dto::page::{IdParameter, NoParameters};
use crate::dto::usage::Usage;
use crate::extract::{App, Id, User};
use crate::query::Query;

/// Show the storage used by the telemetry of a tenant
///
/// For administrators of the tenant, and platform administrators. Recent rows are in the log; the rest is compressed in
/// chunks.
#[utoipa::path(get, path = "/tenants/{id}/usage", tag = "tenants", operation_id = "getTenantUsage",
    params(IdParameter),
    responses((status = 200, description = "What is stored.", body = Usage)))]
pub(crate) async fn usage(app: App, user: User, _: Query<NoParameters>, id: Id<TenantId>) -> Answer {
    ok(&Usage::from(app.telemetry.usage(&user, id.0).await?))
}
