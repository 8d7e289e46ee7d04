//! The call about bridges.

use crate::answer::{Answer, ok};
use crate::dto::bridges::BridgeList;
use crate::dto::page::NoParameters;
use crate::extract::{App, User};
use crate::query::Query;

/// List the bridges to other brokers
///
/// Those of the process that answers, in the order of its configuration. For platform administrators.
#[utoipa::path(get, path = "/bridges", tag = "bridges", operation_id = "listBridges",
    responses((status = 200, description = "The bridges.", body = BridgeList)))]
pub(crate) async fn list(app: App, user: User, _: Query<NoParameters>) -> Answer {
    ok(&BridgeList::from(app.bridges.list(&user)?))
}
