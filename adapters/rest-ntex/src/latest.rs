//! Calls about what a device said last.

use pocket_domain::DeviceId;

use crate::answer::Answer;
use crate::cut_filters;
use crate::dto::latest::{DeviceKeys, LatestParameters, LatestValues};
use crate::dto::page::IdParameter;
use crate::extract::{App, Id, User};
use crate::large::{ENTRY, Text, ok_aside, written_aside};
use crate::problem::Problem;
use crate::query::Query;

/// Show the last value of each key of a device on each topic
///
/// A key is a path into the payloads: keys of objects joined by `.`, or `$` for payloads that are no objects. A key that stands
/// on several topics has a value for each, the newest first. Of more than 1,000 values the newest are returned.
#[utoipa::path(get, path = "/devices/{id}/latest", tag = "telemetry", operation_id = "getLatestValues",
    params(IdParameter, LatestParameters),
    responses((status = 200, description = "The values.", body = LatestValues<'_>)))]
pub(crate) async fn latest(app: App, user: User, query: Query<LatestParameters>, id: Id<DeviceId>) -> Answer {
    let topic = query.topic()?;
    cut_filters::refuse(&app, &user, query.tenant(), topic.as_ref()).await?;
    let values = app.telemetry.latest(&user, query.tenant(), id.0, topic).await?;
    let bytes = values.values.iter().map(|value| ENTRY + value.value.value.len()).sum();
    let write = move |text: &mut Text| {
        let values = LatestValues::of(&values)
            .map_err(|error| Problem::internal(format!("a stored value is not JSON: {error}")))?;
        serde_json::to_writer(text, &values).map_err(|error| Problem::internal(format!("answer not written: {error}")))
    };
    written_aside(&app.reads, user.tenant_id(), bytes, write).await
}

/// List the keys that a device's payloads have or had
///
/// The keys of `latest`, each once, with its topics.
#[utoipa::path(get, path = "/devices/{id}/keys", tag = "telemetry", operation_id = "listDeviceKeys",
    params(IdParameter, LatestParameters),
    responses((status = 200, description = "The keys.", body = DeviceKeys)))]
pub(crate) async fn keys(app: App, user: User, query: Query<LatestParameters>, id: Id<DeviceId>) -> Answer {
    let topic = query.topic()?;
    cut_filters::refuse(&app, &user, query.tenant(), topic.as_ref()).await?;
    let values = app.telemetry.latest(&user, query.tenant(), id.0, topic).await?;
    let bytes = ENTRY * values.values.len();
    ok_aside(&app.reads, user.tenant_id(), bytes, || DeviceKeys::from(values)).await
}
