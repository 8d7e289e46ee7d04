//! Aggregation over time.

use crate::answer::Answer;
use crate::cut_filters;
use crate::dto::aggregate::{AggregateParameters, SeriesList};
use crate::extract::{App, User};
use crate::large::ok_aside;
use crate::query::Query;

/// About how many bytes a series and a bucket of it take.
const SERIES: usize = 256;
const BUCKET: usize = 80;

/// Aggregate values over time
///
/// The numbers at a path of the payloads, in buckets of equal length that are aligned to UTC. Only numbers count: whatever else
/// stands at the path is ignored. There is a series for each device and key, in the order in which they are named; where
/// only `topic` is given, for each that has numbers. A question may make 10,000 buckets for each of them and 100,000 in all.
#[utoipa::path(get, path = "/telemetry/aggregate", tag = "telemetry", operation_id = "aggregateTelemetry",
    params(AggregateParameters),
    responses((status = 200, description = "The series.", body = SeriesList)))]
pub(crate) async fn aggregate(app: App, user: User, query: Query<AggregateParameters>) -> Answer {
    let question = query.question()?;
    cut_filters::refuse(&app, &user, query.tenant(), question.topic.as_ref()).await?;
    let series = app.telemetry.aggregate(&user, query.tenant(), question).await?;
    let bytes = series.iter().map(|series| SERIES + BUCKET * series.series.buckets.len()).sum();
    ok_aside(&app.reads, user.tenant_id(), bytes, || SeriesList::from(series)).await
}
