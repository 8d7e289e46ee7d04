//! Calls of those who watch over the platform. They are outside of the API's paths and take any query parameters.

use ntex::http::{Payload, header};
use ntex::web::{DefaultError, FromRequest, HttpRequest, HttpResponse};
use pocket_application::RetentionStats;
use pocket_ports::StorageError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, ok};
use crate::code::Code;
use crate::config::Metrics;
use crate::extract::{Shared, bearer, is_local};
use crate::problem::Problem;

/// The state of the process.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    /// What somebody should look at, though the process can store; absent where there is nothing, or who asks may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
}

/// Whether the process serves
#[utoipa::path(get, path = "/health", tag = "health", operation_id = "health",
    responses((status = 200, description = "It does.", body = Health)))]
pub(crate) async fn health() -> Answer {
    ok(&Health { status: "ok", notice: None })
}

/// Whether the platform can store
///
/// Asked of the database once a second at most. When it cannot, the problem's detail says why, to readers on this machine, to those who
/// show the token of `/metrics` and to users; to others only that it cannot.
#[utoipa::path(get, path = "/ready", tag = "health", operation_id = "ready",
    responses((status = 200, description = "It can.", body = Health)))]
pub(crate) async fn ready(request: HttpRequest) -> Answer {
    let shared = Shared::of(&request)?;
    if let Err(error) = shared.readiness.ask(&shared.application).await {
        let reason = if may_know(&request, shared) { error.to_string() } else { class_of(&error).to_owned() };
        return Err(Problem::not_ready(reason));
    }
    let notice = notice(&shared.application.retention).filter(|_| may_know(&request, shared));
    ok(&Health { status: "ok", notice })
}

/// What waits for a person.
fn notice(retention: &RetentionStats) -> Option<String> {
    let (tenants, rows) = (retention.waiting_tenants(), retention.waiting_rows());
    (tenants > 0).then(|| {
        format!(
            "the removal of {rows} messages of {tenants} tenants is on hold, because the elapsed time does not explain it; set the retention of a tenant again to confirm it"
        )
    })
}

/// Whether somebody may be told of the database.
fn may_know(request: &HttpRequest, shared: &Shared) -> bool {
    let shown = bearer(request.headers());
    is_local(request)
        || shown.is_some_and(|shown| {
            shared.metrics.token.as_ref().is_some_and(|token| token.is(shown))
                || shared.application.auth.glance(shown).is_some()
        })
}

fn class_of(error: &StorageError) -> &'static str {
    match error {
        StorageError::Unavailable(_) => "storage is unavailable",
        _ => "storage failed",
    }
}

/// The figures for somebody who may read them.
pub(crate) struct Reader(Metrics);

impl FromRequest<DefaultError> for Reader {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        let metrics = &Shared::of(request)?.metrics;
        permit(metrics, bearer(request.headers()), is_local(request))?;
        Ok(Self(metrics.clone()))
    }
}

fn permit(metrics: &Metrics, shown: Option<&str>, is_local: bool) -> Result<(), Problem> {
    match (&metrics.token, shown) {
        (Some(token), Some(shown)) if token.is(shown) => Ok(()),
        (Some(_), _) => Err(Problem::unauthenticated("/metrics needs the bearer token of POCKET_METRICS_TOKEN")),
        (None, _) if is_local => Ok(()),
        (None, _) => {
            let detail = "without POCKET_METRICS_TOKEN, /metrics answers only requests from this machine that come through no proxy";
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}

/// Metrics for Prometheus
///
/// Requires the token of `POCKET_METRICS_TOKEN`; without that setting, only requests from this machine that no proxy forwarded are answered.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "The figures.", body = String,
        content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(reader: Reader) -> Answer {
    let text = (reader.0.text)();
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(HttpResponse::Ok().header(header::CONTENT_TYPE, content_type).body(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::MetricsToken;

    fn permitted(token: &str, shown: Option<&str>, is_local: bool) -> bool {
        let metrics = Metrics { text: Arc::new(String::new), token: MetricsToken::new(token) };
        permit(&metrics, shown, is_local).is_ok()
    }

    #[test]
    fn without_a_token_only_this_machine_reads_metrics() {
        assert!(permitted("", None, true) && permitted("", Some("x"), true));
        assert!(!permitted("", None, false) && !permitted("", Some(""), false));
    }

    #[test]
    fn a_token_that_is_configured_is_needed_everywhere() {
        for is_local in [true, false] {
            assert!(permitted("s3cret", Some("s3cret"), is_local));
            assert!(!permitted("s3cret", Some("other"), is_local) && !permitted("s3cret", None, is_local));
        }
    }
}
