//! Calls about telemetry.

use pocket_application::Error;

use crate::answer::{Answer, created};
use crate::body::Json;
use crate::cut_filters;
use crate::dto::page::TenantParameters;
use crate::dto::telemetry::{History, Stored, TelemetryEntries, TelemetryParameters};
use crate::extract::{App, User};
use crate::large::{Text, written_aside};
use crate::problem::Problem;
use crate::query::Query;

/// Store telemetry for devices
///
/// One object, or an array of 1 to 1,000. The response is sent after all are committed; if one is invalid, none is stored.
#[utoipa::path(post, path = "/telemetry", tag = "telemetry", operation_id = "createTelemetry",
    params(TenantParameters),
    request_body = TelemetryEntries,
    responses((status = 201, description = "All messages are committed.", body = Stored)))]
pub(crate) async fn create(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    body: Json<TelemetryEntries>,
) -> Answer {
    let is_array = body.0.is_array();
    let stored = app.telemetry.record(&user, query.tenant(), body.0.parse()?).await;
    let ids = stored.map_err(|error| match error {
        Error::Entry { index, error } => Problem::of_entry(*error, is_array.then_some(index)),
        other => other.into(),
    })?;
    created(&Stored::from(ids))
}

/// Read the history of telemetry
///
/// Rows are ordered by time, the newest first by default. `pagination.next` is the cursor of the next page; following it returns
/// every row exactly once, also while rows are added.
#[utoipa::path(get, path = "/telemetry", tag = "telemetry", operation_id = "listTelemetry",
    params(TelemetryParameters),
    responses((status = 200, description = "A page of the history.", body = History)))]
pub(crate) async fn list(app: App, user: User, query: Query<TelemetryParameters>) -> Answer {
    let wanted = query.query()?;
    cut_filters::refuse(&app, &user, query.tenant(), wanted.topic.as_ref()).await?;
    let page = app.telemetry.range(&user, query.tenant(), &wanted).await?;
    let bytes = History::bytes(&page);
    let limit = wanted.limit();
    let write = move |text: &mut Text| {
        text.add(History::json(&page, limit));
        Ok(())
    };
    written_aside(&app.reads, user.tenant_id(), bytes, write).await
}
